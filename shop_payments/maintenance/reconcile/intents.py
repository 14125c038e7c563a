"""Sync payment intents: our changed ones, those without a row, and orphans."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from django.db import IntegrityError

from shop_payments.conf import get_config
from shop_payments.exceptions import ObjectMissing, PaymentIntentMissing
from shop_payments.gateway import get_gateway
from shop_payments.ledger.payments import LockedPayment
from shop_payments.ledger.units import change_payment
from shop_payments.lifecycle import CANCELABLE_STATUSES, FINAL_STATUSES, IntentStatus
from shop_payments.maintenance.reconcile.pages import pages
from shop_payments.maintenance.reconcile.sweep import Sweep
from shop_payments.models import PaymentIntent, ReviewItem, StripeAttempt
from shop_payments.outbox.sender import send_attempt
from shop_payments.outbox.writer import save_attempt
from shop_payments.services.unknown_intents import (
    ask_staff_about,
    close_items_of_renamed,
    close_items_with_row,
    find_named_order,
    open_unknown_items,
    would_ask_staff,
)
from shop_payments.sync.arrivals import apply_final_state, insert_missing_intent
from shop_payments.sync.payment_intents import (
    agrees,
    apply_fetched,
    can_be_completed,
    named_attempt,
    refresh_intent,
)

if TYPE_CHECKING:
    from shop_payments.gateway import PaymentIntentResult


def sync_intents(sweep: Sweep) -> None:
    """Sync our changed intents, insert missing rows, and cancel orphans.

    Raises:
        GatewayError: a request to Stripe failed.
    """
    ours = PaymentIntent.objects.filter(livemode=get_config().livemode)
    look = _Look(sweep)
    ask = get_gateway().page_of_payment_intents
    for seen in pages(sweep, ask, rows=ours, unsettled=ours.open()):
        look.at_page({row.stripe_id: row for row in seen.before}, seen.found)
        for row in seen.not_shown:
            sweep.try_to(row.stripe_id, partial(look.at, row))
    if look.end():
        _handle_without_row(sweep, look.without_row)


def count_unknown(sweep: Sweep) -> None:
    """Count the unknown intents about which staff have not decided; close the items of others."""
    if not sweep.dry_run:
        close_items_with_row(origin=sweep.origin)
        sweep.report.unknown = len(open_unknown_items())


_MANY = 3
"""With at least this many missing intents, and not more found, the API key is considered wrong."""


class _Look:
    """What one sweep finds of our intents at Stripe."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._found = 0
        self._missing: list[PaymentIntent] = []
        self.without_row: dict[str, PaymentIntentResult] = {}
        """The intents without a row whose metadata names an attempt, by id."""
        items = ReviewItem.objects.open().filter(reason=ReviewItem.Reason.INTENT_MISSING)
        self.asked_about = set(items.values_list("payment_intent__stripe_id", flat=True))

    def at_page(
        self, before: dict[str, PaymentIntent], found: Sequence[PaymentIntentResult]
    ) -> None:
        """Compare one page of Stripe's list with our rows."""
        not_read = [intent.id for intent in found if intent.id not in before]
        # Rows that were inserted after ``before`` was read.
        late = {row.stripe_id: row for row in PaymentIntent.objects.filter(stripe_id__in=not_read)}
        self._found += sum(intent.id in before or intent.id in late for intent in found)
        for intent in found:
            if intent.id in before:
                _sync_listed(self._sweep, before[intent.id], intent, asked_about=self.asked_about)
            elif intent.id in late:
                _sync_late(self._sweep, late[intent.id], intent)
            elif named_attempt(intent) is not None:
                self.without_row[intent.id] = intent

    def at(self, row: PaymentIntent) -> None:
        """Fetch one intent that no page has shown.

        Raises:
            GatewayError: the request to Stripe failed.
        """
        try:
            intent = get_gateway().retrieve_payment_intent(row.stripe_id)
        except ObjectMissing:
            self._missing.append(row)
        else:
            self._found += 1
            _sync_listed(self._sweep, row, intent, asked_about=self.asked_about)

    def end(self) -> bool:
        """Mark the intents that Stripe does not know as missing; False if the key is wrong.

        With the key of another account, none of our intents is found. Closing all of them, or
        asking staff about each, would stop all open payments. Intents of that account that name our
        orders must not be handled either: it may belong to a staging shop with a copy of our
        database.

        Raises:
            GatewayError: a request to Stripe failed.
        """
        sweep, missing = self._sweep, self._missing
        if len(missing) >= _MANY and len(missing) >= self._found:
            self._blame_key(f"{len(missing)} of {len(missing) + self._found} payment intents are")
            return False
        if not self._is_our_account():
            self._blame_key("The newest payment intent is")
            return False
        for row in missing:
            sweep.report.intents += 1
            if not sweep.dry_run:
                sweep.try_to(row.stripe_id, partial(apply_fetched, row, None, origin=sweep.origin))
        return True

    def _blame_key(self, what: str) -> None:
        self._sweep.has_left_rest = True
        self._sweep.add_problem(
            f"{what} not at Stripe. Check that SHOP_PAYMENTS['STRIPE_SECRET_KEY'] belongs to the"
            " account that created them. Nothing was changed"
        )

    def _is_our_account(self) -> bool:
        """Return whether the account has one of our intents. True if we have none at all."""
        if self._found or _of_our_attempts(list(self.without_row.values())):
            return True
        ours = PaymentIntent.objects.filter(livemode=get_config().livemode)
        # Intents that are missing already were test data, which may be deleted at any time.
        newest = (
            ours.exclude(status=IntentStatus.MISSING).order_by("-stripe_created_at", "-pk").first()
        )
        if newest is None:
            return True
        should_be_listed = newest.stripe_created_at >= self._sweep.since
        if not should_be_listed and not self.without_row and not open_unknown_items():
            return True  # nothing was listed, so nothing will be done
        try:
            get_gateway().retrieve_payment_intent(newest.stripe_id)
        except ObjectMissing:
            return False
        return True


