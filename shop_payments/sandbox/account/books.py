"""What the sandbox remembers: one account's objects, ids, clock and lock."""

from __future__ import annotations

import random
import string
import threading
from dataclasses import dataclass, field
from typing import Any

from ..banks.instruments import Instrument
from .clock import Clock
from .faults import Faults
from .outbox import Delivery, Outbox, WebhookEndpoint

Object = dict[str, Any]
"""A Stripe object as it stands in JSON."""

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
    """One 3D Secure challenge."""

    token: str = field(repr=False)
    intent_id: str
    return_url: str | None
    """Where the customer goes afterwards; None if the page that sent them here looks after it."""


@dataclass
class Books:
    """State of the one test account.

    Hold `lock` for every read or change; nothing that waits (sleep, network) happens under it.
    Dictionaries keep the order of creation, which lists rely on: `created` has whole seconds.
    """

    clock: Clock
    random: random.Random
    faults: Faults
    lock: threading.RLock = field(default_factory=threading.RLock)
    base_url: str = "https://sandbox.invalid"
    """Where the sandbox's own pages are; a server puts its address here."""
    payment_intents: dict[str, Object] = field(default_factory=dict)
    payment_methods: dict[str, Object] = field(default_factory=dict)
    charges: dict[str, Object] = field(default_factory=dict)
    refunds: dict[str, Object] = field(default_factory=dict)
    disputes: dict[str, Object] = field(default_factory=dict)
    early_fraud_warnings: dict[str, Object] = field(default_factory=dict)
    reviews: dict[str, Object] = field(default_factory=dict)
    balance_transactions: dict[str, Object] = field(default_factory=dict)
    instruments: dict[str, Instrument] = field(default_factory=dict)
    """The card or account behind a payment method, by the id of the payment method."""
    used_payment_methods: set[str] = field(default_factory=set)
    """Those that paid, or tried to: without a customer they do so once."""
    authentications: dict[str, Authentication] = field(default_factory=dict)
    """3D Secure challenges, by the secret in their links."""
    authenticated: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    """What the customer has authenticated of an intent that its server confirms once more: the
    payment method, the amount and the currency."""
    fingerprints: dict[str, str] = field(default_factory=dict)
    """What one number looks like in every payment method that has it."""
    unlisted: dict[str, float] = field(default_factory=dict)
    """Objects that lists do not show yet, by id, and the time from which they do."""
    events: dict[str, Object] = field(default_factory=dict)
    webhook_endpoints: dict[str, WebhookEndpoint] = field(default_factory=dict)
    deliveries: Outbox = field(default_factory=Outbox)
    """Those still to come; a delivery that arrived is forgotten."""
    lost_deliveries: list[Delivery] = field(default_factory=list)

    def now(self) -> int:
        """Return the sandbox's time in whole seconds, as Stripe's `created`."""
        return int(self.clock())

    def new_id(self, kind: str) -> str:
        """Return a fresh id of Stripe's form, e.g. `pi_3R8f5yQ9LjHruSyq1ofjdVY5` for "pi"."""
        prefix, length = _ID_SHAPES[kind]
        return prefix + self.token(length)

    def fingerprint(self, number: str) -> str:
        """Return what identifies a card or account number in this account."""
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
