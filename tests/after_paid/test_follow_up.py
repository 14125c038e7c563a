"""What is done at Stripe after an evaluation: open payments are lowered, and excess goes back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, ClassVar

import pytest
import time_machine
from django.db import connection, transaction
from django.utils import timezone

from shop_payments import services
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import (
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    StripeAttempt,
)
from shop_payments.orders import BundledOrderAdapter, LineItem
from shop_payments.sandbox import Fault
from tests.balance.shop import DepositAdapter, Shop
from tests.support import writes

pytestmark = pytest.mark.django_db(transaction=True)

Build = Callable[..., Shop]


def sweep() -> Report:
    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        return reconcile(since=timezone.now() - timedelta(hours=72))


def asked_at_stripe(shop: Shop, intent_id: str) -> tuple[str, int]:
    intent = shop.at_stripe(intent_id)
    return intent["status"], intent["amount"] // 100


def costs(shop: Shop, total: int) -> None:
    """Change the order and say so; no webhook comes that would do the same."""
    shop.order.lines.update(unit_amount=total * 100)
    services.reevaluate_order(shop.order.pk)


OPEN = "requires_payment_method"


# --- an open payment that asks for too much (rule 11) -------------------------------------------


def test_an_open_payment_is_lowered_with_its_order(open_shop: Build) -> None:
    shop = open_shop(112)
    intent_id = shop.begin(112)
    sent = len(writes(shop.stripe))

    shop.costs(102)

    assert asked_at_stripe(shop, intent_id) == (OPEN, 102)
    assert len(writes(shop.stripe)) == sent + 1
    assert shop.intent(intent_id).amount == 10200
    fact = PaymentHistory.objects.get(kind="intent_updated")
    assert (fact.source, fact.data["detail"]) == ("shop", "102.00 USD")
    assert shop.begin(102) == intent_id


class ReservesLargeOrders(DepositAdapter):
    """Money for orders above 200.00 is only reserved."""

    def capture_method(self, order: Order) -> str:
        return "manual" if order.amount > 200_00 else "automatic"


class CannotShowOrders(DepositAdapter):
    """Can be evaluated, and not shown to Stripe."""

    def line_items(self, order: Order) -> list[LineItem]:
        raise RuntimeError("the catalogue is away")


@pytest.mark.parametrize("heard_by", ["the shop", "the sweep"])
def test_an_order_lowered_under_the_threshold_is_captured_at_once(open_shop: Build, heard_by):
    """Only the amount was lowered: money was reserved that nobody was going to capture."""
    shop = open_shop(300, ORDER_ADAPTER=f"{__name__}.ReservesLargeOrders")
    intent_id = shop.begin(300)
    assert shop.at_stripe(intent_id)["capture_method"] == "manual"

    if heard_by == "the shop":
        costs(shop, 112)
    else:
        shop.order.lines.update(unit_amount=112_00)
        OrderPayment.objects.update(total=112_00, amount_owed=112_00, amount_outstanding=112_00)
        sweep()

    assert asked_at_stripe(shop, intent_id) == (OPEN, 112)
    assert shop.at_stripe(intent_id)["capture_method"] == "automatic_async"
    shop.finish(intent_id)
    shop.assert_is("paid", outstanding=0, review=set())


def test_a_lowered_payment_is_brought_up_to_date_in_everything(open_shop: Build) -> None:
    """Call 1 has nothing left to update, so it only fetches the intent."""
    shop = open_shop(112)
    intent_id = shop.begin(112)
    Order.objects.update(email="new@example.com")

    shop.costs(102)
    sent = len(writes(shop.stripe))

    intent = shop.at_stripe(intent_id)
    assert intent["receipt_email"] == "new@example.com"
    assert '"amount":10200' in intent["metadata"]["line_items"]
    assert shop.begin(102) == intent_id
    assert len(writes(shop.stripe)) == sent


def test_a_payment_is_lowered_to_what_the_customer_pays_now(open_shop: Build) -> None:
    shop = open_shop(300)
    intent_id = shop.begin(300)
    DepositAdapter.now = 90_00

    shop.costs(250)

    assert asked_at_stripe(shop, intent_id) == (OPEN, 90)


def test_an_open_payment_is_cancelled_where_its_order_cannot_be_shown(open_shop: Build, configure):
    shop = open_shop(112)
    intent_id = shop.begin(112)
    adapter = f"{__name__}.CannotShowOrders"
    configure(**{**shop.stripe.shop_payments(), "ORDER_ADAPTER": adapter})

    shop.costs(102)

    assert shop.at_stripe(intent_id)["status"] == "canceled"


def test_an_open_payment_that_takes_other_types_by_now_is_cancelled(open_shop: Build, configure):
    shop = open_shop(112)
    intent_id = shop.begin(112)
    configure(**{**shop.stripe.shop_payments(), "AUTOMATIC_PAYMENT_METHODS": True})

    shop.costs(102)

    assert shop.at_stripe(intent_id)["status"] == "canceled"


def test_an_open_payment_of_a_free_order_is_cancelled(open_shop: Build) -> None:
    shop = open_shop(112)
    intent_id = shop.begin(112)

    shop.costs(0)

    assert shop.at_stripe(intent_id)["status"] == "canceled"
    assert shop.at_stripe(intent_id)["cancellation_reason"] == "duplicate"
    assert shop.intent(intent_id).status == "canceled"


def test_an_open_payment_of_an_order_that_is_not_wanted_is_cancelled(open_shop: Build) -> None:
    shop = open_shop(112)
    intent_id = shop.begin(112)

    shop.wants(False)

    assert shop.at_stripe(intent_id)["status"] == "canceled"


def test_the_rest_is_lowered_by_what_was_paid_otherwise(open_shop: Build) -> None:
    """Staff waive a part of what the customer has open."""
    shop = open_shop(300)
    DepositAdapter.now = 90_00
    shop.pay(90)
    DepositAdapter.now = None
    rest = shop.begin(210)

    shop.waive(10)
    assert asked_at_stripe(shop, rest) == (OPEN, 200)

    shop.waive(200)
    assert asked_at_stripe(shop, rest)[0] == "canceled"


def test_an_open_payment_is_cancelled_where_the_rest_is_below_stripes_minimum(
    open_shop: Build,
) -> None:
    """It cannot be lowered so far, and must not be paid as it is."""
    shop = open_shop(112)
    shop.pay(112)
    shop.order.lines.update(unit_amount=200_00)
    rest = shop.begin(88)
    shop.order.lines.update(unit_amount=112_30)

    services.reevaluate_order(shop.order.pk)

    assert shop.at_stripe(rest)["status"] == "canceled"
    assert shop.payment.amount_outstanding == 30


def test_an_open_payment_that_asks_for_less_is_left_alone(open_shop: Build) -> None:
    shop = open_shop(112)
    intent_id = shop.begin(112)
    sent = len(writes(shop.stripe))

    shop.costs(120)

    assert asked_at_stripe(shop, intent_id) == (OPEN, 112)
    assert len(writes(shop.stripe)) == sent


def test_money_that_is_reserved_is_left_to_staff(open_shop: Build) -> None:
    shop = open_shop(112, CAPTURE_METHOD="manual")
    intent_id = shop.pay(112)

    shop.costs(102)

    assert asked_at_stripe(shop, intent_id) == ("requires_capture", 112)
    assert not StripeAttempt.objects.pending().exists()


def test_money_that_is_on_its_way_is_left_alone(open_shop: Build) -> None:
    shop = open_shop(112, ALLOWED_PAYMENT_METHOD_TYPES=["card", "us_bank_account"])
    intent_id = shop.debit(112)

    shop.costs(102)

    assert asked_at_stripe(shop, intent_id) == ("processing", 112)


def test_stripe_is_called_after_the_commit_of_the_shop(open_shop: Build) -> None:
    shop = open_shop(112)
    intent_id = shop.begin(112)

    with transaction.atomic():
        shop.order.lines.update(unit_amount=102_00)
        services.reevaluate_order(shop.order.pk)
        assert asked_at_stripe(shop, intent_id) == (OPEN, 112)

    assert asked_at_stripe(shop, intent_id) == (OPEN, 102)


def test_what_the_shop_rolls_back_changes_nothing_at_stripe(open_shop: Build) -> None:
    shop = open_shop(112)
    intent_id = shop.begin(112)

    with transaction.atomic():
        shop.order.lines.update(unit_amount=102_00)
        services.reevaluate_order(shop.order.pk)
        transaction.set_rollback(True)

    assert asked_at_stripe(shop, intent_id) == (OPEN, 112)
    assert shop.payment.total == 11200


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
@pytest.mark.parametrize(
    ("total", "path", "at_stripe"),
    [
        (102, "/v1/payment_intents/*", (OPEN, 102)),
        (0, "/v1/payment_intents/*/cancel", ("canceled", 112)),
    ],
)
def test_where_stripe_was_away_the_sweep_does_it(
    open_shop: Build, fault, total, path, at_stripe, caplog
) -> None:
    shop = open_shop(112)
    intent_id = shop.begin(112)
    shop.stripe.inject(Fault(fault, method="POST", path=path))

    costs(shop, total)
    assert "the sweep tries it again" in caplog.text

    assert sweep().problems == []
    assert asked_at_stripe(shop, intent_id) == at_stripe
    assert not StripeAttempt.objects.pending().exists()
    sent = writes(shop.stripe)
    sweep()
    assert writes(shop.stripe) == sent


def test_the_sweep_lowers_what_a_dead_process_has_left(open_shop: Build) -> None:
    shop = open_shop(112)
    intent_id = shop.begin(112)
    with transaction.atomic():
        costs(shop, 102)
        connection.run_on_commit.clear()  # it dies right after the commit
    assert asked_at_stripe(shop, intent_id) == (OPEN, 112)

    assert sweep().problems == []

    assert asked_at_stripe(shop, intent_id) == (OPEN, 102)


def test_the_newest_total_counts_where_stripe_was_away_for_an_older_one(open_shop: Build) -> None:
    shop = open_shop(112)
    intent_id = shop.begin(112)
    shop.stripe.inject(Fault("drop_before", method="POST", path="/v1/payment_intents/*"))
    costs(shop, 102)

    costs(shop, 92)

    assert asked_at_stripe(shop, intent_id) == (OPEN, 92)
    assert not StripeAttempt.objects.pending().exists()


@pytest.mark.parametrize("automatic", [True, False])
def test_where_stripe_is_away_it_is_asked_once_and_not_at_once_again(
    open_shop: Build, automatic
) -> None:
    """Found: each try was followed by another one, for as long as Stripe was away."""
    shop = open_shop(112, AUTO_REFUND_EXCESS=automatic)
    shop.begin(112)
    path = "/v1/payment_intents/*"
    shop.stripe.inject(Fault("drop_before", method="POST", path=path, times=None))
    sent = len(writes(shop.stripe))

    costs(shop, 102)

    assert len(writes(shop.stripe)) == sent + 1


def test_a_payment_that_stripe_could_not_lower_in_time_is_excess(open_shop: Build) -> None:
    shop = open_shop(112)
    intent_id = shop.begin(112)
    shop.stripe.inject(Fault("drop_before", method="POST", path="/v1/payment_intents/*"))
    costs(shop, 102)

    shop.finish(intent_id)

    shop.assert_is("paid", outstanding=0, review={("excess", 10, intent_id)})


# --- excess that goes back by itself ------------------------------------------------------------


def automatic(open_shop: Build, total: int) -> Shop:
    return open_shop(total, AUTO_REFUND_EXCESS=True)


def test_a_payment_that_came_when_nothing_was_owed_goes_back(open_shop: Build) -> None:
    shop = automatic(open_shop, 100)
    shop.pay(100)

    second = shop.pay_again(100)

    assert shop.refunds() == [(second, 100)]
    shop.assert_is("paid", outstanding=0, review=set())


def test_it_stays_in_review_where_the_shop_does_not_want_that(open_shop: Build) -> None:
    shop = open_shop(100)
    shop.pay(100)

    second = shop.pay_again(100)

    assert shop.refunds() == []
    assert shop.in_review == {("excess", 100, second)}


@pytest.mark.parametrize("total", [102, 0])
def test_the_difference_from_a_lower_total_never_goes_back_by_itself(
    open_shop: Build, total
) -> None:
    """A mistake in the shop's prices, or a remainder for a total, must not empty the till."""
    shop = automatic(open_shop, 112)
    first = shop.pay(112)

    shop.costs(total)
    sweep()

    assert shop.refunds() == []
    assert shop.in_review == {("excess", 112 - total, first)}