def _sync_late(sweep: Sweep, row: PaymentIntent, intent: PaymentIntentResult) -> None:
    """Fetch an intent whose row is newer than the page that shows it."""
    if agrees(row, intent):
        return
    sweep.report.intents += 1
    if not sweep.dry_run:
        sweep.try_to(intent.id, partial(_refresh, sweep, row.pk))


def _sync_listed(
    sweep: Sweep, row: PaymentIntent, intent: PaymentIntentResult, *, asked_about: Collection[str]
) -> None:
    """Apply a listed intent to ``row``, which was read before the list.

    ``asked_about`` are intents that staff are asked about because Stripe did not know them.
    """
    is_news = _is_news(row, intent)
    # Events do not say how a payment was paid, so this is expected to be missing.
    has_changed = is_news and _is_news(row, replace(intent, method=None))
    if not is_news and row.stripe_id not in asked_about:
        return

    def write() -> None:
        if intent.status in FINAL_STATUSES:
            apply_final_state(intent, origin=sweep.origin)
        else:
            now = apply_fetched(row, intent, origin=sweep.origin)
            if now is None:
                _refresh(sweep, row.pk)
            elif not now.is_open:
                # It was missing and exists again, but another intent has replaced it.
                _close_second(sweep, intent, row.attempt)
                return
        count()

    def count() -> None:
        sweep.report.intents += has_changed
        sweep.report.methods += is_news and not has_changed

    if sweep.dry_run:
        count()
    else:
        sweep.try_to(row.stripe_id, write)


def _is_news(row: PaymentIntent, intent: PaymentIntentResult) -> bool:
    return can_be_completed(row, intent) if row.is_final else not agrees(row, intent)


def _refresh(sweep: Sweep, pk: int) -> None:
    """Fetch an intent whose row has changed while it was listed."""
    try:
        row = refresh_intent(PaymentIntent.objects.get(pk=pk), origin=sweep.origin)
    except PaymentIntentMissing:
        return
    if row is None:
        sweep.report_progress(f"intent {pk} is being changed by another process")


def _ask_again(sweep: Sweep, stripe_id: str) -> None:
    """Fetch an intent that staff are asked about and that no page has shown.

    Raises:
        GatewayError: the request to Stripe failed.
    """
    try:
        intent = get_gateway().retrieve_payment_intent(stripe_id)
    except ObjectMissing:
        sweep.report.unknown += 1  # absence once proves nothing: staff have to close the item
        return
    _ask_staff_about(sweep, intent, is_waiting=True)


# --- intents without a row ----------------------------------------------------------------------


def _handle_without_row(sweep: Sweep, found: Mapping[str, PaymentIntentResult]) -> None:
    """Insert the rows of our attempts' intents, and ask staff about the others."""
    waiting = {item.subject for item in open_unknown_items()}
    ours = _of_our_attempts(list(found.values()))
    for intent in found.values():
        if attempt := ours.get(intent.id):
            sweep.try_to(intent.id, partial(_insert_or_cancel, sweep, intent, attempt))
        else:
            is_waiting = intent.id in waiting
            sweep.try_to(intent.id, partial(_ask_staff_about, sweep, intent, is_waiting=is_waiting))
    for stripe_id in sorted(waiting - set(found)):
        sweep.try_to(stripe_id, partial(_ask_again, sweep, stripe_id))


