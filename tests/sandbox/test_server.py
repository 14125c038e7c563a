"""The sandbox on a socket, and its WSGI application."""

from __future__ import annotations

import socket
import threading
import time
import urllib.error
import urllib.request

import pytest

from shop_payments.sandbox import Fault, Sandbox, SandboxServer
from tests.sandbox.conftest import URL
from tests.sandbox.support import INTENTS, KEY
from tests.threads import PATIENCE, Hold

FORM = "amount=11200&currency=usd"


def send(server: SandboxServer, request: bytes) -> bytes:
    """Send bytes as they are, hang up, and return what comes back."""
    port = int(server.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        return connection.makefile("rb").read()


def post(path: str, form: str, *lines: str, length: int | None = None) -> bytes:
    """Return a request, with more header lines, whose length may be a lie."""
    head = [
        f"POST {path} HTTP/1.1",
        f"Authorization: Bearer {KEY}",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(form) if length is None else length}",
        *lines,
    ]
    return ("\r\n".join(head) + "\r\n\r\n" + form).encode("latin-1")


def test_an_answer_over_a_socket_is_that_of_handle():
    headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": "k"}
    by_hand = Sandbox(clock=lambda: 4e9, seed=1)
    with SandboxServer(Sandbox(clock=lambda: 4e9, seed=1)) as server:
        body = f"{FORM}&description=Gr%C3%BC%C3%9Fe".encode()
        request = urllib.request.Request(server.url + INTENTS, data=body, headers=headers)
        with urllib.request.urlopen(request) as over_socket:
            body = over_socket.read()
            received = {name.lower(): value for name, value in over_socket.headers.items()}

    expected = by_hand.handle("POST", INTENTS, headers, f"{FORM}&description=Grüße")
    assert body == expected.body
    assert expected.headers.items() <= received.items()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Content-Length: abc", 400),
        ("Content-Length: -5", 400),
        ("Content-Length: \u00b2", 400),
        ("Transfer-Encoding: chunked", 411),
    ],
)
def test_a_body_of_no_known_length_is_refused(server, capfd, header, status):
    request = f"POST {INTENTS} HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\n{header}\r\n\r\n"

    answer = send(server, request.encode("latin-1"))

    assert answer.startswith(f"HTTP/1.0 {status} ".encode())
    assert capfd.readouterr().err == ""


def test_a_form_that_is_cut_short_has_no_effect(server):
    answer = send(server, post(INTENTS, FORM, length=len(FORM) + 1))

    assert answer.startswith(b"HTTP/1.0 400 ")
    assert server.sandbox.events == []


def test_an_encoded_slash_in_an_id_leads_to_no_other_operation(server):
    send(server, post(INTENTS, FORM))
    intent_id = server.sandbox.events[0]["data"]["object"]["id"]

    answer = send(server, post(f"{INTENTS}/{intent_id}%2Fcancel", ""))

    assert f"No such payment_intent: '{intent_id}%2Fcancel'".encode() in answer
    assert len(server.sandbox.events) == 1


def test_a_header_with_an_underscore_is_another_header(server):
    for _ in range(2):
        send(server, post(INTENTS, FORM, "Idempotency_Key: k"))

    assert [request.idempotency_key for request in server.sandbox.requests] == [None, None]
    assert len(server.sandbox.events) == 2


def test_webhooks_are_delivered_in_the_background(server):
    delivered = threading.Event()

    def deliver(*_: object) -> int:
        delivered.set()
        return 200

    server.sandbox.add_webhook(URL, "whsec_x", deliver=deliver)
    send(server, post(INTENTS, FORM))

    assert delivered.wait(PATIENCE)


def test_a_slow_request_stalls_no_other_and_a_dropped_one_prints_nothing(capfd):
    pause = Hold()
    sandbox = Sandbox(sleep=pause.hold)
    sandbox.inject(Fault("latency", seconds=1))

    with SandboxServer(sandbox) as server:
        answers = pause.meanwhile(*[lambda: send(server, post(INTENTS, FORM))] * 2)
        sandbox.inject(Fault("drop_after"))
        dropped = send(server, post(INTENTS, FORM))

    assert [answer[:13] for answer in answers] == [b"HTTP/1.0 200 "] * 2
    assert (dropped, len(sandbox.events)) == (b"", 3)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "example.com", "", "::"])
def test_it_listens_on_this_machine_only(host):
    with pytest.raises(ValueError, match="this machine only"):
        SandboxServer(Sandbox(), host=host)


def test_it_starts_once_and_stops_at_once():
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
