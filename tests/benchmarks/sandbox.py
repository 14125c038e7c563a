"""How fast the sandbox is here: `python -m tests.benchmarks`. Prints, and judges nothing."""

from __future__ import annotations

import contextlib
import io
import itertools
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import stripe

from shop_payments.sandbox import Sandbox, SandboxServer
from tests.sandbox import malformed
from tests.sandbox.support import CHARGES, EVENTS, INTENTS, KEY, ORDER, REFUNDS

ROOT = Path(__file__).parents[2]
SECONDS = 3.0
ROUNDS = 3
MALFORMED = 10_000
CONNECTIONS = 300
FEW, MANY = 1_000, 50_000
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}


class InProcessHTTPClient(stripe.HTTPClient):
    """Carries stripe-python's requests to the sandbox by a function call."""

    name = "sandbox"

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self.sandbox = sandbox

    def request(
        self, method: str, url: str, headers: Any, post_data: Any = None, **kwargs: Any
    ) -> tuple[str, int, Mapping[str, str]]:
        response = self.sandbox.handle(method, url, headers, post_data)
        return response.body.decode(), response.status, response.headers

    def close(self) -> None:
        pass


def main() -> None:
    """Print every figure with its unit."""
    show("manage.py shop_payments_sandbox, until it listens", command_start(), "s")
    show("SandboxServer, until its first answer", server_start(), "s")
    in_process = per_second(in_process_create())
    through_sdk = per_second(sdk_create(InProcessHTTPClient(Sandbox())))
    show("intents created in-process", in_process, "per second")
    show(
        "the same, each event delivered",
        per_second(in_process_create(webhook=True)),
        "per second",
    )
    show("intents created through stripe-python, no socket", through_sdk, "per second")
    show("in-process to stripe-python", in_process / through_sdk, ": 1")
    with SandboxServer(Sandbox()) as server:
        over_socket = per_second(sdk_create(stripe.RequestsClient(), server.url))
    show("intents created through stripe-python, over a socket", over_socket, "per second")
    show(f"{CONNECTIONS} connections at once, until all are answered", connections(), "s")
    show("an event to a receiver beside one that hangs", beside_a_hanging_receiver() * 1000, "ms")
    show_malformed()
    show_lists()


def show(what: str, figure: float, unit: str) -> None:
    sys.stdout.write(f"{what:55} {figure:8.2f} {unit}\n")
    sys.stdout.flush()


def connections() -> float:
    with SandboxServer(Sandbox()) as server:
        port = int(server.url.rpartition(":")[2])
        began = time.perf_counter()
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        for client in clients:
            client.sendall(malformed.request_of("GET", EVENTS, ""))
        for client in clients:
            if not client.recv(1000).startswith(b"HTTP/1.1 200 "):
                raise AssertionError("not answered")
        took = time.perf_counter() - began
        for client in clients:
            client.close()
    return took


def beside_a_hanging_receiver() -> float:
    arrived, let_go = threading.Event(), threading.Event()
    sandbox = Sandbox()

    def answer(url: str, body: bytes, headers: dict[str, str]) -> int:
        arrived.set()
        return 200

    sandbox.add_webhook("http://127.0.0.1/", "whsec_x", deliver=lambda *_: int(let_go.wait(30)))
    sandbox.add_webhook("http://127.0.0.1/", "whsec_x", deliver=answer)
    with SandboxServer(sandbox):
        began = time.perf_counter()
        sandbox.handle("POST", INTENTS, AUTHORIZED, urlencode(ORDER))
        arrived.wait(30)
        took = time.perf_counter() - began
        let_go.set()
    return took


def show_malformed() -> None:
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed), SandboxServer(Sandbox()) as server:
        began = time.perf_counter()
        found = malformed.answers(server, 17, MALFORMED)
        rate = MALFORMED / (time.perf_counter() - began)
    show(f"{MALFORMED} malformed requests", rate, "per second")
    show("    without an answer", found["hang"], "")
    show("    with a traceback", printed.getvalue().count("Traceback") + found["500"], "")


