"""Payments about which Stripe sends seven events that the app acts on, and Stripe meanwhile."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shop_payments.sandbox import SandboxResponse
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import answer_dispute
from tests.support import call_stripe, debit

EVENTS = 7
"""The events of each history that the app acts on."""

State = tuple[str, str, int, int, int, bool]
"""Status, dispute, captured, refunded, lost; and whether a person is asked."""


@dataclass(frozen=True)
class AtStripe:
    """One payment intent at Stripe, and what may happen to it."""

    stripe: StripeSandbox
    intent_id: str

    def pay(self, card: str = "pm_card_visa") -> None:
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

    def answer_dispute(self, evidence: str) -> None:
        answer_dispute(self.stripe, evidence)

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


_TROUBLE: tuple[Step, ...] = (
    AtStripe.decline,
    AtStripe.ask_for_3d_secure,
    AtStripe.fail_3d_secure,
)
_CARD_AND_DEBIT = ("card", "us_bank_account")
_DISPUTED = "pm_card_createDispute"
_CLOSED = ("dispute_closed", "dispute_opened", "order_paid")

HISTORIES: Mapping[str, History] = {
    "succeeded": History(
        steps=(
            *_TROUBLE,
            AtStripe.decline,
            AtStripe.ask_for_3d_secure,
            AtStripe.pass_3d_secure,
        ),
        ends_in=("paid", "", 11200, 0, 0, False),
        told=("order_paid",),
    ),
    "captured": History(
        steps=(
            *_TROUBLE,
            AtStripe.ask_for_3d_secure,
            AtStripe.pass_3d_secure,
            AtStripe.capture,
        ),
        ends_in=("paid", "", 11200, 0, 0, False),
        told=("order_paid",),
        capture_method="manual",
    ),
    "canceled": History(
        steps=(
            *_TROUBLE,
            AtStripe.ask_for_3d_secure,
            AtStripe.pass_3d_secure,
            AtStripe.cancel,
        ),
        ends_in=("unpaid", "", 0, 0, 0, False),
        capture_method="manual",
    ),
    "requires_payment_method": History(
        steps=(
            *_TROUBLE,
            lambda at: at.debit("pm_usBankAccount_insufficientFunds"),
            AtStripe.an_hour_passes,
            AtStripe.decline,
        ),
        ends_in=("unpaid", "", 0, 0, 0, False),
        payment_methods=_CARD_AND_DEBIT,
    ),
    "processing": History(
        steps=(
            *_TROUBLE,
            lambda at: at.debit("pm_usBankAccount_insufficientFunds"),
            AtStripe.an_hour_passes,
            lambda at: at.debit("pm_usBankAccount_success"),
        ),
        ends_in=("pending", "", 0, 0, 0, False),
        payment_methods=_CARD_AND_DEBIT,
    ),
    "refunded": History(
        steps=(
            AtStripe.decline,
            lambda at: at.pay("pm_card_pendingRefund"),
            AtStripe.refund,
            AtStripe.an_hour_passes,
        ),
        ends_in=("refunded", "", 11200, 11200, 0, False),
        told=("order_paid", "order_refunded"),
    ),
    "refunded in parts": History(
        steps=(
            AtStripe.decline,
            AtStripe.pay,
            lambda at: at.refund(amount="1200"),
            lambda at: at.refund(amount="10000"),
        ),
        ends_in=("refunded", "", 11200, 11200, 0, False),
        told=("order_paid", "order_refunded", "order_refunded"),
    ),
    "refund failed": History(
        steps=(
            lambda at: at.pay("pm_card_refundFail"),
            lambda at: at.refund(amount="1200"),
            AtStripe.an_hour_passes,
        ),
        ends_in=("paid", "", 11200, 0, 0, True),
        told=("order_paid", "refund_failed", "review_needed"),
        perhaps_told=("order_refunded",),
    ),
    "disputed": History(
        steps=(
            AtStripe.decline,
            AtStripe.decline,
            lambda at: at.pay(_DISPUTED),
            lambda at: at.answer_dispute("the parcel has arrived"),
        ),
        ends_in=("paid", "open", 11200, 0, 0, True),
        told=("dispute_opened", "order_paid", "review_needed"),
    ),
    "disputed and won": History(
        steps=(
            lambda at: at.pay(_DISPUTED),
            lambda at: at.answer_dispute("winning_evidence"),
            AtStripe.an_hour_passes,
        ),
        ends_in=("paid", "won", 11200, 0, 0, False),
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
        ends_in=("paid", "lost", 11200, 0, 11200, False),
        told=_CLOSED,
        perhaps_told=("review_needed",),
    ),
}


class Film:
    """Stripe at every moment of a history, which one can look at in any order.

    There is a sandbox for each moment, and all are dealt with alike up to theirs. Moment 0 is
    after the intent's creation, moment n after step n. Once it is :meth:`shot`, what asks Stripe
    sees the moment that is ``now``, and Stripe takes no writes.
    """

    def __init__(self, history: History) -> None:
        began_at = time.time()
        self.moments = [
            StripeSandbox(clock=lambda: began_at, seed=1) for _ in range(len(history.steps) + 1)
        ]
        self.history = history
        self.last = self.now = len(history.steps)
        self.intent_id = ""

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
            "CAPTURE_METHOD": self.history.capture_method,
            "ALLOWED_PAYMENT_METHOD_TYPES": [*self.history.payment_methods],
        }

    def handle(self, method: str, url: str, headers: Any, body: Any = None) -> SandboxResponse:
        if self.intent_id:
            assert method.upper() == "GET", f"{method} {url}: what arrives asks for no write"
            return self.stripe.handle(method, url, headers, body)
        return [stripe.handle(method, url, headers, body) for stripe in self.moments][-1]

    def shot(self, intent_id: str) -> None:
        """Let everything happen to the intent that was created."""
        for number, step in enumerate(self.history.steps, 1):
            for stripe in self.moments[number:]:
                step(AtStripe(stripe, intent_id))
        self.intent_id = intent_id
