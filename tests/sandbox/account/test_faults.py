"""Faults of requests and of webhooks. Other kinds have their tests where the app meets them.

See: https://docs.stripe.com/error-low-level and https://docs.stripe.com/rate-limits
(checked 2026-11)
"""

from __future__ import annotations

import pytest

from shop_payments.sandbox import Fault, Sandbox
from tests.sandbox.conftest import URL
from tests.sandbox.support import DAY, EVENTS, INTENTS, ORDER, Api, Clock, Receiver


def write(api):
    return api.post(INTENTS, ORDER, Idempotency_Key="k")


def test_an_effect_may_come_minutes_after_the_500(api, sandbox):
    """Stripe may complete an operation after a server error, and then send its webhooks."""
    sandbox.inject(Fault("effect_later", method="POST", seconds=300))

    assert [write(api).status for _ in range(2)] == [500, 500]
    sandbox.advance_clock(299)
    assert (sandbox.events, api.get(INTENTS)["data"]) == ([], [])
    sandbox.advance_clock(1)

    (intent,) = api.get(INTENTS)["data"]
    assert intent["created"] == int(sandbox.now)
    assert api.events_after() == ["payment_intent.created"]
    assert write(api).status == 500


def test_a_glob_that_takes_minutes_is_refused():
    glob = "*" + "[" * 50_000
    with pytest.raises(ValueError, match="at most 500 characters"):
        Fault("latency", seconds=1, path=glob)
    with pytest.raises(ValueError, match="at most 500 characters"):
        Fault("webhook_lost", type=glob)


def test_a_late_effect_that_has_become_impossible_does_not_come(api, sandbox):
    intent = api.create()
    sandbox.inject(Fault("effect_later", path="/v1/payment_intents/*/confirm", seconds=60))
    assert api.confirm(intent, "pm_card_visa").status == 500
    api.cancel(intent)

    sandbox.advance_clock(60)

    assert api.again(intent)["status"] == "canceled"


def test_a_fault_affects_the_requests_that_it_matches_as_often_as_it_says(api, sandbox):
    path = f"{api.create(payment_method='pm_card_visa')['id']}/confirm"
    faults = [
        Fault("error", status=429, path=INTENTS, times=2),
        Fault("error", status=503, path="/v1/payment_intents/*/confirm", rate=1.0, times=1),
        Fault("error", status=503, method="get", times=None),
    ]
    for fault in faults:
        sandbox.inject(fault)

    statuses = [api.post(f"{INTENTS}/{path}").status for _ in range(4)]

    assert statuses == [429, 429, 503, 200]
    assert api.get(INTENTS).status == 503
    assert sandbox.faults == faults[2:]


def outcomes(seed: int) -> str:
    """Return the results of 100 requests, with a fault for a tenth of them."""
    sandbox = Sandbox(seed=seed)
    sandbox.inject(Fault("error", status=503, rate=0.1))
    api = Api(sandbox)
    return "".join("x" if api.get(INTENTS).status == 503 else "." for _ in range(100))


def test_a_rate_affects_the_same_requests_with_the_same_seed():
    first = outcomes(seed=7)
    assert 2 <= first.count("x") <= 25
    assert first == outcomes(seed=7) != outcomes(seed=8)


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "gremlin"},
        {"kind": "error", "status": 500, "code": "rate_limit"},
        {"kind": "latency", "seconds": float("nan")},
        {"kind": "latency", "seconds": 1, "status": 500},
        {"kind": "latency", "seconds": 1, "param": "currency"},
        {"kind": "drop_after", "seconds": 1},
        {"kind": "drop_after", "rate": 1.1},
        {"kind": "drop_after", "method": "FETCH"},
        {"kind": "webhook_lost", "path": "/v1/events"},
        {"kind": "drop_after", "times": 0},
        {"kind": "drop_after", "path": "v1/payment_intents"},
        {"kind": "webhook_lost", "type": "payment_intent.suceeded"},
        {"kind": "drop_after", "type": "payment_intent.*"},
    ],
)
def test_a_contradictory_fault_is_refused(fields):
    with pytest.raises(ValueError, match="Fault"):
        Fault(**fields)


def test_a_webhook_may_be_lost(api, sandbox, receiver):
    sandbox.inject(Fault("webhook_lost", type="payment_intent.succeeded"))
    api.pay()

    sandbox.advance_clock(4 * DAY)
    sandbox.deliver_due()

    assert receiver.types == ["created", "charge.succeeded", "charge.updated"]
    (lost,) = sandbox.lost_deliveries
    assert (lost.event_id, lost.attempts) == (sandbox.events[2]["id"], 0)
    missed = api.get(EVENTS, {"delivery_success": "false"})["data"]
    assert [event["type"] for event in missed] == ["payment_intent.succeeded"]


def test_a_doubled_webhook_counts_once(api, sandbox, receiver):
    sandbox.inject(Fault("webhook_doubled"))
    api.create()
    assert sandbox.events[0]["pending_webhooks"] == 1

    sandbox.deliver_due()

    assert receiver.types == ["created"] * 2
    assert sandbox.events[0]["pending_webhooks"] == 0


def orders_of_arrival(seed: int) -> list[int]:
    sandbox, receiver = Sandbox(clock=Clock(), seed=seed), Receiver()
    sandbox.add_webhook(URL, "whsec_x", deliver=receiver)
    sandbox.inject(Fault("webhook_reordered", seconds=30, times=None))
    intents = [Api(sandbox).create()["id"] for _ in range(8)]
    sandbox.advance_clock(30)
    sandbox.deliver_due()
    return [intents.index(event["data"]["object"]["id"]) for event in receiver.events]


def test_webhooks_are_shuffled_in_the_same_way_with_the_same_seed():
    first = orders_of_arrival(seed=1)
    assert sorted(first) == [*range(8)] != first
    assert first == orders_of_arrival(seed=1) != orders_of_arrival(seed=2)


def test_a_delay_affects_one_delivery_of_one_endpoint(api, sandbox, receiver):
    other = Receiver()
    sandbox.add_webhook(URL, "whsec_x", deliver=other)
    sandbox.inject(Fault("webhook_delayed", type="payment_intent.created", seconds=60))
    api.pay()

    sandbox.deliver_due()
    assert receiver.types == ["charge.succeeded", "succeeded", "charge.updated"]
    sandbox.advance_clock(60)
    sandbox.deliver_due()

    assert receiver.types[3:] == ["created"]
    assert len(other.types) == 4
