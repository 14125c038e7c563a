"""The sandbox on a socket, with HTTP/1.1: what is read, what is refused, and for how long."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, closing

import pytest

from shop_payments.sandbox import Fault, Sandbox, SandboxServer
from shop_payments.sandbox.wire import http as wire_http
from tests.sandbox.malformed import request_of
from tests.sandbox.support import INTENTS, KEY
from tests.threads import PATIENCE, Hold

FORM = "amount=11200&currency=usd"
HEADERS = {"Authorization": f"Bearer {KEY}"}
LIST = request_of("GET", "/v1/events", "")
CREATE = request_of("POST", INTENTS, FORM)


def connect(server: SandboxServer) -> socket.socket:
    port = int(server.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def exchange(server: SandboxServer, request: bytes) -> bytes:
    """Send bytes, say that nothing follows, and return what comes back."""
    with connect(server) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()


def head(answer: bytes) -> str:
    return answer.partition(b"\r\n")[0].decode()


def test_an_answer_over_a_socket_is_that_of_handle():
    headers = {**HEADERS, "Idempotency-Key": "k"}
    in_process = Sandbox(clock=lambda: 4e9, seed=1)
    with SandboxServer(Sandbox(clock=lambda: 4e9, seed=1)) as server:
        body = f"{FORM}&description=Gr%C3%BC%C3%9Fe".encode()
        request = urllib.request.Request(server.url + INTENTS, data=body, headers=headers)
        with urllib.request.urlopen(request) as over_socket:
            body = over_socket.read()
            received = {name.lower(): value for name, value in over_socket.headers.items()}

    expected = in_process.handle("POST", INTENTS, headers, f"{FORM}&description=Grüße")
    assert body == expected.body
    assert expected.headers.items() <= received.items()


@pytest.mark.parametrize(
    ("version", "header", "statuses"),
    [
        ("HTTP/1.1", "X: y", [b"200", b"404"]),
        ("HTTP/1.1", "Connection: close", [b"200"]),
        ("HTTP/1.0", "X: y", [b"200"]),
        ("HTTP/1.0", "Connection: keep-alive", [b"200", b"404"]),
    ],
)
def test_a_connection_is_kept_as_its_client_wants(server, version, header, statuses):
    first = request_of("GET", "/v1/events", "", header, version=version)

    answer = exchange(server, b"\r\n" + first + request_of("GET", "/v1/nothing", ""))

    assert re.findall(rb"HTTP/1.1 (\d+)", answer) == statuses


def test_chunks_are_a_body(server):
    port = int(server.url.rpartition(":")[2])
    sent = {**HEADERS, "Content-Type": "application/x-www-form-urlencoded"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("POST", INTENTS, iter([b"amount=112", b"00&cur", b"rency=usd"]), sent)
        answer = json.loads(connection.getresponse().read())

    assert (answer["amount"], answer["currency"]) == (11200, "usd")


def test_a_client_that_expects_100_continue_sends_its_body_after_it(server):
    start = request_of("POST", INTENTS, FORM, "Expect: 100-continue").removesuffix(FORM.encode())
    with connect(server) as connection:
        connection.sendall(start)
        interim = connection.recv(1000)
        connection.sendall(FORM.encode())
        answer = connection.recv(1000)

    assert (interim, head(answer)) == (b"HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK")


@pytest.mark.parametrize("body", ["", FORM])
def test_a_form_without_a_content_type_is_a_form_over_a_socket_and_in_process(server, body):
    """Over a socket it was once refused as text/plain. Early clients of Stripe sent no type."""
    lines = [f"POST {INTENTS} HTTP/1.1", f"Authorization: Bearer {KEY}"]
    lines += [f"Content-Length: {len(body)}", "Connection: close", "", body]

    answer = exchange(server, "\r\n".join(lines).encode())

    over_socket = json.loads(answer.partition(b"\r\n\r\n")[2])
    in_process = json.loads(Sandbox().handle("POST", INTENTS, HEADERS, body).body)
    assert over_socket.keys() == in_process.keys()
    assert ("error" in over_socket) == (body == "")


def test_head_has_the_headers_of_get_and_no_body(server):
    of_head = exchange(server, request_of("HEAD", "/v1/events", "", "Connection: close"))
    of_get = exchange(server, request_of("GET", "/v1/events", "", "Connection: close"))

    lines, _, body = of_head.partition(b"\r\n\r\n")
    length = next(line for line in lines.split(b"\r\n") if line.startswith(b"content-length"))
    assert (head(of_head), body, length in of_get) == (head(of_get), b"", True)


def create_with(*lines: str, body: str = FORM) -> bytes:
    return request_of("POST", INTENTS, body, *lines, length=None)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01", 400),  # TLS
        (b"GET /\r\n\r\n", 400),  # HTTP/0.9
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /v1/a b HTTP/1.1\r\n\r\n", 400),
        (b"GET /v1/events HTTP/1.1\r\n folded\r\n\r\n", 400),
        (b"GET /v1/events HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /v1/events HTTP/1.1\r\nExpect: tea\r\n\r\n", 417),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 101 + b"\r\n", 431),
        (request_of("POST", INTENTS, "a" * (2**20 + 1)), 413),
        (create_with("Content-Length: -5"), 400),
        (create_with("Content-Length: 99999999999999999999"), 413),
        (create_with("Content-Length: 4", "Transfer-Encoding: chunked"), 400),
        (create_with(f"Content-Length: {len(FORM) + 1}"), 400),  # cut short
        (create_with("Transfer-Encoding: gzip, chunked"), 501),
        (create_with("Transfer-Encoding: chunked", body="5\r\nab\r\n"), 400),
        (create_with("Transfer-Encoding: chunked", body="-1\r\n"), 400),
        (create_with("Transfer-Encoding: chunked", body="100001\r\n"), 413),
    ],
)
def test_what_is_not_a_request_within_the_limits_is_refused(server, capfd, request_bytes, status):
    answer = exchange(server, request_bytes)

    assert head(answer).startswith(f"HTTP/1.1 {status} ")
    assert b"\r\nconnection: close\r\n" in answer
    assert (server.sandbox.events, capfd.readouterr().err) == ([], "")


def test_slow_silent_and_idle_clients_are_dropped(server, monkeypatch):
    monkeypatch.setattr(wire_http, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(wire_http, "IDLE_SECONDS", 0.2)
    with connect(server) as slow, connect(server) as silent, connect(server) as idle:
        began = time.monotonic()
        slow.sendall(b"GET /v1")
        idle.sendall(LIST)
        answers = [each.makefile("rb").read() for each in (slow, silent, idle)]

    heads = ["HTTP/1.1 408 Request Timeout", "", "HTTP/1.1 200 OK"]
    assert [head(answer) for answer in answers] == heads
    assert time.monotonic() - began < 5


def test_300_connections_at_once_are_served(server):
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(300)]
        for connection in connections:
            connection.sendall(LIST)
        answers = [head(connection.recv(1000)) for connection in connections]

    assert answers == ["HTTP/1.1 200 OK"] * 300


def test_more_connections_than_there_are_threads_wait_for_a_place(monkeypatch):
    monkeypatch.setattr("shop_payments.sandbox.server.MAX_CONNECTIONS", 4)
    monkeypatch.setattr(wire_http, "REQUEST_SECONDS", 0.4)
    with SandboxServer(Sandbox()) as server, ExitStack() as stack:
        before = threading.active_count()
        for _ in range(8):
            stack.enter_context(connect(server))
        answer = exchange(server, LIST)
        threads = threading.active_count() - before

    assert (head(answer), threads <= 4) == ("HTTP/1.1 200 OK", True)


def test_a_stopped_server_closes_the_connections_that_it_kept():
    server = SandboxServer(Sandbox())
    server.start()
    with connect(server) as connection:
        connection.sendall(LIST)
        kept = connection.recv(100_000)
        server.stop()

        assert (head(kept), connection.recv(1000)) == ("HTTP/1.1 200 OK", b"")


def test_a_mistake_in_the_sandbox_is_a_500_and_a_traceback(server, capfd, monkeypatch):
    monkeypatch.setattr(server.sandbox, "handle", lambda *_: 1 / 0)

    answer = exchange(server, LIST)

    assert head(answer) == "HTTP/1.1 500 Internal Server Error"
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_slow_request_delays_no_other_and_a_dropped_one_prints_nothing(capfd):
    pause = Hold()
    sandbox = Sandbox(sleep=pause.hold)
    sandbox.inject(Fault("latency", seconds=1))

    with SandboxServer(sandbox) as server:
        answers = pause.meanwhile(*[lambda: exchange(server, CREATE)] * 2)
        sandbox.inject(Fault("drop_after"))
        dropped = exchange(server, CREATE)

    assert [head(answer) for answer in answers] == ["HTTP/1.1 200 OK"] * 2
    assert (dropped, len(sandbox.events)) == (b"", 3)
    assert capfd.readouterr() == ("", "")


def test_it_listens_on_this_machine_starts_once_and_stops_at_once():
    for host in ("0.0.0.0", "example.com", ""):
        with pytest.raises(ValueError, match="this machine only"):
            SandboxServer(Sandbox(), host=host)
    server = SandboxServer(Sandbox())
    started = time.monotonic()
    server.start()
    with pytest.raises(RuntimeError, match="running already"):
        server.start()
    url = server.url
    server.stop()

    assert time.monotonic() - started < 1
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url)
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url
