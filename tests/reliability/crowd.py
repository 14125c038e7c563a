"""Everybody asks for one order at the same moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from shop_payments.lifecycle import IntentStatus
from shop_payments.models import Order, PaymentIntent, StripeAttempt
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import listed_at_stripe
from tests.reliability.crew import PATIENCE, Answer, Call, Crew, were_together
from tests.support import Caller, call_stripe


def withdraw_intent(
    crew: Crew, stripe: StripeSandbox, order: Order, storefront: Caller, payment_system: Caller
) -> None:
    """Have the order's intent created, cancelled in Stripe's dashboard, and seen to be so."""
    (asked,) = crew.send(Call.payment_intent(order, storefront))
    intent_id = asked.result(PATIENCE).json()["data"]["id"]
    call_stripe(stripe, "POST", f"payment_intents/{intent_id}/cancel")
    (seen,) = crew.send(Call.payment(order, payment_system))
    assert seen.result(PATIENCE).code == "payment_not_completed"


@dataclass(frozen=True, kw_only=True)
class Rush:
    """What came of it."""

    answers: list[Answer]
    outcome: dict[str, Any]
    due: dict[str, Any]
    """What the outcome has to be."""


def ask_at_once(crew: Crew, stripe: StripeSandbox, order: Order, storefront: Caller) -> Rush:
    """Have every thread of the crew ask for an order that has no open intent."""
    everybody = crew.processes * crew.threads
    attempts = StripeAttempt.objects.filter(order_payment__order=order)
    before = attempts.count()

    answers = crew.at_once(*[Call.payment_intent(order, storefront)] * everybody)

    statuses = [
        intent["status"]
        for intent in listed_at_stripe(stripe, "payment_intents")
        if intent["metadata"]["order_id"] == str(order.pk)
    ]
    return Rush(
        answers=answers,
        outcome={
            "answers": Counter(answer.status for answer in answers),
            "distinct answers": len({answer.body for answer in answers}),
            "at Stripe": [status for status in statuses if status != IntentStatus.CANCELED],
            "open here": PaymentIntent.objects.open().filter(order_payment__order=order).count(),
            "attempts": attempts.count() - before,
            "workers": len({answer.worker for answer in answers}),
            "together": were_together(answers),
        },
        due={
            "answers": {200: everybody},
            "distinct answers": 1,
            "at Stripe": [IntentStatus.REQUIRES_PAYMENT_METHOD],
            "open here": 1,
            "attempts": 1,
            "workers": everybody,
            "together": True,
        },
    )
