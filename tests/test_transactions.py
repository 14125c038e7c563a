"""What the database undoes is run again."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, connections, transaction
from django.urls import reverse

from shop_payments.api.urls import urlpatterns
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import lock_payment, open_review
from shop_payments.ledger.reviews import close_review_item
from shop_payments.ledger.transactions import run_short
from shop_payments.models import (
    APIKeyScope,
    Order,
    OrderPayment,
    PaymentIntent,
    ReviewItem,
    Source,
    WebhookEvent,
)
from shop_payments.services.cancel_payment import cancel_payment_on_commit
from tests.after_paid.support import AccountingOffice
from tests.conftest import issue_key
from tests.factories import OrderFactory
from tests.support import BASE, answer, event_body, pay, post_webhook, sign
from tests.threads import Hold, at_once

pytestmark = pytest.mark.django_db(transaction=True)

on_postgresql = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="PostgreSQL has row locks and isolation levels"
)


def test_one_run_is_enough_where_nothing_is_undone(order):
    runs = 0

    def work() -> None:
        nonlocal runs
        runs += 1
        Order.objects.update(email="new@example.com")

    run_short(work)

    order.refresh_from_db()
    assert (runs, order.email) == (1, "new@example.com")
    assert not connection.in_atomic_block


def test_what_the_block_raises_is_raised_and_undone(order):
    def work() -> None:
        Order.objects.update(email="new@example.com")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run_short(work)

    order.refresh_from_db()
    assert order.email != "new@example.com"
    assert not connection.in_atomic_block


def test_what_will_not_pass_is_not_run_again(order):
    runs: list[int] = []

    def work() -> None:
        runs.append(1)
        OrderFactory.create(number=order.number, customer=order.customer)

    with pytest.raises(IntegrityError):
        run_short(work)

    assert len(runs) == 1


def test_it_returns_what_the_work_returns(order):
    def work() -> str:
        Order.objects.update(email="new@example.com")
        return "done"

    assert run_short(work) == "done"
    order.refresh_from_db()
    assert order.email == "new@example.com"


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

    results = at_once(*(partial(run_short, partial(work, number)) for number in (0, 1)))

    assert results == [None, None]
    assert max(runs) > 1, "there was no deadlock"


@on_postgresql
def test_a_serialization_failure_is_run_again(order):
    runs = 0

    def change_it() -> None:
        Order.objects.update(email="somebody@example.com")

    def work() -> None:
        nonlocal runs
        runs += 1
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        Order.objects.get()
        if runs == 1:
            assert at_once(change_it) == [None]
        Order.objects.update(email="me@example.com")

    run_short(work)

    assert runs == 2


@on_postgresql
def test_it_is_not_run_again_for_ever(order):
    runs: list[int] = []

    def change_it() -> None:
        Order.objects.update(email=f"{len(runs)}@example.com")

    def work() -> None:
        runs.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        Order.objects.get()
        at_once(change_it)
        Order.objects.update(email="me@example.com")

    with pytest.raises(OperationalError):
        run_short(work)

    assert len(runs) == 5
    assert not connection.in_atomic_block


def level_of_the_host() -> str:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SHOW transaction_isolation")
        (level,) = cursor.fetchone()
    return str(level)


@pytest.fixture
def host_with(monkeypatch):
    """A host that asks for more than PostgreSQL's default, in one of the ways to do so."""

    def set_option(name: str, value: Any) -> None:
        options = {**connection.settings_dict["OPTIONS"], name: value}
        monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
        connection.close()

    yield set_option
    connection.close()


def of_django(name: str) -> tuple[str, Any]:
    from django.db.backends.postgresql.psycopg_any import IsolationLevel

    return "isolation_level", IsolationLevel[name]


def of_the_server(name: str) -> tuple[str, Any]:
    """So are the defaults that a database, a user or a server may have."""
    return "options", f"-c default_transaction_isolation={name}"


@pytest.fixture(params=["Django", "the server"])
def strict_host(request, host_with):
    """A host whose transactions see what was there when they began.

    Found: where the server was told, and not Django, that went for ours, too.
    """
    is_django = request.param == "Django"
    host_with(*(of_django("REPEATABLE_READ") if is_django else of_the_server("repeatable\\ read")))
    assert level_of_the_host() == "repeatable read"


