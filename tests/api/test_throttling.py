"""Each scope counts its own requests only, and no limit keeps other people from paying."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, NoReturn

import pytest
import time_machine
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import PermissionDenied
from django.test import Client
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException

from shop_payments.conf import DEFAULT_THROTTLE_RATES
from shop_payments.models import APIKeyScope
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory
from tests.support import Caller, answer, post_webhook, sign

pytestmark = pytest.mark.django_db

HERE = "tests.api.test_throttling"
THROTTLED = (429, "throttled")
PASSED = (200, None)


@pytest.fixture(autouse=True)
def clock() -> Iterator[Any]:
    """A clock that stands still, over a cache that has counted nothing."""
    cache.clear()
    with time_machine.travel("2026-11-24T12:00:00+00:00", tick=False) as traveller:
        yield traveller


@pytest.fixture
def limit(configure: Callable[..., None], stripe: Any) -> Callable[..., None]:
    """Set these rates and no others."""

    def change(**rates: str) -> None:
        configure(THROTTLE_RATES={**dict.fromkeys(DEFAULT_THROTTLE_RATES), **rates})

    return change


def test_a_wrong_webhook_secret_is_logged_once_a_minute(caplog, clock):
    """Found: it was visible nowhere. Anyone can post to the route, so the log must not be full."""

    def post(signature: str) -> None:
        assert post_webhook(b"{}", signature).json()["code"] == "invalid_signature"

    post("")  # not from Stripe, which always signs
    assert "webhook refused" not in caplog.text
    for _ in range(3):
        post(sign(b"{}", secret="whsec_wrong"))
    (line,) = [each for each in caplog.records if each.name == "shop_payments"]
    text = line.getMessage()
    assert line.levelname == "WARNING"
    assert "webhook refused: error=invalid_signature reason='no signature matches a " in text
    assert "STRIPE_WEBHOOK_SECRETS" in text
    assert "v1=" not in text

    clock.shift(61)
    post(sign(b"{}", timestamp=1))
    assert "reason='the timestamp of the signature is too old" in caplog.text
    assert caplog.text.count("webhook refused") == 2


def stranger(*, address: str = "127.0.0.1", **headers: str) -> Caller:
    caller = Caller(client=Client(REMOTE_ADDR=address))
    caller.headers.update(headers)
    return caller


def customer(order: Any, *, key: str = "", address: str = "127.0.0.1") -> Caller:
    """The client of an order's customer, with a new key unless one is given."""
    token = TokenFactory.create(user=order.customer).key
    key = key or issue_key(APIKeyScope.STOREFRONT)
    return Caller(token=token, key=key, client=Client(REMOTE_ADDR=address))


@pytest.fixture
def other_order(db: None) -> Any:
    """An open order of another customer."""
    return OrderFactory.create()


def asked(caller: Caller, *orders: Any) -> list[tuple[int, str | None]]:
    """Call 1 for each order; return the answers."""
    return [answer(caller.payment_intent(order)) for order in orders]


def test_a_user_is_limited_over_all_orders(storefront, order, other_order, limit):
    """A foreign order counts for the caller, and never for its customer."""
    limit(payment_intent_user="2/min", payment_intent_address="3/min", orders_user="2/min")
    answers = asked(storefront, order, other_order, order)
    assert answers == [PASSED, (404, "order_not_found"), THROTTLED]
    other = customer(other_order, key=storefront.headers["X-API-Key"])
    assert asked(other, other_order) == [PASSED], "a refused request does not use up the address"
    paths = ("orders", f"orders/{order.pk}", "orders")
    assert [answer(storefront.get(path)) for path in paths] == [PASSED, PASSED, THROTTLED]
    assert answer(other.get("orders")) == answer(storefront.get("")) == PASSED


def test_throttles_do_not_reveal_whether_an_order_exists(storefront, other_order, limit):
    limit(payment_intent_user="2/min")
    storefront.headers["X-Request-ID"] = "one"  # without it, each answer has a new one

    def probe(order_id: object) -> list[Any]:
        cache.clear()
        answers = [storefront.payment_intent(order_id) for _ in range(3)]
        return [(each.status_code, each.content, dict(each.headers)) for each in answers]

    foreign = probe(other_order.pk)
    assert [status for status, *_ in foreign] == [404, 404, 429]
    assert foreign == probe(987_654) == probe("no id%00at all")


@pytest.mark.parametrize(("name", "path"), [("payment", "payment"), ("refund", "refunds")])
def test_a_programs_key_is_limited_over_all_orders(order, other_order, limit, name, path):
    limit(**{f"{name}_key": "2/min"})
    program, other = (Caller(key=issue_key(APIKeyScope(f"{name}s"))) for _caller in range(2))
    orders = (order, other_order, order)
    answers = [answer(program.post(f"orders/{each.pk}/{path}")) for each in orders]
    assert [each == THROTTLED for each in answers] == [False, False, True]
    assert answer(other.post(f"orders/{order.pk}/{path}")) == answers[0]


