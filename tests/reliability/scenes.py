"""Orders on their way, and what is about to be done with them when a process dies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from shop_payments.ledger.facts import Origin
from shop_payments.models import APIKey, FactKind, Order, PaymentIntent, Source, StripeAttempt
from shop_payments.sandbox import Fault
from shop_payments.services.record_staff_entry import EntryRequest, waive_amount
from shop_payments.testing import StripeSandbox
from tests.factories import OrderFactory
from tests.reliability.crew import Call
from tests.reliability.parts import number_in_parts
from tests.reliability.victims import Job, Victim
from tests.support import Caller, call_stripe, pay, post_webhook, sign

REFUND = 5000
HOUR, DAY = 3600.0, 24 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Ending:
    """An order, and what its books say in the end."""

    order: Order
    wants: dict[str, Any]
    """Of :meth:`Books.summary`, what is there when all is done."""

    balance: Mapping[str, Any] = field(default_factory=dict)
    """What the row of the order's payment says when all is done, as far as it is named here."""

    meanwhile: Callable[[], Any] | None = None
    """What somebody else does before anybody recovers."""

    facts: Mapping[FactKind, int] = field(default_factory=dict)
    """How many of these there are of the order in the end, and never more."""


@dataclass(frozen=True, kw_only=True)
class Scene(Ending):
    """An order, and what is about to be done with it."""

    job: Job
    done_before: frozenset[str] = frozenset()
    """What a repetition raises, or the status that it answers, where there is nothing to do."""

    answer: int = 200
    """The status that it is answered with."""

    follows_up: bool = False
    """Whether something has to be done at Stripe after the commit. If the process dies there, the
    sweep does it: nothing is left for a repetition."""

    later: float = 0.0
    """Seconds from now until it is done."""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """Who does what with the orders."""

    stripe: StripeSandbox
    victim: Victim
    customer: Any
    storefront: Caller
    payment_system: Caller
    office: Caller
    configure: Callable[..., None]

    # Orders on their way

    def order(self, *, parts: int = 1) -> Order:
        order: Order = OrderFactory.create(customer=self.customer)
        order.number = number_in_parts(order.number, parts)
        order.save()
        return order

    def with_intent(self, *, parts: int = 1) -> tuple[Order, str]:
        order = self.order(parts=parts)
        return order, self._ask(order)

    def _ask(self, order: Order) -> str:
        answer = self.storefront.payment_intent(order)
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
        assert self.payment_system.payment(order).status_code == 200
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
            assert self.payment_system.payment(row.order_payment.order_id).status_code == 200

    def with_lost_answer(self) -> tuple[Order, str]:
        """There is an intent at Stripe, and here the attempt to create one."""
        order = self.order()
        self.stripe.inject(Fault("drop_after", method="POST"))
        assert self.storefront.payment_intent(order).status_code == 503
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

    def _body(self, intent_id: str, kind: str) -> bytes:
        (body,) = [each for each in self.events_of(intent_id) if json.loads(each)["type"] == kind]
        return body

    # What is about to be done

    def set(self, operation: str) -> Scene:
        """Set the scene of an operation; what is done there passes the same places each time."""
        scene: Scene = getattr(self, operation)()
        APIKey.objects.update(last_used_at=None)  # written down once a minute: here, each time
        return scene

    def create(self) -> Scene:
        order = self.order()
        job = Job.call(Call.payment_intent(order, self.storefront))
        return Scene(order=order, job=job, wants={"open": [11200]})

    def create_again(self) -> Scene:
        """The first one was cancelled in Stripe's dashboard, and nobody has said so here."""
        order, intent_id = self.with_intent()
        call_stripe(self.stripe, "POST", f"payment_intents/{intent_id}/cancel")
        job = Job.call(Call.payment_intent(order, self.storefront))
        return Scene(order=order, job=job, wants={"open": [11200], "canceled": 1})

    def create_a_day_later(self) -> Scene:
        """The answer was lost, and Stripe has forgotten the key: the intent is looked for."""
        order, _ = self.with_lost_answer()
        self.stripe.forget_idempotency_keys()
        job = Job.call(Call.payment_intent(order, self.storefront))
        return Scene(order=order, job=job, wants={"open": [11200]}, later=25 * HOUR)

    def update(self) -> Scene:
        order, _ = self.with_intent()
        order.lines.update(quantity=3)
        job = Job.call(Call.payment_intent(order, self.storefront))
        return Scene(order=order, job=job, wants={"open": [16800]})

    def update_and_pay(self) -> Scene:
        """The customer pays what they see, the old sum or the new one, before anybody recovers."""
        order, intent_id = self.with_intent()
        order.lines.update(quantity=1)
        return Scene(
            order=order,
            job=Job.call(Call.payment_intent(order, self.storefront)),
            wants={},
            meanwhile=partial(self.try_to_pay, intent_id),
            done_before=frozenset({"409"}),
        )

    def settle(self) -> Scene:
        order, _ = self.with_money()
        job = Job.call(Call.payment(order, self.payment_system))
        return Scene(order=order, job=job, wants={"received": [11200]})

    def webhook(self) -> Scene:
        order, intent_id = self.with_money()
        job = self.event(intent_id, "payment_intent.succeeded")
        return Scene(order=order, job=job, wants={"received": [11200]})

    def early_webhook(self) -> Scene:
        """The event of the creation comes, and not the answer."""
        order, intent_id = self.with_lost_answer()
        job = self.event(intent_id, "payment_intent.created")
        return Scene(order=order, job=job, wants={"open": [11200]})

    def webhook_of_a_decline(self) -> Scene:
        order, intent_id = self.with_intent()
        pay(self.stripe, intent_id, "pm_card_chargeDeclined")
        job = self.event(intent_id, "payment_intent.payment_failed")
        facts = {FactKind.PAYMENT_FAILED: 1}
        return Scene(order=order, job=job, wants={"open": [11200]}, facts=facts)

    def refund(self) -> Scene:
        order, _ = self.paid()
        job = Job.call(Call.refund(order, self.office, "50.00", f"refund-{order.pk}"))
        return Scene(order=order, job=job, wants={"received": [11200], "refunded": [REFUND]})

    def webhook_of_a_refund(self) -> Scene:
        """Somebody gave money back in Stripe's dashboard."""
        order, intent_id = self.paid()
        amount = str(REFUND)
        call_stripe(self.stripe, "POST", "refunds", payment_intent=intent_id, amount=amount)
        job = self.event(intent_id, "refund.created")
        return Scene(order=order, job=job, wants={"received": [11200], "refunded": [REFUND]})

    def refund_a_day_later(self) -> Scene:
        """The answer was lost, and Stripe has forgotten the key: the refund is looked for."""
        order, _ = self.paid()
        self.stripe.inject(Fault("drop_after", method="POST"))
        path, body = f"orders/{order.pk}/refunds", {"amount": "50.00"}
        key = f"refund-{order.pk}"
        assert self.office.post(path, body, **{"Idempotency-Key": key}).status_code == 503
        self.stripe.forget_idempotency_keys()
        job = Job.call(Call.refund(order, self.office, "50.00", key))
        wants = {"received": [11200], "refunded": [REFUND]}
        return Scene(order=order, job=job, wants=wants, later=25 * HOUR)

    def refused_refund(self) -> Scene:
        """All of it has gone back in Stripe's dashboard, and nobody has said so here."""
        order, intent_id = self.paid()
        call_stripe(self.stripe, "POST", "refunds", payment_intent=intent_id)
        job = Job.call(Call.refund(order, self.office, "50.00", f"refund-{order.pk}"))
        wants = {"received": [11200], "refunded": [11200]}
        return Scene(order=order, job=job, wants=wants, answer=409)

    def webhook_of_a_failed_refund(self) -> Scene:
        """Somebody gave money back in Stripe's dashboard, and it has come back."""
        order, intent_id = self.paid()
        params = {"payment_intent": intent_id, "amount": str(REFUND)}
        refund = call_stripe(self.stripe, "POST", "refunds", **params)
        self.stripe.advance_refund(refund["id"], "failed")
        job = self.event(intent_id, "refund.failed")
        wants = {"received": [11200], "refunded": [REFUND]}
        facts = {FactKind.REFUND_FAILED: 1, FactKind.REVIEW_NEEDED: 1}
        return Scene(order=order, job=job, wants=wants, facts=facts)

    def webhook_of_a_dispute(self) -> Scene:
        order, intent_id = self.with_intent()
        pay(self.stripe, intent_id, "pm_card_createDispute")
        assert self.payment_system.payment(order).status_code == 200
        job = self.event(intent_id, "charge.dispute.created")
        return Scene(order=order, job=job, wants={"received": [11200], "disputed": [11200]})

    def webhook_of_a_lost_dispute(self) -> Scene:
        order, intent_id = self.with_intent()
        pay(self.stripe, intent_id, "pm_card_createDispute")
        assert self.payment_system.payment(order).status_code == 200
        opened = self._body(intent_id, "charge.dispute.created")
        assert post_webhook(opened, sign(opened)).status_code == 200
        dispute_id = json.loads(opened)["data"]["object"]["id"]
        call_stripe(self.stripe, "POST", f"disputes/{dispute_id}/close")
        job = self.event(intent_id, "charge.dispute.closed")
        wants = {"received": [11200], "disputed": [11200]}
        facts = {FactKind.DISPUTE_OPENED: 1, FactKind.DISPUTE_CLOSED: 1, FactKind.REVIEW_NEEDED: 1}
        return Scene(order=order, job=job, wants=wants, facts=facts)

    def late_money(self) -> Scene:
        """Money comes for an order that was cancelled, and goes back by itself."""
        order, intent_id = self.with_money()
        Order.objects.filter(pk=order.pk).update(status=Order.Status.CANCELLED)
        job = self.event(intent_id, "payment_intent.succeeded", AUTO_REFUND_EXCESS=True)
        wants = {"received": [11200], "refunded": [11200]}
        return Scene(
            order=order,
            job=job,
            wants=wants,
            balance={"status": "unpaid", "amount_received": 0, "amount_uncounted": 0},
        )

    def capture(self) -> Scene:
        self.configure(STRIPE_TRANSPORT=self.stripe.handle, CAPTURE_METHOD="manual")
        order, intent_id = self.with_intent()
        pay(self.stripe, intent_id)
        self.payment_system.payment(order)  # not paid; it is seen to be authorized
        return Scene(
            order=order,
            job=Job.service("capture", order),
            wants={"received": [11200]},
            done_before=frozenset({"OrderAlreadyPaid"}),
        )

    def capture_in_part(self) -> Scene:
        """The rest is still owed."""
        whole = self.capture()
        return replace(
            whole,
            job=Job.service("capture_a_part", whole.order),
            wants={"received": [5000]},
            balance={"status": "partially_paid", "amount_outstanding": 6200},
            done_before=frozenset({"PaymentNotCapturable"}),
        )

    def capture_and_waive(self) -> Scene:
        """The rest is not wanted any more."""
        whole = self.capture()
        return replace(
            whole,
            job=Job.service("capture_and_waive", whole.order),
            wants={"received": [5000]},
            balance={"status": "paid", "amount_outstanding": 0, "amount_waived": 6200},
        )

    def cancel(self) -> Scene:
        order, _ = self.with_intent()
        return Scene(order=order, job=Job.service("cancel", order), wants={"canceled": 1})

    def cancel_and_pay(self) -> Scene:
        """The customer pays, if that is still possible, before anybody recovers."""
        order, intent_id = self.with_intent()
        return Scene(
            order=order,
            job=Job.service("cancel", order),
            wants={},
            meanwhile=partial(self.try_to_pay, intent_id),
            done_before=frozenset({"PaymentNotCancelable"}),
        )

    def cancel_order(self) -> Scene:
        order, _ = self.with_intent()
        return Scene(order=order, job=Job.service("cancel_order", order), wants={"canceled": 1})

    # Several payments, changed orders, and what staff enter

    def ask_for_the_rest(self) -> Scene:
        """The first part is paid at Stripe, and nobody has said so here."""
        order, _ = self.with_money(parts=2)
        job = Job.call(Call.payment_intent(order, self.storefront))
        return Scene(
            order=order,
            job=job,
            wants={"received": [5600], "open": [5600]},
            balance={"status": "partially_paid", "amount_outstanding": 5600},
        )

    def webhook_of_the_rest(self) -> Scene:
        order, intent_id = self.with_deposit()
        pay(self.stripe, intent_id)
        job = self.event(intent_id, "payment_intent.succeeded")
        return Scene(
            order=order,
            job=job,
            wants={"received": [5600, 5600]},
            balance={"status": "paid", "amount_outstanding": 0},
            facts={FactKind.PAYMENT_RECEIVED: 2, FactKind.ORDER_PAID: 1},
        )

    def webhook_of_the_last_of_four(self) -> Scene:
        order, intent_id = self.with_money(parts=4)
        for _part in range(3):
            intent_id = self._ask(order)
            pay(self.stripe, intent_id)
        job = self.event(intent_id, "payment_intent.succeeded")
        return Scene(
            order=order,
            job=job,
            wants={"received": [2800] * 4},
            balance={"status": "paid", "amount_outstanding": 0},
            facts={FactKind.PAYMENT_RECEIVED: 4, FactKind.ORDER_PAID: 1},
        )

    def refund_over_two(self) -> Scene:
        """All of the newest payment, and a part of the one before."""
        order, _ = self.paid(parts=2)
        job = Job.call(Call.refund(order, self.office, "80.00", f"refund-{order.pk}"))
        return Scene(
            order=order,
            job=job,
            wants={"received": [5600, 5600], "refunded": [2400, 5600]},
            balance={"status": "partially_refunded", "amount_refunded": 8000},
            facts={FactKind.ORDER_REFUNDED: 2},
        )

    def waive(self) -> Scene:
        """What the customer has open is asked for no more."""
        order, _ = self.with_deposit()
        return Scene(
            order=order,
            job=Job.service("waive", order),
            wants={"received": [5600], "canceled": 1},
            balance={"status": "paid", "amount_waived": 5600},
            facts={FactKind.AMOUNT_WAIVED: 1, FactKind.ORDER_PAID: 1},
            follows_up=True,
        )

    def revoke(self) -> Scene:
        order, _ = self.with_deposit()
        request = EntryRequest(reason="an old customer", key="waived")
        waive_amount(order_id=order.pk, request=request, origin=Origin(source=Source.ADMIN))
        return Scene(
            order=order,
            job=Job.service("revoke", order),
            wants={"received": [5600], "canceled": 1},
            balance={"status": "partially_paid", "amount_outstanding": 5600, "amount_waived": 0},
            facts={FactKind.STAFF_ENTRY_REVOKED: 1},
        )

    def settle_outside(self) -> Scene:
        """The order costs less by now, and the customer got the difference in cash."""
        order, _ = self.paid()
        order.lines.update(quantity=1)
        return Scene(
            order=order,
            job=Job.service("settle_outside", order),
            wants={"received": [11200]},
            balance={"status": "paid", "amount_excess": 0, "amount_owed": 0},
            facts={FactKind.SETTLED_OUTSIDE_STRIPE: 1},
        )

    def raise_and_lower(self) -> Scene:
        """What the customer has open asks for something that is not owed any more."""
        order, _ = self.raised_after_payment()
        return Scene(
            order=order,
            job=Job.service("reevaluate", order),
            wants={"received": [11200], "canceled": 1, "open": []},
            balance={"status": "paid", "amount_outstanding": 0},
            follows_up=True,
        )

    def lower(self) -> Scene:
        """What the customer has open asks for more than is owed."""
        order, _ = self.with_intent()
        order.lines.update(quantity=1)
        return Scene(
            order=order,
            job=Job.service("reevaluate", order),
            wants={"open": [5600]},
            balance={"status": "unpaid", "amount_outstanding": 5600},
            follows_up=True,
        )

    def excess(self) -> Scene:
        """A customer pays what was open, and is not owed any more; it goes back by itself."""
        order, intent_id = self.raised_after_payment()
        pay(self.stripe, intent_id)
        job = self.event(intent_id, "payment_intent.succeeded", AUTO_REFUND_EXCESS=True)
        return Scene(
            order=order,
            job=job,
            wants={"received": [5600, 11200], "refunded": [5600]},
            balance={"status": "paid", "amount_excess": 0, "amount_refunded": 5600},
            facts={FactKind.PAYMENT_RECEIVED: 2, FactKind.ORDER_PAID: 1},
        )

    # What runs by itself

    def sweep(self) -> Scene:
        """No message of the money ever arrived."""
        order, _ = self.with_money()
        return Scene(order=order, job=Job.service("sweep", order), wants={"received": [11200]})

    def sweep_of_the_abandoned(self) -> Scene:
        """Nobody is going to pay the intent."""
        order, _ = self.with_intent()
        job = Job.service("sweep", order, ABANDONED_AFTER_DAYS=3)
        return Scene(order=order, job=job, wants={"canceled": 1}, later=4 * DAY)

    def sweep_of_an_orphan(self) -> Scene:
        """A look-up could not see the intent yet, and the order got another one."""
        self._have_all_paid()  # or the sweep would ask about the orders of earlier scenes, too
        order, _ = self.with_lost_answer()
        StripeAttempt.objects.get(order_payment__order=order).finish("abandoned")
        assert self.storefront.payment_intent(order).status_code == 200
        wants = {"open": [11200], "canceled": 1}
        return Scene(order=order, job=Job.service("sweep", order), wants=wants)


OPERATIONS = (
    "create",
    "create_again",
    "create_a_day_later",
    "update",
    "update_and_pay",
    "settle",
    "webhook",
    "early_webhook",
    "webhook_of_a_decline",
    "refund",
    "refund_a_day_later",
    "refused_refund",
    "webhook_of_a_refund",
    "webhook_of_a_failed_refund",
    "webhook_of_a_dispute",
    "webhook_of_a_lost_dispute",
    "late_money",
    "capture",
    "capture_in_part",
    "capture_and_waive",
    "cancel",
    "cancel_and_pay",
    "cancel_order",
    "ask_for_the_rest",
    "webhook_of_the_rest",
    "webhook_of_the_last_of_four",
    "refund_over_two",
    "waive",
    "revoke",
    "settle_outside",
    "raise_and_lower",
    "lower",
    "excess",
    "sweep",
    "sweep_of_the_abandoned",
    "sweep_of_an_orphan",
)
"""The methods of :class:`Shop` that set a scene."""
