"""An order that the shop's own code cannot read: nothing is derived, and it is tried again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest
import time_machine
from django.utils import timezone

from shop_payments import services
from shop_payments.exceptions import NegativeAmount, OrderUnreadable
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import (
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    WebhookEvent,
)
from shop_payments.money import Money
from shop_payments.orders import BundledOrderAdapter
from tests.factories import OrderFactory
from tests.support import answer, call_stripe, send_event, writes

pytestmark = pytest.mark.django_db(transaction=True)


class MoodyShop(BundledOrderAdapter):
    """A shop whose code fails for some of its orders."""

    errors: ClassVar[dict[Any, Exception]] = {}
    """What ``total`` raises, by the order's primary key."""

    now: ClassVar[Exception | None] = None
    """What ``amount_to_pay_now`` raises."""

    def total(self, order: Order) -> Money:
        if order.pk in self.errors:
            raise self.errors[order.pk]
        return super().total(order)

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        if self.now is not None:
            raise self.now
        return super().amount_to_pay_now(order, outstanding)


@pytest.fixture(autouse=True)
def errors(configure: Callable[..., None], stripe: Any) -> Iterator[dict[Any, Exception]]:
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": f"{__name__}.MoodyShop"})
    yield MoodyShop.errors
    MoodyShop.errors.clear()
    MoodyShop.now = None


@pytest.fixture
def intent_id(storefront, order, stripe) -> str:
    return str(storefront.payment_intent(order).json()["data"]["id"])


def sweep(*, after: timedelta = timedelta(minutes=2)) -> Report:
    with time_machine.travel(timezone.now() + after):
        return reconcile(since=timezone.now() - timedelta(hours=72))


def message(order: Order) -> str:
    return f"OrderAdapter.total raised KeyError (order {order.pk})"


# --- what Stripe says is stored, and nothing is derived -----------------------------------------


def test_a_webhook_is_refused_and_its_redelivery_pays_the_order(
    order, intent_id, stripe, webhooks, errors, paid_signals
):
    """Found: one exception while the webhook was processed, and it was unpaid for ever."""
    webhooks()
    errors[order.pk] = KeyError("price list")
    event = stripe.pay(intent_id, deliver=False)

    assert send_event(event).status_code == 503

    payment, intent = OrderPayment.objects.get(), PaymentIntent.objects.get()
    assert (payment.status, payment.failed_reads, payment.needs_review) == ("unpaid", 1, False)
    assert (intent.status, intent.amount_received, intent.wanted) == ("succeeded", 11200, False)
    stored = WebhookEvent.objects.get(type="payment_intent.succeeded")
    assert (stored.status, stored.outcome) == ("failed", f"OrderUnreadable: {message(order)}")
    assert paid_signals == []

    errors.clear()
    webhooks()

    payment.refresh_from_db()
    assert (payment.status, payment.failed_reads, payment.amount_received) == ("paid", 0, 11200)
    assert len(paid_signals) == 1


def test_the_log_names_method_and_order(order, intent_id, stripe, errors, caplog):
    errors[order.pk] = KeyError("price list")

    send_event(stripe.pay(intent_id, deliver=False))

    assert f"OrderAdapter.total raised for order {order.pk}" in caplog.text
    assert "KeyError: 'price list'" in caplog.text


def test_the_state_of_a_paid_order_stays_as_it_was(order, paid, errors):
    before = OrderPayment.objects.values().get()
    errors[order.pk] = KeyError("price list")

    with pytest.raises(OrderUnreadable):
        services.reevaluate_order(order.pk)

    changed = {"failed_reads": 1, "updated_at": OrderPayment.objects.get().updated_at}
    assert OrderPayment.objects.values().get() == {**before, **changed}


def test_after_three_failed_tries_staff_are_asked_to_look(order, intent_id, stripe, errors, told):
    event = stripe.pay(intent_id, deliver=False)
    errors[order.pk] = KeyError("price list")

    for tries in (1, 2):
        assert send_event(event).status_code == 503
        assert OrderPayment.objects.get().failed_reads == tries
        assert not ReviewItem.objects.exists()
    for _try in range(2):
        assert send_event(event).status_code == 503

    item = ReviewItem.objects.get()
    assert (item.reason, item.detail) == ("order_unreadable", message(order))
    assert OrderPayment.objects.get().needs_review
    assert [name for name, _data in told] == ["review_needed"]

    errors.clear()
    assert send_event(event).status_code == 200
    item.refresh_from_db()
    assert (item.closed_itself, item.closing_note) == (True, "The order can be read again")
    assert not OrderPayment.objects.get().needs_review


