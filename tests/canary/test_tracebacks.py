"""No repr, no exception and no frame of a traceback shows a secret."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable
from contextlib import suppress
from pprint import pformat
from typing import Any

import pytest
from django.core import checks
from django.core.cache import cache
from django.db import DataError, OperationalError, connection

from shop_payments.conf import get_config, parse_config
from shop_payments.exceptions import ConfigurationError, GatewayError, WebhookError
from shop_payments.gateway import get_gateway, read_event
from shop_payments.models import APIKey, PaymentIntent, Refund, WebhookEvent
from shop_payments.sandbox import Sandbox
from tests.admin.support import add
from tests.canary.detector import STRIPE_KEY, WEBHOOK_SECRETS
from tests.canary.mangled import BAD_SETTINGS
from tests.canary.reports import FrameAudit, logging_off, look_at_errors, report, reports_of, run
from tests.canary.scene import (
    CREATE_KEY,
    KEY_FORM,
    DatabaseGone,
    run_the_flow,
    run_what_comes_after,
)
from tests.support import Caller, event_body, sign


def test_nothing_shows_itself(scene, canary):
    scene.ask()
    scene.pay()
    scene.settle()
    scene.refund()
    (intent,) = scene.stripe._books.payment_intents.values()
    gateway = get_gateway()
    result = gateway.retrieve_payment_intent(intent["id"])
    body = event_body(intent)
    event = read_event(body, sign(body, secret=WEBHOOK_SECRETS[0]))
    rows = [
        row
        for model in (APIKey, PaymentIntent, WebhookEvent, Refund)
        for row in model.objects.all()
    ]
    refunds = gateway.list_refunds(intent["id"])

    for each in (result, event, get_config(), gateway, result.client_secret, *rows, *refunds):
        for text in (repr(each), str(each), f"{each}", pformat(each), pformat([each])):
            canary.look_at(f"the repr of a {type(each).__name__}", text)
    for shown in (vars(result), dataclasses.asdict(result), vars(event), vars(gateway)):
        canary.look_at("the fields of a result", repr(shown))
    for store in (json.dumps, pickle.dumps):
        with pytest.raises(TypeError):
            store(result.client_secret)
    with pytest.raises(TypeError):
        cache.set("returned", result)

    canary.assert_silent()


def test_no_exception_of_the_tree_does(scene, canary):
    scene.ask()
    scene.pay()
    (intent,) = scene.stripe._books.payment_intents.values()
    gateway, no_event = get_gateway(), json.dumps([intent]).encode()
    calls: list[Callable[[], object]] = [
        lambda: gateway.retrieve_payment_intent("pi_missing"),
        lambda: gateway.create_payment_intent({"amount": 1}, idempotency_key="k"),
        lambda: gateway.confirm_payment_intent(
            intent["id"], payment_method="pm_card_chargeDeclined", idempotency_key="l"
        ),
        lambda: gateway.create_refund({"payment_intent": "pi_no"}, idempotency_key="m"),
        lambda: gateway.capture_payment_intent(intent["id"], {}, idempotency_key="n"),
        lambda: gateway.cancel_payment_intent(intent["id"], {}, idempotency_key="o"),
        lambda: read_event(event_body(intent), "t=1,v1=00"),
        lambda: read_event(no_event, sign(no_event, secret=WEBHOOK_SECRETS[0])),
        lambda: parse_config({"STRIPE_SECRET_KEY": [STRIPE_KEY]}),
    ]

    errors = look_at_errors(canary, calls)

    of_the_tree = (GatewayError, WebhookError, ConfigurationError)
    assert all(isinstance(error, of_the_tree) for error in errors), errors
    canary.assert_silent()


class Unforeseen:
    """A Stripe in whose answer stripe-python fails in a way that nobody has foreseen."""

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


# --- a database that goes away ------------------------------------------------------------------


def newest(scene: Any, type_: str) -> bytes:
    events = [event for event in scene.stripe.events if event["type"] == type_]
    return json.dumps(events[-1]).encode()


FORM = {"content_type": "application/x-www-form-urlencoded"}
CALLS: dict[str, Callable[[Any], object]] = {
    "create": lambda scene: scene.ask(),
    "update": lambda scene: scene.ask(),
    "settle": lambda scene: scene.settle(),
    "webhook": lambda scene: scene.send(newest(scene, "payment_intent.succeeded"), **FORM),
    "refund": lambda scene: scene.refund(),
    "webhook of a dispute": lambda scene: scene.send(newest(scene, "charge.dispute.created")),
    "a key of staff": lambda scene: scene.staff.post(add(APIKey), KEY_FORM),
    "a key by command": lambda scene: run(scene.canary, *CREATE_KEY),
    "browsable API": lambda scene: Caller(client=scene.staff).post(
        f"orders/{scene.order.pk}/payment-intent", Accept="text/html"
    ),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("how", [OperationalError, DataError])  # the latter is answered with a 500
def test_no_database_that_goes_away_does(scene, canary, new_secret, name, how):
    if how is DataError and name not in {"settle", "webhook"}:
        pytest.skip("one call of each kind is enough")
    for at in range(1, 60):
        scene.new_order()
        if name not in {"create", "browsable API"}:
            assert scene.ask().status_code == 200
        if name in {"settle", "webhook", "refund", "webhook of a dispute"}:
            scene.pay("pm_card_createDispute" if "dispute" in name else "pm_card_visa")
        if name == "refund":
            scene.settle()
        if name == "update":
            scene.order.lines.update(quantity=3)
        gone = DatabaseGone(at, how=how)
        with connection.execute_wrapper(gone):
            CALLS[name](scene)
        if not gone.happened:
            break

    assert 2 < at < 59
    failures = [record for record in canary.trap.records if record.exc_info]
    if how is DataError:
        assert any(hasattr(record, "request") for record in failures)
    reports_of(canary)
    canary.assert_silent()


# --- frames: an exception might come out of any call --------------------------------------------


@pytest.fixture
def audit(canary):
    audit = FrameAudit(canary)
    yield audit
    assert not audit.found, "\n".join(sorted(audit.found))


def test_no_frame_shows_one_while_customers_pay(scene, audit):
    with audit.watching():
        run_the_flow(scene)
        run_what_comes_after(scene)

    gateway = {f"/gateway/{name}.py" for name in ("client", "building", "webhooks")}
    services = {f"/services/{name}.py" for name in ("receive_event", "refund_payment")}
    sync = {f"/sync/{name}.py" for name in ("payment_intents", "refunds", "disputes")}
    assert gateway | services | sync | {"/api/views.py", "/outbox/sender.py"} <= audit.seen
    assert {"read_event", "parse_config", "_client", "_digest", "secret_of"} <= audit.sealed


def test_no_frame_shows_one_while_staff_work(scene, audit, new_secret):
    scene.ask()
    scene.pay("pm_card_createDispute")
    scene.settle()
    scene.dispute_and_owe()
    prefix = scene.storefront.headers["X-API-Key"].split("_")[1]

    with audit.watching():
        scene.staff.post(add(APIKey), KEY_FORM)
        Caller(client=scene.staff).post(
            f"orders/{scene.order.pk}/payment-intent", Accept="text/html"
        )
        statuses = scene.waive_the_rest() + scene.act_as_staff()
        scene.walk_the_admin()
        APIKey.objects.exclude(prefix=prefix).delete()
        for arguments in (
            CREATE_KEY,
            ("shop_payments_api_key", "list"),
            ("shop_payments_api_key", "revoke", prefix),
            ("shop_payments_pay", scene.order.number, "--confirm"),
            ("shop_payments_purge", "--older-than", "90"),
        ):
            run(scene.canary, *arguments)

    assert {*statuses} <= {200, 302}
    seen = {f"/admin/{name}.py" for name in ("api_keys", "actions", "review", "entry_actions")}
    seen |= {f"/services/{name}.py" for name in ("refund_payment", "record_staff_entry")}
    commands = ("shop_payments_api_key", "shop_payments_pay", "shop_payments_purge")
    assert seen | {f"/management/commands/{name}.py" for name in commands} <= audit.seen


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_no_frame_shows_one_while_a_bad_setting_is_refused(scene, audit, configure, name):
    configure(**BAD_SETTINGS[name])

    with audit.watching():
        checks.run_checks(include_deployment_checks=True)
        with suppress(ConfigurationError):
            get_gateway()
