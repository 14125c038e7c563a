"""A stand-in for Stripe that answers at once: ``python -m tests.benchmarks.stub``.

It knows payment intents and their refunds, in the shapes of the sandbox, and prints its port. It
checks nothing, so that a benchmark measures the app and not the sandbox. Two routes of its own:
``POST /_status/STATUS`` moves all intents, ``GET /_calls`` returns the number of calls so far.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

from shop_payments.sandbox import Sandbox

KEY = "sk_test_of_the_benchmarks"
AMOUNT, CURRENCY = 11200, "usd"
_ID, _REFUND, _CHARGE = "pi_TheBenchmarksIntent", "re_TheBenchmarksRefund", "ch_TheBenchmarksCharge"
_ATTEMPT, _ORDER = "the-attempt", "the-order"


class Shapes:
    """The sandbox's JSON of an intent by status, of its events and its refunds."""

    def __init__(self) -> None:
        sandbox = Sandbox()
        self._sandbox = sandbox
        form = (
            f"amount={AMOUNT}&currency={CURRENCY}&allowed_payment_method_types[0]=card"
            f"&metadata[attempt_id]={_ATTEMPT}&metadata[order_id]={_ORDER}"
        )
        intent = self._ask("POST", "payment_intents", form)
        slow_form = f"{form}&allowed_payment_method_types[1]=us_bank_account"
        slow = self._ask("POST", "payment_intents", slow_form)
        self._real_id = intent["id"]
        self._ask("POST", f"payment_intents/{intent['id']}/confirm", "payment_method=pm_card_visa")
        mandate = "payment_method=pm_usBankAccount_success"
        mandate += "&mandate_data[customer_acceptance][type]=offline"
        self._ask("POST", f"payment_intents/{slow['id']}/confirm", mandate)
        path = "payment_intents/{}?expand[]=latest_charge"
        paid = self._ask("GET", path.format(intent["id"]))
        self._charge = paid["latest_charge"]["id"]
        self._refund = self._ask(
            "POST",
            "refunds",
            f"payment_intent={intent['id']}&amount=1200&metadata[attempt_id]={_ATTEMPT}",
        )
        processing = self._ask("GET", path.format(slow["id"]))
        self.intents = {
            "requires_payment_method": self._text(intent),
            "processing": self._text(processing, slow["id"]),
            "succeeded": self._text(paid),
        }
        self.refund = self._text(self._refund)
        self.refunds = self._text(self._ask("GET", f"refunds?payment_intent={intent['id']}"))
        self.nothing = json.dumps(
            {"object": "list", "data": [], "has_more": False, "url": "/v1/refunds"}
        )
        self.events = {}
        for event in sandbox.events:
            about = event["data"]["object"]
            for known in (intent["id"], slow["id"]):
                if known in json.dumps(about):
                    self.events[event["type"]] = self._text(event, known)

    def _ask(self, method: str, path: str, form: str = "") -> dict[str, Any]:
        answer = self._sandbox.handle(
            method, f"/v1/{path}", {"Authorization": f"Bearer {KEY}"}, form
        )
        values: dict[str, Any] = json.loads(answer.body)
        if answer.status != 200:
            raise AssertionError(values)
        return values

    def _text(self, values: dict[str, Any], intent: str = "") -> str:
        text = json.dumps(values)
        text = text.replace(intent or self._real_id, _ID).replace(self._charge, _CHARGE)
        refund = getattr(self, "_refund", None)
        return text if refund is None else text.replace(refund["id"], _REFUND)


def fill(text: str, intent: str, *, attempt: str = "", order: str = "") -> str:
    """Put the ids of one payment into a template."""
    suffix = intent.removeprefix("pi_")
    return (
        text.replace(_ID, intent)
        .replace(_REFUND, f"re_{suffix}")
        .replace(_CHARGE, f"ch_{suffix}")
        .replace(_ATTEMPT, attempt)
        .replace(_ORDER, order)
    )


class Stub:
    """The payment intents of one run."""

    def __init__(self) -> None:
        self.shapes = Shapes()
        self.attempts: dict[str, tuple[str, str]] = {}
        self.status = "requires_payment_method"
        self.calls = 0
        self._ids = itertools.count(1)
        self._by_key: dict[str, str] = {}

    def answer(self, method: str, path: str, key: str, form: str) -> tuple[str, bool]:
        """Return the body of the answer, and whether it is a call to Stripe."""
        path, _, query = path.partition("?")
        if path == "/_calls":
            return json.dumps(self.calls), False
        if path.startswith("/_status/"):
            self.status = path.rpartition("/")[2]
            return "{}", False
        if path == "/v1/payment_intents" and method == "POST":
            intent = self._by_key.get(key) or f"pi_bench{next(self._ids):012d}"
            self._by_key[key or intent] = intent
            values = dict(parse_qsl(form))
            attempt, order = values.get("metadata[attempt_id]"), values.get("metadata[order_id]")
            self.attempts[intent] = (attempt or "", order or "")
            return self._intent(intent, "requires_payment_method"), True
        if path.startswith("/v1/payment_intents/"):
            return self._intent(path.split("/")[3], self.status), True
        values = dict(parse_qsl(query or form))
        intent = values.get("payment_intent", "pi_nothing")
        if path == "/v1/refunds":
            text = self.shapes.refund if method == "POST" else self.shapes.refunds
            return fill(text, intent, attempt=values.get("metadata[attempt_id]", "")), True
        return self.shapes.nothing, True

    def _intent(self, intent: str, status: str) -> str:
        attempt, order = self.attempts.get(intent, ("", ""))
        return fill(self.shapes.intents[status], intent, attempt=attempt, order=order)


class _Protocol(asyncio.Protocol):
    """HTTP/1.1 with kept connections, as far as stripe-python and http.client use it."""

    def __init__(self, stub: Stub) -> None:
        self._stub, self._buffer = stub, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in map(_split, lines)}
            length = int(headers.get("content-length", 0))
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length].decode()
            self._buffer = self._buffer[end + 4 + length :]
            method, path, _ = first.split(" ")
            text, counts = self._stub.answer(method, path, headers.get("idempotency-key", ""), body)
            self._stub.calls += counts
            content = text.encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRequest-Id: req_bench\r\n"
                b"Date: %s\r\nContent-Length: %d\r\n\r\n%s"
                % (_a_minute_ago(), len(content), content)
            )


def _a_minute_ago() -> bytes:
    """The time of an answer: customers take a minute to pay, and the benchmark does not wait."""
    return formatdate(time.time() - 60, usegmt=True).encode()


def _split(line: str) -> tuple[str, str, str]:
    return line.partition(":")


async def serve() -> None:
    loop = asyncio.get_running_loop()
    stub = Stub()
    server = await loop.create_server(lambda: _Protocol(stub), "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
