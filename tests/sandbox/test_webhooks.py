from __future__ import annotations

import json
import threading

import pytest
import stripe

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import Api, Clock, HTTPReceiver, Receiver

SECRET = "whsec_test"
URL = "http://127.0.0.1:9/webhooks"
DAY = 24 * 60 * 60


@pytest.fixture
def receiver(sandbox: Sandbox) -> Receiver:
    receiver = Receiver()
    sandbox.add_webhook(URL, SECRET, deliver=receiver)
    return receiver


def test_an_event_is_delivered_once(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    api.create()

    assert sandbox.deliver_due() == 1
    assert sandbox.deliver_due() == 0
    assert len(receiver.bodies) == 1
    assert sandbox.pending_deliveries == []


def test_the_body_is_the_event(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    intent = api.create(description="Grüße")
    sandbox.deliver_due()

    event = json.loads(receiver.bodies[0])

    assert event["type"] == "payment_intent.created"
    assert event["data"]["object"] == intent.json
    assert event["pending_webhooks"] == 1
    assert sandbox.events[0]["pending_webhooks"] == 0


def test_a_delivery_carries_stripes_headers(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    api.create()
    sandbox.deliver_due()

    (headers,) = receiver.headers

    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["User-Agent"].startswith("Stripe/1.0")


def test_stripe_python_believes_the_signature(
    api: Api, sandbox: Sandbox, receiver: Receiver
) -> None:
    api.create()
    sandbox.deliver_due()

    event = stripe.Webhook.construct_event(
        receiver.bodies[0], receiver.headers[0]["Stripe-Signature"], SECRET
    )

    assert event.type == "payment_intent.created"


def test_a_delivery_has_the_fake_signature_of_test_mode(
    api: Api, sandbox: Sandbox, receiver: Receiver
) -> None:
    api.create()
    sandbox.deliver_due()

    timestamp, *_, fake = receiver.headers[0]["Stripe-Signature"].split(",")

    assert fake.startswith("v0=")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(
            receiver.bodies[0].decode(), f"{timestamp},{fake}", SECRET
        )


def test_another_secret_does_not_fit(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    api.create()
    sandbox.deliver_due()

    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(
            receiver.bodies[0].decode(), receiver.headers[0]["Stripe-Signature"], "whsec_other"
        )


@pytest.mark.parametrize("failure", [500, 302, 404, ConnectionRefusedError(), RuntimeError()])
def test_a_failed_delivery_comes_again(
    api: Api, sandbox: Sandbox, clock: Clock, receiver: Receiver, failure: int | Exception
) -> None:
    receiver.answer = failure
    api.create()
    assert sandbox.deliver_due() == 1
    assert sandbox.events[0]["pending_webhooks"] == 1
    assert sandbox.deliver_due() == 0

    receiver.answer = 204
    clock.advance(1)

    assert sandbox.deliver_due() == 1
    assert sandbox.events[0]["pending_webhooks"] == 0
    assert receiver.bodies[0] == receiver.bodies[1]


def test_a_redelivery_is_signed_anew(
    api: Api, sandbox: Sandbox, clock: Clock, receiver: Receiver
) -> None:
    receiver.answer = 500
    api.create()
    sandbox.deliver_due()
    clock.advance(100)
    sandbox.deliver_due()

    first, second = (headers["Stripe-Signature"] for headers in receiver.headers)

    assert first.startswith("t=4000000000,v1=")
    assert second.startswith("t=4000000100,v1=")
    stripe.WebhookSignature.verify_header(receiver.bodies[1].decode(), second, SECRET)


def test_the_delays_grow_up_to_a_minute(
    api: Api, sandbox: Sandbox, clock: Clock, receiver: Receiver
) -> None:
    receiver.answer = 500
    api.create()
    delays = []
    for _ in range(9):
        sandbox.deliver_due()
        (delivery,) = sandbox.pending_deliveries
        delays.append(delivery.due_at - clock.now)
        clock.now = delivery.due_at

    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_after_three_days_a_delivery_is_lost(
    api: Api, sandbox: Sandbox, clock: Clock, receiver: Receiver
) -> None:
    receiver.answer = 500
    api.create()
    clock.advance(3 * DAY - 100)
    sandbox.deliver_due()
    assert len(sandbox.pending_deliveries) == 1

    clock.advance(99)
    sandbox.deliver_due()
    clock.advance(3600)

    assert sandbox.deliver_due() == 0
    assert sandbox.pending_deliveries == []
    (lost,) = sandbox.lost_deliveries
    assert (lost.event_id, lost.attempts) == (sandbox.events[0]["id"], 2)
    assert sandbox.events[0]["pending_webhooks"] == 1


def test_a_backlog_costs_each_delivery_its_own_share() -> None:
    """What one costs is counted in looks at the clock, and not measured with it."""

    def looks(backlog: int) -> int:
        clock = Clock()
        sandbox = Sandbox(clock=clock, seed=1)
        sandbox.add_webhook(URL, SECRET, deliver=Receiver())
        for _ in range(backlog):
            Api(sandbox).create()
        before = clock.looks
        assert sandbox.deliver_due() == backlog
        return clock.looks - before

    assert looks(40) <= 4 * looks(10)


def test_each_endpoint_gets_its_own_delivery(api: Api, sandbox: Sandbox) -> None:
    good, bad = Receiver(), Receiver(answer=500)
    sandbox.add_webhook(URL, SECRET, deliver=good)
    sandbox.add_webhook(URL, "whsec_other", deliver=bad)
    api.create()

    assert sandbox.events[0]["pending_webhooks"] == 2
    assert sandbox.deliver_due() == 2
    assert sandbox.events[0]["pending_webhooks"] == 1
    assert good.headers[0] != bad.headers[0]


def test_an_endpoint_gets_what_happens_after_it_was_added(api: Api, sandbox: Sandbox) -> None:
    api.create()
    sandbox.add_webhook(URL, SECRET, deliver=Receiver())

    assert sandbox.deliver_due() == 0


def test_a_removed_endpoint_gets_nothing(api: Api, sandbox: Sandbox) -> None:
    receiver = Receiver()
    endpoint = sandbox.add_webhook(URL, SECRET, deliver=receiver)
    api.create()
    sandbox.remove_webhook(endpoint)
    api.create()

    assert sandbox.deliver_due() == 0
    assert [event["pending_webhooks"] for event in sandbox.events] == [0, 0]


def test_a_receiver_may_call_the_api_and_remove_itself(api: Api, sandbox: Sandbox) -> None:
    def deliver(url: str, body: bytes, headers: dict[str, str]) -> int:
        intent_id = json.loads(body)["data"]["object"]["id"]
        sandbox.remove_webhook(endpoint)
        return api.confirm(intent_id, "pm_card_visa").status

    endpoint = sandbox.add_webhook(URL, SECRET, deliver=deliver)
    intent_id = api.create()["id"]

    assert sandbox.deliver_due() == 1
    assert api.get(f"/v1/payment_intents/{intent_id}")["status"] == "succeeded"
    assert sandbox.events[0]["pending_webhooks"] == 0


def test_two_deliverers_do_not_deliver_twice(api: Api, sandbox: Sandbox) -> None:
    entered, leave = threading.Event(), threading.Event()

    def deliver(url: str, body: bytes, headers: dict[str, str]) -> int:
        entered.set()
        leave.wait(5)
        return 200

    sandbox.add_webhook(URL, SECRET, deliver=deliver)
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
    "url",
    [
        "https://example.com/webhooks",
        "http://10.0.0.1/webhooks",
        "http://localhost.example.com/",
        "http://127.0.0.1@example.com/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "webhooks",
    ],
)
def test_it_delivers_to_this_machine_only(sandbox: Sandbox, url: str) -> None:
    with pytest.raises(ValueError, match="this machine only"):
        sandbox.add_webhook(url, SECRET)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:http/",
        "http://127.0.0.1:65536/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1/stripe hooks",
        "http://127.0.0.1/webh\u00f6\u00f6ks",
        "http://u:p@127.0.0.1/",
    ],
)
def test_an_address_that_nothing_can_be_posted_to_is_refused(sandbox: Sandbox, url: str) -> None:
    with pytest.raises(ValueError, match=r"Port|address"):
        sandbox.add_webhook(url, SECRET)


@pytest.mark.parametrize(
    "types", ["payment_intent.succeeded", [], ["payment_intent.suceeded"], ["payment_intent.*"]]
)
def test_an_endpoint_that_would_never_get_an_event_is_refused(
    sandbox: Sandbox, types: str | list[str]
) -> None:
    with pytest.raises((TypeError, ValueError), match="type"):
        sandbox.add_webhook(URL, SECRET, enabled_events=types)


def test_an_endpoint_without_a_secret_is_refused(sandbox: Sandbox) -> None:
    with pytest.raises(ValueError, match="secret"):
        sandbox.add_webhook(URL, "")


def test_an_endpoint_does_not_show_its_secret(sandbox: Sandbox) -> None:
    assert SECRET not in repr(sandbox.add_webhook(URL, SECRET))


@pytest.mark.parametrize(
    ("path", "pending"), [("/200", 0), ("/204", 0), ("/500", 1), ("/redirect", 1)]
)
def test_it_posts_over_http(
    api: Api, sandbox: Sandbox, http_receiver: HTTPReceiver, path: str, pending: int
) -> None:
    sandbox.add_webhook(http_receiver.url + path, SECRET)
    api.create()

    assert sandbox.deliver_due() == 1

    assert sandbox.events[0]["pending_webhooks"] == pending
    assert http_receiver.paths == [path]


def test_nobody_there_is_a_failure(api: Api, sandbox: Sandbox) -> None:
    sandbox.add_webhook("http://127.0.0.1:1/", SECRET)
    api.create()

    assert sandbox.deliver_due() == 1
    assert sandbox.pending_deliveries[0].attempts == 1
