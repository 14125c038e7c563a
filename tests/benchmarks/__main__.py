"""How fast the sandbox is here: `python -m tests.benchmarks`. Prints, and judges nothing."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import stripe

from shop_payments.sandbox import Sandbox, SandboxServer
from tests.sandbox.support import INTENTS, KEY, ORDER, InProcessHTTPClient

ROOT = Path(__file__).parents[2]
SECONDS = 3.0
ROUNDS = 3


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


def show(what: str, figure: float, unit: str) -> None:
    sys.stdout.write(f"{what:55} {figure:8.2f} {unit}\n")


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
    headers = {"Authorization": f"Bearer {KEY}"}
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
