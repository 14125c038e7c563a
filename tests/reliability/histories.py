"""Payments about which Stripe sends seven or eight events that the app acts on.

An order has one payment or two. Of two, the app has heard of the first when it asks for the second.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shop_payments.sandbox import SandboxResponse
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import answer_dispute
from tests.reliability.parts import ADAPTER
from tests.support import call_stripe, debit

EVENTS = 7
"""The events of most histories that the app acts on."""

_VISA = "pm_card_visa"

State = tuple[str, str, int, int, int, int, bool]
"""Status, dispute, received, refunded, lost, outstanding; and whether staff are asked."""


@dataclass(frozen=True)
class AtStripe:
    """The newest payment intent of an order at Stripe, and what may happen to it."""

    stripe: StripeSandbox
    intent_ids: tuple[str, ...]

    @property
    def intent_id(self) -> str:
        return self.intent_ids[-1]

    @property
    def first(self) -> AtStripe:
        """The same with the oldest one."""
        return AtStripe(self.stripe, self.intent_ids[:1])

    def pay(self, card: str = _VISA) -> None:
        self.stripe.pay(self.intent_id, card, deliver=False)

    def decline(self) -> None:
        self.pay("pm_card_chargeDeclined")

    def ask_for_3d_secure(self) -> None:
        self.pay("pm_card_authenticationRequired")

    def pass_3d_secure(self) -> None:
        self.stripe.complete_authentication(self.intent_id)

    def fail_3d_secure(self) -> None:
        self.stripe.complete_authentication(self.intent_id, succeed=False)

    def debit(self, account: str) -> None:
        debit(self.stripe, self.intent_id, account)

    def capture(self) -> None:
        call_stripe(self.stripe, "POST", f"payment_intents/{self.intent_id}/capture")

    def cancel(self) -> None:
        call_stripe(self.stripe, "POST", f"payment_intents/{self.intent_id}/cancel")

    def refund(self, **params: str) -> None:
        call_stripe(self.stripe, "POST", "refunds", payment_intent=self.intent_id, **params)

    def dispute(self) -> None:
        intent = call_stripe(self.stripe, "GET", f"payment_intents/{self.intent_id}")
        self.stripe.open_dispute(intent["latest_charge"])

    def answer_dispute(self, evidence: str) -> None:
        answer_dispute(self.stripe, evidence)

    def a_minute_passes(self) -> None:
        self.stripe.advance_clock(60)

    def an_hour_passes(self) -> None:
        self.stripe.advance_clock(60 * 60)


Step = Callable[[AtStripe], None]


@dataclass(frozen=True, kw_only=True)
class History:
    """What happens, and what the order's payment is in the end."""

    steps: tuple[Step, ...]
    """After the intent's creation."""

    ends_in: State
    told: tuple[str, ...] = ()
    """The facts that the host hears of, whatever it hears of first; each once."""

    perhaps_told: tuple[str, ...] = ()
    """Those that pass: the host hears of them once, if the app was in time to see them."""

    capture_method: str = "automatic"
    payment_methods: tuple[str, ...] = ("card",)
    events: int = EVENTS

    first_payment: str = ""
    """The card with which a first payment was made before; none without it."""

    parts: int = 1
    """How many payments the shop asks for."""

    raised_to: int = 0
    """The quantity to which the order was raised after its first payment."""


_TROUBLE: tuple[Step, ...] = (
    AtStripe.decline,
    AtStripe.ask_for_3d_secure,
    AtStripe.fail_3d_secure,
)
_CARD_AND_DEBIT = ("card", "us_bank_account")
_DISPUTED = "pm_card_createDispute"
_CLOSED = ("dispute_closed", "dispute_opened", "order_paid", "payment_received")

