"""Whole payments that came when nothing was owed or wanted go back, where the shop wants that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from shop_payments.models import Order, Refund, StripeAttempt, WebhookEvent
from tests.books import sweep
from tests.shop import DepositAdapter, Shop

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_agree")]


def automatic(open_shop: Callable[..., Shop], total: int, **settings: Any) -> Shop:
    return open_shop(total, AUTO_REFUND_EXCESS=True, **settings)


def paid_twice(shop: Shop, *, method: str = "pm_card_visa") -> tuple[str, str]:
    """Pay an order of 100 twice; of the second payment no event has come yet."""
    first = shop.pay(100)
    shop.order.lines.update(unit_amount=200_00)
    second = shop.begin(100)
    shop.order.lines.update(unit_amount=100_00)
    shop.stripe.pay(second, method, deliver=False)
    return first, second


def test_a_payment_that_came_when_nothing_was_owed_goes_back(configure, open_shop):
    """At once, or with the sweep where it came before the setting."""
    for is_automatic in (True, False):
        shop = open_shop(100, AUTO_REFUND_EXCESS=is_automatic)
        _first, second = paid_twice(shop)
        shop.stripe.deliver_webhooks()
        if not is_automatic:
            assert shop.in_review == {("excess", 100, second)}
            configure(AUTO_REFUND_EXCESS=True)
            sweep()

        assert shop.refunds()[-1] == (second, 100)
        shop.assert_is("paid", outstanding=0, review=set())


def test_the_difference_from_a_lower_total_never_goes_back_by_itself(open_shop):
    """A mistake in the shop's prices, or a remainder for a total, must not empty the till."""
    shop = automatic(open_shop, 112)
    first = shop.pay(112)

    for total in (102, 0):
        shop.costs(total)
        sweep()

        assert shop.refunds() == []
        assert shop.in_review == {("excess", 112 - total, first)}


def test_money_in_another_currency_never_goes_back_by_itself(open_shop):
    """The shop wanted money, only not this: staff look first."""
    shop = automatic(open_shop, 112)
    intent_id = shop.begin(112)
    Order.objects.update(currency="eur")

    shop.finish(intent_id)

    assert shop.refunds() == []
    assert shop.in_review == {("uncounted", 112, intent_id)}


def test_a_payment_of_which_a_part_was_refunded_stays_in_review(configure, open_shop):
    """Only whole payments go back by themselves."""
    shop = open_shop(100)
    intent_id = shop.pay_late()
    shop.refund_in_dashboard(intent_id, 10)

    configure(AUTO_REFUND_EXCESS=True)
    assert sweep().problems == []

    assert shop.refunds() == [(intent_id, 10)]
    assert shop.in_review == {("uncounted", 90, intent_id)}


@pytest.mark.parametrize("decided", ["inquiry", "open", "lost", "won"])
def test_nothing_goes_back_while_a_payment_of_the_order_is_disputed_or_lost(open_shop, decided):
    """Otherwise a customer who disputes the first payment would get both."""
    shop = automatic(open_shop, 100)
    first = shop.pay(100)
    shop.stripe.dispute(first, inquiry=decided == "inquiry")
    if decided in {"lost", "won"}:
        shop.stripe.decide_dispute(first, won=decided == "won")
    second = shop.pay_again(100)
    sweep()

    assert shop.refunds() == ([(second, 100)] if decided == "won" else [])


def test_no_more_than_three_payments_of_an_order_go_back_by_themselves(open_shop):
    """Someone who pays again and again does not make us test their cards."""
    shop = automatic(open_shop, 100)
    shop.pay(100)

    again = [shop.pay_again(100) for _ in range(4)]
    sweep()

    assert shop.refunds() == [(intent_id, 100) for intent_id in again[:3]]
    assert shop.in_review == {("excess", 100, again[3])}


@pytest.mark.parametrize("meanwhile", ["refund", "dispute"])
def test_refunds_and_disputes_of_which_no_event_has_come_are_heeded(open_shop, meanwhile):
    shop = automatic(open_shop, 100)
    first, _second = paid_twice(shop)
    if meanwhile == "refund":
        shop.stripe.refund(first, 100_00, deliver=False)
    else:
        shop.stripe.dispute(first, deliver=False)

    shop.stripe.deliver_webhooks()

    assert shop.refunds() == ([(first, 100)] if meanwhile == "refund" else [])
    review: Any = {("disputed", 100, first)} if meanwhile == "dispute" else set()
    shop.assert_is("paid", outstanding=0, review=review)


def test_the_order_is_read_again_under_the_lock_before_it_goes_back(open_shop, monkeypatch):
    """A shop may let the order grow as soon as it hears of money: goods for what was paid."""
    shop = automatic(open_shop, 100)
    shop.pay(100)

    def grow(adapter: Any, order: Order, **kwargs: Any) -> None:
        order.lines.update(unit_amount=200_00)

    monkeypatch.setattr(DepositAdapter, "on_payment_received", grow)
    shop.pay_again(100)

    assert shop.refunds() == []
    shop.assert_is("paid", outstanding=0, review=set())


@pytest.mark.parametrize(("method", "is_late"), [("total", True), ("find", True), ("find", False)])
def test_a_fault_in_the_shops_code_gives_no_payment_back(open_shop, monkeypatch, method, is_late):
    """Found: money for an order that could not be read went back as if it had been cancelled.

    Money of a cancelled order goes back once it can be read.
    """
    shop = automatic(open_shop, 112)
    intent_id = shop.begin(112)
    if is_late:
        Order.objects.update(status="cancelled")
    shop.stripe.pay(intent_id, deliver=False)

    with monkeypatch.context() as broken:
        broken.setattr(DepositAdapter, method, lambda *args: None)
        shop.stripe.deliver_due()
        assert shop.payment.failed_reads > 0
    assert shop.refunds() == []

    sweep()
    assert shop.payment.is_paid is not is_late
    assert shop.refunds() == ([(intent_id, 112)] if is_late else [])


def test_a_refund_that_fails_is_not_tried_again_by_itself(open_shop):
    shop = automatic(open_shop, 100)
    paid_twice(shop, method="pm_card_refundFail")
    shop.stripe.deliver_webhooks()
    shop.stripe.advance_clock(3600)
    shop.stripe.deliver_webhooks()

    assert sweep().problems == []

    assert [row.status for row in Refund.objects.all()] == ["failed"]
    assert {reason for reason, _amount, _intent in shop.in_review} == {"excess", "refund_failed"}


def test_a_refund_that_breaks_in_an_unknown_way_stops_no_notification(
    open_shop, stripe, configure, told, caplog
):
    """Found: it broke the webhook's request as well, whose facts were then sent by the sweep."""

    def transport(method, url, headers, body):
        if url.endswith("/v1/refunds"):
            raise RuntimeError("nobody has thought of this")
        return stripe.handle(method, url, headers, body)

    automatic(open_shop, 112, STRIPE_TRANSPORT=transport).pay_late()
    configure(STRIPE_TRANSPORT=stripe.handle)

    assert [name for name, _data in told] == ["review_needed"]
    assert WebhookEvent.objects.get(type="payment_intent.succeeded").status == "processed"
    assert "the sweep tries it again" in caplog.text
    assert Refund.objects.get().status == "requested"
    StripeAttempt.objects.update(acquired_at=None)  # minutes later