@on_postgresql
@pytest.mark.usefixtures("strict_host")
def test_the_hosts_own_transactions_stay_as_strict_as_they_are(order):
    def work(failure: type[Exception] | None) -> None:
        Order.objects.update(email="new@example.com")
        if failure is not None:
            raise failure

    for failure in (None, RuntimeError):
        with suppress(RuntimeError):
            run_short(partial(work, failure))

        assert level_of_the_host() == "repeatable read"


@on_postgresql
def test_the_strictest_isolation_stays(order, host_with):
    host_with(*of_django("SERIALIZABLE"))

    def work() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SHOW transaction_isolation")
            assert cursor.fetchone() == ("serializable",)

    run_short(work)


@on_postgresql
@pytest.mark.usefixtures("strict_host")
def test_a_strict_isolation_does_not_hide_what_was_reserved_before_the_lock(
    storefront, payment_system, order, stripe
):
    """A refund that waits for the lock must see the one that it has waited for."""
    office = AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    assert payment_system.payment(order).status_code == 200
    assert office.refund(order, {"amount": "12.00"}, key="first").status_code == 200

    def refund(number: int) -> Any:
        return office.refund(order, {"amount": "100.00"}, key=str(number)).status_code

    results = at_once(*(partial(refund, number) for number in range(8)))

    assert sorted(results) == [200] + 7 * [409]
    sent = [each.status for each in stripe.requests if each.path == "/v1/refunds"]
    assert sent == [200, 200]


@on_postgresql
@pytest.mark.usefixtures("strict_host")
def test_who_closes_an_item_sees_the_one_that_was_opened_meanwhile(
    storefront, payment_system, order, stripe
):
    """Found: the last item that it saw was closed, and a newer one waited unseen for ever."""
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    order.lines.update(quantity=1)
    pay(stripe, intent_id)
    assert payment_system.payment(order).status_code == 200
    item, holds, origin = ReviewItem.objects.get(), Hold(), Origin(source=Source.ADMIN)

    def open_another() -> None:
        locked = lock_payment(item.order_payment_id)
        row, reason = locked.intents[0], ReviewItem.Reason.DISPUTED
        open_review(locked, row, reason, "", origin=origin, subject="dp_1")
        locked.flush()
        holds.hold()

    def close() -> bool:
        holds.is_reached.wait(30)
        return close_review_item(item_pk=item.pk, reason="good", user=None, origin=origin)

    results = at_once(
        partial(run_short, open_another), close, partial(let_go_when_somebody_waits, holds)
    )

    assert results == [None, True, None]
    assert ReviewItem.objects.open().get().reason == "disputed"
    assert OrderPayment.objects.get().needs_review


@on_postgresql
def test_an_order_that_is_cancelled_while_a_customer_waits_for_the_lock_gets_no_intent(
    storefront, order, stripe
):
    """What was read before the wait is older than what was written by whoever was waited for."""
    storefront.payment_intent(order)
    payment, holds = OrderPayment.objects.get(), Hold()

    def cancel_the_order() -> None:
        lock_payment(payment.pk)
        holds.hold()
        Order.objects.update(status=Order.Status.CANCELLED)

    def ask() -> Any:
        holds.is_reached.wait(30)
        return answer(storefront.payment_intent(order))

    results = at_once(
        partial(run_short, cancel_the_order), ask, partial(let_go_when_somebody_waits, holds)
    )

    assert results == [None, (409, "order_not_payable"), None]


@on_postgresql
@pytest.mark.usefixtures("strict_host")
def test_a_cancellation_outside_of_a_transaction_waits_and_is_done(storefront, order, stripe):
    """Found: what had changed while it waited was raised at the shop."""
    storefront.payment_intent(order)
    payment, holds = OrderPayment.objects.get(), Hold()

    def change_it() -> None:
        lock_payment(payment.pk).payment.save()
        holds.hold()

    def cancel() -> None:
        holds.is_reached.wait(30)
        cancel_payment_on_commit(order_id=order.pk, origin=Origin(source=Source.ADMIN))

    results = at_once(
        partial(run_short, change_it), cancel, partial(let_go_when_somebody_waits, holds)
    )

    assert results == [None, None, None]
    assert not PaymentIntent.objects.open().exists()


def let_go_when_somebody_waits(holds: Hold) -> None:
    deadline = time.monotonic() + 30
    with connection.cursor() as cursor:
        while not cursor.execute(WAITING).fetchone() and time.monotonic() < deadline:
            time.sleep(0.02)
    holds.let_go.set()


