"""GET /v1/elements/sessions, with which Stripe.js and the mobile SDKs begin."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest

from tests.sandbox.support import INTENTS, PUBLISHABLE_KEY

STRIPE_JS = {
    "key": PUBLISHABLE_KEY,
    "_stripe_version": "2024-06-20",
    "elements_init_source": "stripe.elements",
    "referrer_host": "localhost:8000",
    "stripe_js_id": "306e0445-ee14-48e8-a34e-57bf4b8e48c1",
    "locale": "en-US",
    "expand[0]": "payment_method_preference.payment_intent.payment_method",
}
STRIPE_IOS = {
    "key": PUBLISHABLE_KEY,
    "custom_payment_methods[0]": "cpmt_1",
    "external_payment_methods[]": "external_paypal",
    "mobile_app_id": "com.example.shop",
    "locale": "en-US",
}
"""See `makeElementsSessionsParams` of stripe/stripe-ios (checked 2026-11)."""
DEFERRED = {
    "type": "deferred_intent",
    "deferred_intent[mode]": "payment",
    "deferred_intent[amount]": "11200",
    "deferred_intent[currency]": "eur",
}


@pytest.fixture
def ask(sandbox):
    """Ask about an intent, or with other parameters, and return the status and the session."""

    def ask(intent=None, client=STRIPE_JS, **params):
        if intent is not None:
            params |= {"type": "payment_intent", "client_secret": intent["client_secret"]}
        query = urlencode({**client, **params})
        answer = sandbox.handle("GET", f"/v1/elements/sessions?{query}", {})
        return answer.status, json.loads(answer.body)

    return ask


def test_it_names_the_types_of_an_intent(api, ask):
    types = ["card", "us_bank_account", "amazon_pay"]
    chosen = {f"allowed_payment_method_types[{i}]": name for i, name in enumerate(types)}
    intent = api.post(INTENTS, {"amount": "11200", "currency": "usd", **chosen})

    status, session = ask(intent)

    preference = session["payment_method_preference"]
    assert (status, preference["ordered_payment_method_types"]) == (200, types)
    assert session["ordered_payment_method_types_and_wallets"] == types
    assert preference["object"] == "payment_method_preference"
    assert preference["payment_intent"]["client_secret"] == intent["client_secret"]
    assert "metadata" not in preference["payment_intent"]
    assert session["session_id"].startswith("elements_session_")
    assert ask(intent, client=STRIPE_IOS)[0] == 200


def test_it_names_the_types_of_an_intent_that_is_created_later(ask):
    _, automatic = ask(**DEFERRED)
    _, chosen = ask(**DEFERRED, **{"deferred_intent[payment_method_types][0]": "sepa_debit"})
    _, allowed = ask(**DEFERRED, **{"deferred_intent[allowed_payment_method_types][0]": "link"})
    _, rest = ask(**DEFERRED, **{"deferred_intent[excluded_payment_method_types][0]": "card"})

    key = "ordered_payment_method_types"
    assert automatic["payment_method_preference"][key] == ["card", "link"]
    assert chosen["payment_method_preference"][key] == ["sepa_debit"]
    assert allowed["payment_method_preference"][key] == ["link"]
    assert rest["payment_method_preference"][key] == ["link"]
    assert "payment_intent" not in chosen["payment_method_preference"]


@pytest.mark.parametrize("secret", ["pi_1_secret_2", "ID_secret_guess"])
def test_a_wrong_secret_is_refused(api, ask, secret):
    status, answer = ask({"client_secret": secret.replace("ID", api.create()["id"])})

    assert (status, answer["error"]["param"]) == (400, "client_secret")
    assert "does not match any associated PaymentIntent" in answer["error"]["message"]


@pytest.mark.parametrize("status", ["processing", "requires_capture"])
def test_an_intent_that_is_being_paid_is_refused_since_clover(api, sandbox, ask, status):
    intent = api.create()
    sandbox.advance(intent["id"], status)

    refused, answer = ask(intent, client={**STRIPE_JS, "_stripe_version": "2025-09-30.clover"})

    assert (refused, answer["error"]["code"]) == (400, "payment_intent_unexpected_state")
    assert ask(intent)[0] == 200  # in an older version


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({}, "parameter_missing", "type"),
        ({"type": "payment_intent"}, "parameter_missing", "client_secret"),
        ({"type": "setup_intent"}, "sandbox_not_covered", "type"),
        ({"type": "deferred_intent"}, "parameter_missing", "deferred_intent[mode]"),
        ({**DEFERRED, "deferred_intent[amount]": "10"}, "amount_too_small", "amount"),
        ({**DEFERRED, "nonsense": "x"}, "parameter_unknown", "nonsense"),
    ],
)
def test_what_is_missing_or_not_covered_is_named(ask, params, code, param):
    status, answer = ask(**params)

    assert (status, answer["error"]["code"]) == (400, code)
    assert answer["error"]["param"] == param
