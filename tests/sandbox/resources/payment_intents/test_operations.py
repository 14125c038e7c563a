"""PaymentIntents: create, update, confirm, cancel.

See: https://docs.stripe.com/api/payment_intents (checked 2026-11). What is refused is in
`refusals`.
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import INTENTS, ORDER

OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
CLOSED = ("processing", "requires_capture", "succeeded", "canceled")
AUTOMATIC = {"amount": "1000", "currency": "usd"}


# Create


def test_a_new_intent_waits_for_a_payment_method(api, sandbox):
    intent = api.create(currency="USD", **{"metadata[order_id]": "9"})
    updated = api.update(intent, payment_method="pm_card_visa")

    intent.assert_has(status="requires_payment_method", currency="usd")
    intent.assert_has(amount_details={"tip": {}}, metadata={"order_id": "9"})
    intent.assert_has(capture_method="automatic_async", confirmation_method="automatic")
    assert set(intent["payment_method_options"]) == {"card"}
    assert len(intent["client_secret"].removeprefix(f"{intent['id']}_secret_")) == 25
    assert len(intent["id"]) == len("pi_3R8f5yQ9LjHruSyq1ofjdVY5")
    ids = (intent["id"], updated["payment_method"], sandbox.events[0]["id"])
    assert [each.partition("_")[0] for each in ids] == ["pi", "pm", "evt"]
    changes = {"payment_method": updated["payment_method"], "status": "requires_confirmation"}
    assert api.again(intent).json == updated.json == {**intent.json, **changes}


def test_methods_are_automatic_unless_types_are_named(api):
    """See: https://docs.stripe.com/payments/payment-methods/dynamic-payment-methods
    (checked 2026-11)
    """
    intent = api.post(INTENTS, AUTOMATIC)
    never = {
        "automatic_payment_methods[enabled]": "true",
        "automatic_payment_methods[allow_redirects]": "never",
    }
    without_redirects = api.post(INTENTS, {**AUTOMATIC, **never})

    refused = api.confirm(intent, "pm_card_visa")
    confirmed = api.confirm(intent, "pm_card_visa", return_url="https://shop.example/done")

    assert intent["automatic_payment_methods"] == {"allow_redirects": "always", "enabled": True}
    assert intent["payment_method_types"] == ["card", "link"]
    assert (refused.status, refused.error["param"]) == (400, "return_url")
    assert confirmed["status"] == "succeeded"
    assert without_redirects["automatic_payment_methods"]["allow_redirects"] == "never"
    assert api.confirm(without_redirects, "pm_card_visa")["status"] == "succeeded"


def test_automatic_methods_may_leave_some_out(api):
    intent = api.post(INTENTS, {**AUTOMATIC, "excluded_payment_method_types[]": "card"})

    put_back = api.update(intent, excluded_payment_method_types="")

    intent.assert_has(payment_method_types=["link"], excluded_payment_method_types=["card"])
    put_back.assert_has(payment_method_types=["card", "link"], excluded_payment_method_types=None)
    assert put_back["automatic_payment_methods"] == intent["automatic_payment_methods"]


def test_payment_method_types_went_with_version_endive(api):
    """See: https://docs.stripe.com/changelog (checked 2026-11)"""
    params = {**AUTOMATIC, "payment_method_types[0]": "card"}

    today = api.post(INTENTS, params)
    before = api.post(INTENTS, params, Stripe_Version="2026-08-26.dahlia")

    assert today.error["code"] == "payment_method_types_no_longer_supported"
    before.assert_has(payment_method_types=["card"], automatic_payment_methods=None)


@pytest.mark.parametrize(
    "params",
    [
        {"amount": "50"},
        {"amount": "99999999"},
        {"amount": "50", "currency": "jpy"},
        {"amount": "30", "currency": "gbp"},
        {"amount": "5120", "currency": "kwd"},
        {"amount": "500", "currency": "isk"},
        {"amount": "999999999999", "currency": "idr"},
        {"description": "€" * 1000},
        {"metadata[k]": "\U0001f600" * 500},
        {"metadata[0]": "a key may be a number"},
    ],
)
def test_create_takes_what_is_just_allowed(api, params):
    assert api.post(INTENTS, {**ORDER, **params}).status == 200


