"""No repr, no exception and no frame of a traceback shows a secret."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from pprint import pformat
from typing import Any

import pytest
from django.core.cache import cache
from django.db import DataError, OperationalError, connection

from shop_payments.conf import get_config, parse_config
from shop_payments.exceptions import ConfigurationError, GatewayError, WebhookError
from shop_payments.gateway import get_gateway, read_event
from shop_payments.models import APIKey, PaymentIntent, WebhookEvent
from shop_payments.sandbox import Sandbox
from tests.canary.detector import STRIPE_KEY, WEBHOOK_SECRETS
from tests.canary.reports import logging_off, look_at_errors, report, reports_of
from tests.canary.scene import DatabaseGone
from tests.support import Caller, event_body, sign


def test_nothing_shows_itself(scene, canary):
    scene.ask()
    (intent,) = scene.stripe._books.payment_intents.values()
    result = get_gateway().retrieve_payment_intent(intent["id"])
    body = event_body(intent)
    event = read_event(body, sign(body, secret=WEBHOOK_SECRETS[0]))
    rows = [*APIKey.objects.all(), *PaymentIntent.objects.all(), *WebhookEvent.objects.all()]

    for each in (result, event, get_config(), get_gateway(), result.client_secret, *rows):
        for text in (repr(each), str(each), f"{each}", pformat(each), pformat([each])):
            canary.look_at(f"the repr of a {type(each).__name__}", text)
    for shown in (vars(result), dataclasses.asdict(result), vars(event), vars(get_gateway())):
        canary.look_at("the fields of a result", repr(shown))
    for store in (json.dumps, pickle.dumps):
        with pytest.raises(TypeError):
            store(result.client_secret)
    with pytest.raises(TypeError):
        cache.set("returned", result)

    canary.assert_silent()


def test_no_exception_of_the_tree_does(scene, canary):
    scene.ask()
    (intent,) = scene.stripe._books.payment_intents.values()
    no_event = json.dumps([intent]).encode()
    calls: list[Callable[[], object]] = [
        lambda: get_gateway().retrieve_payment_intent("pi_missing"),
        lambda: get_gateway().create_payment_intent({"amount": 1}, idempotency_key="k"),
        lambda: get_gateway().confirm_payment_intent(
            intent["id"], payment_method="pm_card_chargeDeclined", idempotency_key="l"
        ),
        lambda: read_event(event_body(intent), "t=1,v1=00"),
        lambda: read_event(no_event, sign(no_event, secret=WEBHOOK_SECRETS[0])),
        lambda: parse_config({"STRIPE_SECRET_KEY": [STRIPE_KEY]}),
    ]

    errors = look_at_errors(canary, calls)

    of_the_tree = (GatewayError, WebhookError, ConfigurationError)
    assert all(isinstance(error, of_the_tree) for error in errors), errors
    canary.assert_silent()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("call", ["first", "again", "changed", "settle", "webhook", "form"])
@pytest.mark.parametrize("how", [OperationalError, DataError])  # the latter is answered with a 500
def test_no_database_that_goes_away_does(scene, canary, call, how):
    statements = 0
    for at in range(1, 60):
        scene.new_order()
        if call != "first":
            assert scene.ask().status_code == 200
        if call in {"settle", "webhook", "form"}:
            scene.pay()
        if call == "changed":
            scene.order.lines.update(quantity=3)
        told = [each for each in scene.stripe.events if each["type"] == "payment_intent.succeeded"]
        event = json.dumps(told[-1]).encode() if told else b""
        gone = DatabaseGone(at, how=how)
        with connection.execute_wrapper(gone):
            if call == "settle":
                scene.settle()
            elif call == "webhook":
                scene.send(event)
            elif call == "form":  # error pages show forms
                scene.send(event, content_type="application/x-www-form-urlencoded")
            else:
                scene.ask()
        if not gone.happened:
            break
        statements = at

    assert 3 < statements < 59
    failures = [record for record in canary.trap.records if record.exc_info]
    assert failures
    assert any(hasattr(record, "request") for record in failures) is (how is DataError)
    reports_of(canary)
    canary.assert_silent()


class Unforeseen:
    """A Stripe in whose answer stripe-python, or a worker's end, fails as nobody has foreseen."""

    def __init__(self, stripe: Sandbox, error: BaseException) -> None:
        self._stripe, self._error = stripe, error

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> Any:
        answer = self._stripe.handle(method, url, headers, body)
        raise self._error from ValueError(answer.body)


@pytest.mark.parametrize("error", [ZeroDivisionError("oops"), SystemExit(1)])
def test_no_error_that_nobody_foresaw_does(scene, canary, stripe, configure, error):
    scene.ask()
    (intent,) = stripe._books.payment_intents.values()
    configure(STRIPE_API_BASE="", STRIPE_TRANSPORT=Unforeseen(stripe, error))

    with pytest.raises(type(error)) as caught:
        get_gateway().retrieve_payment_intent(intent["id"])

    assert "stripe/_api_requestor.py" in "".join(error.__notes__)
    with logging_off():  # without the frame of this test
        report(canary, (type(error), error, caught.tb.tb_next))
    canary.assert_silent()


@pytest.mark.django_db(transaction=True)
def test_no_database_that_goes_away_while_staff_pay_in_the_browsable_api_does(scene, canary):
    staff = Caller(client=scene.staff)
    for at in range(1, 60):
        scene.new_order()
        gone = DatabaseGone(at)
        with connection.execute_wrapper(gone):
            staff.post(f"orders/{scene.order.pk}/payment-intent", Accept="text/html")
        if not gone.happened:
            break

    assert 3 < at < 59
    reports_of(canary)
    canary.assert_silent()
