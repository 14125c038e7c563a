"""Give money back, in full or in part.

Note [Refunds]
~~~~~~~~~~~~~~
A refund that is asked for here is saved under the payment's lock, where it reserves its amount,
and sent after the commit (see Note [Refund rows] in ``models/refunds.py``). What others have given
back is mirrored (``sync/refunds.py``).

Note [Absence proves nothing]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
Stripe says of its own 500s that the request may have had any effect, or none, and that it may
finish it later. So a refund that was answered so, and is not in the list, keeps its amount and its
key. It is given up only when the key has expired and two looks, an hour apart, have not found it,
or by staff. A refund that comes even later is mirrored as any other.

A look counts only if the payment intent can be retrieved under the same key: another account has
neither. For the same reason a 404 refuses nothing: what was to be refunded or captured exists, so
the key is in doubt. The call stays unresolved, and is sent again.

See: https://docs.stripe.com/refunds, https://docs.stripe.com/error-low-level (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from django.utils import timezone

from shop_payments.conf import get_config
from shop_payments.exceptions import (
    GatewayAuthenticationError,
    GatewayError,
    GatewayInvalidRequest,
    IdempotencyKeyInUse,
    IdempotencyKeyReused,
    OrderNotRefundable,
    PaymentDisputed,
    PaymentError,
    RefundExceedsBalance,
    RefundInProgress,
    RefundRefused,
)
from shop_payments.gateway import assert_no_transaction, get_gateway
from shop_payments.ledger.descriptions import speak
from shop_payments.ledger.evaluation import (
    AUTOMATIC_KEY,
    evaluate,
    excess_to_return,
    newest_counted_first,
    note_outflow,
)
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.modes import belongs_to_other_mode
from shop_payments.ledger.payments import LockedPayment, find_and_lock_payment, read_rows
from shop_payments.ledger.units import change_payment
from shop_payments.lifecycle import DisputeState, RefundStatus
from shop_payments.models import FactKind, OrderPayment, PaymentIntent, Refund, StripeAttempt
from shop_payments.money import (
    check_written_decimals,
    display_amount,
    format_amount,
    to_minor_units,
)
from shop_payments.orders import find_visible_order, parse_order_id
from shop_payments.services.sending import (
    Patience,
    claim,
    doubt_of,
    doubting_the_key,
    free_if_lost,
    is_missing,
    log_error,
    must_look_up,
)
from shop_payments.sync.disputes import DISPUTES, sync_disputes
from shop_payments.sync.refunds import (
    REFUNDS,
    digest_of_request,
    figures_of,
    mirrored_key,
    save_refund,
    sync_refunds,
    write_refund,
)

if TYPE_CHECKING:
    from shop_payments.gateway import RefundResult

_IN_PROGRESS = "This refund is being sent by another request. Try again in a moment."


class RefusedRefund(RefundRefused):
    """A part was not given back; ``refunds`` are all parts, and say which, and why not."""

    def __init__(self, message: str, refunds: Sequence[Refund]) -> None:
        super().__init__(message)
        self.refunds = tuple(refunds)

    @property
    def refund(self) -> Refund:
        """The first part that was refused."""
        refused = (each for each in self.refunds if each.status == RefundStatus.REFUSED)
        return next(refused, self.refunds[0])


@dataclass(frozen=True, kw_only=True)
class RefundRequest:
    """What a caller wants given back."""

    amount_decimal: Decimal | None = None
    """In the payment's currency; None for all that is left."""

    is_typed: bool = False
    """Whether the amount came as text: then it has at most the currency's decimals, zeros included,
    for ``1.250`` may be meant as 1250."""

    reason: str = ""
    """One of :class:`Refund.Reason`, or empty."""

    kind: str = ""
    """One of :class:`Refund.Kind`; empty: excess goes back first, and the rest is for goods."""

    key: str
    """The caller's idempotency key: the same request with it again gives back nothing more."""

    intent_id: str = ""
    """Stripe's id of one intent. Empty for the order's counted money: newest payment first."""


