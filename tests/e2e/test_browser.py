"""What staff see and do, in a browser."""

from __future__ import annotations

from itertools import combinations

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from shop_payments.models import OrderPayment, Refund, ReviewItem, StaffEntry
from shop_payments.services import reevaluate_order
from tests.support import BASE, WEBHOOK_SECRET, call_stripe, pay

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def staff_page(page, live_server, stripe):
    """A page on which a superuser has logged in to the admin; Stripe's events reach the server."""
    stripe.add_webhook(f"{live_server.url}{BASE}/webhooks/stripe", WEBHOOK_SECRET)
    get_user_model().objects.create_superuser("staff", password="a long password")
    page.goto(f"{live_server.url}/admin/")
    page.get_by_label("Username").fill("staff")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Payments", exact=True).wait_for()
    return page


@pytest.fixture
def paid_page(staff_page, storefront, stripe, order):
    """The same, after the customer has paid the order."""
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    stripe.deliver_due()
    return staff_page


def test_staff_walk_from_the_root_to_a_paid_order(staff_page, live_server, stripe, order):
    page = staff_page

    page.goto(f"{live_server.url}{BASE}/")
    page.get_by_role("link", name=f"{BASE}/orders").first.click()
    page.get_by_role("link", name=f"{BASE}/orders/{order.pk}/payment-intent").click()
    page.get_by_role("button", name="Create the payment intent").click()
    page.get_by_text("HTTP 200 OK").wait_for()
    assert "Payment intent created successfully" in page.content()

    (intent,) = call_stripe(stripe, "GET", "payment_intents")["data"]
    pay(stripe, intent["id"])
    stripe.deliver_due()

    page.goto(f"{live_server.url}/admin/shop_payments/orderpayment/")
    page.get_by_role("link", name=order.number).click()
    page.get_by_role("heading", name=order.number).wait_for()
    shown = page.locator("#content").inner_text()
    assert "112.00 USD" in shown
    assert "order paid: 112.00 USD received" in shown
    assert OrderPayment.objects.get().is_paid


def test_the_lines_of_an_order_fit_a_phone(staff_page, live_server, order):
    """Found: the price and the quantity were beyond the edge of the window."""
    page = staff_page
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{live_server.url}/admin/shop_payments/order/{order.pk}/change/")
    for label in ("Name", "Unit price", "Quantity"):
        box = page.get_by_label(f"{label}:").first.bounding_box()
        assert box["x"] >= 0, label
        assert box["x"] + box["width"] <= 390, label


def test_staff_refund_a_part_of_a_paid_order(paid_page, live_server, stripe, order):
    page = paid_page

    page.goto(f"{live_server.url}/admin/shop_payments/order/{order.pk}/change/")
    page.get_by_role("link", name="Refund", exact=True).click()
    assert page.get_by_label("Amount").input_value() == "112.00"
    page.get_by_label("Amount").fill("112.01")
    page.get_by_role("button", name="Refund…").click()
    page.get_by_text("At most 112.00 USD of this payment can be refunded.").wait_for()
    page.get_by_label("Amount").fill("12.50")
    page.get_by_label("Reason").select_option("requested by customer")
    page.get_by_role("button", name="Refund…").dblclick()
    page.get_by_text("12.50 of 112.00 USD will be refunded to the customer.").wait_for()
    page.get_by_label("Yes, refund this amount").check()
    page.get_by_role("button", name="Refund", exact=True).dblclick()

    page.get_by_text("12.50 USD is refunded to the customer.").first.wait_for()
    page.reload()
    shown = page.locator("#content").inner_text()
    assert "partially refunded" in shown
    assert "99.50 USD" in shown
    assert [refund.amount for refund in Refund.objects.all()] == [1250]
    assert [each["amount"] for each in call_stripe(stripe, "GET", "refunds")["data"]] == [1250]


