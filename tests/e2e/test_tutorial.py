"""Somebody follows docs/tutorial.md in a new project, with a real browser."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.shop_page import enter_card
from tests.test_own_project import PASSWORD, NewProject, block, wait_until

TUTORIAL = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["install", "settings", "urls", "sandbox"])
def test_a_block_that_the_readme_has_is_the_same(name):
    assert block(name, TUTORIAL) == block(name)


def test_the_shop_is_started_as_in_the_readme():
    *exports, migrations, start = block("exports", TUTORIAL).splitlines()
    assert [*exports, start] == block("shop").splitlines()
    assert migrations == "python manage.py makemigrations delivery"
    assert block("commands", TUTORIAL).splitlines() == exports


class TutorialProject(NewProject):
    """A project with the code of the tutorial."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.follow("app")
        for module in ("models", "receivers", "apps"):
            code = block(module, TUTORIAL)
            (directory / "delivery" / f"{module}.py").write_text(code, encoding="utf-8")
        self.append("settings", block("delivery settings", TUTORIAL))
        self.run([sys.executable, "manage.py", "makemigrations", "delivery"])

    def follow(self, name: str) -> list[str]:
        """Do the lines of a block; return what they print, except ``export``."""
        printed = []
        for line in map(self.move, block(name, TUTORIAL).splitlines()):
            if line.startswith("export "):
                self.export(line)
            elif line.startswith("curl "):
                printed.append(self.curl(line).text)
            else:
                printed.append(self.run(self.command(line)))
        return printed


def add_order(page: Page, url: str) -> None:
    page.goto(f"{url}/admin/shop_payments/order/add/")
    page.locator("[name=customer]").fill("1")
    line = {"name": "Main product 2", "unit_price": "56.00", "quantity": "2"}
    for name, value in line.items():
        page.locator(f"[name=lines-0-{name}]").fill(value)
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_text("The customer has not begun to pay.").wait_for()


def pay(page: Page, link: str) -> None:
    page.goto(link)
    form = page.frame_locator("iframe[title='Secure payment input frame']")
    enter_card(form, "4000 0000 0000 9995")
    page.get_by_role("button", name="Pay 112.00").click()
    page.get_by_text("Your card has insufficient funds.").wait_for()
    enter_card(form)
    page.get_by_role("button", name="Pay 112.00").click()
    page.get_by_text("Thank you").wait_for()


@pytest.mark.browser
def test_an_order_is_paid_shipped_refunded_and_found_by_the_sweep(shared_browser, tmp_path):
    project = TutorialProject(tmp_path)
    with project.served() as client:
        url = str(client.base_url).rstrip("/")
        page, customer = shared_browser.new_page(), shared_browser.new_page()
        page.goto(f"{url}/admin/")
        page.get_by_label("Username").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        add_order(page, url)
        link = page.get_by_role("link", name="Copy payment link").get_attribute("href")

        pay(customer, str(link))

        page.reload()
        page.get_by_role("link", name="Open the payment").click()
        timeline = page.locator("#content").inner_text().partition("Timeline")[2]
        for fact in ("payment intent created", "insufficient funds", "order paid"):
            assert fact in timeline
        wait_until(lambda: project.follow("shipments")[0].split()[-1] == "1", project.log)

        page.get_by_role("link", name="Refund", exact=True).click()
        page.get_by_label("Amount").fill("12.50")
        page.get_by_label("Purpose of the refund").select_option(label="returned goods")
        page.get_by_role("button", name="Refund…").click()
        page.get_by_text("12.50 of 112.00 USD will be refunded to the customer.").wait_for()
        page.get_by_label("Yes, refund this amount to the customer.").check()
        page.get_by_role("button", name="Refund", exact=True).click()
        expect(page.locator("#content")).to_contain_text("partially refunded")
        expect(page.locator("#content")).to_contain_text("99.50 USD")

        assert "webhook_lost" in project.follow("lose")[0]
        add_order(page, url)
        (intent,) = project.follow("second")
        paid, order = project.follow("second paid")
        assert json.loads(intent)["message"] == "Payment intent created successfully"
        assert json.loads(paid)["status"] == "succeeded"
        assert '"payment_status":"unpaid"' in order
        _sweep, order = project.follow("sweep")
        assert '"payment_status":"paid"' in order
        assert project.follow("shipments")[0].split()[-1] == "2"
