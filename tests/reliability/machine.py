"""Customers, staff, faults and clocks, in any order: a Hypothesis state machine over the shop.

Each move is something that somebody does, or that goes wrong (``actions.py``); ``audit.py`` says
what must hold after each. At the end nothing goes wrong any more, and a few sweeps must heal all.

Concurrent threads are in ``test_concurrency.py``, deaths at each statement in ``test_kills.py``.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from shop_payments import services
from shop_payments.lifecycle import UPDATABLE_STATUSES, DisputeState
from shop_payments.models import Order, OrderPayment, ReviewItem
from shop_payments.money import from_minor_units, minimum_charge
from tests.books import STAFF
from tests.reliability.actions import HOUR, MINUTE, STEPS, Actions, pick
from tests.reliability.audit import Audit
from tests.reliability.books import read_rows
from tests.reliability.parts import People
from tests.reliability.world import HELD, World
from tests.support import writes

STEPS_OF_A_RUN = 50
PATIENCES = (5 * MINUTE, 13 * HOUR, 25 * HOUR)
"""Seconds before each of the last sweeps."""

_IN_NO_MODULE = 7_316_482_905_113_000
NUMBER = st.integers(_IN_NO_MODULE, _IN_NO_MODULE + 839).map(lambda number: number - _IN_NO_MODULE)
"""Up to 839. Hypothesis also draws numbers that it finds in the loaded modules: with those, a seed
would draw other moves in another process."""

NUMBERS = st.tuples(*[NUMBER] * 4)
"""What a move is made of: always as many, so that it stays itself when others are left out."""


@dataclass(frozen=True)
class Move:
    """A step, and with what."""

    name: str
    arguments: dict[str, Any]

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.arguments.items())
        return f"{self.name}({given})"


@st.composite
def moves(draw: Callable[[Any], Any]) -> Move:
    """Any step that is possible now.

    All steps are one rule to Hypothesis. It has no weights, and leaves out half of its rules in
    each run: long stories would hardly ever come.
    """
    machine: ShopMachine = draw(st.runner())
    return machine.choose(draw(NUMBERS))


class ShopMachine(Actions, RuleBasedStateMachine):
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
        self, customers: int, debits: bool, refund_excess: bool, webhooks_heal: bool, patience: int
    ) -> None:
        """``webhooks_heal``: at the end, all of them arrive; else only the sweep heals.

        Hypothesis begins with a run of nothing but zeros: then the shop stays closed.
        """
        if not customers:
            return
        self.is_between_steps = False
        types = ["card", "us_bank_account"] if debits else ["card"]
        config = {"ALLOWED_PAYMENT_METHOD_TYPES": types, "AUTO_REFUND_EXCESS": refund_excess}
        self.world = World(self.people, **config)
        self.audit = Audit(self.world)
        self.takes_debits, self.webhooks_heal = debits, webhooks_heal
        self.patience, self.refunds_by_key = pick(PATIENCES, patience), {}
        self.counts["open_the_shop"] += 1
        self._take_order(customers, held=False)

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
        name = pick(names, which)
        options = STEPS[name].options
        values = {each: pick(options[each], at) for each, at in zip(options, rest, strict=False)}
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

    def teardown(self) -> None:
        if self.world is None:
            return
        try:
            if self.is_between_steps:  # else it has failed already
                self._end()
        finally:
            self.world.leave()

    # The end

    def _end(self) -> None:
        """Stop the trouble, sweep a few times, and let people finish what is open."""
        self.world.calm_down()
        self._orders_can_be_read()
        if self.webhooks_heal:
            events = self.world.stripe.events
            random.Random(1).shuffle(events)
            for event in events:
                assert self.world.receive(event) == 200
            self.audit.check()
        else:
            self._an_order_is_cancelled_silently()
        self._sweep_until_nothing_changes()
        self.audit.close(self._sweep)
        for order in self.world.orders:
            services.reevaluate_order(order.pk)
        self.audit.check()
        self.audit.compare_with_orders()
        self._suggestions_are_carried_out()
        self._paying_what_is_asked_settles()

    def _orders_can_be_read(self) -> None:
        """Undo changes of currency: an order paid in one cannot be read in another."""
        self.audit.rows = read_rows()
        for payment in self.audit.rows[OrderPayment].values():
            if self.audit.is_unreadable(payment):
                order = Order.objects.filter(pk=payment["order_id"])
                order.update(currency=payment["currency"])

    def _an_order_is_cancelled_silently(self) -> None:
        """One that a customer could pay: only the sweep asks the shop."""
        for each in self._intents(*UPDATABLE_STATUSES)[-1:]:
            pk = int(each["metadata"]["order_id"])
            Order.objects.filter(pk=pk).update(status=Order.Status.CANCELLED)
            self.world.changed.add(pk)

    def _sweep(self) -> str:
        return str(self.world.run("shop_payments_reconcile", "--since=2026-11-20"))

    def _sweep_until_nothing_changes(self) -> None:
        for _round in range(5):
            self.world.clock.shift(self.patience)
            before = read_rows(), writes(self.world.stripe)
            self._sweep()
            self.audit.check()
            self.audit.nothing_is_lost()
            if (read_rows(), writes(self.world.stripe)) == before:
                break
            self.patience = 13 * HOUR  # the longest pause between two tries of an event

    def _suggestions_are_carried_out(self) -> None:
        """Each closes its item, or says to wait for a bank that decides before the next round."""
        for _round in range(4):
            for row in self._open_items():
                item = ReviewItem.objects.get(pk=row["pk"])
                if self._has_to_wait(item):
                    continue
                if ReviewItem.objects.open().filter(pk=item.pk).exists():
                    self._carry_out(ReviewItem.objects.get(pk=item.pk))
                    self._receive_everything()
                    left = ReviewItem.objects.open().filter(pk=item.pk)
                    assert not left.exists(), f"its suggestion has been carried out: {left[0]}"
            self.audit.check()
        assert not self._open_items()

    def _has_to_wait(self, item: ReviewItem) -> bool:
        """Let the bank decide if the item says to wait for it."""
        if item.data.get("dispute_state") != DisputeState.OPEN:
            return False
        assert item.payment_intent is not None
        for dispute in item.payment_intent.disputes.all():
            if dispute.state == DisputeState.OPEN:
                self.world.dashboard(f"disputes/{dispute.stripe_id}/close")
        self._receive_everything()
        return True

    def _carry_out(self, item: ReviewItem) -> None:
        """Do what the item suggests, the first thing of it that is possible."""
        intent, reason, payment = item.payment_intent, item.reason, item.order_payment
        assert intent is not None
        money = from_minor_units(item.data.get("amount", 0), intent.currency)
        order: dict[str, Any] = {"order_id": payment.order_id, "origin": STAFF}
        key = f"item {item.pk} {money}"
        refund = partial(services.RefundRequest, key=key, intent_id=intent.stripe_id)
        if item.data.get("dispute_state") == DisputeState.LOST:
            entry = services.EntryRequest(amount_decimal=money, reason="by bank transfer")
            services.settle_outside_stripe(intent_id=intent.stripe_id, request=entry, **order)
        elif reason in ("excess", "uncounted"):
            services.refund_payment(request=refund(amount_decimal=money), **order)
        elif reason in ("rest_owed", "rest_too_small"):
            services.waive_amount(request=services.EntryRequest(reason="not worth it"), **order)
        elif reason == "disputed":
            self.world.dashboard(f"disputes/{item.subject}/close")
        elif reason == "authorization_expires":
            services.cancel_payment(**order)
        elif reason == "waived_received" and not payment.is_payable:
            services.refund_payment(request=refund(), **order)
        elif reason == "waived_received":
            for waiver in payment.staff_entries.filter(kind="waiver", revoked_at=None):
                services.revoke_staff_entry(
                    entry_pk=waiver.pk, reason="it came", user=None, origin=STAFF
                )
        else:  # agreed with the customer, or to be kept
            closed: dict[str, Any] = {"user": self.people.superuser, "origin": STAFF}
            services.close_review_item(item_pk=item.pk, reason="agreed", **closed)

    def _receive_everything(self) -> None:
        for event in self.world.stripe.events:
            if event["id"] not in self.world.taken:
                assert self.world.receive(event) == 200

    def _paying_what_is_asked_settles(self) -> None:
        """However often something is asked for; what is not asked for has its reason."""
        for order in self.world.orders:
            for _payment in range(8):
                shown = self._ask_for_an_intent(order)
                if shown is None:
                    break
                self._pay(shown, "pm_card_visa")
                if order.number.startswith(HELD):
                    self._receive_everything()
                    services.capture_payment(order_id=order.pk, origin=STAFF)
            assert shown is None, f"asked for again and again: {order}"
        self._receive_everything()
        self.audit.check()
        for order in self.world.orders:
            sums = self._sums_of(order)
            if sums is not None and sums.refusal is None:
                assert sums.asks < minimum_charge(order.currency), sums


def run(people: People, *, number: int, counts: Counter[str], shrink: bool = True) -> None:
    """Take the steps that the seed ``number`` draws, and count how often each was taken.

    Hypothesis runs its first example, of zeros, and one that the seed draws.
    """
    machine: Any = type("ShopMachine", (ShopMachine,), {"people": people, "counts": counts})
    run_state_machine_as_test(
        seed(number)(machine),
        settings=settings(
            max_examples=2,
            stateful_step_count=1 + STEPS_OF_A_RUN,  # the first one opens the shop
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
