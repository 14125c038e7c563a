"""Delete personal data that is no longer needed; keep the facts about the money.

Note [What the purge may touch]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
Personal data is in the payloads of events, in the parameters of attempts, in the fingerprints of
those parameters, and in the last digits of a card or bank account. It is deleted only when the app
does not need it any more:

* Of an event: after it was processed or ignored. A failed, waiting or set aside event is processed
  later, from its payload.
* Of an attempt: after its outcome is known. A pending attempt is sent again, exactly as saved.
* Never of a payment that is needed: it is in review, its money is on its way, or something has
  changed since the cut-off.

A customer who never comes back leaves an intent open for ever. This keeps no data: the next request
for the intent finds no fingerprint, and sends the order's data again.

The rows and their ids stay. The id of an event identifies a late duplicate, and the id of an
attempt identifies an intent as ours.

Note [Purging beside a running shop]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
Each batch is one short transaction, retried if the database rolls it back. A committed batch is
finished, so a purge may be killed at any time and started again. Rows that are locked are skipped:
the purge does not wait for a request that handles a payment, and two purges share the rows. The
next run finds the skipped rows.

See docs/retention.md for the data, field by field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from shop_payments.conf import get_config, problem_of_retention
from shop_payments.ledger.transactions import run_transaction
from shop_payments.lifecycle import (
    CLOSED_STATUSES,
    RETURNED_REFUND_STATUSES,
    UPDATABLE_STATUSES,
    DisputeState,
    RefundStatus,
)
from shop_payments.models import (
    OrderPayment,
    PaymentIntent,
    Refund,
    ReviewItem,
    StripeAttempt,
    WebhookEvent,
)

BATCH_SIZE = 500
LARGEST_BATCH = 5_000
"""Rows in one transaction. With more, the locks would be held for too long."""

KEPT_PARAMS = frozenset(
    {
        "amount",
        "amount_to_capture",
        "currency",
        "allowed_payment_method_types",
        "automatic_payment_methods",
    }
)
"""The parameters of an attempt that are kept. All others are deleted, so that a new parameter
cannot be forgotten."""

_WITHOUT_MONEY_ON_ITS_WAY = CLOSED_STATUSES | UPDATABLE_STATUSES
_REFUNDED_OR_NOT = RETURNED_REFUND_STATUSES | {RefundStatus.SUCCEEDED}


@dataclass(frozen=True, kw_only=True)
class PurgeReport:
    """The number of rows whose personal data was deleted, and of old rows that keep it."""

    events: int = 0
    attempts: int = 0
    kept_events: int = 0
    """Not processed, set aside, or of a payment that is still needed."""

    kept_attempts: int = 0
    """Pending, or of a payment that is still needed."""


def purge_personal_data(
    *,
    older_than_days: int | None = None,
    batch_size: int = BATCH_SIZE,
    dry_run: bool = False,
    on_batch: Callable[[PurgeReport], None] | None = None,
) -> PurgeReport:
    """Delete event payloads and attempt parameters older than ``RETENTION_DAYS``.

    ``older_than_days`` replaces that setting. ``on_batch`` is called after each committed batch
    with the report so far. ``dry_run`` counts the same rows and writes nothing.

    Raises:
        ConfigurationError: the setting is wrong.
        ValueError: the days or the batch size are out of bounds.
        RuntimeError: called inside a database transaction.
    """
    days = get_config().RETENTION_DAYS if older_than_days is None else older_than_days
    if problem := problem_of_retention(days):
        raise ValueError(f"older_than_days must be {problem}")
    if not 1 <= batch_size <= LARGEST_BATCH:
        raise ValueError(f"batch_size must be from 1 to {LARGEST_BATCH}")
    purge = _Purge(timezone.now() - timedelta(days=days), batch_size, dry_run)
    report = PurgeReport()
    for name, batches in (("events", purge.events()), ("attempts", purge.attempts())):
        for count in batches:
            report = replace(report, **{name: getattr(report, name) + count})
            if on_batch is not None:
                on_batch(report)
    return replace(report, **purge.kept(report))


class _Row(NamedTuple):
    pk: Any
    moment: datetime
    owner: Any
    """The payment of the row: an attempt's foreign key, or the Stripe id of an event's intent."""


@dataclass(frozen=True)
class _Purge:
    cutoff: datetime
    batch_size: int
    dry_run: bool

    def events(self) -> Iterator[int]:
        """Purge events batch by batch; yield the number of each batch."""
        return self._batches(self._done_events(), "received_at", "intent_id", self._purge_events)

    def _done_events(self) -> QuerySet[WebhookEvent]:
        return old_events(self.cutoff).filter(status__in=WebhookEvent.SUCCESSES)

    def attempts(self) -> Iterator[int]:
        """Purge attempts batch by batch; yield the number of each batch."""
        rows = old_attempts(self.cutoff).exclude(outcome=StripeAttempt.Outcome.PENDING)
        return self._batches(rows, "created_at", "order_payment_id", self._purge_attempts)

    def _batches(
        self, rows: QuerySet[Any], age: str, owner: str, purge: Callable[[list[_Row]], int]
    ) -> Iterator[int]:
        last: _Row | None = None

        def purge_next() -> tuple[list[_Row], int]:
            page = page_of(rows, age, after=last).values_list("pk", age, owner)
            batch = [_Row(*values) for values in page[: self.batch_size]]
            return batch, purge(batch) if batch else 0

        while True:
            batch, count = run_transaction(purge_next)
            if not batch:
                return
            last = batch[-1]
            yield count

    def _purge_events(self, batch: list[_Row]) -> int:
        """Delete the payloads of these events, unless their payments are needed."""
        intents = dict(
            PaymentIntent.objects.filter(stripe_id__in={row.owner for row in batch}).values_list(
                "stripe_id", "order_payment_id"
            )
        )
        needed = self._needed(intents.values())
        pks = [row.pk for row in batch if intents.get(row.owner) not in needed]
        if self.dry_run:
            return len(pks)
        # Checked again under the locks, because an event may be replayed meanwhile.
        events = WebhookEvent.objects.filter(pk__in=_locked(self._done_events(), pks))
        return events.update(payload={}, purged_at=timezone.now())

    def _purge_attempts(self, batch: list[_Row]) -> int:
        """Delete the personal data of these attempts, under their payments' locks."""
        payments = {row.owner for row in batch}
        if not self.dry_run:
            payments = set(_locked(OrderPayment.objects.all(), payments))
        # Checked under the locks, so that nothing can begin meanwhile.
        payments -= self._needed(payments)
        pks = [row.pk for row in batch if row.owner in payments]
        if self.dry_run:
            return len(pks)
        attempts = list(old_attempts(self.cutoff).filter(pk__in=pks).only("params"))
        now = timezone.now()
        for attempt in attempts:
            attempt.params = {
                key: value for key, value in attempt.params.items() if key in KEPT_PARAMS
            }
            attempt.purged_at = now
        StripeAttempt.objects.bulk_update(attempts, ["params", "purged_at"])
        # A hash reveals an address to anyone who can guess the address.
        intents = PaymentIntent.objects.filter(order_payment__in=payments)
        intents.exclude(fingerprint="", last4="").update(fingerprint="", last4="")
        refused = OrderPayment.objects.filter(pk__in=payments).exclude(refused_receipt="")
        refused.update(refused_receipt="")
        return len(attempts)

    def _needed(self, payments: Iterable[Any]) -> set[Any]:
        rows = needed_payments(self.cutoff).filter(pk__in=set(payments))
        return set(rows.values_list("pk", flat=True))

    def kept(self, report: PurgeReport) -> dict[str, int]:
        """Count the rows that are old enough but keep their data."""
        events, attempts = old_events(self.cutoff).count(), old_attempts(self.cutoff).count()
        if self.dry_run:
            events, attempts = events - report.events, attempts - report.attempts
        return {"kept_events": events, "kept_attempts": attempts}


