"""A shop with django-oscar takes payments on the checkout pages, by docs/recipes.md."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page

from tests.e2e.shop_page import enter_card
from tests.e2e.test_recipes import RecipeProject, needs_packages, recipe
from tests.test_own_project import PASSWORD, send_form

pytestmark = [pytest.mark.clients, needs_packages]

# See: https://django-oscar.readthedocs.io/en/stable/internals/getting_started.html
# (checked 2026-11)
SETTINGS = """
from oscar import INSTALLED_APPS
from oscar.defaults import *

INSTALLED_APPS += ["sorl.thumbnail"]
SITE_ID = 1
TEMPLATES[0]["OPTIONS"]["context_processors"] += [
    "oscar.apps.search.context_processors.search_form",
    "oscar.apps.checkout.context_processors.checkout",
    "oscar.apps.communication.notifications.context_processors.notifications",
    "oscar.core.context_processors.metadata",
]
MIDDLEWARE += ["oscar.apps.basket.middleware.BasketMiddleware"]
AUTHENTICATION_BACKENDS = [
    "oscar.apps.customer.auth_backends.EmailBackend",
    "django.contrib.auth.backends.ModelBackend",
]
HAYSTACK_CONNECTIONS = {"default": {"ENGINE": "haystack.backends.simple_backend.SimpleEngine"}}
DATABASES["default"]["ATOMIC_REQUESTS"] = True
EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
OSCAR_ALLOW_ANON_CHECKOUT = True
OSCAR_INITIAL_ORDER_STATUS = "Pending"
OSCAR_ORDER_STATUS_PIPELINE = {"Pending": ("Paid", "Cancelled"), "Paid": ("Cancelled",)}
"""
URLS = """
from django.apps import apps
from django.urls import include, path

urlpatterns += [path("", include(apps.get_app_config("oscar").urls[0]))]
"""
GOODS = """
from decimal import Decimal
from oscar.apps.catalogue.models import ProductClass
from oscar.test.factories import create_product
ProductClass.objects.create(name="Goods", requires_shipping=False, track_stock=False)
create_product(title="Main product", product_class="Goods", price=Decimal("56.00"), num_in_stock=9)
"""
SANDBOX = '\nSHOP_PAYMENTS["STRIPE_API_BASE"] = os.environ["STRIPE_API_BASE"]\n'
MOUNTED_BY = [recipe(f"oscar {part}") for part in ("settings", "urls", "payments")]


class OscarShop:
    """A running shop, with staff who are logged in."""

    def __init__(self, staff: httpx.Client, browser: Browser) -> None:
        self.staff, self.browser = staff, browser

    def order(self, *, email: str = "") -> Page:
        """Put the product into the basket, and place the order; return the pay page.

        With an e-mail address as a guest, otherwise as the user who is logged in there.
        """
        context = self.browser.new_context(viewport={"width": 1280, "height": 1400})
        page = context.new_page()
        page.set_default_timeout(10_000)
        if not email:
            page.goto(f"{self.staff.base_url}/accounts/login/")
            page.get_by_label("Email address").first.fill("ada@example.com")
            page.get_by_label("Password").first.fill(PASSWORD)
            page.get_by_role("button", name="Log In").click()
        page.goto(f"{self.staff.base_url}/catalogue/main-product_1/")
        page.get_by_role("button", name="Add to cart").click()
        page.goto(f"{self.staff.base_url}/checkout/")
        if email:
            page.get_by_label("My email address is").fill(email)
            page.get_by_role("button", name="Continue").click()
        page.get_by_role("link", name="Continue").click()
        page.get_by_role("button", name="Place order").click()
        return page


@pytest.fixture(scope="module")
def shop(shared_browser, tmp_path_factory) -> Iterator[OscarShop]:
    settings, urls, payments = MOUNTED_BY
    project = RecipeProject(
        tmp_path_factory.mktemp("oscar"),
        settings=SETTINGS + settings + SANDBOX,
        urls=URLS + urls,
    )
    project.append("payments", payments + recipe("oscar cancellation"))
    with project.served() as staff:
        project.run([sys.executable, "manage.py", "shell", "-c", GOODS])
        yield OscarShop(staff, shared_browser)


def test_forty_lines_mount_it():
    lines = [line for text in MOUNTED_BY for line in text.splitlines() if line.strip()]
    assert len(lines) <= 40


def test_a_guest_pays_and_staff_refund_it(shop):
    page = shop.order(email="guest@example.com")
    enter_card(page.frame_locator("iframe[title='Secure payment input frame']"))
    page.get_by_role("button", name="Pay 56.00 GBP").click()
    page.locator("[data-payment-state=paid]").wait_for()
    assert "Paid" in shop.staff.get("/dashboard/orders/100001/").text

    path = "/api/v1/shop/orders/1"
    token = {"X-CSRFToken": shop.staff.cookies["csrftoken"], "Idempotency-Key": "returned"}
    refund = shop.staff.post(f"{path}/refunds", headers=token)

    assert refund.status_code == 200, refund.text
    page.reload()
    page.locator("[data-payment-state=refunded]").wait_for()


def test_a_user_does_not_pay_an_order_that_is_cancelled_meanwhile(shop):
    page = shop.order()
    (number,) = re.findall(r"Order (\d+)", page.inner_text("main"))
    form = page.frame_locator("iframe[title='Secure payment input frame']")
    enter_card(form)
    changes = {"order_action": "change_order_status", "new_status": "Cancelled"}

    send_form(shop.staff, f"/dashboard/orders/{number}/", **changes)
    page.get_by_role("button", name="Pay 56.00 GBP").click()

    page.locator("[data-payment-state=cancelled]").wait_for()
    assert "canceled" in shop.staff.get("/admin/shop_payments/paymentintent/").text.lower()
