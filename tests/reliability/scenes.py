"""Orders on their way, and what is being done with them when a process dies.

Each operation is a method of :class:`Stage` that prepares an order and returns a :class:`Scene`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from django.core.management import CommandError, call_command
from django.db import transaction

from shop_payments import services
from shop_payments.models import APIKey, FactKind, Order, PaymentIntent, StripeAttempt, SweepState
from shop_payments.sandbox import Fault
from shop_payments.testing import StripeSandbox
from tests.books import STAFF
from tests.reliability.books import Ending
from tests.reliability.parts import People, place_order
from tests.reliability.victims import Job, Victim
from tests.reliability.web import Call
from tests.support import call_stripe, pay, post_webhook, sign

REFUND = 5000
HOUR, DAY = 3600.0, 24 * 3600.0

PART = Decimal("50.00")
AGREED = services.EntryRequest(reason="agreed", key="waived")


def cancel_order(order_id: int) -> None:
    """Cancel an order as a shop does, and its payment after the commit."""
    with transaction.atomic():
        Order.objects.filter(pk=order_id).update(status=Order.Status.CANCELLED)
        services.cancel_payment_on_commit(order_id=order_id, origin=STAFF)


def sweep() -> None:
    """Run the command; that it reports new review items is no failure."""
    try:
        call_command("shop_payments_reconcile", stdout=sys.stderr)
    except CommandError as error:
        _title, *problems = str(error).splitlines()
        if not problems or any("new review item" not in line for line in problems):
            raise


OPERATIONS: list[str] = []
"""The methods of :class:`Stage` that set a scene."""


def operation(method: Any) -> Any:
    OPERATIONS.append(method.__name__)
    return method


@dataclass(frozen=True)
class Scene(Ending):
    """An order, and what is about to be done with it."""

    _: KW_ONLY
    job: Job
    meanwhile: Callable[[], Any] | None = None
    """What somebody else does before anybody recovers."""

    done_before: frozenset[str] = frozenset()
    """What a repetition raises, or the status that it answers, where there is nothing to do."""

    answer: int = 200
    """The status that it is answered with."""

    follows_up: bool = False
    """Whether something has to be done at Stripe after the commit. If the process dies there, the
    sweep does it: nothing is left for a repetition."""

    later: float = 0.0
    """Seconds from now until it is done."""


def _job(service: Callable[..., Any], order: Order, **values: Any) -> Job:
    """A service that staff use."""
    return Job(work=partial(service, order_id=order.pk, origin=STAFF, **values))


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Who does what with the orders."""

    stripe: StripeSandbox
    victim: Victim
    people: People
    configure: Callable[..., None]

    # Orders on their way

    def order(self, *, parts: int = 1) -> Order:
        return place_order(self.people.customer, parts=parts)

    def with_intent(self, *, parts: int = 1) -> tuple[Order, str]:
        order = self.order(parts=parts)
        return order, self._ask(order)

    def _ask(self, order: Order) -> str:
        answer = self.people.storefront.payment_intent(order)
        assert answer.status_code == 200, answer.content
        intent_id: str = answer.json()["data"]["id"]
        return intent_id

    def with_money(self, *, parts: int = 1) -> tuple[Order, str]:
        """Paid at Stripe, or a part of it, and nobody has said so here."""
        order, intent_id = self.with_intent(parts=parts)
        pay(self.stripe, intent_id)
        return order, intent_id

    def paid(self, *, parts: int = 1) -> tuple[Order, str]:
        """Paid, with the newest intent."""
        order, intent_id = self.with_money(parts=parts)
        for _part in range(parts - 1):
            intent_id = self._ask(order)
            pay(self.stripe, intent_id)
        assert self.people.payment_system.payment(order).status_code == 200
        return order, intent_id

    def with_deposit(self, *, parts: int = 2) -> tuple[Order, str]:
        """The first part is paid, and the next one is asked for."""
        order, _ = self.with_money(parts=parts)
        return order, self._ask(order)

    def raised_after_payment(self) -> tuple[Order, str]:
        """Paid, raised, asked for the rise; and what it costs now is what it cost first."""
        order, _ = self.paid()
        order.lines.update(quantity=3)
        intent_id = self._ask(order)
        order.lines.update(quantity=2)
        return order, intent_id

    def _have_all_paid(self) -> None:
        for row in PaymentIntent.objects.open().select_related("order_payment"):
            pay(self.stripe, row.stripe_id)
            assert self.people.payment_system.payment(row.order_payment.order_id).status_code == 200

    def with_lost_answer(self) -> tuple[Order, str]:
        """There is an intent at Stripe, and here the attempt to create one."""
        order = self.order()
        self.stripe.inject(Fault("drop_after", method="POST"))
        assert self.people.storefront.payment_intent(order).status_code == 503
        newest = call_stripe(self.stripe, "GET", "payment_intents", limit="1")["data"][0]
        assert newest["metadata"]["order_id"] == str(order.pk)
        return order, newest["id"]

    def try_to_pay(self, intent_id: str) -> None:
        path = f"payment_intents/{intent_id}/confirm"
        call_stripe(self.stripe, "POST", path, payment_method="pm_card_visa")

    def events_of(self, intent_id: str) -> list[bytes]:
        """What Stripe has to say of an intent and its refunds, oldest first."""

        def is_about(subject: dict[str, Any]) -> bool:
            return intent_id in (subject["id"], subject.get("payment_intent"))

        events = [each for each in self.stripe.events if is_about(each["data"]["object"])]
        return [json.dumps(each).encode() for each in events]

    def event(self, intent_id: str, kind: str, **settings: Any) -> Job:
        return Job.call(Call.webhook(self._body(intent_id, kind)), **settings)

    def _succeeded(self, intent_id: str, **settings: Any) -> Job:
        return self.event(intent_id, "payment_intent.succeeded", **settings)

    def _body(self, intent_id: str, kind: str) -> bytes:
        (body,) = [each for each in self.events_of(intent_id) if json.loads(each)["type"] == kind]
        return body

    # What is being done

    def _asking(self, order: Order) -> Job:
        return Job.call(Call.order(order, "payment-intent", self.people.storefront))

    def _refunding(self, order: Order, amount: str = "50.00") -> Job:
        return Job.call(Call.refund(order, self.people.office, amount, f"refund-{order.pk}"))

    def set(self, operation: str) -> Scene:
        """Set the scene of an operation; what is done there passes the same places each time."""
        SweepState.objects.all().delete()  # so that each sweep compares the lists
        found: Scene = getattr(self, operation)()
        APIKey.objects.update(last_used_at=None)  # written once a minute: here, each time
        return found

    @operation
    def create(self) -> Scene:
        order = self.order()
        return Scene(order, {"open": [11200]}, job=self._asking(order))

    @operation
    def create_again(self) -> Scene:
        """The first one was cancelled in Stripe's dashboard, and nobody has said so here."""
        order, intent_id = self.with_intent()
        call_stripe(self.stripe, "POST", f"payment_intents/{intent_id}/cancel")
        return Scene(order, {"open": [11200], "canceled": 1}, job=self._asking(order))

    @operation
    def create_a_day_later(self) -> Scene:
        """The answer was lost, and Stripe has forgotten the key: the intent is looked for."""
        order, _ = self.with_lost_answer()
        self.stripe.forget_idempotency_keys()
        return Scene(order, {"open": [11200]}, job=self._asking(order), later=25 * HOUR)

    @operation
    def update(self) -> Scene:
        order, _ = self.with_intent()
        order.lines.update(quantity=3)
        return Scene(order, {"open": [16800]}, job=self._asking(order))

    @operation
    def update_and_pay(self) -> Scene:
        """The customer pays what they see, the old sum or the new one, before anybody recovers."""
        order, intent_id = self.with_intent()
        order.lines.update(quantity=1)
        return Scene(
            order,
            {},
            job=self._asking(order),
            meanwhile=partial(self.try_to_pay, intent_id),
            done_before=frozenset({"409"}),
        )

    @operation
    def settle(self) -> Scene:
        order, _ = self.with_money()
        return Scene(
            order,
            {"received": [11200]},
            job=Job.call(Call.order(order, "payment", self.people.payment_system)),
        )

    @operation
    def early_webhook(self) -> Scene:
        """The event of the creation comes, and not the answer."""
        order, intent_id = self.with_lost_answer()
        return Scene(order, {"open": [11200]}, job=self.event(intent_id, "payment_intent.created"))

    @operation
    def refund_a_day_later(self) -> Scene:
        """The answer was lost, and Stripe has forgotten the key: the refund is looked for."""
        order, _ = self.paid()
        self.stripe.inject(Fault("drop_after", method="POST"))
        lost = self.people.office.refund(order, {"amount": "50.00"}, key=f"refund-{order.pk}")
        assert lost.status_code == 503
        self.stripe.forget_idempotency_keys()
        wants = {"received": [11200], "refunded": [REFUND]}
        return Scene(order, wants, job=self._refunding(order), later=25 * HOUR)

    @operation
    def refused_refund(self) -> Scene:
        """All of it has gone back in Stripe's dashboard, and nobody has said so here."""
        order, intent_id = self.paid()
        call_stripe(self.stripe, "POST", "refunds", payment_intent=intent_id)
        wants = {"received": [11200], "refunded": [11200]}
        return Scene(order, wants, job=self._refunding(order), answer=409)

    @operation
    def webhook_of_a_failed_refund(self) -> Scene:
        """Somebody gave money back in Stripe's dashboard, and it has come back."""
        order, intent_id = self.paid()
        params = {"payment_intent": intent_id, "amount": str(REFUND)}
        refund = call_stripe(self.stripe, "POST", "refunds", **params)
        self.stripe.advance_refund(refund["id"], "failed")
        job = self.event(intent_id, "refund.failed")
        wants = {"received": [11200], "refunded": [REFUND]}
        facts = {FactKind.REFUND_FAILED: 1, FactKind.REVIEW_NEEDED: 1}
        return Scene(order, wants, {}, facts, job=job)

    @operation
    def webhook_of_a_lost_dispute(self) -> Scene:
        order, intent_id = self.with_intent()
        pay(self.stripe, intent_id, "pm_card_createDispute")
        assert self.people.payment_system.payment(order).status_code == 200
        opened = self._body(intent_id, "charge.dispute.created")
        assert post_webhook(opened, sign(opened)).status_code == 200
        dispute_id = json.loads(opened)["data"]["object"]["id"]
        call_stripe(self.stripe, "POST", f"disputes/{dispute_id}/close")
        job = self.event(intent_id, "charge.dispute.closed")
        wants = {"received": [11200], "disputed": [11200]}
        facts = {FactKind.DISPUTE_OPENED: 1, FactKind.DISPUTE_CLOSED: 1, FactKind.REVIEW_NEEDED: 1}
        return Scene(order, wants, {}, facts, job=job)

    @operation
    def capture(self) -> Scene:
        """A part is captured, and the rest is waived."""
        self.configure(STRIPE_TRANSPORT=self.stripe.handle, CAPTURE_METHOD="manual")
        order, intent_id = self.with_intent()
        pay(self.stripe, intent_id)
        self.people.payment_system.payment(order)  # not paid, but known to be authorized
        job = _job(services.capture_payment, order, amount_decimal=PART, waive_rest=True)
        balance = {"status": "paid", "amount_outstanding": 0, "amount_waived": 6200}
        done_before = frozenset({"OrderAlreadyPaid"})
        return Scene(order, {"received": [5000]}, balance, job=job, done_before=done_before)

    @operation
    def cancel_and_pay(self) -> Scene:
        """The customer pays, if that is still possible, before anybody recovers."""
        order, intent_id = self.with_intent()
        return Scene(
            order,
            {},
            job=_job(services.cancel_payment, order),
            meanwhile=partial(self.try_to_pay, intent_id),
            done_before=frozenset({"PaymentNotCancelable"}),
        )

    @operation
    def cancel_order(self) -> Scene:
        order, _ = self.with_intent()
        return Scene(order, {"canceled": 1}, job=Job(work=partial(cancel_order, order.pk)))

    # Several payments, changed orders, and what staff enter

    @operation
    def refund_over_two(self) -> Scene:
        """All of the newest payment, and a part of the one before."""
        order, _ = self.paid(parts=2)
        return Scene(
            order,
            {"received": [5600, 5600], "refunded": [2400, 5600]},
            {"status": "partially_refunded", "amount_refunded": 8000},
            {FactKind.ORDER_REFUNDED: 2},
            job=self._refunding(order, "80.00"),
        )

    @operation
    def waive(self) -> Scene:
        """What the customer has open is asked for no more."""
        order, _ = self.with_deposit()
        return Scene(
            order,
            {"received": [5600], "canceled": 1},
            {"status": "paid", "amount_waived": 5600},
            {FactKind.AMOUNT_WAIVED: 1, FactKind.ORDER_PAID: 1},
            job=_job(services.waive_amount, order, request=AGREED),
            follows_up=True,
        )

    @operation
    def excess(self) -> Scene:
        """A customer pays what was open, and is not owed any more; it goes back by itself."""
        order, intent_id = self.raised_after_payment()
        pay(self.stripe, intent_id)
        return Scene(
            order,
            {"received": [5600, 11200], "refunded": [5600]},
            {"status": "paid", "amount_excess": 0, "amount_refunded": 5600},
            {FactKind.PAYMENT_RECEIVED: 2, FactKind.ORDER_PAID: 1},
            job=self._succeeded(intent_id, AUTO_REFUND_EXCESS=True),
        )

    # What runs by itself

    @operation
    def sweep(self) -> Scene:
        """No message of the money ever arrived."""
        order, _ = self.with_money()
        return Scene(order, {"received": [11200]}, job=Job(work=sweep))

    @operation
    def sweep_of_missed_events(self) -> Scene:
        """The same, after a sweep that has compared Stripe's lists."""
        order, intent_id = self.with_intent()
        sweep()
        pay(self.stripe, intent_id)
        return Scene(order, {"received": [11200]}, job=Job(work=sweep))

    @operation
    def sweep_of_the_abandoned(self) -> Scene:
        """Nobody is going to pay the intent."""
        order, _ = self.with_intent()
        return Scene(
            order,
            {"canceled": 1},
            job=Job(work=sweep, settings={"ABANDONED_AFTER_DAYS": 3}),
            later=4 * DAY,
        )

    @operation
    def sweep_of_an_orphan(self) -> Scene:
        """A look-up could not see the intent yet, and the order got another one."""
        self._have_all_paid()  # or the sweep would ask about the orders of earlier scenes, too
        order, _ = self.with_lost_answer()
        StripeAttempt.objects.get(order_payment__order=order).finish("abandoned")
        assert self.people.storefront.payment_intent(order).status_code == 200
        wants = {"open": [11200], "canceled": 1}
        return Scene(order, wants, job=Job(work=sweep))
