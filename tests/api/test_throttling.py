"""Each scope counts what it says and nothing else, and no limit costs anybody else a payment."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NoReturn, cast
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import time_machine
from django.apps import apps
from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import PermissionDenied
from django.test import Client, RequestFactory
from redis.exceptions import RedisError
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException
from rest_framework.throttling import UserRateThrottle
from rest_framework.views import APIView

from shop_payments.api.throttling import SCOPES, AddressThrottle
from shop_payments.api.views import PaymentIntentViewSet
from shop_payments.conf import ADDRESS_SCOPES, DEFAULT_THROTTLE_RATES, get_config
from shop_payments.models import APIKey, APIKeyScope
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory
from tests.support import Caller, answer, pay, send_event

pytestmark = pytest.mark.django_db

HERE = "tests.api.test_throttling"
THROTTLED = (429, "throttled")
PASSED = (200, None)


@pytest.fixture(autouse=True)
def host_authentication() -> None:
    """Once is enough here: a throttle sees the customer, and not how the host found them."""


@pytest.fixture(autouse=True)
def clock() -> Iterator[Any]:
    """A clock that stands still, over a cache that has counted nothing."""
    cache.clear()
    with time_machine.travel("2026-11-24T12:00:00+00:00", tick=False) as traveller:
        yield traveller


@pytest.fixture
def limit(configure: Callable[..., None], stripe: Any) -> Callable[..., None]:
    """Have these rates and no others."""

    def change(**rates: str) -> None:
        configure(THROTTLE_RATES={**dict.fromkeys(DEFAULT_THROTTLE_RATES), **rates})

    return change


def customer(order: Any, *, key: str = "", address: str = "127.0.0.1", **headers: str) -> Caller:
    """The client of an order's customer, with a key of its own unless one is given."""
    caller = Caller(
        token=TokenFactory.create(user=order.customer).key,
        key=key or issue_key(APIKeyScope.STOREFRONT),
        client=Client(REMOTE_ADDR=address),
    )
    caller.headers.update(headers)
    return caller


def stranger(*, address: str = "127.0.0.1", **headers: str) -> Caller:
    caller = Caller(client=Client(REMOTE_ADDR=address))
    caller.headers.update(headers)
    return caller


@pytest.fixture
def other_order(db: None) -> Any:
    """An open order of another customer."""
    return OrderFactory.create()


# --- the scopes ---------------------------------------------------------------------------------


def test_every_scope_has_a_rate_and_a_throttle():
    assert list(SCOPES) == list(DEFAULT_THROTTLE_RATES)
    assert None not in DEFAULT_THROTTLE_RATES.values()
    by_address = {scope for scope, each in SCOPES.items() if issubclass(each, AddressThrottle)}
    assert by_address == ADDRESS_SCOPES


def test_a_user_is_limited_over_all_orders(storefront, order, other_order, limit):
    limit(payment_intent_user="2/min")
    second, third = OrderFactory.create_batch(2, customer=order.customer)

    answers = [answer(storefront.payment_intent(each)) for each in (order, second, third)]

    assert answers == [PASSED, PASSED, THROTTLED]
    other = customer(other_order, key=storefront.headers["X-API-Key"])
    assert answer(other.payment_intent(other_order)) == PASSED


def test_nobody_locks_others_out_of_their_order(storefront, order, other_order, limit):
    limit(payment_intent_user="2/min")
    attacker = customer(other_order, key=storefront.headers["X-API-Key"])

    answers = [answer(attacker.payment_intent(order)) for _ in range(3)]

    assert answers == [(404, "order_not_found")] * 2 + [THROTTLED]
    assert answer(storefront.payment_intent(order)) == PASSED


def test_throttles_do_not_tell_a_foreign_order_from_a_missing_one(storefront, other_order, limit):
    limit(payment_intent_user="2/min")

    def probe(order_id: object) -> list[Any]:
        cache.clear()
        answers = [storefront.payment_intent(order_id) for _ in range(3)]
        return [(each.status_code, each.content, dict(each.headers)) for each in answers]

    foreign, missing, impossible = probe(other_order.pk), probe(987_654), probe("no id%00at all")

    assert [status for status, *_ in foreign] == [404, 404, 429]
    assert foreign == missing == impossible


