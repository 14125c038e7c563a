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
from django.urls import reverse
from django.utils import timezone

from shop_payments.api.urls import urlpatterns
from shop_payments.ledger.facts import Origin
from shop_payments.models import APIKey, APIKeyScope, Order, OrderPayment, PaymentIntent, Source
from shop_payments.sandbox import Sandbox
from shop_payments.services.create_payment_intent import create_payment_intent
from shop_payments.services.settle_payment import settle_payment
from tests.api.authorization import NOT_FOUND, ROUTES, ROWS, Caller, Key, Route, Row, Session, Token
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory, UserFactory
from tests.support import BASE, event_body, pay, sign

MISSING_ORDER = 987654
CSRF_TOKEN = "c" * 32


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
        view = create_payment_intent(
            order_id=self.order.pk, user=self.order.customer, origin=Origin(source=Source.API)
        )
        self.client_secret = view.intent.client_secret.reveal()

    def client_of(self, caller: Caller) -> Client:
        client = Client(enforce_csrf_checks=True)
        if caller.session is not Session.NONE:
            client.force_login(self._user(caller.session))
        if caller.session is Session.STAFF_INACTIVE:
            User.objects.filter(is_staff=True).update(is_active=False)
        if caller.token is not Token.NONE:
            client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {self._token(caller.token)}"
        if caller.key is not Key.NONE:
            client.defaults["HTTP_X_API_KEY"] = self._key(caller.key)
        if caller.csrf:
            client.cookies[django_settings.CSRF_COOKIE_NAME] = CSRF_TOKEN
            client.defaults["HTTP_X_CSRFTOKEN"] = CSRF_TOKEN
        return client

    def _token(self, kind: Token) -> str:
        if kind is Token.WRONG:
            return "wrong"
        user: Any = UserFactory.create() if kind is Token.ANOTHER else self.order.customer
        if kind is Token.INACTIVE:
            User.objects.filter(pk=user.pk).update(is_active=False)
        return str(TokenFactory.create(user=user).key)

    def _key(self, kind: Key) -> str:
        if kind is Key.UNKNOWN:
            return f"spk_00000000_{'x' * 43}"
        if kind.name in APIKeyScope.__members__:
            return issue_key(APIKeyScope[kind.name])
        secret = issue_key(*APIKeyScope)
        if kind is Key.EXPIRED:
            APIKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
        if kind is Key.REVOKED:
            APIKey.objects.get().revoke()
        return secret

    def _user(self, kind: Session) -> User:
        if kind is Session.CUSTOMER:
            assert self.order.customer is not None
            return User.objects.get(pk=self.order.customer.pk)
        view, change, refund = "view_orderpayment", "change_orderpayment", "add_refund"
        codenames = {
            Session.STAFF_VIEW: [view],
            Session.STAFF_CHANGE: [change],
            Session.STAFF_BOTH: [view, change],
            Session.STAFF_REFUND: [view, change, refund],
            Session.STAFF_REFUND_ONLY: [refund],
            Session.PERMITTED: [view, change, refund],
        }.get(kind, [])
        return user_with(*codenames, is_staff=kind is not Session.PERMITTED)

    def prepare(self, route: Route) -> None:
        """Pay the order where the route needs that."""
        if route.name in {"payment", "refunds"} and not self.is_paid:
            pay(self.stripe, PaymentIntent.objects.get().stripe_id)
            self.is_paid = True
        if route.name == "refunds":
            settle_payment(order_id=self.order.pk, origin=Origin(source=Source.API))

    def request(self, client: Client, route: Route, **changes: Any) -> Any:
        path = route.path.format(id=changes.get("order_id", self.order.pk))
        body, headers = b"", {}
        if route.signed:
            body = event_body({"object": "charge", "id": "ch_1"}, type="charge.succeeded")
            headers["Stripe-Signature"] = sign(body)
        if route.name == "refunds":
            headers["Idempotency-Key"] = "one"  # without it each answer has a new one
        return client.generic(
            changes.get("method", route.method),
            f"{BASE}/{path}",
            body,
            content_type="application/json",
            headers=headers,
        )


