from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
import stripe

from shop_payments.sandbox import Fault, Sandbox, SandboxServer
from tests.sandbox.support import INTENTS, KEY
from tests.threads import PATIENCE, Hold


def client(server: SandboxServer, *, max_network_retries: int = 0) -> stripe.StripeClient:
    return stripe.StripeClient(
        KEY, base_addresses={"api": server.url}, max_network_retries=max_network_retries
    )


def create(stripe_client: stripe.StripeClient) -> stripe.PaymentIntent:
    return stripe_client.v1.payment_intents.create(
        {
            "amount": 11200,
            "currency": "usd",
            "allowed_payment_method_types": ["card"],
            "metadata": {"order_id": "9"},
        }
    )


def test_stripe_python_takes_a_payment_over_a_socket(server: SandboxServer) -> None:
    intents = client(server).v1.payment_intents

    created = create(client(server))
    confirmed = intents.confirm(created.id, {"payment_method": "pm_card_visa"})

    assert confirmed.status == "succeeded"
    assert intents.retrieve(created.id).metadata["order_id"] == "9"


def test_stripe_python_sees_a_decline(server: SandboxServer) -> None:
    created = create(client(server))

    with pytest.raises(stripe.CardError) as caught:
        client(server).v1.payment_intents.confirm(
            created.id, {"payment_method": "pm_card_chargeDeclinedInsufficientFunds"}
        )

    assert caught.value.code == "card_declined"
    assert caught.value.error is not None
    assert caught.value.error.decline_code == "insufficient_funds"


def test_stripe_python_pages_through_a_list(server: SandboxServer) -> None:
    ids = [create(client(server)).id for _ in range(5)]

    pages = client(server).v1.payment_intents.list({"limit": 2}).auto_paging_iter()

    assert [intent.id for intent in pages] == ids[::-1]


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_dropped_connection_reaches_stripe_python(server: SandboxServer, kind: str) -> None:
    server.sandbox.inject(Fault(kind))  # type: ignore[arg-type]

    with pytest.raises(stripe.APIConnectionError):
        create(client(server))

    assert len(server.sandbox.events) == (1 if kind == "drop_after" else 0)


def test_stripe_python_retries_to_one_effect(server: SandboxServer) -> None:
    server.sandbox.inject(Fault("drop_after"))

    create(client(server, max_network_retries=1))

    assert len(server.sandbox.events) == 1
    assert len(server.sandbox.requests) == 2


def test_an_answer_over_a_socket_is_that_of_handle() -> None:
    by_hand = Sandbox(clock=lambda: 4e9, seed=1)
    with SandboxServer(Sandbox(clock=lambda: 4e9, seed=1)) as server:
        request = urllib.request.Request(
            server.url + INTENTS,
            data=b"amount=1000&currency=usd&description=Gr%C3%BC%C3%9Fe",
            headers={"Authorization": f"Bearer {KEY}", "Idempotency-Key": "k"},
        )
        with urllib.request.urlopen(request) as over_socket:
            body = over_socket.read()
            headers = {name.lower(): value for name, value in over_socket.headers.items()}

    expected = by_hand.handle(
        "POST",
        INTENTS,
        {"Authorization": f"Bearer {KEY}", "Idempotency-Key": "k"},
        "amount=1000&currency=usd&description=Grüße",
    )
    assert body == expected.body
    assert expected.headers.items() <= headers.items()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ("Content-Length: abc", 400),
        ("Content-Length: -5", 400),
        ("Content-Length: \u00b2", 400),
        ("Transfer-Encoding: chunked", 411),
    ],
)
def test_a_body_of_no_known_length_is_refused(
    server: SandboxServer, capfd: pytest.CaptureFixture[str], header: str, status: int
) -> None:
    port = int(server.url.rpartition(":")[2])
    request = f"POST {INTENTS} HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\n{header}\r\n\r\n"

    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request.encode("latin-1"))
        answer = connection.makefile("rb").readline()

    assert answer.startswith(f"HTTP/1.0 {status} ".encode())
    assert capfd.readouterr().err == ""


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
    return ("\r\n".join(head) + "\r\n\r\n" + form).encode()


def test_a_form_that_is_cut_short_has_no_effect(server: SandboxServer) -> None:
    form = "amount=11200&currency=usd"

    answer = send(server, post(INTENTS, form, length=len(form) + 1))

    assert answer.startswith(b"HTTP/1.0 400 ")
    assert server.sandbox.events == []


