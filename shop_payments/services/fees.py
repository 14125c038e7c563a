"""Fetch what payments cost: Stripe's fees, by listing balance transactions in pages.

Fees are no part of a payment's state, and nobody waits for them: reports do. So they are fetched
when somebody asks, a hundred movements a call, and never one by one.

See: https://docs.stripe.com/reports/balance-transaction-types (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from shop_payments.gateway import assert_no_transaction, get_gateway
from shop_payments.models import BalanceTransaction, Dispute, PaymentIntent, Refund

if TYPE_CHECKING:
    from shop_payments.gateway import BalanceTransactionResult

_BATCH = 100


def fetch_fees(*, since: datetime, until: datetime | None = None) -> int:
    """Mirror the movements of our payments, refunds and disputes in a span of time.

    Return how many were new. Fetching a span again changes nothing. Movements of other systems on
    the same account are left out. One call to Stripe for every hundred movements.

    Raises:
        TransactionOpenError: called inside a database transaction.
        GatewayError: Stripe could not be asked; what was fetched before stays.
    """
    assert_no_transaction()
    listed = iter(get_gateway().list_balance_transactions(since=since, until=until))
    added = 0
    while batch := list(islice(listed, _BATCH)):
        rows = list(_rows_of(batch))
        known = set(
            BalanceTransaction.objects.filter(
                stripe_id__in=[row.stripe_id for row in rows]
            ).values_list("stripe_id", flat=True)
        )
        new = [row for row in rows if row.stripe_id not in known]
        BalanceTransaction.objects.bulk_create(new, ignore_conflicts=True)
        added += len(new)
    return added


def _rows_of(batch: Sequence[BalanceTransactionResult]) -> Iterator[BalanceTransaction]:
    sources = {result.source for result in batch if result.source}
    intents: dict[str, PaymentIntent] = {
        row.latest_charge: row for row in PaymentIntent.objects.filter(latest_charge__in=sources)
    }
    for model in (Refund, Dispute):
        for row in model._default_manager.filter(stripe_id__in=sources).select_related(
            "payment_intent"
        ):
            intents[row.stripe_id] = row.payment_intent
    for result in batch:
        intent = intents.get(result.source)
        if intent is not None:
            yield BalanceTransaction(
                order_payment_id=intent.order_payment_id,
                payment_intent=intent,
                stripe_id=result.id,
                source=result.source,
                reporting_category=result.reporting_category[:64],
                amount=result.amount,
                fee=result.fee,
                net=result.net,
                currency=result.currency,
                stripe_created_at=result.created_at,
            )
