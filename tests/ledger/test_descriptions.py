"""Each suggestion of a review item, carried out word for word, closes the item as it promises.

The amount to refund is read out of the text that staff read, so a text that promises something else
fails. What a button does: see tests/admin/test_review.py.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from shop_payments.models import Order, ReviewItem
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from tests.books import STAFF
from tests.shop import Shop
from tests.support import call_stripe

pytestmark = pytest.mark.django_db


def the_item(reason: str, *parts: str) -> ReviewItem:
    """Return the open item, whose suggestion contains these parts."""
    item: ReviewItem = ReviewItem.objects.open().get(reason=reason)
    for part in parts:
        assert part in item.suggested_action
    return item


def refund_as_suggested(shop: Shop, item: Any) -> None:
    """Refund the amount that the text names, of the payment that the item is about."""
    found = re.search(r"[Rr]efund (\d+\.\d\d) ", item.suggested_action)
    assert found, item.suggested_action
    intent_id = item.payment_intent.stripe_id
    request = RefundRequest(amount_decimal=Decimal(found[1]), key="admin", intent_id=intent_id)
    refund_payment(order_id=shop.order.pk, request=request, origin=STAFF)
    shop.stripe.deliver_webhooks()


def settle(shop: Shop, item: Any) -> None:
    shop.settle(item.payment_intent.stripe_id)


def refund_all(shop: Shop, item: Any) -> None:
    assert shop.office.refund(shop.order).status_code == 200


def refund_newest(shop: Shop, item: Any) -> None:
    shop.refund_in_dashboard(item.payment_intent.stripe_id, 50)


# --- what happens -------------------------------------------------------------------------------


def a_remainder(open_shop: Callable[..., Shop]) -> Shop:
    """The order's total is what is left to pay."""
    shop = open_shop(112)
    shop.pay(112)
    shop.costs(0)
    return shop


def late(open_shop: Callable[..., Shop]) -> Shop:
    shop = open_shop(112)
    shop.pay_late()
    return shop


def another_currency(open_shop: Callable[..., Shop]) -> Shop:
    shop = open_shop(112, currency="eur")
    first = shop.begin(112)
    Order.objects.filter(pk=shop.order.pk).update(currency="gbp")
    shop.finish(first)
    return shop


def cancelled_with_money(open_shop: Callable[..., Shop]) -> Shop:
    """70 of 112 were captured of a payment intent that was then cancelled."""
    shop = open_shop(112, CAPTURE_METHOD="manual")
    first = shop.pay(112)
    shop.stripe.capture_part(first, 70_00)
    call_stripe(shop.stripe, "POST", f"payment_intents/{first}/cancel")
    shop.stripe.deliver_webhooks()
    return shop


def cancelled_in_part(open_shop: Callable[..., Shop]) -> Shop:
    """180 of 230 were received, and the shop wants no more."""
    shop = open_shop(230)
    shop.deposit(180)
    shop.wants(False)
    return shop


def waived_and_paid(open_shop: Callable[..., Shop]) -> Shop:
    """50 of 230 were waived while the customer paid them."""
    shop = open_shop(230)
    shop.deposit(180)
    second = shop.begin(50)
    shop.stripe.pay(second, deliver=False)
    shop.waive(50)
    shop.stripe.deliver_webhooks()
    return shop


WRONG = ("ask the shop's developers to correct the code", "Otherwise refund 112.00 USD")
BACK = ("let the customer pay again", "settle it outside Stripe")
LATE = ("Refund 112.00 USD", "open the order again. Then the money counts")
REST = ("Refund what was received, or waive what is owed.",)
KEPT = ("The money is kept.", "You can revoke the waiver, or refund")


@pytest.mark.parametrize(
    ("happens", "reason", "says", "staff", "becomes", "owed", "asks"),
    [
        (a_remainder, "excess", WRONG, lambda shop, item: shop.costs(112), "paid", 0, 0),
        (a_remainder, "excess", WRONG, settle, "unpaid", 0, 0),
        (late, "uncounted", LATE, lambda shop, item: shop.wants(True), "paid", 0, 0),
        (another_currency, "uncounted", BACK[:1], refund_as_suggested, "unpaid", 112, 112),
        (cancelled_with_money, "uncounted", BACK, refund_as_suggested, "unpaid", 112, 112),
        (cancelled_with_money, "uncounted", BACK, settle, "unpaid", 112, 112),
        (cancelled_in_part, "rest_owed", REST, refund_all, "unpaid", 230, 0),
        (waived_and_paid, "waived_received", KEPT, refund_newest, "partially_refunded", 0, 0),
    ],
)
def test_a_suggestion_that_is_carried_out_closes_its_item(
    open_shop, happens, reason, says, staff, becomes, owed, asks
):
    """And call 1 asks for what is owed then, if the shop wants it."""
    shop = happens(open_shop)
    item = the_item(reason, *says)

    staff(shop, item)

    item.refresh_from_db()
    assert (item.closed_at is not None, item.closed_automatically) == (True, True)
    shop.assert_is(becomes, outstanding=asks, owed=owed)
    if asks:
        shop.begin(asks)
    else:
        assert shop.ask().status_code == 409


def test_money_that_a_bank_holds_or_has_taken_is_not_refunded(open_shop):
    """A refund that failed may leave money beside a dispute: Stripe gives nothing of it back."""
    shop = open_shop(112)
    intent_id = shop.pay(112)
    refund = shop.refund_in_dashboard(intent_id, 40)
    dispute = shop.stripe.open_dispute(shop.at_stripe(intent_id)["latest_charge"])
    shop.stripe.advance_refund(refund["id"], "failed")
    shop.costs(20)
    shop.stripe.deliver_webhooks()

    the_item("excess", "Wait until the customer's bank has decided", "Refund 20.00")
    call_stripe(shop.stripe, "POST", f"disputes/{dispute['id']}/close")
    shop.stripe.deliver_webhooks()

    the_item("excess", "settle it outside Stripe")
    shop.settle(intent_id, 20)
    shop.assert_is("paid", outstanding=0, asks=("order_already_paid", None))
