"""What staff see and do, in a browser."""

from __future__ import annotations

from itertools import combinations

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from shop_payments.models import APIKey, OrderPayment, Refund, ReviewItem, StaffEntry
from shop_payments.secrecy import Secret
from shop_payments.services import reevaluate_order
from tests.support import BASE, WEBHOOK_SECRET, call_stripe, pay

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def staff_page(page, live_server):
    """A page on which a superuser has logged in to the admin."""
    get_user_model().objects.create_superuser("staff", password="a long password")
    page.goto(f"{live_server.url}/admin/")
    page.get_by_label("Username").fill("staff")
    page.get_by_label("Password").fill("a long password")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Order payments", exact=True).wait_for()
    return page


def test_staff_walk_from_the_root_to_a_paid_order(staff_page, live_server, stripe, order):
    page = staff_page
    stripe.add_webhook(f"{live_server.url}{BASE}/webhooks/stripe", WEBHOOK_SECRET)

    page.goto(f"{live_server.url}{BASE}/")
    page.get_by_role("link", name=f"{BASE}/orders").first.click()
    page.get_by_role("link", name=f"{BASE}/orders/{order.pk}/payment-intent").click()
    page.get_by_role("button", name="POST").click()
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
    assert f"order paid: 112.00 USD received with {intent['id']}" in shown
    assert OrderPayment.objects.get().is_paid


def test_staff_refund_a_part_of_a_paid_order(staff_page, live_server, storefront, stripe, order):
    page = staff_page
    stripe.add_webhook(f"{live_server.url}{BASE}/webhooks/stripe", WEBHOOK_SECRET)
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    stripe.deliver_due()

    page.goto(f"{live_server.url}/admin/shop_payments/order/{order.pk}/change/")
    page.get_by_role("link", name="Refund", exact=True).click()
    assert page.get_by_label("Amount").input_value() == "112.00"
    page.get_by_label("Amount").fill("112.01")
    page.get_by_role("button", name="Refund…").click()
    page.get_by_text("Only 112.00 USD of this payment is left.").wait_for()
    page.get_by_label("Amount").fill("12.50")
    page.get_by_label("Reason").select_option("requested by customer")
    page.get_by_role("button", name="Refund…").dblclick()
    page.get_by_text("12.50 of 112.00 USD will go back to the customer.").wait_for()
    page.get_by_label("Yes, give this money back").check()
    page.get_by_role("button", name="Refund", exact=True).dblclick()

    page.get_by_text("12.50 USD goes back to the customer.").first.wait_for()
    page.reload()
    shown = page.locator("#content").inner_text()
    assert "partially refunded" in shown
    assert "99.50 USD" in shown
    assert [refund.amount for refund in Refund.objects.all()] == [1250]
    assert [each["amount"] for each in call_stripe(stripe, "GET", "refunds")["data"]] == [1250]


def test_staff_refund_the_excess_as_the_review_suggests(
    staff_page, live_server, storefront, stripe, order
):
    page = staff_page
    stripe.add_webhook(f"{live_server.url}{BASE}/webhooks/stripe", WEBHOOK_SECRET)
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    stripe.deliver_due()

    page.goto(f"{live_server.url}/admin/shop_payments/order/{order.pk}/change/")
    page.get_by_text("If it becomes cheaper, what was received too much").wait_for()
    page.locator("#id_lines-0-unit_price").fill("51.00")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("10.00 USD was received too much.").wait_for()
    page.goto(f"{live_server.url}/admin/shop_payments/reviewitem/?state=open")
    page.locator("#result_list tbody a").click()
    page.get_by_role("link", name="Refund 10.00 USD").click()
    assert page.get_by_label("Amount").input_value() == "10.00"
    page.get_by_role("button", name="Refund…").click()
    page.get_by_label("Yes, give this money back").check()
    page.get_by_role("button", name="Refund", exact=True).dblclick()

    page.get_by_text("10.00 USD goes back to the customer. The order is paid.").first.wait_for()
    assert [each["amount"] for each in call_stripe(stripe, "GET", "refunds")["data"]] == [1000]
    item = ReviewItem.objects.get()
    page.goto(f"{live_server.url}/admin/shop_payments/reviewitem/{item.pk}/change/")
    assert "closed by itself" in page.locator("#content").inner_text()


