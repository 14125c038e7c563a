"""Customers, staff, faults and clocks, in any order: a Hypothesis state machine over the shop.

Each step is something that somebody does, or that goes wrong. They all act from outside: over the
API, the admin, the commands, a browser at Stripe, Stripe's dashboard. ``audit.py`` says what has to
hold after each, and at the end.

What is not here: two threads at once (``test_many_processes.py``), and a death at each single
statement (``test_kills.py``). Idempotency keys are pruned when Stripe does it, after a
day: the clock goes on by that.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar
from uuid import NAMESPACE_OID, uuid5

from django.db import transaction
from django.urls import reverse
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shop_payments.ledger.descriptions import LOST_TO_THE_BANK, WAIT_FOR_THE_BANK
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.reviews import close_review_item
from shop_payments.lifecycle import (
    CANCELABLE_STATUSES,
    UPDATABLE_STATUSES,
    DisputeState,
    IntentStatus,
    RefundStatus,
    is_open,
)
from shop_payments.models import (
    Order,
    OrderPayment,
    PaymentIntent,
    Refund,
    ReviewItem,
    Source,
    StaffEntry,
    WebhookEvent,
)
from shop_payments.money import format_amount, from_minor_units, minimum_charge
from shop_payments.sandbox import Fault
from shop_payments.sandbox.resources.refund_moves import LEGAL_MOVES
from shop_payments.services import may_release, reevaluate_order
from shop_payments.services.cancel_payment import cancel_payment, cancel_payment_on_commit
from shop_payments.services.capture_payment import capture_payment
from shop_payments.services.options import options_of
from shop_payments.services.record_staff_entry import (
    EntryRequest,
    revoke_staff_entry,
    settle_outside_stripe,
    waive_amount,
)
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from tests.admin.support import change, fill_in, save
from tests.oracle import Sums
from tests.reliability.audit import Audit, read_rows
from tests.reliability.parts import part_of
from tests.reliability.world import HELD, MANDATE, UNIT_AMOUNTS, Adapter, Json, People, World
from tests.support import call_stripe, writes

MINUTE, HOUR, DAY = 60, 3600, 24 * 3600

CARDS = (
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_chargeDeclined",
    "pm_card_authenticationRequired",
    "pm_card_threeDSecureRequiredChargeDeclined",
    "pm_card_createDispute",
    "pm_card_createDisputeInquiry",
    "pm_card_refundFail",
    "pm_card_pendingRefund",
    "pm_usBankAccount_success",
    "pm_usBankAccount_insufficientFunds",
)
PARTS = ("all", "half", "little", "too much")
KINDS = ("", "", "goods", "correction")
FAULTS = (
    *(Fault(kind, method="POST") for kind in ("drop_before", "drop_after")),
    *(Fault("error", status=status, method="POST") for status in (409, 429, 500, 503)),
    Fault("drop_before", method="GET"),
    Fault("error", status=429, method="GET"),
    Fault("drop_after", times=2),
    Fault("error", status=500, times=2),
    Fault("error_after", method="POST"),
    # Of a payment intent of test mode, a key of another account would allow a second one (ADR 8).
    Fault("another_account", path="/v1/refunds", times=2),
    Fault("effect_later", method="POST", path="/v1/refunds", seconds=5 * MINUTE),
)
WEBHOOK_FAULTS = (
    Fault("webhook_lost", times=4),
    Fault("webhook_doubled", times=2),
    Fault("webhook_delayed", seconds=HOUR, times=2),
    Fault("webhook_reordered", seconds=10 * MINUTE, times=6),
    Fault("webhook_old", times=4),
    Fault("webhook_thin", times=4),
)

OUT_OF_ORDER = {
    "gateway_error",
    "gateway_unavailable",
    "order_unreadable",
    "payment_intent_in_progress",
}
"""What a customer may be told while something goes wrong."""

BY_STAFF = Origin(source=Source.ADMIN, actor="staff")

YES_OR_NO = (False, True)
SOME = tuple(range(8))
"""Which of those that there are."""


@dataclass(frozen=True)
class Move:
    """One step: which, and with what."""

    name: str
    arguments: dict[str, Any]

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.name}({given})"


@dataclass(frozen=True, kw_only=True)
class Step:
    """A method of the machine that can be a move."""

    weight: int
    is_possible: Callable[[ShopMachine], Any]
    options: dict[str, Sequence[Any]]


STEPS: dict[str, Step] = {}


def step(
    weight: int = 1, /, where: Callable[[ShopMachine], Any] | None = None, **options: Sequence[Any]
) -> Callable[[Callable[..., None]], Any]:
    """Let a method be a step, drawn as often as its weight says, where it is possible.

    The steps are one rule to Hypothesis, because they want weights: of its own rules it would
    leave out half in each run, and long stories, such as a refund that fails while the bank holds
    the rest, would hardly ever be told.
    """

    def decorate(function: Callable[..., None]) -> Any:
        STEPS[function.__name__] = Step(
            weight=weight, is_possible=where or (lambda machine: True), options=options
        )
        return function

    return decorate


_IN_NO_MODULE = 7_316_482_905_113_000
NUMBER = st.integers(_IN_NO_MODULE, _IN_NO_MODULE + 839).map(lambda number: number - _IN_NO_MODULE)
"""Up to 839. Hypothesis throws in numbers that it finds in the modules that are loaded: with those
a seed would draw other steps in another process."""

NUMBERS = st.tuples(*[NUMBER] * 4)
"""What a move is made of: always as many, so that it stays itself where others are left out."""

PATIENCES = (5 * MINUTE, 13 * HOUR, 25 * HOUR)


DISTURBANCES: dict[str, tuple[Any, ...]] = {
    "a_customer_pays": (0, "pm_card_visa", False),
    "the_storefront_asks_for_an_intent": (0,),
    "the_payment_system_says_it_is_paid": (0,),
    "webhooks_arrive": (),
    "a_sweep": (72,),
    "the_office_refunds": (0, "half", "z"),
    "the_dashboard_refunds": (0, "half"),
    "the_dashboard_cancels": (0,),
    "the_dashboard_captures": (0, "half"),
    "the_order_is_cancelled": (0, "the shop"),
    "the_order_changes": (0, 3, None),
    "the_order_is_lowered": (0,),
    "the_shop_says_that_it_has_changed": (0,),
    "staff_cancel": (0, False),
    "staff_waive": (0, "all"),
    "staff_settle_outside_stripe": (0, "half"),
}
"""Steps that may be taken meanwhile, with the order in focus, and with what."""


@st.composite
def moves(draw: Callable[[Any], Any]) -> Move:
    """Any step that is possible now."""
    machine: ShopMachine = draw(st.runner())
    return machine.choose(draw(NUMBERS))


class ShopMachine(RuleBasedStateMachine):
    people: ClassVar[People]
    counts: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.world: World | Any = None
        self.is_between_steps = True

    @initialize(
        customers=NUMBER,
        debits=st.booleans(),
        refund_excess=st.booleans(),
        webhooks_heal=st.booleans(),
        patience=NUMBER,
    )
    def open_the_shop(
        self,
        customers: int,
        debits: bool,
        refund_excess: bool,
        webhooks_heal: bool,
        patience: int,
    ) -> None:
        """``webhooks_heal``: in the end, all of them arrive; else only the sweep heals.

        Hypothesis begins with a run of nothing but zeros: then the shop stays closed.
        """
        if not customers:
            return
        self.is_between_steps = False
        types = ["card", "us_bank_account"] if debits else ["card"]
        self.world = World(
            self.people,
            ALLOWED_PAYMENT_METHOD_TYPES=types,
            AUTO_REFUND_EXCESS=refund_excess,
        )
        self.audit = Audit(self.world)
        self.takes_debits = debits
        self.webhooks_heal, self.patience = webhooks_heal, _pick(PATIENCES, patience)
        self.focus: Any = None
        """The order that somebody acts on meanwhile; any order without it."""
        self.refunds_by_key: dict[tuple[Any, str], set[str]] = {}
        self.counts["open_the_shop"] += 1
        self._take_order(customers, held=False)

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            if self.is_between_steps:  # else it has failed, and the end would say something else
                self._end()
        finally:
            self.world.leave()

    def choose(self, numbers: tuple[int, ...]) -> Move:
        """Turn what was drawn into something that is possible now."""
        names = [
            name
            for name, step in STEPS.items()
            if self.world is not None and step.is_possible(self)
            for _ in range(step.weight)
        ]
        which, *rest = numbers
        if not names:
            return Move("nothing_happens", {})
        name = names[which % len(names)]
        options = STEPS[name].options
        values = {each: _pick(options[each], at) for each, at in zip(options, rest, strict=False)}
        return Move(name, values)

    @rule(move=moves())
    def then(self, move: Move) -> None:
        self.is_between_steps = False
        getattr(self, move.name)(**move.arguments)
        if self.world is not None:
            self.counts[move.name] += 1

    def nothing_happens(self) -> None:
        """The shop is closed."""

    @invariant()
    def the_books_agree(self) -> None:
        if self.world is not None:
            self.audit.check()
            self.is_between_steps = True
            self.world.clock.shift(1)

    # Customers

    @step(
        3,
        where=lambda self: len(self.world.orders) < 3,
        currency=SOME,
        held=YES_OR_NO,
        parts=(1, 1, 2, 2, 3, 4),
    )
    def a_customer_orders(self, currency: int, held: bool, parts: int) -> None:
        self._take_order(currency, held=held, parts=parts)
        self._ask_for_an_intent(self.world.orders[-1])

    def _take_order(self, currency: int, *, held: bool, parts: int = 1) -> None:
        # What Stripe cannot take by debit is not offered by a shop that takes debits.
        currencies = ["usd"] if self.takes_debits else list(UNIT_AMOUNTS)
        self.world.order(
            currencies[currency % len(currencies)],
            held=held and not self.takes_debits,
            parts=parts,
        )

    @step(4, at=SOME)
    def the_storefront_asks_for_an_intent(self, at: int) -> None:
        self._ask_for_an_intent(self._order(at))

    def _ask_for_an_intent(self, order: Order) -> Json | None:
        """Ask as the storefront does; return the intent that it is answered with."""
        before = self.audit.sums_of(Order.objects.get(pk=order.pk))
        answer = self.world.call(lambda: self.people.storefront.payment_intent(order))
        if answer is None:
            return None
        code = answer.json().get("code")
        data: Json | None = answer.json()["data"] if code is None else None
        if data is not None:
            self.world.secrets[order.pk].append(data)
        if not self.world.is_disturbed and code not in OUT_OF_ORDER:
            self._was_asked_for_what_is_owed(order, answer, before)  # else it may be over by now
        return data

    def _was_asked_for_what_is_owed(
        self, order: Order, answer: Any, before: Sums | None = None
    ) -> None:
        """Nobody is asked for more than is outstanding; and it is said why nobody is asked.

        What was known ``before`` may be reason enough, and more be known after it was said.
        """
        order = Order.objects.get(pk=order.pk)
        sums, body = self.audit.sums_of(order), answer.json()
        told = (body.get("code"), body.get("data", {}).get("reason", ""))
        if before is not None and before.refusal and told == before.refusal:
            return
        if sums is None:
            is_paid_in_another = OrderPayment.objects.filter(order=order).exists()
            reason = "currency_changed" if is_paid_in_another else told[1]
            assert told == ("order_not_payable", reason), body
            return
        if sums.refusal:
            assert told == sums.refusal, (told, sums)
            return
        total, currency = order.amount, order.currency
        now = part_of(order.number, total=total, outstanding=sums.asks)
        if now < minimum_charge(currency):
            assert told[0] == "amount_too_small", (told, sums)
            return
        assert told[0] is None, (told, sums)
        there = call_stripe(self.world.stripe, "GET", f"payment_intents/{body['data']['id']}")
        assert (there["amount"], there["currency"]) == (now, currency), sums
        assert body["data"]["amount"] == format_amount(now, currency)
        assert body["data"]["status"] == there["status"]
        assert there["status"] in UPDATABLE_STATUSES

    @step(24, at=SOME, card=(*["pm_card_visa"] * 20, *CARDS))
    def a_customer_comes_to_pay(self, at: int, card: str) -> None:
        """Whatever they are asked for."""
        shown = self._ask_for_an_intent(self._order(at))
        if shown is not None:
            self._pay(shown, card)

    @step(4, at=SOME, quantity=(1, 2, 3, 3, 3, 4, 4, 0), currency=(*[None] * 7, *UNIT_AMOUNTS))
    def the_order_changes(self, at: int, quantity: int, currency: str | None) -> None:
        """It may be free, or have another currency alone: as many yen as there were cents."""
        order = self._order(at)
        self.world.changed.add(order.pk)
        price = UNIT_AMOUNTS[order.currency] if quantity else 0
        order.lines.update(quantity=quantity or 1, unit_amount=price)
        if currency and not self.takes_debits:
            Order.objects.filter(pk=order.pk).update(currency=currency)

    @step(at=SOME)
    def the_order_is_lowered(self, at: int) -> None:
        self.the_order_changes(at, 1, None)

    @step(2, at=SOME)
    def the_shop_says_that_it_has_changed(self, at: int) -> None:
        order = self._order(at)
        self.world.attempt(lambda: reevaluate_order(order.pk))

    @step(at=SOME)
    def the_shop_is_about_to_ship(self, at: int) -> None:
        """It asks whether the goods may go out."""
        order = self._order(at)
        may = self.world.attempt(lambda: may_release(order.pk))
        if may is None or self.world.is_disturbed:
            return
        sums = self.audit.sums_of(Order.objects.get(pk=order.pk))
        if sums is not None:
            assert may == sums.may_release, sums

    @step(
        6,
        where=lambda self: self._tabs(),
        at=SOME,
        card=CARDS,
        in_old_tab=(False, False, False, True),
    )
    def a_customer_pays(self, at: int, card: str, in_old_tab: bool) -> None:
        """Mostly what can still be paid; an old tab may show what cannot."""
        if tabs := self._tabs(is_open=not in_old_tab) or self._tabs():
            self._pay(_pick(tabs, at), card)

    def _pay(self, shown: Json, card: str) -> None:
        is_debit = card.startswith("pm_us")
        if is_debit and not self.takes_debits:
            return
        path, secret = f"payment_intents/{shown['id']}/confirm", shown["client_secret"]
        mandate = MANDATE if is_debit else {}
        self.world.browse(path, client_secret=secret, payment_method=card, **mandate)

    def _tabs(self, *, is_open: bool = False) -> list[Json]:
        """What browsers were given, and with ``is_open`` can still be paid."""
        payable = {each["id"] for each in self._ours() if each["status"] in UPDATABLE_STATUSES}
        tabs = [tab for tabs in self.world.secrets.values() for tab in tabs]
        return [tab for tab in tabs if not is_open or tab["id"] in payable]

    @step(
        4,
        where=lambda self: self._intents(IntentStatus.REQUIRES_ACTION),
        at=SOME,
        succeed=YES_OR_NO,
    )
    def a_customer_authenticates(self, at: int, succeed: bool) -> None:
        waiting = self._intents(IntentStatus.REQUIRES_ACTION)
        self.world.stripe.complete_authentication(_pick(waiting, at)["id"], succeed)

    @step(2, at=SOME, by=("the shop", "staff", *["the shop, which tells nobody"] * 2))
    def the_order_is_cancelled(self, at: int, by: str) -> None:
        order = self._order(at)
        self.world.changed.add(order.pk)
        if by == "the shop, which tells nobody":
            Order.objects.filter(pk=order.pk).update(status=Order.Status.CANCELLED)
            return
        if by == "staff":
            self.world.visit(lambda: self.world.staff.get(change(order)))
            payment = OrderPayment.objects.filter(order=order).first()
            if payment is None or (payment.status == "unpaid" and not payment.needs_review):
                self.world.visit(lambda: save(self.world.staff, change(order), status="cancelled"))
            return

        def cancel() -> Any:
            with transaction.atomic():
                Order.objects.filter(pk=order.pk).update(status=Order.Status.CANCELLED)
                cancel_payment_on_commit(order_id=order.pk, origin=Origin(source=Source.API))

        self.world.survive(cancel)

    @step(4, where=lambda self: self._cancelled(), at=SOME)
    def the_order_is_taken_up_again(self, at: int) -> None:
        pk = _pick(self._cancelled(), at)
        Order.objects.filter(pk=pk).update(status=Order.Status.OPEN)
        self.world.changed.add(pk)

    # The payment system

    @step(3, at=SOME)
    def the_payment_system_says_it_is_paid(self, at: int) -> None:
        order = self._order(at)
        answer = self.world.call(lambda: self.people.payment_system.payment(order))
        if answer is None or answer.status_code != 200 or self.world.is_disturbed:
            return
        sums = self.audit.sums_of(Order.objects.get(pk=order.pk))
        assert sums is not None
        assert sums.owed == 0, sums

    # Staff

    @step(
        4,
        where=lambda self: self._intents(IntentStatus.SUCCEEDED),
        at=SOME,
        part=(*PARTS, "all of all"),
        key="abc",
        kind=KINDS,
    )
    def the_office_refunds(self, at: int, part: str, key: str, kind: str = "") -> None:
        """Too much of one payment may be there of several; it may also be all that is left."""
        succeeded = self._intents(IntentStatus.SUCCEEDED)
        if not succeeded:
            return
        each = _pick(succeeded, at)
        order = each["metadata"]["order_id"]
        body = {} if part == "all of all" else {"amount": _decimal(each, part)}
        body |= {"kind": kind} if kind else {}
        answer = self.world.call(lambda: self.people.office.refund(order, body, key=key))
        if answer is not None and answer.status_code == 200:
            data = answer.json()["data"]
            ids = {part["id"] for part in data.get("parts", [data])}
            assert self.refunds_by_key.setdefault((order, key), ids) == ids
            there = self.world.look().refunds
            for refund in Refund.objects.filter(pk__in=ids):
                assert refund.stripe_id in there

    @step(
        2,
        where=lambda self: self._rows("succeeded"),
        at=SOME,
        part=PARTS,
        twice=YES_OR_NO,
    )
    def staff_refund(self, at: int, part: str, twice: bool) -> None:
        self._act("refund", at, twice, part)

    @step(
        4,
        where=lambda self: self._rows("requires_capture"),
        at=SOME,
        part=PARTS,
        twice=YES_OR_NO,
    )
    def staff_capture(self, at: int, part: str, twice: bool) -> None:
        self._act("capture", at, twice, part)

    @step(where=lambda self: self._rows(*CANCELABLE_STATUSES), at=SOME, twice=YES_OR_NO)
    def staff_cancel(self, at: int, twice: bool) -> None:
        self._act("cancel", at, twice)

    @step(2, where=lambda self: self._open_items(), at=SOME)
    def staff_close_an_item(self, at: int) -> None:
        item = _pick(self._open_items(), at)
        self.world.attempt(
            lambda: close_review_item(
                item_pk=item["pk"], reason="looked at", user=self.people.superuser, origin=BY_STAFF
            )
        )

    @step(2, at=SOME, part=PARTS)
    def staff_waive(self, at: int, part: str) -> None:
        """Of what is owed, if money has come."""
        order = self._order(at)
        payment = OrderPayment.objects.filter(order=order).first()
        if payment is not None and payment.amount_owed:
            owed = {"amount": payment.amount_owed, "currency": payment.currency}
            amount = from_minor_units(_part(owed, part), payment.currency)
            request = EntryRequest(amount_decimal=amount, reason="an old customer")
            self.world.attempt(
                lambda: waive_amount(order_id=order.pk, request=request, origin=BY_STAFF)
            )

    @step(where=lambda self: self._intents(IntentStatus.SUCCEEDED), at=SOME, part=PARTS)
    def staff_settle_outside_stripe(self, at: int, part: str) -> None:
        if not (succeeded := self._intents(IntentStatus.SUCCEEDED)):
            return
        each = _pick(succeeded, at)
        amount = from_minor_units(_part(each, part), each["currency"])
        request = EntryRequest(amount_decimal=amount, reason="in cash")
        order_id = each["metadata"]["order_id"]
        self.world.attempt(
            lambda: settle_outside_stripe(
                order_id=order_id, intent_id=each["id"], request=request, origin=BY_STAFF
            )
        )

    @step(where=lambda self: self._entries(), at=SOME)
    def staff_revoke_an_entry(self, at: int) -> None:
        pk = _pick(self._entries(), at)
        self.world.attempt(
            lambda: revoke_staff_entry(entry_pk=pk, reason="a mistake", user=None, origin=BY_STAFF)
        )

    @step(
        2,
        where=lambda self: self._intents(IntentStatus.REQUIRES_CAPTURE),
        at=SOME,
        part=("half", "little", "all"),
        waive_rest=YES_OR_NO,
    )
    def the_shop_captures(self, at: int, part: str, waive_rest: bool) -> None:
        if not (held := self._intents(IntentStatus.REQUIRES_CAPTURE)):
            return
        each = _pick(held, at)
        amount = None if part == "all" else from_minor_units(_part(each, part), each["currency"])
        self.world.attempt(
            lambda: capture_payment(
                order_id=each["metadata"]["order_id"],
                amount_decimal=amount,
                waive_rest=waive_rest,
                origin=BY_STAFF,
            )
        )

    @step(at=SOME)
    def somebody_looks(self, at: int) -> None:
        order = self._order(at)
        answer = self.world.call(lambda: self.people.storefront.get(f"orders/{order.pk}"))
        assert answer is not None
        payment = OrderPayment.objects.filter(order=order).first()
        if answer.status_code == 200 and not Adapter.broken:
            self._is_shown_as_it_is(order, answer.json()["data"])
        for page in [change(row) for row in (order, payment) if row is not None]:
            self.world.visit(partial(self.world.staff.get, page))

    def _is_shown_as_it_is(self, order: Order, shown: Json) -> None:
        order = Order.objects.get(pk=order.pk)
        sums = self.audit.sums_of(order)
        if sums is not None:
            assert shown["payment_status"] == sums.status, sums
            outstanding = format_amount(sums.outstanding, order.currency)
            assert shown["outstanding"] == outstanding, sums
            least = minimum_charge(order.currency)
            assert shown["payable"] == (not sums.refusal and sums.asks >= least), sums

    # Stripe's dashboard, and the banks

    @step(
        2,
        where=lambda self: self._intents(IntentStatus.SUCCEEDED),
        at=SOME,
        part=PARTS,
    )
    def the_dashboard_refunds(self, at: int, part: str) -> None:
        succeeded = self._intents(IntentStatus.SUCCEEDED)
        if not succeeded:
            return
        each = _pick(succeeded, at)
        amount = {} if part == "all" else {"amount": str(_part(each, part))}
        self.world.dashboard("refunds", payment_intent=each["id"], **amount)

    @step(where=lambda self: self._open(), at=SOME)
    def the_dashboard_cancels(self, at: int) -> None:
        if found := self._open():
            self.world.dashboard(f"payment_intents/{_pick(found, at)['id']}/cancel")

    @step(
        where=lambda self: self._intents(IntentStatus.REQUIRES_CAPTURE),
        at=SOME,
        part=PARTS,
    )
    def the_dashboard_captures(self, at: int, part: str) -> None:
        held = self._intents(IntentStatus.REQUIRES_CAPTURE)
        if not held:
            return
        each = _pick(held, at)
        amount = {} if part == "all" else {"amount_to_capture": str(_part(each, part))}
        self.world.dashboard(f"payment_intents/{each['id']}/capture", **amount)

    @step(2, where=lambda self: self._intents(IntentStatus.SUCCEEDED), at=SOME, inquiry=YES_OR_NO)
    def a_bank_disputes(self, at: int, inquiry: bool) -> None:
        if charges := self._disputable():
            self.world.stripe.open_dispute(_pick(charges, at), inquiry=inquiry)

    @step(
        2,
        where=lambda self: self.audit.seen.disputes,
        at=SOME,
        evidence=("winning_evidence", "losing_evidence", "escalate_inquiry_evidence", ""),
    )
    def the_dashboard_answers_a_dispute(self, at: int, evidence: str) -> None:
        path = f"disputes/{_pick([*self.audit.seen.disputes], at)}"
        if evidence:
            self.world.dashboard(path, **{"evidence[uncategorized_text]": evidence})
        else:
            self.world.dashboard(f"{path}/close")

    @step(
        2,
        where=lambda self: self.audit.seen.refunds,
        at=SOME,
        status=(RefundStatus.FAILED, RefundStatus.SUCCEEDED),
    )
    def a_bank_decides_on_a_refund(self, at: int, status: str) -> None:
        refund = _pick([*self.audit.seen.refunds.values()], at)
        if status in LEGAL_MOVES[refund["status"]]:
            self.world.stripe.advance_refund(refund["id"], status)

    @step(
        where=lambda self: len(self.world.strangers) < 3,
        at=SOME,
        is_paid=YES_OR_NO,
        is_of_staging=YES_OR_NO,
    )
    def another_system_takes_money(self, at: int, is_paid: bool, is_of_staging: bool) -> None:
        """It has an order of the same number, and uses the same account; it may be our own app."""
        params = {
            "amount": "11200",
            "currency": "usd",
            "metadata[order_id]": str(self._order(at).pk),
            "allowed_payment_method_types[0]": "card",
        }
        if is_of_staging:
            params["metadata[attempt_id]"] = str(uuid5(NAMESPACE_OID, str(at)))
        if is_paid:
            params |= {"confirm": "true", "payment_method": "pm_card_visa"}
        made = self.world.dashboard("payment_intents", **params)
        if is_paid:
            self.world.dashboard("refunds", payment_intent=made["id"], amount="1200")
        self.world.strangers[made["id"]] = call_stripe(
            self.world.stripe, "GET", f"payment_intents/{made['id']}"
        )

    # What goes wrong

    @step(3, fault=FAULTS)
    def stripe_is_in_trouble(self, fault: Fault) -> None:
        self.world.troubles.append(fault)

    @step(2, where=lambda self: not self.world.deaths, moment=("before", "after"))
    def the_process_will_die(self, moment: str) -> None:
        self.world.deaths.append(moment)

    @step(
        6,
        where=lambda self: not self.world.meanwhile,
        what=("a_customer_pays", *DISTURBANCES),
        moment=("before", "after"),
        times=(1, 2),
    )
    def somebody_else_will_act_meanwhile(self, what: str, moment: str, times: int) -> None:
        """While the app waits for Stripe, and with the same order."""

        def act(order_id: Any) -> None:
            self.focus = order_id
            self.audit.seen = self.world.look()
            try:
                getattr(self, what)(*DISTURBANCES[what])
            finally:
                self.focus = None

        self.world.meanwhile += [(moment, act)] * times

    @step(2, fault=WEBHOOK_FAULTS)
    def webhooks_are_in_trouble(self, fault: Fault) -> None:
        self.world.stripe.inject(fault)

    @step(where=lambda self: not self.world.receivers_break)
    def a_receiver_breaks(self) -> None:
        self.world.receivers_break = 1

    @step(
        where=lambda self: not Adapter.broken, method=("total", "is_payable", "amount_to_pay_now")
    )
    def the_shops_code_breaks(self, method: str) -> None:
        Adapter.broken = method

    @step(20, where=lambda self: Adapter.broken)
    def the_shops_code_is_put_right(self) -> None:
        Adapter.broken = ""

    @step(5)
    def webhooks_arrive(self) -> None:
        self.world.stripe.deliver_due()

    @step(2, where=lambda self: self.audit.seen.intents, at=range(200))
    def an_old_webhook_arrives(self, at: int) -> None:
        self.world.receive(_pick(self.world.stripe.events, at))

    # Time

    @step(
        3,
        seconds=(
            *[10, 4 * MINUTE, HOUR, 23 * HOUR + 30 * MINUTE, 25 * HOUR] * 3,
            5 * DAY,
            8 * DAY,
            40 * DAY,
        ),
    )
    def time_passes(self, seconds: int) -> None:
        self.world.clock.shift(seconds)

    @step(
        2,
        where=lambda self: self.world.orders,
        at=SOME,
        seconds=(-10 * MINUTE, 10 * MINUTE),
        what=("ask", "settle", "sweep"),
    )
    def a_process_with_another_clock_acts(self, at: int, seconds: int, what: str) -> None:
        self.world.meanwhile.clear()  # webhooks that arrive then are too old, or too new
        with self.world.clock_ahead(seconds):
            if what == "ask":
                self.the_storefront_asks_for_an_intent(at)
            elif what == "settle":
                self.the_payment_system_says_it_is_paid(at)
            else:
                self.a_sweep(72)

    # Operators

    @step(3, hours=(72, 72, 2000))
    def a_sweep(self, hours: int) -> None:
        self.world.run("shop_payments_reconcile", f"--since={hours}")

    @step()
    def a_dry_sweep_changes_nothing(self) -> None:
        self.world.meanwhile.clear()
        rows, sent = read_rows(), writes(self.world.stripe)
        self.world.run("shop_payments_reconcile", "--dry-run")
        assert (read_rows(), writes(self.world.stripe)) == (rows, sent)

    @step(
        where=lambda self: WebhookEvent.objects.filter(purged_at=None).exists(),
        at=SOME,
        failed=YES_OR_NO,
    )
    def events_are_replayed(self, at: int, failed: bool) -> None:
        found = WebhookEvent.objects.filter(purged_at=None).order_by("pk")
        which = "--failed" if failed else _pick(list(found), at).event_id
        self.world.run("shop_payments_events", "replay", which)

    @step()
    def personal_data_is_purged(self) -> None:
        self.world.run("shop_payments_purge")

    @step()
    def abandoned_intents_are_closed(self) -> None:
        self.world.run("shop_payments_cancel_abandoned")

    # The end

    def _end(self) -> None:
        """Nothing goes wrong any more; whatever did must be healed by a few sweeps."""
        self.world.calm_down()
        self._the_shop_puts_currencies_right()
        if not self.webhooks_heal:
            self._the_shop_gives_up_an_order()
        else:
            events = self.world.stripe.events
            random.Random(1).shuffle(events)
            for event in events:
                assert self.world.receive(event) == 200
            self.audit.check()
        self._sweep_until_nothing_changes()
        self.audit.close(self._sweep)
        self._the_shop_says_what_has_changed()
        self._suggestions_are_carried_out()
        self._customers_can_go_on()
        self._paying_what_is_asked_settles()

    def _sweep_until_nothing_changes(self) -> None:
        for _round in range(5):
            self.world.clock.shift(self.patience)
            before, sent = read_rows(), writes(self.world.stripe)
            self._sweep()
            self.audit.check()
            self.audit.nothing_is_lost()
            if (read_rows(), writes(self.world.stripe)) == (before, sent):
                break
            self.patience = 13 * HOUR  # the longest pause between two tries of an event

    def _the_shop_puts_currencies_right(self) -> None:
        """An order that was paid in one currency cannot be read in another."""
        self.audit.rows = read_rows()
        for payment in self.audit.rows[OrderPayment].values():
            if self.audit.is_unreadable(payment):
                order = Order.objects.filter(pk=payment["order_id"])
                order.update(currency=payment["currency"])

    def _the_shop_gives_up_an_order(self) -> None:
        """One that a customer could pay, and it tells nobody: only the sweep asks."""
        open_now = [each for each in self._open() if each["status"] in UPDATABLE_STATUSES]
        for each in open_now[-1:]:
            pk = int(each["metadata"]["order_id"])
            Order.objects.filter(pk=pk).update(status=Order.Status.CANCELLED)
            self.world.changed.add(pk)

    def _the_shop_says_what_has_changed(self) -> None:
        """After that, each order is what Stripe's objects and its own total come to."""
        for order in self.world.orders:
            reevaluate_order(order.pk)
        self.audit.check()
        self.audit.compare_with_stripe(as_it_is=True)

    def _suggestions_are_carried_out(self) -> None:
        """Each closes its item, or says to wait for a bank that decides before the next round."""
        for _round in range(4):
            items = self._open_items()
            if not items:
                return
            for item in items:
                if self._has_to_wait(ReviewItem.objects.get(pk=item["pk"])):
                    continue
                if ReviewItem.objects.open().filter(pk=item["pk"]).exists():
                    self._carry_out(ReviewItem.objects.get(pk=item["pk"]))
                    self._hear()
                    left = ReviewItem.objects.open().filter(pk=item["pk"])
                    assert not left.exists(), f"its suggestion has been carried out: {left[0]}"
            self.audit.check()
        assert not self._open_items()

    def _has_to_wait(self, item: ReviewItem) -> bool:
        """Have the bank decide where an item says to wait for that: it is for the next round."""
        if not item.suggested_action.startswith(WAIT_FOR_THE_BANK):
            return False
        assert item.payment_intent is not None
        for dispute in item.payment_intent.disputes.all():
            if dispute.state == DisputeState.OPEN:
                self.world.dashboard(f"disputes/{dispute.stripe_id}/close")
        self._hear()
        return True

    def _carry_out(self, item: ReviewItem) -> None:
        """Do what the item suggests, the first thing of it that is possible."""
        intent, reason = item.payment_intent, item.reason
        assert intent is not None
        order_id = item.order_payment.order_id
        amount = item.data.get("amount", 0)
        if item.suggested_action == LOST_TO_THE_BANK:
            money = from_minor_units(amount, intent.currency)
            settle_outside_stripe(
                order_id=order_id,
                intent_id=intent.stripe_id,
                request=EntryRequest(amount_decimal=money, reason="by bank transfer"),
                origin=BY_STAFF,
            )
        elif reason in ("excess", "uncounted"):
            money = from_minor_units(amount, intent.currency)
            request = RefundRequest(
                amount_decimal=money, key=f"item {item.pk} {amount}", intent_id=intent.stripe_id
            )
            refund_payment(order_id=order_id, request=request, origin=BY_STAFF)
        elif reason in ("rest_owed", "rest_too_small"):
            everything = EntryRequest(reason="not worth it")
            waive_amount(order_id=order_id, request=everything, origin=BY_STAFF)
        elif reason == "disputed":
            self.world.dashboard(f"disputes/{item.subject}/close")
        elif reason == "authorization_expires":
            cancel_payment(order_id=order_id, origin=BY_STAFF)
        elif reason == "waived_received" and not item.order_payment.is_payable:
            request = RefundRequest(key=f"item {item.pk}", intent_id=intent.stripe_id)
            refund_payment(order_id=order_id, request=request, origin=BY_STAFF)
        elif reason == "waived_received":
            waivers = item.order_payment.staff_entries.filter(kind="waiver", revoked_at=None)
            for pk in waivers.values_list("pk", flat=True):
                revoke_staff_entry(entry_pk=pk, reason="it came", user=None, origin=BY_STAFF)
        else:  # agreed with the customer, or to be kept
            close_review_item(
                item_pk=item.pk, reason="agreed", user=self.people.superuser, origin=BY_STAFF
            )

    def _hear(self) -> None:
        for event in self.world.stripe.events:
            if event["id"] not in self.world.taken:
                assert self.world.receive(event) == 200

    def _customers_can_go_on(self) -> None:
        """Anyone who has something to pay gets an intent; the others are told why not."""
        for order in self.world.orders:
            answer = self.world.call(partial(self.people.storefront.payment_intent, order))
            assert answer is not None
            self._was_asked_for_what_is_owed(order, answer)
        self.audit.check()

    def _paying_what_is_asked_settles(self) -> None:
        """However often something is asked for."""
        for order in self.world.orders:
            for _payment in range(8):
                shown = self._ask_for_an_intent(order)
                if shown is None:
                    break
                self._pay(shown, "pm_card_visa")
                if order.number.startswith(HELD):
                    self._hear()
                    capture_payment(order_id=order.pk, origin=BY_STAFF)
            assert shown is None, f"asked for again and again: {order}"
        self._hear()
        self.audit.check()
        for order in self.world.orders:
            sums = self.audit.sums_of(Order.objects.get(pk=order.pk))
            if sums is not None and sums.refusal is None:
                assert sums.asks < minimum_charge(order.currency), sums

    def _sweep(self) -> str:
        said: str = self.world.run("shop_payments_reconcile", "--since=2026-11-20")
        return said

    # How

    def _order(self, at: int) -> Order:
        focused = [order for order in self.world.orders if order.pk == self.focus]
        order: Order = _pick(focused or self.world.orders, at)
        return order

    def _cancelled(self) -> list[int]:
        cancelled = Order.objects.filter(status=Order.Status.CANCELLED)
        return list(cancelled.order_by("pk").values_list("pk", flat=True))

    def _ours(self) -> list[Json]:
        """Our intents at Stripe, of the order in focus."""
        focus = self.focus and str(self.focus)
        return [e for e in self.audit.ours() if focus in (None, e["metadata"]["order_id"])]

    def _intents(self, status: str) -> list[Json]:
        return [each for each in self._ours() if each["status"] == status]

    def _open(self) -> list[Json]:
        return [each for each in self._ours() if is_open(each["status"])]

    def _open_items(self) -> list[Json]:
        rows = self.audit.rows[ReviewItem].values()
        return [row for row in rows if row["closed_at"] is None]

    def _entries(self) -> list[int]:
        rows = self.audit.rows[StaffEntry].values()
        return [row["pk"] for row in rows if row["revoked_at"] is None]

    def _disputable(self) -> list[str]:
        disputed = {each["payment_intent"] for each in self.audit.seen.disputes.values()}
        return [
            each["latest_charge"]
            for each in self._intents(IntentStatus.SUCCEEDED)
            if each["id"] not in disputed and _is_card(self.world, each)
        ]

    def _offered(self, action: str) -> list[PaymentIntent]:
        """The intents whose pages have this button."""
        offers = {
            "refund": "refundable",
            "capture": "can_be_captured",
            "cancel": "can_be_cancelled",
        }
        return [
            options.intent
            for payment in OrderPayment.objects.order_by("pk")
            if self.focus in (None, payment.order_id)
            for options in options_of(payment)
            if getattr(options, offers[action])
        ]

    def _rows(self, *statuses: str) -> list[Json]:
        rows = self.audit.rows[PaymentIntent].values()
        return [row for row in rows if row["status"] in statuses]

    def _act(self, action: str, at: int, twice: bool, part: str = "") -> None:
        """Fill in the form of an intent that has this button, and send it."""
        offered = self._offered(action)
        if not offered:
            return
        intent = _pick(offered, at)
        page = reverse(
            f"admin:shop_payments_orderpayment_{action}",
            args=[intent.order_payment_id, intent.pk],
        )
        shown = {"amount": intent.amount, "currency": intent.currency}
        changes = {"amount": _decimal(shown, part)} if part else {}
        form = fill_in(self.world.staff, page, **changes)
        for _time in range(2 if twice else 1):
            self.world.visit(lambda: self.world.staff.post(page, form))


def _pick(found: Sequence[Any], at: int) -> Any:
    return found[at % len(found)]


def _is_card(world: World, intent: Json) -> bool:
    charge = call_stripe(world.stripe, "GET", f"charges/{intent['latest_charge']}")
    return bool(charge["payment_method_details"]["type"] == "card" and not charge["refunded"])


def _part(each: Json, part: str) -> int:
    """A part of an intent's money in minor units; the last digit of three is a 0."""
    amount: int = each["amount"]
    parts = {"all": amount, "half": amount // 20 * 10, "little": 10, "too much": amount + 10}
    return parts[part]


def _decimal(each: Json, part: str) -> str:
    return format_amount(_part(each, part), each["currency"])
