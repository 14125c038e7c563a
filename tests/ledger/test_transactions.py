"""What the database undoes is run again, and a database that is away is reported as such."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.urls import reverse

from shop_payments.api.urls import urlpatterns
from shop_payments.ledger.transactions import run_transaction
from shop_payments.models import APIKeyScope, Order, OrderPayment, WebhookEvent
from tests.conftest import issue_key
from tests.factories import OrderFactory
from tests.support import BASE, answer, event_body, pay, post_webhook, sign
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="PostgreSQL has row locks and isolation levels"
)

AWAY = (503, "database_unavailable")


class Work:
    """Changes an order's address, and counts its runs; ``before`` is called first."""

    def __init__(self, before: Any = None) -> None:
        self.runs, self._before = 0, before

    def __call__(self) -> str:
        self.runs += 1
        Order.objects.update(email="new@example.com")
        if self._before is not None:
            self._before(self.runs)
        return "done"


def test_only_what_may_pass_is_run_again(order):
    for fault in (
        lambda runs: 1 / 0,
        lambda runs: OrderFactory.create(number=order.number, customer=order.customer),
    ):
        work = Work(fault)
        with pytest.raises((ZeroDivisionError, IntegrityError)):
            run_transaction(work)
        order.refresh_from_db()
        assert (work.runs, order.email == "new@example.com") == (1, False)
        assert not connection.in_atomic_block

    work = Work()
    assert (run_transaction(work), work.runs) == ("done", 1)


@on_postgresql
def test_a_deadlock_is_run_again(order):
    """Two that lock the same two rows, each beginning with the other's second one."""
    rows = [order.pk, OrderFactory.create(customer=order.customer).pk]
    both_hold_one = threading.Barrier(2)
    runs = [0, 0]

    def work(number: int) -> None:
        runs[number] += 1
        first, second = rows if number else rows[::-1]
        Order.objects.filter(pk=first).update(email=f"{number}@example.com")
        if runs[number] == 1:
            both_hold_one.wait(10)
        Order.objects.filter(pk=second).update(email=f"{number}@example.com")

    results = at_once(*(partial(run_transaction, partial(work, number)) for number in (0, 1)))

    assert results == [None, None]
    assert max(runs) > 1, "there was no deadlock"


@on_postgresql
@pytest.mark.parametrize(("collisions", "expected"), [(1, 2), (99, 5)])
def test_a_serialization_failure_is_run_again_and_not_for_ever(order, collisions, expected):
    runs: list[int] = []

    def change_it() -> None:
        Order.objects.update(email=f"{len(runs)}@example.com")

    def work() -> None:
        runs.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        Order.objects.get()
        if len(runs) <= collisions:
            assert at_once(change_it) == [None]
        Order.objects.update(email="me@example.com")

    if expected == 5:
        with pytest.raises(OperationalError):
            run_transaction(work)
    else:
        run_transaction(work)

    assert len(runs) == expected
    assert not connection.in_atomic_block


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="SQLite locks all of the database")
def test_a_locked_database_is_waited_for(order, monkeypatch):
    """The other one lets go when the first try has failed."""
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with connections["default"].cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            held.set()
            let_go.wait(30)
            cursor.execute("ROLLBACK")
        connections.close_all()

    other = threading.Thread(target=hold)

    def sleep(seconds: float) -> None:
        let_go.set()
        other.join()

    monkeypatch.setattr("time.sleep", sleep)
    other.start()
    held.wait(30)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 1")
    work = Work()

    run_transaction(work)
    connection.close()

    order.refresh_from_db()
    assert order.email == "new@example.com"
    assert let_go.is_set()


# --- isolation ----------------------------------------------------------------------------------


@pytest.fixture
def strict_server(monkeypatch):
    """A server whose transactions see what was there when they began.

    Found: where the server was told, and not Django, that went for ours, too.
    """
    options = {"options": "-c default_transaction_isolation=repeatable\\ read"}
    changed = {**connection.settings_dict["OPTIONS"], **options}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", changed)
    connection.close()
    yield
    connection.close()


def level_of_the_host() -> str:
    with transaction.atomic(), connection.cursor() as cursor:
        return str(cursor.execute("SHOW transaction_isolation").fetchone()[0])


@on_postgresql
@pytest.mark.usefixtures("strict_server")
def test_the_hosts_own_transactions_stay_as_strict_as_they_are(order):
    run_transaction(Work())
    assert level_of_the_host() == "repeatable read"

    with pytest.raises(ZeroDivisionError):
        run_transaction(Work(lambda runs: 1 / 0))
    assert level_of_the_host() == "repeatable read"