def _locked(rows: QuerySet[Any], pks: Iterable[Any]) -> list[Any]:
    """Lock those of ``rows`` that are not locked already, and return their keys."""
    free = rows.filter(pk__in=pks).order_by("pk")
    return list(free.select_for_update(of=("self",), skip_locked=True).values_list("pk", flat=True))


def old_events(cutoff: datetime) -> QuerySet[WebhookEvent]:
    """Return the events older than ``cutoff`` that still have their payloads."""
    return WebhookEvent.objects.filter(purged_at=None, received_at__lt=cutoff)


def old_attempts(cutoff: datetime) -> QuerySet[StripeAttempt]:
    """Return the attempts older than ``cutoff`` that still have all of their parameters."""
    return StripeAttempt.objects.filter(purged_at=None, created_at__lt=cutoff)


def page_of(rows: QuerySet[Any], age: str, *, after: _Row | None) -> QuerySet[Any]:
    """Return ``rows`` oldest first, from a position on.

    Starting at a position, not at the beginning, reads each row that keeps its data only once.
    """
    if after is not None:
        # The second condition implies the first one, which lets the database use the index.
        rows = rows.filter(
            Q(**{f"{age}__gte": after.moment}),
            Q(**{f"{age}__gt": after.moment}) | Q(pk__gt=after.pk),
        )
    return rows.order_by(age, "pk")


def needed_payments(cutoff: datetime) -> QuerySet[OrderPayment]:
    """Return the payments that are still needed. See Note [What the purge may touch]."""
    of_payment = Q(order_payment=OuterRef("pk"))
    intents = PaymentIntent.objects.filter(
        of_payment, Q(updated_at__gte=cutoff) | ~Q(status__in=_WITHOUT_MONEY_ON_ITS_WAY)
    )
    return OrderPayment.objects.filter(
        Q(needs_review=True)
        | Q(updated_at__gte=cutoff)
        | Q(dispute_state__in=[DisputeState.OPEN, DisputeState.INQUIRY])
        | Exists(Refund.objects.filter(of_payment).exclude(status__in=_REFUNDED_OR_NOT))
        | Exists(intents)
        | Exists(StripeAttempt.objects.pending().filter(of_payment))
        | Exists(ReviewItem.objects.open().filter(of_payment))
    )