def test_an_id_leads_to_no_other_operation(server: SandboxServer) -> None:
    intent_id = create(client(server)).id

    answer = send(server, post(f"{INTENTS}/{intent_id}%2Fcancel", ""))

    assert answer.startswith(b"HTTP/1.0 404 ")
    assert f"No such payment_intent: '{intent_id}%2Fcancel'".encode() in answer
    assert client(server).v1.payment_intents.retrieve(intent_id).status != "canceled"


@pytest.mark.parametrize("target", ["http://[", "http://api.stripe.com/v1/payment_intents", "*"])
def test_an_address_that_is_no_path_is_404(
    server: SandboxServer, capfd: pytest.CaptureFixture[str], target: str
) -> None:
    answer = send(server, post(target, ""))

    assert answer.startswith(b"HTTP/1.0 404 ")
    assert capfd.readouterr().err == ""


def test_stripe_python_sends_an_id_with_a_slash_to_no_other_operation(
    server: SandboxServer,
) -> None:
    intent_id = create(client(server)).id

    with pytest.raises(stripe.InvalidRequestError, match="No such payment_intent"):
        client(server).v1.payment_intents.update(f"{intent_id}/cancel", {})


def test_a_header_with_an_underscore_is_another_header(server: SandboxServer) -> None:
    for _ in range(2):
        send(server, post(INTENTS, "amount=11200&currency=usd", "Idempotency_Key: k"))

    assert [request.idempotency_key for request in server.sandbox.requests] == [None, None]
    assert len(server.sandbox.events) == 2


def test_a_browser_may_ask_before_it_calls(server: SandboxServer) -> None:
    request = urllib.request.Request(
        server.url + INTENTS,
        method="OPTIONS",
        headers={
            "Origin": "http://127.0.0.1:8000",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,idempotency-key",
        },
    )

    with urllib.request.urlopen(request) as answer:
        assert answer.read() == b""
        assert answer.headers["Access-Control-Allow-Origin"] == "http://127.0.0.1:8000"
        assert answer.headers["Access-Control-Allow-Headers"] == "authorization,idempotency-key"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_call_of_the_api_document_works(server: SandboxServer) -> None:
    intent_id = create(client(server)).id

    finished = subprocess.run(
        [
            "curl",
            "--silent",
            "--show-error",
            "--noproxy",
            "*",
            f"{server.url}{INTENTS}/{intent_id}",
            "-H",
            f"Authorization: Bearer {KEY}",
            "-d",
            "payment_method=pm_card_visa",
        ],
        capture_output=True,
        check=True,
        timeout=10,
    )

    assert json.loads(finished.stdout)["status"] == "requires_confirmation"


def test_webhooks_are_delivered_in_the_background(server: SandboxServer) -> None:
    delivered = threading.Event()

    def deliver(url: str, body: bytes, headers: dict[str, str]) -> int:
        delivered.set()
        return 200

    server.sandbox.add_webhook("http://127.0.0.1:9/", "whsec_test", deliver=deliver)
    create(client(server))

    assert delivered.wait(PATIENCE)


def test_a_slow_request_stalls_no_other() -> None:
    """The slow one is let go once the other has its answer."""
    pause = Hold()
    sandbox = Sandbox(sleep=pause.hold)
    sandbox.inject(Fault("latency", seconds=1))

    with SandboxServer(sandbox) as server:
        slow, quick = pause.meanwhile(
            lambda: create(client(server)), lambda: create(client(server))
        )

    assert [intent.status for intent in (slow, quick)] == ["requires_payment_method"] * 2
    assert slow.id != quick.id


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "example.com", "", "::"])
def test_it_listens_on_this_machine_only(host: str) -> None:
    with pytest.raises(ValueError, match="this machine only"):
        SandboxServer(Sandbox(), host=host)


def test_a_taken_port_is_an_error() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        with pytest.raises(OSError, match="in use"):
            SandboxServer(Sandbox(), port=taken.getsockname()[1]).start()


def test_it_starts_and_stops_at_once_and_frees_its_port() -> None:
    server = SandboxServer(Sandbox())
    started = time.monotonic()
    server.start()
    url = server.url
    server.stop()

    assert time.monotonic() - started < 1
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(url)
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.url


def test_it_starts_once(server: SandboxServer) -> None:
    with pytest.raises(RuntimeError, match="running already"):
        server.start()


def test_it_prints_nothing(server: SandboxServer, capfd: pytest.CaptureFixture[str]) -> None:
    create(client(server))
    server.sandbox.inject(Fault("drop_after"))
    with pytest.raises(stripe.APIConnectionError):
        create(client(server))

    assert capfd.readouterr() == ("", "")