HISTORIES: Mapping[str, History] = {
    "succeeded": History(
        steps=(
            *_TROUBLE,
            AtStripe.decline,
            AtStripe.ask_for_3d_secure,
            AtStripe.pass_3d_secure,
        ),
        ends_in=("paid", "", 11200, 0, 0, 0, False),
        told=("order_paid", "payment_received"),
    ),
    "captured": History(
        steps=(
            *_TROUBLE,
            AtStripe.ask_for_3d_secure,
            AtStripe.pass_3d_secure,
            AtStripe.capture,
        ),
        ends_in=("paid", "", 11200, 0, 0, 0, False),
        told=("order_paid", "payment_received"),
        capture_method="manual",
    ),
    "canceled": History(
        steps=(
            *_TROUBLE,
            AtStripe.ask_for_3d_secure,
            AtStripe.pass_3d_secure,
            AtStripe.cancel,
        ),
        ends_in=("unpaid", "", 0, 0, 0, 11200, False),
        capture_method="manual",
    ),
    "requires_payment_method": History(
        steps=(
            *_TROUBLE,
            lambda at: at.debit("pm_usBankAccount_insufficientFunds"),
            AtStripe.an_hour_passes,
            AtStripe.decline,
        ),
        ends_in=("unpaid", "", 0, 0, 0, 11200, False),
        payment_methods=_CARD_AND_DEBIT,
    ),
    "processing": History(
        steps=(
            *_TROUBLE,
            lambda at: at.debit("pm_usBankAccount_insufficientFunds"),
            AtStripe.an_hour_passes,
            lambda at: at.debit("pm_usBankAccount_success"),
        ),
        ends_in=("pending", "", 0, 0, 0, 11200, False),
        payment_methods=_CARD_AND_DEBIT,
    ),
    "refunded": History(
        steps=(
            AtStripe.decline,
            lambda at: at.pay("pm_card_pendingRefund"),
            AtStripe.refund,
            AtStripe.an_hour_passes,
        ),
        ends_in=("refunded", "", 11200, 11200, 0, 0, False),
        told=("order_paid", "order_refunded", "payment_received"),
    ),
    "refunded in parts": History(
        steps=(
            AtStripe.decline,
            AtStripe.pay,
            lambda at: at.refund(amount="1200"),
            lambda at: at.refund(amount="10000"),
        ),
        ends_in=("refunded", "", 11200, 11200, 0, 0, False),
        told=("order_paid", "order_refunded", "order_refunded", "payment_received"),
    ),
    "refund failed": History(
        steps=(
            lambda at: at.pay("pm_card_refundFail"),
            lambda at: at.refund(amount="1200"),
            AtStripe.an_hour_passes,
        ),
        ends_in=("paid", "", 11200, 0, 0, 0, True),
        told=("order_paid", "payment_received", "refund_failed", "review_needed"),
        perhaps_told=("order_refunded",),
    ),
    "disputed": History(
        steps=(
            AtStripe.decline,
            AtStripe.decline,
            lambda at: at.pay(_DISPUTED),
            lambda at: at.answer_dispute("the parcel has arrived"),
        ),
        ends_in=("paid", "open", 11200, 0, 0, 0, True),
        told=("dispute_opened", "order_paid", "payment_received", "review_needed"),
    ),
    "disputed and won": History(
        steps=(
            lambda at: at.pay(_DISPUTED),
            lambda at: at.answer_dispute("winning_evidence"),
            AtStripe.an_hour_passes,
        ),
        ends_in=("paid", "won", 11200, 0, 0, 0, False),
        told=_CLOSED,
        perhaps_told=("review_needed",),
    ),
    "disputed and lost": History(
        steps=(
            AtStripe.decline,
            lambda at: at.pay(_DISPUTED),
            lambda at: at.answer_dispute("losing_evidence"),
            AtStripe.an_hour_passes,
        ),
        ends_in=("paid", "lost", 11200, 0, 11200, 0, False),
        told=_CLOSED,
        perhaps_told=("review_needed",),
    ),
    "raised and paid again": History(
        first_payment=_VISA,
        raised_to=3,
        steps=(*_TROUBLE, AtStripe.a_minute_passes, AtStripe.pay),
        ends_in=("paid", "", 16800, 0, 0, 0, False),
        told=("payment_received",),
    ),
    "both refunded": History(
        first_payment=_VISA,
        raised_to=3,
        steps=(
            AtStripe.pay,
            AtStripe.a_minute_passes,
            lambda at: at.refund(amount="1200"),
            AtStripe.a_minute_passes,
            lambda at: at.first.refund(),
        ),
        ends_in=("partially_refunded", "", 16800, 12400, 0, 0, False),
        told=("order_refunded", "order_refunded", "payment_received"),
        events=8,
    ),
    "deposit refunded before the rest": History(
        first_payment=_VISA,
        parts=2,
        steps=(
            AtStripe.decline,
            AtStripe.a_minute_passes,
            lambda at: at.first.refund(),
            AtStripe.a_minute_passes,
            AtStripe.pay,
        ),
        ends_in=("partially_paid", "", 11200, 5600, 0, 5600, False),
        told=("order_refunded", "payment_received"),
        perhaps_told=("order_paid",),  # by a shop that hears of the refund last
    ),
    "deposit refunded late": History(
        first_payment="pm_card_pendingRefund",
        parts=2,
        steps=(
            lambda at: at.first.refund(),
            AtStripe.a_minute_passes,
            AtStripe.pay,
            AtStripe.an_hour_passes,
        ),
        ends_in=("partially_paid", "", 11200, 5600, 0, 5600, False),
        told=("order_refunded", "payment_received"),
        perhaps_told=("order_paid",),
        events=8,
    ),
    "the second disputed": History(
        first_payment=_VISA,
        raised_to=3,
        steps=(
            AtStripe.a_minute_passes,
            lambda at: at.pay(_DISPUTED),
            lambda at: at.answer_dispute("the parcel has arrived"),
        ),
        ends_in=("paid", "open", 16800, 0, 0, 0, True),
        told=("dispute_opened", "payment_received", "review_needed"),
    ),
    "the deposit disputed and lost": History(
        first_payment=_VISA,
        parts=2,
        steps=(
            lambda at: at.first.dispute(),
            AtStripe.a_minute_passes,
            AtStripe.pay,
            lambda at: at.answer_dispute("losing_evidence"),
            AtStripe.an_hour_passes,
        ),
        ends_in=("partially_paid", "lost", 11200, 0, 5600, 5600, False),
        told=("dispute_closed", "dispute_opened", "payment_received"),
        perhaps_told=("order_paid", "review_needed"),
        events=8,
    ),
}


