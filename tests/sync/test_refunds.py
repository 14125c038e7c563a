"""Refunds wherever they were made, and whatever becomes of them, are synced to their rows."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shop_payments.models import OrderPayment, PaymentHistory, Refund, ReviewItem
from tests.books import deliver, refund_in_dashboard, refunds_at_stripe, sweep
from tests.support import answer, pay

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_agree")]


def test_a_refund_in_the_dashboard_appears(office, order, paid, stripe, webhooks, told):
    """Also one whose event was lost: the next one leads to all of them."""
    stripe.disconnect_webhooks()
    refund_in_dashboard(stripe, amount="1250")
    stripe.connect_webhooks()
    refund_in_dashboard(stripe, amount="250")

    webhooks()

    assert OrderPayment.objects.get().amount_refunded == 1500
    assert [data["amount"] for _name, data in told] == [1250, 250]
    assert [each["amount"] for each in office.refunds(order)] == ["12.50", "2.50"]


def test_a_refund_that_is_heard_of_before_the_payment_is_notified(storefront, order, stripe, told):
    """Found: the refund was stored before the payment, and `order_refunded` was never sent."""
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    refund_in_dashboard(stripe, amount="1000")
    (event,) = (each for each in stripe.events if each["type"] == "refund.created")

    deliver(event)

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_refunded) == ("partially_refunded", 1000)
    assert [name for name, _data in told] == ["order_refunded"]
    assert PaymentHistory.objects.filter(kind="order_paid").count() == 1


def test_a_failed_refund_reopens_the_balance_and_is_in_review(
    office, order, pay_order, stripe, webhooks, told
):
    pay_order("pm_card_refundFail")
    office.refund(order)
    assert OrderPayment.objects.get().status == "refunded"

    stripe.advance_clock(24 * 60 * 60)
    webhooks()

    payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
    assert (payment.status, payment.needs_review) == ("paid", True)
    assert (item.reason, item.subject) == ("refund_failed", refunds_at_stripe(stripe)[0]["id"])
    assert [name for name, _data in told] == ["order_refunded", "refund_failed", "review_needed"]
    assert office.refund(order, key="again").json()["data"]["amount"] == "112.00"


@pytest.mark.parametrize(
    ("changes", "stored"),
    [({"status": None}, "unknown"), ({"status": "of_tomorrow"}, "of_tomorrow"), (None, None)],
)
def test_a_list_that_says_something_strange(
    office, order, paid, stripe, webhooks, alter, changes, stored
):
    """Found: without a status, which Stripe's types allow, no refund of the payment was stored.

    In an unknown status its amount is reserved. What cannot be read is looked up again.
    """
    made = refund_in_dashboard(stripe, amount="1000")
    alter("/refunds", lambda page: {**page, "data": [changes and {**made, **changes}]})
    webhooks()
    assert [row.status for row in Refund.objects.all()] == [stored] * bool(changes)
    if changes:
        refused = office.refund(order, {"amount": "102.01"})
        assert answer(refused) == (409, "refund_exceeds_balance")

    alter.stop()
    refund_in_dashboard(stripe, amount="200")
    stripe.advance_clock(3600)
    webhooks()

    assert OrderPayment.objects.get().amount_refunded == 1200


def test_the_number_of_statements_does_not_grow_with_the_refunds(
    office, order, paid, stripe, webhooks
):
    """Found: each refund's attempt was read, under the payment's lock."""

    def count() -> int:
        refund_in_dashboard(stripe, amount="1")
        with CaptureQueriesContext(connection) as queries:
            assert webhooks() == 2
        return len(queries)

    for number in range(2):
        office.refund(order, {"amount": "0.01"}, key=str(number))
    webhooks()
    few = count()
    for number in range(2, 5):
        office.refund(order, {"amount": "0.01"}, key=str(number))
    webhooks()

    assert count() == few
    assert OrderPayment.objects.get().amount_refunded == 7


# --- after a restore: refunds that Stripe has and the database does not -------------------------

REFUND = {"amount": "40.00", "reason": "requested_by_customer"}


def lose_refunds() -> None:
    """Go back to a backup that was made after the payments and before the refunds."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM shop_payments_paymenthistory WHERE kind LIKE '%refund%'")
        cursor.execute("DELETE FROM shop_payments_refund")
        cursor.execute("DELETE FROM shop_payments_stripeattempt WHERE operation = 'create_refund'")
        cursor.execute("DELETE FROM shop_payments_webhookevent")
    OrderPayment.objects.update(has_refunds_or_disputes=False, status="paid", amount_refunded=0)


@pytest.mark.parametrize("found_by", ["sweep", "webhook"])
def test_a_key_that_is_repeated_after_a_restore_refunds_nothing_again(
    office, order, paid, stripe, webhooks, found_by
):
    """Found: 80.00 were refunded instead of 40.00."""
    lost = office.refund(order, REFUND, key="a").json()["data"]["stripe_id"]
    lose_refunds()
    if found_by == "sweep":
        sweep()
    else:
        webhooks()

    again = office.refund(order, REFUND, key="a")

    assert (again.status_code, again.json()["data"]["stripe_id"]) == (200, lost)
    for other in ({**REFUND, "amount": "41.00"}, {**REFUND, "reason": "duplicate"}):
        refused = office.refund(order, other, key="a")
        assert answer(refused) == (409, "idempotency_key_reused")
    assert office.refund(order, REFUND, key="b").status_code == 200, "another key"
    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [4000, 4000]


def test_metadata_names_a_request_once_and_none_of_another_program(office, order, paid, stripe):
    """It may be copied in the dashboard."""
    office.refund(order, REFUND, key="a")
    lose_refunds()
    metadata = refunds_at_stripe(stripe)[0]["metadata"].items()
    copied = {f"metadata[{name}]": value for name, value in metadata}
    for each in (copied, *({"metadata[request]": name} for name in ("x", "a" * 65, "A" * 64))):
        refund_in_dashboard(stripe, amount="1000", **each)

    sweep()

    assert sorted(row.amount for row in Refund.objects.all()) == [1000] * 4 + [4000]
    assert Refund.objects.exclude(request_key="").count() == 1
