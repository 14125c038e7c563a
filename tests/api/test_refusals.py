"""Every answer of call 1 that asks for no money. tests/test_balance.py has which goes first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from shop_payments.exceptions import NegativeAmount
from shop_payments.ledger.facts import Origin
from shop_payments.models import APIKeyScope, Order, Refund, Source
from shop_payments.orders import BundledOrderAdapter
from shop_payments.services.record_staff_entry import (
    EntryRequest,
    revoke_staff_entry,
    settle_outside_stripe,
    waive_amount,
)
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import AccountingOffice
from tests.conftest import issue_key
from tests.support import Caller, call_stripe, pay

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def host_authentication() -> None:
    """Run once instead of for each authentication of the host: no test here is about callers."""


BY_STAFF = Origin(source=Source.ADMIN, actor="clerk")


@dataclass
class Shop:
    """An order of 112.00 usd, its customer, and what happens to the two."""

    order: Order
    customer: Caller
    office: AccountingOffice
    stripe: StripeSandbox
    deliver: Callable[[], int]
    configure: Callable[..., None]

    def ask(self) -> str:
        """Call 1; return the id of the intent that it names."""
        intent_id: str = self.customer.payment_intent(self.order).json()["data"]["id"]
        return intent_id

    def pay(self, card: str = "pm_card_visa", **changes: str) -> str:
        """Pay what call 1 asks for; ``changes`` are made to the intent at Stripe before."""
        intent_id = self.ask()
        if changes:
            call_stripe(self.stripe, "POST", f"payment_intents/{intent_id}", **changes)
        pay(self.stripe, intent_id, card)
        self.deliver()
        return intent_id

    def advance(self, status: str) -> str:
        """Bring the open intent to a status."""
        intent_id = self.ask()
        self.stripe.advance(intent_id, status)
        self.deliver()
        return intent_id

    def cancel(self) -> None:
        Order.objects.update(status=Order.Status.CANCELLED)

    def open(self) -> None:
        Order.objects.update(status=Order.Status.OPEN)

    def cost(self, unit_amount: int) -> None:
        """Change the price of each of the order's two items."""
        self.order.lines.update(unit_amount=unit_amount)

    def refund(self, amount: str = "", kind: str = "") -> None:
        body = {name: value for name, value in (("amount", amount), ("kind", kind)) if value}
        response = self.office.refund(self.order, body)
        assert response.status_code == 200, response.content

    def refund_in_dashboard(self, intent_id: str) -> None:
        call_stripe(self.stripe, "POST", "refunds", payment_intent=intent_id)
        self.deliver()

    def dispute(self, intent_id: str) -> None:
        self.stripe.dispute(intent_id)

    def settle_outside(self, intent_id: str) -> None:
        request = EntryRequest(reason="A transfer.")
        settle_outside_stripe(
            order_id=self.order.pk, intent_id=intent_id, request=request, origin=BY_STAFF
        )


@pytest.fixture
def shop(order, storefront, stripe, webhooks, configure) -> Shop:
    office = AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))
    return Shop(order, storefront, office, stripe, webhooks, configure)


Story = Callable[[Shop], None]


# --- U = 0 < owed: money on its way out ---------------------------------------------------------


def late_refund_pending(shop: Shop) -> None:
    """The money came for a cancelled order, goes back, and the order is open again."""
    intent_id = shop.ask()
    shop.cancel()
    pay(shop.stripe, intent_id, "pm_card_pendingRefund")
    shop.deliver()
    shop.refund_in_dashboard(intent_id)
    shop.open()


def late_money_disputed(shop: Shop) -> None:
    intent_id = shop.ask()
    shop.cancel()
    pay(shop.stripe, intent_id)
    shop.deliver()
    shop.dispute(intent_id)
    shop.open()


def whole_correction_pending(shop: Shop) -> None:
    shop.pay("pm_card_pendingRefund")
    shop.refund(kind="correction")


# --- U = 0: nothing is missing ------------------------------------------------------------------


def free(shop: Shop) -> None:
    shop.cost(0)


def free_after_an_intent(shop: Shop) -> None:
    shop.ask()
    shop.cost(0)


def free_and_settled_outside_stripe(shop: Shop) -> None:
    intent_id = shop.pay()
    shop.cost(0)
    shop.settle_outside(intent_id)


def refunded(shop: Shop) -> None:
    shop.pay()
    shop.refund()


def cancelled_refunded_and_opened_again(shop: Shop) -> None:
    shop.pay()
    shop.cancel()
    shop.refund()
    shop.open()


def paid(shop: Shop) -> None:
    shop.pay()


def paid_and_cancelled(shop: Shop) -> None:
    shop.pay()
    shop.cancel()


def partly_given_back(shop: Shop) -> None:
    shop.pay()
    shop.refund("30.00")


def refund_for_goods_pending(shop: Shop) -> None:
    shop.pay("pm_card_pendingRefund")
    shop.refund(kind="goods")


def paid_and_disputed(shop: Shop) -> None:
    shop.dispute(shop.pay())


