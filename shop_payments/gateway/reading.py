"""Read results from the objects in Stripe's answers and events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeVar

from shop_payments.exceptions import MalformedObject
from shop_payments.gateway.results import (
    Answer,
    BalanceTransactionResult,
    DisputeResult,
    LastPaymentError,
    Page,
    PaymentIntentResult,
    PaymentMethodDetails,
    RefundResult,
)
from shop_payments.gateway.values import (
    MALFORMED,
    id_of,
    integer_of,
    metadata_of,
    moment_of,
    own_id,
    secret_of,
    signed_integer_of,
    storable,
    text_of,
)
from shop_payments.money import normalize_currency

logger = logging.getLogger("shop_payments")

_T = TypeVar("_T")

_STATUS_LENGTH = 64
"""The length of the column. A new, longer status of Stripe's is cut."""


_NO_STATUS = "unknown"
"""The status of a refund whose status is null, which Stripe's types allow: it is not finished."""


@contextmanager
def reading_of(kind: str) -> Iterator[None]:
    """Raise MalformedObject if the block cannot read a value."""
    try:
        yield
    except MALFORMED as error:
        raise MalformedObject(f"not a {kind}: {error!r}") from None


def intent_of_answer(
    intent: Answer, *, intent_id: str = "", attempt_id: str = ""
) -> PaymentIntentResult:
    """Read a payment intent from Stripe's answer.

    Raises:
        MalformedObject: it is another object, or not the requested intent.
    """
    values = values_of_answer(intent, "payment_intent")
    result = intent_from_values(
        values, request_id=intent.request_id, replayed=intent.replayed, as_of=intent.as_of
    )
    _check_attempt(result.metadata, attempt_id)
    if intent_id and result.id != intent_id:
        raise MalformedObject("another payment intent")
    return result


def intent_in_answer(answer: Answer, kind: str) -> PaymentIntentResult | None:
    """Read the expanded payment intent of an object in Stripe's answer; None if it has none.

    Raises:
        MalformedObject: it is another object, or its intent is not expanded.
    """
    intent = values_of_answer(answer, kind).get("payment_intent")
    if intent is None:
        return None
    if not isinstance(intent, Mapping):
        raise MalformedObject("not a payment intent")
    return intent_from_values(intent, request_id=answer.request_id, as_of=answer.as_of)


def intent_from_values(
    values: Mapping[str, Any],
    *,
    request_id: str = "",
    replayed: bool = False,
    as_of: datetime | None = None,
) -> PaymentIntentResult:
    """Read the fields that the app needs from an intent's JSON.

    An event may come in another API version than ours. So only the fields below are read, and only
    those that every version has are required. All text except the client secret is made storable.

    Raises:
        MalformedObject: a required field is missing, of another type or out of bounds.
    """
    with reading_of("payment intent"):
        return PaymentIntentResult(
            id=own_id(values["id"]),
            status=storable(text_of(values["status"]))[:_STATUS_LENGTH],
            amount=integer_of(values["amount"]),
            amount_received=integer_of(values.get("amount_received") or 0),
            amount_capturable=integer_of(values.get("amount_capturable") or 0),
            currency=normalize_currency(values["currency"]),
            livemode=values["livemode"] is True,
            metadata=metadata_of(values),
            created_at=moment_of(values["created"]),
            as_of=as_of,
            payment_method=id_of(values.get("payment_method")),
            latest_charge=id_of(_latest_charge(values)),
            capture_before=_capture_before(values.get("latest_charge")),
            charged_at=_charged_at(_latest_charge(values)),
            method=_method(_latest_charge(values)),
            uses_automatic_methods=_uses_automatic_methods(values),
            amount_refunded=_amount_refunded(_latest_charge(values)),
            is_disputed=_is_disputed(_latest_charge(values)),
            is_finished_elsewhere=bool(_instructions(values)),
            payable_until=_payable_until(values),
            capture_method=storable(str(values.get("capture_method") or "")),
            allowed_payment_method_types=_allowed_types(values),
            receipt_email=storable(str(values.get("receipt_email") or "")),
            cancellation_reason=storable(str(values.get("cancellation_reason") or "")),
            last_payment_error=_last_error(values.get("last_payment_error")),
            client_secret=secret_of(values.get("client_secret")),
            request_id=request_id,
            replayed=replayed,
            absent=_absent(values),
        )


