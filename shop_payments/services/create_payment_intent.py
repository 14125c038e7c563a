"""Create, reuse or update an order's payment intent.

Note [One call, two short transactions]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
A request locks the order's payment, decides, and commits the attempt that it is going to send. Then
it calls Stripe, with no transaction open. Then it locks the payment again and records the answer.
A concurrent request sees the committed attempt and waits for it instead of sending the same. If
there is nothing to write, the request takes no lock and only fetches the intent.

After anything unexpected (a lost race, a replayed answer, an intent that changed its status), the
request starts again and decides from fresh data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

from django.utils import timezone

from shop_payments.balance import Balance, Refusal
from shop_payments.conf import get_config
from shop_payments.exceptions import (
    AmountTooLarge,
    AmountTooSmall,
    GatewayInvalidRequest,
    MoneyError,
    OrderAlreadyPaid,
    OrderNotFound,
    OrderNotPayable,
    OrderUnreadable,
    PaymentAuthorized,
    PaymentError,
    PaymentInReview,
    PaymentIntentInProgress,
    PaymentIntentMissing,
    PaymentProcessing,
)
from shop_payments.gateway import PaymentIntentResult, assert_no_transaction, get_gateway
from shop_payments.ledger.evaluation import evaluate, has_same_terms, is_follow_up_needed
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.modes import belongs_to_other_mode
from shop_payments.ledger.payments import (
    LockedPayment,
    find_and_lock_payment,
    find_payment,
    read_rows,
)
from shop_payments.ledger.units import change_payment
from shop_payments.lifecycle import FINAL_STATUSES, UPDATABLE_STATUSES, IntentStatus
from shop_payments.models import OrderPayment, PaymentIntent, StripeAttempt
from shop_payments.money import format_amount
from shop_payments.orders import LineItem, find_visible_order, parse_order_id, read_terms
from shop_payments.outbox.intent_params import (
    Ask,
    ask_for,
    build_params,
    digest_of_address,
    was_changed_at_stripe,
    with_unset_keys,
)
from shop_payments.outbox.sender import check_target, finish_for_others, send_attempt
from shop_payments.outbox.turns import WaitBudget, acquire, pending_write
from shop_payments.outbox.writer import save_attempt, save_write
from shop_payments.sync.fingerprints import DEFAULT_CAPTURE_METHOD, fingerprint_of
from shop_payments.sync.payment_intents import Refreshed, mark_missing, refresh_intent

_MAX_ROUNDS = 8
"""The number of times a request decides before it gives up. Two are usual after a conflict."""


@dataclass(frozen=True, kw_only=True)
class IntentView:
    """An order's intent, fresh from Stripe, with the order's line items."""

    intent: PaymentIntentResult
    line_items: tuple[LineItem, ...]

    @property
    def amount_decimal(self) -> str:
        """The intent's amount as a decimal string in its currency's own digits."""
        return format_amount(self.intent.amount, self.intent.currency)


def create_payment_intent(
    *, order_id: object, user: Any, any_order: bool = False, origin: Origin
) -> IntentView:
    """Return the open intent of an order, created or updated if needed.

    It asks for the outstanding amount, or for the part of it that the adapter returns. ``user``
    must be allowed to pay the order, unless ``any_order`` (for staff). There is exactly one call to
    Stripe, unless a call fails or another request works on the order.

    Raises:
        TransactionOpenError: called inside a database transaction.
        OrderNotFound: there is no such order, or it is not this user's.
        OrderAlreadyPaid, OrderNotPayable, PaymentProcessing, PaymentAuthorized, PaymentInReview:
            the order's balance forbids it.
        OrderUnreadable: the shop's order could not be read.
        ConfigurationError: the secret key is missing, or is not of the payment's mode.
        PaymentIntentInProgress: another request takes longer than ``INTENT_WAIT_SECONDS``.
        AmountNotRepresentable, InvalidCurrency: the order's amount or currency cannot be charged.
        GatewayError: Stripe refused, or could not be reached.
    """
    assert_no_transaction()
    get_gateway()  # a missing key fails here, before anything is written
    request = _Request(order_id, user, any_order, origin)
    budget = WaitBudget(
        get_config().INTENT_WAIT_SECONDS,
        PaymentIntentInProgress(
            "Another request is creating this payment intent. Try again in a moment."
        ),
    )
    for _round in range(_MAX_ROUNDS):
        plan = _make_plan(request, budget)
        try:
            intent = _carry_out(plan, origin=origin)
        except GatewayInvalidRequest as error:
            request = _without_what_was_refused(request, plan, error)
            continue
        if intent is not None:
            return IntentView(intent=intent, line_items=plan.ask.snapshot.line_items)
    raise PaymentIntentInProgress("The payment intent keeps changing. Try again in a moment.")


def _without_what_was_refused(
    request: _Request, plan: _Plan, error: GatewayInvalidRequest
) -> _Request:
    """Return a changed request that Stripe can accept, so that the customer can pay.

    An intent that Stripe refuses to update is replaced, once. Stripe's own advice for a parameter
    that cannot be changed is to cancel the intent and create another one. Its documentation does
    not list all such parameters, so the rule does not depend on the parameter. An amount that is
    too small or too large would be refused on creation, too.

    See: https://github.com/Automattic/woocommerce-payments/issues/142, which quotes the advice, and
    https://github.com/jcberquist/stripe-cfml/pull/55, a refused currency (checked 2026-11)

    Raises:
        GatewayInvalidRequest: ``error``, if the request cannot be changed.
    """
    if error.param == "receipt_email" and request.with_receipt:
        remember_refused_receipt(
            plan.ask.payment_pk, plan.ask.snapshot.receipt_email, origin=request.origin
        )
        return replace(request, with_receipt=False)
    step = plan.step
    if isinstance(step, StripeAttempt) and not isinstance(error, AmountTooSmall | AmountTooLarge):
        is_update = step.operation == StripeAttempt.Operation.UPDATE_INTENT
        if is_update and not request.replaces:
            # Perhaps the customer has just paid, so that there is nothing to cancel.
            _refresh(PaymentIntent.objects.get(stripe_id=step.target), origin=request.origin)
            return replace(request, replaces=step.target)
        is_replacement = request.replaces != "" and request.replaces == step.target
        if is_replacement and not _is_updatable(step.target):
            return request  # the customer paid before the cancellation
    raise error


def _is_updatable(stripe_id: str) -> bool:
    rows = PaymentIntent.objects.filter(stripe_id=stripe_id)
    return rows.filter(status__in=sorted(UPDATABLE_STATUSES)).exists()


def remember_refused_receipt(payment_pk: int, address: str, *, origin: Origin) -> None:
    """Store the digest of an address that Stripe refused, so that it is not sent again."""

    def record(locked: LockedPayment) -> None:
        locked.payment.refused_receipt = digest_of_address(address)

    change_payment(record, origin=origin, pk=payment_pk)


# --- deciding -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Request:
    order_id: object
    user: Any
    any_order: bool
    origin: Origin
    with_receipt: bool = True
    """Whether the order's receipt address is sent to Stripe."""

    replaces: str = ""
    """The intent to cancel, because Stripe refused to update it."""

    asked_at: datetime = field(default_factory=timezone.now)

    def find_order(self, pk: object) -> Any:
        return find_visible_order(pk, user=self.user, any_order=self.any_order)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """One call to Stripe."""

    ask: Ask
    step: StripeAttempt | PaymentIntent
    """The attempt to send, or the intent to fetch."""

    is_of_other_request: bool = False
    """Whether the attempt was saved by another request, for an earlier state of the order."""

    as_of: datetime | None = None
    """The payment's ``updated_at`` when the plan was committed."""