def test_an_address_is_limited_over_customers_and_keys(order, other_order, limit):
    limit(payment_intent_address="2/min")
    one, other = customer(order), customer(other_order)

    one.payment_intent(order)
    other.payment_intent(other_order)

    assert answer(other.payment_intent(other_order)) == THROTTLED
    other.client = Client(REMOTE_ADDR="127.0.0.2")
    assert answer(other.payment_intent(other_order)) == PASSED


@pytest.mark.parametrize(("name", "path"), [("payment", "payment"), ("refund", "refunds")])
def test_a_programs_key_is_limited_over_all_orders(order, other_order, limit, name, path):
    limit(**{f"{name}_key": "2/min"})
    scope = APIKeyScope(f"{name}s")
    program, other = Caller(key=issue_key(scope)), Caller(key=issue_key(scope))

    answers = [
        answer(program.post(f"orders/{each.pk}/{path}")) for each in [order, other_order] * 2
    ]

    assert answers[2:] == [THROTTLED] * 2
    assert THROTTLED not in answers[:2]
    assert answer(other.post(f"orders/{order.pk}/{path}")) == answers[0]


def test_reading_is_limited_per_user(storefront, order, other_order, limit):
    limit(orders_user="2/min")

    answers = [answer(storefront.get(path)) for path in ("orders", f"orders/{order.pk}", "orders")]

    assert answers == [PASSED, PASSED, THROTTLED]
    assert answer(customer(other_order).get("orders")) == PASSED
    assert answer(storefront.payment_intent(order)) == PASSED
    assert answer(storefront.get("")) == PASSED


def test_staff_in_their_session_are_limited_as_customers_alone(order, admin_client, limit):
    """A key is what may be stolen or run in a loop; the admin does not limit staff either."""
    limit(**dict.fromkeys(DEFAULT_THROTTLE_RATES, "1/min"))
    staff = Caller(client=admin_client)

    def status_codes(path: str) -> list[int]:
        return [staff.post(f"orders/{order.pk}/{path}").status_code for _ in range(2)]

    assert status_codes("payment-intent") == [200, 429]
    assert 429 not in [*status_codes("payment"), *status_codes("refunds")]


def test_stripe_is_never_throttled(storefront, order, stripe, limit):
    intent = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    limit(**dict.fromkeys(DEFAULT_THROTTLE_RATES, "1/day"))
    stranger().get("orders")
    assert answer(stranger().get("orders")) == THROTTLED

    answers = [send_event(intent).status_code for _ in range(3)]

    assert answers == [200, 200, 200]


# --- who is charged -----------------------------------------------------------------------------


def test_a_customer_who_sends_too_many_requests_costs_the_others_nothing(
    storefront, order, other_order, limit
):
    limit(payment_intent_user="1/min", payment_intent_address="2/min")
    other = customer(other_order, key=storefront.headers["X-API-Key"])

    answers = [answer(storefront.payment_intent(order)) for _ in range(5)]

    assert answers == [PASSED] + [THROTTLED] * 4
    assert answer(other.payment_intent(other_order)) == PASSED


STRANGERS = [
    ("GET", "", {"Authorization": "Bearer wrong"}),
    ("GET", "orders", {}),
    ("GET", "orders/1", {"Authorization": "Bearer wrong"}),
    ("POST", "orders/1/payment-intent", {}),
    ("POST", "orders/1/payment-intent", {"X-API-Key": "spk_0123abcd_wrong"}),
    ("POST", "orders/1/payment", {"X-API-Key": "spk_0123abcd_wrong"}),
]


@pytest.mark.parametrize(("method", "path", "headers"), STRANGERS)
@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_who_fails_too_often_is_refused_before_anything_is_looked_up(
    limit, django_assert_num_queries, method, path, headers, accept
):
    limit(failed_authentication="2/min")
    caller = stranger(Accept=accept, **headers)

    def call() -> Any:
        return caller.get(path) if method == "GET" else caller.post(path)

    assert [call().status_code for _ in range(2)] == [401, 401]
    with django_assert_num_queries(0):
        response = call()
    assert answer(response) == THROTTLED