def test_a_payment_that_was_needed_in_part_stays_in_review(open_shop: Build) -> None:
    """Only whole payments go back by themselves."""
    shop = automatic(open_shop, 100)
    shop.pay(100)
    shop.order.lines.update(unit_amount=200_00)
    second = shop.begin(100)
    shop.order.lines.update(unit_amount=150_00)

    shop.finish(second)

    assert shop.refunds() == []
    assert shop.in_review == {("excess", 50, second)}


def test_a_payment_of_which_a_part_has_gone_back_stays_in_review(
    configure, open_shop: Build
) -> None:
    shop = open_shop(100)
    shop.pay(100)
    second = shop.pay_again(100)
    shop.refund_in_dashboard(second, 10)

    configure(AUTO_REFUND_EXCESS=True)
    sweep()

    assert shop.refunds() == [(second, 10)]
    assert shop.in_review == {("excess", 90, second)}


def test_late_money_of_which_a_part_has_gone_back_stays_in_review(
    configure, open_shop: Build
) -> None:
    shop = open_shop(112)
    late = shop.begin(112)
    Order.objects.update(status="cancelled")
    shop.finish(late)
    shop.refund_in_dashboard(late, 12)

    configure(AUTO_REFUND_EXCESS=True)
    assert sweep().problems == []

    assert shop.refunds() == [(late, 12)]
    assert shop.in_review == {("uncounted", 100, late)}