WAITING = """
    SELECT 1 FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="SQLite locks all of the database")
def test_a_locked_database_is_waited_for(order, monkeypatch):
    """The other one lets go when it is seen that the first try has failed."""
    held, let_go = threading.Event(), threading.Event()
    runs = 0

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

    def work() -> None:
        nonlocal runs
        runs += 1
        Order.objects.update(email="me@example.com")

    run_short(work)
    connection.close()

    order.refresh_from_db()
    assert (runs, order.email) == (1, "me@example.com")


# --- a database that is away --------------------------------------------------------------------


@pytest.mark.parametrize("call", ["payment_intent", "payment"])
def test_a_database_that_is_away_is_said_and_heals(
    storefront, payment_system, order, stripe, database, call, caplog
):
    caller = storefront if call == "payment_intent" else payment_system
    database.goes_away()
    response = getattr(caller, call)(order)
    database.comes_back()

    assert (response.status_code, response.json()["code"]) == (503, "database_unavailable")
    assert response.headers["Retry-After"] == "10"
    assert "The database is away" in caplog.text
    assert stripe.requests == []
    assert storefront.payment_intent(order).status_code == 200


ROUTES = [
    (method, pattern.name)
    for pattern in urlpatterns
    for method in vars(pattern.callback)["actions"]
    if (method, pattern.name) not in {("head", pattern.name), ("get", "root")}
]
"""All but the root, which says the same to everybody and asks for nothing."""


@pytest.mark.parametrize(("method", "name"), ROUTES)
def test_every_route_says_that_the_database_is_away(
    storefront, order, stripe, database, method, name
):
    event = event_body(pay(stripe, storefront.payment_intent(order).json()["data"]["id"]))
    every_key = {"X-API-Key": issue_key(*APIKeyScope), "Stripe-Signature": sign(event)}
    arguments = [order.pk] if name not in {"orders", "stripe-webhook"} else []
    url, sent = reverse(f"shop_payments:{name}", args=arguments), len(stripe.requests)
    body = event if name == "stripe-webhook" else b""
    ask = partial(
        getattr(storefront.client, method),
        url,
        **({"data": body, "content_type": "application/json"} if method == "post" else {}),
        headers={**storefront.headers, **every_key},
    )

    database.goes_away()
    refused = ask()
    database.comes_back()

    assert answer(refused) == (503, "database_unavailable")
    assert refused.headers["Retry-After"] == "10"
    assert len(stripe.requests) == sent
    assert ask().status_code != 503


@pytest.mark.parametrize("method", ["get", "post"])
def test_a_browser_is_told_as_well(storefront, order, stripe, database, method):
    """The page would ask the database once more, for the user, and break."""
    headers = {**storefront.headers, "Accept": "text/html"}
    database.goes_away()
    response = getattr(storefront.client, method)(f"{BASE}/orders/{order.pk}", headers=headers)
    database.comes_back()

    assert answer(response) == (503, "database_unavailable")
    assert response.headers["Retry-After"] == "10"


def test_a_webhook_of_a_database_that_is_away_comes_again(
    storefront, order, stripe, webhooks, database, paid_signals
):
    intent = storefront.payment_intent(order).json()["data"]
    webhooks()
    pay(stripe, intent["id"])
    database.goes_away()
    webhooks()
    database.comes_back()
    assert not WebhookEvent.objects.filter(type="payment_intent.succeeded").exists()

    stripe.advance_clock(3600)
    webhooks()

    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1


@pytest.fixture
def standby():
    """A PostgreSQL that takes no writes, as after a failover, until the address has moved on."""
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    yield
    connection.close()


@on_postgresql
@pytest.mark.parametrize("call", ["payment_intent", "payment"])
def test_a_standby_is_no_500(storefront, payment_system, order, stripe, standby, call):
    """Found: what it says is no OperationalError."""
    caller = storefront if call == "payment_intent" else payment_system
    response = getattr(caller, call)(order)
    connection.close()

    assert answer(response) == (503, "database_unavailable")
    assert response.headers["Retry-After"] == "10"
    assert stripe.requests == []
    assert storefront.payment_intent(order).status_code == 200


@on_postgresql
def test_a_webhook_of_a_standby_comes_again(storefront, order, stripe, request):
    body = event_body(pay(stripe, storefront.payment_intent(order).json()["data"]["id"]))
    request.getfixturevalue("standby")
    refused = post_webhook(body, sign(body))
    connection.close()

    assert answer(refused) == (503, "database_unavailable")
    assert post_webhook(body, sign(body)).status_code == 200
    assert OrderPayment.objects.get().status == "paid"