def test_failures_count_over_all_routes_and_for_their_address_alone(storefront, order, limit):
    limit(failed_authentication="2/min")
    stranger(**{"X-API-Key": "wrong"}).payment(order)
    stranger(Authorization="Bearer wrong").get("")

    assert answer(storefront.payment_intent(order)) == THROTTLED
    storefront.client = Client(REMOTE_ADDR="127.0.0.2")
    assert answer(storefront.payment_intent(order)) == PASSED


def test_success_is_no_failure(storefront, payment_system, order, limit):
    limit(failed_authentication="1/min")

    for _ in range(2):
        assert answer(storefront.get("orders")) == PASSED
        assert answer(storefront.get("orders/0")) == (404, "order_not_found")
        assert answer(storefront.get("orders", Accept="text/csv")) == (406, "not_acceptable")
        assert answer(storefront.payment_intent(order)) == PASSED
        assert answer(payment_system.payment(order)) == (409, "payment_not_completed")


def test_a_key_without_the_scope_is_a_failure(payment_system, order, limit):
    limit(failed_authentication="1/min")

    answers = [answer(payment_system.payment_intent(order)) for _ in range(2)]

    assert answers == [(403, "insufficient_scope"), THROTTLED]


def test_a_revoked_key_is_a_failure(storefront, order, limit):
    limit(failed_authentication="1/min")
    APIKey.objects.get().revoke()

    answers = [answer(storefront.payment_intent(order)) for _ in range(2)]

    assert answers == [(401, "api_key_invalid"), THROTTLED]


@pytest.mark.parametrize("token", [{}, {"Authorization": "Bearer expired"}])
def test_a_wrong_token_with_a_live_key_costs_no_customer_anything(storefront, order, limit, token):
    """Found: strangers with a key that a browser carries used it up for all of its customers.

    Nor does a storefront's server lose its address, and so its customers, for one of them.
    """
    limit(failed_authentication="2/min", payment_intent_address="2/min")
    guest = stranger(**{"X-API-Key": storefront.headers["X-API-Key"]}, **token)

    assert [guest.payment_intent(order).status_code for _ in range(4)] == [401, 401, 429, 429]
    assert [answer(storefront.payment_intent(order)) for _ in range(3)] == [
        PASSED,
        PASSED,
        THROTTLED,
    ]
    assert answer(storefront.get("orders")) == PASSED


def test_wrong_tokens_with_a_live_key_count_per_key_and_address(storefront, order, limit):
    limit(failed_authentication="1/min")
    key = storefront.headers["X-API-Key"]
    guest = stranger(**{"X-API-Key": key})
    assert [guest.payment_intent(order).status_code for _ in range(2)] == [401, 429]

    elsewhere = stranger(address="127.0.0.2", **{"X-API-Key": key})
    with_another_key = stranger(**{"X-API-Key": issue_key(APIKeyScope.STOREFRONT)})

    assert elsewhere.payment_intent(order).status_code == 401
    assert with_another_key.payment_intent(order).status_code == 401
    assert answer(guest.payment_intent(order)) == THROTTLED


class ServiceAway(APIException):
    status_code = 503
    wait = 1.25
    default_code = "identity_provider_away"


class AskElsewhere(BaseAuthentication):
    """The host's, while the service behind it is away."""

    def authenticate(self, request: Any) -> NoReturn:
        raise ServiceAway


class NoEntry(BaseAuthentication):
    def authenticate(self, request: Any) -> NoReturn:
        raise PermissionDenied


@pytest.mark.parametrize(
    ("authentication", "statuses"), [(AskElsewhere, [503, 503]), (NoEntry, [403, 429])]
)
def test_what_the_host_cannot_tell_is_no_failure(limit, settings, authentication, statuses):
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK,
        "DEFAULT_AUTHENTICATION_CLASSES": [f"{HERE}.{authentication.__name__}"],
    }
    limit(failed_authentication="1/min")

    assert [stranger().get("orders").status_code for _ in range(2)] == statuses


def test_an_attribute_of_the_host_is_no_key(db, limit):
    """A host's middleware may note something of that name on requests."""
    limit(**dict.fromkeys(DEFAULT_THROTTLE_RATES, "1/min"))
    view = PaymentIntentViewSet.as_view({"post": "create"})
    request = RequestFactory().post("/")
    request.api_key = "the host's own"  # type: ignore[attr-defined]

    answers = [view(request, order_id="1") for _ in range(2)]

    assert [each.status_code for each in answers] == [401, 429]