def test_the_count_of_failed_tries_starts_again_after_one_that_succeeds(order, paid, errors):
    for _round in range(2):
        errors[order.pk] = KeyError("price list")
        for _try in range(2):
            with pytest.raises(OrderUnreadable):
                services.reevaluate_order(order.pk)
        errors.clear()
        services.reevaluate_order(order.pk)

    assert OrderPayment.objects.get().failed_reads == 0
    assert not ReviewItem.objects.exists()


# --- the sweep ----------------------------------------------------------------------------------


def test_the_sweep_evaluates_it_when_it_can_be_read(order, intent_id, stripe, errors, paid_signals):
    errors[order.pk] = KeyError("price list")
    send_event(stripe.pay(intent_id, deliver=False))
    WebhookEvent.objects.all().delete()

    report = sweep()
    assert (report.orders, len(report.problems)) == (0, 1)
    assert message(order) in report.problems[0]

    errors.clear()
    report = sweep()
    assert (report.orders, report.problems) == (1, [])
    assert OrderPayment.objects.get().is_paid
    assert len(paid_signals) == 1


def test_other_orders_of_the_same_sweep_are_unaffected(
    storefront, order, intent_id, stripe, errors
):
    others = [OrderFactory.create(customer=order.customer) for _ in range(2)]
    for each in (others[0], order, others[1]):
        stripe.pay(storefront.payment_intent(each).json()["data"]["id"], deliver=False)
    errors[order.pk] = KeyError("price list")

    report = sweep()

    statuses = dict(OrderPayment.objects.values_list("order_id", "status"))
    assert statuses == {order.pk: "unpaid", others[0].pk: "paid", others[1].pk: "paid"}
    assert report.problems
    assert all(message(order) in problem for problem in report.problems)


# --- HTTP ---------------------------------------------------------------------------------------


def test_other_orders_of_the_same_list_are_unaffected(storefront, order, paid, errors):
    other = OrderFactory.create(customer=order.customer)
    errors[other.pk] = KeyError("price list")

    results = storefront.get("orders").json()["data"]["results"]

    broken, whole = results
    assert (broken["id"], broken["total"], broken["payable"]) == (str(other.pk), None, False)
    assert (broken["payment_status"], broken["outstanding"]) == ("unpaid", None)
    assert (whole["id"], whole["total"], whole["payment_status"]) == (
        *(str(order.pk), "112.00"),
        "paid",
    )


def test_a_list_shows_the_stored_state_of_what_cannot_be_read(storefront, order, paid, errors):
    errors[order.pk] = KeyError("price list")

    seen = storefront.get(f"orders/{order.pk}").json()["data"]

    assert (seen["payment_status"], seen["total"], seen["payable"]) == ("paid", None, False)
    assert [each["amount_received"] for each in seen["payments"]] == ["112.00"]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_payment_cannot_be_begun_and_nothing_is_sent(storefront, order, stripe, errors, is_first):
    if not is_first:
        storefront.payment_intent(order)
    sent = len(stripe.requests)
    errors[order.pk] = KeyError("price list")

    response = storefront.payment_intent(order)

    assert answer(response) == (503, "order_unreadable")
    assert response["Retry-After"] == "5"
    assert len(stripe.requests) == sent
    errors.clear()
    assert storefront.payment_intent(order).status_code == 200


def test_a_payment_is_stored_and_not_yet_marked(payment_system, order, intent_id, stripe, errors):
    stripe.pay(intent_id, deliver=False)
    errors[order.pk] = KeyError("price list")

    response = payment_system.payment(order)

    assert answer(response) == (503, "order_unreadable")
    assert response["Retry-After"] == "5"
    assert PaymentIntent.objects.get().amount_received == 11200
    errors.clear()
    assert payment_system.payment(order).status_code == 200
    assert OrderPayment.objects.get().is_paid