_MAY_BE_ABSENT = (
    "allowed_payment_method_types",
    "amount_received",
    "cancellation_reason",
    "capture_method",
    "latest_charge",
    "metadata",
    "payment_method",
    "receipt_email",
)
_NEVER_NULL = ("allowed_payment_method_types", "amount_received", "metadata")
"""Fields that are never null at Stripe. A null counts as absent."""


def _absent(values: Mapping[str, Any]) -> frozenset[str]:
    names = {name for name in _MAY_BE_ABSENT if name not in values}
    names |= {name for name in _NEVER_NULL if values.get(name) is None}
    return frozenset(names - {"latest_charge"} if _latest_charge(values) else names)


def _allowed_types(values: Mapping[str, Any]) -> frozenset[str]:
    """Return the payment method types that the intent is limited to.

    Not ``payment_method_types``, from which Stripe leaves out the types that do not fit just now.
    See: https://docs.stripe.com/api/payment_intents/object (checked 2026-11)
    """
    found = values.get("allowed_payment_method_types")
    return frozenset(map(str, found)) if isinstance(found, list) else frozenset()


def _latest_charge(values: Mapping[str, Any]) -> object:
    """Return the latest charge. Before API version 2022-11-15 it is the first in a list.

    See: https://docs.stripe.com/upgrades#2022-11-15 (checked 2026-11)
    """
    if "latest_charge" in values:
        return values["latest_charge"]
    charges = values.get("charges")
    data = charges.get("data") if isinstance(charges, Mapping) else None
    return data[0] if isinstance(data, list) and data else None


_DONE_AT_ONCE = (
    "alipay_handle_redirect",
    "blik_authorize",
    "cashapp_handle_redirect_or_display_qr_code",
    "klarna_display_qr_code",
    "redirect_to_url",
    "swish_handle_redirect_or_display_qr_code",
    "upi_handle_redirect_or_display_qr_code",
    "use_stripe_sdk",
    "wechat_pay_display_qr_code",
    "wechat_pay_redirect_to_android_app",
    "wechat_pay_redirect_to_ios_app",
)
"""Actions that a customer completes within minutes, on a page or in an app.

All other actions may take days: vouchers, bank transfers, printed QR codes, microdeposits on a bank
statement, a notice from the customer's bank (``card_await_notification``). Unknown actions count as
slow, so that an intent is not cancelled while the customer pays.

See: https://docs.stripe.com/api/payment_intents/object#payment_intent_object-next_action
(checked 2026-11)
"""

_MICRODEPOSITS = "verify_with_microdeposits"
_MICRODEPOSITS_TIMEOUT = timedelta(days=10)
"""Ten days after their arrival, an unverified intent goes back to ``requires_payment_method``.

See: https://docs.stripe.com/payments/ach-direct-debit/accept-a-payment and
https://support.stripe.com/questions/verify-a-new-ach-direct-debit-customer-using-micro-deposits
(checked 2026-11)
"""


