"""Card numbers. See: https://docs.stripe.com/testing#invalid-data (checked 2026-11)"""

from __future__ import annotations

import pytest

from tests.sandbox.support import METHODS, NEW_CARD


@pytest.mark.parametrize(
    ("number", "brand", "country", "funding"),
    [
        ("5555555555554444", "mastercard", "US", "credit"),
        ("4000056655665556", "visa", "US", "debit"),
        ("5105105105105100", "mastercard", "US", "prepaid"),
        ("378282246310005", "amex", "US", "credit"),
        ("4000002760000016", "visa", "DE", "credit"),
        ("6200000000000005", "unionpay", "CN", "credit"),
    ],
)
def test_a_number_stands_for_a_card(api, number, brand, country, funding):
    card = api.post(METHODS, {**NEW_CARD, "card[number]": number})["card"]

    assert (card["brand"], card["country"], card["funding"]) == (brand, country, funding)


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"number": "4242424242424241"}, "incorrect_number", "number"),
        ({"number": "4242 4242 4242 4242"}, "invalid_number", "number"),
        ({"number": "42424242"}, "invalid_number", "number"),
        ({"exp_month": "13"}, "invalid_expiry_month", "exp_month"),
        ({"exp_month": "0"}, "invalid_expiry_month", "exp_month"),
        ({"exp_month": "9", "exp_year": "2096"}, "invalid_expiry_month", "exp_month"),
        ({"exp_year": "2095"}, "invalid_expiry_year", "exp_year"),
        ({"exp_year": "34"}, "invalid_expiry_year", "exp_year"),
        ({"exp_year": "2150"}, "invalid_expiry_year", "exp_year"),
        ({"cvc": "99"}, "invalid_cvc", "cvc"),
        ({"cvc": "abc"}, "invalid_cvc", "cvc"),
        ({"number": "4111111111111111"}, "card_declined", None),  # not one of Stripe's test cards
    ],
)
def test_a_card_that_cannot_be_one_is_refused(api, change, code, param):
    sent = {f"card[{name}]": value for name, value in change.items()}

    answer = api.post(METHODS, {**NEW_CARD, **sent})  # it is October 2096

    assert (answer.status, answer.error["type"]) == (402, "card_error")
    assert (answer.error["code"], answer.error.get("param")) == (code, param)
    if param is None:
        assert answer.error["decline_code"] == "test_mode_live_card"


def test_a_card_holds_to_the_end_of_its_month(api):
    answer = api.post(METHODS, {**NEW_CARD, "card[exp_month]": "10", "card[exp_year]": "96"})

    assert (answer.status, answer["card"]["exp_year"]) == (200, 2096)
