"""A burst of webhooks, and the memory of a worker over many requests."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, count
from pathlib import Path

import psycopg

from tests.benchmarks import servers
from tests.benchmarks.payments import Bench, Ours, Script, run, single
from tests.benchmarks.servers import Server
from tests.benchmarks.stub import Shapes

BURST_CLIENTS = 32
_PAYERS = 500
_SAMPLES = 10


@contextmanager
def _bench(server: str, orders: int) -> Iterator[Bench]:
    """Serve the app with so many orders in a database of its own."""
    with ExitStack() as stack:
        port = stack.enter_context(servers.stub())
        url = stack.enter_context(servers.database(server, "shop_payments_bench_pressure"))
        project = Ours(url, port)
        project.prepare(orders)
        running = stack.enter_context(project.serve())
        yield Bench(project, running, Shapes(), count(1))


def burst(server: str, events: int) -> None:
    """Send so many events about different payments at once; raise if one is lost or doubled."""
    payments = events // 2
    with _bench(server, payments) as bench:
        intents = [*bench.open_intents(bench.take(payments)).values()]
        created = (bench.event("payment_intent.created", each) for each in intents)
        succeeded = (bench.event("payment_intent.succeeded", each) for each in intents)
        scripts = [single(call) for call in chain(created, succeeded)]
        took = run(bench.server, scripts, clients=BURST_CLIENTS)  # raises unless all are 200
        with psycopg.connect(bench.server.database) as connection:
            stored = _count(connection, "webhookevent", "status = 'processed'")
            paid = _count(connection, "paymenthistory", "kind = 'order_paid'")
    if (stored, paid) != (2 * payments, payments):
        raise AssertionError(f"{stored} events and {paid} paid orders of {payments}")
    latencies = sorted(took.latencies)
    p50, p99 = statistics.median(latencies), latencies[int(len(latencies) * 0.99)]
    sys.stdout.write(
        f"{stored} events of {payments} payments from {BURST_CLIENTS} clients to one worker:"
        f" all answered with 200, none stored twice, {paid} orders paid once;"
        f" {stored / took.seconds:.0f} per second, p50 {1000 * p50:.0f} ms,"
        f" p99 {1000 * p99:.0f} ms ({p99 / p50:.1f} × p50)\n"
    )


def _count(connection: psycopg.Connection[tuple[int]], table: str, condition: str) -> int:
    sql = f"SELECT count(*) FROM shop_payments_{table} WHERE {condition}"
    row = connection.execute(sql.encode()).fetchone()
    assert row is not None
    return row[0]


def memory(server: str, requests: int) -> None:
    """Print a worker's resident memory while it answers so many requests."""
    with _bench(server, _PAYERS) as bench:
        orders = bench.take(_PAYERS)
        bench.open_intents(orders)
        batch = requests // _SAMPLES
        for number in range(_SAMPLES + 1):
            if number:
                run(bench.server, [*_reads(bench, orders, batch)])
            sys.stdout.write(f"{number * batch:9,} requests: {_resident(bench.server):,} KiB\n")
            sys.stdout.flush()


def _reads(bench: Bench, orders: list[int], size: int) -> Iterator[Script]:
    for number in range(size):
        order = orders[number % len(orders)]
        ask = bench.project.order_list if number % 2 else bench.project.intent
        yield single(ask(order))


def _resident(server: Server) -> int:
    """Return the resident memory of the worker in KiB."""
    (worker,) = servers.children(server.pid)
    for line in Path(f"/proc/{worker}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("the worker has ended")
