"""Users that are no rows, as hosts make them of tokens; and users who are nobody."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.cache import cache
from rest_framework.authentication import BaseAuthentication

from shop_payments.models import APIKeyScope, Order, PaymentHistory
from shop_payments.orders import BundledOrderAdapter
from shop_payments.services.queries import get_order, list_orders
from tests.conftest import issue_key
from tests.factories import OrderFactory
from tests.support import Caller, answer, pay

pytestmark = pytest.mark.django_db


class TokenUser:
    """As djangorestframework-simplejwt makes one of a token."""

    is_active = is_authenticated = True
    is_anonymous = is_staff = is_superuser = False

    def __init__(self, pk: Any) -> None:
        self.id = self.pk = pk


class OnlyId:
    """A user with ``id`` and nothing else."""

    is_authenticated = True

    def __init__(self, pk: Any) -> None:
        self.id = pk


class Nameless:
    """A user class with neither ``pk`` nor ``id``."""

    is_authenticated = True

    def __init__(self, subject: str) -> None:
        self.subject = subject


class Claims(dict[str, Any]):
    """``request.auth`` that is false while it is empty."""


AUTHENTICATED: dict[str, Any] = {"user": None, "auth": None}
"""Who the next requests are, by the host."""


class OfHost(BaseAuthentication):
    def authenticate(self, request: Any) -> tuple[Any, Any]:
        return AUTHENTICATED["user"], AUTHENTICATED["auth"]

    def authenticate_header(self, request: Any) -> str:
        return "Bearer"


@pytest.fixture
def caller(db: None, settings: Any) -> Caller:
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [f"{__name__}.OfHost"]}
    caller = Caller(token="a token", key=issue_key(APIKeyScope.STOREFRONT))
    caller.client.raise_request_exception = False
    return caller


def sign_in(user: Any, auth: Any = None) -> None:
    AUTHENTICATED.update(user=user, auth=auth)


def every_answer(caller: Caller, order: Order) -> list[tuple[int, str | None]]:
    return [
        answer(caller.get("orders")),
        answer(caller.get(f"orders/{order.pk}")),
        answer(caller.payment_intent(order)),
    ]


OK = [(200, None)] * 3


# --- who may pay --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [TokenUser, OnlyId])
@pytest.mark.parametrize("spelling", [int, str])
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_user_that_is_no_row_pays(caller, order, stripe, webhooks, kind, spelling, accept):
    sign_in(kind(spelling(order.customer.pk)))

    assert every_answer(caller, order) == OK
    pay(stripe, caller.payment_intent(order).json()["data"]["id"])
    webhooks()
    assert caller.get(f"orders/{order.pk}").json()["data"]["payment_status"] == "paid"
    caller.headers["Accept"] = accept
    assert caller.get("orders").status_code == 200
    named = PaymentHistory.objects.filter(actor__endswith=f"user {order.customer.pk}")
    assert named.exists()


@pytest.mark.parametrize(
    "auth",
    [object(), "a string", {"sub": "1"}, Claims(), b"bytes", 0, uuid4()],
    ids=lambda auth: type(auth).__name__,
)
def test_what_the_host_notes_of_a_token_does_not_matter(caller, order, stripe, auth):
    sign_in(TokenUser(order.customer.pk), auth)

    assert every_answer(caller, order) == OK


OTHERS = [
    lambda pk: pk + 1000,
    lambda pk: f"auth0|{pk}",
    lambda pk: uuid4(),
    lambda pk: f" {pk}",
    lambda pk: f"+{pk}",
    lambda pk: f"0{pk}",
    lambda pk: pk + 0.5,
    lambda pk: float(pk),
    lambda pk: 2**80 + pk,
    lambda pk: [pk],
    lambda pk: {"pk": pk},
    lambda pk: f"{pk}\x00",
    lambda pk: "\ud800",
    lambda pk: "9" * 5000,
    lambda pk: b"1",
]


@pytest.mark.parametrize("other", OTHERS, ids=range(len(OTHERS)))
def test_a_user_of_another_key_has_no_order(caller, order, other):
    sign_in(TokenUser(other(order.customer.pk)))

    expected = [(200, None), (404, "order_not_found"), (404, "order_not_found")]
    assert every_answer(caller, order) == expected
    assert caller.get("orders").json()["data"]["results"] == []


def test_true_is_not_the_first_user(caller, stripe):
    first = User.objects.create(pk=1, username="first")
    order = OrderFactory.create(customer=first)
    sign_in(TokenUser(True))

    assert caller.get("orders").json()["data"]["results"] == []
    assert answer(caller.payment_intent(order)) == (404, "order_not_found")


def test_a_row_of_another_table_with_the_same_key_has_no_order(caller, order):
    group: Any = Group(pk=order.customer.pk, name="somebody else")
    group.is_authenticated = True
    sign_in(group)

    assert caller.get("orders").json()["data"]["results"] == []
    assert answer(caller.payment_intent(order)) == (404, "order_not_found")


# --- adapters of hosts --------------------------------------------------------------------------


class ByEmail(BundledOrderAdapter):
    """A shop whose customers are no rows: their orders are found by what the token says."""

    def list_for_user(self, user: Any) -> Any:
        return Order.objects.with_lines().filter(email=getattr(user, "subject", None) or user.pk)


@pytest.mark.parametrize(
    "user",
    [TokenUser("ada@example.com"), OnlyId, Nameless("ada@example.com")],
    ids=["pk", "id", "-"],
)
def test_a_host_may_go_by_something_else(caller, stripe, configure, user):
    configure(**stripe.shop_payments(), ORDER_ADAPTER=f"{__name__}.ByEmail")
    order = OrderFactory.create(email="ada@example.com", customer=None)
    if user is OnlyId:
        user = OnlyId("nobody@example.com")
        user.subject = "ada@example.com"
    sign_in(user)

    assert every_answer(caller, order) == OK


@pytest.mark.parametrize(
    "pk", [UUID(int=7), "auth0|5f7c8ec7c33c6c004bbafe82", "x" * 5000, "\x00\ud800"]
)
def test_a_key_of_any_form_is_counted_and_noted(caller, stripe, configure, pk):
    configure(
        **stripe.shop_payments(),
        ORDER_ADAPTER=f"{__name__}.AnybodysOrders",
    )
    configure(THROTTLE_RATES={"payment_intent_user": "1/min"})
    cache.clear()
    order = OrderFactory.create()
    sign_in(TokenUser(pk))

    answers = [answer(caller.payment_intent(order)) for _ in range(2)]

    cache.clear()
    assert answers == [(200, None), (429, "throttled")]
    actor = PaymentHistory.objects.order_by("pk")[0].actor
    assert actor.startswith("key ")
    assert str(pk)[:100].replace("\x00\ud800", "\ufffd\ufffd") in actor


class AnybodysOrders(BundledOrderAdapter):
    """Everybody who is somebody may pay any order."""

    def list_for_user(self, user: Any) -> Any:
        return Order.objects.with_lines()


# --- nobody -------------------------------------------------------------------------------------


class GuestsToo(BundledOrderAdapter):
    """As hosts write it: for somebody without a key it finds the orders of all guests."""

    def list_for_user(self, user: Any) -> Any:
        return Order.objects.with_lines().filter(customer=getattr(user, "pk", None))


class AsksTheUser(BundledOrderAdapter):
    """An adapter that must not be asked about nobody."""

    def list_for_user(self, user: Any) -> Any:
        raise AssertionError(f"asked for the orders of {user!r}")

    find_for_user = list_for_user  # type: ignore[assignment]


class Claimless:
    """Somebody without any claim to be signed in."""

    pk = 1


NOBODY = {
    "none": None,
    "anonymous": AnonymousUser(),
    "token without a subject": TokenUser(None),
    "token with an empty subject": TokenUser(""),
    "no id": OnlyId(None),
    "unsaved row": User(),
    "not signed in": Claimless(),
    "a string": "a name",
    "an object": object(),
}


@pytest.mark.parametrize("adapter", ["GuestsToo", "AsksTheUser", ""])
@pytest.mark.parametrize("user", NOBODY.values(), ids=NOBODY)
def test_nobody_finds_no_guests_orders(caller, configure, user, adapter):
    if adapter:
        configure(ORDER_ADAPTER=f"{__name__}.{adapter}")
    order = OrderFactory.create(customer=None, email="guest@example.com")
    sign_in(user)

    answers = every_answer(caller, order)

    assert answers == [(403, "permission_denied")] * 3
    assert order.number not in caller.get("orders").content.decode()


@pytest.mark.parametrize("unauthenticated", [None, "django.contrib.auth.models.AnonymousUser"])
@pytest.mark.parametrize("adapter", ["GuestsToo", "AsksTheUser"])
def test_a_caller_without_a_token_finds_no_guests_orders(
    caller, configure, settings, unauthenticated, adapter
):
    settings.REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "UNAUTHENTICATED_USER": unauthenticated,
    }
    configure(ORDER_ADAPTER=f"{__name__}.{adapter}")
    order = OrderFactory.create(customer=None, email="guest@example.com")

    assert every_answer(caller, order) == [(401, "not_authenticated")] * 3


@pytest.mark.parametrize("user", NOBODY.values(), ids=NOBODY)
def test_the_bundled_adapter_has_no_order_of_nobody(user):
    order = OrderFactory.create(customer=None, email="guest@example.com")
    adapter = BundledOrderAdapter()

    assert list(adapter.list_for_user(user)) == []
    assert adapter.find_for_user(order.pk, user) is None
    assert list_orders(user=user).orders == ()
    with pytest.raises(Exception, match="not found"):
        get_order(order_id=order.pk, user=user)