def user_with(*codenames: str, is_staff: bool = True) -> User:
    user: User = UserFactory.create(is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    return user


@pytest.fixture
def scene(db: None, stripe: Sandbox) -> Scene:
    return Scene(stripe)


def outcome(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("code", "") if response.content else ""


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.caller))
def test_every_caller_at_every_route(scene, host_takes_sessions, row: Row):
    client = scene.client_of(row.caller)
    for route in ROUTES:
        expected = row.answer(route, host_takes_sessions=host_takes_sessions)
        scene.prepare(route)
        asked_before = len(scene.stripe.requests)

        response = scene.request(client, route)

        content = response.content.decode()
        assert outcome(response) == (expected.status, expected.code), route
        assert (scene.client_secret in content) is (
            expected.status == 200 and route.name in {"payment-intent", "payment"}
        )
        if route.name in {"orders", "order"}:
            assert (scene.order.number in content) is (
                expected.status == 200 and expected.names_order
            )
        if expected.status == 401:
            assert response["WWW-Authenticate"]
        if expected.status != 200:
            assert len(scene.stripe.requests) == asked_before, "Stripe was called for a stranger"
        if expected.status != 200 and "{id}" in route.path:
            missing = scene.request(client, route, order_id=MISSING_ORDER)
            assert missing.content == response.content, "the answer reveals that there is an order"
            assert missing.headers == response.headers


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.answer(ROUTES[2], host_takes_sessions=True) == NOT_FOUND],
    ids=lambda row: str(row.caller),
)
def test_a_missing_order_costs_the_same_and_is_the_same_page(scene, host_takes_sessions, row: Row):
    """Found: the payment of a foreign order was locked and read before it was refused."""
    client = scene.client_of(row.caller)
    client.defaults["HTTP_ACCEPT"] = "text/html"
    routes = [
        route
        for route in ROUTES
        if row.answer(route, host_takes_sessions=host_takes_sessions) == NOT_FOUND
    ]
    for route in routes:
        scene.request(client, route)  # notes when the key was used last
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


@pytest.mark.parametrize(
    ("caller", "refused"),
    [
        (Caller(), False),
        (Caller(token=Token.OWNER, key=Key.ALL), False),
        (Caller(session=Session.STAFF_REFUND), False),
        (Caller(session=Session.STAFF_REFUND, csrf=False), True),
    ],
    ids=str,
)
def test_the_methods_that_a_route_does_not_take(scene, caller, refused):
    client = scene.client_of(caller)
    before = len(scene.stripe.requests)
    for route in ROUTES:
        taken = {each.method for each in ROUTES if each.name == route.name}
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - taken:
            response = scene.request(client, route, method=method)
            if response.status_code != 405:  # who calls is checked first
                assert caller == Caller() or (refused and method != "GET"), (method, route)
                assert response.status_code in {401, 403}
    assert len(scene.stripe.requests) == before


@pytest.mark.parametrize(
    ("permissions", "may_refund"),
    [
        (("add_refund",), False),
        (("view_orderpayment", "change_orderpayment", "view_refund"), False),
        (("view_orderpayment", "add_refund"), True),
        (("change_orderpayment", "add_refund"), True),
    ],
)
def test_staff_refund_by_api_what_they_may_refund_in_the_admin(scene, permissions, may_refund):
    scene.prepare(ROUTES[-3])
    client = Client()
    client.force_login(user_with(*permissions))
    intent = PaymentIntent.objects.get()
    page = reverse(
        "admin:shop_payments_orderpayment_refund", args=[intent.order_payment_id, intent.pk]
    )

    in_admin = client.get(page).status_code
    by_api = client.post(
        f"{BASE}/orders/{scene.order.pk}/refunds", b"{}", content_type="application/json"
    ).status_code

    assert (in_admin, by_api) == ((200, 200) if may_refund else (403, 401))