def _instructions(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the customer still has to do outside the shop's page; empty if nothing."""
    action = values.get("next_action")
    if not isinstance(action, Mapping) or action.get("type") in (None, *_DONE_AT_ONCE):
        return {}
    details = action.get(action["type"])
    return {"type": action["type"], **(details if isinstance(details, Mapping) else {})}


def _payable_until(values: Mapping[str, Any]) -> datetime | None:
    """Return the time until which the customer can follow the instructions, if Stripe names one."""
    details = _instructions(values)
    if details.get("type") == _MICRODEPOSITS:
        arrival = details.get("arrival_date")
        return moment_of(arrival) + _MICRODEPOSITS_TIMEOUT if arrival else None
    for name in ("expires_after", "expires_at", "charge_attempt_at"):
        if details.get(name):
            return moment_of(details[name])
    return None


def _charged_at(charge: object) -> datetime | None:
    """Read when an expanded charge was created; None if it is not expanded."""
    created = charge.get("created") if isinstance(charge, Mapping) else None
    return moment_of(created) if created else None


_LAST4 = ("last4", "iban_last4")
"""The fields with the last digits of a number, in the details of the methods that have one."""


def _method(charge: object) -> PaymentMethodDetails | None:
    """Read how an expanded charge was paid; None if it is not expanded or does not say."""
    details = charge.get("payment_method_details") if isinstance(charge, Mapping) else None
    if not isinstance(details, Mapping) or not isinstance(details.get("type"), str):
        return None
    found = details.get(details["type"])
    of_type = found if isinstance(found, Mapping) else {}
    wallet = of_type.get("wallet")
    return PaymentMethodDetails(
        type=storable(details["type"]),
        card_brand=storable(str(of_type.get("brand") or "")),
        last4=next((storable(str(of_type[name])) for name in _LAST4 if of_type.get(name)), ""),
        wallet=storable(str(wallet.get("type") or "")) if isinstance(wallet, Mapping) else "",
    )


def _uses_automatic_methods(values: Mapping[str, Any]) -> bool | None:
    """Read whether Stripe chooses the payment methods. An update cannot change this.

    See: https://docs.stripe.com/api/payment_intents/object (checked 2026-11)
    """
    name = "automatic_payment_methods"
    if name not in values:
        return None
    methods = values[name]
    return isinstance(methods, Mapping) and methods.get("enabled") is True


def _amount_refunded(charge: object) -> int:
    """Read the refunded amount of an expanded charge, in minor units; 0 if it is not expanded.

    Since API version 2025-03-31.basil, released money that was not captured does not count.
    See: https://docs.stripe.com/api/charges/object (checked 2026-11)
    """
    amount = charge.get("amount_refunded") if isinstance(charge, Mapping) else None
    return integer_of(amount or 0)


def _is_disputed(charge: object) -> bool:
    return isinstance(charge, Mapping) and charge.get("disputed") is True


def _capture_before(charge: object) -> datetime | None:
    """Read when the authorization expires; None if the charge is not expanded.

    See: https://docs.stripe.com/payments/place-a-hold-on-a-payment-method (checked 2026-11)
    """
    found = charge
    for key in ("payment_method_details", "card", "capture_before"):
        found = found.get(key) if isinstance(found, Mapping) else None
    return moment_of(found) if found else None


def refund_of_answer(refund: Answer, *, intent_id: str = "", attempt_id: str = "") -> RefundResult:
    """Read a refund from Stripe's answer.

    Raises:
        MalformedObject: it is another object, or not the requested refund.
    """
    values = values_of_answer(refund, "refund")
    with reading_of("refund"):
        check_intent(values, intent_id)
        _check_attempt(metadata_of(values), attempt_id)
        return RefundResult(
            id=own_id(values["id"]),
            status=storable(text_of(values["status"] or _NO_STATUS))[:_STATUS_LENGTH],
            amount=_positive(values["amount"]),
            currency=normalize_currency(values["currency"]),
            payment_intent=id_of(values.get("payment_intent")),
            metadata=metadata_of(values),
            created_at=moment_of(values["created"]),
            reason=storable(str(values.get("reason") or "")),
            failure_reason=storable(str(values.get("failure_reason") or "")),
            request_id=refund.request_id,
            replayed=refund.replayed,
        )


def dispute_of_answer(dispute: Answer, *, intent_id: str = "") -> DisputeResult:
    """Read a dispute from Stripe's answer.

    Raises:
        MalformedObject: it is another object, or a dispute of another intent.
    """
    values = values_of_answer(dispute, "dispute")
    with reading_of("dispute"):
        check_intent(values, intent_id)
        due_by = (values.get("evidence_details") or {}).get("due_by")
        return DisputeResult(
            id=own_id(values["id"]),
            status=storable(text_of(values["status"]))[:_STATUS_LENGTH],
            amount=integer_of(values["amount"]),
            currency=normalize_currency(values["currency"]),
            payment_intent=id_of(values.get("payment_intent")),
            livemode=values["livemode"] is True,
            created_at=moment_of(values["created"]),
            reason=storable(str(values.get("reason") or "")),
            evidence_due_at=moment_of(due_by) if due_by else None,
        )


def check_intent(values: Mapping[str, Any], intent_id: str) -> None:
    """Raise ValueError if ``intent_id`` is given and the object belongs to another intent."""
    if intent_id and id_of(values.get("payment_intent")) != intent_id:
        raise ValueError("of another payment intent")


def _check_attempt(metadata: Mapping[str, str], attempt_id: str) -> None:
    if attempt_id and metadata.get("attempt_id") != attempt_id:
        raise MalformedObject("created by another attempt")


def _positive(value: object) -> int:
    amount = integer_of(value)
    if amount == 0:
        raise ValueError("an amount was expected")
    return amount


def balance_transaction_of_answer(transaction: Answer) -> BalanceTransactionResult:
    """Read a balance transaction from Stripe's answer.

    Raises:
        MalformedObject: it is another object.
    """
    values = values_of_answer(transaction, "balance_transaction")
    with reading_of("balance transaction"):
        return BalanceTransactionResult(
            id=own_id(values["id"]),
            source=id_of(values.get("source")),
            reporting_category=storable(text_of(values["reporting_category"])),
            amount=signed_integer_of(values["amount"]),
            fee=signed_integer_of(values["fee"]),
            net=signed_integer_of(values["net"]),
            currency=normalize_currency(values["currency"]),
            created_at=moment_of(values["created"]),
        )


def _last_error(value: object) -> LastPaymentError | None:
    if not isinstance(value, Mapping):
        return None
    code = storable(str(value.get("code") or value.get("type") or ""))
    decline_code = storable(str(value.get("decline_code") or ""))
    charge = id_of(value.get("charge"))
    return LastPaymentError(
        code=code,
        decline_code=decline_code,
        message=storable(str(value.get("message") or "")),
        key=charge or "/".join((code, decline_code, id_of(value.get("payment_method")))),
    )


def values_of_answer(answer: Answer, kind: str) -> Mapping[str, Any]:
    """Return the values of an object in Stripe's answer.

    Raises:
        MalformedObject: it is another object.
    """
    if answer.values.get("object") != kind:
        raise MalformedObject(f"not a {kind}")
    return answer.values


def all_pages(
    ask: Callable[[Mapping[str, Any]], Answer], params: Mapping[str, Any]
) -> Iterator[Answer]:
    """Return the objects of all pages of a list. ``ask`` requests one page.

    A page that cannot be read is an error. If it counted as the end of the list, the caller would
    conclude that an object does not exist at Stripe, and create it again.

    Raises:
        MalformedObject: a page is not a list.
    """
    found, after = page_parts(ask(params))
    yield from found
    while after:
        found, after = page_parts(ask({**params, "starting_after": after}))
        yield from found


def page_of_answer(page: Answer, read: Callable[[Answer], _T]) -> Page[_T]:
    """Read one page of a list. Objects that cannot be read are left out and logged.

    Raises:
        MalformedObject: it is not a list.
    """
    found, after = page_parts(page)
    return Page(items=tuple(readable(found, read)), after=after)


def page_parts(page: Answer) -> tuple[list[Answer], str]:
    """Return the objects on a page, and the last id if there is another page (else "").

    Raises:
        MalformedObject: it is not a list.
    """
    with reading_of("list"):
        values = values_of_answer(page, "list")
        found = [Answer(each if isinstance(each, Mapping) else {}) for each in _items(values)]
        if not values["has_more"]:
            return found, ""
        if not found:
            raise ValueError("has_more, but the page is empty")
        return found, own_id(found[-1].values["id"])


def _items(values: Mapping[str, Any]) -> list[Any]:
    if not isinstance(values["data"], list):
        raise TypeError("a list was expected")
    return values["data"]


def readable(found: list[Answer], read: Callable[[Answer], _T]) -> Iterator[_T]:
    """Read the objects on a page. Those that cannot be read are left out and logged."""
    for item in found:
        try:
            yield read(item)
        except MalformedObject as error:
            logger.warning("Skipped an unreadable object in a list from Stripe: %s", error)