# --- what a refusal is --------------------------------------------------------------------------


def test_a_refusal_says_when_to_come_back(storefront, order, limit, clock):
    limit(payment_intent_user="1/min")
    storefront.payment_intent(order)
    clock.shift(29.5)

    response = storefront.payment_intent(order)

    assert response.json() == {
        "message": "Request was throttled. Expected available in 31 seconds.",
        "code": "throttled",
    }
    assert response["Retry-After"] == "31"


def test_who_comes_back_then_is_let_in(storefront, order, limit, clock):
    limit(payment_intent_user="2/min", payment_intent_address="2/min")
    storefront.payment_intent(order)
    clock.shift(50.25)
    storefront.payment_intent(order)
    wait = int(storefront.payment_intent(order)["Retry-After"])

    clock.shift(wait - 1)
    assert answer(storefront.payment_intent(order)) == THROTTLED
    clock.shift(1)
    assert answer(storefront.payment_intent(order)) == PASSED
    assert answer(storefront.payment_intent(order)) == THROTTLED


def test_retry_after_is_never_zero(storefront, order, limit, clock):
    limit(payment_intent_user="1/s")
    storefront.payment_intent(order)
    clock.shift(0.999)

    assert storefront.payment_intent(order)["Retry-After"] == "1"


def test_what_a_host_says_of_waiting_is_rounded_up(settings):
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [f"{HERE}.AskElsewhere"]}

    assert stranger().get("orders")["Retry-After"] == "2"


def test_the_longest_of_several_waits_counts(storefront, order, limit):
    limit(payment_intent_user="1/min", payment_intent_address="1/hour")
    storefront.payment_intent(order)

    assert storefront.payment_intent(order)["Retry-After"] == "3600"


def test_a_rate_that_was_lowered_still_has_a_wait(storefront, order, limit, clock):
    limit(payment_intent_user="3/min")
    for _ in range(3):
        storefront.payment_intent(order)
        clock.shift(10)
    limit(payment_intent_user="1/min")

    assert storefront.payment_intent(order)["Retry-After"] == "50"


def test_a_refusal_calls_nobody_and_writes_nothing(storefront, order, stripe, limit):
    limit(payment_intent_user="1/min")
    storefront.payment_intent(order)

    def state() -> list[int]:
        models = apps.get_app_config("shop_payments").get_models()
        return [len(stripe.requests), *(model._default_manager.count() for model in models)]

    before = state()
    response = storefront.payment_intent(order)

    assert answer(response) == THROTTLED
    assert state() == before


def test_the_log_names_the_setting_and_nobody(storefront, order, limit, caplog):
    limit(payment_intent_user="1/min")
    for _ in range(2):
        storefront.payment_intent(order)

    (record,) = [each for each in caplog.records if each.name == "shop_payments"]

    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "throttled: SHOP_PAYMENTS['THROTTLE_RATES']['payment_intent_user'] is '1/min'"
    )


# --- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("rates", "last"), [(None, (404, "order_not_found")), ({}, THROTTLED)])
def test_a_customer_is_limited_by_default_and_not_with_none(storefront, configure, rates, last):
    configure(THROTTLE_RATES=rates)

    answers = [answer(storefront.payment_intent(0)) for _ in range(61)]

    assert answers == [(404, "order_not_found")] * 60 + [last]


def test_one_scope_is_switched_off_and_the_others_keep_their_defaults(configure):
    configure(THROTTLE_RATES={"payment_intent_address": None})

    rates = get_config().THROTTLE_RATES
    assert rates == {**DEFAULT_THROTTLE_RATES, "payment_intent_address": None}


def test_a_wrong_rate_is_the_shops_fault(storefront, order, configure):
    configure(THROTTLE_RATES={"payment_intent_user": "often"})

    assert answer(storefront.payment_intent(order)) == (503, "not_configured")
    assert answer(storefront.get("")) == (503, "not_configured")


# --- the cache ----------------------------------------------------------------------------------


