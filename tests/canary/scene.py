"""A shop whose secrets are all known, and the flow that runs through it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.contrib.auth.models import User
from django.db import OperationalError
from django.urls import reverse

from shop_payments.models import APIKeyScope, Order, OrderPayment, ReviewItem
from shop_payments.sandbox import Sandbox
from tests.admin.support import add, change, changelist
from tests.canary.detector import STRIPE_KEY, WEBHOOK_SECRETS, Canary, Witness
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory
from tests.support import Caller, pay, post_webhook, sign

KEY_FORM = {"label": "Mobile app", "scopes": ["storefront"], "expires_at_0": "", "expires_at_1": ""}


class Scene:
    """A shop whose secrets are all known, and everybody who calls it."""

    def __init__(self, canary: Canary, stripe: Sandbox) -> None:
        self.canary, self.stripe = canary, stripe
        self.order: Order = OrderFactory.create()
        token = TokenFactory.create(user=self.order.customer).key
        storefront_key = issue_key(APIKeyScope.STOREFRONT)
        payments_key = issue_key(APIKeyScope.PAYMENTS)
        canary.learn("the customer's token", token)
        canary.learn("the storefront's key", storefront_key.split("_", 2)[2])
        canary.learn("the payment system's key", payments_key.split("_", 2)[2])
        self.storefront = Caller(token=token, key=storefront_key, client=Witness(canary))
        self.payment_system = Caller(key=payments_key, client=Witness(canary))
        self.staff = Witness(canary)
        self.staff.force_login(User.objects.create_superuser("root"))

    def new_order(self) -> None:
        self.order = OrderFactory.create(customer=self.order.customer)

    def ask(self, quantity: int | None = None) -> Any:
        if quantity is not None:
            self.order.lines.update(quantity=quantity)
        return self.storefront.payment_intent(self.order)

    def settle(self) -> Any:
        return self.payment_system.payment(self.order)

    def pay(self, payment_method: str = "pm_card_visa") -> None:
        for intent in list(self.stripe._books.payment_intents.values()):
            if intent["metadata"].get("order_id") == str(self.order.pk):
                pay(self.stripe, intent["id"], payment_method)

    def deliver(self) -> list[int]:
        """Send all of Stripe's events, which hold client secrets, signed by each secret in turn."""
        bodies = [json.dumps(event).encode() for event in self.stripe.events]
        return [
            self.send(body, secret=WEBHOOK_SECRETS[number % 2]).status_code
            for number, body in enumerate(bodies)
        ]

    def send(self, body: bytes, secret: str = WEBHOOK_SECRETS[1], **kwargs: str) -> Any:
        return post_webhook(body, sign(body, secret=secret), client=Witness(self.canary), **kwargs)

    def walk_the_api(self) -> None:
        """Get all that can be got, as JSON and as pages."""
        for accept in ("application/json", "text/html"):
            for caller in (self.storefront, self.payment_system):
                for path in ("", "orders", f"orders/{self.order.pk}"):
                    caller.get(path, Accept=accept)
                for path in ("payment-intent", "payment"):
                    caller.get(f"orders/{self.order.pk}/{path}", Accept=accept)

    def act_as_staff(self) -> list[int]:
        """Do with each payment what its page offers, and decide what is to be decided."""
        statuses = []
        for payment in OrderPayment.objects.all():
            for link in self.staff.get(change(payment)).context["action_links"]:
                page = self.staff.get(link.url)
                if page.status_code == 200:
                    form = {bound.html_name: bound.value() or "" for bound in page.context["form"]}
                    sent = {**form, "sure": "on", "key": page.context["key"]}
                    statuses.append(self.staff.post(link.url, sent).status_code)
        for item in ReviewItem.objects.filter(resolved_at=None):
            url = reverse("admin:shop_payments_reviewitem_decide", args=[item.pk])
            self.staff.get(url)
            statuses.append(self.staff.post(url, {"resolution": "Decided."}).status_code)
        return statuses

    def walk_the_admin(self) -> set[type]:
        """Look at every page of every model that the admin has; return the models that had rows."""
        staff = self.staff
        shown = set()
        assert staff.get("/admin/").status_code == 200
        for model in admin.site._registry:
            if model._meta.app_label != "shop_payments":
                continue
            assert staff.get(changelist(model)).status_code == 200
            staff.get(add(model))
            for row in model._default_manager.all():
                assert staff.get(change(row)).status_code == 200
                shown.add(model)
        return shown


def reachable(url: str) -> dict[str, Any]:
    return {
        "STRIPE_SECRET_KEY": STRIPE_KEY,
        "STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRETS,
        "STRIPE_API_BASE": url,
        "STRIPE_TRANSPORT": None,
        "INTENT_WAIT_SECONDS": 0.05,
    }


class DatabaseGone:
    """The database goes away at the n-th statement."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.happened = False

    def __call__(self, execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        if sql.startswith("ROLLBACK"):
            return execute(sql, params, many, context)
        self._left -= 1
        if self._left != 0:
            return execute(sql, params, many, context)
        self.happened = True
        raise OperationalError("the database is gone")


def run_the_flow(scene: Scene, before_each: Callable[[], object] = lambda: None) -> list[int]:
    """All calls to Stripe that there are; each is made twice, the first time after a trouble.

    What is in no row and in no answer here is on no page of the admin either.
    """
    steps: list[Callable[[], Any]] = [
        scene.ask,
        scene.ask,
        lambda: scene.ask(quantity=3),
        scene.settle,
    ]
    statuses = []
    for step in steps:
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
