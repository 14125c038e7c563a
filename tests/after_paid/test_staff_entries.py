"""What staff record and Stripe does not know: waivers, and settlements outside Stripe."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from shop_payments.exceptions import (
    AmountNotRepresentable,
    EntryRefused,
    IdempotencyKeyReused,
    OrderNotFound,
    OrderUnreadable,
    TransactionOpenError,
)
from shop_payments.models import PaymentHistory, StaffEntry
from shop_payments.services.record_staff_entry import (
    EntryRequest,
    revoke_staff_entry,
    settle_outside_stripe,
    waive_amount,
)
from tests.balance.shop import STAFF, DepositAdapter, Shop
from tests.factories import OrderFactory
from tests.support import answer
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def request(amount: str | None = None, *, key: str = "", user: Any = None) -> EntryRequest:
    decimal = None if amount is None else Decimal(amount)
    return EntryRequest(amount_decimal=decimal, reason="agreed by telephone", key=key, user=user)


def waive(shop: Shop, amount: str | None = None, **options: Any) -> StaffEntry:
    return waive_amount(order_id=shop.order.pk, request=request(amount, **options), origin=STAFF)


def settle(shop: Shop, intent_id: str, amount: str | None = None, **options: Any) -> StaffEntry:
    return settle_outside_stripe(
        order_id=shop.order.pk,
        intent_id=intent_id,
        request=request(amount, **options),
        origin=STAFF,
    )


def revoke(entry: StaffEntry, reason: str = "a mistake", user: Any = None) -> bool:
    return revoke_staff_entry(entry_pk=entry.pk, reason=reason, user=user, origin=STAFF)


@pytest.fixture
def shop(open_shop) -> Shop:
    """180 were received of an order that costs 230."""
    shop: Shop = open_shop(230)
    DepositAdapter.now = 180_00
    shop.pay(180)
    DepositAdapter.now = None
    return shop


@pytest.fixture
def clerk(db) -> User:
    return User.objects.create_user("clerk", is_staff=True)


def facts(kind: str) -> list[tuple[str, int]]:
    rows = PaymentHistory.objects.filter(kind=kind).order_by("pk")
    return [(fact.actor, fact.data["amount"]) for fact in rows]


# --- a waiver -----------------------------------------------------------------------------------


def test_a_waiver_says_who_how_much_and_why(shop, clerk):
    entry = waive(shop, "50.00", user=clerk)

    assert (entry.kind, entry.amount, entry.currency) == ("waiver", 5000, "usd")
    assert (entry.reason, entry.actor, entry.created_by) == (
        *("agreed by telephone", "staff 1"),
        clerk,
    )
    assert entry.revoked_at is None
    assert facts("amount_waived") == [("staff 1", 5000)]
    shop.assert_is("paid", outstanding=0, asks=("order_already_paid", None))


def test_without_an_amount_all_that_is_owed_is_waived(shop):
    assert waive(shop).amount == 5000


def test_a_part_may_be_waived_and_then_another_one(shop):
    waive(shop, "20.00")
    shop.assert_is("partially_paid", outstanding=30)
    waive(shop, "30.00")
    shop.assert_is("paid", outstanding=0)


@pytest.mark.parametrize(
    ("amount", "error"),
    [
        ("50.01", EntryRefused),
        ("0", EntryRefused),
        ("-1", AmountNotRepresentable),
        ("1.005", AmountNotRepresentable),
    ],
)
def test_no_more_is_waived_than_is_owed(shop, amount, error):
    with pytest.raises(error):
        waive(shop, amount)

    assert not StaffEntry.objects.exists()


def test_what_is_owed_is_asked_of_the_order_as_it_is_now(shop):
    shop.order.lines.update(unit_amount=200_00)

    with pytest.raises(EntryRefused, match=r"up to 20.00 USD"):
        waive(shop, "50.00")


def test_nothing_is_waived_of_an_order_that_is_paid(open_shop):
    shop = open_shop(112)
    shop.pay(112)

    with pytest.raises(EntryRefused):
        waive(shop)


def test_nothing_is_waived_before_money_has_come(open_shop):
    """An order that costs nothing any more is the shop's to change, and not ours."""
    shop = open_shop(112)
    shop.begin(112)

    with pytest.raises(EntryRefused, match="No money was received"):
        waive(shop)


