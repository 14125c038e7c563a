"""The small shop of ``manage.py demo``, in a browser."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.config.test_demo import COMMAND, ROOT, environment  # noqa: F401 - a fixture
from tests.e2e.shop_page import enter_card

pytestmark = pytest.mark.browser


@pytest.fixture
def shop(environment):  # noqa: F811
    """The address of the shop, and of its admin the user and the password."""
    serving = subprocess.Popen(
        COMMAND, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        output = ""
        for line in serving.stdout or ():
            output += line
            if "Serving until Ctrl-C" in line:
                break
        found = re.search(r"Shop: +(\S+)/\n.*?user (\S+), password (\S+)\n", output, re.DOTALL)
        assert found is not None
        yield found.groups()
    finally:
        serving.terminate()
        serving.communicate(timeout=30)


def test_a_product_is_bought_and_found_in_the_admin(shared_browser, shop):
    address, user, password = shop
    context = shared_browser.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()

    page.goto(f"{address}/")
    page.get_by_label("Quantity").fill("3")
    page.get_by_role("button", name="Buy").click()
    enter_card(page.frame_locator("iframe[title='Secure payment input frame']"))
    page.get_by_role("button", name="Pay 168.00").click()
    page.locator("[data-payment-state=paid]").wait_for()
    number = page.locator("dd").first.inner_text()
    page.get_by_role("link", name="Continue").click()
    page.get_by_role("button", name="Buy").wait_for()

    page.goto(f"{address}/admin/shop_payments/orderpayment/")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    row = page.get_by_role("row").filter(has_text=number)
    assert "paid" in row.inner_text()
    context.close()
