"""Compare the app with a payment view written by hand, and with a floor.

One gunicorn sync worker on one core; the clients, the database and a stand-in for Stripe that
answers at once use the other ones. In each round, the projects take turns with each scenario, so
that the speed of the machine changes little between them. The figures are medians of the rounds.
The ratios count: each is the median of the ratios within a round.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import pstats
import re
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from tests.benchmarks import servers
from tests.benchmarks.servers import WEBHOOK_SECRET, Costs, Server, ask
from tests.benchmarks.stub import Shapes, fill

CLIENTS = 4
API_KEY = "spk_bench_" + "k" * 43


@dataclass(frozen=True)
class Call:
    """One HTTP request."""

    path: str
    body: bytes = b""
    method: str = "POST"
    headers: tuple[str, ...] = ()

    def wire(self) -> bytes:
        lines = [
            f"{self.method} {self.path} HTTP/1.1",
            "Host: 127.0.0.1",
            "X-Forwarded-Proto: https",
            "Content-Type: application/json",
            f"Content-Length: {len(self.body)}",
            "Connection: close",
            *self.headers,
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


@dataclass
class Answers:
    """What a batch of calls took."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statements: int = 0
    costs: list[Costs] = field(default_factory=list)

    def add(self, other: Answers) -> None:
        self.seconds += other.seconds
        self.latencies += other.latencies
        self.statements += other.statements
        self.costs += other.costs


class Project:
    """A project under test, and how its routes are called."""

    name: str
    application: str
    settings: str
    prefix: str
    webhook_path: str

    def __init__(self, database: str, stub_port: int) -> None:
        self.database, self.stub_port = database, stub_port
        self.environ = servers.environment(self.settings, database, stub_port)

    def prepare(self, orders: int) -> None:
        """Create the tables, and so many orders, each of a customer with a token."""
        command = [sys.executable, "-m", "django", "migrate", "-v0", "--run-syncdb"]
        subprocess.run(command, env=self.environ, cwd=servers.ROOT, check=True)
        with psycopg.connect(self.database) as connection:
            connection.execute(
                "INSERT INTO auth_user (username, password, is_superuser, first_name, last_name, "
                "email, is_staff, is_active, date_joined) SELECT 'u' || n, '!', false, '', '', "
                "'', false, true, now() FROM generate_series(1, %s) n",
                [orders],
            )
            connection.execute(
                "INSERT INTO authtoken_token (key, created, user_id) "
                "SELECT lpad(id::text, 40, '0'), now(), id FROM auth_user"
            )
            self.insert(connection)
            connection.commit()
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")

    def insert(self, connection: psycopg.Connection[Any]) -> None:
        """Insert the orders of all users, and the API key."""
        raise NotImplementedError

    @contextmanager
    def serve(self, **options: str) -> Iterator[Server]:
        """Run it under gunicorn; the options of ``wsgi.py`` are environment variables."""
        environ = {**self.environ, **options}
        with servers.gunicorn(self.application, environ, stub_port=self.stub_port) as server:
            yield server

    def intent(self, order: int) -> Call:
        headers = (
            f"Authorization: Bearer {order:040d}",
            f"X-API-Key: {API_KEY}",
            f"X-Forwarded-For: 10.{order >> 16 & 255}.{order >> 8 & 255}.{order & 255}",
        )
        return Call(f"{self.prefix}/orders/{order}/payment-intent", headers=headers)

    def webhook(self, body: str) -> Call:
        now = int(time.time())
        digest = hmac.new(WEBHOOK_SECRET.encode(), f"{now}.{body}".encode(), hashlib.sha256)
        signature = f"Stripe-Signature: t={now},v1={digest.hexdigest()}"
        return Call(self.webhook_path, body.encode(), headers=(signature,))


class Floor(Project):
    """Raw WSGI: see ``floor.py``."""

    name, settings, prefix, webhook_path = "floor", "", "", "/webhook"
    application = "tests.benchmarks.floor:application"

    def prepare(self, orders: int) -> None:
        with psycopg.connect(self.database) as connection:
            connection.execute("CREATE TABLE floor (id bigserial PRIMARY KEY, body text)")


