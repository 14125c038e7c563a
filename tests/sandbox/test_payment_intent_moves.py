from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from shop_payments.lifecycle import TRANSITIONS, IntentStatus
from shop_payments.sandbox.account.books import Books
from shop_payments.sandbox.account.clock import Clock as SandboxClock
from shop_payments.sandbox.account.faults import Faults
from shop_payments.sandbox.banks import instruments
from shop_payments.sandbox.resources.payment_intents.moves import LEGAL_MOVES, Step
from shop_payments.sandbox.resources.payment_methods import find_or_make
from shop_payments.sandbox.wire.messages import Cause
from tests.sandbox.support import Clock

MOVES: dict[str, Callable[[Step, Books], Any]] = {
    "requires_payment_method": lambda step, books: step.decline(instruments.GENERIC),
    "requires_confirmation": lambda step, books: step.ask_confirmation(
        find_or_make(books, "pm_card_visa")
    ),
    "requires_action": lambda step, books: step.ask_action({}),
    "processing": lambda step, books: step.process(),
    "requires_capture": lambda step, books: step.authorize(),
    "succeeded": lambda step, books: step.succeed(),
    "canceled": lambda step, books: step.cancel(None),
}
ILLEGAL = [(old, new) for old in LEGAL_MOVES for new in MOVES if new not in LEGAL_MOVES[old]]


@pytest.fixture
def books() -> Books:
    return Books(
        clock=SandboxClock(Clock()), random=random.Random(1), faults=Faults(random.Random(1))
    )


def test_the_table_is_the_one_that_the_app_knows() -> None:
    ours = {(old, new) for old in LEGAL_MOVES for new in LEGAL_MOVES[old] if old != new}
    apps = {
        (str(old), str(new))
        for old in TRANSITIONS
        for new in TRANSITIONS[old]
        if IntentStatus.MISSING not in (old, new)
    }

    assert ours == apps


@pytest.mark.parametrize(("old", "new"), ILLEGAL)
def test_an_intent_makes_no_other_move(books: Books, old: str, new: str) -> None:
    payment_method = find_or_make(books, "pm_card_visa")
    intent = {
        "id": "pi_1",
        "amount": 1000,
        "capture_method": "automatic",
        "currency": "usd",
        "description": None,
        "latest_charge": None,
        "metadata": {},
        "payment_method": payment_method["id"],
        "receipt_email": None,
        "shipping": None,
        "statement_descriptor_suffix": None,
        "status": "requires_confirmation",
    }
    step = Step(books=books, intent=intent, cause=Cause())
    MOVES[old](step, books)

    with pytest.raises(ValueError, match=f"does not go from {old} to {new}"):
        MOVES[new](step, books)
