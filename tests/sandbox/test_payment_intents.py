from __future__ import annotations

from typing import Any

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import INTENTS, ORDER, Api

NULL = type(None)

# The keys of the sample in the API document less `invoice`, which today's API no longer has.
SAMPLE_TYPES: dict[str, tuple[type, ...]] = {
    "id": (str,),
    "object": (str,),
    "amount": (int,),
    "amount_capturable": (int,),
    "amount_details": (dict,),
    "amount_received": (int,),
    "application": (NULL,),
    "application_fee_amount": (NULL,),
    "automatic_payment_methods": (NULL,),
    "canceled_at": (NULL,),
    "cancellation_reason": (NULL,),
    "capture_method": (str,),
    "client_secret": (str,),
    "confirmation_method": (str,),
    "created": (int,),
    "currency": (str,),
    "customer": (NULL,),
    "description": (str,),
    "last_payment_error": (NULL,),
    "latest_charge": (NULL,),
    "livemode": (bool,),
    "metadata": (dict,),
    "next_action": (NULL,),
    "on_behalf_of": (NULL,),
    "payment_method": (str,),
    "payment_method_configuration_details": (NULL,),
    "payment_method_options": (dict,),
    "payment_method_types": (list,),
    "processing": (NULL,),
    "receipt_email": (str,),
    "review": (NULL,),
    "setup_future_usage": (NULL,),
    "shipping": (NULL,),
    "source": (NULL,),
    "statement_descriptor": (NULL,),
    "statement_descriptor_suffix": (NULL,),
    "status": (str,),
    "transfer_data": (NULL,),
    "transfer_group": (NULL,),
}
NEWER_KEYS = {
    "allowed_payment_method_types",
    "customer_account",
    "excluded_payment_method_types",
    "managed_payments",
}
SAMPLE = {
    **ORDER,
    "description": "Payment for Order #ORD-20250331-5XZF",
    "receipt_email": "customer@example.com",
    "metadata[order_id]": "9",
    "metadata[order_number]": "ORD-20250331-5XZF",
}


def test_the_answer_has_the_keys_and_types_of_the_sample(api: Api) -> None:
    intent_id = api.post(INTENTS, SAMPLE)["id"]

    intent = api.post(f"{INTENTS}/{intent_id}", {"payment_method": "pm_card_visa"}).json

    assert set(intent) == set(SAMPLE_TYPES) | NEWER_KEYS
    assert {
        name: intent[name]
        for name, types in SAMPLE_TYPES.items()
        if type(intent[name]) not in types
    } == {}


def test_the_answer_has_the_values_of_the_sample(api: Api) -> None:
    intent_id = api.post(INTENTS, SAMPLE)["id"]

    intent = api.post(f"{INTENTS}/{intent_id}", {"payment_method": "pm_card_visa"}).json

    assert intent["object"] == "payment_intent"
    assert intent["amount"] == 11200
    assert intent["amount_details"] == {"tip": {}}
    assert intent["capture_method"] == "automatic_async"
    assert intent["confirmation_method"] == "automatic"
    assert intent["currency"] == "usd"
    assert intent["description"] == "Payment for Order #ORD-20250331-5XZF"
    assert intent["livemode"] is False
    assert intent["metadata"] == {"order_id": "9", "order_number": "ORD-20250331-5XZF"}
    assert intent["payment_method_options"] == {
        "card": {
            "installments": None,
            "mandate_options": None,
            "network": None,
            "request_three_d_secure": "automatic",
        }
    }
    assert intent["payment_method_types"] == ["card"]
    assert intent["status"] == "requires_confirmation"


def test_ids_have_stripes_form(api: Api, sandbox: Sandbox) -> None:
    intent = api.create(payment_method="pm_card_visa", confirm="true").json

    assert intent["id"].startswith("pi_3")
    assert len(intent["id"]) == len("pi_3R8f5yQ9LjHruSyq1ofjdVY5")
    secret = intent["client_secret"].removeprefix(f"{intent['id']}_secret_")
    assert len(secret) == 25
    assert intent["payment_method"].startswith("pm_1")
    assert intent["latest_charge"].startswith("ch_3")
    assert sandbox.events[0]["id"].startswith("evt_3")


