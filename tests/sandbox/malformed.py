"""Malformed requests, the same for the same seed, and what a server answers them."""

from __future__ import annotations

import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from urllib.parse import quote

from shop_payments.sandbox import SandboxServer
from shop_payments.sandbox.routes import ROUTES
from tests.sandbox.support import KEY, NEW_CARD, ORDER, PUBLISHABLE_KEY, Api

HANG_SECONDS = 20.0
"""A request without an answer after so many seconds hangs."""
CLIENTS = 16

VALID = [
    ("/v1/payment_intents", {**ORDER, "payment_method": "pm_card_visa", "confirm": "true"}),
    ("/v1/payment_intents/{id}/capture", {"amount_to_capture": "100"}),
    ("/v1/payment_intents/{id}", {"amount": "100", "shipping[name]": "x", "metadata[a]": "b"}),
    ("/v1/payment_methods", NEW_CARD),
    ("/v1/refunds", {"charge": "{id}", "amount": "1"}),
    ("/v1/webhook_endpoints", {"url": "http://127.0.0.1:9/", "enabled_events[]": "*"}),
    ("/v1/disputes/{id}", {"evidence[uncategorized_text]": "winning_evidence"}),
]
METHODS = [*"GET POST DELETE HEAD PUT OPTIONS TRACE get".split(), "Q" * 200]
PATHS = [
    *"/ // * /v1 /v1/ /v1// /%2F /%ff%fe /%zz /é //[ /?[ /_sandbox/% /3ds/%ff".split(),
    *"http://[ http://127.0.0.1/v1/events ftp://x/ /v1/events/.. /v1/events/%00".split(),
    *("", "/v1/" + "a/" * 2000, f"/v1/events?type={'*' * 3000}Z"),
]
VERSIONS = ["HTTP/1.0", "HTTP/2.0", "HTTP/", ""]
LINES = [
    *(" folded", "no colon", ": no name", "a b: c", "Host: [", "Origin: http://[", "Cookie: \x00"),
    *("Content-Type: é", "Stripe-Account: x", "Expect: tea", "Authorization: Basic %%%"),
    *("X: " + "y" * 20_000, "X: y\r\n" * 300, "Stripe-Version: 9", "Idempotency-Key: " + "k" * 300),
    *(f"Content-Length: {each}" for each in ("-1", "+5", "1e3", "9" * 5000, "", "5, 5", "²")),
    *(f"Transfer-Encoding: {each}" for each in ("chunked", "gzip", "chunked, chunked", "")),
]
CHUNKS = [f"{size}\r\na=b&c\r\n" for size in ("5", "0", "fffffffff", "-1", "5;x=y", "", "G")]
NAMES = [
    *"a[ a] [] [a] a[][] a[b]c é[é] ][ expand[] expand[0][x] metadata[x metadata[][]".split(),
    *("amount[]", "__class__", "a" + "[b]" * 40, "k" * 3000),
]
VALUES = [
    *"%ff %ED%A0%80 %00 -1 1e9 0x1 True NaN ١٢ %F0%9F%92%B3 a=b=c % %%% +".split(),
    *("", "*" * 3000 + "Z", "[" * 500, "x" * 6000, "9" * 5000),
]
CONTROLS = "/clock /faults /payment_intents/{id} /refunds/x /charges/x/dispute /x".split()
JSON = [
    *('{"kind": []}', '{"kind": "latency", "seconds": 1e999}', '{"advance": NaN}', "words"),
    *('{"advance": -1}', '{"advance": 1e308}', '{"kind": "error", "status": 500.5}'),
    *('{"status": "\\ud800"}', '{"status": "succeeded", "fields": {"nothing": 1}}', "[" * 50_000),
]


def requests(seed: int, number: int, ids: list[str]) -> Iterator[bytes]:
    """Return that many requests, of which few or none are valid."""
    draw = random.Random(seed)
    makers = [strange_form, strange_form, strange_parameters, strange_head, broken, strange_json]
    for _ in range(number):
        yield draw.choice(makers)(draw, ids)


