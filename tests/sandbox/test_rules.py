"""Rules and messages of Stripe that clients rely on. Sources are at the rules."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import stripe

from shop_payments.sandbox.routes import ROUTES
from tests.sandbox.support import INTENTS, ORDER

AUTOMATIC = {"amount": "11200", "currency": "usd", "automatic_payment_methods[enabled]": "True"}


@pytest.mark.parametrize(("word", "confirmed"), [("True", True), ("False", False)])
def test_old_clients_send_booleans_with_a_capital_letter(api, word, confirmed):
    intent = api.create(payment_method="pm_card_visa", confirm=word)

    assert (intent["status"] == "succeeded") == confirmed
    assert api.post(INTENTS, AUTOMATIC).status == 200


def test_every_boolean_is_read_by_the_same_parser():
    """A parameter with its own list of words would not know the capitalized ones."""
    for route in ROUTES:
        for schema in (route.schema, route.browser_schema or {}):
            for name in ("confirm", "connect", "delivery_success", "disabled", "off_session"):
                if name in schema and schema[name].covered:
                    assert schema[name].parse("False", name) is False, (route.path, name)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"paynebt_method_types[]": "card"},
            "Received unknown parameter: paynebt_method_types. Did you mean payment_method_types?",
        ),
        (
            {"automatic_payment_methods[enable]": "true"},
            "Received unknown parameter: automatic_payment_methods[enable]. Did you mean"
            " automatic_payment_methods[enabled]?",
        ),
        ({"zzz": "1", "customers": "cus_1"}, "Received unknown parameters: zzz, customers"),
    ],
)
def test_an_unknown_parameter_gets_a_hint_at_a_similar_one(api, params, message):
    assert api.post(INTENTS, {**ORDER, **params}).error["message"] == message


@pytest.mark.parametrize(
    ("address", "is_long"),
    [
        ("GET /v1/nonsense", False),
        (f"GET {INTENTS}/", True),
        ("POST /v1/payment_intents/pi_1/hug", False),
        ("GET /v2", False),
    ],
)
def test_an_address_that_stripe_does_not_have_is_404(api, address, is_long):
    """The message about an empty id is longer than the others."""
    method, path = address.split()

    answer = api.call(method, path)

    answer.assert_refused(404, f"Unrecognized request URL ({method}: {path})")
    message = answer.error["message"]
    assert ("remove the trailing slash" in message) == is_long
    assert message.endswith("/docs or we can help at https://support.stripe.com/.")


@pytest.mark.parametrize(
    "address",
    ["POST /v1/customers", "GET /v1/payment_intents/search", "GET /v2/core/events"],
)
def test_an_address_that_only_stripe_has_is_named_as_not_covered(api, address):
    answer = api.call(*address.split())

    answer.assert_refused(501, f"The sandbox does not cover {address}", type="api_error")
    assert answer.headers["stripe-should-retry"] == "false"


@pytest.mark.parametrize(("amount", "code"), [(49, "amount_too_small"), (50, None)])
def test_a_capture_below_the_minimum_is_too_small(api, amount, code):
    intent = api.create_in("requires_capture", capture_method="manual")

    answer = api.capture(intent, amount_to_capture=str(amount))

    assert answer.json.get("error", {}).get("code") == code


def test_the_rest_of_an_authorization_may_be_below_the_minimum(api):
    intent = api.create_in("requires_capture", capture_method="manual")
    api.sandbox.capture_part(intent["id"], 11190)

    assert api.capture(intent)["amount_received"] == 11200


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        ({"description[a]": "b"}, 'Invalid string: {"a": "b"}'),
        ({"confirm[a]": "True"}, 'Invalid boolean: {"a": "True"}'),
    ],
)
def test_messages_show_hashes_and_lists_as_json(api, params, shown):
    assert api.post(INTENTS, {**ORDER, **params}).error["message"] == shown


def operations() -> set[tuple[str, str]]:
    """Return the operations of the installed stripe-python, with an id for each placeholder."""
    found = set()
    call = re.compile(r'_request\(\s*"(get|post|delete)",\s*f?"(/v[12]/[^"]+)"')
    for path in Path(stripe.__file__).parent.rglob("*_service.py"):
        for method, url in call.findall(path.read_text()):
            found.add((method.upper(), re.sub(r"\{[^}]*\}", "x_1", url)))
    return found


OF_OTHER_CLIENTS = """
GET /v1/elements/sessions, POST /v1/3ds2/authenticate, POST /v1/3ds2/challenge_complete,
POST /v1/payment_intents/pi_1/refresh, POST /v1/payment_intents/pi_1/source_cancel,
POST /v1/payment_intents/pi_1/link_account_sessions,
POST /v1/payment_intents/pi_1/link_account_sessions/fcsess_1/attach,
POST /v1/consumers/sessions/lookup, POST /v1/tokens, GET /v1/fpx/bank_statuses,
POST /v1/radar/session, POST /v1/elements/payment_methods/pm_1/detach,
POST /v1/stripecli/sessions, POST /stripecli/auth, POST /v1/events/evt_1/retry,
GET /v1/payment_pages/cs_1, GET /edge-internal/card-metadata, POST /v1/payment_methods/pm_1/attach
"""
"""What Stripe.js, the SDKs for iOS and Android and Stripe's command line call."""


def test_every_operation_of_stripes_clients_is_known_by_name(api):
    others = {tuple(each.split()) for each in OF_OTHER_CLIENTS.split(",")}
    known = operations() | others
    unknown = []
    for method, path in sorted(known):
        answer = api.call(method, path)
        if answer.status < 400:
            continue
        error = answer.error
        if error["message"].startswith("Unrecognized request URL"):
            unknown.append((method, path))
        if error.get("code") == "sandbox_not_covered":
            assert f"{method} {path}" in error["message"]

    assert (len(known) > 600, unknown) == (True, [])


def test_a_test_card_is_disputed_after_the_answer_and_the_events_of_the_payment(api):
    intent = api.create(payment_method="pm_card_createDispute", confirm="true")
    in_the_answer = api.sandbox._books.charges[intent["latest_charge"]]["disputed"]

    charge = api.charge_of(intent)

    assert (in_the_answer, charge["disputed"]) == (False, True)
    assert api.events_after() == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.updated",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
    ]
    causes = [event["request"]["id"] for event in api.sandbox.events]
    assert [cause is None for cause in causes] == [False] * 3 + [True] * 3