def test_a_new_intent_waits_for_a_payment_method(api: Api) -> None:
    intent = api.create(currency="USD")

    assert (intent["status"], intent["currency"]) == ("requires_payment_method", "usd")
    assert intent["payment_method"] is None


def test_methods_are_automatic_unless_types_are_named(api: Api) -> None:
    intent = api.post(INTENTS, {"amount": "1000", "currency": "usd"})

    assert intent["automatic_payment_methods"] == {"allow_redirects": "always", "enabled": True}
    assert intent["payment_method_types"] == ["card", "link"]


def test_automatic_methods_may_exclude_redirects(api: Api) -> None:
    intent = api.post(
        INTENTS,
        {
            "amount": "1000",
            "currency": "usd",
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
        },
    )

    assert intent["automatic_payment_methods"] == {"allow_redirects": "never", "enabled": True}
    assert api.confirm(intent["id"], "pm_card_visa")["status"] == "succeeded"


def test_automatic_methods_ask_for_a_return_url(api: Api) -> None:
    intent = api.post(INTENTS, {"amount": "1000", "currency": "usd"})

    refused = api.confirm(intent["id"], "pm_card_visa")
    confirmed = api.confirm(intent["id"], "pm_card_visa", return_url="https://shop.example/done")

    assert (refused.status, refused.error["param"]) == (400, "return_url")
    assert confirmed["status"] == "succeeded"


@pytest.mark.parametrize("form", ["payment_method_types[]", "payment_method_types[0]"])
def test_payment_method_types_went_with_version_endive(api: Api, form: str) -> None:
    params = {"amount": "1000", "currency": "usd", form: "card"}

    today = api.post(INTENTS, params)
    before = api.post(INTENTS, params, Stripe_Version="2026-08-26.dahlia")

    assert today.status == 400
    assert today.error["code"] == "payment_method_types_no_longer_supported"
    assert before["payment_method_types"] == ["card"]
    assert before["automatic_payment_methods"] is None


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"amount": ""}, "parameter_invalid_empty", "amount"),
        ({"amount": "12.00"}, "parameter_invalid_integer", "amount"),
        ({"amount": "1e3"}, "parameter_invalid_integer", "amount"),
        ({"amount": "\u0661\u0662\u0663"}, "parameter_invalid_integer", "amount"),
        ({"amount": "0"}, "parameter_invalid_integer", "amount"),
        ({"amount": "-5"}, "parameter_invalid_integer", "amount"),
        ({"amount": "49"}, "amount_too_small", "amount"),
        ({"amount": "29", "currency": "gbp"}, "amount_too_small", "amount"),
        ({"amount": "49", "currency": "jpy"}, "amount_too_small", "amount"),
        ({"amount": "100000000"}, "amount_too_large", "amount"),
        ({"amount": "5121", "currency": "kwd"}, "parameter_invalid_integer", "amount"),
        ({"amount": "550", "currency": "isk"}, "parameter_invalid_integer", "amount"),
        ({"amount": "550", "currency": "ugx"}, "parameter_invalid_integer", "amount"),
        ({"currency": "xxx"}, None, "currency"),
        ({"currency": "dollars"}, None, "currency"),
        ({"receipt_email": "nobody"}, "email_invalid", "receipt_email"),
        ({"receipt_email": "a b@example.com"}, "email_invalid", "receipt_email"),
        ({"description": "x" * 1001}, None, "description"),
        ({"metadata": "x"}, None, "metadata"),
        ({"metadata[a][b]": "x"}, None, "metadata[a]"),
        ({"metadata[" + "k" * 41 + "]": "x"}, None, "metadata"),
        ({"metadata[k]": "x" * 501}, None, "metadata[k]"),
        ({f"metadata[{number}]": "x" for number in range(51)}, None, "metadata"),
        ({"foo": "1"}, "parameter_unknown", "foo"),
        ({"status": "succeeded"}, "parameter_unknown", "status"),
        ({"invoice": "in_1"}, "parameter_unknown", "invoice"),
        ({"payment_method": "pm_card_nope"}, "resource_missing", "payment_method"),
        ({"confirm": "yes"}, None, "confirm"),
        ({"return_url": "https://shop.example"}, None, "return_url"),
        ({"capture_method": "later"}, None, "capture_method"),
        ({"automatic_payment_methods[enabled]": "true"}, None, "allowed_payment_method_types"),
        (
            {"automatic_payment_methods[allow_redirects]": "never"},
            "parameter_missing",
            "automatic_payment_methods[enabled]",
        ),
        (
            {"automatic_payment_methods[enabled]": "true", "automatic_payment_methods[x]": "1"},
            "parameter_unknown",
            "automatic_payment_methods[x]",
        ),
    ],
)
def test_create_refuses_as_stripe_does(
    api: Api, sandbox: Sandbox, params: dict[str, str], code: str | None, param: str
) -> None:
    answer = api.post(INTENTS, {**ORDER, **params})

    assert answer.status == 400
    assert answer.error["type"] == "invalid_request_error"
    assert (answer.error.get("code"), answer.error.get("param")) == (code, param)
    assert sandbox.events == []
    assert api.get(INTENTS)["data"] == []


