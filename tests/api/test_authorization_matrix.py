"""Every caller at every route: the table of ``authorization.py``, cell by cell.

``conftest.py`` runs each cell under both kinds of host authentication.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from shop_payments.api.errors import ERROR_TABLE
from shop_payments.api.urls import urlpatterns
from shop_payments.ledger.facts import Origin
from shop_payments.models import APIKey, APIKeyScope, Order, PaymentIntent, Source
from shop_payments.sandbox import Sandbox
from shop_payments.services.create_payment_intent import create_payment_intent
from shop_payments.services.settle_payment import settle_payment
from tests.api.authorization import (
    CELLS,
    METHODS,
    NO_CSRF,
    NOT_FOUND,
    ROUTES,
    ROWS,
    ByHost,
    Caller,
    Key,
    Route,
    Row,
    Session,
    Token,
)
from tests.api.conftest import SESSIONS
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory, UserFactory
from tests.support import BASE, event_body, pay, sign

MISSING_ORDER = 987654
CSRF_TOKEN = "c" * 32


# --- the table is complete ----------------------------------------------------------------------


def test_every_route_and_every_method_is_in_the_table():
    taken = {
        (pattern.name, method.upper())
        for pattern in urlpatterns
        for method in getattr(pattern.callback, "actions", {"every method": ""})
        if method != "head"  # with every GET
    }

    assert {(route.name, route.method) for route in ROUTES} == taken


def test_every_token_meets_every_key():
    kinds = {(row.caller.token, row.caller.key) for row in ROWS if not has_session(row.caller)}

    assert kinds >= set(product(set(Token) - {Token.INACTIVE}, Key))


def test_every_session_is_in_the_table():
    assert {row.caller.session for row in ROWS} == set(Session)


def test_nobody_is_in_the_table_twice():
    assert [who for who, count in Counter(row.caller for row in ROWS).items() if count > 1] == []


def test_every_answer_is_one_of_the_error_table():
    known = {(row.status, row.code) for row in ERROR_TABLE} | {(200, "")}
    answers = {expected for row in ROWS for expected in row.answers.values()}
    plain = {each for each in answers if not isinstance(each, ByHost)}
    plain |= {
        part
        for each in answers
        if isinstance(each, ByHost)
        for part in (each.tokens, each.sessions)
    }

    assert {(each.status, each.code) for each in plain} <= known


# --- the scene ----------------------------------------------------------------------------------


def has_session(caller: Caller) -> bool:
    return caller.session is not Session.NONE


@dataclass
class Scene:
    """An order, its customer, and whoever else comes by."""

    stripe: Sandbox
    order: Order = field(default_factory=OrderFactory.create)

    def client_of(self, caller: Caller) -> Client:
        headers = {
            "Authorization": f"Bearer {self._token(caller.token)}",
            "X-API-Key": self._key(caller.key),
        }
        if caller.token is Token.NONE:
            del headers["Authorization"]
        if caller.key is Key.NONE:
            del headers["X-API-Key"]
        client = Client(enforce_csrf_checks=True)
        if has_session(caller):
            client.force_login(self._user(caller.session))
        if caller.session is Session.STAFF_INACTIVE:
            User.objects.filter(is_staff=True).update(is_active=False)
        if caller.csrf:
            client.cookies[django_settings.CSRF_COOKIE_NAME] = CSRF_TOKEN
            headers["X-CSRFToken"] = CSRF_TOKEN
        client.defaults.update(
            {f"HTTP_{name.upper().replace('-', '_')}": each for name, each in headers.items()}
        )
        return client

    def _token(self, kind: Token) -> str:
        if kind in {Token.NONE, Token.WRONG}:
            return "wrong"
        user: Any = UserFactory.create() if kind is Token.ANOTHER else self.order.customer
        if kind is Token.INACTIVE:
            User.objects.filter(pk=user.pk).update(is_active=False)
        return str(TokenFactory.create(user=user).key)

    def _key(self, kind: Key) -> str:
        match kind:
            case Key.NONE | Key.UNKNOWN:
                return f"spk_00000000_{'x' * 43}"
            case Key.STOREFRONT:
                return issue_key(APIKeyScope.STOREFRONT)
            case Key.PAYMENTS:
                return issue_key(APIKeyScope.PAYMENTS)
            case Key.REFUNDS:
                return issue_key(APIKeyScope.REFUNDS)
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
        everything = ["view_orderpayment", "change_orderpayment", "add_refund"]
        codenames = {
            Session.STAFF_VIEW: ["view_orderpayment"],
            Session.STAFF_CHANGE: ["change_orderpayment"],
            Session.STAFF_BOTH: ["view_orderpayment", "change_orderpayment"],
            Session.STAFF_REFUND: everything,
            Session.STAFF_REFUND_ONLY: ["add_refund"],
            Session.PERMITTED: everything,
        }.get(kind, [])
        user: User = UserFactory.create(is_staff=kind is not Session.PERMITTED)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        return user

    def pay(self) -> None:
        """Pay the order at Stripe; the shop does not know it yet."""
        view = create_payment_intent(
            order_id=self.order.pk,
            user=self.order.customer,
            origin=Origin(source=Source.API),
        )
        pay(self.stripe, view.intent.id)

    def settle(self) -> None:
        """Take the order to paid."""
        self.pay()
        settle_payment(order_id=self.order.pk, origin=Origin(source=Source.API))

    def request(
        self, client: Client, route: Route, *, method: str = "", order_id: int | None = None
    ) -> Any:
        path = route.path.format(id=order_id or self.order.pk)
        body, headers = b"", {}
        if route.signed:
            body = event_body({"object": "charge", "id": "ch_1"}, type="charge.succeeded")
            headers["Stripe-Signature"] = sign(body)
        if route.name == "refunds":
            headers["Idempotency-Key"] = "one"  # without it each answer brings a new one
        return client.generic(
            method or route.method,
            f"{BASE}/{path}",
            body,
            content_type="application/json",
            headers=headers,
        )


@pytest.fixture
def scene(db: None, stripe: Sandbox) -> Scene:
    return Scene(stripe)


@pytest.fixture
def host_takes_sessions(settings: Any) -> bool:
    return SESSIONS in settings.REST_FRAMEWORK["DEFAULT_AUTHENTICATION_CLASSES"]


def outcome(response: Any) -> tuple[int, str]:
    return response.status_code, response.json().get("code", "") if response.content else ""


# --- the cells ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "route"), [pytest.param(*cell, id=f"{cell[0].caller} - {cell[1]}") for cell in CELLS]
)
def test_cell(scene, host_takes_sessions, row: Row, route: Route):
    expected = row.answer(route, host_takes_sessions=host_takes_sessions)
    client = scene.client_of(row.caller)
    if route.name == "payment":
        scene.pay()
    if route.name == "refunds":
        scene.settle()
    asked_before = len(scene.stripe.requests)

    response = scene.request(client, route)

    assert outcome(response) == (expected.status, expected.code)
    if expected.status == 401:
        assert response["WWW-Authenticate"]
    if expected.status != 200:
        assert len(scene.stripe.requests) == asked_before, "Stripe was asked for a stranger"
    if route.name in {"orders", "order"}:
        assert (scene.order.number in response.content.decode()) is (
            expected.status == 200 and expected.names_order
        )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.caller))
def test_a_missing_order_is_answered_in_the_same_bytes(scene, host_takes_sessions, row: Row):
    """Nobody who may not have an order learns whether there is one, paid or not."""
    scene.settle()
    client = scene.client_of(row.caller)
    for route in ROUTES:
        expected = row.answer(route, host_takes_sessions=host_takes_sessions)
        if "{id}" not in route.path or expected.status == 200:
            continue

        foreign = scene.request(client, route)
        missing = scene.request(client, route, order_id=MISSING_ORDER)

        assert foreign.status_code == missing.status_code == expected.status
        assert foreign.content == missing.content
        assert foreign.headers == missing.headers


FOREIGN = [
    (row, route)
    for row, route in CELLS
    if any(row.answer(route, host_takes_sessions=each) == NOT_FOUND for each in (True, False))
]


@pytest.mark.parametrize(
    ("row", "route"), [pytest.param(*cell, id=f"{cell[0].caller} - {cell[1]}") for cell in FOREIGN]
)
def test_a_missing_order_costs_the_same_and_is_the_same_page(
    scene, host_takes_sessions, row: Row, route: Route
):
    """Found: the payment of a foreign order was locked and read before it was refused."""
    scene.settle()
    client = scene.client_of(row.caller)
    client.defaults["HTTP_ACCEPT"] = "text/html"
    scene.request(client, route)  # notes when the key was used last

    pages, statements = [], []
    for order_id in (scene.order.pk, MISSING_ORDER):
        with CaptureQueriesContext(connection) as queries:
            response = scene.request(client, route, order_id=order_id)
        text = response.content.decode().replace(f"orders/{order_id}", "orders/")
        pages.append(re.sub(r"\b\w{64}\b", "a CSRF token", text))
        statements.append([re.sub(r"\d+", "…", query["sql"]) for query in queries])

    expected = row.answer(route, host_takes_sessions=host_takes_sessions)
    assert response.status_code == expected.status
    assert pages[0] == pages[1]
    assert statements[0] == statements[1]
    assert not [sql for sql in statements[0] if "shop_payments_orderpayment" in sql]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.caller))
def test_the_methods_that_a_route_does_not_take(scene, host_takes_sessions, row: Row):
    client = scene.client_of(row.caller)
    for route in ROUTES:
        taken = {each.method for each in ROUTES if each.name == route.name}
        taken |= {"HEAD"} if "GET" in taken and route.method != "GET" else set()
        for method in {*METHODS} - taken:
            expected = row.answer_to(method, route, host_takes_sessions=host_takes_sessions)

            response = scene.request(client, route, method=method)

            if not row.caller.csrf and method not in {"GET", "HEAD", "OPTIONS"}:
                assert response.status_code in {401, 403, 405}, (method, route)
            elif not row.caller.csrf and expected == NO_CSRF:
                assert response.status_code in {200, 405}, (method, route)
            elif response.content:
                assert outcome(response) == (expected.status, expected.code), (method, route)
            else:
                assert response.status_code == expected.status, (method, route)
    assert scene.stripe.requests == []


# --- the client secret --------------------------------------------------------------------------


def may_have_the_secret(caller: Caller, route: Route) -> bool:
    """Whether a caller may be given an order's client secret: said apart from the table."""
    acts_as_staff = (caller.token, caller.key) == (Token.NONE, Key.NONE) and caller.csrf
    may_change = {Session.STAFF_CHANGE, Session.STAFF_BOTH, Session.STAFF_REFUND}
    if acts_as_staff and caller.session in may_change:
        return route.name in {"payment-intent", "payment"}
    if route.name == "payment":
        return caller.key in {Key.PAYMENTS, Key.ALL}
    is_customer = caller.token is Token.OWNER or caller.session is Session.CUSTOMER
    return (
        route.name == "payment-intent" and is_customer and caller.key in {Key.STOREFRONT, Key.ALL}
    )


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row.caller))
def test_nobody_else_is_given_the_client_secret(scene, row: Row, accept):
    view = create_payment_intent(
        order_id=scene.order.pk, user=scene.order.customer, origin=Origin(source=Source.API)
    )
    secret = view.intent.client_secret.reveal()
    client = scene.client_of(row.caller)
    client.defaults["HTTP_ACCEPT"] = accept
    for is_paid in (False, True):
        if is_paid:
            pay(scene.stripe, view.intent.id)
        for route in ROUTES:
            for method in ("GET", "POST", "OPTIONS"):
                response = scene.request(client, route, method=method)

                if secret in response.content.decode():
                    assert may_have_the_secret(row.caller, route), (method, route, is_paid)
                    assert response.status_code == 200


# --- staff do by API what they may do in the admin ----------------------------------------------

PERMISSIONS = ("view_orderpayment", "change_orderpayment", "add_refund", "view_refund")


@pytest.mark.parametrize("given", list(product((False, True), repeat=len(PERMISSIONS))), ids=str)
def test_staff_refund_by_api_what_they_may_refund_in_the_admin(scene, given):
    scene.settle()
    codenames = [name for name, is_given in zip(PERMISSIONS, given, strict=True) if is_given]
    user = UserFactory.create(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client()
    client.force_login(user)
    intent = PaymentIntent.objects.get()
    args = [intent.order_payment_id, intent.pk]
    page = reverse("admin:shop_payments_orderpayment_refund", args=args)

    in_admin = client.get(page).status_code
    by_api = client.post(
        f"{BASE}/orders/{scene.order.pk}/refunds", b"{}", content_type="application/json"
    ).status_code

    assert (in_admin, by_api) in [(200, 200), (403, 401)]
    assert (by_api == 200) is (
        "add_refund" in codenames and bool({*PERMISSIONS[:2]} & {*codenames})
    )
