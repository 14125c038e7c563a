"""API keys, staff in their session, and users as hosts authenticate them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed

from shop_payments.models import APIKeyScope, Order, OrderPayment, PaymentHistory
from shop_payments.orders import BundledOrderAdapter
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory
from tests.support import Caller, answer, pay

pytestmark = pytest.mark.django_db

NOT_FOUND = (404, "order_not_found")
ALL_OK = [(200, None)] * 3


def test_what_is_missing_or_malformed_is_named(storefront, order):
    no_token = Caller(key=storefront.headers["X-API-Key"]).payment_intent(order)
    no_key = Caller(token="wrong").payment(order)
    assert no_token["WWW-Authenticate"] == 'Bearer, ApiKey header="X-API-Key"'
    assert no_key["WWW-Authenticate"] == 'ApiKey header="X-API-Key"'
    for order_id in ("0", "abc", "9" * 40, "%00", "\u0661", "01"):
        assert answer(storefront.payment_intent(order_id)) == NOT_FOUND
    for secret in ("123456789", "spk_", "spk_00000000_x", "ключ"):
        storefront.headers["X-API-Key"] = secret
        assert answer(storefront.payment_intent(order)) == (401, "api_key_invalid")
    assert not OrderPayment.objects.exists()


def test_staff_see_every_order_in_their_session_and_their_own_with_a_token(admin_client, order):
    OrderFactory.create()
    token = TokenFactory.create(user__is_staff=True, user__is_superuser=True)
    for caller, number in ((Caller(client=admin_client), 2), (Caller(token=token.key), 0)):
        assert len(caller.get("orders").json()["data"]["results"]) == number


class Failing(BaseAuthentication):
    """Fails as djangorestframework-simplejwt does."""

    def authenticate(self, request: Any) -> None:
        raise AuthenticationFailed({"detail": "Token is invalid", "code": "x", "messages": []})


def test_a_failure_of_the_hosts_authentication_is_answered_in_our_form(
    storefront, order, authenticate_by
):
    authenticate_by(f"{__name__}.Failing")
    response = storefront.payment_intent(order)
    assert response.status_code == 401
    assert response.json() == {"message": "Token is invalid", "code": "invalid_token"}


def set_an_api_key(get_response: Any) -> Any:
    """A middleware of the host that sets an attribute of the same name."""

    def middleware(request: Any) -> Any:
        request.api_key = "the host's own"
        return get_response(request)

    return middleware


def test_an_attribute_of_the_host_is_not_an_api_key(order, stripe, admin_client, settings):
    """Found: staff in their session got a 500, because the history was to name that key."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.set_an_api_key"]
    assert Caller(client=admin_client).payment_intent(order).status_code == 200
    assert Caller().payment_intent(order).status_code == 401
    assert not PaymentHistory.objects.filter(actor__contains="host").exists()


class TokenUser:
    """A user as djangorestframework-simplejwt makes it from a token."""

    is_active = is_authenticated = True
    is_anonymous = is_staff = is_superuser = False

    def __init__(self, pk: Any) -> None:
        self.id = self.pk = pk


def user_without_pk(**attributes: Any) -> Any:
    return SimpleNamespace(is_authenticated=True, **attributes)


class OfHost(BaseAuthentication):
    """The host's authentication, which returns these for the next requests."""

    user_and_auth: tuple[Any, Any] = (None, None)

    def authenticate(self, request: Any) -> tuple[Any, Any]:
        return self.user_and_auth

    def authenticate_header(self, request: Any) -> str:
        return "Bearer"


@pytest.fixture
def caller(db: None, authenticate_by: Any) -> Caller:
    authenticate_by(f"{__name__}.OfHost")
    return Caller(token="a token", key=issue_key(APIKeyScope.STOREFRONT))


def sign_in(user: Any, auth: Any = None) -> None:
    OfHost.user_and_auth = (user, auth)


def every_answer(caller: Caller, order: Order) -> list[tuple[int, str | None]]:
    read = [caller.get(path) for path in ("orders", f"orders/{order.pk}")]
    return [*map(answer, read), answer(caller.payment_intent(order))]


@pytest.mark.parametrize("kind", ["pk", "id"])
def test_a_user_that_is_not_a_row_pays(caller, order, stripe, webhooks, kind):
    pk = order.customer.pk
    sign_in(TokenUser(str(pk)) if kind == "pk" else user_without_pk(id=pk), auth={"sub": "1"})
    assert every_answer(caller, order) == ALL_OK
    pay(stripe, caller.payment_intent(order).json()["data"]["id"])
    webhooks()
    assert caller.get(f"orders/{order.pk}").json()["data"]["payment_status"] == "paid"
    assert caller.get("orders", Accept="text/html").status_code == 200
    assert PaymentHistory.objects.filter(actor__endswith=f"user {order.customer.pk}").exists()


def test_a_user_with_another_key_has_no_order(caller, order):
    pk = order.customer.pk
    row_of_another_table: Any = Group(pk=pk, name="another table")
    row_of_another_table.is_authenticated = True
    keys = [pk + 1000, f"auth0|{pk}", f" {pk}", f"0{pk}", float(pk), [pk], f"{pk}\x00", "9" * 5000]
    for user in (row_of_another_table, *map(TokenUser, keys)):
        sign_in(user)
        assert every_answer(caller, order) == [(200, None), NOT_FOUND, NOT_FOUND], user.pk
        assert caller.get("orders").json()["data"]["results"] == [], user.pk
    first, _ = User.objects.get_or_create(pk=1, defaults={"username": "first"})
    order = OrderFactory.create(customer=first)
    sign_in(TokenUser(True))
    assert answer(caller.payment_intent(order)) == NOT_FOUND


class GuestsToo(BundledOrderAdapter):
    """Written as hosts write it: for a user without a key it finds the orders of all guests."""

    def list_for_user(self, user: Any) -> Any:
        return Order.objects.with_lines().filter(customer=getattr(user, "pk", None))


def test_a_user_without_a_key_does_not_find_the_orders_of_guests(caller, configure):
    configure(ORDER_ADAPTER=f"{__name__}.GuestsToo")
    order = OrderFactory.create(customer=None, email="guest@example.com")
    for user in (
        *(None, "a name", AnonymousUser(), User(), TokenUser(None), TokenUser("")),
        user_without_pk(id=None),
        SimpleNamespace(pk=1),  # not signed in
    ):
        sign_in(user)
        assert every_answer(caller, order) == [(403, "permission_denied")] * 3, user


@pytest.mark.parametrize("unauthenticated", [None, "django.contrib.auth.models.AnonymousUser"])
def test_a_caller_without_a_token_does_not_find_the_orders_of_guests(
    caller, configure, settings, unauthenticated
):
    settings.REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "UNAUTHENTICATED_USER": unauthenticated,
    }
    configure(ORDER_ADAPTER=f"{__name__}.GuestsToo")
    order = OrderFactory.create(customer=None, email="guest@example.com")
    assert every_answer(caller, order) == [(401, "not_authenticated")] * 3