def test_the_sweep_gives_back_what_came_before_the_setting(configure, open_shop: Build) -> None:
    shop = open_shop(100)
    shop.pay(100)
    second = shop.pay_again(100)

    configure(AUTO_REFUND_EXCESS=True)
    sweep()

    assert shop.refunds() == [(second, 100)]
    assert shop.in_review == set()


@pytest.mark.parametrize(("won", "goes_back"), [(None, False), (False, False), (True, True)])
def test_nothing_goes_back_while_a_payment_of_the_order_is_disputed_or_lost(
    open_shop: Build, won, goes_back
) -> None:
    """Who claims the first payment back would get both."""
    shop = automatic(open_shop, 100)
    first = shop.pay(100)
    shop.stripe.dispute(first)
    if won is not None:
        shop.stripe.decide_dispute(first, won=won)
    second = shop.pay_again(100)
    sweep()

    assert shop.refunds() == ([(second, 100)] if goes_back else [])


def test_nothing_goes_back_while_the_customers_bank_asks(open_shop: Build) -> None:
    shop = automatic(open_shop, 100)
    shop.stripe.dispute(shop.pay(100), inquiry=True)

    second = shop.pay_again(100)

    assert shop.refunds() == []
    assert ("excess", 100, second) in shop.in_review


def test_no_more_than_three_payments_of_an_order_go_back_by_themselves(open_shop: Build) -> None:
    """Who pays again and again is not paid by us to test cards."""
    shop = automatic(open_shop, 100)
    shop.pay(100)

    again = [shop.pay_again(100) for _ in range(4)]
    sweep()

    assert shop.refunds() == [(intent_id, 100) for intent_id in again[:3]]
    assert shop.in_review == {("excess", 100, again[3])}


