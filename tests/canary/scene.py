"""A shop whose secrets are all known, and the flow that runs through it."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import cycle
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from shop_payments.exceptions import ShopPaymentsError
from shop_payments.ledger.facts import Origin
from shop_payments.models import (
    APIKeyScope,
    Order,
    OrderPayment,
    PaymentIntent,
    ReviewItem,
    Source,
    WebhookEvent,
)
from shop_payments.order_tokens import create_order_token
from shop_payments.orders import BundledOrderAdapter
from shop_payments.services.capture_payment import capture_payment
from shop_payments.testing import StripeSandbox
from tests.admin.support import add, change, changelist
from tests.books import AccountingOffice, answer_dispute
from tests.canary.detector import STRIPE_KEY, WEBHOOK_SECRETS, Canary, Witness
from tests.canary.reports import run
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory
from tests.support import Caller, call_stripe, pay, post_webhook, sign

KEY_FORM = {"label": "Mobile app", "scopes": ["storefront"], "expires_at_0": "", "expires_at_1": ""}
CREATE_KEY = ("shop_payments_api_key", "create", "--label", "new", "--scope", "storefront")
RESERVED = "RESERVED-"


class SomeReserved(BundledOrderAdapter):
    """The money of some orders is reserved, and captured later."""

    def capture_method(self, order: Order) -> str:
        return "manual" if order.number.startswith(RESERVED) else super().capture_method(order)


class Scene:
    """A shop whose secrets are all known, and everybody who calls it."""

    def __init__(self, canary: Canary, stripe: StripeSandbox) -> None:
        self.canary, self.stripe = canary, stripe
        self.order: Order = OrderFactory.create()
        token = canary.learn(
            "the customer's token", TokenFactory.create(user=self.order.customer).key
        )
        keys = {scope: issue_key(scope) for scope in APIKeyScope}
        for scope, key in keys.items():
            canary.learn(f"the key of {scope}", key.split("_", 2)[2])
        guest_token = create_order_token(self.order)
        canary.learn("the guest's token", guest_token.rpartition(":")[2])
        witness = Witness(canary)
        self.guest = Caller(key=keys[APIKeyScope.STOREFRONT], client=witness)
        self.guest.headers["X-Order-Token"] = guest_token
        self.storefront = Caller(token=token, key=keys[APIKeyScope.STOREFRONT], client=witness)
        self.payment_system = Caller(key=keys[APIKeyScope.PAYMENTS], client=witness)
        self.office = AccountingOffice(key=keys[APIKeyScope.REFUNDS], client=witness)
        self.staff = Witness(canary)
        self.staff.force_login(User.objects.create_superuser("root"))

    def new_order(self, **values: str) -> None:
        self.order = OrderFactory.create(customer=self.order.customer, **values)

    def ask(self, quantity: int | None = None) -> Any:
        if quantity is not None:
            self.order.lines.update(quantity=quantity)
        return self.storefront.payment_intent(self.order)

    def settle(self) -> Any:
        return self.payment_system.payment(self.order)

    def refund(self, key: str = "a", amount: str = "12.50") -> Any:
        return self.office.refund(self.order, {"amount": amount}, key=key)

    def pay(self, payment_method: str = "pm_card_visa") -> None:
        for intent in list(self.stripe._books.payment_intents.values()):
            is_of_order = intent["metadata"].get("order_id") == str(self.order.pk)
            if is_of_order and intent["status"] != "canceled":
                pay(self.stripe, intent["id"], payment_method)

    def deliver(self, *, since: int = 0) -> list[int]:
        """Send all of Stripe's events, which hold client secrets, signed by each secret in turn."""
        bodies = [json.dumps(event).encode() for event in self.stripe.events[since:]]
        secrets = cycle(WEBHOOK_SECRETS)
        return [self.send(body, secret=next(secrets)).status_code for body in bodies]

    def send(self, body: bytes, secret: str = WEBHOOK_SECRETS[1], **kwargs: str) -> Any:
        return post_webhook(body, sign(body, secret=secret), client=Witness(self.canary), **kwargs)

    def walk_the_api(self) -> None:
        """Get all that can be got, as JSON and as pages."""
        order = f"orders/{self.order.pk}"
        paths = ["", "orders", order, *(f"{order}/{name}" for name in ("payment", "refunds"))]
        for accept in ("application/json", "text/html"):
            for caller in (self.storefront, self.guest, self.payment_system, self.office):
                for path in [*paths, f"{order}/payment-intent"]:
                    caller.get(path, Accept=accept)

    def dispute_and_owe(self) -> None:
        """A payment that is disputed, and one whose order costs more since."""
        for card in ("pm_card_createDispute", "pm_card_visa"):
            self.new_order()
            self.ask()
            self.pay(card)
            self.settle()
        self.order.lines.update(quantity=3)
        self.settle()

    def act_as_staff(self) -> list[int]:
        """Do with each payment what its page offers, and close what is still in review."""
        statuses = []
        for payment in OrderPayment.objects.all():
            for link in self.staff.get(change(payment)).context["action_links"]:
                if not link.copied:  # a page of the shop
                    statuses += self.submit(link.url)
        for item in ReviewItem.objects.filter(closed_at=None):
            url = reverse("admin:shop_payments_reviewitem_close", args=[item.pk])
            statuses += self.submit(url)
        return statuses

    def act_on_many(self) -> list[int]:
        """Capture reserved money from the list of payments, and process events again."""
        self.new_order(number=f"{RESERVED}2")
        self.ask()
        self.pay()
        self.settle()
        statuses = []
        for model, action in ((OrderPayment, "capture_selected"), (WebhookEvent, "replay")):
            rows = [row.pk for row in model._default_manager.order_by("-pk")[:5]]
            sent: dict[str, Any] = {"action": action, "_selected_action": rows}
            page = self.staff.post(changelist(model), sent)
            form = {} if page.context is None else page.context["form"]
            sent |= {bound.html_name: bound.value() for bound in form if bound.name != "sure"}
            statuses += [page.status_code]
            statuses += [self.staff.post(changelist(model), {**sent, "sure": "on"}).status_code]
        return statuses

    def waive_the_rest(self) -> list[int]:
        """Waive what the order owes, on its payment's page."""
        payment = OrderPayment.objects.get(order=self.order)
        return self.submit(reverse("admin:shop_payments_orderpayment_waive", args=[payment.pk]))

    def submit(self, url: str) -> list[int]:
        """Fill in a form and send it; nothing is sent if the page has none any more."""
        page = self.staff.get(url)
        if page.status_code != 200:
            return []
        sent = {"key": page.context.get("key") or ""}
        for bound in page.context["form"]:
            words = "As agreed with the customer." if bound.field.required else ""
            sent[bound.html_name] = str(bound.value() or words)
        if "confirmed" in sent:
            shown = self.staff.post(url, sent)
            sent["confirmed"] = shown.context["form"]["confirmed"].value()
        return [self.staff.post(url, {**sent, "sure": "on"}).status_code]

    def walk_the_admin(self, newest: int) -> set[type]:
        """Look at the pages of each model's newest rows; return the models with rows."""
        shown = set()
        assert self.staff.get("/admin/").status_code == 200
        for model in admin.site._registry:
            if model._meta.app_label != "shop_payments":
                continue
            assert self.staff.get(changelist(model)).status_code == 200
            self.staff.get(add(model))
            for row in model._default_manager.order_by("-pk")[:newest]:
                assert self.staff.get(change(row)).status_code == 200
                shown.add(model)
        return shown


