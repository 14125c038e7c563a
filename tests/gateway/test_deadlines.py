"""A call to Stripe ends in time, however slowly the answer comes."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone

from shop_payments.exceptions import GatewayUnavailable
from shop_payments.gateway import get_gateway
from shop_payments.gateway.deadlines import DeadlineAdapter
from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import PaymentIntent, StripeAttempt
from shop_payments.sandbox import Fault
from tests.gateway.support import create, facts, refusal
from tests.support import answer, call_stripe

SLACK = 1.0
"""Seconds for a machine that does other things as well."""


@contextmanager
def dripping(text: bytes, *, every: float = 0.1, at_once: int = 0):
    """A server that answers any request with ``text``, a byte at a time; yields its connections."""
    server = socket.create_server(("127.0.0.1", 0))
    connections, over = [], threading.Event()

    def drip(connection):
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(text[:at_once])
                for position in range(at_once, len(text)):
                    connection.sendall(text[position : position + 1])
                    if over.wait(every):
                        return
            except OSError:
                return  # the client has gone

    def serve():
        while True:
            try:
                connection, _address = server.accept()
            except OSError:
                return
            connections.append(connection)
            threading.Thread(target=drip, args=[connection]).start()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.getsockname()[1]}", connections
    finally:
        over.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


BODY = b'{"object": "payment_intent"' + b" " * 1000 + b"}"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
    BODY
)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 500
ERROR = HEAD.replace(b"200 OK", b"500 Internal Server Error")


@pytest.mark.parametrize(
    ("text", "at_once"),
    [
        (HEAD + BODY, 0),
        (HEAD + BODY, len(HEAD)),
        (HEAD + BODY, len(HEAD) + 500),
        (CHUNKED, 60),
        (ERROR + BODY, len(ERROR)),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Header: 1\r\n" * 90, 17),
    ],
    ids=["all", "the body", "the end of the body", "chunks", "an error", "the headers"],
)
@pytest.mark.parametrize("retries", [0, 3])
def test_an_answer_that_comes_byte_by_byte_is_given_up(configure, text, at_once, retries):
    with dripping(text, at_once=at_once) as (url, connections):
        configure(
            STRIPE_TRANSPORT=None,
            STRIPE_API_BASE=url,
            READ_TIMEOUT=0.5,
            MAX_NETWORK_RETRIES=retries,
        )
        began = time.monotonic()
        error = refusal(GatewayUnavailable, create)
        took = time.monotonic() - began

    assert facts(error) == (True, True, 0, "")
    assert 0.4 < took < 0.5 + SLACK
    assert len(connections) == 1


def test_repetitions_share_the_time(configure):
    """Each one had the whole timeout, and the pauses between them came on top."""
    with dripping(b"", every=0) as (url, connections):  # closes without an answer
        configure(
            STRIPE_TRANSPORT=None, STRIPE_API_BASE=url, READ_TIMEOUT=1.2, MAX_NETWORK_RETRIES=50
        )
        began = time.monotonic()
        refusal(GatewayUnavailable, create)
        took = time.monotonic() - began

    assert 2 <= len(connections) <= 4
    assert took < 1.2 + 5 + SLACK  # the SDK pauses for five seconds at most before it looks


def test_an_answer_that_is_slow_and_in_time_is_read(stripe_server, configure):
    configure(STRIPE_TRANSPORT=None, STRIPE_API_BASE=stripe_server.base_url, READ_TIMEOUT=5)
    intent = create()
    stripe_server.inject(Fault("latency", seconds=0.3))

    first = get_gateway().retrieve_payment_intent(intent.id)
    second = get_gateway().retrieve_payment_intent(intent.id)

    assert first.id == second.id == intent.id


def test_calls_of_other_threads_have_a_time_of_their_own(configure):
    with dripping(HEAD + BODY, at_once=len(HEAD)) as (url, _connections):
        configure(
            STRIPE_TRANSPORT=None, STRIPE_API_BASE=url, READ_TIMEOUT=0.6, MAX_NETWORK_RETRIES=0
        )
        took = []

        def call():
            began = time.monotonic()
            refusal(GatewayUnavailable, create)
            took.append(time.monotonic() - began)

        threads = [threading.Thread(target=call) for _ in range(3)]
        for thread in threads:
            thread.start()
            time.sleep(0.2)
        for thread in threads:
            thread.join()

    assert len(took) == 3
    assert all(0.5 < each < 0.6 + SLACK for each in took)


@contextmanager
def dripping_stripe(stripe):
    """Stripe, which does what it is asked and answers a byte at a time."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            response = stripe.handle("POST", self.path, dict(self.headers), body)
            self.send_response(response.status)
            self.send_header("Content-Length", str(len(response.body)))
            self.end_headers()
            with suppress(OSError):  # the client has gone
                for byte in response.body:
                    self.wfile.write(bytes([byte]))
                    time.sleep(0.05)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()  # waits for the requests
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_the_outcome_of_a_call_that_was_cut_is_found_out(configure, stripe, storefront, order):
    """It is unknown as after any timeout, so the same key is sent again."""
    with dripping_stripe(stripe) as url:
        configure(STRIPE_TRANSPORT=None, STRIPE_API_BASE=url, READ_TIMEOUT=0.5)
        response = storefront.payment_intent(order)
    assert answer(response) == (503, "gateway_unavailable")
    attempt = StripeAttempt.objects.get()
    assert attempt.outcome == "pending"
    configure(**stripe.shop_payments())

    assert storefront.payment_intent(order).status_code == 200

    sent = [request for request in stripe.requests if request.method == "POST"]
    assert [request.idempotency_key for request in sent] == [str(attempt.pk)] * 2
    assert len(call_stripe(stripe, "GET", "payment_intents")["data"]) == 1
    assert PaymentIntent.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_sweep_ends_where_stripe_drips(configure, stripe, storefront, order):
    storefront.payment_intent(order)
    with dripping(HEAD + BODY, at_once=len(HEAD)) as (url, _connections):
        configure(STRIPE_TRANSPORT=None, STRIPE_API_BASE=url, READ_TIMEOUT=0.3)
        report = reconcile(since=timezone.now() - timedelta(hours=1))
        configure(**stripe.shop_payments())

    assert len(report.problems) == 3
    assert PaymentIntent.objects.get().is_open


def test_a_proxys_connections_are_limited_once():
    """Found: each call through a proxy put another class around the one before."""
    adapter = DeadlineAdapter()
    first = adapter.proxy_manager_for("http://127.0.0.1:1").pool_classes_by_scheme

    again = adapter.proxy_manager_for("http://127.0.0.1:1").pool_classes_by_scheme

    assert again is first
