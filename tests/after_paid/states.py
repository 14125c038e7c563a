"""The table of docs/after-paid.md: what rows make of an order's payment.

``python -m tests.after_paid.states`` prints it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import django

from shop_payments.balance import balance_of
from shop_payments.lifecycle import gravest_dispute
from shop_payments.money import format_amount

if TYPE_CHECKING:
    from shop_payments.ledger.observations import Rows

TOTAL = 10000
MOMENT = datetime(2026, 11, 1, tzinfo=UTC)

INTENTS = (
    # words, status, received, whether the shop wanted it
    ("`requires_payment_method`", "requires_payment_method", 0, False),
    ("`processing`", "processing", 0, False),
    ("`requires_capture`", "requires_capture", 0, False),
    ("`canceled`", "canceled", 0, False),
    ("`succeeded`, but does not count", "succeeded", TOTAL, False),
    ("`succeeded` with 60.00", "succeeded", 6000, True),
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


def lines() -> Iterator[list[str]]:
    """Each case in words, and what the code makes of it."""
    for words, status, received, wanted in INTENTS:
        yield [words, "", "", *_outcome(status, received=received, wanted=wanted)]
    for refunds, disputes in AFTERWARDS:
        yield [
            "`succeeded`",
            ", ".join(f"{_money(amount)} `{each}`" for each, amount in refunds),
            ", ".join(f"`{each}`" for each in disputes),
            *_outcome("succeeded", received=TOTAL, refunds=refunds, disputes=disputes),
        ]


def _outcome(
    status: str,
    *,
    received: int,
    wanted: bool = True,
    refunds: tuple[tuple[str, int], ...] = (),
    disputes: tuple[str, ...] = (),
) -> list[str]:
    """Status, dispute, and what may be refunded."""
    from shop_payments.ledger.observations import observe

    rows = _rows(status, received=received, wanted=wanted, refunds=refunds, disputes=disputes)
    balance, dispute = balance_of(observe(rows)), gravest_dispute(disputes)
    left = balance.refundable.get("pi_1")
    return [
        f"`{balance.status}`",
        f"`{dispute}`" if dispute else "",
        "" if left is None else _money(left),
    ]


def _rows(
    status: str,
    *,
    received: int,
    wanted: bool,
    refunds: tuple[tuple[str, int], ...],
    disputes: tuple[str, ...],
) -> Rows:
    """Rows that were never saved: the order was seen at its total all the time."""
    from shop_payments.ledger.observations import Rows
    from shop_payments.models import Dispute, OrderPayment, PaymentIntent, Refund

    payment = OrderPayment(pk=1, total=TOTAL, currency="usd", is_payable=True)
    intent = PaymentIntent(
        pk=1,
        order_payment=payment,
        stripe_id="pi_1",
        status=status,
        amount_received=received,
        wanted=wanted,
        currency="usd",
        livemode=False,
        stripe_created_at=MOMENT,
        created_at=MOMENT,
    )
    later = {"stripe_created_at": MOMENT + timedelta(1), "created_at": MOMENT + timedelta(1)}
    return Rows(
        payment,
        [intent],
        [
            Refund(payment_intent=intent, status=each, amount=amount, total_seen=TOTAL, **later)
            for each, amount in refunds
        ],
        [
            Dispute(
                payment_intent=intent,
                stripe_id=f"dp_{number}",
                status=each,
                amount=TOTAL,
                currency="usd",
                total_seen=TOTAL,
                # A day after the refunds: at the same time their ids, which are random, decide.
                stripe_created_at=MOMENT + timedelta(2),
                created_at=MOMENT + timedelta(2),
            )
            for number, each in enumerate(disputes)
        ],
    )


def _money(amount: int) -> str:
    return format_amount(amount, "usd")


def markdown() -> list[str]:
    """The table's lines, without its head."""
    return [
        f"| {' | '.join(line)} |".replace("|  |", "| |").replace("|  |", "| |") for line in lines()
    ]


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    sys.stdout.writelines(f"{line}\n" for line in markdown())
