"""Create, reuse or update an order's payment intent.

Note [One call, two short transactions]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
A request locks the order's payment, decides, commits what it is going to do, and lets go. Then it
calls Stripe, with no transaction open. Then it locks again and writes down the answer. Whoever
comes in between sees the committed attempt and waits for it instead of doing the same.

After anything unexpected (a lost race, a repeated answer, an intent that changed its status) the
request does not patch up what it knows but starts over and decides again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from django.db import IntegrityError
from django.utils import timezone

from shop_payments.conf import CAPTURE_METHODS, get_config
from shop_payments.exceptions import (
    ConfigurationError,
    GatewayInvalidRequest,
    OrderAlreadyPaid,
    OrderNotFound,
    OrderNotPayable,
    PaymentAuthorized,
    PaymentInReview,
    PaymentIntentInProgress,
    PaymentIntentMissing,
    PaymentProcessing,
)
from shop_payments.gateway import PaymentIntentResult, assert_no_transaction, get_gateway
from shop_payments.lifecycle import (
    FINAL_STATUSES,
    UPDATABLE_STATUSES,
    IntentStatus,
    PaymentStatus,
)
from shop_payments.models import OrderPayment, PaymentHistory, PaymentIntent, StripeAttempt
from shop_payments.money import format_amount
from shop_payments.orders import (
    LineItem,
    OrderAdapter,
    OrderSnapshot,
    get_order_adapter,
    take_snapshot,
)
from shop_payments.services.attempts import fingerprint_of, finish_for_others, send_attempt
from shop_payments.services.history import Origin, dispatch
from shop_payments.services.ledger import LockedPayment, find_and_lock_payment
from shop_payments.services.mirror import Refreshed, mark_missing, refresh_intent
from shop_payments.services.sending import (
    Patience,
    belongs_to_other_mode,
    claim,
    pending_write,
)
from shop_payments.services.transactions import short_transactions

METADATA_VALUE_LIMIT = 500
"""Characters in one of Stripe's metadata values."""

_DESCRIPTION_LIMIT = 1000
_MAX_ROUNDS = 8
"""How often a request decides anew before it gives up; two are usual when something happened."""


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

    The order must be one that ``user`` may pay, unless ``any_order`` (for staff). Exactly one call
    to Stripe where nothing goes wrong and no other request is at it.

    Raises:
        TransactionOpenError: called inside a database transaction.
        OrderNotFound: no such order, or not this user's.
        OrderAlreadyPaid, OrderNotPayable, PaymentProcessing, PaymentAuthorized, PaymentInReview:
            the order's state forbids it.
        ConfigurationError: the secret key is missing, or of the mode that the payment is not in.
        PaymentIntentInProgress: another request is at it for more than ``INTENT_WAIT_SECONDS``.
        AmountNotRepresentable, InvalidCurrency: the order cannot be paid as it stands.
        GatewayError: Stripe refused, or could not be reached.
    """
    assert_no_transaction()
    get_gateway()  # a missing key is found before anything is written
    request = _Request(order_id, user, any_order, origin)
    patience = Patience(
        get_config().INTENT_WAIT_SECONDS,
        PaymentIntentInProgress(
            "Another request is creating this payment intent. Try again in a moment."
        ),
    )
    for _round in range(_MAX_ROUNDS):
        plan = _make_plan(request, patience)
        try:
            intent = _carry_out(plan, origin=origin)
        except GatewayInvalidRequest as error:
            if error.param != "receipt_email" or not request.with_receipt:
                raise
            # A receipt that Stripe cannot send shall not keep the customer from paying.
            request = replace(request, with_receipt=False)
            continue
        if intent is not None:
            return IntentView(intent=intent, line_items=plan.snapshot.line_items)
    raise PaymentIntentInProgress("The payment intent keeps changing. Try again in a moment.")


# --- deciding -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Request:
    order_id: object
    user: Any
    any_order: bool
    origin: Origin
    with_receipt: bool = True
    """Whether Stripe is given the address that the order names."""

    def find_order(self, adapter: OrderAdapter, pk: object) -> Any | None:
        return adapter.find(pk) if self.any_order else adapter.find_for_user(pk, self.user)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """One call to Stripe."""

    snapshot: OrderSnapshot
    step: StripeAttempt | PaymentIntent
    """The attempt to send, or the intent to fetch."""

    taken_over: bool = False
    """Whether the attempt was another request's, for what the order was then."""

    facts: tuple[PaymentHistory, ...] = ()


@dataclass(frozen=True)
class _Wait:
    attempt: StripeAttempt


def _make_plan(request: _Request, patience: Patience) -> _Plan:
    collisions = 0
    while True:
        try:
            for short in short_transactions():
                with short:
                    decision = _decide(request, patience)
        except IntegrityError:
            # Another request inserted the payment or its attempt first: now they can be seen.
            collisions += 1
            if collisions == _MAX_ROUNDS:
                raise
            continue
        if isinstance(decision, _Plan):
            dispatch(decision.facts)
            return decision
        patience.wait_for(decision.attempt)