def test_staff_waive_the_rest_and_take_it_back(staff_page, live_server, storefront, stripe, order):
    page = staff_page
    stripe.add_webhook(f"{live_server.url}{BASE}/webhooks/stripe", WEBHOOK_SECRET)
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    order.lines.update(unit_amount=6000)
    pay(stripe, intent_id)
    stripe.deliver_due()
    payment = OrderPayment.objects.get()

    page.goto(f"{live_server.url}/admin/shop_payments/orderpayment/{payment.pk}/change/")
    page.get_by_role("link", name="Waive", exact=True).click()
    assert page.get_by_label("Amount").input_value() == "8.00"
    page.get_by_role("button", name="Waive this amount…").click()
    page.get_by_text("This field is required.").wait_for()
    page.get_by_label("Reason").fill("Goodwill")
    page.get_by_role("button", name="Waive this amount…").click()
    page.get_by_text("8.00 USD will be waived: nobody has to pay it.").wait_for()
    page.get_by_label("Yes, waive this amount.").check()
    page.get_by_role("button", name="Waive this amount", exact=True).dblclick()
    page.get_by_text("8.00 USD is waived. The order is paid.").first.wait_for()
    page.get_by_role("link", name="Revoke: 8.00 USD waived").click()
    page.get_by_label("Reason").fill("They pay after all")
    page.get_by_role("button", name="Revoke this entry").click()

    page.get_by_text("8.00 USD is outstanding.").first.wait_for()
    assert StaffEntry.objects.get().is_revoked


@pytest.fixture
def armed_page(staff_page, live_server, storefront, stripe, order):
    """A page on which staff are about to refund 40.00 of 112.00: the tick is set."""
    page = staff_page
    stripe.add_webhook(f"{live_server.url}{BASE}/webhooks/stripe", WEBHOOK_SECRET)
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    stripe.deliver_due()
    payment = OrderPayment.objects.get()
    page.goto(f"{live_server.url}/admin/shop_payments/orderpayment/{payment.pk}/change/")
    page.get_by_role("link", name="Refund", exact=True).click()
    page.get_by_label("Amount").fill("40.00")
    page.get_by_role("button", name="Refund…").click()
    page.get_by_label("Yes, give this money back").check()
    return page


@pytest.fixture
def refunded_page(armed_page):
    """A page on which staff have just refunded 40.00 of 112.00."""
    page = armed_page
    page.get_by_role("button", name="Refund", exact=True).click()
    page.get_by_text("40.00 USD goes back to the customer.").first.wait_for()
    return page


@pytest.mark.parametrize("steps", [1, 2])
def test_going_back_after_a_refund_offers_no_armed_form(refunded_page, steps):
    """Found: Back showed the tick set, and the rest of the money in the form."""
    page = refunded_page

    for _step in range(steps):
        page.go_back()
        page.get_by_text("40.00 USD goes back to the customer.").first.wait_for()

    assert "/change/" in page.url
    assert page.locator("input[type=checkbox]:checked").count() == 0
    assert page.locator("input[name=amount]").count() == 0
    assert page.get_by_text("This form has been used already, and nothing more was done.").count()
    assert [refund.amount for refund in Refund.objects.all()] == [4000]


def test_another_refund_can_be_made_after_going_back(refunded_page, stripe):
    page = refunded_page
    page.go_back()

    page.get_by_role("link", name="Refund", exact=True).click()
    assert page.get_by_label("Amount").input_value() == "72.00"
    page.get_by_role("button", name="Refund…").click()
    page.get_by_label("Yes, give this money back").check()
    page.get_by_role("button", name="Refund", exact=True).click()

    page.get_by_text("72.00 USD goes back to the customer.").first.wait_for()
    amounts = [each["amount"] for each in call_stripe(stripe, "GET", "refunds")["data"]]
    assert sorted(amounts) == [4000, 7200]