def rest_waived(shop: Shop) -> None:
    shop.pay(amount="9000")
    waive_amount(
        order_id=shop.order.pk, request=EntryRequest(reason="A discount."), origin=BY_STAFF
    )


# --- the shop wants no money --------------------------------------------------------------------


def cancelled(shop: Shop) -> None:
    shop.cancel()


def cancelled_after_an_intent(shop: Shop) -> None:
    shop.ask()
    shop.cancel()


def cancelled_with_a_rest_owed(shop: Shop) -> None:
    shop.pay(amount="9000")
    shop.cancel()


def cancelled_while_processing(shop: Shop) -> None:
    shop.advance("processing")
    shop.cancel()


# --- money that does not count ------------------------------------------------------------------


def another_currency(shop: Shop) -> None:
    shop.pay(currency="eur")


def another_currency_whose_refund_is_pending(shop: Shop) -> None:
    """What is under way is not there any more; a part of it that stays is."""
    intent_id = shop.pay("pm_card_pendingRefund", currency="eur")
    call_stripe(shop.stripe, "POST", "refunds", payment_intent=intent_id, amount="5000")
    shop.deliver()


# --- money on its way in ------------------------------------------------------------------------


def processing(shop: Shop) -> None:
    shop.advance("processing")


def authorized(shop: Shop) -> None:
    shop.advance("requires_capture")


def processing_while_the_deposit_is_disputed(shop: Shop) -> None:
    deposit = shop.pay(amount="9000")
    shop.advance("processing")
    shop.dispute(deposit)


# --- the two views differ, and something is outstanding -----------------------------------------


def deposit_going_back(shop: Shop) -> None:
    shop.refund_in_dashboard(shop.pay("pm_card_pendingRefund", amount="9000"))


def deposit_disputed(shop: Shop) -> None:
    shop.dispute(shop.pay(amount="9000"))


# --- the order cannot be evaluated --------------------------------------------------------------


class NegativeTotal(BundledOrderAdapter):
    """A shop that has given more discount than the goods cost."""

    def total(self, order: Order) -> Any:
        raise NegativeAmount("-1.00 usd is less than 0")


def negative_total(shop: Shop) -> None:
    shop.configure(ORDER_ADAPTER=f"{__name__}.NegativeTotal")


def negative_total_of_a_paid_order(shop: Shop) -> None:
    shop.pay()
    negative_total(shop)


def paid_in_another_currency_before(shop: Shop) -> None:
    shop.pay()
    Order.objects.update(currency="eur")


IN_REVIEW, NOT_PAYABLE, ALREADY_PAID = (
    "payment_in_review",
    "order_not_payable",
    "order_already_paid",
)

REFUSALS: list[tuple[Story, str, str]] = [
    (late_refund_pending, IN_REVIEW, "refund_pending"),
    (late_money_disputed, IN_REVIEW, "dispute_open"),
    (whole_correction_pending, IN_REVIEW, "refund_pending"),
    (free, NOT_PAYABLE, "free"),
    (free_after_an_intent, NOT_PAYABLE, "free"),
    (free_and_settled_outside_stripe, NOT_PAYABLE, "free"),
    (refunded, NOT_PAYABLE, "refunded"),
    (cancelled_refunded_and_opened_again, NOT_PAYABLE, "refunded"),
    (paid, ALREADY_PAID, ""),
    (paid_and_cancelled, ALREADY_PAID, ""),
    (partly_given_back, ALREADY_PAID, ""),
    (refund_for_goods_pending, ALREADY_PAID, ""),
    (paid_and_disputed, ALREADY_PAID, ""),
    (rest_waived, ALREADY_PAID, ""),
    (cancelled, NOT_PAYABLE, ""),
    (cancelled_after_an_intent, NOT_PAYABLE, ""),
    (cancelled_with_a_rest_owed, NOT_PAYABLE, ""),
    (cancelled_while_processing, NOT_PAYABLE, ""),
    (another_currency, IN_REVIEW, ""),
    (another_currency_whose_refund_is_pending, IN_REVIEW, ""),
    (processing, "payment_processing", ""),
    (authorized, "payment_authorized", ""),
    (processing_while_the_deposit_is_disputed, "payment_processing", ""),
    (deposit_going_back, IN_REVIEW, "refund_pending"),
    (deposit_disputed, IN_REVIEW, "dispute_open"),
    (negative_total, NOT_PAYABLE, "negative_total"),
    (negative_total_of_a_paid_order, NOT_PAYABLE, "negative_total"),
    (paid_in_another_currency_before, NOT_PAYABLE, "currency_changed"),
]


@pytest.mark.parametrize(
    ("story", "code", "reason"), REFUSALS, ids=[story.__name__ for story, *_ in REFUSALS]
)
def test_call_1_asks_for_nothing(shop, story, code, reason):
    story(shop)
    shown = shop.customer.get(f"orders/{shop.order.pk}").json()["data"]
    created = created_at_stripe(shop)

    responses = [shop.customer.payment_intent(shop.order) for _ in range(2)]

    for response in responses:
        body = response.json()
        assert (response.status_code, body["code"]) == (409, code)
        assert body.get("data") == ({"reason": reason} if reason else None)
        assert "Retry-After" not in response
    assert shown["payable"] is False
    assert created_at_stripe(shop) == created