@pytest.mark.parametrize("missing", ["amount", "currency"])
def test_create_asks_for_amount_and_currency(api: Api, missing: str) -> None:
    answer = api.post(INTENTS, {name: ORDER[name] for name in ORDER if name != missing})

    assert answer.status == 400
    assert answer.error["message"] == f"Missing required param: {missing}."
    assert (answer.error["code"], answer.error["param"]) == ("parameter_missing", missing)


@pytest.mark.parametrize(
    "params",
    [
        {"amount": "50"},
        {"amount": "99999999"},
        {"amount": "50", "currency": "jpy"},
        {"amount": "5120", "currency": "kwd"},
        {"amount": "500", "currency": "isk"},
        {"amount": "999999999999", "currency": "idr"},
        {"description": "€" * 1000},
        {"metadata[k]": "\U0001f600" * 500},
        {"metadata[0]": "a key may be a number"},
    ],
)
def test_create_takes_what_is_just_allowed(api: Api, params: dict[str, str]) -> None:
    assert api.post(INTENTS, {**ORDER, **params}).status == 200


@pytest.mark.parametrize(
    "params",
    [
        {"transfer_data[destination]": "acct_1"},
        {"customer": "cus_1"},
        {"payment_method_options[card][request_three_d_secure]": "any"},
        {"statement_descriptor": "SHOP"},
        {"allowed_payment_method_types[]": "klarna"},
    ],
)
def test_create_says_what_it_does_not_cover(api: Api, params: dict[str, str]) -> None:
    answer = api.post(INTENTS, {**ORDER, **params})

    assert (answer.status, answer.error["code"]) == (400, "sandbox_not_covered")
    assert "The sandbox does not cover" in answer.error["message"]


def test_an_error_says_where_to_read_on(api: Api) -> None:
    error = api.post(INTENTS, {**ORDER, "foo": "1"}).error

    assert error["message"] == "Received unknown parameter: foo"
    assert error["doc_url"] == "https://stripe.com/docs/error-codes/parameter-unknown"
    assert error["request_log_url"].startswith("https://dashboard.stripe.com/test/logs/req_")


@pytest.mark.parametrize("suffix", ["", "/confirm", "/cancel"])
def test_an_unknown_intent_is_404(api: Api, suffix: str) -> None:
    answer = api.post(f"{INTENTS}/pi_x{suffix}")

    assert answer.status == 404
    assert answer.error["message"] == "No such payment_intent: 'pi_x'"
    assert answer.error["code"] == "resource_missing"