@dataclass(frozen=True)
class _Wait:
    attempt: StripeAttempt


@dataclass(frozen=True)
class _Refused:
    """The customer is not asked for money. Returned, not raised, to commit the evaluation."""

    error: PaymentError


def _make_plan(request: _Request, budget: WaitBudget) -> _Plan:
    pk = parse_order_id(request.order_id)
    if pk is None:
        raise OrderNotFound("Order not found.")
    # Check access before locking, so that timing reveals nothing.
    order = request.find_order(pk)
    payment = find_payment(pk)
    plan = None if payment is None else _plan_without_lock(payment, order, request)
    if plan is not None:
        return plan
    is_expected = payment is not None

    def lock() -> LockedPayment:
        nonlocal is_expected
        found = find_and_lock_payment(order_id=pk) if is_expected else None
        is_expected = True  # if this runs again, because another request has inserted it
        return found or _insert(request, order)

    while True:
        done = change_payment(
            partial(_decide, request=request, budget=budget),
            origin=request.origin,
            lock=lock,
            competes=True,
        )
        assert done.value is not None
        assert done.locked is not None
        if isinstance(done.value, _Refused):
            raise done.value.error
        if isinstance(done.value, _Plan):
            return replace(done.value, as_of=done.locked.payment.updated_at)
        budget.wait_for(done.value.attempt)


