"""What a page with a publishable key may do and see, and which pages may call at all.

See: https://docs.stripe.com/keys (checked 2026-11). What is refused is in `refusals`.
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import INTENTS, METHODS, NEW_CARD, PUBLISHABLE_KEY

HIDDEN = {"customer", "latest_charge", "metadata", "payment_method_options", "review"}


@pytest.fixture
def browse(api):
    """Call with a publishable key, about an intent with its secret."""

    def browse(method, path, intent=None, **params):
        secret = {"client_secret": intent["client_secret"]} if intent else {}
        return api.call(method, path, {**secret, **params}, key=PUBLISHABLE_KEY)

    return browse


def path_of(intent):
    return f"{INTENTS}/{intent['id']}"


def test_a_browser_retrieves_an_intent_by_its_secret(api, browse):
    intent = api.create(**{"metadata[order_id]": "9"}, receipt_email="jo@example.com")

    seen = browse("GET", path_of(intent), intent)

    assert (seen.status, seen["receipt_email"]) == (200, "jo@example.com")
    assert set(intent.json) - set(seen.json) > HIDDEN
    assert {name: intent[name] for name in seen.json} == seen.json
    assert api.get(path_of(intent), {"client_secret": "x"}).status == 400


def test_a_browser_creates_a_payment_method_and_confirms_with_it(api, browse):
    method = browse("POST", METHODS, **NEW_CARD)
    intent = api.create(**{"metadata[order_id]": "9"})

    confirmed = browse("POST", f"{path_of(intent)}/confirm", intent, payment_method=method["id"])

    assert (method.status, method["card"]["last4"]) == (200, "4242")
    assert {"metadata", "fingerprint"}.isdisjoint({*method.json, *method["card"]})
    assert (confirmed["status"], HIDDEN.isdisjoint(confirmed.json)) == ("succeeded", True)
    assert api.again(intent)["metadata"] == {"order_id": "9"}


def test_a_decline_shows_a_browser_no_more(api, browse):
    intent = api.create(**{"metadata[order_id]": "9"})
    card = "pm_card_chargeDeclined"

    error = browse("POST", f"{path_of(intent)}/confirm", intent, payment_method=card).error

    seen = error["payment_intent"]
    assert (error["decline_code"], HIDDEN.isdisjoint(seen)) == ("generic_decline", True)
    for method in (error["payment_method"], seen["last_payment_error"]["payment_method"]):
        assert method["card"]["last4"] == "0002"
        assert {"metadata", "fingerprint"}.isdisjoint({*method, *method["card"]})


def test_what_a_browser_expands_is_cut_too(api, browse):
    intent = api.create(payment_method="pm_card_visa")

    seen = browse("GET", path_of(intent), intent, **{"expand[]": "payment_method"})
    api.confirm(intent)
    paid = browse("GET", path_of(intent), intent, **{"expand[]": "latest_charge"})

    assert seen["payment_method"]["card"]["brand"] == "visa"
    assert "fingerprint" not in seen["payment_method"]["card"]
    assert (paid["status"], "latest_charge" in paid.json) == ("succeeded", False)


@pytest.mark.parametrize("name", ["capture_method", "off_session", "amount"])
def test_a_browser_does_not_choose_the_terms(api, browse, name):
    intent = api.create(payment_method="pm_card_visa")

    answer = browse("POST", f"{path_of(intent)}/confirm", intent, **{name: "1"})

    assert (answer.status, answer.error["code"]) == (400, "parameter_unknown")


def test_a_browser_confirms_nothing_of_a_server(api, browse):
    intent = api.create(confirmation_method="manual", payment_method="pm_card_visa")

    refused = browse("POST", f"{path_of(intent)}/confirm", intent)

    assert refused.status == 400
    assert "cannot be confirmed using your publishable key" in refused.error["message"]
    assert api.again(intent)["status"] == "requires_confirmation"


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", "https://localhost", "http://[::1]"])
def test_a_page_of_this_machine_may_call(sandbox, api, origin):
    asked = {"Origin": origin, "Access-Control-Request-Headers": "authorization,stripe-version"}

    preflight = sandbox.handle("OPTIONS", INTENTS, asked)
    assert sandbox.requests == []
    answer = api.get(INTENTS, Origin=origin)
    refused = api.call("GET", INTENTS, key=None, Origin=origin)

    assert (preflight.status, preflight.body, refused.status) == (200, b"", 401)
    assert preflight.headers["access-control-allow-headers"] == "authorization,stripe-version"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    for response in (preflight, answer, refused):
        assert response.headers["access-control-allow-origin"] == origin
        assert response.headers["vary"] == "Origin"
    assert "Request-Id" in answer.headers["access-control-expose-headers"]


@pytest.mark.parametrize(
    "origin", ["https://example.com", "null", "http://localhost.example.com", "http://[", ""]
)
def test_a_page_from_elsewhere_may_not(sandbox, api, origin):
    asked = {"Origin": origin, "Access-Control-Request-Headers": "authorization"}

    for response in (sandbox.handle("OPTIONS", INTENTS, asked), api.get(INTENTS, Origin=origin)):
        assert not [name for name in response.headers if name.startswith("access-control")]
