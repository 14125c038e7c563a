"""Create, reuse or update an order's payment intent.

Note [One call, two short transactions]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
A request locks the order's payment, decides, commits what it is going to do, and lets go. Then it
calls Stripe, with no transaction open. Then it locks again and writes down the answer. A
request that comes in between sees the committed attempt and waits for it instead of doing the same.

After anything unexpected (a lost race, a repeated answer, an intent that changed its status) the
request does not patch up what it knows but starts over and decides again.
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
from shop_payments.ledger.evaluation import evaluate
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.modes import belongs_to_other_mode
from shop_payments.ledger.payments import LockedPayment, find_and_lock_payment
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
"""How often a request decides again before it gives up; two are usual when something happened."""


@dataclass(frozen=True, kw_only=True)
class IntentView:
    """An order's intent as Stripe has just described it, beside the order's lines."""

    intent: PaymentIntentResult
    line_items: tuple[LineItem, ...]

    @property
    def amount_decimal(self) -> str:
        """The intent's amount as a decimal string in its currency's own digits."""
        return format_amount(self.intent.amount, self.intent.currency)


def create_payment_intent(
    *, order_id: object, user: Any, any_order: bool = False, origin: Origin
) -> IntentView:
    """Return the open intent of an order, created or brought up to date where needed.

    It asks for the outstanding amount, or for the part of it that the adapter names. The order must
    be one that ``user`` may pay, unless ``any_order`` (for staff). Exactly one call to Stripe where
    nothing goes wrong and no other request works on the order.

    Raises:
        TransactionOpenError: called inside a database transaction.
        OrderNotFound: no such order, or not this user's.
        OrderAlreadyPaid, OrderNotPayable, PaymentProcessing, PaymentAuthorized, PaymentInReview:
            the order's balance forbids it.
        OrderUnreadable: the shop's order could not be read.
        ConfigurationError: the secret key is missing, or of the mode that the payment is not in.
        PaymentIntentInProgress: another request takes longer than ``INTENT_WAIT_SECONDS``.
        AmountNotRepresentable, InvalidCurrency: the order cannot be paid as it stands.
        GatewayError: Stripe refused, or could not be reached.
    """
    assert_no_transaction()
    get_gateway()  # a missing key is found before anything is written
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
    """Return the request as it can be granted: a customer must be able to pay.

    An intent that Stripe does not update is replaced, once: Stripe's own advice for a parameter
    that cannot be changed is to cancel the intent and create another one. Its documentation does
    not list all that an intent refuses, so the rule does not depend on the parameter. An amount
    that is too small or too large would be refused on creation, too.

    See: https://github.com/Automattic/woocommerce-payments/issues/142, which quotes the advice, and
    https://github.com/jcberquist/stripe-cfml/pull/55, a refused currency (checked 2026-11)

    Raises:
        GatewayInvalidRequest: ``error``, where nothing can be left out.
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
            # It may be refused because the customer has just paid: then there is nothing to cancel.
            _refresh(PaymentIntent.objects.get(stripe_id=step.target), origin=request.origin)
            return replace(request, replaces=step.target)
        is_replacement = request.replaces != "" and request.replaces == step.target
        if is_replacement and not _is_updatable(step.target):
            return request  # the customer was quicker than the cancellation
    raise error


def _is_updatable(stripe_id: str) -> bool:
    rows = PaymentIntent.objects.filter(stripe_id=stripe_id)
    return rows.filter(status__in=sorted(UPDATABLE_STATUSES)).exists()


def remember_refused_receipt(payment_pk: int, address: str, *, origin: Origin) -> None:
    """Remember an address that Stripe does not take, so that it is refused once."""

    def note(locked: LockedPayment) -> None:
        locked.payment.refused_receipt = digest_of_address(address)

    change_payment(note, origin=origin, pk=payment_pk)


# --- deciding -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Request:
    order_id: object
    user: Any
    any_order: bool
    origin: Origin
    with_receipt: bool = True
    """Whether Stripe is given the address that the order names."""

    replaces: str = ""
    """The intent that is cancelled, because Stripe does not update it to what is wanted."""

    asked_at: datetime = field(default_factory=timezone.now)

    def find_order(self, pk: object) -> Any:
        return find_visible_order(pk, user=self.user, any_order=self.any_order)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """One call to Stripe."""

    ask: Ask
    step: StripeAttempt | PaymentIntent
    """The attempt to send, or the intent to fetch."""

    taken_over: bool = False
    """Whether the attempt was another request's, for what the order was then."""

    as_of: datetime | None = None
    """When the payment was last saved, with the plan or before it."""


@dataclass(frozen=True)
class _Wait:
    attempt: StripeAttempt


@dataclass(frozen=True)
class _Refused:
    """The customer is not asked for money; what the evaluation has found is committed."""

    error: PaymentError


