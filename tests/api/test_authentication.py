"""API keys, staff in their session, and users as hosts authenticate them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.core.cache import cache
from django.test import Client, RequestFactory
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed

from shop_payments.api.views import OrderViewSet
from shop_payments.models import APIKeyScope, Order, OrderPayment, PaymentHistory
from shop_payments.orders import BundledOrderAdapter
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory, UserFactory
from tests.support import BASE, Caller, answer, pay

pytestmark = pytest.mark.django_db


def test_the_challenge_names_what_is_missing(storefront, order):
    no_token = Caller(key=storefront.headers["X-API-Key"]).payment_intent(order)
    no_key = Caller(token="wrong").payment(order)

    assert no_token["WWW-Authenticate"] == 'Bearer, ApiKey header="X-API-Key"'
    assert no_key["WWW-Authenticate"] == 'ApiKey header="X-API-Key"'


@pytest.mark.parametrize("secret", ["123456789", "spk_", "spk_00000000_x", "ключ"])
def test_a_malformed_key_is_401(storefront, order, secret):
    storefront.headers["X-API-Key"] = secret

    assert answer(storefront.payment_intent(order)) == (401, "api_key_invalid")


@pytest.mark.parametrize("order_id", ["0", "-1", "abc", "9" * 40, "%00", "\u0661", "1.0", "01"])
def test_a_malformed_order_id_is_not_found(storefront, order_id):
    assert answer(storefront.payment_intent(order_id)) == (404, "order_not_found")
    assert not OrderPayment.objects.exists()


# --- staff --------------------------------------------------------------------------------------


def test_staff_in_the_browsable_api_get_a_csrf_token(order, stripe):
    user = UserFactory.create(is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(codename__in=["view_orderpayment", "change_orderpayment"])
    )
    client = Client(enforce_csrf_checks=True)
    client.force_login(user)
    path = f"orders/{order.pk}/payment-intent"
    page = client.get(f"{BASE}/{path}", headers={"Accept": "text/html"})
    token = page.cookies["csrftoken"].value

    assert answer(Caller(client=client).post(path)) == (403, "permission_denied")
    assert Caller(client=client).post(path, **{"X-CSRFToken": token}).status_code == 200


def test_staff_see_every_order(admin_client, order):
    OrderFactory.create()

    results = Caller(client=admin_client).get("orders").json()["data"]["results"]

    assert len(results) == 2


def test_staff_with_a_token_are_customers(order):
    token = TokenFactory.create(user__is_staff=True, user__is_superuser=True)

    response = Caller(token=token.key).get("orders")

    assert response.json()["data"]["results"] == []


# --- failures of the host's authentication ------------------------------------------------------


class DetailsBesideTheSentence(BaseAuthentication):
    """Fails as djangorestframework-simplejwt does."""

    def authenticate(self, request: Any) -> None:
        raise AuthenticationFailed(
            {
                "detail": "Given token not valid for any token type",
                "code": "token_not_valid",
                "messages": [{"message": "Token is expired"}],
            }
        )


class Sentences(BaseAuthentication):
    def authenticate(self, request: Any) -> None:
        raise AuthenticationFailed(["The token has expired.", "Get another one."])


class ProviderAway(APIException):
    status_code = 503
    default_code = "identity_provider_away"


class AskElsewhere(BaseAuthentication):
    def authenticate(self, request: Any) -> None:
        raise ProviderAway("The identity provider cannot be reached.")


@pytest.mark.parametrize(
    ("authentication", "status", "code", "message"),
    [
        (
            *(DetailsBesideTheSentence, 401, "invalid_token"),
            "Given token not valid for any token type",
        ),
        (Sentences, 401, "invalid_token", "The token has expired."),
        (AskElsewhere, 503, "identity_provider_away", "The identity provider cannot be reached."),
    ],
)
def test_a_hosts_authentication_fails_in_our_envelope(
    storefront, order, settings, authentication, status, code, message
):
    path = f"{__name__}.{authentication.__name__}"
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [path]}

    response = storefront.payment_intent(order)

    assert response.status_code == status
    assert response.json() == {"message": message, "code": code}


def set_an_api_key(get_response: Any) -> Any:
    """A middleware of the host that has an attribute of the same name."""

    def middleware(request: Any) -> Any:
        request.api_key = "the host's own"
        return get_response(request)

    return middleware


def test_an_attribute_of_the_host_is_no_key(order, stripe, admin_client, settings):
    """Found: staff in their session got a 500, because the history was to name that key."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.set_an_api_key"]

    assert Caller(client=admin_client).payment_intent(order).status_code == 200
    assert not PaymentHistory.objects.filter(actor__contains="host").exists()


