"""The state of one account: objects, ids, clock and lock."""

from __future__ import annotations

import random
import string
from dataclasses import dataclass, field
from typing import Any

from ..banks.instruments import Instrument
from ..wire.keys import ACCOUNT
from ..wire.versions import DEFAULT_VERSION
from .clock import Clock
from .event_log import EventLog
from .faults import Faults
from .outbox import Delivery, Outbox, WebhookEndpoint
from .store import Store

Object = dict[str, Any]
"""A Stripe object as a JSON dict."""

_ALPHANUMERIC = string.ascii_letters + string.digits

_ID_SHAPES = {
    "pi": ("pi_3", 23),
    "ch": ("ch_3", 23),
    "py": ("py_3", 23),
    "mandate": ("mandate_1", 23),
    "re": ("re_3", 23),
    "pyr": ("pyr_1", 23),
    "du": ("du_1", 23),
    "txn": ("txn_3", 23),
    "evt": ("evt_3", 23),
    "pm": ("pm_1", 23),
    "we": ("we_1", 23),
    "issfr": ("issfr_1", 23),
    "prv": ("prv_1", 23),
    "req": ("req_", 14),
}


@dataclass(frozen=True, kw_only=True)
class Authentication:
    """A 3D Secure challenge."""

    token: str = field(repr=False)
    intent_id: str
    return_url: str | None
    """The address for the redirect afterwards; None if Stripe.js handles the challenge."""


@dataclass
class Books:
    """The state of one account.

    Hold `lock` for every read and change, and never sleep or use the network while holding it.
    Lists have the order of creation, because `created` has whole seconds.
    """

    clock: Clock
    random: random.Random
    faults: Faults
    account_id: str = ACCOUNT
    api_version: str = DEFAULT_VERSION
    """The account's API version, for requests without a version and for all events."""
    base_url: str = "https://sandbox.invalid"
    """The base address of the sandbox's own pages. A server sets its address."""
    payment_intents: Store[Object] = field(default_factory=Store)
    payment_methods: Store[Object] = field(default_factory=Store)
    charges: Store[Object] = field(default_factory=lambda: Store("payment_intent"))
    refunds: Store[Object] = field(default_factory=lambda: Store("charge", "payment_intent"))
    disputes: Store[Object] = field(default_factory=lambda: Store("charge", "payment_intent"))
    early_fraud_warnings: Store[Object] = field(
        default_factory=lambda: Store("charge", "payment_intent")
    )
    reviews: Store[Object] = field(default_factory=lambda: Store("payment_intent"))
    balance_transactions: Store[Object] = field(
        default_factory=lambda: Store("currency", "source", "type")
    )
    instruments: dict[str, Instrument] = field(default_factory=dict)
    """The card or account behind a payment method, by the id of the payment method."""
    used_payment_methods: set[str] = field(default_factory=set)
    """Payment methods with an attempt to pay. Without a customer they cannot be used again."""
    authentications: dict[str, Authentication] = field(default_factory=dict)
    """3D Secure challenges, by the secret in their links."""
    authentication_tokens: dict[str, str] = field(default_factory=dict)
    """The secret of the valid link, by intent."""
    authenticated: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    """What the customer has authenticated, by intent, until the server confirms it again: the
    payment method, the amount and the currency."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """Fingerprints by card or account number."""
    unlisted: dict[str, float] = field(default_factory=dict)
    """Ids that lists do not show yet, and the time from which they do."""
    events: EventLog = field(default_factory=EventLog)
    webhook_endpoints: dict[str, WebhookEndpoint] = field(default_factory=dict)
    deliveries: Outbox = field(default_factory=Outbox)
    """Pending deliveries."""
    lost_deliveries: list[Delivery] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lock = self.clock.lock

    def now(self) -> int:
        """Return the sandbox's time in whole seconds, as in Stripe's `created`."""
        return int(self.clock())

    def new_id(self, kind: str) -> str:
        """Return a new id in Stripe's form, such as `pi_3R8f5yQ9LjHruSyq1ofjdVY5` for "pi"."""
        prefix, length = _ID_SHAPES[kind]
        return prefix + self.token(length)

    def fingerprint(self, number: str) -> str:
        """Return the fingerprint of a card or account number in this account."""
        if number not in self.fingerprints:
            self.fingerprints[number] = self.token(16)
        return self.fingerprints[number]

    def digits(self, length: int) -> str:
        """Return that many random digits."""
        with self.lock:
            return "".join(self.random.choices(string.digits, k=length))

    def token(self, length: int) -> str:
        """Return that many random letters and digits."""
        with self.lock:
            return "".join(self.random.choices(_ALPHANUMERIC, k=length))