class Film:
    """Stripe at every moment of a history, which one can look at in any order.

    There is a sandbox for each moment, and all are dealt with alike up to theirs. Moment 0 is
    after the last intent's creation, moment n after step n. Once it is :meth:`shot`, what asks
    Stripe sees the moment that is ``now``, and Stripe takes no writes.
    """

    def __init__(self, history: History) -> None:
        began_at = time.time()
        self.moments = [
            StripeSandbox(clock=lambda: began_at, seed=1) for _ in range(len(history.steps) + 1)
        ]
        self.history = history
        self.last = self.now = len(history.steps)
        self.is_shot = False

    @property
    def stripe(self) -> StripeSandbox:
        """Stripe as it is now."""
        return self.moments[self.now]

    def events(self) -> list[tuple[dict[str, Any], int]]:
        """What Stripe has to tell in the end, and the moment since which it has."""
        told_by = [len(stripe.events) for stripe in self.moments]
        events = self.moments[-1].events
        return [(event, bisect_right(told_by, number)) for number, event in enumerate(events)]

    def shop_payments(self) -> dict[str, Any]:
        """The settings of a shop that talks to this Stripe."""
        return {
            **self.moments[0].shop_payments(),
            "STRIPE_TRANSPORT": self.handle,
            "ORDER_ADAPTER": ADAPTER,
            "CAPTURE_METHOD": self.history.capture_method,
            "ALLOWED_PAYMENT_METHOD_TYPES": [*self.history.payment_methods],
        }

    def handle(self, method: str, url: str, headers: Any, body: Any = None) -> SandboxResponse:
        if self.is_shot:
            assert method.upper() == "GET", f"{method} {url}: what arrives asks for no write"
            return self.stripe.handle(method, url, headers, body)
        return [stripe.handle(method, url, headers, body) for stripe in self.moments][-1]

    def begin(self, intent_id: str) -> None:
        """Make the first payment, in front of everybody."""
        for stripe in self.moments:
            AtStripe(stripe, (intent_id,)).pay(self.history.first_payment)

    def shot(self, *intent_ids: str) -> None:
        """Let everything happen to the intents that were created."""
        for number, step in enumerate(self.history.steps, 1):
            for stripe in self.moments[number:]:
                step(AtStripe(stripe, intent_ids))
        self.is_shot = True