@on_postgresql
@pytest.mark.usefixtures("strict_server")
def test_a_connection_that_a_health_check_replaces_is_no_stricter(monkeypatch):
    """Found: the level was set on the lost connection."""
    for name, value in {"CONN_HEALTH_CHECKS": True, "CONN_MAX_AGE": 60}.items():
        monkeypatch.setitem(connection.settings_dict, name, value)
    connection.close()
    assert level_of_the_host() == "repeatable read"
    pid = connection.connection.info.backend_pid
    (_ended,) = at_once(partial(end_process, pid))
    connection.close_if_unusable_or_obsolete()  # as at the beginning of a request

    def level() -> str:
        with connection.cursor() as cursor:
            return str(cursor.execute("SHOW transaction_isolation").fetchone()[0])

    assert run_transaction(level) == "read committed"
    assert connection.connection.info.backend_pid != pid


@on_postgresql
@pytest.mark.usefixtures("strict_server")
def test_a_strict_isolation_does_not_hide_what_was_reserved_before_the_lock(
    office, order, paid, stripe
):
    """A refund that waits for the lock must see the one that it has waited for."""
    assert office.refund(order, {"amount": "12.00"}, key="first").status_code == 200

    def refund(number: int) -> Any:
        return office.refund(order, {"amount": "100.00"}, key=str(number)).status_code

    results = at_once(*(partial(refund, number) for number in range(4)))

    assert sorted(results) == [200] + 3 * [409]
    sent = [each.status for each in stripe.requests if each.path == "/v1/refunds"]
    assert sent == [200, 200]


# --- a database that is away --------------------------------------------------------------------

ROUTES = [
    (method, pattern.name)
    for pattern in urlpatterns
    for method in vars(pattern.callback)["actions"]
    if (method, pattern.name) not in {("head", pattern.name), ("get", "root")}
]
"""All but the root, which says the same to everybody and asks for nothing."""


def test_every_route_says_that_the_database_is_away_and_heals(
    storefront, order, stripe, database, caplog
):
    event = event_body(pay(stripe, storefront.payment_intent(order).json()["data"]["id"]))
    every_key = {"X-API-Key": issue_key(*APIKeyScope), "Stripe-Signature": sign(event)}
    headers = {**storefront.headers, **every_key}
    asks = []
    for method, name in ROUTES:
        arguments = [order.pk] if name not in {"orders", "stripe-webhook"} else []
        url = reverse(f"shop_payments:{name}", args=arguments)
        body: dict[str, Any] = {"data": event if name == "stripe-webhook" else b""}
        more = {**body, "content_type": "application/json"} if method == "post" else {}
        asks.append(partial(getattr(storefront.client, method), url, headers=headers, **more))
    page = f"{BASE}/orders/{order.pk}"  # REST framework's page asks the database for the user
    as_browser = {**storefront.headers, "Accept": "text/html"}
    pages = [
        partial(ask, page, headers=as_browser)
        for ask in (storefront.client.get, storefront.client.post)
    ]
    sent = len(stripe.requests)

    database.goes_away()
    refused = [ask() for ask in [*asks, *pages]]
    database.comes_back()

    assert {(*answer(each), each.headers["Retry-After"]) for each in refused} == {(*AWAY, "10")}
    assert "The database is unavailable" in caplog.text
    assert len(stripe.requests) == sent
    assert 503 not in {ask().status_code for ask in asks}
    assert WebhookEvent.objects.get().status == "processed"


def of_a_standby(ask: Any) -> Any:
    """Ask a PostgreSQL that takes no writes, as after a failover."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    response = ask()
    connection.close()
    return response


@on_postgresql
def test_a_standby_is_no_500(storefront, payment_system, order, stripe):
    """Found: it is no OperationalError."""
    for ask in (storefront.payment_intent, payment_system.payment):
        refused = of_a_standby(partial(ask, order))
        assert (*answer(refused), refused.headers["Retry-After"]) == (*AWAY, "10")
    assert stripe.requests == []

    body = event_body(pay(stripe, storefront.payment_intent(order).json()["data"]["id"]))
    assert answer(of_a_standby(partial(post_webhook, body, sign(body)))) == AWAY
    assert post_webhook(body, sign(body)).status_code == 200
    assert OrderPayment.objects.get().status == "paid"


def is_lost() -> None:
    """Lose the connection of this thread, as when the server restarts, and notice it."""
    pid = connection.connection.info.backend_pid
    # This thread has a connection to the same database only, so another thread ends it.
    (ended,) = at_once(partial(end_process, pid))
    assert ended is True
    with pytest.raises(OperationalError), connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def end_process(pid: int) -> bool:
    with connection.cursor() as cursor:
        return bool(cursor.execute("SELECT pg_terminate_backend(%s)", [pid]).fetchone()[0])


@on_postgresql
def test_a_connection_that_is_lost_between_two_transactions_is_no_500(
    storefront, order, stripe, alter
):
    """Found: Django wraps no error of the driver's that comes when its isolation is set."""

    def lose(answer: Any) -> Any:
        is_lost()
        return answer

    alter("/v1/payment_intents", lose)
    refused = storefront.payment_intent(order)
    connection.close()
    alter.stop()

    assert (*answer(refused), refused.headers["Retry-After"]) == (*AWAY, "10")
    assert storefront.payment_intent(order).status_code == 200
    created = [each.idempotency_key for each in stripe.requests if each.method == "POST"]
    assert len({*created}) == 1