def _decide(request: _Request, patience: Patience) -> _Plan | _Wait:
    """Decide under the payment's lock what to do, and save the attempt if there is one."""
    adapter = get_order_adapter()
    pk = adapter.parse_id(request.order_id)
    order = None if pk is None else request.find_order(adapter, pk)
    # Whoever may not have the order locks nothing of it, and learns nothing from a wait.
    locked = None if order is None else find_and_lock_payment(order_id=pk)
    if locked is not None:
        # Again, under the lock: what was read before may be older than what its last holder saw.
        order = request.find_order(adapter, pk)
    if order is None:
        raise OrderNotFound("Order not found.")
    is_first = locked is None
    if locked is None:
        locked = LockedPayment(OrderPayment.objects.create(order_id=order.pk), [])
        # Read again: see Note [Cancelling with the order] in ``cancellation.py``.
        order = request.find_order(adapter, pk)
        if order is None:
            raise OrderNotFound("Order not found.")
    _refuse_by_status(locked)
    snapshot = take_snapshot(adapter, order)
    if not request.with_receipt:
        snapshot = replace(snapshot, receipt_email="")
    if not snapshot.payable:
        raise OrderNotPayable("The order is empty, free or cancelled.")
    if is_first:
        return _Plan(snapshot=snapshot, step=_plan_create(locked, snapshot))
    if locked.payment.cancel_requested_at is not None:
        # The shop has taken the order up again. See Note [Cancelling with the order].
        locked.payment.cancel_requested_at = None
        locked.payment.save(update_fields=["cancel_requested_at", "updated_at"])
    pending = pending_write(locked)
    if pending is not None:
        return _take_over(pending, snapshot, patience)
    return _plan_for(locked, snapshot, request.origin)


def _refuse_by_status(locked: LockedPayment) -> None:
    status = locked.payment.status
    if status == PaymentStatus.REFUNDED:
        raise OrderNotPayable("The order has been refunded.")
    if status in {PaymentStatus.PAID, PaymentStatus.PARTIALLY_REFUNDED}:
        raise OrderAlreadyPaid("The order has been paid.")
    if locked.payment.needs_review:
        raise PaymentInReview("A payment of this order is being reviewed by the shop.")


def _take_over(
    attempt: StripeAttempt, snapshot: OrderSnapshot, patience: Patience
) -> _Plan | _Wait:
    """Finish what another request began, unless that one may still be at it."""
    if not claim(attempt, within=patience.claim_time):
        return _Wait(attempt)
    return _Plan(snapshot=snapshot, step=attempt, taken_over=True)


def _plan_for(locked: LockedPayment, snapshot: OrderSnapshot, origin: Origin) -> _Plan:
    row = locked.open_intent
    if row is not None and belongs_to_other_mode(row.livemode):
        mark_missing(locked, row, origin=origin)
        row = None
    if row is None:
        attempt = _plan_create(locked, snapshot)
        return _Plan(snapshot=snapshot, step=attempt, facts=tuple(locked.facts))
    params = build_params(locked.payment, snapshot)
    is_as_wanted = row.fingerprint == fingerprint_of(params) and _asks_for(row, snapshot)
    if row.status in UPDATABLE_STATUSES and not is_as_wanted:
        return _Plan(snapshot=snapshot, step=_plan_update(locked, row, params))
    return _Plan(snapshot=snapshot, step=row)


def _asks_for(intent: PaymentIntent | PaymentIntentResult, snapshot: OrderSnapshot) -> bool:
    """Whether the intent asks the customer for what is due."""
    due = snapshot.amount_due
    return (intent.amount, intent.currency) == (due.amount, due.currency)


def _plan_create(locked: LockedPayment, snapshot: OrderSnapshot) -> StripeAttempt:
    config = get_config()
    params = build_params(locked.payment, snapshot)
    attempt_id = uuid4()
    params["metadata"]["attempt_id"] = str(attempt_id)
    if config.AUTOMATIC_PAYMENT_METHODS:
        params["automatic_payment_methods"] = {"enabled": True}
    else:
        params["allowed_payment_method_types"] = list(config.ALLOWED_PAYMENT_METHOD_TYPES)
    if snapshot.capture_method not in CAPTURE_METHODS:
        raise ConfigurationError(
            f"OrderAdapter.capture_method returned {snapshot.capture_method!r}; "
            f"it has to be one of {', '.join(CAPTURE_METHODS)}"
        )
    if snapshot.capture_method == "manual":
        params["capture_method"] = "manual"
    return _save_attempt(
        id=attempt_id,
        order_payment=locked.payment,
        operation=StripeAttempt.Operation.CREATE_INTENT,
        params={key: value for key, value in params.items() if value != ""},
    )