def _plan_without_lock(payment: OrderPayment, order: Any, request: _Request) -> _Plan | None:
    """Plan to fetch the open intent, if it is as wanted and nothing has to be written.

    Most requests for an existing intent come from a page that was loaded again. A lock would write
    to disk, and would prove no more: the payment may change as soon as the lock is released. None
    if the plan needs the lock.
    """
    if request.replaces or _needs_lock(payment):
        return None
    seen = read_rows(payment)  # the intents may be newer than the payment
    row, livemode = seen.open_intent, get_config().livemode
    if row is None or seen.may_have_pending or _is_asked_again_late(row):
        return None
    if any(each.livemode != livemode for each in seen.intents):
        return None
    try:
        terms = read_terms(order)
        is_known = has_same_terms(payment, terms)
        if not is_known:
            if any(each.amount_received for each in seen.intents):
                return None
            # The stored terms of an unpaid order may be old.
            payment.total, payment.currency = terms.total.amount, terms.total.currency
            payment.is_payable = terms.is_payable
        balance = seen.balance()
        if balance.refusal is not None or is_follow_up_needed(seen, balance):
            return None
        ask = ask_for(order, balance, payment, request.with_receipt)
        if not _is_as_wanted(row, payment, ask):
            return None
        # Or the order was changed and evaluated after it was read.
        if not is_known and read_terms(request.find_order(payment.order_id)) != terms:
            return None
    except OrderUnreadable:
        return None  # it is recorded under the lock
    return _Plan(ask=ask, step=row)


def _needs_lock(payment: OrderPayment) -> bool:
    """Return whether the plan depends on more than the order and the intents."""
    return (
        payment.has_refunds_or_disputes
        or payment.has_staff_entries
        or payment.failed_reads > 0
        or payment.cancel_requested_at is not None
    )


def _insert(request: _Request, order: Any) -> LockedPayment:
    """Insert the order's payment. Nothing is inserted if the order is refused.

    Raises:
        IntegrityError: another request has inserted it first.
    """
    locked = LockedPayment(OrderPayment(order_id=order.pk), [])
    # Before the unit of work has the payment, so that one INSERT stores the result, too.
    locked.origin = request.origin
    _evaluate_first(locked, order)
    locked.insert()
    return locked


def _decide(
    locked: LockedPayment, *, request: _Request, budget: WaitBudget
) -> _Plan | _Wait | _Refused:
    """Decide under the payment's lock what to do, and save the attempt if there is one."""
    # Read again, because the order may have changed before the lock was acquired. See Note
    # [Cancelling with the order] in ``cancel_payment.py``.
    order = request.find_order(locked.payment.order_id)
    if locked.is_new:
        balance = _evaluate_first(locked, order)
        ask = ask_for(order, balance, locked.payment, request.with_receipt)
        return _Plan(ask=ask, step=_plan_create(locked, ask))
    found = _evaluate(locked, order)
    if found is None:
        assert locked.order_error is not None
        return _Refused(_explain_unreadable(locked.order_error))
    refusal = found.refusal
    if refusal is not None and refusal not in _MAY_HAVE_ENDED:
        return _Refused(_ERRORS[refusal]())
    # Each round reads the order again, and this request itself updates the open intent.
    locked.saves_terms = locked.follows_up = False
    ask = ask_for(
        order, found, locked.payment, request.with_receipt, is_under_way=refusal is not None
    )
    requested_at = locked.payment.cancel_requested_at
    if requested_at is not None and requested_at < request.asked_at:
        # The shop has reopened the order. See Note [Cancelling with the order].
        locked.payment.cancel_requested_at = None
    pending = pending_write(locked)
    if pending is not None:
        return _acquire_or_wait(pending, ask, budget)
    return _plan_for(locked, ask, request)


def _evaluate_first(locked: LockedPayment, order: Any) -> Balance:
    balance = _evaluate(locked, order)
    if balance is None:
        assert locked.order_error is not None
        raise _explain_unreadable(locked.order_error)
    if balance.refusal is not None:
        raise _ERRORS[balance.refusal]()
    return balance


