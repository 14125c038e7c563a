"""Payments about which Stripe sends seven or eight events that the app acts on.

An order has one payment or two. If it has two, the app knows of the first one when it asks for the
second.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from shop_payments.sandbox import SandboxResponse
from shop_payments.testing import StripeSandbox
from tests.books import answer_dispute
from tests.reliability.parts import ADAPTER
from tests.support import call_stripe
from tests.support import debit as debit_account

EVENTS = 7
"""The events of most histories that the app acts on."""

_VISA = "pm_card_visa"

State = tuple[str, str, int, int, int, int, bool]
"""Status, dispute, received, refunded, lost, outstanding; and whether staff are asked."""


Step = Callable[[StripeSandbox, tuple[str, ...]], object]
"""Does something at Stripe, given the payment intents of the order, oldest first."""


def pay(card: str = _VISA) -> Step:
    """Pay the newest intent."""
    return lambda stripe, ids: stripe.pay(ids[-1], card, deliver=False)


def debit(account: str) -> Step:
    return lambda stripe, ids: debit_account(stripe, ids[-1], account)


def authenticate(*, succeed: bool) -> Step:
    return lambda stripe, ids: stripe.complete_authentication(ids[-1], succeed)


def act(operation: str) -> Step:
    path = f"payment_intents/{{}}/{operation}"
    return lambda stripe, ids: call_stripe(stripe, "POST", path.format(ids[-1]))


def refund(*, which: int = -1, **params: str) -> Step:
    """Refund the newest payment, or the one that is named."""
    return lambda stripe, ids: call_stripe(
        stripe, "POST", "refunds", payment_intent=ids[which], **params
    )


def dispute_the_first(stripe: StripeSandbox, ids: tuple[str, ...]) -> None:
    intent = call_stripe(stripe, "GET", f"payment_intents/{ids[0]}")
    stripe.open_dispute(intent["latest_charge"])


def answer(evidence: str) -> Step:
    return lambda stripe, ids: answer_dispute(stripe, evidence)


def wait(seconds: int) -> Step:
    return lambda stripe, ids: stripe.advance_clock(seconds)


MINUTE, HOUR = wait(60), wait(60 * 60)
DECLINE, ASK_FOR_3D_SECURE = pay("pm_card_chargeDeclined"), pay("pm_card_authenticationRequired")
PASS_3D_SECURE, FAIL_3D_SECURE = authenticate(succeed=True), authenticate(succeed=False)


@dataclass(frozen=True, kw_only=True)
class History:
    """What happens, and what the order's payment is in the end."""

    steps: tuple[Step, ...]
    """After the intent's creation."""

    ends_in: State
    facts: tuple[str, ...] = ()
    """The facts that the shop is notified of, whatever arrives first; each once."""

    perhaps: tuple[str, ...] = ()
    """Those that pass: it is notified of them once, if the app was in time to see them."""

    capture_method: str = "automatic"
    payment_methods: tuple[str, ...] = ("card",)
    events: int = EVENTS

    first_payment: str = ""
    """The card with which a first payment was made before; none without it."""

    parts: int = 1
    """How many payments the shop asks for."""

    raised_to: int = 0
    """The quantity to which the order was raised after its first payment."""


_TROUBLE = (DECLINE, ASK_FOR_3D_SECURE, FAIL_3D_SECURE)
_CARD_AND_DEBIT = ("card", "us_bank_account")
_DISPUTED = "pm_card_createDispute"
_CLOSED = ("dispute_closed", "dispute_opened", "order_paid", "payment_received")

