"""Deliveries are signed, and retried until the endpoint answers with 2xx.

See: https://docs.stripe.com/webhooks (checked 2026-11)
"""

from __future__ import annotations

import itertools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.conftest import URL
from tests.sandbox.support import DAY, ENDPOINTS, Api, Receiver
from tests.threads import Hold


def test_an_event_is_delivered_once_and_signed(api, sandbox, receiver):
    intent = api.create(description="Grüße")

    assert [sandbox.deliver_due() for _ in range(2)] == [1, 0]

    (event,), (headers,) = receiver.events, receiver.headers
    assert (event["type"], event["data"]["object"]) == ("payment_intent.created", intent.json)
    assert (event["pending_webhooks"], sandbox.events[0]["pending_webhooks"]) == (1, 0)
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert (receiver.verifies("whsec_test"), receiver.verifies("whsec_other")) == (True, False)
    assert ",v0=" in headers["Stripe-Signature"]  # as in test mode


def test_events_arrive_in_their_order_although_time_passes_in_a_request():
    seconds = itertools.count(4_000_000_000)
    sandbox, receiver = Sandbox(clock=lambda: next(seconds)), Receiver()
    sandbox.add_webhook(URL, "whsec_test", deliver=receiver)
    Api(sandbox).pay("pm_card_createDispute")
    while sandbox.deliver_due():
        pass

    types = [event["type"] for event in receiver.events]
    assert types == [event["type"] for event in sandbox.events]
    assert types[1:] == [
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.updated",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
    ]
    created = [event["created"] for event in receiver.events]
    assert created == sorted(created)


@pytest.mark.parametrize("failure", [302, RuntimeError()])
def test_a_failed_delivery_is_retried(api, sandbox, clock, receiver, failure):
    receiver.answer = failure
    api.create()
    assert [sandbox.deliver_due() for _ in range(2)] == [1, 0]

    receiver.answer = 204
    clock.advance(1)

    assert (sandbox.deliver_due(), sandbox.events[0]["pending_webhooks"]) == (1, 0)
    assert receiver.bodies[0] == receiver.bodies[1]
    signatures = [headers["Stripe-Signature"] for headers in receiver.headers]
    assert [each.split(",")[0] for each in signatures] == ["t=4000000000", "t=4000000001"]


def test_the_delays_grow_to_a_minute_and_after_three_days_a_delivery_is_lost(
    api, sandbox, clock, receiver
):
    receiver.answer = 500
    api.create()
    delays = []
    for _ in range(8):
        sandbox.deliver_due()
        (delivery,) = sandbox.pending_deliveries
        delays.append(delivery.due_at - clock.now)
        clock.now = delivery.due_at
    clock.now = 4_000_000_000 + 3 * DAY - 1
    sandbox.deliver_due()
    clock.advance(60)

    assert delays == [1, 2, 4, 8, 16, 32, 60, 60]
    assert (sandbox.deliver_due(), sandbox.pending_deliveries) == (0, [])
    (lost,) = sandbox.lost_deliveries
    assert (lost.event_id, lost.attempts) == (sandbox.events[0]["id"], 9)
    assert sandbox.events[0]["pending_webhooks"] == 1


def test_concurrent_deliverers_do_not_deliver_twice(api, sandbox):
    pause = Hold()

    def receive(*_request: object) -> int:
        pause.hold()
        return 200

    sandbox.add_webhook(URL, "whsec_x", deliver=receive)
    api.create()

    # A slow endpoint holds up no request.
    delivered, (none, other) = pause.meanwhile(
        sandbox.deliver_due, lambda: (sandbox.deliver_due(), api.create())
    )

    assert (none, other.status, delivered) == (0, 200, 2)
    assert sandbox.pending_deliveries == []


def test_an_endpoint_is_valid_and_does_not_show_its_secret(sandbox):
    for url, message in (
        ("https://example.com/webhooks", "this machine only"),
        ("http://127.0.0.1@example.com/", "this machine only"),
        ("http://127.0.0.1:0/", "address"),
    ):
        with pytest.raises(ValueError, match=message):
            sandbox.add_webhook(url, "whsec_x")
    for types in ("payment_intent.succeeded", [], ["payment_intent.*"]):
        with pytest.raises((TypeError, ValueError), match="type"):
            sandbox.add_webhook(URL, "whsec_x", enabled_events=types)
    with pytest.raises(ValueError, match="secret"):
        sandbox.add_webhook(URL, "")

    assert "whsec_x" not in repr(sandbox.add_webhook(URL, "whsec_x"))


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

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Receiver()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "pending"), [("/204", 0), ("/302", 1)])
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


def test_an_endpoint_gets_events_in_its_own_version(api, sandbox, web_server):
    url, received = web_server
    form = {"url": f"{url}/204", "enabled_events[]": "*", "api_version": "2022-08-01"}
    api.post(ENDPOINTS, form)
    api.pay()
    sandbox.deliver_due()

    succeeded = next(e for e in received.events if e["type"] == "payment_intent.succeeded")
    assert succeeded["data"]["object"]["charges"]["data"][0]["refunds"]["data"] == []
    assert "charges" not in sandbox.events[0]["data"]["object"]
