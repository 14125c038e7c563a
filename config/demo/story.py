"""The three calls of docs/api.md, in order, shown as curl lines, sent and checked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.core.management import CommandError
from django.urls import reverse

from config.demo import contract
from config.demo.data import DemoData
from config.demo.http import Answer, Call
from shop_payments.models import Order

WEBHOOK_PATIENCE = 15
"""Seconds until a webhook that has not come counts as lost."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where the story plays, and how it is told."""

    shop: str
    sandbox: str
    data: DemoData
    stripe_key: str = field(repr=False)
    say: Callable[[str], None]
    headline: Callable[[str], str]

    def shop_url(self, route: str, order: Order) -> str:
        return self.shop + reverse(f"shop_payments:{route}", args=[order.pk])

    def stripe_url(self, intent_id: str, action: str = "") -> str:
        return f"{self.sandbox}/v1/payment_intents/{intent_id}{action}"


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What later answers are compared with."""

    id: str
    client_secret: str = field(repr=False)


def tell(stage: Stage) -> None:
    """Take the order to paid.

    Raises:
        CommandError: an answer is not what docs/api.md says; the message says where.
    """
    intent = _create_payment_intent(stage)
    _attach_test_card(stage, intent)
    _confirm(stage, intent)
    _wait_until_paid(stage, intent)
    _mark_as_paid(stage, intent)


def create_payment_intent_call(stage: Stage, order: Order) -> Call:
    headers = {
        "Authorization": f"Bearer {stage.data.token}",
        "X-API-Key": stage.data.storefront_key,
        "Content-Type": "application/json",
    }
    return Call(method="POST", url=stage.shop_url("payment-intent", order), headers=headers)


def read_order_call(stage: Stage, order: Order) -> Call:
    headers = {"Authorization": f"Bearer {stage.data.token}"}
    return Call(method="GET", url=stage.shop_url("order", order), headers=headers)


def _create_payment_intent(stage: Stage) -> Intent:
    _tell(
        stage,
        "1. Create payment intent",
        "The storefront asks, with its customer's token and its own API key.",
    )
    answer = _show(stage, create_payment_intent_call(stage, stage.data.order))
    shape = contract.payment_intent_answer(
        message="Payment intent created successfully", status="requires_payment_method"
    )
    _check(answer, shape, step="1")
    data = answer.body["data"]
    return Intent(id=data["id"], client_secret=data["client_secret"])


def _attach_test_card(stage: Stage, intent: Intent) -> None:
    _tell(
        stage,
        "2. Make payment (for testing only): attach a test card",
        "Stripe's own call, answered by the sandbox; Stripe's test mode answers the same at\n"
        "https://api.stripe.com. The body is a form: Stripe takes no JSON.",
    )
    call = _stripe_call(stage, stage.stripe_url(intent.id), payment_method="pm_card_visa")
    answer = _show(stage, call)
    _check(answer, _stripe_shape(stage, intent, status="requires_confirmation"), step="2")


def _confirm(stage: Stage, intent: Intent) -> None:
    _tell(
        stage,
        "2. Make payment, continued: confirm it",
        "A card that is attached has paid nothing yet. In a shop, Stripe.js in the customer's\n"
        "browser confirms the intent with the client_secret; here the secret key does.",
    )
    answer = _show(stage, _stripe_call(stage, stage.stripe_url(intent.id, "/confirm")))
    _check(answer, _stripe_shape(stage, intent, status="succeeded"), step="2 (confirm)")


def _wait_until_paid(stage: Stage, intent: Intent) -> None:
    _tell(
        stage,
        "The webhook: nobody calls, and the order is paid",
        "Stripe (the sandbox) has sent the shop a signed event; that alone made the order paid.\n"
        "The customer's client sees it when it asks for the order.",
    )
    order = stage.data.order
    call = read_order_call(stage, order)
    deadline = time.monotonic() + WEBHOOK_PATIENCE
    while not _is_paid(answer := _send(call)) and time.monotonic() < deadline:
        time.sleep(0.1)
    stage.say(str(call))
    stage.say(str(answer))
    shape = contract.paid_order_answer(
        order_id=str(order.pk), order_number=order.number, intent_id=intent.id
    )
    _check(answer, shape, step="2 (webhook)")


def _is_paid(answer: Answer) -> bool:
    """Whether there is nothing more to wait for, be it that the order cannot be read."""
    return answer.status != 200 or answer.body["data"]["payment_status"] == "paid"


def _mark_as_paid(stage: Stage, intent: Intent) -> None:
    _tell(
        stage,
        "3. Mark order as paid",
        "The payment system says so, with its own API key. The shop does not rely on that, but\n"
        "asks Stripe; the order is paid already, so nothing happens twice.",
    )
    headers = {"X-API-Key": stage.data.payments_key, "Content-Type": "application/json"}
    url = stage.shop_url("payment", stage.data.order)
    answer = _show(stage, Call(method="POST", url=url, headers=headers))
    shape = contract.payment_intent_answer(
        message="Order marked as paid successfully",
        status="succeeded",
        intent_id=intent.id,
        client_secret=intent.client_secret,
    )
    _check(answer, shape, step="3")


def _stripe_call(stage: Stage, url: str, **form: str) -> Call:
    headers = {"Authorization": f"Bearer {stage.stripe_key}"}
    return Call(method="POST", url=url, headers=headers, form=form)


def _stripe_shape(stage: Stage, intent: Intent, *, status: str) -> contract.Shape:
    return contract.stripe_intent(
        intent_id=intent.id,
        client_secret=intent.client_secret,
        order_id=str(stage.data.order.pk),
        order_number=stage.data.order.number,
        status=status,
    )


def _tell(stage: Stage, title: str, text: str) -> None:
    stage.say(f"{stage.headline(title)}\n{text}")


def _show(stage: Stage, call: Call) -> Answer:
    stage.say(str(call))
    answer = _send(call)
    stage.say(str(answer))
    return answer


def _send(call: Call) -> Answer:
    try:
        return call.send()
    except OSError as error:
        raise CommandError(f"No answer to {call.method} {call.url}: {error}") from error


def _check(answer: Answer, shape: Any, *, step: str) -> None:
    """Raise unless the answer is a 200 of this shape."""
    found = [] if answer.status == 200 else [f"the status is {answer.status}, not 200"]
    found += contract.deviations(answer.body, shape)
    if found:
        raise CommandError(f"Step {step} did not hold:\n  " + "\n  ".join(found))
