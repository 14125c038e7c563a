"""API keys. See: https://docs.stripe.com/keys (checked 2026-11)"""

from __future__ import annotations

import base64

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import INTENTS, KEY, PUBLISHABLE_KEY, Api

RESTRICTED_KEY = "rk_test_abcdefghijklmnop"


def test_a_key_is_a_bearer_token_or_a_basic_user(api):
    basic = base64.b64encode(f"{KEY}:".encode()).decode()

    assert api.call("GET", INTENTS, key=RESTRICTED_KEY).status == 200
    assert api.call("GET", INTENTS, key=None, Authorization=f"Basic {basic}").status == 200


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        ("", "You did not provide an API key."),
        ("Basic §§§", "You did not provide an API key."),
        ("Bearer sk_live_abcdefghijklmnop", "Invalid API Key provided: sk_live_************mnop."),
        ("Bearer hello", "Invalid API Key provided: *****."),
        ("Bearer sk_test_", "Invalid API Key provided: "),
    ],
)
def test_an_invalid_key_is_refused_and_masked(api, authorization, message):
    answer = api.call("GET", INTENTS, key=None, Authorization=authorization)

    answer.assert_refused(401, message, type="invalid_request_error")
    assert "request_log_url" not in answer.error
    assert answer.headers["request-id"].startswith("req_")
    assert answer.headers["www-authenticate"] == 'Basic realm="Stripe"'


def test_a_sandbox_may_accept_certain_test_keys_only():
    api = Api(Sandbox(secret_keys=[KEY], publishable_keys=[PUBLISHABLE_KEY]))

    for key, other in ((KEY, "sk_test_someoneelses"), (PUBLISHABLE_KEY, "pk_test_someoneelses")):
        assert api.call("GET", f"{INTENTS}/pi_1", key=key).status != 401
        refused = api.call("GET", f"{INTENTS}/pi_1", key=other)
        refused.assert_refused(401, f"Invalid API Key provided: {other[:8]}********lses")
    with pytest.raises(ValueError, match="sk_test_"):
        Sandbox(secret_keys=["sk_live_abcdefghijklmnop"])
    with pytest.raises(TypeError, match="collection"):
        Sandbox(publishable_keys=PUBLISHABLE_KEY)


@pytest.mark.parametrize("header", ["Stripe_Account", "Stripe_Context"])
def test_connected_accounts_are_not_covered(api, header):
    api.get(INTENTS, **{header: "acct_1"}).assert_refused(code="sandbox_not_covered")
