"""Orders on their way, and what is about to be done with them when a process dies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from shop_payments.models import APIKey, FactKind, Order, PaymentIntent, StripeAttempt
from shop_payments.sandbox import Fault
from shop_payments.testing import StripeSandbox
from tests.factories import OrderFactory
from tests.reliability.crew import Call
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

    is_late: bool = False
    """Whether the money is for nothing, so that it pays no order."""

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

    def order(self) -> Order:
        order: Order = OrderFactory.create(customer=self.customer)
        return order

    def with_intent(self) -> tuple[Order, str]:
        order = self.order()
        answer = self.storefront.payment_intent(order)
        assert answer.status_code == 200, answer.content
        return order, answer.json()["data"]["id"]

    def with_money(self) -> tuple[Order, str]:
        """Paid at Stripe, and nobody has said so here."""
        order, intent_id = self.with_intent()
        pay(self.stripe, intent_id)
        return order, intent_id

    def paid(self) -> tuple[Order, str]:
        order, intent_id = self.with_money()
        assert self.payment_system.payment(order).status_code == 200
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
        job = self.event(intent_id, "payment_intent.succeeded", AUTO_REFUND_LATE_MONEY=True)
        wants = {"received": [11200], "refunded": [11200]}
        return Scene(order=order, job=job, wants=wants, is_late=True)

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
        whole = self.capture()
        return replace(
            whole, job=Job.service("capture_a_part", whole.order), wants={"received": [5000]}
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
    "cancel",
    "cancel_and_pay",
    "cancel_order",
    "sweep",
    "sweep_of_the_abandoned",
    "sweep_of_an_orphan",
)
"""The methods of :class:`Shop` that set a scene."""