def test_nothing_is_waived_for_money_that_does_not_count(open_shop):
    shop = open_shop(112)
    intent_id = shop.begin(112)
    type(shop.order).objects.update(status="cancelled")
    shop.finish(intent_id)

    with pytest.raises(EntryRefused, match="No money was received"):
        waive(shop)


def test_money_on_its_way_out_is_not_waived(open_shop):
    """It may come back: waived as well, it would cover a later rise of the order."""
    shop = open_shop(230)
    DepositAdapter.now = 180_00
    first = shop.pay(180, "pm_card_pendingRefund")
    DepositAdapter.now = None
    shop.refund_in_dashboard(first, 100)

    with pytest.raises(EntryRefused, match=r"up to 50\.00 USD"):
        waive(shop, "150.00")
    assert waive(shop).amount == 5000


def test_nothing_is_waived_after_all_money_went_back(shop):
    shop.refund(180)

    with pytest.raises(EntryRefused, match="No money was received"):
        waive(shop)


def test_the_rest_of_an_order_that_the_shop_no_longer_wants_may_be_waived(shop):
    shop.wants(False)

    waive(shop)

    shop.assert_is("paid", outstanding=0)


def test_an_order_that_nobody_tried_to_pay_has_nothing_to_waive(shop):
    other = OrderFactory.create()

    for order_id in (other.pk, 4711, "no id"):
        with pytest.raises(OrderNotFound):
            waive_amount(order_id=order_id, request=request(), origin=STAFF)


def test_nothing_is_waived_while_the_order_cannot_be_read(shop, configure, stripe):
    path = "tests.api.adapters.RaisesForTotal"
    type(shop.order).objects.update(number="BROKEN-1")
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": path})

    with pytest.raises(OrderUnreadable):
        waive(shop)

    assert not StaffEntry.objects.exists()


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_an_entry_needs_a_reason(shop, reason):
    with pytest.raises(EntryRefused, match="reason"):
        waive_amount(order_id=shop.order.pk, request=EntryRequest(reason=reason), origin=STAFF)


def test_an_entry_is_no_part_of_the_hosts_transaction(shop):
    with transaction.atomic(), pytest.raises(TransactionOpenError):
        waive(shop)


def test_a_waiver_closes_the_open_payment_of_the_rest(shop):
    rest = shop.begin(50)

    waive(shop)

    assert shop.at_stripe(rest)["status"] == "canceled"


# --- a key acts once ----------------------------------------------------------------------------


def test_the_same_key_records_once(shop):
    first = waive(shop, "20.00", key="k")
    again = waive(shop, "20.00", key="k")

    assert first == again
    assert facts("amount_waived") == [("staff 1", 2000)]
    shop.assert_is("partially_paid", outstanding=30)


def test_the_same_key_records_once_where_nothing_is_owed_any_more(shop):
    first = waive(shop, key="k")

    assert waive(shop, key="k") == first


def test_a_key_is_for_one_entry(shop):
    (intent,) = shop.payment.payment_intents.all()
    waive(shop, "20.00", key="k")

    with pytest.raises(IdempotencyKeyReused):
        waive(shop, "30.00", key="k")
    with pytest.raises(IdempotencyKeyReused):
        settle(shop, intent.stripe_id, "20.00", key="k")
    assert StaffEntry.objects.count() == 1


def test_the_same_key_at_once_records_once(shop):
    results = at_once(*[lambda: waive(shop, "20.00", key="k")] * 4)

    assert {entry.pk for entry in results} == {StaffEntry.objects.get().pk}


def test_two_who_waive_all_at_once_waive_it_once(shop):
    results = at_once(*[lambda: waive(shop)] * 2)

    assert sorted(type(each).__name__ for each in results) == ["EntryRefused", "StaffEntry"]
    shop.assert_is("paid", outstanding=0)


# --- a settlement outside Stripe ----------------------------------------------------------------


def test_excess_that_was_settled_is_out_of_review(open_shop, clerk):
    shop = open_shop(112)
    first = shop.pay(112)
    shop.costs(102)

    entry = settle(shop, first, "10.00", user=clerk)

    assert (entry.kind, entry.amount, entry.payment_intent) == (
        *("settlement", 1000),
        shop.intent(first),
    )
    assert entry.created_by == clerk
    assert facts("settled_outside_stripe") == [("staff 1", 1000)]
    shop.assert_is("paid", outstanding=0, review=set())
    assert shop.refunds() == []