def show_lists() -> None:
    """Print what lists take among few and among many payments, and the memory of a payment."""
    sandbox = Sandbox()
    create = paid(sandbox)
    took: dict[int, dict[str, float]] = {}
    before = kilobytes()
    for size in (FEW, MANY):
        for _ in range(size - len(sandbox._books.payment_intents)):
            create()
        took[size] = {name: list_seconds(sandbox, url) for name, url in lists(sandbox).items()}
    used = kilobytes() - before
    for name, seconds in took[MANY].items():
        show(f"list {name}, {MANY} intents", seconds * 1000, "ms")
        show(f"    to {FEW} intents", seconds / took[FEW][name], ": 1")
    show(f"memory for each of {MANY} paid intents, key and events", used / MANY, "kB")


def paid(sandbox: Sandbox) -> Callable[[], None]:
    form = urlencode({**ORDER, "payment_method": "pm_card_visa", "confirm": "true"})
    numbers = itertools.count()

    def create() -> None:
        headers = {**AUTHORIZED, "Idempotency-Key": str(next(numbers))}
        answer = sandbox.handle("POST", INTENTS, headers, form)
        if answer.status != 200:
            raise AssertionError(answer.body)

    return create


def lists(sandbox: Sandbox) -> dict[str, str]:
    charge = next(iter(sandbox._books.charges.values()))
    now = int(sandbox.now)
    return {
        "intents": INTENTS,
        "intents by created": f"{INTENTS}?created[gte]={now - 1}",
        "charges by intent": f"{CHARGES}?payment_intent={charge['payment_intent']}",
        "refunds by charge": f"{REFUNDS}?charge={charge['id']}",
        "events by type": f"{EVENTS}?type=charge.succeeded",
        "events by pattern": f"{EVENTS}?type=charge.*",
        "events by a type that is not there": f"{EVENTS}?type=refund.created",
    }


def list_seconds(sandbox: Sandbox, url: str) -> float:
    """Return the shortest time of many, because the machine does other work."""
    found = []
    for _ in range(100):
        began = time.perf_counter()
        sandbox.handle("GET", url, AUTHORIZED)
        found.append(time.perf_counter() - began)
    return min(found)


def kilobytes() -> int:
    """Return the most memory that this process has used (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def per_second(act: Callable[[], object]) -> float:
    """Return the rate of the best of a few rounds; the others had company on the machine."""
    return max(rate(act) for _ in range(ROUNDS))


def rate(act: Callable[[], object]) -> float:
    count, began = 0, time.perf_counter()
    while (took := time.perf_counter() - began) < SECONDS / ROUNDS:
        act()
        count += 1
    return count / took


def in_process_create(*, webhook: bool = False) -> Callable[[], object]:
    sandbox = Sandbox()
    if webhook:
        sandbox.add_webhook("http://127.0.0.1/", "whsec_x", deliver=lambda *_: 200)
    headers = dict(AUTHORIZED)
    form = urlencode(ORDER)
    numbers = itertools.count()

    def create() -> None:
        headers["Idempotency-Key"] = str(next(numbers))
        answer = sandbox.handle("POST", INTENTS, headers, form)
        if answer.status != 200:
            raise AssertionError(answer.body)
        sandbox.deliver_due()

    return create


def sdk_create(
    http_client: stripe.HTTPClient, url: str = "http://127.0.0.1"
) -> Callable[[], object]:
    client = stripe.StripeClient(KEY, http_client=http_client, base_addresses={"api": url})
    return lambda: client.v1.payment_intents.create(
        {"amount": 11200, "currency": "usd", "allowed_payment_method_types": ["card"]}
    )


def server_start() -> float:
    began = time.perf_counter()
    with SandboxServer(Sandbox()) as server:
        sdk_create(stripe.RequestsClient(), server.url)()
        return time.perf_counter() - began


def command_start() -> float:
    command = [sys.executable, "-u", "manage.py", "shop_payments_sandbox", "--port", "0"]
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "http://" in line)
        took = time.perf_counter() - began
        process.terminate()
    return took


if __name__ == "__main__":
    main()