def _plan_update(
    locked: LockedPayment, row: PaymentIntent, params: dict[str, Any]
) -> StripeAttempt:
    # Stripe merges metadata; an empty value takes a key away that an earlier state needed.
    params["metadata"].setdefault("line_items_omitted", "")
    return _save_attempt(
        order_payment=locked.payment,
        operation=StripeAttempt.Operation.UPDATE_INTENT,
        target=row.stripe_id,
        target_version=row.version,
        params=params,
    )


def _save_attempt(**values: Any) -> StripeAttempt:
    now = timezone.now()
    return StripeAttempt.objects.create(
        livemode=get_config().livemode, claimed_at=now, last_sent_at=now, **values
    )


# --- parameters ---------------------------------------------------------------------------------


def build_params(payment: OrderPayment, snapshot: OrderSnapshot) -> dict[str, Any]:
    """Return what the order's intent should look like at Stripe (amount in minor units)."""
    shown, omitted = _line_items_text(snapshot)
    metadata = {
        "order_id": str(payment.order_id),
        "order_number": snapshot.number[:METADATA_VALUE_LIMIT],
        "line_items": shown,
    }
    if omitted:
        metadata["line_items_omitted"] = str(omitted)
    return {
        "amount": snapshot.amount_due.amount,
        "currency": snapshot.amount_due.currency,
        "description": f"Payment for Order #{snapshot.number}"[:_DESCRIPTION_LIMIT],
        "receipt_email": snapshot.receipt_email,
        "metadata": metadata,
    }


def _line_items_text(snapshot: OrderSnapshot) -> tuple[str, int]:
    """Return compact JSON of as many lines as 500 characters hold, and how many are left out.

    A first line that is too long for itself loses the end of its name and its description, so
    that Stripe's dashboard shows something of every order.
    """
    lines = [
        {
            "name": item.name,
            "amount": item.amount,
            "currency": item.currency,
            "quantity": item.quantity,
            "description": item.description,
        }
        for item in snapshot.line_items
    ]
    shown, length = 0, len("[]")
    for line in lines:
        length += len(_compact(line)) + (1 if shown else 0)
        if length > METADATA_VALUE_LIMIT:
            break
        shown += 1
    if shown:
        return _compact(lines[:shown]), len(lines) - shown
    first = {**lines[0], "description": ""}
    spare = METADATA_VALUE_LIMIT - len(_compact([{**first, "name": ""}]))
    name = str(first["name"])
    while len(_compact([{**first, "name": name}])) > METADATA_VALUE_LIMIT:
        name = name[: min(len(name) - 1, spare)]
    return _compact([{**first, "name": name}]), len(lines) - 1


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


# --- carrying out -------------------------------------------------------------------------------


def _carry_out(plan: _Plan, *, origin: Origin) -> PaymentIntentResult | None:
    """Make the plan's one call to Stripe; None where the order must be looked at anew.

    Raises:
        PaymentError: the intent has gone too far to be paid.
        GatewayError: Stripe refused, or could not be reached.
    """
    if isinstance(plan.step, PaymentIntent):
        refreshed = _refresh(plan.step, origin=origin)
        return None if refreshed is None else _payable(refreshed.intent, plan.snapshot)
    if plan.taken_over:
        finish_for_others(plan.step, origin=origin)
        return None
    intent = send_attempt(plan.step, origin=origin)
    return None if intent is None else _payable(intent, plan.snapshot)


def _refresh(row: PaymentIntent, *, origin: Origin) -> Refreshed | None:
    try:
        return refresh_intent(row, origin=origin)
    except PaymentIntentMissing:
        if not PaymentIntent.objects.open().filter(pk=row.pk).exists():
            return None  # the order gets another one
        raise PaymentInReview("The order's payment intent is not at Stripe.") from None


def _payable(intent: PaymentIntentResult, snapshot: OrderSnapshot) -> PaymentIntentResult | None:
    """Return the intent if the customer can go on with it.

    None where it has just been closed, or asks for another sum than is due: it was changed at
    Stripe, which the row now knows.

    Raises:
        PaymentProcessing, PaymentAuthorized: it cannot be paid now, and not paid twice.
    """
    if intent.status == IntentStatus.PROCESSING:
        raise PaymentProcessing("A payment of this order is being processed.")
    if intent.status == IntentStatus.REQUIRES_CAPTURE:
        raise PaymentAuthorized("The order's payment is authorized and waits for capture.")
    if intent.status in FINAL_STATUSES:
        return None
    if _asks_for(intent, snapshot):
        return intent
    if intent.status in UPDATABLE_STATUSES:
        return None
    raise PaymentProcessing("The order has changed, and its payment cannot be changed now.")