HISTORIES: Mapping[str, History] = {
    "succeeded": History(
        steps=(*_TROUBLE, DECLINE, ASK_FOR_3D_SECURE, PASS_3D_SECURE),
        ends_in=("paid", "", 11200, 0, 0, 0, False),
        facts=("order_paid", "payment_received"),
    ),
    "captured": History(
        steps=(*_TROUBLE, ASK_FOR_3D_SECURE, PASS_3D_SECURE, act("capture")),
        ends_in=("paid", "", 11200, 0, 0, 0, False),
        facts=("order_paid", "payment_received"),
        capture_method="manual",
    ),
    "canceled": History(
        steps=(*_TROUBLE, ASK_FOR_3D_SECURE, PASS_3D_SECURE, act("cancel")),
        ends_in=("unpaid", "", 0, 0, 0, 11200, False),
        capture_method="manual",
    ),
    "processing": History(
        steps=(
            *_TROUBLE,
            debit("pm_usBankAccount_insufficientFunds"),
            HOUR,
            debit("pm_usBankAccount_success"),
        ),
        ends_in=("pending", "", 0, 0, 0, 11200, False),
        payment_methods=_CARD_AND_DEBIT,
    ),
    "refunded": History(
        steps=(DECLINE, pay("pm_card_pendingRefund"), refund(), HOUR),
        ends_in=("refunded", "", 11200, 11200, 0, 0, False),
        facts=("order_paid", "order_refunded", "payment_received"),
    ),
    "refund failed": History(
        steps=(pay("pm_card_refundFail"), refund(amount="1200"), HOUR),
        ends_in=("paid", "", 11200, 0, 0, 0, True),
        facts=("order_paid", "payment_received", "refund_failed", "review_needed"),
        perhaps=("order_refunded",),
    ),
    "disputed and won": History(
        steps=(pay(_DISPUTED), answer("winning_evidence"), HOUR),
        ends_in=("paid", "won", 11200, 0, 0, 0, False),
        facts=_CLOSED,
        perhaps=("review_needed",),
    ),
    "disputed and lost": History(
        steps=(DECLINE, pay(_DISPUTED), answer("losing_evidence"), HOUR),
        ends_in=("paid", "lost", 11200, 0, 11200, 0, False),
        facts=_CLOSED,
        perhaps=("review_needed",),
    ),
    "both refunded": History(
        first_payment=_VISA,
        raised_to=3,
        steps=(pay(), MINUTE, refund(amount="1200"), MINUTE, refund(which=0)),
        ends_in=("partially_refunded", "", 16800, 12400, 0, 0, False),
        facts=("order_refunded", "order_refunded", "payment_received"),
        events=8,
    ),
    "deposit refunded before the rest": History(
        first_payment=_VISA,
        parts=2,
        steps=(DECLINE, MINUTE, refund(which=0), MINUTE, pay()),
        ends_in=("partially_paid", "", 11200, 5600, 0, 5600, False),
        facts=("order_refunded", "payment_received"),
        perhaps=("order_paid",),  # by a shop that hears of the refund last
    ),
    "the second disputed": History(
        first_payment=_VISA,
        raised_to=3,
        steps=(MINUTE, pay(_DISPUTED), answer("the parcel has arrived")),
        ends_in=("paid", "open", 16800, 0, 0, 0, False),  # staff have answered
        facts=("dispute_opened", "payment_received"),
        perhaps=("review_needed",),  # by a shop that hears of the dispute before the answer
    ),
    "the deposit disputed and lost": History(
        first_payment=_VISA,
        parts=2,
        steps=(
            dispute_the_first,
            MINUTE,
            pay(),
            answer("losing_evidence"),
            HOUR,
        ),
        ends_in=("partially_paid", "lost", 11200, 0, 5600, 5600, False),
        facts=("dispute_closed", "dispute_opened", "payment_received"),
        perhaps=("order_paid", "review_needed"),
        events=8,
    ),
}


class Film:
    """Stripe at every moment of a history, to be looked at in any order.

    There is a sandbox for each moment, and all get the same steps up to theirs. Moment 0 is after
    the last intent's creation, moment n after step n. When it is :meth:`shot`, requests see the
    moment that is ``now``, and Stripe refuses writes.
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
        """Return Stripe's events, each with the moment since which there is one."""
        made_by = [len(stripe.events) for stripe in self.moments]
        events = self.moments[-1].events
        return [(event, bisect_right(made_by, number)) for number, event in enumerate(events)]

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
        """Make the first payment, at each moment."""
        for stripe in self.moments:
            pay(self.history.first_payment)(stripe, (intent_id,))

    def shot(self, *intent_ids: str) -> None:
        """Take all steps, with the intents that were created."""
        for number, step in enumerate(self.history.steps, 1):
            for stripe in self.moments[number:]:
                step(stripe, intent_ids)
        self.is_shot = True