class BrokenCache(LocMemCache):
    """A cache whose server is gone."""

    calls: ClassVar[list[str]] = []

    def get(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.calls.append("get")
        raise ConnectionError("nobody listens at cache.example:6379")

    set = get


class FullCache(BrokenCache):
    """A cache that can be read and not written."""

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        self.calls.append("get")
        return default


class RecordingCache(LocMemCache):
    """A cache that remembers what it was given."""

    written: ClassVar[list[tuple[str, Any]]] = []

    def set(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> None:
        self.written.append((key, value))
        super().set(key, value, *args, **kwargs)


def use_cache(settings: Any, name: str) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{HERE}.{name}"}}


def errors(caplog: Any) -> list[Any]:
    return [each for each in caplog.records if each.levelname == "ERROR"]


@pytest.mark.parametrize(("backend", "reads"), [("BrokenCache", 1), ("FullCache", 3)])
def test_a_cache_that_is_down_keeps_nobody_from_paying(
    storefront, order, limit, settings, caplog, backend, reads
):
    use_cache(settings, backend)
    limit(**dict.fromkeys(DEFAULT_THROTTLE_RATES, "1/day"))
    storefront.payment_intent(order)
    caplog.clear()
    BrokenCache.calls.clear()

    response = storefront.payment_intent(order)

    assert answer(response) == PASSED
    assert BrokenCache.calls.count("get") - (backend == "FullCache") == reads
    (record,) = errors(caplog)
    assert record.getMessage() == (
        "the cache 'default' fails (ConnectionError): this request is not throttled"
    )
    assert "nobody listens" in str(record.exc_info)


def test_a_cache_that_is_down_lets_nobody_in(order, limit, settings, caplog):
    use_cache(settings, "BrokenCache")
    limit(failed_authentication="1/min")

    answers = [answer(stranger().payment_intent(order)) for _ in range(3)]

    assert answers == [(401, "api_key_missing")] * 3
    assert len(errors(caplog)) == 3


def test_a_cache_that_does_not_exist_keeps_nobody_from_paying(
    storefront, order, limit, configure, caplog
):
    limit(payment_intent_user="1/min")
    configure(THROTTLE_CACHE="nowhere")

    assert [answer(storefront.payment_intent(order)) for _ in range(2)] == [PASSED] * 2
    assert len(errors(caplog)) == 2


def test_the_cache_is_the_one_that_was_named(storefront, order, limit, configure, settings):
    settings.CACHES = {
        "default": {"BACKEND": f"{HERE}.BrokenCache"},
        "shared": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "own"},
    }
    caches["shared"].clear()
    limit(payment_intent_user="1/min")
    configure(THROTTLE_CACHE="shared")

    answers = [answer(storefront.payment_intent(order)) for _ in range(2)]

    assert answers == [PASSED, THROTTLED]


def test_the_cache_learns_no_secret(storefront, order, limit, settings):
    """Nor anything of a person, nor what a caller made up."""
    use_cache(settings, "RecordingCache")
    RecordingCache.written.clear()
    limit(**dict.fromkeys(DEFAULT_THROTTLE_RATES, "9/min"))
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": None}

    storefront.payment_intent(order)
    storefront.get("orders")
    storefront.payment_intent("made%0Aup" * 99)
    stranger(**{"X-API-Key": "spk_made_up", "X-Forwarded-For": "m" * 2000}).payment(order)

    keys = {key for key, _ in RecordingCache.written}
    assert len(keys) == 4
    assert all(re.fullmatch(r"shop_payments:throttle:[a-z_]+:[0-9a-f]{32}", key) for key in keys)
    for _, value in RecordingCache.written:
        assert all(isinstance(moment, float) for moment in value)


REDIS = os.environ.get("CACHE_URL") or "redis://127.0.0.1:6379"


@pytest.fixture
def redis(settings: Any) -> Iterator[Any]:
    """A real Redis, under names of our own."""
    prefix = f"tests-{uuid4().hex}"
    backend = "django.core.cache.backends.redis.RedisCache"
    settings.CACHES = {"default": {"BACKEND": backend, "LOCATION": REDIS, "KEY_PREFIX": prefix}}
    client = cast("Any", caches["default"])._cache.get_client()
    try:
        client.ping()
    except RedisError as error:
        pytest.skip(f"no Redis at {urlsplit(REDIS).hostname} ({type(error).__name__})")
    yield client
    for key in client.keys(f"{prefix}*"):
        client.delete(key)
    client.close()


def test_it_counts_in_a_redis(storefront, order, limit, redis):
    limit(payment_intent_user="2/min")

    answers = [answer(storefront.payment_intent(order)) for _ in range(3)]

    assert answers == [PASSED, PASSED, THROTTLED]


# --- addresses ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxies", "forwarded", "is_limited"),
    [
        (0, ["192.0.2.1", "192.0.2.2"], True),
        (1, ["192.0.2.1, 192.0.2.9", "192.0.2.2, 192.0.2.9"], True),
        (1, ["192.0.2.9, 192.0.2.1", "192.0.2.9, 192.0.2.2"], False),
        # What W005 warns of.
        (None, ["192.0.2.1", "192.0.2.2"], False),
    ],
)
def test_a_forged_address_counts_for_what_is_known_of_proxies(
    order, limit, settings, proxies, forwarded, is_limited
):
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": proxies}
    limit(payment_intent_address="1/min")
    caller = customer(order)

    answers = [
        answer(caller.post(f"orders/{order.pk}/payment-intent", **{"X-Forwarded-For": each}))
        for each in forwarded
    ]

    assert answers == [PASSED, THROTTLED if is_limited else PASSED]