def test_a_fault_in_what_is_asked_for_now_keeps_nothing_from_being_paid(
    storefront, payment_system, order, intent_id, stripe
):
    MoodyShop.now = KeyError("deposit")

    response = storefront.payment_intent(order)
    assert answer(response) == (503, "order_unreadable")
    assert not storefront.get(f"orders/{order.pk}").json()["data"]["payable"]
    stripe.pay(intent_id, deliver=False)
    assert payment_system.payment(order).status_code == 200


def test_goods_are_not_released_of_an_order_that_cannot_be_read(order, paid, errors):
    errors[order.pk] = KeyError("price list")

    with pytest.raises(OrderUnreadable, match=r"OrderAdapter.total raised KeyError"):
        services.may_release(order.pk)


# --- where trying again cannot help -------------------------------------------------------------


def test_a_negative_total_is_answered_with_its_reason(
    storefront, order, intent_id, stripe, webhooks, errors
):
    webhooks()
    errors[order.pk] = NegativeAmount("-1.00 is less than 0")

    response = storefront.payment_intent(order)

    assert answer(response) == (409, "order_not_payable")
    assert response.json()["data"] == {"reason": "negative_total"}
    assert send_event(stripe.pay(intent_id, deliver=False)).status_code == 503
    assert OrderPayment.objects.get().status == "unpaid"


def test_the_currency_of_an_order_stays_as_long_as_money_counts(
    storefront, payment_system, order, paid
):
    """Otherwise its money would stop counting, and the customer would be asked for all of it."""
    Order.objects.update(currency="eur")

    response = storefront.payment_intent(order)

    assert answer(response) == (409, "order_not_payable")
    assert response.json()["data"] == {"reason": "currency_changed"}
    with pytest.raises(OrderUnreadable, match="returned EUR, but the order was paid in USD"):
        services.reevaluate_order(order.pk)
    assert OrderPayment.objects.get().status == "paid"


def test_the_currency_may_change_while_no_money_counts(storefront, order, intent_id):
    Order.objects.update(currency="eur")

    data = storefront.payment_intent(order).json()["data"]

    assert (data["id"], data["currency"]) == (intent_id, "eur")


# --- refunds ------------------------------------------------------------------------------------


def test_a_refund_is_not_held_up_by_an_order_that_cannot_be_read(
    office, order, paid, stripe, errors, sent
):
    """The total that was last seen says what it means."""
    errors[order.pk] = KeyError("price list")

    response = office.refund(order, {"amount": "12.00"})

    assert response.status_code == 200
    refund, payment = Refund.objects.get(), OrderPayment.objects.get()
    assert (refund.status, refund.total_seen) == ("succeeded", 11200)
    assert payment.failed_reads > 0
    assert "order_refunded" not in [name for name, _data in sent]

    errors.clear()
    services.reevaluate_order(order.pk)
    assert OrderPayment.objects.get().status == "partially_refunded"
    assert sent[-1][0] == "order_refunded"
    assert (sent[-1][1]["amount"], sent[-1][1]["goods"]) == (1200, 1200)


def test_a_refund_in_the_dashboard_is_mirrored_while_the_order_cannot_be_read(
    order, paid, stripe, webhooks, errors
):
    errors[order.pk] = KeyError("price list")
    intent = PaymentIntent.objects.get()
    call_stripe(stripe, "POST", "refunds", payment_intent=intent.stripe_id, amount="1200")
    webhooks()
    assert (Refund.objects.get().amount, OrderPayment.objects.get().status) == (1200, "paid")

    errors.clear()
    stripe.advance_clock(3600)
    webhooks()

    assert OrderPayment.objects.get().status == "partially_refunded"
    assert PaymentHistory.objects.filter(kind="order_refunded").count() == 1


def test_an_automatic_refund_waits_until_the_order_can_be_read(
    configure, order, intent_id, stripe, errors
):
    """Whether the shop wanted the money is not known."""
    path = f"{__name__}.MoodyShop"
    configure(**{**stripe.shop_payments(), "AUTO_REFUND_EXCESS": True, "ORDER_ADAPTER": path})
    Order.objects.update(status="cancelled")
    errors[order.pk] = KeyError("price list")

    send_event(stripe.pay(intent_id, deliver=False))
    assert "/v1/refunds" not in writes(stripe)

    errors.clear()
    sweep()
    assert "/v1/refunds" in writes(stripe)
    assert OrderPayment.objects.get().amount_uncounted == 0
