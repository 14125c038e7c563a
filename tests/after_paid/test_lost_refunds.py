"""After a restore: refunds that Stripe has and the database does not know are not sent again."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import OrderPayment, Refund
from tests.after_paid.support import refund_in_dashboard, refunds_at_stripe
from tests.support import answer

pytestmark = pytest.mark.django_db(transaction=True)

REFUND = {"amount": "40.00", "reason": "requested_by_customer"}


def lose_refunds() -> None:
    """Go back to a backup that was made after the payments and before the refunds."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM shop_payments_paymenthistory WHERE kind LIKE '%refund%'")
        cursor.execute("DELETE FROM shop_payments_refund")
        cursor.execute("DELETE FROM shop_payments_stripeattempt WHERE operation = 'create_refund'")
        cursor.execute("DELETE FROM shop_payments_webhookevent")
    OrderPayment.objects.update(has_refunds_or_disputes=False, status="paid", amount_refunded=0)


def sweep() -> None:
    assert reconcile(since=timezone.now() - timedelta(days=3)).objects["refunds"] > 0


@pytest.fixture
def lost(office, order, paid, stripe) -> str:
    """The id of a refund at Stripe of 40.00 under the key "a", which the database has lost."""
    refund_id: str = office.refund(order, REFUND, key="a").json()["data"]["stripe_id"]
    lose_refunds()
    return refund_id


@pytest.mark.parametrize("who", ["sweep", "webhook"])
def test_a_key_that_is_repeated_after_a_restore_gives_nothing_back_again(
    lost, office, order, stripe, webhooks, who
):
    """Found: 80.00 went back instead of 40.00."""
    if who == "sweep":
        sweep()
    else:
        webhooks()

    again = office.refund(order, REFUND, key="a")

    assert again.status_code == 200
    assert again.json()["data"]["stripe_id"] == lost
    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [4000]


@pytest.mark.parametrize(
    "body",
    [{**REFUND, "amount": "41.00"}, {**REFUND, "reason": "duplicate"}, {"amount": "40.00"}],
    ids=["amount", "another reason", "no reason"],
)
def test_another_request_with_that_key_is_refused(lost, office, order, stripe, body):
    sweep()

    assert answer(office.refund(order, body, key="a")) == (409, "idempotency_key_reused")
    assert len(refunds_at_stripe(stripe)) == 1


def test_the_key_of_another_order_is_another_key(lost, office, order, stripe, open_shop):
    sweep()
    other = open_shop(50)
    other.pay(50)

    assert office.refund(other.order, {"amount": "40.00"}, key="a").status_code == 200
    assert office.refund(order, REFUND, key="b").status_code == 200
    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [4000] * 3


def test_a_request_over_two_payments_is_found_with_both_parts(office, stripe, open_shop):
    shop = open_shop(100)
    shop.pay(100)
    shop.costs(150)
    shop.pay(50)
    office.refund(shop.order, {"amount": "120.00"}, key="a")
    lose_refunds()
    sweep()

    assert office.refund(shop.order, {"amount": "120.00"}, key="a").status_code == 200
    assert sorted(each["amount"] for each in refunds_at_stripe(stripe)) == [5000, 7000]


def test_metadata_that_was_copied_in_the_dashboard_is_one_request(lost, office, order, stripe):
    (made,) = refunds_at_stripe(stripe)
    copied = {f"metadata[{name}]": value for name, value in made["metadata"].items()}
    refund_in_dashboard(stripe, amount="1000", **copied)

    sweep()

    assert sorted(row.amount for row in Refund.objects.all()) == [1000, 4000]
    assert Refund.objects.exclude(request_key="").count() == 1


@pytest.mark.parametrize("request_", ["x", "a" * 65, "A" * 64])
def test_metadata_of_another_program_names_no_request(order, paid, stripe, request_):
    refund_in_dashboard(stripe, amount="1000", **{"metadata[request]": request_})

    sweep()

    assert Refund.objects.get().request_key == ""
