"""The browsable API: staff go from its root to a refund by links and buttons."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from playwright.sync_api import expect
from pytest_django.live_server_helper import LiveServer

from shop_payments.models import Refund
from tests.support import BASE, WEBHOOK_SECRET, pay

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def shop(page: Any, stripe: Any) -> Any:
    server = LiveServer("localhost")
    stripe.add_webhook(f"{server.url}{BASE}/webhooks/stripe", WEBHOOK_SECRET)
    get_user_model().objects.create_superuser("staff", password="a long password")
    page.set_default_timeout(8000)
    page.goto(f"{server.url}{BASE}/")
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Username").fill("staff")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Log in").click()
    yield server
    server.stop()


def shown(page: Any) -> dict[str, Any]:
    """Return the JSON of the answer on a page."""
    text = page.locator(".response-info").inner_text()
    body: dict[str, Any] = json.loads(text[text.index("{\n") :])
    return body


def answered(page: Any, status: str) -> dict[str, Any]:
    """Wait for an answer with a status, and return its JSON."""
    page.locator(".response-info").get_by_text(f"HTTP {status}").wait_for()
    return shown(page)


def test_staff_walk_from_the_root_to_a_refund(page, shop, stripe, order):
    page.get_by_role("link", name=f"{shop.url}{BASE}/orders", exact=True).click()
    page.get_by_role("link", name="unpaid", exact=True).click()
    assert [each["id"] for each in shown(page)["data"]["results"]] == [str(order.pk)]
    page.get_by_role("link", name=f"{shop.url}{BASE}/orders/{order.pk}", exact=True).click()

    page.get_by_role("link", name="Payment intent", exact=True).click()
    answered(page, "405 Method Not Allowed")
    said = page.locator(".alert").inner_text()
    assert "This page is for POST only." in said
    assert "press the button Create the payment intent below." in said
    page.get_by_role("button", name="Create the payment intent").click()
    intent = answered(page, "200 OK")["data"]

    page.get_by_role("link", name="Payment", exact=True).click()
    assert "press the button Mark the order as paid below." in page.locator(".alert").inner_text()
    page.get_by_role("button", name="Mark the order as paid").click()
    assert answered(page, "409 Conflict")["code"] == "payment_not_completed"
    pay(stripe, intent["id"])
    page.get_by_role("button", name="Mark the order as paid").click()
    assert answered(page, "200 OK")["data"]["status"] == "succeeded"
    assert page.locator(".alert").count() == 0

    page.locator(".nav-pills").get_by_role("link", name="Refunds").click()
    answered(page, "200 OK")
    page.get_by_role("button", name="Refund", exact=True).click()
    assert "amount" in answered(page, "400 Bad Request")["errors"], "nothing goes out unless asked"
    body = page.get_by_label("Body (JSON)")
    body.fill(body.input_value().replace('"amount": ""', '"amount": "12.50"'))
    page.get_by_role("button", name="Refund", exact=True).dblclick()
    assert answered(page, "200 OK")["message"] == "Refund created successfully"

    page.locator(".nav-pills").get_by_role("link", name="Refunds").click()
    (refund,) = answered(page, "200 OK")["data"]["results"]
    assert (refund["amount"], refund["reason"]) == ("12.50", "requested_by_customer")
    assert [each.amount for each in Refund.objects.all()] == [1250], "the button was pressed twice"


def test_a_refund_whose_answer_is_lost_is_in_the_list(page, shop, stripe, order, pay_order):
    """So nobody presses the button again because nothing seems to have happened."""
    pay_order()

    def lose(route: Any) -> None:
        route.fetch()
        route.abort()

    page.goto(f"{shop.url}{BASE}/orders/{order.pk}/refunds")
    page.get_by_label("Body (JSON)").fill('{"amount": "12.50"}')
    page.route("**/refunds", lose, times=1)
    page.get_by_role("button", name="Refund", exact=True).click()
    page.locator(".response-info").get_by_text("12.50").wait_for()

    (listed,) = answered(page, "200 OK")["data"]["results"]
    assert listed["id"] == str(Refund.objects.get().pk)


def test_staff_without_the_permission_are_not_offered_the_button(page, shop, order):
    staff = get_user_model().objects.get(username="staff")
    staff.is_superuser = False
    staff.save()
    page.goto(f"{shop.url}{BASE}/orders/{order.pk}/payment-intent")
    answered(page, "401 Unauthorized")
    assert page.get_by_role("button", name="Create the payment intent").count() == 0
    assert page.locator(".alert").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_page_can_be_read_on_a_telephone(page, shop, stripe, order, storefront, scheme):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 390, "height": 844})
    one = f"/orders/{order.pk}"
    for path in ("/", "/orders", one, f"{one}/payment-intent", f"{one}/payment", f"{one}/refunds"):
        page.goto(f"{shop.url}{BASE}{path}")
        expect(page.locator("meta[name=viewport]")).to_have_count(1)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 390, path
        for selector in ("body", "a", "pre", ".well p", ".alert p", "label", "textarea", "h1"):
            for each in page.locator(f"#content {selector}").all() if selector != "body" else []:
                assert contrast(each) >= 4.5, (path, selector, each.inner_text())


CONTRAST = """element => {
    const rgb = text => text.match(/[\\d.]+/g).map(Number);
    let behind = element, background = [0, 0, 0, 0];
    while (behind && (background.length > 3 && background[3] === 0)) {
        background = rgb(getComputedStyle(behind).backgroundColor);
        behind = behind.parentElement;
    }
    if (background.length > 3 && background[3] === 0) background = [255, 255, 255];
    const light = color => {
        const [r, g, b] = color.slice(0, 3).map(each => {
            const part = each / 255;
            return part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const both = [light(rgb(getComputedStyle(element).color)), light(background)];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
}"""


def contrast(element: Any) -> float:
    """Return the contrast of a text with what is behind it (WCAG 2, 1.4.3)."""
    return float(element.evaluate(CONTRAST))