def refund_payment(*, order_id: object, request: RefundRequest, origin: Origin) -> list[Refund]:
    """Give back money of an order; repeated with the same key, return the same refunds.

    A refund is made of as many parts as intents are needed for it, the newest payment first. One
    call to Stripe for each part where nothing goes wrong. A repetition sends the parts whose
    outcome is not known, and never one that was refused.

    Raises:
        TransactionOpenError: called inside a database transaction.
        OrderNotFound: no such order.
        OrderNotRefundable: it has not been paid, or not by this intent.
        PaymentDisputed: the customer's bank holds the money.
        AmountNotRepresentable: the currency has no such amount, or it is not more than nothing.
        RefundExceedsBalance: more than is left; nothing was sent.
        IdempotencyKeyReused: the key belongs to another request: of another amount (all that is
            left is one, too), reason or intent.
        RefundInProgress: another request is sending this refund for too long.
        RefusedRefund: Stripe would not do a part of it, or had none a day later.
        RefundInProgress: also where Stripe answered with a 500 and the refund is not there yet.
        GatewayError: Stripe refused the only part (which says so and reserves nothing), or its
            answer is not known: that part stays requested, and the same key may be tried again.
    """
    assert_no_transaction()
    get_gateway()  # a missing key is found before anything is written
    parts, is_new = _save_or_find(order_id, request, origin)
    results, failure = [], None
    for part in parts:
        try:
            results.append(_finish_part(part, is_new=is_new, origin=origin))
        except (GatewayError, PaymentError) as error:
            if len(parts) == 1:
                raise
            # The other parts are sent all the same: each is capped by itself.
            failure = _graver(failure, error)
            results.append(Refund.objects.select_related("payment_intent").get(pk=part.pk))
    if failure is not None and any(each.status == RefundStatus.REQUESTED for each in results):
        raise failure
    refused = [each for each in results if each.status == RefundStatus.REFUSED]
    if refused:
        words = f"Nothing was given back: {refused[0].failure_reason}"
        if len(results) > 1:
            words = (
                f"{len(refused)} of {len(results)} parts were refused: {refused[0].failure_reason}"
            )
        raise RefusedRefund(words, results)
    return results


def _finish_part(part: Refund, *, is_new: bool, origin: Origin) -> Refund:
    if not is_new:
        part = _wait_or_claim(part)
    if part.status == RefundStatus.REQUESTED:
        part = send_refund(part, origin=origin)
    return part


def _graver(
    known: GatewayError | PaymentError | None, error: GatewayError | PaymentError
) -> GatewayError | PaymentError:
    """Return what to raise: an outcome that is not known goes before a refusal."""
    if known is None or (isinstance(error, GatewayError) and error.retryable):
        return error
    return known


def list_refunds(*, order_id: object) -> list[Refund]:
    """Return the refunds of an order, oldest first, as they are mirrored.

    Raises:
        OrderNotFound: no such order.
    """
    pk = parse_order_id(order_id)
    rows = Refund.objects.select_related("payment_intent").order_by("created_at", "pk")
    found = [] if pk is None else list(rows.filter(order_payment__order_id=pk))
    if not found:
        find_visible_order(pk, any_order=True)
    return found


# --- saving -------------------------------------------------------------------------------------


def _save_or_find(
    order_id: object, request: RefundRequest, origin: Origin
) -> tuple[list[Refund], bool]:
    """Commit the refund that is asked for, or return the parts that its key belongs to."""
    pk = parse_order_id(order_id)

    def save(locked: LockedPayment) -> tuple[list[Refund], bool]:
        known = _known_parts(locked, request)
        if known:
            return known, False
        shares = _shares(locked, request)
        return [_insert(locked, intent, amount, request, origin) for intent, amount in shares], True

    done = change_payment(save, origin=origin, lock=partial(_lock, pk))
    assert done.value is not None
    return done.value