def strange_form(draw: random.Random, ids: list[str]) -> bytes:
    """Return a request of which one parameter does not fit."""
    path, params = draw.choice(VALID)
    given = {**params, draw.choice([*params, *NAMES]): draw.choice([*VALUES, *ids])}
    form = "&".join(f"{name}={value}" for name, value in given.items())
    return request_of("POST", path.replace("{id}", draw.choice(ids)), form)


def strange_parameters(draw: random.Random, ids: list[str]) -> bytes:
    """Return a request of any operation with parameters that do not fit."""
    route = draw.choice(ROUTES)
    names, values = [*route.schema, *NAMES], [*VALUES, *ids, *ORDER.values()]
    number = draw.choice((1, 5, 2000))
    form = "&".join(f"{draw.choice(names)}={draw.choice(values)}" for _ in range(number))
    path = route.path.replace("{id}", draw.choice((*ids, quote(draw.choice(VALUES)))))
    if route.method == "GET":
        return request_of("GET", f"{path}?{form[:10_000]}", "")
    return request_of(route.method, path, form, key=draw.choice((KEY, PUBLISHABLE_KEY)))


def strange_head(draw: random.Random, ids: list[str]) -> bytes:
    """Return a request with one or two things that do not belong into its head."""
    strange = draw.sample(["method", "path", "version", "line", "line", "length"], 2)
    return request_of(
        draw.choice(METHODS) if "method" in strange else "POST",
        draw.choice(PATHS) if "path" in strange else "/v1/refunds",
        "".join(draw.choices(CHUNKS, k=9)),
        *(draw.choice(LINES) for _ in range(strange.count("line"))),
        version=draw.choice(VERSIONS) if "version" in strange else "HTTP/1.1",
        length=None if "length" in strange else -1,
    )


def broken(draw: random.Random, ids: list[str]) -> bytes:
    """Return a request of which some bytes are replaced by others."""
    request = bytearray(strange_form(draw, ids))
    for _ in range(draw.randrange(1, 8)):
        at = draw.randrange(len(request))
        request[at : at + draw.randrange(20)] = draw.randbytes(draw.randrange(20))
    return bytes(request)


def strange_json(draw: random.Random, ids: list[str]) -> bytes:
    path = "/_sandbox" + draw.choice(CONTROLS).replace("{id}", draw.choice(ids))
    return request_of("POST", path, draw.choice(JSON), content_type="application/json")


def request_of(
    method: str,
    path: str,
    body: str,
    *lines: str,
    version: str = "HTTP/1.1",
    key: str = KEY,
    content_type: str = "application/x-www-form-urlencoded",
    length: int | None = -1,
) -> bytes:
    """Return a request as it goes over a socket, with a true length unless it is None."""
    raw = body.encode()
    head = [
        f"{method} {path} {version}",
        "Host: 127.0.0.1",
        f"Authorization: Bearer {key}",
        f"Content-Type: {content_type}",
        *([] if length is None else [f"Content-Length: {len(raw)}"]),
        *lines,
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + raw


def answers(server: SandboxServer, seed: int, number: int) -> Counter[str]:
    """Send that many malformed requests, and count the answers by their statuses.

    "hang" counts those without an answer, "closed" those whose connection was closed without one.
    """
    api = Api(server.sandbox)
    charge = api.pay()
    refund = api.refund(charge, amount="100")
    ids = [charge["payment_intent"], charge["id"], refund["id"]]
    with ThreadPoolExecutor(CLIENTS) as clients:
        statuses = clients.map(lambda each: status_of(server, each), requests(seed, number, ids))
        return Counter(statuses)


def status_of(server: SandboxServer, request: bytes) -> str:
    """Send a request, say that nothing follows, and return the status of the answer."""
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=HANG_SECONDS) as connection:
        began = time.monotonic()
        with suppress(ConnectionError):  # the server has answered and closed already
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
        received = b""
        try:
            while data := connection.recv(65536):
                received += data
        except TimeoutError:
            return "hang"
        except ConnectionError:
            pass
    if time.monotonic() - began > HANG_SECONDS:
        return "hang"
    return received[9:12].decode() if received.startswith(b"HTTP/1.1 ") else "closed"
