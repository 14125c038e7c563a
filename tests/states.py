"""The table of docs/after-paid.md, computed again."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from shop_payments.balance import balance_of
from shop_payments.ledger.observations import Rows, observe
from shop_payments.lifecycle import most_serious_dispute
from shop_payments.models import Dispute, OrderPayment, PaymentIntent, Refund
from shop_payments.money import format_amount

TOTAL = 10000
PARTS = {"`succeeded` with 60.00": 6000}


def compute(line: str) -> str:
    """Return a line of the table with what the code makes of its first three cells.

    Its rows were never saved: the order was seen at its total all the time.
    """

    def times(days: int) -> dict[str, datetime]:
        moment = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days)
        return {"stripe_created_at": moment, "created_at": moment}

    words, refunds, disputes = [cell.strip() for cell in line.split("|")[1:4]]
    payment = OrderPayment(pk=1, total=TOTAL, currency="usd", is_payable=True)
    (status,) = re.findall(r"`(\w+)`", words)
    intent = PaymentIntent(pk=1, order_payment=payment, stripe_id="pi_1", **times(0))
    intent.status, intent.currency, intent.livemode = status, "usd", False
    intent.amount_received = PARTS.get(words, TOTAL) if status == "succeeded" else 0
    intent.wanted = status == "succeeded" and "does not count" not in words
    seen = {"payment_intent": intent, "total_seen": TOTAL}
    refund_rows = [
        Refund(status=each, amount=int(amount) * 100, **seen, **times(1))
        for amount, each in re.findall(r"(\d+)\.00 `(\w+)`", refunds)
    ]
    statuses = re.findall(r"`(\w+)`", disputes)
    dispute_rows = [
        # After the refunds: at the same time their random ids decide.
        Dispute(
            stripe_id=f"dp_{each}", status=each, amount=TOTAL, currency="usd", **seen, **times(2)
        )
        for each in statuses
    ]
    balance = balance_of(observe(Rows(payment, [intent], refund_rows, dispute_rows)))
    dispute, left = most_serious_dispute(statuses), balance.refundable.get("pi_1")
    cells = [words, refunds, disputes, f"`{balance.status}`", f"`{dispute}`" if dispute else ""]
    cells.append("" if left is None else format_amount(left, "usd"))
    return "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"