def _of_our_attempts(intents: Sequence[PaymentIntentResult]) -> dict[str, StripeAttempt]:
    """Return by intent id the attempt of ours that created it; other intents are left out."""
    named = {intent.id: named_attempt(intent) for intent in intents}
    attempts = StripeAttempt.objects.filter(operation=StripeAttempt.Operation.CREATE_INTENT)
    ours = attempts.in_bulk([pk for pk in named.values() if pk is not None])
    return {stripe_id: ours[pk] for stripe_id, pk in named.items() if pk in ours}


def _ask_staff_about(sweep: Sweep, intent: PaymentIntentResult, *, is_waiting: bool) -> None:
    """Ask staff about an intent without a row, if it names an order of ours.

    ``is_waiting`` means that they are asked about it already. See Note [Unknown intents] in
    ``unknown_intents.py``.
    """
    if is_waiting and not sweep.dry_run:
        close_items_of_renamed(intent, origin=sweep.origin)
    order = find_named_order(intent)
    if order is None:
        return
    if sweep.dry_run:
        sweep.report.unknown += would_ask_staff(order, intent)
    else:
        ask_staff_about(order, intent, origin=sweep.origin)


def _insert_or_cancel(sweep: Sweep, intent: PaymentIntentResult, attempt: StripeAttempt) -> None:
    """Insert the row of an intent of ours; cancel the intent if another one has replaced it.

    Raises:
        GatewayError: Stripe could not be reached.
    """
    if sweep.dry_run:
        sweep.report.intents += 1
        return
    insert = apply_final_state if intent.status in FINAL_STATUSES else insert_missing_intent
    insert(intent, origin=sweep.origin)
    if PaymentIntent.objects.filter(stripe_id=intent.id).exists():
        sweep.report.intents += 1
    else:
        _close_second(sweep, intent, attempt)


def _close_second(sweep: Sweep, intent: PaymentIntentResult, attempt: StripeAttempt) -> None:
    """Cancel an intent that was replaced by another one.

    Raises:
        GatewayError: Stripe could not be reached.
    """
    if intent.status in CANCELABLE_STATUSES:
        _cancel_orphan(sweep, intent, attempt)
    elif intent.status != IntentStatus.CANCELED:
        sweep.add_problem(f"{intent.id} is a second intent of {attempt}, and {intent.status}")


def _cancel_orphan(sweep: Sweep, intent: PaymentIntentResult, attempt: StripeAttempt) -> None:
    def save(locked: LockedPayment) -> StripeAttempt | None:
        row = locked.intent(intent.id)
        if row is not None and (row.status != IntentStatus.MISSING or not locked.open_intent):
            return None  # it has a row now and is not replaced
        if _is_on_its_way(locked, intent):
            sweep.report_progress(f"{intent.id} cannot be cancelled while it is {intent.status}")
            return None
        return save_attempt(
            locked,
            StripeAttempt.Operation.CANCEL_INTENT,
            intent.id,
            {"cancellation_reason": "duplicate"},
        )

    try:
        done = change_payment(save, origin=sweep.origin, pk=attempt.order_payment_id)
    except IntegrityError:
        return  # another write of this order is pending; the next sweep finds the orphan again
    cancel = done.value
    if cancel is None:
        return
    send_attempt(cancel, origin=sweep.origin)
    if cancel.outcome == StripeAttempt.Outcome.SUCCEEDED:
        sweep.report.orphans += 1
    else:
        _look_at_refused(sweep, intent.id)


def _is_on_its_way(locked: LockedPayment, intent: PaymentIntentResult) -> bool:
    """Return whether the money of an orphan is on its way and Stripe has refused to cancel it."""
    return (
        intent.status == IntentStatus.PROCESSING
        and locked.payment.attempts.filter(
            operation=StripeAttempt.Operation.CANCEL_INTENT,
            outcome=StripeAttempt.Outcome.FAILED,
            target=intent.id,
        ).exists()
    )


def _look_at_refused(sweep: Sweep, intent_id: str) -> None:
    """Fetch an orphan that Stripe did not cancel: most likely, it has just been paid.

    Raises:
        GatewayError: the request to Stripe failed.
    """
    intent = get_gateway().retrieve_payment_intent(intent_id)
    if intent.status in FINAL_STATUSES:
        apply_final_state(intent, origin=sweep.origin)
        sweep.report.intents += 1
    else:
        sweep.report_progress(f"{intent_id} is not cancelled: it is {intent.status}")
