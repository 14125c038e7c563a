"""Fetch Stripe's fees by listing balance transactions in pages.

Fees are not part of a payment's state; only reports need them. So they are fetched on request, a
hundred movements with each call, and never one by one.

See: https://docs.stripe.com/reports/balance-transaction-types (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from shop_payments.gateway import assert_no_transaction, get_gateway
from shop_payments.models import BalanceTransaction, Dispute, PaymentIntent, Refund

if TYPE_CHECKING:
    from shop_payments.gateway import BalanceTransactionResult


def fetch_fees(*, since: datetime, until: datetime | None = None) -> int:
    """Store the movements of our payments, refunds and disputes in a period; return the new ones.

    The result is a number. Fetching a period again changes nothing. Movements of other systems on
    the same account are left out. There is one call to Stripe for each hundred movements.

    Raises:
        TransactionOpenError: called inside a database transaction.
        GatewayError: a request to Stripe failed; the pages fetched before are stored.
    """
    assert_no_transaction()
    pages = partial(get_gateway().page_of_balance_transactions, since=since, until=until)
    page = pages()
    added = _save(page.items)
    while page.after:
        page = pages(after=page.after)
        added += _save(page.items)
    return added


def _save(page: Sequence[BalanceTransactionResult]) -> int:
    """Insert the new movements of a page; return their number."""
    rows = list(_rows_of(page))
    found = BalanceTransaction.objects.filter(stripe_id__in=[row.stripe_id for row in rows])
    known = set(found.values_list("stripe_id", flat=True))
    new = [row for row in rows if row.stripe_id not in known]
    # Another process may be fetching the same page.
    BalanceTransaction.objects.bulk_create(new, ignore_conflicts=True)
    return len(new)


def _rows_of(page: Sequence[BalanceTransactionResult]) -> Iterator[BalanceTransaction]:
    # The source of a payment's movement is its charge.
    sources = {result.source for result in page if result.source}
    intents: dict[str, PaymentIntent] = {
        row.latest_charge: row for row in PaymentIntent.objects.filter(latest_charge__in=sources)
    }
    for model in (Refund, Dispute):
        for row in model._default_manager.filter(stripe_id__in=sources).select_related(
            "payment_intent"
        ):
            intents[row.stripe_id] = row.payment_intent
    for result in page:
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