def test_a_refund_that_fails_is_not_tried_again_by_itself(open_shop: Build) -> None:
    shop = automatic(open_shop, 100)
    shop.pay(100)
    shop._write_total(200_00)
    second = shop.begin(100)
    shop._write_total(100_00)
    shop.finish(second, "pm_card_refundFail")
    shop.stripe.advance_clock(3600)
    shop.stripe.deliver_webhooks()

    assert sweep().problems == []

    assert [row.status for row in Refund.objects.all()] == ["failed"]
    assert {reason for reason, _amount, _intent in shop.in_review} == {"excess", "refund_failed"}


class SecondThoughts(DepositAdapter):
    """A shop that lets the order grow as soon as it hears of money: goods for what was paid."""

    grows_to: ClassVar[int | None] = None

    def on_payment_received(self, order: Order, **kwargs: Any) -> None:
        if self.grows_to is not None:
            order.lines.update(unit_amount=self.grows_to)


def test_it_is_looked_at_once_more_under_the_lock_before_it_goes_back(
    open_shop: Build, monkeypatch
) -> None:
    path = f"{__name__}.{SecondThoughts.__name__}"
    shop = open_shop(100, AUTO_REFUND_EXCESS=True, ORDER_ADAPTER=path)
    shop.pay(100)
    monkeypatch.setattr(SecondThoughts, "grows_to", 200_00)

    shop.pay_again(100)

    assert shop.refunds() == []
    shop.assert_is("paid", outstanding=0, review=set())


def test_a_refund_that_was_not_answered_is_sent_once(open_shop: Build) -> None:
    shop = automatic(open_shop, 100)
    shop.pay(100)
    shop.stripe.inject(Fault("drop_after", path="/v1/refunds"))

    second = shop.pay_again(100)
    sweep()
    sweep()

    assert shop.refunds() == [(second, 100)]
    assert Refund.objects.get().status == "succeeded"
    assert PaymentIntent.objects.count() == 2


def test_an_address_that_stripe_refuses_does_not_keep_an_intent_from_being_lowered(
    storefront, order, stripe, configure, caplog
):
    storefront.payment_intent(order)
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": f"{__name__}.OfNobody"})
    order.lines.update(unit_amount=2500)

    services.reevaluate_order(order.pk)

    intent = PaymentIntent.objects.get()
    assert (intent.status, intent.amount) == ("requires_payment_method", 5000)
    assert "nobody@" not in caplog.text


class OfNobody(BundledOrderAdapter):
    def receipt_email(self, order):
        return "nobody@@nowhere"