def test_retrieve_gives_what_create_gave(api: Api) -> None:
    created = api.create()

    assert api.get(f"{INTENTS}/{created['id']}").json == created.json


# Update


def test_update_changes_what_is_given_and_nothing_else(api: Api) -> None:
    created = api.create(description="before")

    updated = api.post(f"{INTENTS}/{created['id']}", {"amount": "5000", "currency": "eur"})

    assert updated.json == {**created.json, "amount": 5000, "currency": "eur"}


@pytest.mark.parametrize(
    ("params", "metadata"),
    [
        ({"metadata[b]": "2"}, {"a": "1", "b": "2"}),
        ({"metadata[a]": ""}, {}),
        ({"metadata": ""}, {}),
        ({"metadata[b]": "", "metadata[c]": "3"}, {"a": "1", "c": "3"}),
    ],
)
def test_metadata_merges(api: Api, params: dict[str, str], metadata: dict[str, str]) -> None:
    intent_id = api.create(**{"metadata[a]": "1"})["id"]

    assert api.post(f"{INTENTS}/{intent_id}", params)["metadata"] == metadata


def test_metadata_is_limited_to_fifty_keys_over_all_updates(api: Api) -> None:
    keys = {f"metadata[k{number}]": "x" for number in range(50)}
    intent_id = api.create(**keys)["id"]

    refused = api.post(f"{INTENTS}/{intent_id}", {"metadata[one_more]": "x"})
    swapped = api.post(f"{INTENTS}/{intent_id}", {"metadata[k0]": "", "metadata[one_more]": "x"})

    assert refused.status == 400
    assert len(swapped["metadata"]) == 50


def test_an_empty_string_unsets(api: Api) -> None:
    intent_id = api.create(receipt_email="a@example.com", **{"metadata[a]": "b"})["id"]

    updated = api.post(f"{INTENTS}/{intent_id}", {"receipt_email": "", "metadata": ""})

    assert (updated["receipt_email"], updated["metadata"]) == (None, {})


def test_a_new_currency_must_fit_the_old_amount(api: Api) -> None:
    intent_id = api.create(amount="11205")["id"]

    answer = api.post(f"{INTENTS}/{intent_id}", {"currency": "kwd"})

    assert (answer.status, answer.error["param"]) == (400, "amount")
    assert api.get(f"{INTENTS}/{intent_id}")["currency"] == "usd"


def test_a_payment_method_asks_for_confirmation(api: Api) -> None:
    intent_id = api.create()["id"]

    first = api.post(f"{INTENTS}/{intent_id}", {"payment_method": "pm_card_visa"})
    second = api.post(f"{INTENTS}/{intent_id}", {"payment_method": "pm_card_visa"})
    same = api.post(f"{INTENTS}/{intent_id}", {"payment_method": second["payment_method"]})

    assert first["status"] == "requires_confirmation"
    assert first["payment_method"] != second["payment_method"]
    assert same["payment_method"] == second["payment_method"]


@pytest.mark.parametrize("change", [{"amount": "20000"}, {"currency": "eur"}])
def test_other_money_voids_an_authentication(api: Api, change: dict[str, str]) -> None:
    intent_id = api.create()["id"]
    api.confirm(intent_id, "pm_card_authenticationRequired")

    updated = api.post(f"{INTENTS}/{intent_id}", change)

    assert (updated["status"], updated["next_action"]) == ("requires_confirmation", None)


OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
CLOSED = ("processing", "requires_capture", "succeeded", "canceled")


@pytest.mark.parametrize("status", OPEN)
def test_an_open_intent_takes_a_new_amount(api: Api, sandbox: Sandbox, status: str) -> None:
    intent_id = api.create()["id"]
    sandbox.advance(intent_id, status)

    assert api.post(f"{INTENTS}/{intent_id}", {"amount": "5000"})["amount"] == 5000


