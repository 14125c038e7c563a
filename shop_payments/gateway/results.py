"""The results of the gateway: frozen, typed, and independent of the SDK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from shop_payments.secrecy import Secret

_T = TypeVar("_T")


@dataclass(frozen=True)
class Answer:
    """The JSON object of an answer of Stripe, or of an item of a list."""

    values: Mapping[str, Any]
    as_of: datetime | None = None
    """When Stripe sent it, by its own clock; None for a repeated answer or without the header."""

    request_id: str = ""
    replayed: bool = False
    """Whether Stripe repeated an answer that it had saved for the idempotency key.

    See: https://docs.stripe.com/api/idempotent_requests (checked 2026-11)
    """


@dataclass(frozen=True, kw_only=True)
class LastPaymentError:
    """Why the last attempt to pay failed."""

    code: str
    decline_code: str
    message: str
    key: str
    """Identifies the failed attempt: the charge's id, or the error's codes and payment method."""


@dataclass(frozen=True, kw_only=True)
class PaymentMethodDetails:
    """How a charge was paid: ``payment_method_details`` of a charge.

    See: https://docs.stripe.com/api/charges/object (checked 2026-11)
    """

    type: str
    card_brand: str = ""
    last4: str = ""
    """The last four digits of the card or bank account; empty for methods without a number."""

    wallet: str = ""


@dataclass(frozen=True, kw_only=True)
class PaymentIntentResult:
    """A PaymentIntent as Stripe described it."""

    id: str
    status: str
    amount: int
    amount_received: int
    amount_capturable: int
    currency: str
    livemode: bool
    metadata: Mapping[str, str]
    created_at: datetime
    payment_method: str = ""
    latest_charge: str = ""
    capture_before: datetime | None = None
    """When the authorization expires; None if unknown, as in events."""

    charged_at: datetime | None = None
    """When the latest charge was created; None if the charge is not expanded."""

    method: PaymentMethodDetails | None = None
    """How the latest charge was paid; None if the charge is not expanded."""

    uses_automatic_methods: bool | None = None
    """Whether Stripe chooses the payment methods; None if the message does not say."""

    amount_refunded: int = 0
    """The refunded amount of the latest charge, in minor units; 0 if the charge is not expanded."""

    is_disputed: bool = False
    """Whether the latest charge has been disputed; False if the charge is not expanded."""

    is_finished_elsewhere: bool = False
    """Whether the customer still has to act outside the page, which may take days: pay a voucher in
    a shop, transfer money, or read microdeposits on a bank statement."""

    payable_until: datetime | None = None
    """The time until which the customer can do this; None if Stripe names none."""

    as_of: datetime | None = None
    """The time of this state by Stripe's clock, in whole seconds; None if it is not known."""

    capture_method: str = ""
    allowed_payment_method_types: frozenset[str] = frozenset()
    """The types that the intent is limited to; empty if it names none."""

    receipt_email: str = field(default="", repr=False)
    """Personal data: compared with the order's, never stored."""

    cancellation_reason: str = ""
    last_payment_error: LastPaymentError | None = None
    client_secret: Secret = field(default=Secret(""), repr=False)
    request_id: str = ""
    replayed: bool = False
    """Whether Stripe repeated a saved answer, which may be older than the intent's state."""

    absent: frozenset[str] = frozenset()
    """Fields that the message does not have, as in older API versions: unknown, not empty."""


@dataclass(frozen=True, kw_only=True)
class RefundResult:
    """A Refund as Stripe described it."""

    id: str
    status: str
    amount: int
    currency: str
    payment_intent: str
    metadata: Mapping[str, str]
    created_at: datetime
    reason: str = ""
    failure_reason: str = ""
    request_id: str = ""
    replayed: bool = False


@dataclass(frozen=True, kw_only=True)
class DisputeResult:
    """A Dispute as Stripe described it."""

    id: str
    status: str
    amount: int
    currency: str
    payment_intent: str
    livemode: bool
    created_at: datetime
    reason: str = ""
    evidence_due_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class BalanceTransactionResult:
    """A balance transaction. ``amount`` and ``net`` may be negative (minor units)."""

    id: str
    source: str
    reporting_category: str
    amount: int
    fee: int
    net: int
    currency: str
    created_at: datetime


@dataclass(frozen=True, kw_only=True)
class Page(Generic[_T]):
    """Up to 100 objects of a list, newest first."""

    items: tuple[_T, ...]
    """The objects that could be read. Other systems may create objects that the app cannot read."""

    after: str
    """The id after which the next page starts; empty on the last page."""


@dataclass(frozen=True, kw_only=True)
class EventResult:
    """A signed webhook event. ``payload`` can be stored: it contains no client secret."""

    id: str
    type: str
    created_at: datetime
    livemode: bool
    api_version: str
    object_id: str
    intent_id: str
    """The payment intent that the object is or belongs to; empty if there is none."""

    payload: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class EventSubject:
    """The object of an event, and the intent and charge that it belongs to.

    A field is empty if the event does not say it: a thin event only names its object.
    """

    id: str
    payment_intent: str
    charge: str
