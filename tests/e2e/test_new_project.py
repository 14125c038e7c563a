"""A new project takes a payment through the checkout pages, by what the README says."""

from __future__ import annotations

import re

import pytest

from tests.e2e.shop_page import enter_card
from tests.test_own_project import NewProject

pytestmark = pytest.mark.browser


def test_a_customer_pays_by_the_link_that_staff_copy(shared_browser, tmp_path):
    project = NewProject(tmp_path)
    with project.with_an_order() as staff:
        shown = staff.get("/admin/shop_payments/order/1/change/").text
        (link,) = re.findall(r'<a href="([^"]+)" data-copied', shown)
        context = shared_browser.new_context(viewport={"width": 1280, "height": 1400})
        page = context.new_page()

        page.goto(link)
        enter_card(page.frame_locator("iframe[title='Secure payment input frame']"))
        page.get_by_role("button", name="Pay 112.00").click()

        page.locator("[data-payment-state=paid]").wait_for()
        order = staff.get("/api/v1/shop/orders/1").json()["data"]
        assert order["payment_status"] == "paid"
        context.close()
