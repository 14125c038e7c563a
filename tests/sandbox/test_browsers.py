"""What a page with a publishable key may do, and what it gets to see."""

from __future__ import annotations

from functools import partial

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import INTENTS, ORDER, PUBLISHABLE_KEY, Answer, Api

HIDDEN = {"customer", "latest_charge", "metadata", "payment_method_options", "review"}


def secret_of(intent: Answer) -> dict[str, str]:
    return {"client_secret": intent["client_secret"]}


def test_it_retrieves_an_intent_by_its_secret(api: Api) -> None:
    intent = api.create(**{"metadata[order_id]": "9"}, receipt_email="jo@example.com")

    seen = api.call("GET", f"{INTENTS}/{intent['id']}", secret_of(intent), key=PUBLISHABLE_KEY)

    assert seen.status == 200
    assert set(intent.json) - set(seen.json) > HIDDEN
    assert {name: intent[name] for name in seen.json} == seen.json
    assert seen["receipt_email"] == "jo@example.com"


def test_it_confirms_an_intent_by_its_secret(api: Api) -> None:
    intent = api.create(**{"metadata[order_id]": "9"})
    params = {**secret_of(intent), "payment_method": "pm_card_visa"}

    confirmed = api.call("POST", f"{INTENTS}/{intent['id']}/confirm", params, key=PUBLISHABLE_KEY)

    assert (confirmed.status, confirmed["status"]) == (200, "succeeded")
    assert HIDDEN.isdisjoint(confirmed.json)
    assert api.get(f"{INTENTS}/{intent['id']}")["metadata"] == {"order_id": "9"}


def test_it_creates_a_payment_method_and_confirms_with_it(api: Api) -> None:
    card = {
        "type": "card",
        "card[number]": "4242424242424242",
        "card[exp_month]": "12",
        "card[exp_year]": "2099",
        "card[cvc]": "123",
    }

    method = api.call("POST", "/v1/payment_methods", card, key=PUBLISHABLE_KEY)
    intent = api.create()
    params = {**secret_of(intent), "payment_method": str(method["id"])}
    confirmed = api.call("POST", f"{INTENTS}/{intent['id']}/confirm", params, key=PUBLISHABLE_KEY)

    assert (method.status, method["card"]["last4"]) == (200, "4242")
    assert "metadata" not in method.json
    assert "fingerprint" not in method["card"]
    assert confirmed["status"] == "succeeded"


def test_it_reads_no_payment_method(api: Api) -> None:
    method_id = api.create(payment_method="pm_card_visa")["payment_method"]

    answer = api.call("GET", f"/v1/payment_methods/{method_id}", key=PUBLISHABLE_KEY)

    assert (answer.status, answer.error["code"]) == (403, "secret_key_required")


def test_expanding_the_charge_shows_a_browser_none(api: Api) -> None:
    intent = api.create(payment_method="pm_card_visa", confirm="true")
    params = {**secret_of(intent), "expand[]": "latest_charge"}

    seen = api.call("GET", f"{INTENTS}/{intent['id']}", params, key=PUBLISHABLE_KEY)

    assert seen.status == 200
    assert "latest_charge" not in seen.json


def test_a_decline_shows_a_browser_no_more(api: Api) -> None:
    intent = api.create(**{"metadata[order_id]": "9"})
    params = {**secret_of(intent), "payment_method": "pm_card_chargeDeclined"}

    declined = api.call("POST", f"{INTENTS}/{intent['id']}/confirm", params, key=PUBLISHABLE_KEY)

    assert (declined.status, declined.error["decline_code"]) == (402, "generic_decline")
    seen = declined.error["payment_intent"]
    assert HIDDEN.isdisjoint(seen)
    for method in (declined.error["payment_method"], seen["last_payment_error"]["payment_method"]):
        assert method["card"]["last4"] == "0002"
        assert "fingerprint" not in method["card"]
        assert "metadata" not in method


def test_what_it_expands_is_cut_too(api: Api) -> None:
    intent = api.create(payment_method="pm_card_visa")
    params = {**secret_of(intent), "expand[]": "payment_method"}

    seen = api.call("GET", f"{INTENTS}/{intent['id']}", params, key=PUBLISHABLE_KEY)

    assert seen["payment_method"]["card"]["brand"] == "visa"
    assert "fingerprint" not in seen["payment_method"]["card"]


