"""The parameters with which an order's payment intent is created and updated."""

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
"""Stripe's limit for the characters of a metadata value."""


_DESCRIPTION_LIMIT = 1000


def digest_of_address(address: str) -> str:
    """Return the SHA-256 of a receipt address, as hexadecimal. The address itself is not stored."""
    return hashlib.sha256(address.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Ask:
    """The money that the customer is asked for, and the data shown to them and to Stripe."""

    payment_pk: int
    snapshot: OrderSnapshot
    money: Money

    def matches(self, intent: PaymentIntent | PaymentIntentResult) -> bool:
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
    """Return what the customer of an evaluated order is asked for now.

    With ``is_under_way``, the money is already on its way, so the adapter is not asked which part
    of it to charge.
    """
    snapshot = take_snapshot(order)
    address = snapshot.receipt_email
    # Stripe refused this address before; the payment must not fail for it again.
    was_refused = bool(payment.refused_receipt) and payment.refused_receipt == digest_of_address(
        address
    )
    if was_refused or not with_receipt:
        snapshot = replace(snapshot, receipt_email="")
    outstanding = Money(balance.outstanding, payment.currency)
    money = outstanding if is_under_way else read_amount_to_pay_now(order, outstanding)
    return Ask(payment_pk=payment.pk, snapshot=snapshot, money=money)


def with_unset_keys(params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of an update, which also remove metadata that no longer applies."""
    # Stripe merges metadata, and removes a key whose value is empty.
    return {**params, "metadata": {"line_items_omitted": "", **params["metadata"]}}


def build_update(locked: LockedPayment, row: PaymentIntent, balance: Balance) -> dict[str, Any]:
    """Return the parameters of an update of the open intent: the same as in call 1.

    The order has been read and evaluated under the lock, and something is outstanding.

    Raises:
        PaymentError, MoneyError: the order's data cannot be sent, for example because the adapter
            raised.
        ConfigurationError: the settings have changed in a way that Stripe cannot update, or the
            adapter returned an invalid capture method.
    """
    if row.uses_automatic_methods != get_config().AUTOMATIC_PAYMENT_METHODS:
        raise ConfigurationError("AUTOMATIC_PAYMENT_METHODS has changed: Stripe cannot update it")
    ask = ask_for(locked.payment.order, balance, locked.payment)
    return with_unset_keys(build_params(locked.payment, ask))


def build_params(payment: OrderPayment, ask: Ask) -> dict[str, Any]:
    """Return the parameters of the order's intent (amount in minor units)."""
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
            f"it must be one of {', '.join(CAPTURE_METHODS)}"
        )
    return "manual" if snapshot.capture_method == "manual" else DEFAULT_CAPTURE_METHOD


def _line_items_text(snapshot: OrderSnapshot) -> tuple[str, int]:
    """Return compact JSON of the lines that fit into 500 characters, and how many are left out.

    If the first line alone is too long, its description is left out and its name is cut, so that
    Stripe's dashboard shows a line of each order.
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
        length += len(_compact(line)) + (1 if shown else 0)  # a comma before all but the first
        if length > METADATA_VALUE_LIMIT:
            break
        shown += 1
    if shown or not lines:
        return _compact(lines[:shown]), len(lines) - shown
    first = {**lines[0], "description": ""}
    spare = METADATA_VALUE_LIMIT - len(_compact([{**first, "name": ""}]))
    name = str(first["name"])
    # Escaped characters take more than one place, so cutting once may not be enough.
    while name and len(_compact([{**first, "name": name}])) > METADATA_VALUE_LIMIT:
        name = name[: min(len(name) - 1, spare)]
    return _compact([{**first, "name": name}]), len(lines) - 1


def _compact(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def was_changed_at_stripe(intent: PaymentIntentResult, ask: Ask) -> bool:
    """Return whether the intent at Stripe differs from what our rows say was sent.

    It may have been updated in the dashboard or by the API, or a restored backup may have lost our
    last update. Fields that Stripe does not send are unknown, not different.
    """
    if intent.status not in UPDATABLE_STATUSES:
        return False
    # The caller compares the amount: see ``Ask.matches``.
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