def _lock(pk: object) -> LockedPayment:
    locked = None if pk is None else find_and_lock_payment(order_id=pk)
    if locked is not None:
        return locked
    find_visible_order(pk, any_order=True)
    raise OrderNotRefundable("The order has not been paid.")


def _refunded_intents(locked: LockedPayment, request: RefundRequest) -> list[PaymentIntent]:
    """Return the intents that the request may take money of, newest payment first."""
    if request.intent_id:
        named = locked.intent(request.intent_id)
        intents = [named] if named is not None else []
    else:
        intents = newest_counted_first(locked)
    intents = [row for row in intents if row.amount_received]
    if not intents and not request.intent_id and locked.balance().uncounted:
        raise OrderNotRefundable(
            "What was received does not count for this order. Staff refund it in the admin."
        )
    if not intents:
        raise OrderNotRefundable("The order has not been paid.")
    if any(belongs_to_other_mode(row.livemode) for row in intents):
        raise OrderNotRefundable("This was paid in test mode, and the key in use is a live one.")
    return intents


def _known_parts(locked: LockedPayment, request: RefundRequest) -> list[Refund]:
    """Return the refunds that the request's key belongs to; those of a lost request by its digest.

    Raises:
        IdempotencyKeyReused: the key belongs to another request.
    """
    known = [row for row in locked.refunds if row.request_key == request.key]
    if known:
        _check_same(known, request)
        return known
    digest_key = mirrored_key(locked.payment.order_id, request.key)
    mirrored = [row for row in locked.refunds if row.request_key == digest_key]
    if mirrored:
        _check_same_mirrored(mirrored, request)
    return mirrored


def _check_same_mirrored(known: Sequence[Refund], request: RefundRequest) -> None:
    """Compare a request with what is left of one that was lost: what went back, and from where."""
    asked = _requested_amount(request, known[0].currency)
    is_same = (
        asked in (None, sum(row.amount for row in known))
        and request.reason == known[0].reason
        and (
            not request.intent_id
            or [row.payment_intent.stripe_id for row in known] == [request.intent_id]
        )
    )
    if not is_same:
        raise IdempotencyKeyReused("This idempotency key was used for another refund.")


def _check_same(known: Sequence[Refund], request: RefundRequest) -> None:
    first = known[0]
    is_same = (
        _requested_amount(request, first.currency) == first.requested_amount
        and request.reason == first.reason
        and request.kind == first.kind
        and (
            not request.intent_id
            or [row.payment_intent.stripe_id for row in known] == [request.intent_id]
        )
    )
    if not is_same:
        raise IdempotencyKeyReused("This idempotency key was used for another refund.")


def _shares(locked: LockedPayment, request: RefundRequest) -> list[tuple[PaymentIntent, int]]:
    """Share what is asked for among the intents, newest payment first.

    Each gives at most what is left of it, and one with an open dispute gives nothing.
    """
    intents = _refunded_intents(locked, request)
    currency = intents[0].currency
    left = {row.pk: locked.money_of(row).refundable for row in intents}
    free = [row for row in intents if locked.dispute_state_of(row) != DisputeState.OPEN]
    refundable = sum(left[row.pk] for row in free)
    asked = _requested_amount(request, currency)
    amount = refundable if asked is None else asked
    if amount > refundable or refundable == 0:
        if len(free) < len(intents):
            raise PaymentDisputed("The customer's bank holds this payment; wait for its decision.")
        raise _exceeds_balance(refundable, currency)
    shares = []
    for row in free:
        share = min(amount, left[row.pk])
        if share:
            shares.append((row, share))
            amount -= share
    return shares


def _requested_amount(request: RefundRequest, currency: str) -> int | None:
    """Return what was asked for, in minor units; None for all that is left."""
    asked = request.amount_decimal
    if asked is None:
        return None
    if request.is_typed:
        check_written_decimals(asked, currency)
    return to_minor_units(asked, currency)


