"""The table of docs/after-paid.md: what rows make of a payment.

``python -m tests.after_paid.states`` prints it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from shop_payments.lifecycle import (
    DisputeFacts,
    IntentFacts,
    RefundFacts,
    balance_of,
    derive_payment_state,
)
from shop_payments.money import format_amount

DUE = 10000

INTENTS: tuple[tuple[str, str], ...] = (
    ("requires_payment_method", ""),
    ("processing", ""),
    ("requires_capture", ""),
    ("canceled", ""),
    ("succeeded", "amount_mismatch"),
)
AFTERWARDS: tuple[tuple[tuple[tuple[str, int], ...], tuple[str, ...]], ...] = (
    ((), ()),
    ((("requested", 4000),), ()),
    ((("pending", 4000),), ()),
    ((("succeeded", 4000),), ()),
    ((("succeeded", 4000), ("pending", 6000)), ()),
    ((("succeeded", 4000), ("succeeded", 6000)), ()),
    ((("failed", 10000),), ()),
    ((("canceled", 10000),), ()),
    ((("refused", 10000),), ()),
    ((), ("warning_needs_response",)),
    ((), ("warning_closed",)),
    ((), ("needs_response",)),
    ((), ("under_review",)),
    ((), ("won",)),
    ((), ("lost",)),
    ((("succeeded", 4000),), ("lost",)),
    ((), ("won", "needs_response")),
    ((), ("appeal_needs_response",)),
)


def rows() -> Iterator[list[str]]:
    """Each case in words, and what the code makes of it."""
    for status, verdict in INTENTS:
        intent = IntentFacts(status=status, verdict=verdict, amount_received=DUE if verdict else 0)
        state = derive_payment_state([intent])
        words = f"`{status}`" + (", but not what is due" if verdict else "")
        yield [words, "", "", f"`{state.status}`", "", ""]
    for refunds, disputes in AFTERWARDS:
        intent = IntentFacts(
            status="succeeded",
            verdict="accepted",
            amount_received=DUE,
            refunds=tuple(RefundFacts(status=each, amount=amount) for each, amount in refunds),
            disputes=tuple(DisputeFacts(status=each, amount=DUE) for each in disputes),
        )
        state = derive_payment_state([intent])
        # While a dispute is open the balance is there, and may not be touched.
        free = "0.00" if state.dispute == "open" else _money(balance_of(intent).refundable)
        yield [
            "`succeeded`",
            ", ".join(f"{_money(amount)} `{each}`" for each, amount in refunds),
            ", ".join(f"`{each}`" for each in disputes),
            f"`{state.status}`",
            f"`{state.dispute}`" if state.dispute else "",
            free,
        ]


def _money(amount: int) -> str:
    return format_amount(amount, "usd")


def markdown() -> list[str]:
    """The table's lines, without its head."""
    return [
        f"| {' | '.join(row)} |".replace("|  |", "| |").replace("|  |", "| |") for row in rows()
    ]


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in markdown())
