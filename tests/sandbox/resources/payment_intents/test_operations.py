"""PaymentIntents: create, update, confirm.

See: https://docs.stripe.com/api/payment_intents (checked 2026-11)
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import INTENTS

AUTOMATIC = {"amount": "1000", "currency": "usd"}
US_ONLY = {"allowed_payment_method_types[]": "us_bank_account"}


def test_methods_are_automatic_unless_types_are_named(api):
    """See: https://docs.stripe.com/payments/payment-methods/dynamic-payment-methods
    (checked 2026-11)
    """
    intent = api.post(INTENTS, AUTOMATIC)
    never = {"enabled": "true", "allow_redirects": "never"}
    named = {f"automatic_payment_methods[{name}]": value for name, value in never.items()}
    without_redirects = api.post(INTENTS, {**AUTOMATIC, **named})

    refused = api.confirm(intent, "pm_card_visa")
    confirmed = api.confirm(intent, "pm_card_visa", return_url="https://shop.example/done")

    intent.assert_has(automatic_payment_methods={"allow_redirects": "always", "enabled": True})
    intent.assert_has(payment_method_types=["card", "link"])
    refused.assert_refused(param="return_url")
    assert confirmed["status"] == "succeeded"
    assert without_redirects["automatic_payment_methods"]["allow_redirects"] == "never"
    assert api.confirm(without_redirects, "pm_card_visa")["status"] == "succeeded"


def test_automatic_methods_may_exclude_types(api):
    intent = api.post(INTENTS, {**AUTOMATIC, "excluded_payment_method_types[]": "card"})

    updated = api.update(intent, excluded_payment_method_types="")

    intent.assert_has(payment_method_types=["link"], excluded_payment_method_types=["card"])
    updated.assert_has(payment_method_types=["card", "link"], excluded_payment_method_types=None)


def test_payment_method_types_was_removed_in_version_endive(api):
    """See: https://docs.stripe.com/changelog (checked 2026-11)"""
    params = {**AUTOMATIC, "payment_method_types[0]": "card"}

    today = api.post(INTENTS, params)
    before = api.post(INTENTS, params, Stripe_Version="2026-08-26.dahlia")

    today.assert_refused(code="payment_method_types_no_longer_supported")
    before.assert_has(payment_method_types=["card"], automatic_payment_methods=None)


def test_update_and_confirm_unset_what_create_set(api):
    address: dict[str, str | None] = {"line1": "510 Townsend St", "country": "US"}
    named = {f"shipping[address][{name}]": value for name, value in address.items()}
    usage = {"setup_future_usage": "off_session"}
    metadata = {"metadata[a]": "1", "metadata[b]": "2"}
    created = api.create(**usage, **named, **metadata, **{"shipping[name]": "Jenny Rosen"})

    updated = api.update(created, setup_future_usage="", **{"metadata[a]": ""})
    confirmed = api.confirm(created, "pm_card_visa", shipping="")

    address |= dict.fromkeys(("city", "line2", "postal_code", "state"))
    unset = dict.fromkeys(("carrier", "phone", "tracking_number"))
    created.assert_has(**usage, shipping={"name": "Jenny Rosen", "address": address, **unset})
    updated.assert_has(setup_future_usage=None, shipping=created["shipping"])
    assert (updated["metadata"], confirmed["shipping"]) == ({"b": "2"}, None)


def test_another_amount_discards_an_authentication(api):
    intent = api.create()
    api.confirm(intent, "pm_card_authenticationRequired")

    updated = api.update(intent, amount="20000")

    updated.assert_has(status="requires_confirmation", next_action=None)


@pytest.mark.parametrize("status", ["processing", "requires_capture", "succeeded"])
def test_a_closed_intent_accepts_a_description_but_no_amount(api, status):
    intent = api.create_in(status)

    refused = api.update(intent, amount="5000")
    updated = api.update(intent, **{"metadata[a]": "b", "description": "d"})
    receipt = api.update(intent, receipt_email="a@example.com")

    assert f"could not be updated because it has a status of {status}." in refused.error["message"]
    assert refused.error["payment_intent"] == intent.json
    updated.assert_has(metadata={"a": "b"}, description="d")
    assert receipt.status == (200 if status in ("requires_capture", "succeeded") else 400)


@pytest.mark.parametrize(
    ("made", "change", "param"),
    [
        ({"amount": "11205"}, {"currency": "kwd"}, "amount"),
        ({}, {"excluded_payment_method_types[]": "card"}, "excluded_payment_method_types"),
        ({"payment_method": "pm_card_visa"}, US_ONLY, "payment_method"),
        (US_ONLY, {"currency": "eur"}, "currency"),
    ],
)
def test_a_change_must_fit_the_rest_of_the_intent(api, made, change, param):
    intent = api.create(**made)

    api.update(intent, **change).assert_refused(param=param)

    assert api.again(intent).json == intent.json


def test_a_card_is_declined_and_another_card_pays(api):
    """See: https://docs.stripe.com/testing#declined-payments (checked 2026-11)"""
    intent = api.create()

    answer = api.confirm(intent, "pm_card_chargeDeclined")

    error = answer.error
    answer.assert_refused(402, type="card_error", code="card_declined")
    assert error["payment_method"]["card"]["brand"] == "visa"
    declined = api.again(intent)
    assert error["payment_intent"] == declined.json
    declined.assert_has(status="requires_payment_method", payment_method=None)
    for key in ("type", "code", "decline_code", "message"):
        assert declined["last_payment_error"].get(key) == error.get(key)
    declined.assert_has(latest_charge=error["charge"], amount_received=0)
    assert api.events_after(1) == ["charge.failed", "payment_intent.payment_failed"]
    assert api.update(intent, description="d")["last_payment_error"] is None
    paid = api.confirm(intent, "pm_card_visa")
    paid.assert_has(status="succeeded", last_payment_error=None)
    assert paid["latest_charge"] != error["charge"]
