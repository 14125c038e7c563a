"""One retry, only Stripe's own answers, and a pool of connections."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from shop_payments.exceptions import (
    GatewayBusy,
    GatewayInvalidRequest,
    GatewayUnavailable,
    IdempotencyKeyInUse,
)
from shop_payments.gateway import http_clients
from shop_payments.sandbox import Fault, Sandbox, SandboxResponse
from tests.gateway.support import create, facts, refusal

UNKNOWN = [Fault("drop_before"), Fault("drop_after"), Fault("error", status=503)]
LOCK_TIMEOUT = Fault("error", status=429, code="lock_timeout")
NOT_NOW = [Fault("error", status=429), LOCK_TIMEOUT, Fault("error", status=409)]


def refused(status, **error):
    body = {"error": {"type": "invalid_request_error", **error}}
    return SandboxResponse(status, {}, json.dumps(body).encode())


@pytest.fixture
def requests(stripe, configure, monkeypatch):
    """Answer each request with the next of ``faults``; return the requests that Stripe gets."""
    monkeypatch.setattr(http_clients, "_PAUSE", 0)

    def start(*faults, retries=1):
        left = iter(faults)

        def handle(*request):
            fault = next(left, None)
            if isinstance(fault, SandboxResponse):
                return fault
            if fault is not None:
                stripe.inject(fault)
            return stripe.handle(*request)

        configure(STRIPE_TRANSPORT=handle, MAX_NETWORK_RETRIES=retries)
        return stripe.requests

    return start


@pytest.mark.parametrize("fault", [*UNKNOWN, *NOT_NOW[1:]], ids=range(5))
def test_a_request_is_retried_with_the_same_key(requests, fault):
    sent = requests(fault)
    intent = create()
    assert len(sent) == 2
    assert len({request.idempotency_key for request in sent}) == 1
    assert intent.replayed == (fault.kind == "drop_after")


@pytest.mark.parametrize(
    ("expected", "fault"),
    [
        (GatewayUnavailable, Fault("error", status=500)),  # Stripe-Should-Retry: false
        (GatewayBusy, Fault("error", status=429)),
        (GatewayInvalidRequest, Fault("refused")),
    ],
)
def test_a_request_that_would_fail_again_is_not_retried(requests, expected, fault):
    sent = requests(fault)
    refusal(expected, create)
    assert len(sent) == 1


@pytest.mark.parametrize("retries", [0, 1])
def test_the_setting_limits_the_retries(requests, retries):
    sent = requests(*[Fault("drop_before")] * 3, retries=retries)
    refusal(GatewayUnavailable, create)
    assert len(sent) == 1 + retries


@pytest.mark.parametrize("then", [*NOT_NOW, refused(401), refused(403)], ids=range(5))
def test_a_rejected_retry_leaves_the_outcome_of_the_first_request_unknown(requests, then):
    """Staff and clients were told that Stripe had done nothing."""
    for first in UNKNOWN:
        requests(first, then)
        assert facts(refusal(GatewayUnavailable, create))[:3] == (True, True, then.status)
    if then in NOT_NOW:  # only a 409 leaves the outcome of two rejected requests unknown
        requests(LOCK_TIMEOUT, then)
        unknown = then.status == 409
        assert facts(refusal(GatewayBusy, create))[:3] == (True, unknown, then.status)


def test_a_broken_connection_or_a_timeout_leaves_the_outcome_unknown(stripe_server, configure):
    """TimeoutError is an OSError, but not a ConnectionError."""

    def transport(*args):
        raise TimeoutError

    stripe_server.inject(Fault("drop_before"))
    for _connection in ("a socket", "a transport"):
        error = refusal(GatewayUnavailable, create)
        assert (*facts(error), error.request_id) == (True, True, 0, "", "")
        configure(STRIPE_TRANSPORT=transport)


def test_a_retry_may_find_the_first_request_still_running(requests):
    requests(Fault("drop_before"), refused(409, code="idempotency_key_in_use"))
    error = refusal(IdempotencyKeyInUse, create)
    assert facts(error) == (True, True, 409, "idempotency_key_in_use")


NOT_STRIPES = [
    (502, b"<html><h1>Bad Gateway</h1>our proxy says: secret address 10.0.0.7</html>"),
    *((200, b"\xff\xfe"), (200, b"[" * 5000), (500, b"[]")),
    (400, b'{"error": "no_object"}'),
    (403, b'{"error": {"code": 403, "message": "Blocked", "status": "PERMISSION_DENIED"}}'),
]


def test_an_answer_that_is_not_stripes_is_not_quoted(over_http):
    for status, body in NOT_STRIPES:
        response = SandboxResponse(status, {"Request-Id": "req_1"}, body)
        over_http(lambda *args, response=response: response)
        error = refusal(GatewayUnavailable, create)
        assert (*facts(error)[:3], error.request_id) == (True, True, status, "req_1")
        assert str(error) == f"The answer was not Stripe's (HTTP {status})"


def test_a_redirect_is_not_followed(over_http):
    """The same request was sent up to 31 times, to any address in the answer."""
    asked = []

    def elsewhere(method, path, headers, body):
        asked.append(path)
        return SandboxResponse(307, {"Location": "/v1/elsewhere"}, b"")

    over_http(elsewhere)

    assert facts(refusal(GatewayUnavailable, create)) == (True, True, 307, "")
    assert asked == ["/v1/payment_intents"]


def test_threads_share_the_pool(over_http):
    connections = over_http(Sandbox().handle)
    create()  # threads that are the first may build a gateway each
    with ThreadPoolExecutor(4) as pool:
        for _burst in range(3):
            assert len({intent.id for intent in pool.map(lambda _: create(), range(4))}) == 4
    assert 1 <= len(connections) <= 4


@pytest.fixture
def proxy(monkeypatch):
    """Set a proxy in the environment; return its socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{listener.getsockname()[1]}")
        listener.settimeout(10)
        yield listener


def test_stripe_is_reached_through_the_proxy_and_the_sandbox_without_it(
    configure, stripe_server, proxy
):
    """Found: on a machine with HTTP_PROXY, the demo could not reach the sandbox."""
    create()
    assert len(stripe_server.requests) == 1
    configure(STRIPE_API_BASE="")

    def first_line():
        connection, _ = proxy.accept()
        with connection, connection.makefile("rb") as sent:
            return sent.readline()

    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(first_line)
        refusal(GatewayUnavailable, create)
        assert asked.result(10).startswith(b"CONNECT api.stripe.com:443 ")