def reachable(url: str) -> dict[str, Any]:
    return {
        "STRIPE_SECRET_KEY": STRIPE_KEY,
        "STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRETS,
        "STRIPE_API_BASE": url,
        "STRIPE_TRANSPORT": None,
        "INTENT_WAIT_SECONDS": 0.05,
        "ABANDONED_AFTER_DAYS": 1,
        "ORDER_ADAPTER": f"{__name__}.SomeReserved",
    }


def reachable_through(transport: Any) -> dict[str, Any]:
    """Stripe at the other end of ``transport``, and not of a socket."""
    return {**reachable("http://127.0.0.1"), "STRIPE_TRANSPORT": transport}


COMMANDS_AFTER_PAID: tuple[tuple[str, ...], ...] = (
    ("shop_payments_fees", "--until", "2099-12-31"),
    ("shop_payments_report",),
    ("shop_payments_reconcile",),
    ("shop_payments_events", "list"),
    ("shop_payments_events", "replay", "--failed"),
)


def run_the_flow(scene: Scene, before_each: Callable[[], object] = lambda: None) -> list[int]:
    """Take an order to paid; each call is made twice, the first time after a trouble."""
    statuses = []
    for step in (scene.ask, scene.ask, lambda: scene.ask(quantity=3), scene.settle):
        before_each()
        statuses += [step().status_code, step().status_code]
    scene.pay("pm_card_chargeDeclined")
    before_each()
    statuses += scene.deliver()
    scene.pay()
    before_each()
    statuses += [scene.settle().status_code, *scene.deliver(), scene.settle().status_code]
    scene.walk_the_api()
    return statuses


def run_what_comes_after(
    scene: Scene, before_each: Callable[[], object] = lambda: None
) -> list[int]:
    """Refunds, a dispute, a capture, a cancellation and the commands; twice, as in the flow."""
    statuses, delivered = [], len(scene.stripe.events)

    def twice(step: Callable[[], Any]) -> None:
        before_each()
        statuses.extend([step().status_code, step().status_code])

    def deliver() -> None:
        nonlocal delivered
        before_each()
        statuses.extend(scene.deliver(since=delivered))
        delivered = len(scene.stripe.events)

    def pay_another(card: str = "pm_card_visa", **values: str) -> None:
        scene.stripe.clear_faults()  # a fault that the call before did not meet
        scene.new_order(**values)
        scene.ask()
        scene.pay(card)
        statuses.append(scene.settle().status_code)

    pay_another()
    twice(scene.refund)
    twice(lambda: scene.refund(key="b", amount="112.00"))
    deliver()
    pay_another("pm_card_refundFail")
    twice(scene.refund)
    scene.stripe.advance_clock(60 * 60)
    deliver()

    pay_another()
    [paid, *_others] = call_stripe(scene.stripe, "GET", "payment_intents")["data"]
    scene.stripe.open_dispute(paid["latest_charge"])
    twice(scene.refund)
    deliver()
    scene.stripe.clear_faults()
    answer_dispute(scene.stripe, "losing_evidence")
    scene.stripe.advance_clock(60 * 60)
    deliver()

    pay_another(number=f"{RESERVED}1")
    for _time in range(2):
        before_each()
        with suppress(ShopPaymentsError):
            capture_payment(order_id=scene.order.pk, origin=Origin(source=Source.ADMIN))

    scene.new_order()
    scene.ask()
    long_ago = timezone.now() - timedelta(days=9)
    PaymentIntent.objects.update(updated_at=long_ago, asked_at=long_ago)
    for arguments in COMMANDS_AFTER_PAID:
        before_each()
        for _time in range(2):
            text = run(scene.canary, *arguments)
            scene.canary.look_at(f"what {arguments} writes", text)
    return statuses
