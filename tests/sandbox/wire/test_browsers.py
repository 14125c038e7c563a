"""What browsers and apps send, can do and see with a publishable key, and which pages may call.

The parameters are those that Stripe.js, stripe-ios and stripe-android send; the sources are named
in `wire/browsers.py`. See: https://docs.stripe.com/keys (checked 2026-11)
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import INTENTS, KEY, METHODS, NEW_CARD, PUBLISHABLE_KEY

HIDDEN = {"customer", "latest_charge", "metadata", "payment_method_options", "review"}
ATTRIBUTION = "client_attribution_metadata[merchant_integration_source]"
TELEMETRY = {
    "guid": "0f0b7a5a-1d6c-4d8f-9b1a-000000000001",
    "muid": "0f0b7a5a-1d6c-4d8f-9b1a-000000000002",
    "sid": "NA",
    "pasted_fields": "number",
    "payment_user_agent": "stripe.js/1ea91cacf; stripe-js-v3/1ea91cacf; payment-element",
    "referrer": "http://localhost:8000",
    "time_on_page": "54321",
    ATTRIBUTION: "elements",
}
CARD = {"billing_details[address][country]": "US", **NEW_CARD, **TELEMETRY}
STRIPE_JS = {
    "expected_payment_method_type": "card",
    "client_context[currency]": "usd",
    "client_context[mode]": "payment",
    "client_context[payment_method_types][0]": "card",
    ATTRIBUTION: "elements",
    "radar_options[hcaptcha_token]": "P1_x",
    "use_stripe_sdk": "true",
    "webauthn_uvpa_available": "true",
    "spc_eligible": "false",
    "key": PUBLISHABLE_KEY,
    "_stripe_version": "2024-06-20;alipay_beta=v1",
}
APP = {"return_url": "payments-example://stripe-redirect", "use_stripe_sdk": "true"}


def as_data(params):
    """Return the parameters of a payment method as those of the hash `payment_method_data`."""
    names = {name: name.partition("[") for name in params}
    return {
        f"payment_method_data[{first}]{bracket}{rest}": params[name]
        for name, (first, bracket, rest) in names.items()
    }


@pytest.fixture
def browse(api):
    """Call with a publishable key, about an intent with its secret."""

    def browse(method, path, params=None, *, intent=None, key=PUBLISHABLE_KEY, **headers):
        secret = {"client_secret": intent["client_secret"]} if intent else {}
        return api.call(method, path, {**secret, **(params or {})}, key=key, **headers)

    return browse


@pytest.fixture
def confirm(browse):
    def confirm(intent, params=None, **headers):
        return browse("POST", f"{path_of(intent)}/confirm", params, intent=intent, **headers)

    return confirm


def path_of(intent):
    return f"{INTENTS}/{intent['id']}"


# Clients


def test_stripe_js_confirms_without_a_header(api, sandbox, confirm):
    origin = "http://shop.localhost:8000"

    paid = confirm(api.create(), {**STRIPE_JS, **as_data(CARD)}, key=None, Origin=origin)

    assert (paid.status, paid["status"]) == (200, "succeeded")
    assert "latest_charge" not in paid.json  # hidden from publishable keys
    assert paid.headers["stripe-version"] == "2024-06-20"
    assert paid.headers["access-control-allow-origin"] == origin
    logged = sandbox.requests[-1].params
    assert set(logged) == {"payment_method_data", "use_stripe_sdk"}
    assert set(logged["payment_method_data"]) == {"billing_details", "card", "type"}


def test_stripe_js_retrieves_with_its_key_in_the_query(api, sandbox, browse):
    intent = api.create()
    params = {"key": PUBLISHABLE_KEY, "is_stripe_sdk": "false", "_stripe_version": "2022-11-15"}

    seen = browse("GET", path_of(intent), params, intent=intent, key=None)

    assert (seen.status, seen["id"]) == (200, intent["id"])
    assert (seen.headers["stripe-version"], sandbox.requests[-1].params) == ("2022-11-15", {})


@pytest.mark.parametrize(
    ("account", "status"), [("acct_1SandboxAccount", 200), ("acct_1Connected", 400)]
)
def test_stripe_js_may_name_its_own_account(api, browse, account, status):
    intent = api.create()

    answer = browse("GET", path_of(intent), {"_stripe_account": account}, intent=intent)

    assert answer.status == status
    if status == 400:
        assert answer.error["code"] == "sandbox_not_covered"


def test_stripe_ios_confirms(api, confirm):
    """It sends a header, an old version, telemetry and the redirect to the app."""
    more = {"expand[0]": "payment_method", "radar_options[hcaptcha_token]": "P1_x"}

    paid = confirm(
        api.create(),
        {**as_data(CARD), **APP, **more, ATTRIBUTION: "x"},
        Stripe_Version="2020-08-27",
    )

    assert (paid.status, paid["status"]) == (200, "succeeded")
    assert paid["payment_method"]["card"]["last4"] == "4242"


def test_stripe_android_confirms_a_debit(api, confirm):
    """It infers the mandate from the client, and names its betas in the version."""
    intent = api.create(currency="eur", **{"allowed_payment_method_types[]": "sepa_debit"})
    data = {
        "type": "sepa_debit",
        "sepa_debit[iban]": "DE89370400440532013000",
        "billing_details[name]": "Jenny Rosen",
        "billing_details[email]": "jenny@example.com",
        "payment_user_agent": "stripe-android/22.0.0;PaymentSheet",
    }
    mandate = {
        "mandate_data[customer_acceptance][type]": "online",
        "mandate_data[customer_acceptance][online][infer_from_client]": "true",
    }
    version = "2020-03-02;alipay_beta=v1;us_bank_account_beta=v2"

    answer = confirm(intent, {**as_data(data), **mandate, **APP}, Stripe_Version=version)

    assert (answer.status, answer["status"]) == (200, "processing")


# Keys


@pytest.mark.parametrize(
    "name",
    [
        *("confirmation_token", "mandate", "save_payment_method", "set_as_default_payment_method"),
        *("source", "source_data", "payment_method_options[card][cvc]"),
    ],
)
def test_what_the_sdks_may_send_and_is_not_covered_is_named(api, confirm, name):
    refused = confirm(api.create(), {"payment_method": "pm_card_visa", name: "x"})

    refused.assert_refused(message=f"The sandbox does not cover the parameter '{name}'")


def test_the_header_wins_over_the_parameter(api):
    answer = api.get(INTENTS, {"key": PUBLISHABLE_KEY})

    assert answer.status == 200  # a publishable key may not list intents


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (KEY, "You did not provide an API key."),
        ("pk_live_abcdefghijklmnop", "Invalid API Key provided: pk_live_*"),
    ],
)
def test_other_keys_may_not_be_parameters(api, key, message):
    api.call("GET", INTENTS, {"key": key}, key=None).assert_refused(401, message)


def test_a_server_may_not_send_telemetry(api):
    refused = api.confirm(api.create(), "pm_card_visa", guid="x")

    refused.assert_refused(code="parameter_unknown")


# What is shown


def test_a_browser_retrieves_an_intent_by_its_secret(api, browse):
    intent = api.create(**{"metadata[order_id]": "9"}, receipt_email="jo@example.com")

    seen = browse("GET", path_of(intent), intent=intent)

    assert (seen.status, seen["receipt_email"]) == (200, "jo@example.com")
    assert set(intent.json) - set(seen.json) > HIDDEN
    assert {name: intent[name] for name in seen.json} == seen.json
    assert api.get(path_of(intent), {"client_secret": "x"}).status == 400


def test_a_browser_creates_a_payment_method_and_confirms_with_it(api, browse, confirm):
    method = browse("POST", METHODS, CARD)
    intent = api.create(**{"metadata[order_id]": "9"})

    error = confirm(intent, {"payment_method": "pm_card_chargeDeclined"}).error
    confirmed = confirm(intent, {"payment_method": method["id"]})

    seen = error["payment_intent"]
    assert (error["decline_code"], HIDDEN.isdisjoint(seen)) == ("generic_decline", True)
    declined = [error["payment_method"], seen["last_payment_error"]["payment_method"]]
    for shown, last4 in [(method.json, "4242"), *((each, "0002") for each in declined)]:
        assert shown["card"]["last4"] == last4
        assert {"metadata", "fingerprint"}.isdisjoint({*shown, *shown["card"]})
    assert (confirmed["status"], HIDDEN.isdisjoint(confirmed.json)) == ("succeeded", True)
    assert api.again(intent)["metadata"] == {"order_id": "9"}


def test_a_browser_cannot_confirm_an_intent_of_manual_confirmation(api, confirm):
    intent = api.create(confirmation_method="manual", payment_method="pm_card_visa")

    confirm(intent).assert_refused(message="cannot be confirmed using your publishable key")

    assert api.again(intent)["status"] == "requires_confirmation"


# Pages


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:8000", "http://[::1]", "https://a.b.localhost:8443"]
)
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
    "origin", ["null", "http://localhost.example.com", "http://evillocalhost", "http://["]
)
def test_a_page_from_elsewhere_may_not(sandbox, api, origin):
    asked = {"Origin": origin, "Access-Control-Request-Headers": "authorization"}

    for response in (sandbox.handle("OPTIONS", INTENTS, asked), api.get(INTENTS, Origin=origin)):
        assert not [name for name in response.headers if name.startswith("access-control")]