def _evaluate(locked: LockedPayment, order: Any) -> Balance | None:
    """Evaluate the order as it was read for this caller; None if it could not be read.

    Raises:
        MoneyError: the order's total cannot be represented in its currency.
    """
    locked.payment.order, locked.terms, locked.order_error = order, None, None
    try:
        locked.terms = read_terms(order)
    except OrderUnreadable as error:
        if isinstance(error.__cause__, MoneyError) and not error.reason:
            raise error.__cause__ from None
        locked.order_error = error
    return evaluate(locked)


def _explain_unreadable(error: OrderUnreadable) -> PaymentError:
    """Return the error for the client: trying again only helps if something has failed."""
    if error.reason:
        return OrderNotPayable(
            "The order cannot be paid in its current state.", reason=error.reason
        )
    return error


_MAY_HAVE_ENDED = frozenset({Refusal.PROCESSING, Refusal.AUTHORIZED})
"""Refusals that may have ended at Stripe, so the intent is fetched first."""

_IN_REVIEW = "A payment of this order is being reviewed by the shop."
_NOT_PAYABLE = "The order is empty, free or cancelled."

_ERRORS: dict[Refusal, Callable[[], PaymentError]] = {
    Refusal.REFUND_PENDING: partial(PaymentInReview, _IN_REVIEW, reason=Refusal.REFUND_PENDING),
    Refusal.DISPUTE_OPEN: partial(PaymentInReview, _IN_REVIEW, reason=Refusal.DISPUTE_OPEN),
    Refusal.UNKNOWN_INTENT: partial(PaymentInReview, _IN_REVIEW, reason=Refusal.UNKNOWN_INTENT),
    Refusal.FREE: partial(OrderNotPayable, _NOT_PAYABLE, reason=Refusal.FREE),
    Refusal.REFUNDED: partial(
        OrderNotPayable, "The order has been refunded.", reason=Refusal.REFUNDED
    ),
    Refusal.PAID: partial(OrderAlreadyPaid, "The order has been paid."),
    Refusal.NOT_PAYABLE: partial(OrderNotPayable, _NOT_PAYABLE),
    Refusal.UNCOUNTED: partial(PaymentInReview, _IN_REVIEW),
    Refusal.PROCESSING: partial(PaymentProcessing, "A payment of this order is being processed."),
    Refusal.AUTHORIZED: partial(
        PaymentAuthorized, "The order's payment is authorized and waits for capture."
    ),
}


def _acquire_or_wait(attempt: StripeAttempt, ask: Ask, budget: WaitBudget) -> _Plan | _Wait:
    """Plan to finish another request's attempt, unless that request may still be running."""
    if not acquire(attempt, within=budget.lease):
        return _Wait(attempt)
    return _Plan(ask=ask, step=attempt, is_of_other_request=True)


def _plan_for(locked: LockedPayment, ask: Ask, request: _Request) -> _Plan:
    row = locked.open_intent
    if row is not None and belongs_to_other_mode(row.livemode):
        mark_missing(locked, row)  # of test mode, under a live key
        row = None
    if row is None:
        return _Plan(ask=ask, step=_plan_create(locked, ask))
    if row.status not in UPDATABLE_STATUSES or _is_as_wanted(row, locked.payment, ask):
        _record_asked(row)
        # Fetch it, because its client secret is not stored.
        return _Plan(ask=ask, step=row)
    cannot_be_updated = row.uses_automatic_methods != get_config().AUTOMATIC_PAYMENT_METHODS
    if cannot_be_updated or request.replaces == row.stripe_id:
        return _Plan(ask=ask, step=_plan_replacement(locked, row))
    return _Plan(ask=ask, step=_plan_update(locked, row, build_params(locked.payment, ask)))


def _is_as_wanted(row: PaymentIntent, payment: OrderPayment, ask: Ask) -> bool:
    return row.fingerprint == fingerprint_of(build_params(payment, ask)) and ask.matches(row)


_ASKED_AGAIN = timedelta(hours=1)
"""The interval at which requests for an unchanged intent are recorded."""


def _record_asked(row: PaymentIntent) -> None:
    """Record that a customer is about to pay, so that the intent does not count as abandoned."""
    if _is_asked_again_late(row):
        row.asked_at = timezone.now()
        row.save(update_fields=["asked_at"])