class BareUser:
    """A user model without what Django's admin needs."""

    is_authenticated = True
    is_anonymous = False


def test_a_user_model_without_staff(settings):
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": []}
    request = RequestFactory().get(f"{BASE}/orders")
    request.user = BareUser()  # type: ignore[assignment]

    assert OrderViewSet.as_view({"get": "list"})(request).status_code == 401


# --- users that are no rows ---------------------------------------------------------------------


class TokenUser:
    """A user as djangorestframework-simplejwt makes it of a token."""

    is_active = is_authenticated = True
    is_anonymous = is_staff = is_superuser = False

    def __init__(self, pk: Any) -> None:
        self.id = self.pk = pk


class OnlyId:
    """A user with ``id`` and no ``pk``."""

    is_authenticated = True

    def __init__(self, pk: Any, subject: str = "") -> None:
        self.id, self.subject = pk, subject


class Nameless:
    """A user with neither ``pk`` nor ``id``."""

    is_authenticated = True

    def __init__(self, subject: str) -> None:
        self.subject = subject


AUTHENTICATED: dict[str, Any] = {"user": None, "auth": None}
"""What the host's authentication returns for the next requests."""


class OfHost(BaseAuthentication):
    def authenticate(self, request: Any) -> tuple[Any, Any]:
        return AUTHENTICATED["user"], AUTHENTICATED["auth"]

    def authenticate_header(self, request: Any) -> str:
        return "Bearer"


@pytest.fixture
def caller(db: None, settings: Any) -> Caller:
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [f"{__name__}.OfHost"]}
    return Caller(token="a token", key=issue_key(APIKeyScope.STOREFRONT))


def sign_in(user: Any, auth: Any = None) -> None:
    AUTHENTICATED.update(user=user, auth=auth)


def every_answer(caller: Caller, order: Order) -> list[tuple[int, str | None]]:
    return [
        answer(caller.get("orders")),
        answer(caller.get(f"orders/{order.pk}")),
        answer(caller.payment_intent(order)),
    ]


ALL_OK = [(200, None)] * 3


@pytest.mark.parametrize("kind", [TokenUser, OnlyId])
@pytest.mark.parametrize("spelling", [int, str])
def test_a_user_that_is_no_row_pays(caller, order, stripe, webhooks, kind, spelling):
    sign_in(kind(spelling(order.customer.pk)))

    assert every_answer(caller, order) == ALL_OK
    pay(stripe, caller.payment_intent(order).json()["data"]["id"])
    webhooks()
    assert caller.get(f"orders/{order.pk}").json()["data"]["payment_status"] == "paid"
    assert caller.get("orders", Accept="text/html").status_code == 200
    assert PaymentHistory.objects.filter(actor__endswith=f"user {order.customer.pk}").exists()


@pytest.mark.parametrize("auth", ["a string", {"sub": "1"}, 0], ids=str)
def test_the_auth_object_of_the_host_does_not_matter(caller, order, stripe, auth):
    sign_in(TokenUser(order.customer.pk), auth)

    assert every_answer(caller, order) == ALL_OK


