"""Card numbers. See: https://docs.stripe.com/testing#invalid-data (checked 2026-11)"""

from __future__ import annotations

import pytest

from tests.sandbox.support import METHODS, NEW_CARD


@pytest.mark.parametrize(
    ("change", "brand", "country", "funding"),
    [
        ({"number": "5105105105105100"}, "mastercard", "US", "prepaid"),
        ({"number": "4000002760000016"}, "visa", "DE", "credit"),
        ({"exp_month": "10", "exp_year": "96"}, "visa", "US", "credit"),  # until its month ends
    ],
)
def test_a_number_belongs_to_a_test_card(api, change, brand, country, funding):
    sent = {f"card[{name}]": value for name, value in change.items()}

    card = api.post(METHODS, {**NEW_CARD, **sent})["card"]  # it is October 2096

    assert (card["brand"], card["country"], card["funding"]) == (brand, country, funding)
    assert card["exp_year"] == (2096 if "exp_year" in change else 2099)


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"number": "4242424242424241"}, "incorrect_number", "number"),
        ({"number": "4242 4242 4242 4242"}, "invalid_number", "number"),
        ({"exp_month": "13"}, "invalid_expiry_month", "exp_month"),
        ({"exp_month": "9", "exp_year": "2096"}, "invalid_expiry_month", "exp_month"),
        ({"exp_year": "34"}, "invalid_expiry_year", "exp_year"),
        ({"exp_year": "2150"}, "invalid_expiry_year", "exp_year"),
        ({"cvc": "99"}, "invalid_cvc", "cvc"),
        ({"number": "4111111111111111"}, "card_declined", None),  # not one of Stripe's test cards
    ],
)
def test_invalid_card_details_are_refused(api, change, code, param):
    sent = {f"card[{name}]": value for name, value in change.items()}
    reason = None if param else "test_mode_live_card"

    answer = api.post(METHODS, {**NEW_CARD, **sent})

    answer.assert_refused(402, type="card_error", code=code, param=param, decline_code=reason)