def test_what_was_settled_cannot_be_refunded_as_well(open_shop):
    shop = open_shop(112)
    first = shop.pay(112)
    shop.costs(102)
    settle(shop, first, "10.00")

    assert answer(shop.refund(103)) == (409, "refund_exceeds_balance")
    assert shop.refund(102).status_code == 200


def test_an_order_asks_for_money_of_it_that_was_settled(open_shop):
    """The money stays with the shop for another purpose, say."""
    shop = open_shop(112)
    first = shop.pay(112)

    settle(shop, first)

    shop.assert_is("unpaid", outstanding=112, asks=112)


def test_uncounted_money_that_was_settled_is_out_of_review(open_shop):
    shop = open_shop(112)
    late = shop.begin(112)
    type(shop.order).objects.update(status="cancelled")
    shop.finish(late)
    assert shop.in_review == {("uncounted", 112, late)}

    settle(shop, late, "100.00")
    assert shop.in_review == {("uncounted", 12, late)}
    settle(shop, late)

    shop.assert_is("unpaid", outstanding=0, owed=112, review=set())
    shop.wants(True)
    shop.assert_is("unpaid", outstanding=112, asks=112)


def test_no_more_is_settled_than_is_left_of_the_payment(open_shop):
    shop = open_shop(112)
    first = shop.pay(112)
    shop.refund(12)

    with pytest.raises(EntryRefused, match=r"up to 100.00 USD"):
        settle(shop, first, "100.01")
    assert settle(shop, first).amount == 10000
    with pytest.raises(EntryRefused):
        settle(shop, first)


def test_only_money_that_has_come_is_settled(open_shop):
    shop = open_shop(112)
    begun = shop.begin(112)

    for intent_id in (begun, "pi_unknown", ""):
        with pytest.raises(EntryRefused, match="No money was received"):
            settle(shop, intent_id)


# --- revoking -----------------------------------------------------------------------------------


def test_a_revoked_waiver_is_owed_again(shop, clerk):
    entry = waive(shop)

    assert revoke(entry, user=clerk)

    entry.refresh_from_db()
    assert entry.is_revoked
    assert (entry.revoked_by, entry.revocation_reason) == (clerk, "a mistake")
    assert facts("staff_entry_revoked") == [("staff 1", 5000)]
    shop.assert_is("partially_paid", outstanding=50, asks=50)


def test_an_entry_is_revoked_once(shop, clerk):
    entry = waive(shop)
    revoke(entry, "first")

    assert not revoke(entry, "second", clerk)

    entry.refresh_from_db()
    assert (entry.revocation_reason, entry.revoked_by) == ("first", None)
    assert len(facts("staff_entry_revoked")) == 1


def test_a_waiver_stays_while_nobody_could_pay_what_was_waived(shop):
    entry = waive(shop)
    shop.wants(False)

    with pytest.raises(EntryRefused, match="wants no money"):
        revoke(entry)

    entry.refresh_from_db()
    assert not entry.is_revoked
    shop.wants(True)
    assert revoke(entry)


def test_a_settlement_may_be_revoked_whether_or_not_the_shop_wants_money(open_shop):
    shop = open_shop(112)
    late = shop.begin(112)
    type(shop.order).objects.update(status="cancelled")
    shop.finish(late)
    entry = settle(shop, late)

    assert revoke(entry)

    assert shop.in_review == {("uncounted", 112, late)}


def test_an_order_that_was_paid_by_a_waiver_is_told_paid_once(shop, sent):
    entry = waive(shop)
    revoke(entry)
    waive(shop)

    assert [name for name, _data in sent] == ["order_paid"]


@pytest.mark.parametrize("reason", ["", "  \n"])
def test_revoking_needs_a_reason(shop, reason):
    entry = waive(shop)

    with pytest.raises(ValueError, match="needs a reason"):
        revoke(entry, reason)


def test_revoking_is_no_part_of_the_hosts_transaction(shop):
    entry = waive(shop)

    with transaction.atomic(), pytest.raises(TransactionOpenError):
        revoke(entry)