def _exceeds_balance(left: int, currency: str) -> RefundExceedsBalance:
    return RefundExceedsBalance(
        f"Only {display_amount(left, currency)} of this payment is left.",
        refundable=format_amount(left, currency),
        currency=currency,
    )


def _insert(
    locked: LockedPayment,
    intent: PaymentIntent,
    amount: int,
    request: RefundRequest,
    origin: Origin,
) -> Refund:
    key, now = uuid4(), timezone.now()
    params: dict[str, Any] = {
        "payment_intent": intent.stripe_id,
        "amount": amount,
        "metadata": {
            "order_id": str(locked.payment.order_id),
            "attempt_id": str(key),
            "request": digest_of_request(locked.payment.order_id, request.key),
        },
    }
    if request.reason:
        params["reason"] = request.reason
    attempt = StripeAttempt.objects.create(
        id=key,
        order_payment=locked.payment,
        operation=StripeAttempt.Operation.CREATE_REFUND,
        target=intent.stripe_id,
        params=params,
        livemode=get_config().livemode,
        claimed_at=now,
        last_sent_at=now,
    )
    refund = Refund(
        id=key,
        order_payment=locked.payment,
        payment_intent=intent,
        attempt=attempt,
        request_key=request.key,
        requested_amount=_requested_amount(request, intent.currency),
        kind=request.kind,
        amount=amount,
        currency=intent.currency,
        reason=request.reason,
        livemode=intent.livemode,
        created_at=now,
    )
    note_outflow(locked, refund, intent)
    refund.save(force_insert=True)
    locked.refunds.append(refund)
    locked.needs_order = True
    fact = (FactKind.REFUND_REQUESTED, figures_of(refund, f"{refund.amount_display} asked for"))
    locked.add_facts(intent, [fact], origin=origin)
    return refund


def _wait_or_claim(refund: Refund) -> Refund:
    """Wait while another request sends this refund; take it over where none does."""
    patience = Patience(
        get_config().INTENT_WAIT_SECONDS,
        RefundInProgress(_IN_PROGRESS),
    )
    while refund.status == RefundStatus.REQUESTED and refund.attempt is not None:
        if claim(refund.attempt, within=patience.claim_time):
            return refund
        patience.wait_for(refund.attempt)
        refund = Refund.objects.select_related("attempt", "payment_intent").get(pk=refund.pk)
    return refund


def refund_excess(payment_pk: int, *, origin: Origin) -> None:
    """Give back what came when nothing was owed or wanted, where the shop wants that.

    What others have given back or claimed at Stripe is looked at first: its events may still be on
    their way. Then the order is read and evaluated again under the lock, before anything is sent.
    If sending fails, the refund stays requested, and the sweep sends it.

    Raises:
        PaymentError, GatewayError: see :func:`refund_payment`.
    """
    seen = read_rows(OrderPayment.objects.get(pk=payment_pk))
    if not excess_to_return(seen, seen.balance()):
        return
    for intent in seen.intents:
        if intent.amount_received and intent.livemode == get_config().livemode:
            REFUNDS.sync(intent, origin=origin, follows_up=False)
            DISPUTES.sync(intent, origin=origin, follows_up=False)

    def save(locked: LockedPayment) -> list[Refund]:
        balance = evaluate(locked, origin=origin)
        rows = [] if balance is None else excess_to_return(locked, balance)
        return [
            _insert(
                locked,
                row,
                row.amount_received,
                RefundRequest(key=f"{AUTOMATIC_KEY} {row.stripe_id}"),
                origin,
            )
            for row in rows
        ]

    done = change_payment(save, origin=origin, follows_up=False, pk=payment_pk)
    for refund in done.value or ():
        send_refund(refund, origin=origin)


# --- sending ------------------------------------------------------------------------------------


