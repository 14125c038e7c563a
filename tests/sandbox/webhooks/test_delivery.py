"""Deliveries: signed, and again until the endpoint says 2xx.

See: https://docs.stripe.com/webhooks (checked 2026-11)
"""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.sandbox.conftest import URL
from tests.sandbox.support import DAY, ENDPOINTS, Receiver


def test_an_event_is_delivered_once(api, sandbox, receiver):
    intent = api.create(description="Grüße")

    assert [sandbox.deliver_due() for _ in range(2)] == [1, 0]

    (event,), (headers,) = receiver.events, receiver.headers
    assert (event["type"], event["data"]["object"]) == ("payment_intent.created", intent.json)
    assert (event["pending_webhooks"], sandbox.events[0]["pending_webhooks"]) == (1, 0)
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["User-Agent"].startswith("Stripe/1.0")
    assert sandbox.pending_deliveries == []


def test_a_delivery_is_signed_with_its_secret(api, sandbox, receiver):
    api.create()
    sandbox.deliver_due()

    assert (receiver.verifies("whsec_test"), receiver.verifies("whsec_other")) == (True, False)
    timestamp, _v1, fake = receiver.headers[0]["Stripe-Signature"].split(",")
    receiver.headers[0]["Stripe-Signature"] = f"{timestamp},{fake}"  # as test mode sends it
    assert (fake[:3], receiver.verifies("whsec_test")) == ("v0=", False)


@pytest.mark.parametrize("failure", [500, 302, ConnectionRefusedError(), RuntimeError()])
def test_a_failed_delivery_comes_again(api, sandbox, clock, receiver, failure):
    receiver.answer = failure
    api.create()
    assert [sandbox.deliver_due() for _ in range(2)] == [1, 0]
    assert sandbox.events[0]["pending_webhooks"] == 1

    receiver.answer = 204
    clock.advance(1)

    assert sandbox.deliver_due() == 1
    assert sandbox.events[0]["pending_webhooks"] == 0
    assert receiver.bodies[0] == receiver.bodies[1]
    signatures = [headers["Stripe-Signature"] for headers in receiver.headers]
    assert [each.split(",")[0] for each in signatures] == ["t=4000000000", "t=4000000001"]
    assert receiver.verifies("whsec_test")


def test_the_delays_grow_up_to_a_minute(api, sandbox, clock, receiver):
    receiver.answer = 500
    api.create()
    delays = []
    for _ in range(9):
        sandbox.deliver_due()
        (delivery,) = sandbox.pending_deliveries
        delays.append(delivery.due_at - clock.now)
        clock.now = delivery.due_at

    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_after_three_days_a_delivery_is_lost(api, sandbox, clock, receiver):
    receiver.answer = 500
    api.create()
    clock.advance(3 * DAY - 100)
    sandbox.deliver_due()
    assert len(sandbox.pending_deliveries) == 1

    clock.advance(99)
    sandbox.deliver_due()
    clock.advance(3600)

    assert (sandbox.deliver_due(), sandbox.pending_deliveries) == (0, [])
    (lost,) = sandbox.lost_deliveries
    assert (lost.event_id, lost.attempts) == (sandbox.events[0]["id"], 2)
    assert sandbox.events[0]["pending_webhooks"] == 1


def test_each_endpoint_gets_its_own_delivery(api, sandbox, receiver):
    api.create()
    bad = Receiver(answer=500)
    sandbox.add_webhook(URL, "whsec_other", deliver=bad)
    api.create()

    assert sandbox.deliver_due() == 3
    assert (len(receiver.bodies), len(bad.bodies)) == (2, 1)
    assert [event["pending_webhooks"] for event in sandbox.events] == [0, 1]


def test_two_deliverers_do_not_deliver_twice(api, sandbox):
    entered, leave = threading.Event(), threading.Event()

    def deliver(url, body, headers):
        entered.set()
        leave.wait(5)
        return 200

    sandbox.add_webhook(URL, "whsec_x", deliver=deliver)
    api.create()
    other = threading.Thread(target=sandbox.deliver_due)
    other.start()
    entered.wait(5)

    assert sandbox.deliver_due() == 0
    assert api.create().status == 200  # a slow endpoint holds up no request

    leave.set()
    other.join()
    assert sandbox.pending_deliveries == []


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("https://example.com/webhooks", "this machine only"),
        ("http://10.0.0.1/webhooks", "this machine only"),
        ("http://localhost.example.com/", "this machine only"),
        ("http://127.0.0.1@example.com/", "this machine only"),
        ("file:///etc/passwd", "this machine only"),
        ("http://127.0.0.1:65536/", "Port"),
        ("http://127.0.0.1:0/", "address"),
        ("http://127.0.0.1/stripe hooks", "address"),
        ("http://u:p@127.0.0.1/", "address"),
    ],
)
def test_webhooks_go_to_this_machine_only(sandbox, url, message):
    with pytest.raises(ValueError, match=message):
        sandbox.add_webhook(url, "whsec_x")


@pytest.mark.parametrize("types", ["payment_intent.succeeded", [], ["payment_intent.*"]])
def test_an_endpoint_that_would_never_get_an_event_is_refused(sandbox, types):
    with pytest.raises((TypeError, ValueError), match="type"):
        sandbox.add_webhook(URL, "whsec_x", enabled_events=types)


def test_an_endpoint_has_a_secret_and_does_not_show_it(sandbox):
    with pytest.raises(ValueError, match="secret"):
        sandbox.add_webhook(URL, "")

    assert "whsec_x" not in repr(sandbox.add_webhook(URL, "whsec_x"))


# Over HTTP


@pytest.fixture
def web_server():
    """A web server that answers by the path: /200, /500, /302."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            received.headers.append(dict(self.headers))
            self.send_response(int(self.path[1:]))
            self.send_header("Location", "/200")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received = Receiver()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize(("path", "pending"), [("/200", 0), ("/204", 0), ("/500", 1), ("/302", 1)])
def test_an_endpoint_of_the_api_gets_events_over_http(api, sandbox, web_server, path, pending):
    url, received = web_server
    version = "2025-03-31.basil"
    form = {"url": url + path, "enabled_events[]": "*", "api_version": version}
    endpoint = api.post(ENDPOINTS, form)
    api.create()

    assert sandbox.deliver_due() == 1

    assert sandbox.events[0]["pending_webhooks"] == pending
    (event,) = received.events
    assert event["api_version"] == version != sandbox.events[0]["api_version"]
    assert received.verifies(endpoint["secret"])