@pytest.mark.parametrize("status", CLOSED)
def test_a_closed_intent_takes_no_new_amount(api: Api, sandbox: Sandbox, status: str) -> None:
    intent_id = api.create()["id"]
    sandbox.advance(intent_id, status)

    answer = api.post(f"{INTENTS}/{intent_id}", {"amount": "5000"})

    assert answer.status == 400
    assert answer.error["code"] == "payment_intent_unexpected_state"
    assert answer.error["message"] == (
        "This PaymentIntent's amount could not be updated because it has a status of"
        f" {status}. You may only update the amount of a PaymentIntent with one of the following"
        " statuses: requires_payment_method, requires_confirmation, requires_action."
    )
    assert answer.error["payment_intent"]["status"] == status
    assert answer.error["payment_intent"]["amount"] == 11200


@pytest.mark.parametrize("status", CLOSED)
def test_a_closed_intent_still_takes_words(api: Api, sandbox: Sandbox, status: str) -> None:
    intent_id = api.create()["id"]
    sandbox.advance(intent_id, status)

    answer = api.post(f"{INTENTS}/{intent_id}", {"metadata[a]": "b", "description": "d"})

    assert (answer["metadata"], answer["description"]) == ({"a": "b"}, "d")


@pytest.mark.parametrize(
    ("status", "http_status"),
    [("requires_capture", 200), ("succeeded", 200), ("processing", 400), ("canceled", 400)],
)
def test_a_receipt_can_be_addressed_after_success(
    api: Api, sandbox: Sandbox, status: str, http_status: int
) -> None:
    intent_id = api.create()["id"]
    sandbox.advance(intent_id, status)

    answer = api.post(f"{INTENTS}/{intent_id}", {"receipt_email": "a@example.com"})

    assert answer.status == http_status


# Confirm


def test_a_good_card_succeeds(api: Api) -> None:
    intent_id = api.create()["id"]

    confirmed = api.confirm(intent_id, "pm_card_visa")

    assert confirmed["status"] == "succeeded"
    assert confirmed["amount_received"] == 11200
    assert confirmed["latest_charge"].startswith("ch_3")


def test_create_can_confirm_at_once(api: Api, sandbox: Sandbox) -> None:
    intent = api.create(payment_method="pm_card_visa", confirm="true")

    assert intent["status"] == "succeeded"
    assert [event["type"] for event in sandbox.events] == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.updated",
    ]


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_visa_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        (
            "pm_card_visa_chargeDeclinedVelocityLimitExceeded",
            "card_declined",
            "card_velocity_exceeded",
        ),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", None),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", None),
        ("pm_card_chargeDeclinedFraudulent", "card_declined", "fraudulent"),
        ("pm_card_radarBlock", "card_declined", "fraudulent"),
        ("pm_card_riskLevelHighest", "card_declined", "fraudulent"),
    ],
)
def test_a_bad_card_is_declined(
    api: Api, sandbox: Sandbox, card: str, code: str, decline_code: str | None
) -> None:
    intent_id = api.create()["id"]

    answer = api.confirm(intent_id, card)

    error = answer.error
    assert (answer.status, error["type"]) == (402, "card_error")
    assert (error["code"], error.get("decline_code")) == (code, decline_code)
    assert error["payment_method"]["card"]["brand"] == "visa"
    intent = api.get(f"{INTENTS}/{intent_id}").json
    assert error["payment_intent"] == intent
    assert (intent["status"], intent["payment_method"]) == ("requires_payment_method", None)
    for key in ("type", "code", "decline_code", "message"):
        assert intent["last_payment_error"].get(key) == error.get(key)
    assert intent["latest_charge"] == error["charge"]
    assert intent["amount_received"] == 0
    assert sandbox.events[-1]["type"] == "payment_intent.payment_failed"


def test_a_decline_is_not_the_end(api: Api) -> None:
    intent_id = api.create()["id"]
    declined = api.confirm(intent_id, "pm_card_chargeDeclined").error

    confirmed = api.confirm(intent_id, "pm_card_visa")

    assert (confirmed["status"], confirmed["last_payment_error"]) == ("succeeded", None)
    assert confirmed["latest_charge"] != declined["charge"]


