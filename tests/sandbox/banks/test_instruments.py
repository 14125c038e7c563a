"""Stripe's test cards and accounts. See: https://docs.stripe.com/testing (checked 2026-11)"""

from __future__ import annotations

import pytest

from shop_payments.sandbox.banks.card_numbers import passes_luhn
from shop_payments.sandbox.banks.instruments import (
    ACCOUNTS,
    ACCOUNTS_BY_IBAN,
    CARDS,
    CARDS_BY_NUMBER,
    UNCOVERED_ACCOUNTS,
    UNCOVERED_CARDS,
)
from tests.sandbox.support import METHODS


def test_card_numbers_and_ibans_have_the_right_check_digits():
    numbers = [*CARDS_BY_NUMBER, *UNCOVERED_CARDS.values()]

    assert [number for number in numbers if not passes_luhn(number)] == []
    assert [iban for iban in ACCOUNTS_BY_IBAN if remainder(iban) != 1] == []


def remainder(iban: str) -> int:
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97


@pytest.mark.parametrize("name", [*CARDS, *ACCOUNTS])
def test_every_name_can_be_attached(api, name):
    kind = "card" if name in CARDS else ACCOUNTS[name].type
    currency = "eur" if kind == "sepa_debit" else "usd"
    intent = api.create(currency=currency, **{"allowed_payment_method_types[]": kind})

    attached = api.update(intent, payment_method=name)

    assert attached["status"] == "requires_confirmation"
    details = api.get(f"{METHODS}/{attached['payment_method']}")[kind]
    assert details["last4"] == (CARDS.get(name) or ACCOUNTS[name]).last4


@pytest.mark.parametrize("name", [*UNCOVERED_CARDS, *UNCOVERED_ACCOUNTS])
def test_names_with_an_uncovered_effect_are_refused(api, name):
    answer = api.update(api.create(), payment_method=name)

    assert (answer.status, answer.error["code"]) == (400, "sandbox_not_covered")
    assert name in answer.error["message"]