def send_refund(refund: Refund, *, origin: Origin) -> Refund:
    """Send a saved refund, which the caller has claimed, and write down what came of it.

    Raises:
        RefundExceedsBalance, PaymentDisputed: Stripe knows of something that we did not; the
            rows have been brought up to date.
        OrderNotRefundable: Stripe does not refund this payment over its API.
        RefundInProgress: another request waits for Stripe's answer to it.
        GatewayError: see :func:`refund_payment`.
    """
    attempt = refund.attempt
    assert attempt is not None
    if belongs_to_other_mode(attempt.livemode):
        raise OrderNotRefundable("This was paid in test mode, and the key in use is a live one.")
    if attempt.key_expired:
        return _find_out(refund, origin=origin)
    try:
        result = get_gateway().create_refund(attempt.params, idempotency_key=str(attempt.pk))
    except GatewayError as error:
        if must_look_up(error):
            return _find_out(refund, origin=origin)
        if isinstance(error, IdempotencyKeyInUse):
            raise RefundInProgress(_IN_PROGRESS) from None
        if is_missing(error):
            error = doubt_of(attempt.target, error)
        _record_error(refund, error, origin=origin)
        _explain(refund, error, origin=origin)
        raise error from None
    return _write_one(refund, result, origin=origin)


def _write_one(refund: Refund, result: RefundResult, *, origin: Origin) -> Refund:
    def write(locked: LockedPayment) -> Refund:
        row = next(each for each in locked.refunds if each.pk == refund.pk)
        if OrderPayment.order.is_cached(refund.order_payment):
            locked.payment.order = refund.order_payment.order  # the receivers get it too
        # Else it was listed meanwhile: this is what it was when it was made, at best as new.
        if not row.stripe_id:
            write_refund(locked, _intent_of(locked, row), row, result, origin=origin)
        return row

    done = change_payment(write, origin=origin, pk=refund.order_payment_id)
    assert done.value is not None
    return done.value


def _intent_of(locked: LockedPayment, refund: Refund) -> PaymentIntent:
    return next(row for row in locked.intents if row.pk == refund.payment_intent_id)


def _record_error(refund: Refund, error: GatewayError, *, origin: Origin) -> None:
    attempt = refund.attempt
    assert attempt is not None
    figures = log_error(attempt, error)
    if error.retryable or isinstance(error, GatewayAuthenticationError):
        attempt.release(**figures)
        return
    _give_up(refund, str(error), StripeAttempt.Outcome.FAILED, figures, origin=origin)


def _give_up(
    refund: Refund,
    why: str,
    outcome: StripeAttempt.Outcome,
    figures: dict[str, Any],
    *,
    origin: Origin,
) -> Refund:
    """Close a refund that moved nothing, so that it reserves nothing any more."""

    def close(locked: LockedPayment) -> Refund:
        row = next(each for each in locked.refunds if each.pk == refund.pk)
        assert row.attempt is not None
        if row.attempt.finish(outcome, **figures) and row.status == RefundStatus.REQUESTED:
            row.status = RefundStatus.REFUSED
            row.failure_reason = why[:255]
            save_refund(locked, row)
            fact = (
                FactKind.REFUND_CHANGED,
                figures_of(row, f"{row.amount_display} refused: {why}"),
            )
            request_id = figures.get("request_id", "")
            intent = _intent_of(locked, row)
            locked.add_facts(intent, [fact], origin=origin, request_id=request_id)
        return row

    done = change_payment(close, origin=origin, pk=refund.order_payment_id)
    assert done.value is not None
    return done.value


_DISPUTED = "charge_disputed"


