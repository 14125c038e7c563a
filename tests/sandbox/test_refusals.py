"""What Stripe refuses, the sandbox refuses with the same error and without an effect.

A row is what is sent (None leaves a usual parameter out), and the code and the parameter of the
error. Card numbers are in banks/test_card_numbers.py, keys and versions in wire/.

See: https://docs.stripe.com/api and https://docs.stripe.com/error-codes (checked 2026-11)
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import (
    CHARGES,
    DISPUTES,
    ENDPOINTS,
    EVENTS,
    INTENTS,
    KEY,
    METHODS,
    MONEY,
    NEW_CARD,
    ORDER,
    PUBLISHABLE_KEY,
    REFUNDS,
)

TYPES = "allowed_payment_method_types"
AUTOMATIC = "automatic_payment_methods"
MANDATE = "mandate_data[customer_acceptance]"
SUFFIX = "statement_descriptor_suffix"
HELD = "requires_capture"
TO_CAPTURE = "amount_to_capture"
NEW = "requires_payment_method"
TOKEN = "card[token]"
UNEXPECTED = "payment_intent_unexpected_state"
VISA = {"payment_method": "pm_card_visa"}


@pytest.fixture
def refuse(api, sandbox):
    """Send a request, and check the error and that nothing has changed."""

    def books():
        kinds = (INTENTS, CHARGES, REFUNDS, DISPUTES, MONEY, ENDPOINTS, EVENTS)
        headers = {"Authorization": f"Bearer {KEY}"}
        return [sandbox.handle("GET", path, headers).body for path in kinds]

    def refuse(method, path, params, code, param, *, status=400, key=KEY):
        before = books()
        sent = {name: value for name, value in params.items() if value is not None}
        answer = api.call(method, path, sent, key=key)
        answer.assert_refused(status, type="invalid_request_error", code=code, param=param)
        assert books() == before

    return refuse


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"amount": None}, "parameter_missing", "amount"),
        *(({"amount": each}, "parameter_invalid_integer", "amount") for each in ("0", "1e3", "١٢")),
        ({"amount": "49"}, "amount_too_small", "amount"),
        ({"amount": "17499", "currency": "huf"}, "amount_too_small", "amount"),
        ({"amount": "100000000"}, "amount_too_large", "amount"),
        # Three decimals, of which the last is 0; no decimals, but sent as if there were two.
        ({"amount": "5125", "currency": "kwd"}, "parameter_invalid_integer", "amount"),
        ({"amount": "1050", "currency": "isk"}, "parameter_invalid_integer", "amount"),
        ({"currency": "xyz"}, None, "currency"),
        ({"shipping": "Jenny"}, None, "shipping"),
        ({"shipping[name]": "Jenny"}, "parameter_missing", "shipping[address]"),
        ({"colour": "red"}, "parameter_unknown", "colour"),
        ({"amount[": "1"}, "parameter_unknown", "amount["),
        ({"description": ""}, "parameter_invalid_empty", "description"),
        ({"description": "d" * 1001}, None, "description"),
        ({"receipt_email": "a b@example.com"}, "email_invalid", "receipt_email"),
        ({"description[]": "a"}, None, "description"),
        ({"capture_method": "later"}, None, "capture_method"),
        ({"confirm": "true"}, UNEXPECTED, None),
        *(({SUFFIX: each}, None, SUFFIX) for each in ("x" * 23, "123", "A*B")),
        ({"off_session": "true"}, None, "off_session"),
        ({"payment_method": "pm_card_gold"}, "resource_missing", "payment_method"),
        ({"customer": "cus_1"}, "sandbox_not_covered", "customer"),
        ({**VISA, "payment_method_data[type]": "card"}, None, "payment_method_data"),
        # Metadata
        ({"metadata": "v"}, None, "metadata"),
        ({"metadata[key][inner]": "v"}, None, "metadata[key]"),
        ({"metadata[key]": "v" * 501}, None, "metadata[key]"),
        ({f"metadata[{'k' * 41}]": "v"}, None, "metadata"),
        ({f"metadata[k{n}]": "v" for n in range(51)}, None, "metadata"),
        # Types of payment methods
        ({f"{TYPES}[]": "cash"}, None, f"{TYPES}[0]"),
        ({f"{TYPES}[]": "klarna"}, "sandbox_not_covered", f"{TYPES}[0]"),
        ({f"{TYPES}[]": None, f"{TYPES}[a]": "card"}, None, TYPES),
        ({f"{AUTOMATIC}[enabled]": "true"}, None, TYPES),
        ({"excluded_payment_method_types[]": "card"}, None, TYPES),
        ({f"{TYPES}[]": "sepa_debit"}, None, "currency"),
        (
            {f"{TYPES}[]": "us_bank_account", "capture_method": "manual"},
            *("payment_intent_invalid_parameter", "capture_method"),
        ),
        # Mandates
        ({f"{MANDATE}[type]": "online"}, None, "mandate_data"),
        (
            {f"{MANDATE}[type]": "online", f"{MANDATE}[online][ip_address]": "127.0.0.1"},
            *("parameter_missing", f"{MANDATE}[online][user_agent]"),
        ),
    ],
)
def test_an_intent_is_not_created(refuse, changes, code, param):
    refuse("POST", INTENTS, {**ORDER, **changes}, code, param)


@pytest.mark.parametrize(
    ("status", "operation", "params", "code", "param"),
    [
        (NEW, "", {"amount": "49"}, "amount_too_small", "amount"),
        (NEW, "", {"confirm": "true"}, "parameter_unknown", "confirm"),
        (NEW, "/confirm", {}, UNEXPECTED, None),
        ("succeeded", "/cancel", {}, UNEXPECTED, None),
        ("requires_action", "/capture", {}, UNEXPECTED, None),
        ("succeeded", "/capture", {}, UNEXPECTED, None),
        ("processing", "", {"receipt_email": "jenny@example.com"}, UNEXPECTED, "receipt_email"),
        (HELD, "/capture", {TO_CAPTURE: "11201"}, "amount_too_large", TO_CAPTURE),
        (HELD, "/capture", {TO_CAPTURE: "0"}, "parameter_invalid_integer", "amount"),
        (HELD, "/capture", {TO_CAPTURE: "-1"}, None, TO_CAPTURE),
        (HELD, "/capture", {"final_capture": "false"}, "sandbox_not_covered", "final_capture"),
    ],
)
def test_an_intent_is_not_changed(api, refuse, status, operation, params, code, param):
    intent = api.create_in(status)

    refuse("POST", f"{INTENTS}/{intent['id']}{operation}", params, code, param)


@pytest.mark.parametrize(
    "url", ["done", "http://[", "https://müsli.example/", "https://a.b/\r\nX:y"]
)
def test_the_customer_returns_to_an_address(api, refuse, url):
    path = f"{INTENTS}/{api.create()['id']}/confirm"

    refuse("POST", path, {**VISA, "return_url": url}, "url_invalid", "return_url")


@pytest.mark.parametrize("status", ["processing", HELD, "succeeded", "canceled"])
def test_a_closed_intent_is_neither_confirmed_nor_changed(api, refuse, status):
    path = f"{INTENTS}/{api.create_in(status)['id']}"

    refuse("POST", f"{path}/confirm", VISA, UNEXPECTED, None)
    for name, value in {"amount": "5000", "currency": "eur", **VISA}.items():
        refuse("POST", path, {name: value}, UNEXPECTED, name)


@pytest.mark.parametrize(
    ("address", "param"),
    [
        ("GET /v1/payment_intents/pi_x", "intent"),
        ("POST /v1/payment_intents/ID%2Fcancel", "intent"),
        ("GET /v1/payment_methods/pm_x", "payment_method"),
        ("GET /v1/charges/ch_x", "id"),
        ("GET /v1/charges/ch_x/refunds", "charge"),
        ("GET /v1/refunds/re_x", "refund"),
        ("POST /v1/disputes/du_x/close", "dispute"),
        ("GET /v1/radar/early_fraud_warnings/x", "id"),
        ("DELETE /v1/webhook_endpoints/we_x", "webhook_endpoint"),
    ],
)
def test_an_unknown_id_is_missing(api, refuse, address, param):
    method, path = address.replace("ID", api.create()["id"]).split()

    refuse(method, path, {}, "resource_missing", param, status=404)


@pytest.mark.parametrize(
    ("path", "params", "code", "param"),
    [
        *(
            (INTENTS, {"limit": each}, "parameter_invalid_integer", "limit")
            for each in ("0", "101")
        ),
        (INTENTS, {"created": "today"}, "parameter_invalid_integer", "created"),
        (INTENTS, {"starting_after": "x"}, "resource_missing", "starting_after"),
        (INTENTS, {"starting_after": "a", "ending_before": "b"}, None, None),
        (CHARGES, {"payment_intent": "pi_x"}, "resource_missing", "payment_intent"),
        (MONEY, {"payout": "po_1"}, "sandbox_not_covered", "payout"),
        (EVENTS, {"type": "a", "types[]": "b"}, None, None),
        (EVENTS, {f"types[{n}]": "a" for n in range(21)}, None, "types"),
    ],
)
def test_a_list_is_refused(refuse, path, params, code, param):
    refuse("GET", path, params, code, param)


IBAN = {
    "type": "sepa_debit",
    "sepa_debit[iban]": "DE89370400440532013000",
    "billing_details[name]": "Jenny Rosen",
    "billing_details[email]": "jenny@example.com",
}


@pytest.mark.parametrize(
    ("usual", "changes", "code", "param"),
    [
        (NEW_CARD, {"card[number]": None}, "parameter_missing", "card[number]"),
        (NEW_CARD, {"card[number]": "4000000404000079"}, "sandbox_not_covered", "card[number]"),
        ({}, {"type": "card"}, "parameter_missing", "card"),
        ({}, {"type": "card", "card[token]": "tok_nobody"}, "resource_missing", "card[token]"),
        (
            {},
            {"type": "card", "card[token]": "tok_chargeCustomerFail"},
            "sandbox_not_covered",
            TOKEN,
        ),
        ({}, {"type": "klarna"}, "sandbox_not_covered", "type"),
        (IBAN, {"billing_details[name]": ""}, "parameter_missing", "billing_details[name]"),
        (IBAN, {"sepa_debit[iban]": "DE1"}, "sandbox_not_covered", "sepa_debit[iban]"),
    ],
)
def test_a_payment_method_is_not_created(refuse, usual, changes, code, param):
    refuse("POST", METHODS, {**usual, **changes}, code, param)


@pytest.mark.parametrize("status", [NEW, "processing", "requires_capture"])
def test_money_that_was_not_taken_is_not_refunded(api, refuse, status):
    intent = api.create_in(status)

    refuse("POST", REFUNDS, {"payment_intent": intent["id"]}, None, None)


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        ({"amount": "0"}, "parameter_invalid_integer", "amount"),
        ({"amount": "11201"}, None, "amount"),
        ({"charge": "ch_x"}, None, "payment_intent"),
        ({"payment_intent": "pi_x"}, "resource_missing", "payment_intent"),
        ({"payment_intent": None}, None, None),
    ],
)
def test_a_refund_is_not_created(api, refuse, changes, code, param):
    intent = api.create_in("succeeded")

    refuse("POST", REFUNDS, {"payment_intent": intent["id"], **changes}, code, param)


def test_money_that_went_back_is_not_refunded_again(api, refuse):
    part, whole, disputed = api.pay(), api.pay(), api.pay("pm_card_createDispute")
    api.refund(part, amount="11000")
    refund = api.refund(whole)

    for charge, amount, code, param in (
        (part, "201", None, "amount"),
        (whole, None, "charge_already_refunded", None),
        (disputed, None, "charge_disputed", None),
    ):
        refuse("POST", REFUNDS, {"charge": charge["id"], "amount": amount}, code, param)
    refuse("POST", f"{REFUNDS}/{refund['id']}/cancel", {}, None, None)
    refuse("POST", f"{REFUNDS}/{refund['id']}", {"amount": "1"}, "parameter_unknown", "amount")


@pytest.mark.parametrize(
    ("changes", "code", "param"),
    [
        *(({"url": url}, "url_invalid", "url") for url in ("here", "file:///etc/passwd")),
        *(
            ({"url": url}, "sandbox_not_covered", "url")
            for url in ("http://127.0.0.1@shop.example/", "http://u:p@127.0.0.1/")
        ),
        ({"connect": "True"}, "sandbox_not_covered", "connect"),
        ({"enabled_events[]": "payment_intent.paid"}, None, "enabled_events[0]"),
        ({"enabled_events[]": None, "enabled_events": "*"}, None, "enabled_events"),
    ],
)
def test_a_webhook_endpoint_is_not_created(refuse, changes, code, param):
    usual = {"url": "http://127.0.0.1:1/", "enabled_events[]": "*"}

    refuse("POST", ENDPOINTS, {**usual, **changes}, code, param)


@pytest.mark.parametrize(
    "address",
    [
        *(f"POST {INTENTS}{end}" for end in ("", "/ID", "/ID/cancel", "/ID/capture")),
        *(f"GET {each}" for each in (INTENTS, EVENTS, REFUNDS, CHARGES, MONEY, ENDPOINTS)),
    ],
)
def test_a_browser_needs_a_secret_key(api, refuse, address):
    method, path = address.replace("ID", api.create()["id"]).split()

    refuse(method, path, {}, "secret_key_required", None, status=403, key=PUBLISHABLE_KEY)


@pytest.mark.parametrize(
    "address", ["GET /v1/payment_intents/ID", "POST /v1/payment_intents/ID/confirm"]
)
def test_a_browser_needs_the_secret_of_the_intent(api, refuse, address):
    method, path = address.replace("ID", api.create()["id"]).split()
    param = "client_secret"

    refuse(method, path, {}, "parameter_missing", param, key=PUBLISHABLE_KEY)
    wrong = {param: "x"}
    refuse(method, path, wrong, "payment_intent_invalid_parameter", param, key=PUBLISHABLE_KEY)
