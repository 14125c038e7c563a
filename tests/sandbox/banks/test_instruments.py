"""Stripe's test cards and accounts. See: https://docs.stripe.com/testing (checked 2026-11)"""

from __future__ import annotations

from typing import Any

from shop_payments.sandbox.banks.bank_accounts import ACCOUNTS, ACCOUNTS_BY_IBAN
from shop_payments.sandbox.banks.card_numbers import passes_luhn
from shop_payments.sandbox.banks.cards import CARDS, CARDS_BY_NUMBER, UNCOVERED_CARDS
from tests.sandbox.support import METHODS


def test_card_numbers_and_ibans_have_the_right_check_digits():
    numbers = [*CARDS_BY_NUMBER, *filter(str.isdigit, UNCOVERED_CARDS)]

    assert [number for number in numbers if not passes_luhn(number)] == []
    for iban in ACCOUNTS_BY_IBAN:
        digits = "".join(str(int(character, 36)) for character in iban[4:] + iban[:4])
        assert int(digits) % 97 == 1, iban


def test_every_name_can_be_attached(api):
    currencies = {"card": "usd", "us_bank_account": "usd", "sepa_debit": "eur"}
    intents = {
        kind: api.create(currency=currency, **{"allowed_payment_method_types[]": kind})
        for kind, currency in currencies.items()
    }
    instruments: dict[str, Any] = {**CARDS, **ACCOUNTS}
    for name, instrument in instruments.items():
        attached = api.update(intents[instrument.type], payment_method=name)
        details = api.get(f"{METHODS}/{attached['payment_method']}")[instrument.type]
        assert details["last4"] == instrument.last4