@pytest.mark.parametrize("proxies", [None, 0])
@pytest.mark.parametrize("victim", [{}, {"X-Forwarded-For": "192.0.2.1"}])
def test_nobody_uses_up_what_another_address_may_do(order, limit, settings, proxies, victim):
    """Found: whoever wrote another's address into X-Forwarded-For had it refused everywhere."""
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": proxies}
    limit(failed_authentication="1/min", payment_intent_address="1/min")
    attacker = stranger(address="192.0.2.66", **{"X-Forwarded-For": "192.0.2.1"})
    caller = customer(order, address="192.0.2.1" if not victim else "127.0.0.1", **victim)

    assert [attacker.get("orders").status_code for _ in range(2)] == [401, 429]
    assert answer(caller.get("orders")) == PASSED
    assert answer(caller.payment_intent(order)) == PASSED


@pytest.mark.parametrize(
    ("first", "second", "is_limited"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("192.0.2.1", "192.0.2.2", False),
        # Found: each of a caller's connections was another address.
        ("192.0.2.1:50001", "192.0.2.1:50002", True),
        ("[2001:db8:1:2::1]:50001", "2001:db8:1:2::9", True),
        ("192.0.2.1:50001", "192.0.2.2:50001", False),
        # A server behind a Unix socket knows no addresses.
        ("", "", False),
    ],
)
def test_an_address_is_a_line(order, limit, first, second, is_limited):
    limit(payment_intent_address="1/min")
    caller = customer(order, address=first)

    caller.payment_intent(order)
    caller.client = Client(REMOTE_ADDR=second)

    assert answer(caller.payment_intent(order)) == (THROTTLED if is_limited else PASSED)


# --- the host's own throttles -------------------------------------------------------------------


class ThriceAnHour(UserRateThrottle):
    rate = "3/hour"


def test_a_hosts_throttle_counts_beside_ours(storefront, order, limit, monkeypatch, clock):
    monkeypatch.setattr(APIView, "throttle_classes", [ThriceAnHour])
    limit(payment_intent_user="2/min")

    answers = [storefront.payment_intent(order) for _ in range(3)]
    clock.shift(60)
    answers.append(storefront.payment_intent(order))

    assert [each.status_code for each in answers] == [200, 200, 429, 429]
    assert [each.headers.get("Retry-After") for each in answers[2:]] == ["60", "3540"]


def test_what_a_hosts_throttle_refuses_is_not_counted(storefront, order, limit, monkeypatch):
    limit(payment_intent_user="2/min")
    with monkeypatch.context() as patch:
        patch.setattr(APIView, "throttle_classes", [NeverAgain])
        assert answer(storefront.payment_intent(order)) == THROTTLED

    assert [answer(storefront.payment_intent(order)) for _ in range(3)] == [
        PASSED,
        PASSED,
        THROTTLED,
    ]


class NeverAgain(UserRateThrottle):
    rate = "1/min"

    def allow_request(self, request: Any, view: Any) -> bool:
        return False

    def wait(self) -> None:
        return None


def test_a_hosts_refusal_without_a_wait_has_a_retry_after(storefront, order, monkeypatch):
    monkeypatch.setattr(APIView, "throttle_classes", [NeverAgain])

    assert storefront.payment_intent(order)["Retry-After"] == "1"