def test_an_update_clears_the_last_error(api: Api) -> None:
    intent_id = api.create()["id"]
    api.confirm(intent_id, "pm_card_chargeDeclined")

    assert api.post(f"{INTENTS}/{intent_id}", {"description": "d"})["last_payment_error"] is None


def test_a_declined_create_leaves_the_intent(api: Api) -> None:
    answer = api.post(
        INTENTS, {**ORDER, "payment_method": "pm_card_chargeDeclined", "confirm": "true"}
    )

    assert answer.status == 402
    intent_id = answer.error["payment_intent"]["id"]
    assert api.get(f"{INTENTS}/{intent_id}")["status"] == "requires_payment_method"


def test_confirm_asks_for_a_payment_method(api: Api) -> None:
    intent_id = api.create()["id"]

    answer = api.post(f"{INTENTS}/{intent_id}/confirm")

    assert (answer.status, answer.error["code"]) == (400, "payment_intent_unexpected_state")
    assert "missing a payment method" in answer.error["message"]


def test_confirm_refuses_an_unknown_payment_method(api: Api) -> None:
    intent_id = api.create()["id"]

    answer = api.confirm(intent_id, "pm_1Nope")

    assert (answer.status, answer.error["code"]) == (400, "resource_missing")
    assert answer.error["message"] == "No such PaymentMethod: 'pm_1Nope'"


@pytest.mark.parametrize("status", CLOSED)
def test_a_closed_intent_is_not_confirmed(api: Api, sandbox: Sandbox, status: str) -> None:
    intent_id = api.create()["id"]
    before = sandbox.advance(intent_id, status)

    answer = api.confirm(intent_id, "pm_card_visa")

    assert (answer.status, answer.error["code"]) == (400, "payment_intent_unexpected_state")
    assert answer.error["payment_intent"] == before
    assert api.get(f"{INTENTS}/{intent_id}").json == before


# Authentication


def next_action(api: Api, **params: str) -> dict[str, Any]:
    intent_id = api.create()["id"]
    answer = api.confirm(intent_id, "pm_card_authenticationRequired", **params)
    assert answer["status"] == "requires_action"
    action: dict[str, Any] = answer["next_action"]
    return action


def test_a_3ds_card_leaves_the_authentication_to_stripe_js(api: Api) -> None:
    assert next_action(api)["type"] == "use_stripe_sdk"


def test_a_3ds_card_redirects_where_a_return_url_is_given(api: Api) -> None:
    action = next_action(api, return_url="https://shop.example/done")

    assert action["type"] == "redirect_to_url"
    assert action["redirect_to_url"]["return_url"] == "https://shop.example/done"


@pytest.mark.parametrize(
    ("succeed", "status", "told"),
    [
        (True, "succeeded", ["charge.succeeded", "payment_intent.succeeded", "charge.updated"]),
        (False, "requires_payment_method", ["payment_intent.payment_failed"]),
    ],
)
def test_an_authentication_is_passed_or_failed(
    api: Api, sandbox: Sandbox, succeed: bool, status: str, told: list[str]
) -> None:
    intent_id = api.create()["id"]
    api.confirm(intent_id, "pm_card_authenticationRequired")

    sandbox.complete_authentication(intent_id, succeed=succeed)

    intent = api.get(f"{INTENTS}/{intent_id}")
    assert (intent["status"], intent["next_action"]) == (status, None)
    types = [event["type"] for event in sandbox.events]
    assert types == ["payment_intent.created", "payment_intent.requires_action", *told]
    error = intent["last_payment_error"]
    assert succeed or error["code"] == "payment_intent_authentication_failure"


