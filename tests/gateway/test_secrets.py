"""The gateway shows no secret in exceptions and logs."""

from __future__ import annotations

import logging

import pytest

from shop_payments.exceptions import GatewayUnavailable, UnexpectedState
from shop_payments.sandbox import Fault, SandboxResponse
from tests.gateway.support import all_of, confirm, create, refusal, retrieve
from tests.support import pay


def fail_with_a_secret(stripe):
    """Return a client secret, and a refusal whose body contains the intent with this secret."""
    intent = create()
    pay(stripe, intent.id)
    return intent.client_secret.reveal(), refusal(UnexpectedState, confirm, intent.id)


@pytest.mark.parametrize("end", ["}", ""], ids=["without an id", "half of it"])
def test_an_unreadable_answer_is_not_quoted(configure, end):
    """The SDK's message contained the whole body, and so did a variable in the traceback."""
    body = f'{{"object": "payment_intent", "client_secret": "pi_1_secret_hidden"{end}'
    configure(STRIPE_TRANSPORT=lambda *args: SandboxResponse(200, {}, body.encode()))
    assert "hidden" not in all_of(refusal(GatewayUnavailable, retrieve, "pi_1"))


def test_the_sdk_logs_no_secret(stripe_server, caplog):
    """Nor does an exception carry one."""
    caplog.set_level(logging.DEBUG)
    secret, error = fail_with_a_secret(stripe_server)
    assert error.__cause__ is error.__context__ is None
    assert secret not in f"{error!r} {error} {vars(error)} {all_of(error)}"
    assert "sk_test_of_the_tests" not in all_of(error)
    for fault in (Fault("error", status=500), Fault("drop_after")):
        stripe_server.inject(fault)
        refusal(GatewayUnavailable, create)

    logged = caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert "API response body" in logged
    assert not [word for word in (secret, "sk_test_of_the_tests", "whsec_of_the") if word in logged]