def created_at_stripe(shop: Shop) -> set[str]:
    found = call_stripe(shop.stripe, "GET", "payment_intents", limit="100")["data"]
    return {each["id"] for each in found}


# --- what may be paid all the same --------------------------------------------------------------


def refund_failed(shop: Shop) -> None:
    """A part of the deposit was to go back, and did not."""
    shop.refund_in_dashboard(shop.pay("pm_card_pendingRefund", amount="9000"))
    shop.stripe.advance_refund(Refund.objects.get().stripe_id, "failed")
    shop.deliver()


def dispute_won(shop: Shop) -> None:
    deposit = shop.pay(amount="9000")
    shop.dispute(deposit)
    shop.stripe.decide_dispute(deposit, won=True)


def waiver_revoked(shop: Shop) -> None:
    shop.pay(amount="9000")
    entry = waive_amount(
        order_id=shop.order.pk, request=EntryRequest(reason="A discount."), origin=BY_STAFF
    )
    revoke_staff_entry(entry_pk=entry.pk, reason="A mistake.", user=None, origin=BY_STAFF)


def nothing_happened(shop: Shop) -> None:
    """The first call of an order."""


def an_intent_is_open(shop: Shop) -> None:
    shop.ask()


def a_deposit_was_paid(shop: Shop) -> None:
    shop.pay(amount="9000")


def paid_then_raised(shop: Shop) -> None:
    shop.pay()
    shop.cost(6000)


def all_of_it_corrected(shop: Shop) -> None:
    shop.pay()
    shop.refund(kind="correction")


def a_part_corrected(shop: Shop) -> None:
    shop.pay()
    shop.refund("30.00", kind="correction")


def refunded_then_raised(shop: Shop) -> None:
    refunded(shop)
    shop.cost(6000)


def uncounted_money_given_back(shop: Shop) -> None:
    shop.refund_in_dashboard(shop.pay(currency="eur"))


def uncounted_money_settled_outside_stripe(shop: Shop) -> None:
    shop.settle_outside(shop.pay(currency="eur"))


def counted_money_settled_outside_stripe(shop: Shop) -> None:
    shop.settle_outside(shop.pay())


def cancelled_and_opened_again(shop: Shop) -> None:
    shop.ask()
    shop.cancel()
    shop.customer.payment_intent(shop.order)
    shop.open()


PAYABLE: list[tuple[Story, str]] = [
    (nothing_happened, "112.00"),
    (an_intent_is_open, "112.00"),
    (a_deposit_was_paid, "22.00"),
    (paid_then_raised, "8.00"),
    (all_of_it_corrected, "112.00"),
    (a_part_corrected, "30.00"),
    (refunded_then_raised, "8.00"),
    (uncounted_money_given_back, "112.00"),
    (uncounted_money_settled_outside_stripe, "112.00"),
    (counted_money_settled_outside_stripe, "112.00"),
    (cancelled_and_opened_again, "112.00"),
    (refund_failed, "22.00"),
    (dispute_won, "22.00"),
    (waiver_revoked, "22.00"),
]


@pytest.mark.parametrize(("story", "amount"), PAYABLE, ids=[story.__name__ for story, _ in PAYABLE])
def test_call_1_asks_for_what_is_outstanding(shop, story, amount):
    story(shop)
    shown = shop.customer.get(f"orders/{shop.order.pk}").json()["data"]

    response = shop.customer.payment_intent(shop.order)

    assert response.status_code == 200, response.content
    assert response.json()["data"]["amount"] == shown["outstanding"] == amount
    assert shown["payable"] is True
    pay(shop.stripe, response.json()["data"]["id"])
    shop.deliver()
    settled = shop.customer.get(f"orders/{shop.order.pk}").json()["data"]
    assert (settled["outstanding"], settled["payable"]) == ("0.00", False)


# --- an order that cannot be read ---------------------------------------------------------------


@pytest.mark.parametrize(
    "adapter", ["RaisesForTotal", "RaisesForIsPayable", "RaisesForLineItems", "RaisesForNumber"]
)
@pytest.mark.parametrize("begun", [False, True], ids=["first call", "later call"])
def test_an_adapter_that_raises_is_503_and_sends_nothing(shop, adapter, begun):
    if begun:
        shop.ask()
    Order.objects.update(number="BROKEN-1")
    shop.configure(ORDER_ADAPTER=f"tests.api.adapters.{adapter}")
    shop.stripe.requests.clear()

    response = shop.customer.payment_intent(shop.order)

    assert (response.status_code, response.json()["code"]) == (503, "order_unreadable")
    assert int(response["Retry-After"]) > 0
    assert "shop's own" not in response.content.decode(), "what the host's code says stays inside"
    assert shop.stripe.requests == []
    shown = shop.customer.get(f"orders/{shop.order.pk}").json()["data"]
    assert shown["payable"] is False