@pytest.mark.parametrize("operation", ["", "/confirm"])
def test_without_the_secret_it_gets_nothing(api: Api, operation: str) -> None:
    intent = api.create(payment_method="pm_card_visa")
    call = partial(
        api.call,
        "POST" if operation else "GET",
        f"{INTENTS}/{intent['id']}{operation}",
        key=PUBLISHABLE_KEY,
    )

    missing = call()
    wrong = call({"client_secret": f"{intent['id']}_secret_wrong"})

    assert (missing.status, missing.error["code"]) == (400, "parameter_missing")
    assert missing.error["param"] == wrong.error["param"] == "client_secret"
    assert wrong.status == 400
    assert wrong.error["message"].startswith("The client_secret provided does not match")
    assert intent["client_secret"] not in repr((missing.json, wrong.json))
    assert api.get(f"{INTENTS}/{intent['id']}")["status"] == "requires_confirmation"


def test_a_secret_key_may_give_the_secret_but_not_a_wrong_one(api: Api) -> None:
    intent = api.create()

    assert api.get(f"{INTENTS}/{intent['id']}", secret_of(intent)).status == 200
    assert api.get(f"{INTENTS}/{intent['id']}", {"client_secret": "x"}).status == 400


@pytest.mark.parametrize("name", ["capture_method", "off_session", "amount"])
def test_it_may_not_confirm_on_terms_of_its_own(api: Api, name: str) -> None:
    intent = api.create(payment_method="pm_card_visa")
    params = {**secret_of(intent), name: "1"}

    answer = api.call("POST", f"{INTENTS}/{intent['id']}/confirm", params, key=PUBLISHABLE_KEY)

    assert (answer.status, answer.error["code"]) == (400, "parameter_unknown")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", INTENTS),
        ("GET", INTENTS),
        ("POST", f"{INTENTS}/{{id}}"),
        ("POST", f"{INTENTS}/{{id}}/cancel"),
        ("GET", "/v1/events"),
    ],
)
def test_anything_else_needs_a_secret_key(
    api: Api, sandbox: Sandbox, method: str, path: str
) -> None:
    intent = api.create()

    answer = api.call(method, path.format(id=intent["id"]), ORDER, key=PUBLISHABLE_KEY)

    assert (answer.status, answer.error["code"]) == (403, "secret_key_required")
    assert answer.error["message"].startswith("This API call cannot be made with a publishable")
    assert len(sandbox.events) == 1


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:8000", "https://localhost", "http://[::1]:3000"]
)
def test_a_page_of_this_machine_may_call(sandbox: Sandbox, api: Api, origin: str) -> None:
    asked = {"Origin": origin, "Access-Control-Request-Headers": "authorization,stripe-version"}

    preflight = sandbox.handle("OPTIONS", INTENTS, asked)
    answer = api.get(INTENTS, Origin=origin)

    assert (preflight.status, preflight.body) == (200, b"")
    assert preflight.headers["access-control-allow-headers"] == "authorization,stripe-version"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    for response in (preflight, answer):
        assert response.headers["access-control-allow-origin"] == origin
        assert response.headers["vary"] == "Origin"
    assert "Request-Id" in answer.headers["access-control-expose-headers"]


def test_an_error_can_be_read_across_origins_too(api: Api) -> None:
    refused = api.call("GET", INTENTS, key=None, Origin="http://localhost:8000")

    assert refused.status == 401
    assert refused.headers["access-control-allow-origin"] == "http://localhost:8000"


@pytest.mark.parametrize(
    "origin", ["https://example.com", "null", "http://localhost.example.com", "http://[", ""]
)
def test_a_page_from_elsewhere_may_not(sandbox: Sandbox, api: Api, origin: str) -> None:
    preflight = sandbox.handle(
        "OPTIONS", INTENTS, {"Origin": origin, "Access-Control-Request-Headers": "authorization"}
    )
    answer = api.get(INTENTS, Origin=origin)

    for response in (preflight, answer):
        assert not [name for name in response.headers if name.startswith("access-control")]


def test_a_preflight_is_no_request(sandbox: Sandbox) -> None:
    sandbox.handle("OPTIONS", INTENTS, {"Origin": "http://localhost"})

    assert sandbox.requests == []
