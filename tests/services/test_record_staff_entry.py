"""What staff record and Stripe does not know: waivers, and settlements outside Stripe."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from shop_payments.exceptions import (
    AmountNotRepresentable,
    EntryRefused,
    IdempotencyKeyReused,
    OrderNotFound,
    OrderUnreadable,
    TransactionOpenError,
)
from shop_payments.models import Order, PaymentHistory, StaffEntry
from shop_payments.services.record_staff_entry import (
    EntryRequest,
    revoke_staff_entry,
    settle_outside_stripe,
    waive_amount,
)
from tests.books import STAFF
from tests.factories import OrderFactory
from tests.shop import Shop
from tests.support import answer

pytestmark = pytest.mark.django_db


def request(amount: str | None = None, *, key: str = "", user: Any = None) -> EntryRequest:
    decimal = None if amount is None else Decimal(amount)
    return EntryRequest(amount_decimal=decimal, reason="agreed by telephone", key=key, user=user)


def waive(shop: Shop, *amount: str, **options: Any) -> StaffEntry:
    asked = request(*amount, **options)
    return waive_amount(order_id=shop.order.pk, request=asked, origin=STAFF)


def settle(shop: Shop, intent_id: str, *amount: str, **options: Any) -> StaffEntry:
    asked = request(*amount, **options)
    return settle_outside_stripe(
        order_id=shop.order.pk, intent_id=intent_id, request=asked, origin=STAFF
    )


def revoke(entry: StaffEntry, reason: str = "a mistake", user: Any = None) -> bool:
    return revoke_staff_entry(entry_pk=entry.pk, reason=reason, user=user, origin=STAFF)


@pytest.fixture
def shop(open_shop) -> Shop:
    """180 were received of an order that costs 230."""
    shop: Shop = open_shop(230)
    shop.deposit(180)
    return shop


def facts(kind: str) -> list[tuple[str, int]]:
    rows = PaymentHistory.objects.filter(kind=kind).order_by("pk")
    return [(fact.actor, fact.data["amount"]) for fact in rows]


def test_a_waiver_says_who_how_much_and_why(shop, admin_user, sent):
    """Without an amount all that is owed is waived. Once revoked, it is owed again."""
    entry = waive(shop, user=admin_user)

    assert (entry.kind, entry.amount, entry.currency) == ("waiver", 5000, "usd")
    assert (entry.reason, entry.actor) == ("agreed by telephone", "staff 1")
    assert (entry.created_by, entry.revoked_at) == (admin_user, None)
    assert facts("amount_waived") == [("staff 1", 5000)]
    shop.assert_is("paid", outstanding=0, asks=("order_already_paid", None))

    shop.wants(False)
    with pytest.raises(EntryRefused, match="cannot be paid now"):  # nobody could pay it
        revoke(entry)
    shop.wants(True)
    assert revoke(entry, user=admin_user)
    assert not revoke(entry, "second")
    entry.refresh_from_db()
    assert entry.is_revoked
    assert (entry.revoked_by, entry.revocation_reason) == (admin_user, "a mistake")
    assert facts("staff_entry_revoked") == [("staff 1", 5000)]
    shop.assert_is("partially_paid", outstanding=50, asks=50)
    waive(shop)
    assert [name for name, _data in sent] == ["order_paid"], "once"


def test_no_more_is_waived_than_is_owed_by_the_order_as_it_is_now(shop):
    for amount, error in (
        ("50.01", EntryRefused),
        ("0", EntryRefused),
        ("-1", AmountNotRepresentable),
        ("1.005", AmountNotRepresentable),
    ):
        with pytest.raises(error):
            waive(shop, amount)
    shop.order.lines.update(unit_amount=200_00)
    with pytest.raises(EntryRefused, match=r"up to 20.00 USD"):
        waive(shop, "50.00")
    Order.objects.update(currency="xx")
    with pytest.raises(OrderUnreadable):
        waive(shop)
    assert not StaffEntry.objects.exists()


def test_nothing_is_waived_unless_money_has_come_and_counts(open_shop):
    """An order that costs nothing any more is the shop's to change, and not ours."""
    begun = open_shop(112)
    begun.begin(112)
    late = open_shop(112)
    late.pay_late()
    refunded = open_shop(112)
    refunded.pay(112)
    refunded.costs(230)
    refunded.refund(112)

    for shop in (begun, late, refunded):
        with pytest.raises(EntryRefused, match="No money was received"):
            waive(shop)
    for order_id in (OrderFactory.create().pk, 4711, "no id"):
        with pytest.raises(OrderNotFound):
            waive_amount(order_id=order_id, request=request(), origin=STAFF)


def test_money_on_its_way_out_is_not_waived(open_shop):
    """It may come back: waived as well, it would cover a later rise of the order."""
    shop = open_shop(230)
    first = shop.deposit(180, "pm_card_pendingRefund")
    shop.refund_in_dashboard(first, 100)

    with pytest.raises(EntryRefused, match=r"up to 50\.00 USD"):
        waive(shop, "150.00")
    assert waive(shop).amount == 5000


@pytest.mark.django_db(transaction=True)
def test_an_entry_and_its_revocation_need_a_reason_and_no_transaction_of_the_host(shop):
    with pytest.raises(EntryRefused, match="reason"):
        waive_amount(order_id=shop.order.pk, request=EntryRequest(reason=" \n"), origin=STAFF)
    entry = waive(shop, "20.00")
    with pytest.raises(ValueError, match="needs a reason"):
        revoke(entry, " \n")
    for act in (lambda: waive(shop), lambda: revoke(entry)):
        with transaction.atomic(), pytest.raises(TransactionOpenError):
            act()
    shop.assert_is("partially_paid", outstanding=30)


# --- a key acts once: concurrent requests are in test_races.py ----------------------------------


@pytest.mark.parametrize("amount", [["20.00"], []])
def test_the_same_key_records_once(shop, amount):
    first = waive(shop, *amount, key="k")

    assert waive(shop, *amount, key="k") == first
    assert facts("amount_waived") == [("staff 1", first.amount)]
    with pytest.raises(IdempotencyKeyReused):
        waive(shop, "30.00", key="k")
    with pytest.raises(IdempotencyKeyReused):
        settle(shop, shop.payment.payment_intents.get().stripe_id, "20.00", key="k")


def test_excess_that_was_settled_is_out_of_review_and_cannot_be_refunded(open_shop, admin_user):
    shop = open_shop(112)
    first = shop.pay(112)
    shop.costs(102)

    entry = settle(shop, first, "10.00", user=admin_user)

    assert (entry.kind, entry.amount, entry.created_by) == ("settlement", 1000, admin_user)
    assert entry.payment_intent == shop.intent(first)
    assert facts("settled_outside_stripe") == [("staff 1", 1000)]
    shop.assert_is("paid", outstanding=0, review=set())
    assert answer(shop.refund(103)) == (409, "refund_exceeds_balance")
    with pytest.raises(EntryRefused, match=r"up to 102.00 USD"):
        settle(shop, first, "102.01")
    assert shop.refund(102).status_code == 200
