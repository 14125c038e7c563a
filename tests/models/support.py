"""Rows with as little as the database wants of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from shop_payments.models import (
    FactKind,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    Source,
    StaffEntry,
    StripeAttempt,
    WebhookEvent,
)

MOMENT = datetime(2025, 3, 31, 12, tzinfo=UTC)
_TEST: dict[str, Any] = {"livemode": False}
_MONEY: dict[str, Any] = {"amount": 1000, "currency": "usd"}


def make_attempt(payment: OrderPayment, **values: Any) -> StripeAttempt:
    finished = {"outcome": "succeeded", "finished_at": MOMENT}
    defaults = {"operation": "create_intent", "params": {}, **_TEST, **finished}
    return StripeAttempt.objects.create(order_payment=payment, **{**defaults, **values})


def make_intent(payment: OrderPayment, **values: Any) -> PaymentIntent:
    attempt = make_attempt(payment)
    defaults = {"stripe_id": f"pi_{attempt.pk.hex}", "status": "requires_payment_method"}
    values = {**defaults, **_MONEY, **_TEST, "stripe_created_at": MOMENT, **values}
    return PaymentIntent.objects.create(order_payment=payment, attempt=attempt, **values)


def make_refund(intent: PaymentIntent, **values: Any) -> Refund:
    rows = {"payment_intent": intent, "order_payment": intent.order_payment}
    return Refund.objects.create(**{**rows, **_MONEY, **_TEST, **values})


def make_fact(payment: OrderPayment, **values: Any) -> PaymentHistory:
    defaults = {"kind": FactKind.ORDER_PAID, "source": Source.API}
    return PaymentHistory.objects.create(order_payment=payment, **{**defaults, **values})


def make_review(intent: PaymentIntent, **values: Any) -> ReviewItem:
    rows = {"payment_intent": intent, "order_payment": intent.order_payment}
    return ReviewItem.objects.create(**{**rows, "reason": "excess", **values})


def make_entry(payment: OrderPayment, **values: Any) -> StaffEntry:
    defaults = {"kind": "waiver", **_MONEY, "reason": "agreed"}
    return StaffEntry.objects.create(order_payment=payment, **{**defaults, **values})


def make_event(event_id: str) -> WebhookEvent:
    values = {**_TEST, "stripe_created_at": MOMENT, "payload": {}}
    return WebhookEvent.objects.create(event_id=event_id, **values)
