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
from tests.sandbox.support import INTENTS, METHODS, Api

NUMBERS = [*CARDS_BY_NUMBER, *UNCOVERED_CARDS.values()]


def test_card_numbers_are_numbers_of_cards() -> None:
    assert [number for number in NUMBERS if not passes_luhn(number)] == []


def test_ibans_have_the_right_check_digits() -> None:
    assert [iban for iban in ACCOUNTS_BY_IBAN if remainder(iban) != 1] == []


def remainder(iban: str) -> int:
    return int("".join(str(int(character, 36)) for character in iban[4:] + iban[:4])) % 97


def test_a_name_and_a_number_do_the_same() -> None:
    assert CARDS_BY_NUMBER["4000000000000002"] is CARDS["pm_card_chargeDeclined"]
    assert CARDS_BY_NUMBER["4242424242424242"] is CARDS["pm_card_visa"]
    assert CARDS_BY_NUMBER["4000002500000003"] is CARDS["pm_card_fr"]


@pytest.mark.parametrize("name", [*CARDS, *ACCOUNTS])
def test_every_name_can_be_attached(api: Api, name: str) -> None:
    kind = "card" if name in CARDS else ACCOUNTS[name].type
    currency = "eur" if kind == "sepa_debit" else "usd"
    intent = api.create(currency=currency, **{"allowed_payment_method_types[]": kind})

    answer = api.post(f"{INTENTS}/{intent['id']}", {"payment_method": name})

    assert answer["status"] == "requires_confirmation"
    details = api.get(f"{METHODS}/{answer['payment_method']}")[kind]
    assert details["last4"] == (CARDS.get(name) or ACCOUNTS[name]).last4


@pytest.mark.parametrize("name", [*UNCOVERED_CARDS, *UNCOVERED_ACCOUNTS])
def test_names_whose_effect_is_not_here_are_refused(api: Api, name: str) -> None:
    intent_id = api.create()["id"]

    answer = api.post(f"{INTENTS}/{intent_id}", {"payment_method": name})

    assert (answer.status, answer.error["code"]) == (400, "sandbox_not_covered")
    assert name in answer.error["message"]
