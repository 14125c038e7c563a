"""Check the card details that a customer enters, with Stripe's errors.

See: https://docs.stripe.com/testing#invalid-data (checked 2026-11)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..wire.errors import CardDeclined, InvalidRequest, NotCovered
from .cards import CARDS_BY_NUMBER, UNCOVERED_CARDS
from .instruments import Card

_YEARS_AHEAD = 50


def read_card(params: Mapping[str, Any], *, now: int) -> Card:
    """Check number, expiry date and CVC as Stripe does, and return the test card.

    Raises:
        InvalidRequest: a parameter is missing.
        CardDeclined: invalid_number, incorrect_number, invalid_expiry_month, invalid_expiry_year,
            invalid_cvc, or card_declined for a number that is not a test card.
        NotCovered: the sandbox does not cover this test card.
    """
    for name in ("number", "exp_month", "exp_year"):
        if name not in params:
            raise InvalidRequest(
                f"Missing required param: card[{name}].",
                code="parameter_missing",
                param=f"card[{name}]",
            )
    _check_number(params["number"])
    _check_expiry(params["exp_month"], params["exp_year"], datetime.fromtimestamp(now, tz=UTC))
    if "cvc" in params and not re.fullmatch(r"[0-9]{3,4}", params["cvc"]):
        raise _refused("invalid_cvc", "Your card's security code is invalid.", "cvc")
    card = _test_card(params["number"])
    return card if "cvc" in params else card.without_cvc()


def passes_luhn(number: str) -> bool:
    """Return whether the check digit is right."""
    digits = [int(digit) for digit in reversed(number)]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _check_number(number: str) -> None:
    if not re.fullmatch(r"[0-9]{12,19}", number):
        raise _refused(
            "invalid_number", "The card number is not a valid credit card number.", "number"
        )
    if not passes_luhn(number):
        raise _refused("incorrect_number", "Your card number is incorrect.", "number")


def _check_expiry(month: int, year: int, today: datetime) -> None:
    full_year = year + 2000 if 0 <= year < 100 else year
    if not today.year <= full_year <= today.year + _YEARS_AHEAD:
        raise _refused("invalid_expiry_year", "Your card's expiration year is invalid.", "exp_year")
    if not 1 <= month <= 12 or (full_year, month) < (today.year, today.month):
        raise _refused(
            "invalid_expiry_month", "Your card's expiration month is invalid.", "exp_month"
        )


def _test_card(number: str) -> Card:
    if number in UNCOVERED_CARDS:
        lacking = UNCOVERED_CARDS[number]
        raise NotCovered(f"the test card {number} ({lacking})", param="card[number]")
    if number not in CARDS_BY_NUMBER:
        raise CardDeclined(
            "Your card was declined. Your request was in test mode, but used a non test (live)"
            " card. For a list of valid test cards, visit: https://stripe.com/docs/testing.",
            code="card_declined",
            extra={"decline_code": "test_mode_live_card"},
        )
    return CARDS_BY_NUMBER[number]


def _refused(code: str, message: str, param: str) -> CardDeclined:
    return CardDeclined(message, code=code, param=param)