def _make_plan(request: _Request, budget: WaitBudget) -> _Plan:
    pk = parse_order_id(request.order_id)
    if pk is None:
        raise OrderNotFound("Order not found.")
    while True:
        done = change_payment(
            partial(_decide, request=request, budget=budget),
            origin=request.origin,
            lock=partial(_lock_or_insert, request, pk),
            competes=True,
        )
        assert done.value is not None
        assert done.locked is not None
        if isinstance(done.value, _Refused):
            raise done.value.error
        if isinstance(done.value, _Plan):
            return replace(done.value, as_of=done.locked.payment.updated_at)
        budget.wait_for(done.value.attempt)


def _lock_or_insert(request: _Request, pk: object) -> LockedPayment:
    """Lock the order's payment, or insert one; nothing is inserted for an order that is refused.

    Raises:
        IntegrityError: another request has inserted it first.
    """
    # Callers who may not see the order lock nothing of it, and learn nothing from a wait.
    order = request.find_order(pk)
    locked = find_and_lock_payment(order_id=pk)
    if locked is None:
        locked = LockedPayment(OrderPayment(order_id=order.pk), [])
        _evaluate_first(locked, order, request.origin)  # what it comes to is inserted with it
        locked.insert()
    return locked


def _decide(
    locked: LockedPayment, *, request: _Request, budget: WaitBudget
) -> _Plan | _Wait | _Refused:
    """Decide under the payment's lock what to do, and save the attempt if there is one."""
    # Again: see Note [Cancelling with the order] in ``cancel_payment.py``. What was read before
    # the lock may be older than what its last holder saw.
    order = request.find_order(locked.payment.order_id)
    if locked.is_new:
        balance = _evaluate_first(locked, order, request.origin)
        ask = ask_for(order, balance, locked.payment, request.with_receipt)
        return _Plan(ask=ask, step=_plan_create(locked, ask))
    found = _evaluate(locked, order, request.origin)
    if found is None:
        assert locked.order_error is not None
        return _Refused(_explain_unreadable(locked.order_error))
    refusal = found.refusal
    if refusal is not None and refusal not in _MAY_HAVE_ENDED:
        return _Refused(_ERRORS[refusal]())
    locked.saves_terms = locked.follows_up = False
    ask = ask_for(
        order, found, locked.payment, request.with_receipt, is_under_way=refusal is not None
    )
    wish = locked.payment.cancel_requested_at
    if wish is not None and wish < request.asked_at:
        # The shop has taken the order up again. See Note [Cancelling with the order].
        locked.payment.cancel_requested_at = None
    pending = pending_write(locked)
    if pending is not None:
        return _take_over(pending, ask, budget)
    return _plan_for(locked, ask, request)


def _evaluate_first(locked: LockedPayment, order: Any, origin: Origin) -> Balance:
    balance = _evaluate(locked, order, origin)
    if balance is None:
        assert locked.order_error is not None
        raise _explain_unreadable(locked.order_error)
    if balance.refusal is not None:
        raise _ERRORS[balance.refusal]()
    return balance


def _evaluate(locked: LockedPayment, order: Any, origin: Origin) -> Balance | None:
    """Evaluate the order as it was read for this caller; None where it could not be.

    Raises:
        MoneyError: the currency has no such amount as the order costs.
    """
    locked.payment.order, locked.terms, locked.order_error = order, None, None
    try:
        locked.terms = read_terms(order)
    except OrderUnreadable as error:
        if isinstance(error.__cause__, MoneyError) and not error.reason:
            raise error.__cause__ from None
        locked.order_error = error
    return evaluate(locked, origin=origin)


def _explain_unreadable(error: OrderUnreadable) -> PaymentError:
    """Return what the customer is told: trying again helps only where something has failed."""
    if error.reason:
        return OrderNotPayable("The order cannot be paid as it stands.", reason=error.reason)
    return error


_MAY_HAVE_ENDED = frozenset({Refusal.PROCESSING, Refusal.AUTHORIZED})
"""Stripe is asked whether it is still so."""

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


def _take_over(attempt: StripeAttempt, ask: Ask, budget: WaitBudget) -> _Plan | _Wait:
    """Finish what another request began, unless that request may still be running."""
    if not acquire(attempt, within=budget.lease):
        return _Wait(attempt)
    return _Plan(ask=ask, step=attempt, taken_over=True)


def _plan_for(locked: LockedPayment, ask: Ask, request: _Request) -> _Plan:
    row = locked.open_intent
    if row is not None and belongs_to_other_mode(row.livemode):
        mark_missing(locked, row, origin=request.origin)
        row = None
    if row is None:
        return _Plan(ask=ask, step=_plan_create(locked, ask))
    params = build_params(locked.payment, ask)
    is_as_wanted = row.fingerprint == fingerprint_of(params) and ask.is_made_by(row)
    if row.status not in UPDATABLE_STATUSES or is_as_wanted:
        _record_asked(row)
        return _Plan(ask=ask, step=row)
    cannot_be_updated = row.uses_automatic_methods != get_config().AUTOMATIC_PAYMENT_METHODS
    if cannot_be_updated or request.replaces == row.stripe_id:
        return _Plan(ask=ask, step=_plan_replacement(locked, row))
    return _Plan(ask=ask, step=_plan_update(locked, row, params))


