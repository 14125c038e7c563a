"""No secret comes out of the gateway by accident."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from shop_payments.exceptions import (
    GatewayUnavailable,
    UnexpectedState,
)
from shop_payments.gateway import get_gateway
from shop_payments.sandbox import Fault, SandboxResponse
from shop_payments.secrecy import Secret, redact
from tests.gateway.support import (
    all_of,
    create,
    new_key,
)
from tests.support import pay


def test_a_client_secret_does_not_show_itself(stripe):
    intent = create()
    secret = intent.client_secret.reveal()
    shown = [
        *(repr(intent), str(intent), f"{intent}", repr(vars(intent)), repr([intent])),
        *(str(intent.client_secret), f"{intent.client_secret}", f"{intent.client_secret!r:>50}"),
    ]
    assert secret
    assert not [text for text in shown if secret in text or "_secret_" in text]


def test_a_client_secret_is_true_where_there_is_one():
    assert Secret("pi_1_secret_x")
    assert not Secret("")


def fail_with_a_secret(stripe):
    """A refusal whose body quotes the intent, client secret included."""
    intent = create()
    pay(stripe, intent.id)
    with pytest.raises(UnexpectedState) as failure:
        get_gateway().confirm_payment_intent(
            intent.id, payment_method="pm_card_visa", idempotency_key=new_key()
        )
    return intent.client_secret.reveal(), failure.value


def test_an_exception_carries_no_secret(stripe):
    secret, error = fail_with_a_secret(stripe)
    assert error.__cause__ is error.__context__ is None
    assert secret not in f"{error!r} {error} {vars(error)} {all_of(error)}"
    assert "sk_test_of_the_tests" not in all_of(error)


def test_an_unreadable_answer_leaves_no_secret_in_the_traceback(configure):
    """The frame that read it was in the traceback, with the whole object in its variables."""
    body = json.dumps({"object": "payment_intent", "client_secret": "pi_1_secret_hidden"}).encode()
    configure(STRIPE_TRANSPORT=lambda *args: SandboxResponse(200, {}, body))
    with pytest.raises(GatewayUnavailable) as failure:
        get_gateway().retrieve_payment_intent("pi_1")
    assert "pi_1_secret_hidden" not in all_of(failure.value)


def test_half_an_answer_is_not_quoted(configure):
    """The SDK's message held the whole body."""
    half = b'{"id": "pi_1", "receipt_email": "a@example.com", "client_secret": "pi_1_secret_hid'
    configure(STRIPE_TRANSPORT=lambda *args: SandboxResponse(200, {}, half))
    with pytest.raises(GatewayUnavailable) as failure:
        get_gateway().retrieve_payment_intent("pi_1")
    assert str(failure.value) == "The answer was not Stripe's (HTTP 200)"
    assert "pi_1_secret_hid" not in all_of(failure.value)


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("pi_3abc_secret_XyZ1 is it", "pi_3abc_secret_*** is it"),
        ('"seti_1_secret_abc"', '"seti_1_secret_***"'),
        ("Bearer sk_test_51abc", "Bearer sk_test_***"),
        ("rk_live_abc, pk_test_abc", "rk_live_***, pk_test_***"),
        ("whsec_abc=", "whsec_***="),
        ("client_secret", "client_secret"),
        ("Invalid API Key provided: sk_test_***abc", "Invalid API Key provided: sk_test_***abc"),
    ],
)
def test_redact(text, redacted):
    assert redact(text) == redacted


def test_the_sdk_logs_no_secret(stripe_server, caplog):
    caplog.set_level(logging.DEBUG)
    secret, _error = fail_with_a_secret(stripe_server)
    for fault in (Fault("error", status=500), Fault("drop_after")):
        stripe_server.inject(fault)
        with pytest.raises(GatewayUnavailable):
            create()

    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert "API response body" in logged
    assert not [word for word in (secret, "sk_test_of_the_tests", "whsec_of_the") if word in logged]


@pytest.mark.parametrize("level", ["debug", "info", ""])
def test_the_sdks_console_log_prints_no_bodies(level):
    """STRIPE_LOG=debug printed client secrets to stderr, past the logger and its filter."""
    script = """
import django, django.conf
from shop_payments.sandbox import Sandbox
django.conf.settings.configure(INSTALLED_APPS=[], SHOP_PAYMENTS={
    "STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_TRANSPORT": Sandbox().handle})
django.setup()
from shop_payments.gateway import get_gateway
intent = get_gateway().create_payment_intent(
    {"amount": 100, "currency": "usd"}, idempotency_key="k")
print(intent.client_secret.reveal())
"""
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={"STRIPE_LOG": level},
        capture_output=True,
        text=True,
        check=True,
    )
    secret = run.stdout.strip()
    assert "_secret_" in secret
    assert secret not in run.stderr
    assert "API response body" not in run.stderr
    assert ("Stripe API response" in run.stderr) == bool(level)