def test_going_back_to_a_form_that_was_not_sent_takes_the_tick_away(armed_page, order):
    page = armed_page
    page.get_by_role("link", name="Back, and do nothing").click()
    page.get_by_role("heading", name=order.number).wait_for()

    page.go_back()

    page.get_by_role("button", name="Refund…").wait_for()
    assert page.locator("input[type=checkbox]").count() == 0
    assert not Refund.objects.exists()


def test_without_scripts_going_back_offers_no_armed_form(refunded_page):
    """The script is only a help: a form that is sent again does nothing more."""
    page = refunded_page
    page.route("**/action.js", lambda route: route.abort())
    page.get_by_role("link", name="Refund", exact=True).click()
    page.get_by_label("Amount").fill("12.00")
    page.get_by_role("button", name="Refund…").click()
    page.get_by_label("Yes, give this money back").check()
    page.get_by_role("button", name="Refund", exact=True).click()
    page.get_by_text("12.00 USD goes back to the customer.").first.wait_for()

    page.evaluate("window.history.go(-2)")

    page.get_by_role("button", name="Refund…").wait_for()
    assert page.locator("input[type=checkbox]").count() == 0
    assert sorted(refund.amount for refund in Refund.objects.all()) == [1200, 4000]


def test_a_new_key_is_shown_once(staff_page, live_server):
    page = staff_page

    page.goto(f"{live_server.url}/admin/shop_payments/apikey/add/")
    page.get_by_label("Client").fill("Web shop")
    page.get_by_label("storefront", exact=False).check()
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Copy it now").wait_for()
    secret = page.locator("text=/^spk_/").inner_text()

    assert APIKey.objects.find_by_secret(Secret(secret)) is not None
    page.get_by_role("link", name="Done").click()
    page.goto(f"{live_server.url}/admin/shop_payments/apikey/")
    assert secret not in page.content()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("page_name", ["payment", "review item", "order"])
def test_the_buttons_of_a_page_stay_inside_of_it_and_apart(
    staff_page, live_server, storefront, stripe, order, page_name, width
):
    """Found: many buttons lay over each other and over the order's number."""
    stripe.add_webhook(f"{live_server.url}{BASE}/webhooks/stripe", WEBHOOK_SECRET)
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    order.lines.update(unit_amount=6000)
    pay(stripe, intent_id)
    stripe.deliver_due()
    stripe.pay(storefront.payment_intent(order).json()["data"]["id"])
    order.lines.update(unit_amount=5000)
    reevaluate_order(order.pk)
    payment, item = OrderPayment.objects.get(), ReviewItem.objects.earliest("pk")
    paths = {
        "payment": f"orderpayment/{payment.pk}/change/",
        "review item": f"reviewitem/{item.pk}/change/",
        "order": f"order/{order.pk}/change/",
    }
    page = staff_page
    page.set_viewport_size({"width": width, "height": 800})

    page.goto(f"{live_server.url}/admin/shop_payments/{paths[page_name]}")

    boxes = [each.bounding_box() for each in page.locator(".shop-payments-actions a").all()]
    heading = page.locator("#content h2").first.bounding_box()
    assert len(boxes) >= 4
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)
    assert not any(overlap(one, other) for one, other in combinations([heading, *boxes], 2))


def overlap(one, other) -> bool:
    return all(
        one[start] < other[start] + other[size] and other[start] < one[start] + one[size]
        for start, size in (("x", "width"), ("y", "height"))
    )


@pytest.mark.parametrize("model", ["webhookevent", "reviewitem", "staffentry"])
def test_what_waits_for_staff_fits_a_laptop(
    staff_page, live_server, storefront, stripe, order, model
):
    """Found: with the filters beside it, a list's last column was out of sight."""
    stripe.add_webhook(f"{live_server.url}{BASE}/webhooks/stripe", WEBHOOK_SECRET)
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
    page = staff_page
    page.set_viewport_size({"width": 1280, "height": 800})

    page.goto(f"{live_server.url}/admin/shop_payments/{model}/")

    results = page.locator(".results")
    assert page.locator("#result_list tbody tr").count() > 0
    widths = results.evaluate("element => [element.scrollWidth, element.clientWidth]")
    assert widths[0] == widths[1]