def _is_asked_again_late(row: PaymentIntent) -> bool:
    # abs(): the clocks of two processes may differ.
    return abs(timezone.now() - row.asked_at) > _ASKED_AGAIN


def _plan_create(locked: LockedPayment, ask: Ask) -> StripeAttempt:
    params = build_params(locked.payment, ask)
    attempt_id = uuid4()
    params["metadata"]["attempt_id"] = str(attempt_id)  # to find the intent if the answer is lost
    if get_config().AUTOMATIC_PAYMENT_METHODS:
        params["automatic_payment_methods"] = {"enabled": True}
    if params["capture_method"] == DEFAULT_CAPTURE_METHOD:
        del params["capture_method"]  # only an update has to send the default
    # An empty value only unsets something on update.
    sent = {key: value for key, value in params.items() if value != ""}
    operation = StripeAttempt.Operation.CREATE_INTENT
    return save_attempt(locked, operation, "", sent, attempt_id=attempt_id)


def _plan_update(
    locked: LockedPayment, row: PaymentIntent, params: dict[str, Any]
) -> StripeAttempt:
    operation = StripeAttempt.Operation.UPDATE_INTENT
    return save_write(locked, row, operation, with_unset_keys(params))


def _plan_replacement(locked: LockedPayment, row: PaymentIntent) -> StripeAttempt:
    """Plan to cancel an intent that cannot be updated; the next round creates another one."""
    params = {"cancellation_reason": "abandoned"}
    return save_write(locked, row, StripeAttempt.Operation.CANCEL_INTENT, params)


# --- carrying out -------------------------------------------------------------------------------


def _carry_out(plan: _Plan, *, origin: Origin) -> PaymentIntentResult | None:
    """Make the plan's one call to Stripe; None if the request has to decide again.

    Raises:
        PaymentError: the intent cannot be paid now.
        GatewayError: Stripe refused, or could not be reached.
    """
    if isinstance(plan.step, PaymentIntent):
        refreshed = _refresh(plan.step, origin=origin)
        if refreshed is None:
            return None
        if was_changed_at_stripe(refreshed.intent, plan.ask):
            _clear_fingerprint(refreshed.row, origin=origin)
            return None
        return _payable(refreshed.intent, plan.ask)
    intent = None
    try:
        if plan.is_of_other_request:
            finish_for_others(plan.step, origin=origin)  # then decide for the order as it is now
        else:
            intent = send_attempt(plan.step, origin=origin, as_of=plan.as_of).result
            check_target(plan.step, origin=origin)
    except PaymentIntentMissing:
        raise PaymentInReview("Stripe does not know the order's payment intent.") from None
    return None if intent is None else _payable(intent, plan.ask)


def _clear_fingerprint(row: PaymentIntent, *, origin: Origin) -> None:
    """Clear the intent's fingerprint, so that the next round updates the intent."""

    def clear(locked: LockedPayment) -> None:
        current = locked.intent(row.stripe_id)
        if current is not None and current.version == row.version:
            current.fingerprint = ""
            current.save(update_fields=["fingerprint"])

    change_payment(clear, origin=origin, pk=row.order_payment_id)


def _refresh(row: PaymentIntent, *, origin: Origin) -> Refreshed | None:
    try:
        return refresh_intent(row, origin=origin)
    except PaymentIntentMissing:
        if not PaymentIntent.objects.open().filter(pk=row.pk).exists():
            return None  # it was closed, so the order gets another one
        raise PaymentInReview("Stripe does not know the order's payment intent.") from None


def _payable(intent: PaymentIntentResult, ask: Ask) -> PaymentIntentResult | None:
    """Return the intent if the customer can pay it.

    None if it has just been closed, or asks for another amount: it was changed at Stripe, and the
    row has been synced.

    Raises:
        PaymentProcessing, PaymentAuthorized: it cannot be paid now, and must not be paid twice.
    """
    if intent.status == IntentStatus.PROCESSING:
        raise _ERRORS[Refusal.PROCESSING]()
    if intent.status == IntentStatus.REQUIRES_CAPTURE:
        raise _ERRORS[Refusal.AUTHORIZED]()
    if intent.status in FINAL_STATUSES:
        return None
    if ask.matches(intent):
        return intent
    if intent.status in UPDATABLE_STATUSES:
        return None
    raise PaymentProcessing("The order has changed, and its payment cannot be changed now.")