def test_there_must_be_an_authentication_to_complete(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create()["id"]

    with pytest.raises(ValueError, match="waits for no authentication"):
        sandbox.complete_authentication(intent_id)


# Cancel


@pytest.mark.parametrize("status", [*OPEN, "processing", "requires_capture"])
def test_cancel_ends_what_is_not_final(api: Api, sandbox: Sandbox, status: str) -> None:
    intent_id = api.create()["id"]
    sandbox.advance(intent_id, status)

    canceled = api.post(f"{INTENTS}/{intent_id}/cancel", {"cancellation_reason": "abandoned"})

    assert (canceled["status"], canceled["cancellation_reason"]) == ("canceled", "abandoned")
    assert canceled["canceled_at"] == 4_000_000_000
    assert canceled["amount_capturable"] == 0
    assert sandbox.events[-1]["type"] == "payment_intent.canceled"


@pytest.mark.parametrize("status", ["succeeded", "canceled"])
def test_cancel_refuses_what_is_final(api: Api, sandbox: Sandbox, status: str) -> None:
    intent_id = api.create()["id"]
    sandbox.advance(intent_id, status)

    answer = api.post(f"{INTENTS}/{intent_id}/cancel")

    assert answer.status == 400
    assert answer.error["message"] == (
        f"You cannot cancel this PaymentIntent because it has a status of {status}. Only a"
        " PaymentIntent with one of the following statuses may be canceled:"
        " requires_payment_method, requires_capture, requires_confirmation, requires_action,"
        " processing."
    )


def test_cancel_refuses_a_reason_stripe_does_not_know(api: Api) -> None:
    intent_id = api.create()["id"]

    answer = api.post(f"{INTENTS}/{intent_id}/cancel", {"cancellation_reason": "mood"})

    assert (answer.status, answer.error["param"]) == (400, "cancellation_reason")
    assert api.get(f"{INTENTS}/{intent_id}")["status"] == "requires_payment_method"


# Stripe's own moves


@pytest.mark.parametrize(
    ("status", "event"),
    [
        ("processing", "payment_intent.processing"),
        ("requires_capture", "payment_intent.amount_capturable_updated"),
        ("succeeded", "payment_intent.succeeded"),
        ("requires_payment_method", "payment_intent.payment_failed"),
        ("requires_action", "payment_intent.requires_action"),
        ("canceled", "payment_intent.canceled"),
    ],
)
def test_advance_tells(api: Api, sandbox: Sandbox, status: str, event: str) -> None:
    intent_id = api.create()["id"]

    advanced = sandbox.advance(intent_id, status)

    told = [each for each in sandbox.events if each["type"] == event][-1]
    assert told["request"] == {"id": None, "idempotency_key": None}
    assert told["data"]["object"] == advanced == api.get(f"{INTENTS}/{intent_id}").json


def test_advance_overrides_fields(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create()["id"]

    sandbox.advance(intent_id, "succeeded", amount_received=1)

    assert api.get(f"{INTENTS}/{intent_id}")["amount_received"] == 1


def test_a_charge_stays_the_same_from_processing_to_success(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create()["id"]

    processing = sandbox.advance(intent_id, "processing")
    succeeded = sandbox.advance(intent_id, "succeeded")

    assert succeeded["latest_charge"] == processing["latest_charge"] is not None


@pytest.mark.parametrize(
    ("status", "fields"), [("paid", {}), ("succeeded", {"amount_recieved": 1})]
)
def test_advance_refuses_what_intents_do_not_have(
    api: Api, sandbox: Sandbox, status: str, fields: dict[str, Any]
) -> None:
    intent_id = api.create()["id"]

    with pytest.raises(ValueError, match="A payment intent has no"):
        sandbox.advance(intent_id, status, **fields)


def test_what_levers_return_is_a_copy(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create()["id"]

    sandbox.advance(intent_id, "processing")["metadata"]["mine"] = "x"

    assert api.get(f"{INTENTS}/{intent_id}")["metadata"] == {}


@pytest.mark.parametrize("url", ["done", "http://[", "https:", "://shop.example"])
def test_a_return_url_that_is_none_is_refused(api: Api, url: str) -> None:
    intent_id = api.create()["id"]

    answer = api.confirm(intent_id, "pm_card_visa", return_url=url)

    assert (answer.status, answer.error["code"]) == (400, "url_invalid")
    assert answer.error["param"] == "return_url"
