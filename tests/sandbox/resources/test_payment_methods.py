"""PaymentMethods. See: https://docs.stripe.com/api/payment_methods (checked 2026-11)

What is refused is in `refusals`.
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import METHODS, NEW_CARD

IBAN = {
    "type": "sepa_debit",
    "sepa_debit[iban]": "DE89 3704 0044 0532 0130 00",
    "billing_details[name]": "Jenny Rosen",
    "billing_details[email]": "jenny@example.com",
}


def test_a_card_number_makes_a_payment_method(api):
    made = api.post(
        METHODS, {**NEW_CARD, "billing_details[address][city]": "Lyon", "metadata[a]": "b"}
    )

    assert made["id"].startswith("pm_1")
    made.assert_has(type="card", customer=None, metadata={"a": "b"})
    assert made["billing_details"]["address"]["city"] == "Lyon"
    card = made["card"]
    assert (card["last4"], card["exp_month"], card["exp_year"]) == ("4242", 12, 2099)
    assert card["checks"]["cvc_check"] == "unchecked"
    assert api.again(made).json == made.json


def test_one_number_has_one_fingerprint(api):
    first, second = (api.post(METHODS, NEW_CARD) for _ in range(2))
    other = api.post(METHODS, {**NEW_CARD, "card[number]": "5555555555554444"})

    assert first["id"] != second["id"]
    assert first["card"]["fingerprint"] == second["card"]["fingerprint"]
    assert first["card"]["fingerprint"] != other["card"]["fingerprint"]


def test_a_token_stands_for_a_card(api):
    card = api.post(METHODS, {"type": "card", "card[token]": "tok_visa"})["card"]

    assert (card["last4"], card["exp_month"], card["exp_year"]) == ("4242", 10, 2097)


def test_an_iban_makes_a_payment_method(api):
    made = api.post(METHODS, IBAN)

    assert (made["type"], made["sepa_debit"]["last4"]) == ("sepa_debit", "3000")
    assert (made["sepa_debit"]["country"], made["sepa_debit"]["bank_code"]) == ("DE", "37040044")
    assert api.debit(made["id"])["status"] == "succeeded"


def test_an_intent_takes_the_data_itself(api):
    data = {
        "payment_method_data[type]": "card",
        "payment_method_data[card][number]": "4242424242424242",
        "payment_method_data[card][exp_month]": "12",
        "payment_method_data[card][exp_year]": "99",
    }

    intent = api.create(confirm="true", **data)

    card = api.get(f"{METHODS}/{intent['payment_method']}")["card"]
    assert intent["status"] == "succeeded"
    assert (card["exp_year"], card["checks"]["cvc_check"]) == (2099, None)


@pytest.mark.parametrize("number", ["4242424242424242", "4000000000000002"])
def test_without_a_customer_it_pays_once(api, number):
    made = api.post(METHODS, {**NEW_CARD, "card[number]": number})
    attached = api.create(payment_method=made["id"])
    api.confirm(api.create(), made["id"])
    other = api.create()

    refused = api.confirm(other, made["id"])

    assert refused.status == 400
    assert "It may not be used again" in refused.error["message"]
    assert api.again(other)["payment_method"] is None
    assert api.confirm(attached).status == 400


@pytest.mark.parametrize(
    ("card", "check"), [("pm_card_visa", "pass"), ("pm_card_chargeDeclinedIncorrectCvc", "fail")]
)
def test_a_charge_checks_the_cvc(api, card, check):
    attached = api.create(payment_method=card)
    path = f"{METHODS}/{attached['payment_method']}"
    before = api.get(path)["card"]["checks"]

    api.confirm(attached)

    after = api.get(path)["card"]["checks"]
    assert (before["cvc_check"], after["cvc_check"]) == ("unchecked", check)