def test_an_error_says_where_to_read_on(api):
    error = api.post(INTENTS, {**ORDER, "foo": "1"}).error

    uncovered = api.post(INTENTS, {**ORDER, "customer": "cus_1"}).error
    assert uncovered["message"].startswith("The sandbox does not cover the parameter 'customer'")
    assert error["message"] == "Received unknown parameter: foo"
    assert error["doc_url"] == "https://stripe.com/docs/error-codes/parameter-unknown"
    assert error["request_log_url"].startswith("https://dashboard.stripe.com/test/logs/req_")


SHIPPING = {
    "shipping[name]": "Jenny Rosen",
    "shipping[address][line1]": "510 Townsend St",
    "shipping[address][country]": "US",
}


def test_shipping_has_all_its_keys(api):
    unset = ("city", "line2", "postal_code", "state")
    assert api.create(**SHIPPING)["shipping"] == {
        "address": {**dict.fromkeys(unset), "country": "US", "line1": "510 Townsend St"},
        "name": "Jenny Rosen",
        **dict.fromkeys(("carrier", "phone", "tracking_number")),
    }


def test_update_and_confirm_unset_what_create_set(api):
    created = api.create(setup_future_usage="off_session", **SHIPPING)

    updated = api.update(created, setup_future_usage="")
    confirmed = api.confirm(created, "pm_card_visa", shipping="")

    assert created["setup_future_usage"] == "off_session"
    updated.assert_has(setup_future_usage=None, shipping=created["shipping"])
    assert confirmed["shipping"] is None


# Update


def test_update_changes_what_is_given_and_nothing_else(api):
    created = api.create(description="before", receipt_email="a@example.com")

    updated = api.update(created, amount="5000", currency="eur", receipt_email="")

    changes = {"amount": 5000, "currency": "eur", "receipt_email": None}
    assert updated.json == {**created.json, **changes}


@pytest.mark.parametrize(
    ("params", "metadata"),
    [
        ({"metadata[b]": "2"}, {"a": "1", "b": "2"}),
        ({"metadata[a]": ""}, {}),
        ({"metadata": ""}, {}),
        ({"metadata[b]": "", "metadata[c]": "3"}, {"a": "1", "c": "3"}),
    ],
)
def test_metadata_merges(api, params, metadata):
    """See: https://docs.stripe.com/api/metadata (checked 2026-11)"""
    intent = api.create(**{"metadata[a]": "1"})

    assert api.update(intent, **params)["metadata"] == metadata


def test_metadata_is_limited_to_fifty_keys_over_all_updates(api):
    intent = api.create(**{f"metadata[k{number}]": "x" for number in range(50)})

    refused = api.update(intent, **{"metadata[one_more]": "x"})
    swapped = api.update(intent, **{"metadata[k0]": "", "metadata[one_more]": "x"})

    assert (refused.status, len(swapped["metadata"])) == (400, 50)


def test_a_payment_method_asks_for_confirmation(api):
    intent = api.create()

    first, second = (api.update(intent, payment_method="pm_card_visa") for _ in range(2))
    same = api.update(intent, payment_method=second["payment_method"])

    assert first["status"] == "requires_confirmation"
    assert first["payment_method"] != second["payment_method"] == same["payment_method"]


@pytest.mark.parametrize("change", [{"amount": "20000"}, {"currency": "eur"}])
def test_other_money_voids_an_authentication(api, change):
    intent = api.create()
    api.confirm(intent, "pm_card_authenticationRequired")

    updated = api.update(intent, **change)

    updated.assert_has(status="requires_confirmation", next_action=None)


@pytest.mark.parametrize("status", OPEN)
def test_an_open_intent_takes_a_new_amount(api, status):
    assert api.update(api.create_in(status), amount="5000")["amount"] == 5000


@pytest.mark.parametrize("status", CLOSED)
def test_a_closed_intent_takes_words_and_no_amount(api, status):
    intent = api.create_in(status)

    refused = api.update(intent, amount="5000")
    updated = api.update(intent, **{"metadata[a]": "b", "description": "d"})
    receipt = api.update(intent, receipt_email="a@example.com")

    assert refused.error["message"] == (
        "This PaymentIntent's amount could not be updated because it has a status of"
        f" {status}. You may only update the amount of a PaymentIntent with one of the following"
        " statuses: requires_payment_method, requires_confirmation, requires_action."
    )
    assert refused.error["payment_intent"] == intent.json
    updated.assert_has(metadata={"a": "b"}, description="d")
    assert receipt.status == (200 if status in ("requires_capture", "succeeded") else 400)