class Minimum(Project):
    """A view written by hand: see ``minimum/urls.py``."""

    name, settings = "minimum", "tests.benchmarks.minimum.settings"
    application = "tests.benchmarks.wsgi:application"
    prefix, webhook_path = "", "/webhook"

    def insert(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(
            "INSERT INTO minimum_order (id, customer_id, total) SELECT id, id, 11200 FROM auth_user"
        )
        digest = hashlib.sha256(API_KEY.encode()).hexdigest()
        connection.execute("INSERT INTO minimum_apikey (digest) VALUES (%s)", [digest])


class Ours(Project):
    """The demo project with the app."""

    name, settings = "shop_payments", "tests.benchmarks.settings"
    application = "tests.benchmarks.wsgi:application"
    prefix, webhook_path = "/api/v1/shop", "/api/v1/shop/webhooks/stripe"

    def insert(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute(
            "INSERT INTO shop_payments_order (id, number, customer_id, email, status, currency, "
            "created_at, updated_at) SELECT id, 'ORD-20261129-' || id, id, email, 'open', 'usd', "
            "now(), now() FROM auth_user"
        )
        connection.execute(
            "INSERT INTO shop_payments_orderline (order_id, name, description, unit_amount, "
            "quantity) SELECT id, 'Main product 2', '', 5600, 2 FROM auth_user"
        )
        insert_api_key(connection)

    def settle(self, order: int) -> Call:
        """Call 3: the payment system's hint that an order has been paid."""
        return Call(f"{self.prefix}/orders/{order}/payment", headers=(f"X-API-Key: {API_KEY}",))

    def refund(self, order: int) -> Call:
        headers = (f"X-API-Key: {API_KEY}", f"Idempotency-Key: refund-of-{order}")
        body = b'{"amount": "12.00"}'
        return Call(f"{self.prefix}/orders/{order}/refunds", body, headers=headers)

    def order_list(self, order: int) -> Call:
        headers = self.intent(order).headers
        return Call(f"{self.prefix}/orders", method="GET", headers=headers)


def insert_api_key(connection: psycopg.Connection[Any]) -> None:
    """Insert the key that the clients show."""
    connection.execute(
        "INSERT INTO shop_payments_apikey (prefix, digest, label, scopes, created_at) "
        "VALUES ('bench', %s, 'benchmarks', %s, now())",
        [
            hashlib.sha256(API_KEY.encode()).hexdigest(),
            json.dumps(["storefront", "payments", "refunds"]),
        ],
    )


# --- clients ------------------------------------------------------------------------------------

Script = Generator[Call, bytes, None]
"""What one customer does: yields calls, and gets the body of each answer."""


def run(server: Server, scripts: Sequence[Script], *, clients: int = CLIENTS) -> Answers:
    """Run the scripts, each client one after the other; return what they took."""
    parts = [Answers() for _client in range(clients)]
    before, began = server.costs(), time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        work = [
            pool.submit(_client, server.port, scripts[number::clients], part)
            for number, part in enumerate(parts)
        ]
        for each in work:
            each.result()
    total = Answers(seconds=time.perf_counter() - began, costs=[server.costs() - before])
    for part in parts:
        total.add(part)
    return total


def _client(port: int, scripts: Sequence[Script], answers: Answers) -> None:
    for script in scripts:
        call = next(script)
        while True:
            began = time.perf_counter()
            head, _, body = _exchange(port, call).partition(b"\r\n\r\n")
            answers.latencies.append(time.perf_counter() - began)
            if not head.startswith(b"HTTP/1.1 200"):
                raise AssertionError(f"{call}: {head!r} {body!r}")
            counted = re.search(rb"X-Statements: ([0-9]+)", head, re.IGNORECASE)
            answers.statements += int(counted[1]) if counted else 0
            try:
                call = script.send(body)
            except StopIteration:
                break


def _exchange(port: int, call: Call) -> bytes:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(call.wire())
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


# --- scenarios ----------------------------------------------------------------------------------


@dataclass
class Bench:
    """One project's server during one round."""

    project: Any
    server: Server
    shapes: Shapes
    orders: Iterator[int]

    def at_stripe(self, status: str) -> None:
        """Move all intents at Stripe."""
        ask(self.server.stub, "POST", f"/_status/{status}")

    def take(self, size: int) -> list[int]:
        """Return the ids of orders that nobody has paid yet."""
        return [next(self.orders) for _number in range(size)]

    def event(self, type_: str, intent: str) -> Call:
        body = fill(self.shapes.events[type_], intent)
        event_id = f"evt_{type_.rpartition('.')[2]}{intent.removeprefix('pi_')}"
        created = int(time.time()) - _SECONDS_AGO[type_]
        body = _CREATED.sub(rf"\g<1>{created}", body, count=1)
        call: Call = self.project.webhook(_EVENT_ID.sub(f'"id": "{event_id}"', body, count=1))
        return call

    def open_intents(self, orders: Sequence[int]) -> dict[int, str]:
        """Create the intents of orders; return them by order."""
        self.at_stripe("requires_payment_method")
        intents: dict[int, str] = {}

        def script(order: int) -> Script:
            intents[order] = _intent_in((yield self.project.intent(order)))

        run(self.server, [script(order) for order in orders])
        return intents

    def send(self, type_: str, intents: Iterable[str]) -> Answers:
        """Deliver an event about each intent."""
        return run(self.server, [single(self.event(type_, each)) for each in intents])


_SECONDS_AGO = {
    "payment_intent.created": 60,
    "payment_intent.processing": 30,
    "payment_intent.succeeded": 10,
    "charge.refunded": 0,
}
_CREATED = re.compile(r'("created": )[0-9]+')
_EVENT_ID = re.compile(r'"id": "evt_[^"]*"')


def single(call: Call) -> Script:
    """Make one call."""
    yield call


def _intent_in(body: bytes) -> str:
    values = json.loads(body)
    found: str = values.get("data", values)["id"]
    return found


def whole_payment(bench: Bench, size: int) -> Answers:
    """The intent, and the events ``created`` and ``succeeded``; a unit is a payment."""
    bench.at_stripe("requires_payment_method")

    def script(order: int) -> Script:
        intent = _intent_in((yield bench.project.intent(order)))
        yield bench.event("payment_intent.created", intent)
        yield bench.event("payment_intent.succeeded", intent)

    return run(bench.server, [script(order) for order in bench.take(size)])


def webhook_mix(bench: Bench, size: int) -> Answers:
    """``created``, ``processing``, ``succeeded`` and ``charge.refunded``, a quarter each."""
    intents = bench.open_intents(bench.take(size // 4)).values()
    total = Answers()
    for type_ in EVENTS:
        status = type_.rpartition(".")[2]
        bench.at_stripe(_STATUS_AT.get(status, status))
        total.add(bench.send(type_, intents))
    return total


def succeeded_event(bench: Bench, size: int) -> Answers:
    """``payment_intent.succeeded`` alone."""
    intents = bench.open_intents(bench.take(size)).values()
    return bench.send("payment_intent.succeeded", intents)


def first_intent(bench: Bench, size: int) -> Answers:
    """Call 1 for an order that has no intent yet."""
    bench.at_stripe("requires_payment_method")
    orders = bench.take(size)
    return run(bench.server, [single(bench.project.intent(order)) for order in orders])


def repeated_intent(bench: Bench, size: int) -> Answers:
    """Call 1 again, for an order whose intent is open."""
    orders = bench.take(size)
    bench.open_intents(orders)
    return run(bench.server, [single(bench.project.intent(order)) for order in orders])


def settling(bench: Bench, size: int) -> Answers:
    """Call 3, for an order whose intent has succeeded at Stripe."""
    orders = bench.take(size)
    bench.open_intents(orders)
    bench.at_stripe("succeeded")
    return run(bench.server, [single(bench.project.settle(order)) for order in orders])


def refunding(bench: Bench, size: int) -> Answers:
    """A refund in part of a paid order."""
    orders = bench.take(size)
    bench.send("payment_intent.succeeded", bench.open_intents(orders).values())
    return run(bench.server, [single(bench.project.refund(order)) for order in orders])


def listing(bench: Bench, size: int) -> Answers:
    """``GET orders`` of a customer with one order."""
    orders = bench.take(size)
    return run(bench.server, [single(bench.project.order_list(order)) for order in orders])


EVENTS = (
    "payment_intent.created",
    "payment_intent.processing",
    "payment_intent.succeeded",
    "charge.refunded",
)
_STATUS_AT = {"created": "requires_payment_method", "refunded": "succeeded"}

Scenario = Callable[[Bench, int], Answers]
ALL = (Floor, Minimum, Ours)
SCENARIOS: dict[str, tuple[Scenario, tuple[type[Project], ...]]] = {
    "whole payment": (whole_payment, ALL),
    "webhook mix": (webhook_mix, ALL),
    "succeeded event": (succeeded_event, ALL),
    "first intent": (first_intent, ALL),
    "repeated intent": (repeated_intent, (Minimum, Ours)),
    "call 3": (settling, (Ours,)),
    "refund": (refunding, (Ours,)),
    "order list": (listing, (Ours,)),
}


# --- figures ------------------------------------------------------------------------------------


@dataclass
class Figures:
    """What one scenario took in one project, over all rounds."""

    rates: list[float] = field(default_factory=list)
    answers: Answers = field(default_factory=Answers)
    units: int = 0
    statements: float = 0.0

    def add(self, answers: Answers, units: int) -> None:
        """Add a round."""
        self.rates.append(units / answers.seconds)
        self.answers.add(answers)
        self.units += units

    @property
    def rate(self) -> float:
        """Units per second: the median of the rounds."""
        return statistics.median(self.rates)

    def ratio(self, base: Figures) -> float:
        """The rate beside another: the median of the rounds, in which the two take turns."""
        return statistics.median(
            rate / other for rate, other in zip(self.rates, base.rates, strict=True)
        )


def compare(url: str, *, rounds: int, size: int, chosen: Sequence[str] = ()) -> None:
    """Run the scenarios and print the table. ``url`` is that of a PostgreSQL."""
    names = [each for each in SCENARIOS if not chosen or each in chosen]
    figures = {name: {kind.name: Figures() for kind in SCENARIOS[name][1]} for name in names}
    shapes = Shapes()
    with ExitStack() as stack:
        port = stack.enter_context(servers.stub())
        projects: dict[Any, tuple[Project, count[int]]] = {}
        benches: dict[Any, Bench] = {}
        for kind in ALL:
            name = f"shop_payments_bench_{kind.name}"
            project: Project = kind(stack.enter_context(servers.database(url, name)), port)
            project.prepare((rounds + 2) * size * len(names))
            projects[kind] = (project, count(1))
        for number in range(rounds + 1):
            # The first round warms up the database, and counts the statements.
            is_first = number == 0
            settings = {"BENCHMARK_COUNTS": "1"} if is_first else {}
            with ExitStack() as running:
                for kind, (project, orders) in projects.items():
                    server = running.enter_context(project.serve(**settings))
                    benches[kind] = Bench(project, server, shapes, orders)
                    # Connections and caches.
                    benches[kind].open_intents(benches[kind].take(CLIENTS))
                for name in names:
                    scenario, kinds = SCENARIOS[name]
                    # In turns, because the database may do its late work during the next one.
                    for each in kinds[:: -1 if number % 2 else 1]:
                        answers = scenario(benches[each], size)
                        row = figures[name][each.name]
                        if is_first:
                            row.statements = answers.statements / size
                        else:
                            row.add(answers, size)
    _print(figures)


def profile(server: str, *, size: int, chosen: Sequence[str]) -> None:
    """Print where the app spends its time in each scenario, by function and cumulatively."""
    with ExitStack() as stack:
        port = stack.enter_context(servers.stub())
        url = stack.enter_context(servers.database(server, "shop_payments_bench_profile"))
        folder = stack.enter_context(TemporaryDirectory())
        project = Ours(url, port)
        names = chosen or [*SCENARIOS]
        project.prepare(2 * size * len(names))
        orders, shapes = count(1), Shapes()
        for name in names:
            path = f"{folder}/profile"
            with project.serve(BENCHMARK_PROFILE=path) as running:
                SCENARIOS[name][0](Bench(project, running, shapes, orders), size)
            sys.stdout.write(f"\n{name}\n")
            pstats.Stats(path).sort_stats("cumulative").print_stats(60)
            pstats.Stats(path).sort_stats("tottime").print_stats(25)


_HEAD = (
    "scenario", "project", "per s", "× min.", "p50 ms", "p99 ms", "app ms", "db ms", "statements",
    "commits", "calls",
)  # fmt: skip


def _print(figures: dict[str, dict[str, Figures]]) -> None:
    _print_line(*_HEAD)
    for name, rows in figures.items():
        base = rows.get(Minimum.name)
        for project, row in rows.items():
            costs, units = row.answers.costs, row.units
            latencies = sorted(row.answers.latencies)
            _print_line(
                name,
                project,
                f"{row.rate:.0f}",
                f"{row.ratio(base):.2f}" if base else "–",
                f"{1000 * statistics.median(latencies):.1f}",
                f"{1000 * latencies[int(len(latencies) * 0.99)]:.1f}",
                f"{1000 * sum(each.app for each in costs) / units:.2f}",
                f"{1000 * sum(each.database for each in costs) / units:.2f}",
                f"{row.statements:.1f}" if project != Floor.name else "–",
                f"{sum(each.transactions for each in costs) / units:.1f}",
                f"{sum(each.calls for each in costs) / units:.2f}",
            )


def _print_line(name: str, project: str, *cells: str) -> None:
    sys.stdout.write(f"{name:16}{project:14}{''.join(f'{cell:>11}' for cell in cells)}\n")