def test_staff_in_their_session_are_limited_only_as_customers_are(order, admin_client, limit):
    """A key may be stolen or run in a loop; the admin does not limit staff either."""
    limit(**dict.fromkeys(DEFAULT_THROTTLE_RATES, "1/min"))
    staff = Caller(client=admin_client)

    def status_codes(path: str) -> list[int]:
        return [staff.post(f"orders/{order.pk}/{path}").status_code for _ in range(2)]

    assert status_codes("payment-intent") == [200, 429]
    assert 429 not in [*status_codes("payment"), *status_codes("refunds")]


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_too_many_failures_are_refused_before_any_lookup(limit, django_assert_num_queries, header):
    limit(failed_authentication="2/min")
    caller = stranger(**{header: "Bearer spk_0123abcd_wrong"})
    assert [caller.payment_intent(1).status_code for _ in range(2)] == [401, 401]
    with django_assert_num_queries(0):
        response = caller.payment_intent(1)
    assert answer(response) == THROTTLED


def test_failures_count_over_all_routes_and_for_their_address_only(
    storefront, payment_system, order, limit
):
    limit(failed_authentication="2/min")
    stranger(**{"X-API-Key": "wrong"}).payment(order)
    stranger(Authorization="Bearer wrong").get("")
    assert asked(storefront, order) == [THROTTLED]
    storefront.client = Client(REMOTE_ADDR="127.0.0.2")
    assert asked(storefront, order) == [PASSED]
    cache.clear()
    limit(failed_authentication="1/min")
    assert asked(payment_system, order, order) == [(403, "insufficient_scope"), THROTTLED]


def test_an_authenticated_request_is_not_a_failure(storefront, payment_system, order, limit):
    limit(failed_authentication="1/min")
    for _ in range(2):
        assert answer(storefront.get("orders/0")) == (404, "order_not_found")
        assert answer(storefront.get("orders", Accept="text/csv")) == (406, "not_acceptable")
        assert asked(storefront, order) == [PASSED]
        assert answer(payment_system.payment(order)) == (409, "payment_not_completed")


def test_a_wrong_token_with_a_live_key_does_not_limit_other_customers(storefront, order, limit):
    """Found: strangers with a key that a browser carries used it up for all of its customers.

    Nor does a storefront's server lose its address, and so its customers, for one of them.
    """
    limit(failed_authentication="2/min", payment_intent_address="2/min")
    key = storefront.headers["X-API-Key"]
    guest = stranger(**{"X-API-Key": key}, Authorization="Bearer expired")
    assert [guest.payment_intent(order).status_code for _ in range(4)] == [401, 401, 429, 429]
    assert asked(storefront, order, order, order) == [PASSED, PASSED, THROTTLED]
    assert answer(storefront.get("orders")) == PASSED
    elsewhere = stranger(address="127.0.0.2", **{"X-API-Key": key})
    with_another_key = stranger(**{"X-API-Key": issue_key(APIKeyScope.STOREFRONT)})
    assert asked(elsewhere, order) == asked(with_another_key, order) == [(401, "not_authenticated")]


class Failing(BaseAuthentication):
    """The host's authentication; the service behind it may be down."""

    error: Exception = PermissionDenied()

    def authenticate(self, request: Any) -> NoReturn:
        raise self.error


def test_an_error_of_the_host_is_not_a_failure_of_the_caller(limit, authenticate_by, monkeypatch):
    authenticate_by(f"{HERE}.Failing")
    limit(failed_authentication="1/min")
    down = APIException(code="identity_provider_down")
    down.status_code, down.wait = 503, 1.25  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr(Failing, "error", down)
        responses = [stranger().get("orders") for _ in range(2)]
    assert [(each.status_code, each["Retry-After"]) for each in responses] == [(503, "2")] * 2
    assert [stranger().get("orders").status_code for _ in range(2)] == [403, 429]


def test_a_refusal_says_when_to_come_back(storefront, order, stripe, limit, clock, caplog):
    limit(payment_intent_user="1/min", payment_intent_address="2/min")
    storefront.payment_intent(order)
    clock.shift(29.5)
    response = storefront.payment_intent(order)
    words = "Request was throttled. Expected available in 31 seconds."
    assert response.json() == {"message": words, "code": "throttled"}
    assert response["Retry-After"] == "31"
    logged = [(each.levelname, each.getMessage()) for each in caplog.records]
    assert ("WARNING", "request throttled: scope=payment_intent_user rate=1/min") in logged
    assert len(stripe.requests) == 1, "a refused request is not sent"
    clock.shift(30)
    assert asked(storefront, order) == [THROTTLED]
    clock.shift(1)
    assert asked(storefront, order, order) == [PASSED, THROTTLED]


