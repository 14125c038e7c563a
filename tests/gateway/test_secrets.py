"""No secret comes out of the gateway by accident."""

from __future__ import annotations

import json
import logging
import subprocess
import sys

import pytest

from shop_payments.exceptions import GatewayUnavailable, UnexpectedState
from shop_payments.sandbox import Fault, SandboxResponse
from tests.gateway.support import all_of, confirm, create, refusal, retrieve
from tests.support import pay


def fail_with_a_secret(stripe):
    """A refusal whose body quotes the intent, client secret included."""
    intent = create()
    pay(stripe, intent.id)
    return intent.client_secret.reveal(), refusal(UnexpectedState, confirm, intent.id)


def test_an_exception_carries_no_secret(stripe):
    secret, error = fail_with_a_secret(stripe)
    assert error.__cause__ is error.__context__ is None
    assert secret not in f"{error!r} {error} {vars(error)} {all_of(error)}"
    assert "sk_test_of_the_tests" not in all_of(error)


SECRET = "pi_1_secret_hidden"


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"object": "payment_intent", "client_secret": SECRET}),
        f'{{"id": "pi_1", "receipt_email": "a@example.com", "client_secret": "{SECRET}',
    ],
    ids=["without an id", "half of it"],
)
def test_an_answer_that_cannot_be_read_is_not_quoted(configure, body):
    """The SDK's message held the whole body, and so did a variable in the traceback."""
    configure(STRIPE_TRANSPORT=lambda *args: SandboxResponse(200, {}, body.encode()))
    error = refusal(GatewayUnavailable, retrieve, "pi_1")
    assert SECRET not in all_of(error)


def test_the_sdk_logs_no_secret(stripe_server, caplog):
    caplog.set_level(logging.DEBUG)
    secret, _error = fail_with_a_secret(stripe_server)
    for fault in (Fault("error", status=500), Fault("drop_after")):
        stripe_server.inject(fault)
        refusal(GatewayUnavailable, create)

    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert "API response body" in logged
    assert not [word for word in (secret, "sk_test_of_the_tests", "whsec_of_the") if word in logged]


SCRIPT = """
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


@pytest.mark.parametrize("level", ["debug", "info", ""])
def test_the_sdks_console_log_prints_no_bodies(level):
    """STRIPE_LOG=debug printed client secrets to stderr, past the logger and its filter."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT],
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
