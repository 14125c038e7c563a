"""What an order's payment intent is to look like at Stripe: the parameters of create and update."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

from shop_payments.balance import Balance
from shop_payments.conf import CAPTURE_METHODS, get_config
from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway import PaymentIntentResult
from shop_payments.ledger.payments import LockedPayment
from shop_payments.lifecycle import UPDATABLE_STATUSES
from shop_payments.models import OrderPayment, PaymentIntent
from shop_payments.money import Money
from shop_payments.orders import OrderSnapshot, read_amount_to_pay_now, take_snapshot
from shop_payments.sync.fingerprints import DEFAULT_CAPTURE_METHOD

METADATA_VALUE_LIMIT = 500
"""Characters in one of Stripe's metadata values."""


_DESCRIPTION_LIMIT = 1000


def digest_of_address(address: str) -> str:
    """Return the SHA-256 of a receipt address, as hexadecimal: the address itself is not kept."""
    return hashlib.sha256(address.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What the customer is asked for, and what they and Stripe are shown."""

    payment_pk: int
    snapshot: OrderSnapshot
    money: Money

    def is_made_by(self, intent: PaymentIntent | PaymentIntentResult) -> bool:
        """Whether the intent asks the customer for exactly this money."""
        return (intent.amount, intent.currency) == (self.money.amount, self.money.currency)


def ask_for(
    order: Any,
    balance: Balance,
    payment: OrderPayment,
    with_receipt: bool = True,
    *,
    is_under_way: bool = False,
) -> Ask:
    """Return what a customer of the evaluated order is asked for now.

    With ``is_under_way`` the money is on its way, and the adapter is not asked for a part of it.
    """
    snapshot = take_snapshot(order)
    address = snapshot.receipt_email
    was_refused = bool(payment.refused_receipt) and payment.refused_receipt == digest_of_address(
        address
    )
    if was_refused or not with_receipt:
        snapshot = replace(snapshot, receipt_email="")
    outstanding = Money(balance.outstanding, payment.currency)
    money = outstanding if is_under_way else read_amount_to_pay_now(order, outstanding)
    return Ask(payment_pk=payment.pk, snapshot=snapshot, money=money)


def with_unset_keys(params: dict[str, Any]) -> dict[str, Any]:
    """Stripe merges metadata: an empty value removes a key that an earlier state needed."""
    return {**params, "metadata": {"line_items_omitted": "", **params["metadata"]}}


def build_update(locked: LockedPayment, row: PaymentIntent, balance: Balance) -> dict[str, Any]:
    """Return all that an update of the open intent sends: the same as in call 1.

    The order has been read and evaluated under the lock, and something is outstanding.

    Raises:
        PaymentError, MoneyError: the order cannot be shown to Stripe: the adapter raised, say.
        ConfigurationError: the intent cannot be updated to the settings, or the adapter's capture
            method is none.
    """
    if row.uses_automatic_methods != get_config().AUTOMATIC_PAYMENT_METHODS:
        raise ConfigurationError("AUTOMATIC_PAYMENT_METHODS has changed: Stripe does not update it")
    ask = ask_for(locked.payment.order, balance, locked.payment)
    return with_unset_keys(build_params(locked.payment, ask))


def build_params(payment: OrderPayment, ask: Ask) -> dict[str, Any]:
    """Return what the order's intent should look like at Stripe (amount in minor units)."""
    snapshot = ask.snapshot
    shown, omitted = _line_items_text(snapshot)
    metadata = {
        "order_id": str(payment.order_id),
        "order_number": snapshot.number[:METADATA_VALUE_LIMIT],
        "line_items": shown,
    }
    if omitted:
        metadata["line_items_omitted"] = str(omitted)
    params = {
        "amount": ask.money.amount,
        "currency": ask.money.currency,
        "description": f"Payment for Order #{snapshot.number}"[:_DESCRIPTION_LIMIT],
        "receipt_email": snapshot.receipt_email,
        "metadata": metadata,
        "capture_method": _capture_method(snapshot),
    }
    config = get_config()
    if not config.AUTOMATIC_PAYMENT_METHODS:
        params["allowed_payment_method_types"] = list(config.ALLOWED_PAYMENT_METHOD_TYPES)
    return params


def _capture_method(snapshot: OrderSnapshot) -> str:
    if snapshot.capture_method not in CAPTURE_METHODS:
        raise ConfigurationError(
            f"OrderAdapter.capture_method returned {snapshot.capture_method!r}; "
            f"it has to be one of {', '.join(CAPTURE_METHODS)}"
        )
    return "manual" if snapshot.capture_method == "manual" else DEFAULT_CAPTURE_METHOD


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
            "quantity": item.shown_quantity,
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
    if shown or not lines:
        return _compact(lines[:shown]), len(lines) - shown
    first = {**lines[0], "description": ""}
    spare = METADATA_VALUE_LIMIT - len(_compact([{**first, "name": ""}]))
    name = str(first["name"])
    while name and len(_compact([{**first, "name": name}])) > METADATA_VALUE_LIMIT:
        name = name[: min(len(name) - 1, spare)]
    return _compact([{**first, "name": name}]), len(lines) - 1


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def was_changed_at_stripe(intent: PaymentIntentResult, ask: Ask) -> bool:
    """Whether an intent that has everything by our rows has something else at Stripe.

    Somebody has updated it in the dashboard or by the API, or the database has lost our last update
    with a restored backup. Fields that Stripe does not send are unknown, not different.
    """
    if intent.status not in UPDATABLE_STATUSES:
        return False
    snapshot, config = ask.snapshot, get_config()
    differs = {
        "capture_method": (intent.capture_method == "manual")
        != (_capture_method(snapshot) == "manual"),
        "receipt_email": _same_case(intent.receipt_email) != _same_case(snapshot.receipt_email),
        "allowed_payment_method_types": not config.AUTOMATIC_PAYMENT_METHODS
        and intent.allowed_payment_method_types != set(config.ALLOWED_PAYMENT_METHOD_TYPES),
    }
    return any(differs[name] for name in differs.keys() - intent.absent)


def _same_case(address: str) -> str:
    return address.strip().casefold()
