"""Every caller at every route: the table of ``authorization.py``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from shop_payments.api.urls import urlpatterns
from shop_payments.ledger.facts import Origin
from shop_payments.models import APIKey, APIKeyScope, Order, OrderPayment, PaymentIntent, Source
from shop_payments.order_tokens import Purpose, create_order_token, sign_order
from shop_payments.sandbox import Sandbox
from shop_payments.services.create_payment_intent import create_payment_intent
from shop_payments.services.settle_payment import settle_payment
from tests.api.authorization import NOT_FOUND, ROUTES, ROWS, Caller, Route, Row
from tests.api.conftest import SESSIONS, TOKENS
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory, UserFactory
from tests.support import BASE, answer, event_body, pay, sign

MISSING_ORDER = 987654
CSRF_TOKEN = "c" * 32
ORIGIN = Origin(source=Source.API)
ALL = MAY_VIEW, MAY_CHANGE, MAY_REFUND = "view_orderpayment", "change_orderpayment", "add_refund"
PERMISSIONS = {
    **{"VIEW": [MAY_VIEW], "CHANGE": [MAY_CHANGE], "BOTH": [MAY_VIEW, MAY_CHANGE]},
    **{"REFUND": ALL, "PERMITTED": ALL, "ONLY": [MAY_REFUND], "SEE": [MAY_VIEW, MAY_REFUND]},
}
ORDER_TOKENS = {"ORDER", "ANOTHER_ORDER", "EXPIRED_ORDER", "WRONG_ORDER"}


def test_every_route_and_every_method_is_in_the_table():
    taken = {
        (pattern.name, method.upper())
        for pattern in urlpatterns
        for method in getattr(pattern.callback, "actions", {"every method": ""})
        if method != "head"  # with every GET
    }
    assert {(route.name, route.method) for route in ROUTES} == taken


@dataclass
class Scene:
    """An order with an open payment intent, its customer, and other callers."""

    stripe: Sandbox
    order: Order = field(default_factory=OrderFactory.create)
    client_secret: str = ""
    is_paid: bool = False

    def __post_init__(self) -> None:
        user = self.order.customer
        view = create_payment_intent(order_id=self.order.pk, user=user, origin=ORIGIN)
        self.client_secret = view.intent.client_secret.reveal()

    def client_of(self, caller: Caller) -> Client:
        client = Client(enforce_csrf_checks=True)
        if caller.session != "-":
            user: Any = self.order.customer
            if caller.session != "CUSTOMER":
                permissions = PERMISSIONS.get(caller.session, [])
                user = user_with(*permissions, is_staff=caller.session != "PERMITTED")
            client.force_login(user)
        if caller.session == "INACTIVE":
            User.objects.filter(is_staff=True).update(is_active=False)
        if "ORDER" in caller.token:
            client.defaults["HTTP_X_ORDER_TOKEN"] = self._order_token(caller.token)
        if caller.token not in {"-", *ORDER_TOKENS}:
            client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {self._token(caller.token)}"
        if caller.key != "-":
            client.defaults["HTTP_X_API_KEY"] = self._key(caller.key)
        if caller.csrf:
            client.cookies[django_settings.CSRF_COOKIE_NAME] = CSRF_TOKEN
            client.defaults["HTTP_X_CSRFTOKEN"] = CSRF_TOKEN
        return client

    def _token(self, kind: str) -> str:
        if kind == "WRONG":
            return "wrong"
        user: Any = UserFactory.create() if kind == "ANOTHER" else self.order.customer
        if kind == "INACTIVE":
            User.objects.filter(pk=user.pk).update(is_active=False)
        return str(TokenFactory.create(user=user).key)

    def _order_token(self, kind: str) -> str:
        if kind == "WRONG_ORDER":
            return sign_order(self.order.pk, timedelta(days=1), purpose=Purpose.CHECKOUT)
        order = OrderFactory.create() if kind == "ANOTHER_ORDER" else self.order
        days = -1 if kind == "EXPIRED_ORDER" else 1
        return create_order_token(order, expires_in=timedelta(days=days))

    def _key(self, kind: str) -> str:
        if kind == "UNKNOWN":
            return f"spk_00000000_{'x' * 43}"
        if kind in APIKeyScope.__members__:
            return issue_key(APIKeyScope[kind])
        secret = issue_key(*APIKeyScope)
        if kind == "EXPIRED":
            APIKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        if kind == "REVOKED":
            APIKey.objects.get().revoke()
        return secret

    def prepare(self, route: Route) -> None:
        """Pay the order if the route needs that."""
        if route.name in {"payment", "refunds"} and not self.is_paid:
            pay(self.stripe, PaymentIntent.objects.get().stripe_id)
            self.is_paid = True
        if route.name == "refunds":
            settle_payment(order_id=self.order.pk, origin=ORIGIN)

    def request(self, client: Client, route: Route, **changes: Any) -> Any:
        path = route.path.format(id=changes.get("order_id", self.order.pk))
        body, headers = b"", {"X-Request-ID": "one"}  # without it, each answer has a new one
        if route.signed:
            body = event_body({"object": "charge", "id": "ch_1"}, type="charge.succeeded")
            headers["Stripe-Signature"] = sign(body)
        if route.name == "refunds":
            headers["Idempotency-Key"] = "one"  # likewise
        return client.generic(
            route.method, f"{BASE}/{path}", body, content_type="application/json", headers=headers
        )


def user_with(*codenames: str, is_staff: bool = True) -> User:
    user: User = UserFactory.create(is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


@pytest.fixture
def scene(db: None, stripe: Sandbox) -> Scene:
    return Scene(stripe)


CASES = [
    *((row, False) for row in ROWS),
    # Without a session, a host that takes sessions answers like any other.
    *((row, True) for row in ROWS if row.caller.session != "-"),
]


@pytest.mark.parametrize(
    ("row", "sessions"), CASES, ids=[f"{row.caller}{', sessions' * s}" for row, s in CASES]
)
def test_every_caller_at_every_route(scene, authenticate_by, row: Row, sessions: bool):
    authenticate_by(*[SESSIONS] * sessions, TOKENS)
    client = scene.client_of(row.caller)
    for route in ROUTES:
        expected = row.answer(route, host_takes_sessions=sessions)
        scene.prepare(route)
        requests_before = len(scene.stripe.requests)
        response = scene.request(client, route)
        content = response.content.decode()
        is_ok = expected.status == 200
        assert answer(response) == (expected.status, expected.code or None), route
        shows_secret = is_ok and route.name in {"payment-intent", "payment"}
        assert (scene.client_secret in content) is shows_secret
        if route.name in {"orders", "order"}:
            assert (scene.order.number in content) is (is_ok and expected.names_order)
        if expected.status == 401:
            assert response["WWW-Authenticate"]
        if not is_ok:
            assert len(scene.stripe.requests) == requests_before, "Stripe was called"
        if not is_ok and "{id}" in route.path:
            missing = scene.request(client, route, order_id=MISSING_ORDER)
            assert missing.content == response.content, "the answer reveals that the order exists"
            assert missing.headers == response.headers


def test_a_missing_order_and_a_foreign_one_cost_the_same_and_give_the_same_page(
    scene, authenticate_by
):
    """Found: the payment of a foreign order was locked and read before it was refused."""
    authenticate_by(TOKENS)
    caller = Caller("-", "ANOTHER", "STOREFRONT")
    client = scene.client_of(caller)
    client.defaults["HTTP_ACCEPT"] = "text/html"
    (row,) = (row for row in ROWS if row.caller == caller)
    for route in ROUTES:
        if row.answer(route, host_takes_sessions=False) != NOT_FOUND:
            continue
        scene.request(client, route)  # writes when the key was last used
        pages, statements = [], []
        for order_id in (scene.order.pk, MISSING_ORDER):
            with CaptureQueriesContext(connection) as queries:
                response = scene.request(client, route, order_id=order_id)
            text = response.content.decode().replace(f"orders/{order_id}", "orders/")
            pages.append(re.sub(r"\b\w{64}\b", "a CSRF token", text))
            statements.append([re.sub(r"\d+", "…", query["sql"]) for query in queries])
        assert response.status_code == 404
        assert pages[0] == pages[1]
        assert statements[0] == statements[1]
        assert OrderPayment._meta.db_table not in " ".join(statements[0])
