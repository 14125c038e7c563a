"""API keys. See: https://docs.stripe.com/keys (checked 2026-11)

Keys that are refused are in `refusals`.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from shop_payments.sandbox import Sandbox
from shop_payments.sandbox.wire.keys import mask
from tests.sandbox.support import CHARGES, INTENTS, KEY, ORDER, PUBLISHABLE_KEY, REFUNDS, Api

RESTRICTED_KEY = "rk_test_abcdefghijklmnop"


def test_a_key_is_a_bearer_token_or_a_basic_user(api):
    basic = base64.b64encode(f"{KEY}:".encode()).decode()

    assert api.call("GET", INTENTS, key=RESTRICTED_KEY).status == 200
    assert api.call("GET", INTENTS, key=None, Authorization=f"Basic {basic}").status == 200


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        ("", "You did not provide an API key."),
        ("Bearer ", "You did not provide an API key."),
        ("Basic §§§", "You did not provide an API key."),
        ("Bearer sk_live_abcdefghijklmnop", "Invalid API Key provided: sk_live_************mnop."),
        ("Bearer hello", "Invalid API Key provided: *****."),
    ],
)
def test_another_key_is_refused_and_masked(api, authorization, message):
    answer = api.call("GET", INTENTS, key=None, Authorization=authorization)

    assert (answer.status, answer.error["type"]) == (401, "invalid_request_error")
    assert answer.error["message"].startswith(message)
    assert "request_log_url" not in answer.error
    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["www-authenticate"] == 'Basic realm="Stripe"'
    assert mask("sk_test_abcd") == "sk_test_****"


def test_a_restricted_key_does_what_it_may(api, sandbox):
    """See: https://docs.stripe.com/keys/restricted-api-keys (checked 2026-11)"""
    sandbox.restrict_key(RESTRICTED_KEY, "rak_payment_intent_write", "rak_refund_read")

    created = api.call("POST", INTENTS, ORDER, key=RESTRICTED_KEY)
    read = [api.call("GET", path, key=RESTRICTED_KEY).status for path in (INTENTS, REFUNDS)]
    refund = api.call("POST", REFUNDS, {"payment_intent": created["id"]}, key=RESTRICTED_KEY)

    assert [created.status, *read] == [200, 200, 200]
    assert (refund.status, refund.error["type"]) == (403, "invalid_request_error")
    assert refund.error["message"] == (
        "The provided key 'rk_test_************mnop' does not have the required permissions for"
        " this endpoint on account 'acct_1SandboxAccount'. Having the 'rak_refund_write'"
        " permission would allow this request to continue."
    )
    assert api.get(CHARGES).status == 200
    with pytest.raises(ValueError, match="begin with rk_test_"):
        sandbox.restrict_key(KEY)


@pytest.mark.parametrize(
    ("accepted", "key", "other"),
    [
        ({"secret_keys": [KEY]}, KEY, "sk_test_someoneelses"),
        ({"publishable_keys": [PUBLISHABLE_KEY]}, PUBLISHABLE_KEY, "pk_test_someoneelses"),
    ],
)
def test_a_sandbox_may_take_certain_keys_only(accepted, key, other):
    api = Api(Sandbox(**accepted))

    assert api.call("GET", f"{INTENTS}/pi_1", key=key).status != 401
    refused = api.call("GET", f"{INTENTS}/pi_1", key=other)
    assert refused.status == 401
    assert refused.error["message"] == f"Invalid API Key provided: {other[:8]}********lses"


@pytest.mark.parametrize("name", ["secret_keys", "publishable_keys"])
def test_a_sandbox_is_given_test_keys(name):
    live: dict[str, Any] = {name: ["sk_live_abcdefghijklmnop"]}
    one: dict[str, Any] = {name: KEY}

    with pytest.raises(ValueError, match=r"[sp]k_test_"):
        Sandbox(**live)
    with pytest.raises(TypeError, match="collection"):
        Sandbox(**one)


@pytest.mark.parametrize("header", ["Stripe_Account", "Stripe_Context"])
def test_connected_accounts_are_not_covered(api, header):
    answer = api.get(INTENTS, **{header: "acct_1"})

    assert (answer.status, answer.error["code"]) == (400, "sandbox_not_covered")
