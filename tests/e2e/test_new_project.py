"""A new project takes a payment through the checkout pages, by what the README says.

In CI also with the built package instead of the checkout.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.e2e.shop_page import enter_card
from tests.test_own_project import NewProject, block

pytestmark = [pytest.mark.browser, pytest.mark.package]

OWN_ORDER = """
INSTALLED_APPS += ["tests.hostshop"]
SHOP_PAYMENTS_ORDER_MODEL = "hostshop.Order"
SHOP_PAYMENTS["ORDER_ADAPTER"] = "tests.hostshop.adapter.HostOrderAdapter"
"""
PLACE = """
from decimal import Decimal
from django.contrib.auth.models import User
from shop_payments.checkout.links import checkout_url
from tests.hostshop.models import Customer, Order
user = User.objects.create(username="grace")
customer = Customer.objects.create(user=user, email="grace@example.com")
order = Order.objects.create(reference="A-1", customer=customer, total=Decimal("112.00"))
order.items.create(title="Main product 2", unit_price=Decimal("56.00"), quantity=2)
print(checkout_url(order))
"""
STATUS = """
from shop_payments.models import OrderPayment
payment = OrderPayment.objects.get()
print(payment.status, payment.order.shipments.count())
"""


def pay(browser, link: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()
    page.goto(link)
    enter_card(page.frame_locator("iframe[title='Secure payment input frame']"))
    page.get_by_role("button", name="Pay 112.00").click()
    page.locator("[data-payment-state=paid]").wait_for()
    context.close()


def test_a_customer_pays_by_the_link_that_staff_copy(shared_browser, tmp_path):
    project = NewProject(tmp_path)
    with project.with_an_order() as staff:
        shown = staff.get("/admin/shop_payments/order/1/change/").text
        (link,) = re.findall(r'<a href="([^"]+)" data-copied', shown)

        pay(shared_browser, link)

        order = staff.get("/api/v1/shop/orders/1").json()["data"]
        assert order["payment_status"] == "paid"


def test_a_customer_pays_an_order_of_the_shops_own_model(shared_browser, tmp_path):
    project = NewProject(tmp_path, settings=block("settings") + OWN_ORDER)
    root = str(Path(__file__).parents[2])  # of the package `tests`
    project.environment["PYTHONPATH"] += os.pathsep + root
    with project.served() as staff:
        placed = project.run([sys.executable, "manage.py", "shell", "-v0", "-c", PLACE])

        pay(shared_browser, f"{staff.base_url}{placed.strip().splitlines()[-1]}")

        shown = project.run([sys.executable, "manage.py", "shell", "-v0", "-c", STATUS])
        assert shown.split()[-2:] == ["paid", "1"]
