"""Payments, intents and attempts."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.contrib import admin

from shop_payments.admin.payments import StripeAttemptAdmin
from shop_payments.ledger.facts import Origin
from shop_payments.models import Order, OrderPayment, PaymentIntent, Source, StripeAttempt
from shop_payments.services.capture_payment import capture_payment
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from tests.admin.support import (
    RECORDS,
    change,
    changelist,
    links_of,
    listed,
    make_records,
    money_of,
    text_of,
)
from tests.balance.shop import DepositAdapter
from tests.factories import OrderFactory
from tests.support import pay

pytestmark = pytest.mark.django_db

OF_AN_ORDER = [model for model in RECORDS if model.__name__ != "WebhookEvent"]


def search(staff, model, text, **filters):
    return listed(staff.get(changelist(model), {"q": text, **filters}))


@pytest.mark.parametrize("model", OF_AN_ORDER)
def test_a_record_is_found_by_what_staff_know_of_its_order(model, staff):
    mine = make_records(OrderFactory.create(number="ORD-20250331-MINE"))
    make_records()
    of_mine = (
        {mine.order_payment}
        if model is OrderPayment
        else set(model.objects.filter(order_payment=mine.order_payment))
    )

    assert search(staff, model, "0331-mine") == of_mine
    assert of_mine <= search(staff, model, str(mine.order_payment.order_id))


@pytest.mark.parametrize("model", [OrderPayment, PaymentIntent])
def test_it_is_found_by_its_intent(model, staff):
    intent, _other = make_records(), make_records()

    assert len(search(staff, model, intent.stripe_id)) == 1


@pytest.mark.parametrize("model", OF_AN_ORDER)
@pytest.mark.parametrize("text", ["9" * 40, "--1", "\u0661", "'\"%", "pi_x ORD", "a" * 5000])
def test_a_search_for_anything_is_answered(model, text, staff):
    make_records()

    assert search(staff, model, text) == set()


@pytest.mark.by_hand
def test_payments_are_filtered_by_status_and_review(paid, staff):
    other = make_records().order_payment

    assert search(staff, OrderPayment, "", status__exact="paid") == {paid}
    assert search(staff, OrderPayment, "", status__exact="unpaid") == {other}
    assert search(staff, OrderPayment, "", needs_review__exact="1") == set()


@pytest.mark.by_hand
def test_the_list_says_what_came_and_what_was_asked_for(paid, staff):
    make_records()

    text = text_of(staff.get(changelist(OrderPayment)))

    assert "112.00 USD received" in text
    assert "112.00 USD asked for" in text


def test_a_payment_shows_all_that_belongs_to_it(in_review, staff):
    intent = in_review.payment_intents.get()

    text = text_of(staff.get(change(in_review)))

    rows = [
        intent,
        in_review.attempts.get(),
        in_review.review_items.get(),
        *in_review.history.all(),
    ]
    assert all(f'href="{change(row)}"' in text for row in rows)
    assert f'<a href="{change(in_review.order)}">{in_review.order}</a>' in text
    assert "102.00 USD" in text
    assert "112.00 USD received" in text


def test_history_is_told_newest_first(in_review, staff):
    text = text_of(staff.get(change(in_review)))

    newest, oldest = in_review.history.first(), in_review.history.last()
    assert text.index(newest.sentence) < text.index(oldest.sentence)


def test_a_payment_of_an_order_in_no_currency_is_shown(staff):
    payment = make_records(OrderFactory.create(currency="us")).order_payment

    assert "cannot be read" in text_of(staff.get(change(payment)))


def test_an_intent_links_to_the_stripe_dashboard(open_payment, staff):
    intent = open_payment.payment_intents.get()

    text = text_of(staff.get(change(intent)))

    url = f"https://dashboard.stripe.com/test/payments/{intent.stripe_id}"
    assert f'<a href="{url}" target="_blank" rel="noopener noreferrer">' in text


def test_a_live_intent_links_to_the_live_dashboard(staff):
    intent = make_records()
    PaymentIntent.objects.update(livemode=True)

    text = text_of(staff.get(change(intent)))

    assert f'href="https://dashboard.stripe.com/payments/{intent.stripe_id}"' in text


def test_an_intent_shows_decimals_and_no_minor_units(paid, staff):
    text = text_of(staff.get(change(paid.payment_intents.get())))

    assert "112.00 USD" in text
    assert "11200" not in text


@pytest.mark.by_hand
def test_intents_are_filtered(paid, staff):
    make_records()
    counted = {paid.payment_intents.get()}

    assert search(staff, PaymentIntent, "", status__exact="succeeded") == counted
    assert search(staff, PaymentIntent, "", wanted__exact="1") == counted
    assert search(staff, PaymentIntent, "", livemode__exact="1") == set()


def test_an_attempt_shows_what_was_sent(open_payment, staff):
    attempt = open_payment.attempts.get()

    text = text_of(staff.get(change(attempt)))

    assert str(attempt.pk) in text
    assert "112.00 USD" in text
    assert "&quot;order_number&quot;: &quot;" in text


def test_an_attempt_without_an_amount_is_shown(staff):
    make_records()
    StripeAttempt.objects.update(params={}, http_status=0)

    assert text_of(staff.get(change(StripeAttempt.objects.get())))


def test_an_attempt_to_refund_or_capture_shows_its_amount(authorized, staff, stripe):
    values = {"order_id": authorized.order_id, "origin": Origin(source=Source.API)}
    capture_payment(amount_decimal=Decimal("100.00"), **values)
    refund_payment(request=RefundRequest(amount_decimal=Decimal("12.50"), key="x"), **values)

    rows = listed(staff.get(changelist(StripeAttempt)))

    assert {row.operation: amount_of(row) for row in rows} == {
        "create_intent": "112.00 USD",
        "capture_intent": "100.00 USD",
        "create_refund": "12.50 USD",
    }


def amount_of(attempt: StripeAttempt) -> str:
    page = admin.site.get_model_admin(StripeAttempt)
    assert isinstance(page, StripeAttemptAdmin)
    return page.amount(attempt)


def test_stripes_words_are_shown_as_words(open_payment, staff):
    intent = open_payment.payment_intents.get()

    pages = [change(open_payment), change(intent), changelist(PaymentIntent)]

    for page in pages:
        assert "requires payment method" in text_of(staff.get(page))
        assert ">requires_payment_method<" not in text_of(staff.get(page))


def test_attempts_are_filtered_by_outcome(open_payment, staff):
    assert len(search(staff, StripeAttempt, "", outcome__exact="succeeded")) == 1
    assert search(staff, StripeAttempt, "", outcome__exact="pending") == set()


def test_a_purged_attempt_says_since_when_and_shows_what_is_left(staff):
    attempt = make_records().attempt
    purged_at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    StripeAttempt.objects.update(purged_at=purged_at)

    text = text_of(staff.get(change(attempt)))

    assert "Personal data dropped on Nov. 24, 2026, noon UTC." in text
    assert "&quot;amount&quot;: 11200" in text
    assert "112.00 USD" in text


# --- the balance --------------------------------------------------------------------------------


def balance_of(client, payment) -> dict[str, str]:
    """What the section on the balance says, by label."""
    labels = {
        "As last seen",
        "Order total",
        "Received",
        "Waived",
        "Outstanding",
        "Owed",
        "Received too much",
        "Received, but does not count",
    }
    shown = money_of(client, payment)
    return {label: shown[label] for label in labels & shown.keys()}


def test_an_unpaid_order_says_what_is_outstanding(open_payment, staff):
    assert balance_of(staff, open_payment) == {
        "Order total": "112.00 USD",
        "Outstanding": "112.00 USD",
    }


def test_a_paid_order_says_no_more_than_it_has_to(paid, staff):
    assert balance_of(staff, paid) == {"Order total": "112.00 USD", "Received": "112.00 USD"}


def test_a_partly_paid_order_says_what_is_outstanding(partly_paid, staff):
    assert balance_of(staff, partly_paid) == {
        "Order total": "120.00 USD",
        "Received": "112.00 USD",
        "Outstanding": "8.00 USD",
    }
    assert "112.00 USD received, 8.00 USD outstanding" in text_of(
        staff.get(changelist(OrderPayment))
    )


def test_a_waiver_is_shown(waived, staff):
    assert balance_of(staff, waived) == {
        "Order total": "120.00 USD",
        "Received": "112.00 USD",
        "Waived": "8.00 USD",
    }


def test_an_excess_is_shown(in_review, staff):
    assert balance_of(staff, in_review)["Received too much"] == "10.00 USD"


def test_money_that_does_not_count_is_shown_in_its_own_currency(
    open_payment, stripe, webhooks, staff
):
    Order.objects.update(currency="gbp")
    pay(stripe, open_payment.payment_intents.get().stripe_id)
    webhooks()

    assert balance_of(staff, open_payment) == {
        "Order total": "112.00 GBP",
        "Outstanding": "112.00 GBP",
        "Received, but does not count": "112.00 USD",
    }


@pytest.mark.django_db(transaction=True)
def test_it_says_why_what_is_owed_is_not_asked_for(open_shop, staff):
    shop = open_shop(180)
    shop.pay(180)
    shop.costs(230)
    shop.wants(False)

    shown = balance_of(staff, shop.payment)

    assert shown["Owed"] == "50.00 USD, but the shop wants no money for the order now"
    assert "Outstanding" not in shown


@pytest.mark.django_db(transaction=True)
def test_it_says_that_owed_money_is_on_its_way_out(open_shop, staff):
    shop = open_shop(300)
    DepositAdapter.now = 90_00
    shop.pay(90, "pm_card_createDispute")
    shop.evaluate()

    shown = balance_of(staff, shop.payment)

    assert shown["Outstanding"] == "210.00 USD"
    assert shown["Owed"] == "300.00 USD, including 90.00 USD that is on its way out"


def test_it_says_that_the_order_costs_something_else_by_now(paid, staff):
    paid.order.lines.update(unit_amount=6000)

    assert balance_of(staff, paid)["Order total"] == (
        "120.00 USD (112.00 USD when the payment was last evaluated)"
    )


@pytest.mark.by_hand
def test_it_says_that_the_order_could_not_be_read(paid, staff):
    OrderPayment.objects.update(failed_reads=1)

    assert balance_of(staff, paid)["As last seen"] == (
        "The order could not be read at the last try; the amounts may be outdated."
    )


@pytest.mark.parametrize(("state", "counts"), [("late", "False"), ("paid", "True")])
def test_an_intent_says_whether_it_counts(state, counts, request, staff):
    payment = request.getfixturevalue(state)

    for page in (change(payment), change(payment.payment_intents.get())):
        assert f'alt="{counts}"' in text_of(staff.get(page))


def test_staff_who_may_only_look_see_a_payment_and_no_buttons(disputed, staff_with):
    clerk = staff_with(
        "view_orderpayment", "view_reviewitem", "view_paymentintent", "view_dispute", "view_order"
    )

    for row in (disputed, disputed.order, disputed.payment_intents.get()):
        assert text_of(clerk.get(change(row)))
        assert links_of(clerk, row) == []
    assert links_of(clerk, disputed.review_items.get()) == ["Answer in the Stripe dashboard"]