def test_an_update_clears_the_last_error(api):
    intent = api.create()
    api.confirm(intent, "pm_card_chargeDeclined")

    assert api.update(intent, description="d")["last_payment_error"] is None


@pytest.mark.parametrize(
    ("made", "change", "param"),
    [
        ({"amount": "11205"}, {"currency": "kwd"}, "amount"),
        ({}, {"excluded_payment_method_types[]": "card"}, "excluded_payment_method_types"),
        (
            {"payment_method": "pm_card_visa"},
            {"allowed_payment_method_types[]": "us_bank_account"},
            "payment_method",
        ),
        ({"allowed_payment_method_types[]": "us_bank_account"}, {"currency": "eur"}, "currency"),
    ],
)
def test_a_change_must_fit_the_rest_of_the_intent(api, made, change, param):
    intent = api.create(**made)

    answer = api.update(intent, **change)

    assert (answer.status, answer.error["param"]) == (400, param)
    assert api.again(intent).json == intent.json


# Confirm

DECLINES = """
visa_chargeDeclined                             card_declined     generic_decline
chargeDeclinedInsufficientFunds                 card_declined     insufficient_funds
visa_chargeDeclinedLostCard                     card_declined     lost_card
visa_chargeDeclinedStolenCard                   card_declined     stolen_card
visa_chargeDeclinedVelocityLimitExceeded        card_declined     card_velocity_exceeded
chargeDeclinedExpiredCard                       expired_card      -
chargeDeclinedIncorrectCvc                      incorrect_cvc     -
chargeDeclinedProcessingError                   processing_error  -
chargeDeclinedFraudulent                        card_declined     fraudulent
radarBlock                                      card_declined     fraudulent
riskLevelHighest                                card_declined     fraudulent
"""


@pytest.mark.parametrize("row", DECLINES.strip().splitlines())
def test_a_bad_card_is_declined_and_another_one_pays(api, row):
    """See: https://docs.stripe.com/testing#declined-payments (checked 2026-11)"""
    card, code, decline_code = row.split()
    intent = api.create()

    answer = api.confirm(intent, f"pm_card_{card}")

    error = answer.error
    assert (answer.status, error["type"]) == (402, "card_error")
    assert (error["code"], error.get("decline_code", "-")) == (code, decline_code)
    assert error["payment_method"]["card"]["brand"] == "visa"
    declined = api.again(intent)
    assert error["payment_intent"] == declined.json
    declined.assert_has(status="requires_payment_method", payment_method=None)
    for key in ("type", "code", "decline_code", "message"):
        assert declined["last_payment_error"].get(key) == error.get(key)
    declined.assert_has(latest_charge=error["charge"], amount_received=0)
    assert api.events_after(1) == ["charge.failed", "payment_intent.payment_failed"]
    paid = api.confirm(intent, "pm_card_visa")
    paid.assert_has(status="succeeded", last_payment_error=None)
    assert paid["latest_charge"] != error["charge"]


def test_a_declined_create_leaves_the_intent(api):
    answer = api.post(
        INTENTS, {**ORDER, "payment_method": "pm_card_chargeDeclined", "confirm": "true"}
    )

    left = api.again(answer.error["payment_intent"])
    assert (answer.status, left["status"]) == (402, "requires_payment_method")


# Cancel


@pytest.mark.parametrize("status", [*OPEN, "processing", "requires_capture"])
def test_cancel_ends_what_is_not_final(api, status):
    intent = api.create_in(status)

    canceled = api.cancel(intent, cancellation_reason="abandoned")

    canceled.assert_has(status="canceled", cancellation_reason="abandoned")
    canceled.assert_has(canceled_at=4_000_000_000, amount_capturable=0)
    assert api.events_after()[-1] == "payment_intent.canceled"


def test_cancel_refuses_what_is_final(api):
    assert api.cancel(api.create_in("succeeded")).error["message"] == (
        "You cannot cancel this PaymentIntent because it has a status of succeeded. Only a"
        " PaymentIntent with one of the following statuses may be canceled:"
        " requires_payment_method, requires_capture, requires_confirmation, requires_action,"
        " processing."
    )
