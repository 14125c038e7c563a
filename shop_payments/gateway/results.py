"""What goes out of the gateway: frozen, typed, and nothing of the SDK's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

from shop_payments.secrecy import Secret

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class LastPaymentError:
    """Why the last attempt to pay failed."""

    code: str
    decline_code: str
    message: str
    key: str
    """Differs from one failed attempt to the next: the charge's id where there is one."""


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
    """When the authorization lapses; None where it is not known, as in events."""

    charged_at: datetime | None = None
    """When the latest charge was made; None where the charge did not come with the intent."""

    uses_automatic_methods: bool | None = None
    """Whether Stripe chooses the payment methods; None where the message does not say."""

    amount_refunded: int = 0
    """What was refunded of the latest charge; 0 also where the charge did not come with it."""

    is_disputed: bool = False
    """Whether the latest charge has been disputed; False also where it did not come with it."""

    is_finished_elsewhere: bool = False
    """Whether the customer has something to do outside the page, which may take days: pay a voucher
    in a shop, transfer money, or read microdeposits on a bank statement."""

    payable_until: datetime | None = None
    """Until when that can be done; None where Stripe says no time."""

    as_of: datetime | None = None
    """When this was so, by Stripe's clock; None where it was so when it was asked for."""

    capture_method: str = ""
    allowed_payment_method_types: frozenset[str] = frozenset()
    """The types that the intent is limited to; empty where it names none."""

    receipt_email: str = field(default="", repr=False)
    """For comparison; it is personal data, and never stored."""

    cancellation_reason: str = ""
    last_payment_error: LastPaymentError | None = None
    client_secret: Secret = field(default=Secret(""), repr=False)
    request_id: str = ""
    replayed: bool = False
    """Whether Stripe repeated a saved answer, which may be older than the intent's state."""

    absent: frozenset[str] = frozenset()
    """Fields that the message did not have, as in older API versions: unknown, not empty."""


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
    """A movement on the Stripe balance; amounts may be negative."""

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
    """Up to a hundred objects of a list, newest first."""

    items: tuple[_T, ...]
    """Those that can be read: what another system made need not be like ours."""

    after: str
    """Where the next page begins; empty where this is the last one."""


@dataclass(frozen=True, kw_only=True)
class EventResult:
    """A signed webhook event. ``payload`` is safe to store: it holds no client secret."""

    id: str
    type: str
    created_at: datetime
    livemode: bool
    api_version: str
    object_id: str
    intent_id: str
    """The payment intent that the object is, or belongs to; empty where there is none."""

    payload: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class EventSubject:
    """What an event is about, and which intent or charge that belongs to.

    Empty where it does not say: a thin event only names its object.
    """

    id: str
    payment_intent: str
    charge: str