class RecordingCache(LocMemCache):
    """A cache that records what is written."""

    written: ClassVar[list[tuple[str, Any]]] = []

    def set(self, key: Any, value: Any, *args: Any, **kwargs: Any) -> None:
        self.written.append((key, value))
        super().set(key, value, *args, **kwargs)


class FullCache(LocMemCache):
    """A cache that can be read and not written."""

    failures: ClassVar[list[Any]] = []

    def set(self, *args: Any, **kwargs: Any) -> NoReturn:
        self.failures.append(args)
        raise ConnectionError("nobody listens at cache.example:6379")


class BrokenCache(FullCache):
    """A cache whose server is down."""

    get = FullCache.set


def use_cache(settings: Any, name: str) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{HERE}.{name}"}}


@pytest.mark.parametrize("backend", ["BrokenCache", "FullCache"])
def test_nobody_is_throttled_while_the_cache_is_down(
    storefront, order, limit, settings, configure, caplog, backend
):
    use_cache(settings, backend)
    limit(**dict.fromkeys(DEFAULT_THROTTLE_RATES, "1/day"))
    configure(THROTTLE_CACHE="default")
    storefront.payment_intent(order)
    caplog.clear()
    FullCache.failures.clear()
    assert asked(storefront, order) == [PASSED]
    assert len(FullCache.failures) == 1, "the cache is not called again after a failure"
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert record.getMessage() == "request not throttled: cache=default error=ConnectionError"
    assert record.exc_info


def test_the_cache_holds_no_secret_and_no_text_of_a_caller(storefront, order, limit, settings):
    use_cache(settings, "RecordingCache")
    RecordingCache.written.clear()
    limit(**dict.fromkeys(DEFAULT_THROTTLE_RATES, "9/min"))
    settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": None}
    asked(storefront, order, "made%0Aup" * 99)
    storefront.get("orders")
    stranger(**{"X-API-Key": "spk_made_up", "X-Forwarded-For": "m" * 2000}).payment(order)
    keys = {key for key, _ in RecordingCache.written}
    assert len(keys) == 4
    assert all(re.fullmatch(r"shop_payments:throttle:[a-z_]+:[0-9a-f]{32}", key) for key in keys)
    moments = [moment for _, value in RecordingCache.written for moment in value]
    assert all(isinstance(moment, float) for moment in moments)


def test_a_forged_address_counts_as_the_number_of_proxies_says(order, limit, settings):
    limit(payment_intent_address="1/min")
    caller = customer(order)
    for proxies, first, second, expected in (
        (0, "192.0.2.1", "192.0.2.2", THROTTLED),
        (1, "192.0.2.1, 192.0.2.9", "192.0.2.2, 192.0.2.9", THROTTLED),
        (1, "192.0.2.9, 192.0.2.1", "192.0.2.9, 192.0.2.2", PASSED),
    ):
        cache.clear()
        settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": proxies}
        caller.headers["X-Forwarded-For"] = first
        assert asked(caller, order) == [PASSED]
        caller.headers["X-Forwarded-For"] = second
        assert asked(caller, order) == [expected], (proxies, first)


def test_a_forged_address_does_not_limit_the_real_one(order, limit, settings):
    """Found: a caller who wrote another's address into X-Forwarded-For blocked it everywhere."""
    limit(failed_authentication="1/min", payment_intent_address="1/min")
    forged = {"X-Forwarded-For": "192.0.2.1"}
    callers = customer(order, address="192.0.2.1"), Caller()
    callers[1].headers.update(callers[0].headers, **forged)
    for proxies in (None, 0):
        settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": proxies}
        for caller in callers:
            cache.clear()
            attacker = stranger(address="192.0.2.66", **forged)
            assert [attacker.get("orders").status_code for _ in range(2)] == [401, 429]
            assert answer(caller.get("orders")) == PASSED
            assert asked(caller, order) == [PASSED]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", THROTTLED),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", PASSED),
        ("::ffff:192.0.2.1", "192.0.2.1", THROTTLED),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", PASSED),
        # Found: each of a caller's connections was another address.
        ("192.0.2.1:50001", "192.0.2.1:50002", THROTTLED),
        ("[2001:db8:1:2::1]:50001", "2001:db8:1:2::9", THROTTLED),
        ("", "", PASSED),  # a server behind a Unix socket knows no addresses
    ],
)
def test_addresses_of_one_line_count_together_over_customers_and_keys(
    order, other_order, limit, first, second, expected
):
    limit(payment_intent_address="1/min")
    assert asked(customer(order, address=first), order) == [PASSED]
    assert asked(customer(other_order, address=second), other_order) == [expected]