@pytest.fixture
def armed_page(paid_page, live_server):
    """A page on which staff are about to refund 40.00 of 112.00: the tick is set."""
    page, payment = paid_page, OrderPayment.objects.get()
    page.goto(f"{live_server.url}/admin/shop_payments/orderpayment/{payment.pk}/change/")
    page.get_by_role("link", name="Refund", exact=True).click()
    page.get_by_label("Amount").fill("40.00")
    with page.expect_navigation():  # until action.js has run, which makes Back ask the server
        page.get_by_role("button", name="Refund…").click()
    page.get_by_label("Yes, refund this amount").check()
    return page


def test_going_back_after_a_refund_offers_no_armed_form(armed_page):
    """Found: Back showed the tick set, and the rest of the money in the form."""
    page = armed_page
    page.get_by_role("button", name="Refund", exact=True).click()
    page.get_by_text("40.00 USD is refunded to the customer.").first.wait_for()

    for _step in range(2):
        page.go_back()
        page.get_by_text("40.00 USD is refunded to the customer.").first.wait_for()

        assert "/change/" in page.url
        assert page.locator("input[type=checkbox]:checked").count() == 0
        assert page.locator("input[name=amount]").count() == 0
        used = "This form was already sent, so nothing was done a second time."
        assert page.get_by_text(used).count()
        assert [refund.amount for refund in Refund.objects.all()] == [4000]


def test_going_back_to_a_form_that_was_not_sent_takes_the_tick_away(armed_page, order):
    page = armed_page
    page.get_by_role("link", name="Go back without changes").click()
    page.get_by_role("heading", name=order.number).wait_for()

    page.go_back()

    page.get_by_role("button", name="Refund…").wait_for()
    assert page.locator("input[type=checkbox]").count() == 0
    assert not Refund.objects.exists()


def test_the_buttons_of_a_page_stay_inside_of_it_and_apart(
    staff_page, live_server, storefront, stripe, order
):
    """Found: many buttons lay over each other and over the order's number."""
    page = staff_page
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    order.lines.update(unit_amount=6000)
    pay(stripe, intent_id)
    stripe.deliver_due()
    stripe.pay(storefront.payment_intent(order).json()["data"]["id"])
    order.lines.update(unit_amount=5000)
    reevaluate_order(order.pk)
    item = ReviewItem.objects.earliest("pk")

    for row in (OrderPayment.objects.get(), item, order):
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 800})
            name = row._meta.model_name
            page.goto(f"{live_server.url}/admin/shop_payments/{name}/{row.pk}/change/")

            buttons = page.locator(".shop-payments-actions a").all()
            boxes = [each.bounding_box() for each in buttons]
            heading = page.locator("#content h2").first.bounding_box()
            assert len(boxes) >= 4
            assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
            assert not any(overlap(one, other) for one, other in combinations([heading, *boxes], 2))


def overlap(one, other) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "width"), ("y", "height"))
    )


def test_what_waits_for_staff_fits_a_laptop(staff_page, live_server, storefront, stripe, order):
    """Found: with the filters beside it, a list's last column was out of sight."""
    page = staff_page
    intent = storefront.payment_intent(order).json()["data"]
    stripe.pay(intent["id"], "pm_card_createDispute")
    StaffEntry.objects.create(
        order_payment=OrderPayment.objects.get(),
        kind=StaffEntry.Kind.WAIVER,
        amount=100,
        currency="usd",
        reason="Agreed with the customer by telephone, after the second delivery came late.",
        request_key="k",
        revoked_at=timezone.now(),
        revocation_reason="They pay after all.",
    )
    page.set_viewport_size({"width": 1280, "height": 800})

    for model in ("webhookevent", "reviewitem", "orderpayment", "staffentry"):
        page.goto(f"{live_server.url}/admin/shop_payments/{model}/")

        results = page.locator(".results")
        assert page.locator("#result_list tbody tr").count() > 0
        widths = results.evaluate("element => [element.scrollWidth, element.clientWidth]")
        assert widths[0] == widths[1], model


def test_staff_copy_a_payment_link(staff_page, live_server, order):
    page = staff_page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{live_server.url}/admin/shop_payments/order/{order.pk}/change/")

    page.get_by_role("link", name="Copy payment link").click()
    page.get_by_role("link", name="Payment link copied").wait_for()

    page.goto(page.evaluate("navigator.clipboard.readText()"))
    page.get_by_text("Main product 2").wait_for()