OTHERS = {
    "another number": lambda pk: pk + 1000,
    "a subject": lambda pk: f"auth0|{pk}",
    "a space": lambda pk: f" {pk}",
    "a zero": lambda pk: f"0{pk}",
    "a float": lambda pk: float(pk),
    "beyond the column": lambda pk: 2**80 + pk,
    "a list": lambda pk: [pk],
    "NUL": lambda pk: f"{pk}\x00",
    "many digits": lambda pk: "9" * 5000,
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_user_with_another_key_has_no_order(caller, order, other):
    sign_in(TokenUser(other(order.customer.pk)))

    expected = [(200, None), (404, "order_not_found"), (404, "order_not_found")]
    assert every_answer(caller, order) == expected
    assert caller.get("orders").json()["data"]["results"] == []


def test_true_is_not_the_first_user(caller):
    order = OrderFactory.create(customer=User.objects.create(pk=1, username="first"))
    sign_in(TokenUser(True))

    assert answer(caller.payment_intent(order)) == (404, "order_not_found")


def test_a_row_of_another_table_with_the_same_key_has_no_order(caller, order):
    group: Any = Group(pk=order.customer.pk, name="another table")
    group.is_authenticated = True
    sign_in(group)

    assert caller.get("orders").json()["data"]["results"] == []
    assert answer(caller.payment_intent(order)) == (404, "order_not_found")


class ByEmail(BundledOrderAdapter):
    """A shop that finds the orders of its customers by what the token says."""

    def list_for_user(self, user: Any) -> Any:
        return Order.objects.with_lines().filter(email=getattr(user, "subject", None) or user.pk)


@pytest.mark.parametrize(
    "user",
    [
        TokenUser("ada@example.com"),
        OnlyId("another@example.com", subject="ada@example.com"),
        Nameless("ada@example.com"),
    ],
    ids=lambda user: type(user).__name__,
)
def test_a_host_may_identify_customers_by_another_value(caller, stripe, configure, user):
    configure(ORDER_ADAPTER=f"{__name__}.ByEmail")
    order = OrderFactory.create(email="ada@example.com", customer=None)
    sign_in(user)

    assert every_answer(caller, order) == ALL_OK


class AnybodysOrders(BundledOrderAdapter):
    """Every user may pay any order."""

    def list_for_user(self, user: Any) -> Any:
        return Order.objects.with_lines()


@pytest.mark.parametrize("pk", [uuid4(), "x" * 5000, "\x00\ud800"], ids=["UUID", "long", "NUL"])
def test_a_user_key_of_any_form_is_throttled_and_recorded(caller, stripe, configure, pk):
    configure(
        ORDER_ADAPTER=f"{__name__}.AnybodysOrders",
        THROTTLE_RATES={"payment_intent_user": "1/min"},
    )
    cache.clear()
    order = OrderFactory.create()
    sign_in(TokenUser(pk))

    answers = [answer(caller.payment_intent(order)) for _ in range(2)]

    cache.clear()
    assert answers == [(200, None), (429, "throttled")]
    actor = PaymentHistory.objects.order_by("pk")[0].actor
    assert str(pk)[:100].replace("\x00\ud800", "\ufffd\ufffd") in actor


# --- nobody -------------------------------------------------------------------------------------


class GuestsToo(BundledOrderAdapter):
    """Written as hosts write it: without a key it finds the orders of all guests."""

    def list_for_user(self, user: Any) -> Any:
        return Order.objects.with_lines().filter(customer=getattr(user, "pk", None))


class MustNotBeAsked(BundledOrderAdapter):
    def list_for_user(self, user: Any) -> Any:
        raise AssertionError(f"asked for the orders of {user!r}")

    find_for_user = list_for_user  # type: ignore[assignment]


class NotSignedIn:
    pk = 1


NOBODY = {
    "none": None,
    "anonymous": AnonymousUser(),
    "token without a subject": TokenUser(None),
    "token with an empty subject": TokenUser(""),
    "no id": OnlyId(None),
    "unsaved row": User(),
    "not signed in": NotSignedIn(),
    "a string": "a name",
}


@pytest.mark.parametrize("adapter", ["GuestsToo", "MustNotBeAsked"])
@pytest.mark.parametrize("user", NOBODY.values(), ids=NOBODY)
def test_nobody_finds_the_orders_of_guests(caller, configure, user, adapter):
    configure(ORDER_ADAPTER=f"{__name__}.{adapter}")
    order = OrderFactory.create(customer=None, email="guest@example.com")
    sign_in(user)

    assert every_answer(caller, order) == [(403, "permission_denied")] * 3


@pytest.mark.parametrize("unauthenticated", [None, "django.contrib.auth.models.AnonymousUser"])
def test_a_caller_without_a_token_finds_no_orders_of_guests(
    caller, configure, settings, unauthenticated
):
    settings.REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "UNAUTHENTICATED_USER": unauthenticated,
    }
    configure(ORDER_ADAPTER=f"{__name__}.GuestsToo")
    order = OrderFactory.create(customer=None, email="guest@example.com")

    assert every_answer(caller, order) == [(401, "not_authenticated")] * 3