_ASKED_AGAIN = timedelta(hours=1)
"""How often it is written down that a customer asks for an intent that has not changed."""


def _record_asked(row: PaymentIntent) -> None:
    """Note that somebody is about to pay: the intent is not abandoned."""
    now = timezone.now()
    if abs(now - row.asked_at) > _ASKED_AGAIN:
        row.asked_at = now
        row.save(update_fields=["asked_at"])


def _plan_create(locked: LockedPayment, ask: Ask) -> StripeAttempt:
    params = build_params(locked.payment, ask)
    attempt_id = uuid4()
    params["metadata"]["attempt_id"] = str(attempt_id)
    if get_config().AUTOMATIC_PAYMENT_METHODS:
        params["automatic_payment_methods"] = {"enabled": True}
    if params["capture_method"] == DEFAULT_CAPTURE_METHOD:
        del params["capture_method"]
    sent = {key: value for key, value in params.items() if value != ""}
    operation = StripeAttempt.Operation.CREATE_INTENT
    return save_attempt(locked, operation, "", sent, attempt_id=attempt_id)


def _plan_update(
    locked: LockedPayment, row: PaymentIntent, params: dict[str, Any]
) -> StripeAttempt:
    operation = StripeAttempt.Operation.UPDATE_INTENT
    return save_write(locked, row, operation, with_unset_keys(params))


def _plan_replacement(locked: LockedPayment, row: PaymentIntent) -> StripeAttempt:
    """Plan to cancel an intent that Stripe does not update; the next round creates another."""
    params = {"cancellation_reason": "abandoned"}
    return save_write(locked, row, StripeAttempt.Operation.CANCEL_INTENT, params)


# --- carrying out -------------------------------------------------------------------------------


def _carry_out(plan: _Plan, *, origin: Origin) -> PaymentIntentResult | None:
    """Make the plan's one call to Stripe; None where the order must be looked at again.

    Raises:
        PaymentError: the intent has gone too far to be paid.
        GatewayError: Stripe refused, or could not be reached.
    """
    if isinstance(plan.step, PaymentIntent):
        refreshed = _refresh(plan.step, origin=origin)
        if refreshed is None:
            return None
        if was_changed_at_stripe(refreshed.intent, plan.ask):
            _forget_what_was_sent(refreshed.row, origin=origin)
            return None
        return _payable(refreshed.intent, plan.ask)
    intent = None
    try:
        if plan.taken_over:
            finish_for_others(plan.step, origin=origin)
        else:
            intent = send_attempt(plan.step, origin=origin, as_of=plan.as_of).result
            check_target(plan.step, origin=origin)
    except PaymentIntentMissing:
        raise PaymentInReview("The order's payment intent is not at Stripe.") from None
    return None if intent is None else _payable(intent, plan.ask)


def _forget_what_was_sent(row: PaymentIntent, *, origin: Origin) -> None:
    """Have the next round update the intent."""

    def forget(locked: LockedPayment) -> None:
        current = locked.intent(row.stripe_id)
        if current is not None and current.version == row.version:
            current.fingerprint = ""
            current.save(update_fields=["fingerprint"])

    change_payment(forget, origin=origin, pk=row.order_payment_id)


def _refresh(row: PaymentIntent, *, origin: Origin) -> Refreshed | None:
    try:
        return refresh_intent(row, origin=origin)
    except PaymentIntentMissing:
        if not PaymentIntent.objects.open().filter(pk=row.pk).exists():
            return None  # the order gets another one
        raise PaymentInReview("The order's payment intent is not at Stripe.") from None


def _payable(intent: PaymentIntentResult, ask: Ask) -> PaymentIntentResult | None:
    """Return the intent if the customer can go on with it.

    None where it has just been closed, or asks for another amount: it was changed at Stripe, which
    the row now knows.

    Raises:
        PaymentProcessing, PaymentAuthorized: it cannot be paid now, and not paid twice.
    """
    if intent.status == IntentStatus.PROCESSING:
        raise _ERRORS[Refusal.PROCESSING]()
    if intent.status == IntentStatus.REQUIRES_CAPTURE:
        raise _ERRORS[Refusal.AUTHORIZED]()
    if intent.status in FINAL_STATUSES:
        return None
    if ask.is_made_by(intent):
        return intent
    if intent.status in UPDATABLE_STATUSES:
        return None
    raise PaymentProcessing("The order has changed, and its payment cannot be changed now.")