def _explain(refund: Refund, error: GatewayError, *, origin: Origin) -> None:
    """Look for the reason of a refusal in what others did at Stripe, and raise it.

    Raises:
        RefundExceedsBalance: somebody gave the money back already.
        PaymentDisputed: the customer's bank has claimed it. Of a lost payment Stripe gives nothing
            back, though a refund that failed meanwhile may have left something of it.
        OrderNotRefundable: the intent was cancelled after a partial capture.
    """
    if not isinstance(error, GatewayInvalidRequest):
        return
    intent = refund.payment_intent
    sync_refunds(intent, origin=origin)
    sync_disputes(intent, origin=origin)
    locked = read_rows(OrderPayment.objects.get(pk=intent.order_payment_id))
    current = locked.intent(intent.stripe_id)
    if current is None:
        return
    if error.code == _DISPUTED or locked.dispute_state_of(current) == DisputeState.OPEN:
        raise PaymentDisputed("The customer's bank has claimed this payment back.") from None
    left = locked.money_of(current).refundable
    if left < refund.amount:
        raise _exceeds_balance(left, current.currency) from None
    if current.holds_money and not current.has_succeeded:
        # Stripe does not say whether its API refunds a cancelled intent.
        raise OrderNotRefundable(
            f"Stripe refused to refund this payment: {error} The payment intent was cancelled"
            f" after a part was captured. Refund its charge ({current.latest_charge}) in Stripe's"
            " dashboard."
        ) from None


def _find_out(refund: Refund, *, origin: Origin) -> Refund:
    """Look among the intent's refunds for one whose answer can never be had again.

    See Note [Absence proves nothing].

    Raises:
        RefundInProgress: it is not there, which proves nothing yet; it stays requested.
        TargetMissing: nor is the payment intent; this look does not count.
        GatewayError: Stripe could not be asked; the refund stays requested, and the next caller may
            try it at once.
    """
    attempt = refund.attempt
    assert attempt is not None
    with free_if_lost(attempt), doubting_the_key(attempt.target):
        listed = get_gateway().list_refunds(attempt.target)
    for result in listed:
        if result.metadata.get("attempt_id") == str(refund.pk):
            return _write_one(refund, result, origin=origin)
    if attempt.key_expired:
        with free_if_lost(attempt), doubting_the_key(attempt.target):
            get_gateway().retrieve_payment_intent(attempt.target)  # the key is of the right account
    if _is_certainly_missing(attempt):
        why = "Stripe had no such refund, a day after it was asked for"
        return _give_up(refund, why, StripeAttempt.Outcome.ABANDONED, {}, origin=origin)
    attempt.release()
    raise RefundInProgress(
        f"Stripe has not said what became of this refund of {refund.amount_display}. The amount"
        " stays reserved until that is known; ask again with the same key."
    )


def _is_certainly_missing(attempt: StripeAttempt) -> bool:
    """Note a look that has not found an effect; tell whether enough of them agree."""
    now = timezone.now()
    if not attempt.key_expired:
        return False
    if attempt.missed_at is None:
        attempt.missed_at = now
        attempt.save(update_fields=["missed_at"])
        return False
    return now - attempt.missed_at >= StripeAttempt.SECOND_LOOK


def give_up_refund(*, refund_pk: Any, reason: str, origin: Origin) -> Refund:
    """Free the amount of a refund whose outcome nobody knows, on a member of staff's word.

    They have looked in Stripe's dashboard, and it is not there. Should it come all the same, it is
    mirrored, and the order's balance follows.

    Raises:
        TransactionOpenError: called inside a database transaction.
        Refund.DoesNotExist: no such refund.
        RefundInProgress: it was sent a moment ago, or its outcome is known.
        ValueError: no reason.
    """
    if not reason.strip():
        raise ValueError("giving a refund up needs a reason")
    assert_no_transaction()
    refund = Refund.objects.select_related("attempt", "order_payment").get(pk=refund_pk)
    attempt = refund.attempt
    if refund.status != RefundStatus.REQUESTED or attempt is None:
        raise RefundInProgress(f"This refund is {speak(refund.status)}, not unresolved.")
    if attempt.is_claimed(within=_JUST_SENT, now=timezone.now()):
        raise RefundInProgress(_IN_PROGRESS)
    why = f"given up by staff: {reason.strip()}"
    return _give_up(refund, why, StripeAttempt.Outcome.ABANDONED, {}, origin=origin)


_JUST_SENT = timedelta(minutes=2)
"""A request that was sent so recently may still be answered."""


# --- mirroring ----------------------------------------------------------------------------------
