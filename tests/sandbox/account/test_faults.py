"""Faults on requests and on webhooks: what Stripe, or the line to it, does on a bad day.

See: https://docs.stripe.com/error-low-level and https://docs.stripe.com/rate-limits
(checked 2026-11)
"""

from __future__ import annotations

import pytest

from shop_payments.sandbox import Fault, Sandbox, SandboxConnectionDropped
from tests.sandbox.conftest import URL
from tests.sandbox.support import DAY, EVENTS, INTENTS, ORDER, Api, Clock, Receiver


def write(api):
    return api.post(INTENTS, ORDER, Idempotency_Key="k")


# Requests


@pytest.mark.parametrize(("kind", "effects"), [("drop_before", 0), ("drop_after", 1)])
def test_a_connection_drops_before_or_after_the_effect(api, sandbox, kind, effects):
    sandbox.inject(Fault(kind))

    with pytest.raises(SandboxConnectionDropped):
        write(api)

    assert len(sandbox.events) == effects
    assert [(each.path, each.status) for each in sandbox.requests] == [(INTENTS, None)]
    assert ("idempotent-replayed" in write(api).headers) == (kind == "drop_after")
    assert len(sandbox.events) == 1


def test_a_refusal_has_no_effect_and_names_its_parameter(api, sandbox):
    intent = api.create()
    sandbox.inject(Fault("refused", path="/v1/payment_intents/pi_*", param="currency"))

    refused = api.update(intent, description="new")

    assert (refused.status, refused.error["param"]) == (400, "currency")
    assert "code" not in refused.error
    assert api.again(intent).json == intent.json


def test_latency_waits_and_another_fault_may_meet_it():
    waited: list[float] = []
    sandbox = Sandbox(sleep=waited.append)
    sandbox.inject(Fault("latency", seconds=7))
    sandbox.inject(Fault("drop_after"))

    with pytest.raises(SandboxConnectionDropped):
        Api(sandbox).create()

    assert waited == [7]


@pytest.mark.parametrize(
    ("status", "code", "error_type", "shown", "retry"),
    [
        (409, None, "idempotency_error", None, None),
        (429, None, "invalid_request_error", "rate_limit", None),
        (429, "lock_timeout", "invalid_request_error", "lock_timeout", "true"),
        (500, None, "api_error", None, "false"),
        (503, None, "api_error", None, None),
    ],
)
def test_an_error_has_stripes_shape_and_no_effect(
    api, sandbox, status, code, error_type, shown, retry
):
    sandbox.inject(Fault("error", status=status, code=code))

    answer = api.post(INTENTS, ORDER)

    assert answer.status == status
    assert (answer.error["type"], answer.error.get("code")) == (error_type, shown)
    assert answer.headers.get("stripe-should-retry") == retry
    assert ("stripe-rate-limited-reason" in answer.headers) == (shown == "rate_limit")
    assert sandbox.events == []


def test_an_error_after_its_effect_stays_the_answer_of_the_key(api, sandbox):
    """Stripe says of its own 500s that they may have had any effect, or none."""
    sandbox.inject(Fault("error_after"))

    answers = [write(api) for _ in range(2)]

    assert [answer.status for answer in answers] == [500, 500]
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]
    assert len(sandbox.events) == 1


def test_an_effect_comes_minutes_after_the_500(api, sandbox):
    """Stripe finishes what a server error has interrupted, and sends the webhooks for it."""
    sandbox.inject(Fault("effect_later", method="POST", seconds=300))

    assert [write(api).status for _ in range(2)] == [500, 500]
    sandbox.advance_clock(299)
    assert (sandbox.events, api.get(INTENTS)["data"]) == ([], [])
    sandbox.advance_clock(1)

    (intent,) = api.get(INTENTS)["data"]
    assert intent["created"] == int(sandbox.now)
    assert api.events_after() == ["payment_intent.created"]
    assert write(api).status == 500


def test_an_effect_that_has_become_impossible_does_not_come(api, sandbox):
    intent = api.create()
    sandbox.inject(Fault("effect_later", path="/v1/payment_intents/*/confirm", seconds=60))
    assert api.confirm(intent, "pm_card_visa").status == 500
    api.cancel(intent)

    sandbox.advance_clock(60)

    assert api.again(intent)["status"] == "canceled"


def test_a_new_object_may_be_missing_from_lists_for_a_while(api, sandbox):
    sandbox.inject(Fault("unlisted", method="POST", path=INTENTS, seconds=60))
    hidden, shown = api.create(), api.create()

    assert api.get(INTENTS)["data"] == [shown.json]
    assert api.again(hidden).json == hidden.json
    sandbox.advance_clock(60)
    assert api.get(INTENTS)["data"] == [shown.json, hidden.json]


def test_another_accounts_key_finds_nothing(api, sandbox):
    intent = api.create()
    sandbox.inject(Fault("another_account", times=None))

    assert api.again(intent).error["code"] == "resource_missing"
    made = write(api)
    assert api.get(INTENTS)["data"] == [made.json]

    sandbox.clear_faults()
    assert api.get(INTENTS)["data"] == [intent.json]


def test_stripe_may_forget_a_key_before_a_retry(api, sandbox):
    first = write(api)
    sandbox.inject(Fault("forget_idempotency_keys", method="POST"))

    second, third = write(api), write(api)

    assert first["id"] != second["id"] == third["id"]


@pytest.mark.parametrize(
    ("fault", "hit"),
    [
        (Fault("error", status=429, method="POST"), True),
        (Fault("error", status=429, method="get"), False),
        (Fault("error", status=429, path=INTENTS), True),
        (Fault("error", status=429, path="/v1/payment_intents/*/confirm"), True),
        (Fault("error", status=429, path="/v1/payment_intents/*/cancel"), False),
        (Fault("webhook_lost"), False),
    ],
)
def test_a_fault_strikes_what_it_matches(api, sandbox, fault, hit):
    intent = api.create()
    sandbox.inject(fault)

    assert api.confirm(intent, "pm_card_visa").status == (429 if hit else 200)


def test_a_fault_happens_as_often_as_it_says(api, sandbox):
    sandbox.inject(Fault("error", status=429, times=2))
    sandbox.inject(Fault("error", status=503, rate=1.0, times=1))
    sandbox.inject(Fault("drop_after", path="/v1/nowhere"))

    statuses = [api.get(INTENTS).status for _ in range(4)]

    assert statuses == [429, 429, 503, 200]
    assert sandbox.faults == [Fault("drop_after", path="/v1/nowhere")]


def outcomes(seed: int) -> str:
    """Return what became of 200 requests, one letter each, with a tenth to be refused."""
    sandbox = Sandbox(seed=seed)
    sandbox.inject(Fault("error", status=503, rate=0.1))
    api = Api(sandbox)
    return "".join("x" if api.get(INTENTS).status == 503 else "." for _ in range(200))


def test_a_rate_strikes_some_and_the_same_with_the_same_seed():
    assert 5 <= outcomes(seed=7).count("x") <= 40
    assert outcomes(seed=7) == outcomes(seed=7) != outcomes(seed=8)
    calm, troubled = Sandbox(seed=7), Sandbox(seed=7)
    troubled.inject(Fault("error", status=503, rate=0.0001))
    assert Api(calm).create()["id"] == Api(troubled).create()["id"]


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "gremlin"},
        {"kind": "error", "status": 500, "code": "rate_limit"},
        {"kind": "latency", "status": 500, "seconds": 1},
        {"kind": "latency", "seconds": float("nan")},
        {"kind": "drop_after", "seconds": 1},
        {"kind": "drop_after", "times": 0},
        {"kind": "drop_after", "path": "v1/payment_intents"},
        {"kind": "drop_after", "param": "currency"},
        {"kind": "webhook_lost", "type": "payment_intent.suceeded"},
        {"kind": "drop_after", "rate": 1.1},
        {"kind": "drop_after", "type": "payment_intent.*"},
        {"kind": "webhook_lost", "path": "/v1/events"},
    ],
)
def test_a_senseless_fault_is_refused(fields):
    with pytest.raises(ValueError, match="Fault"):
        Fault(**fields)


# Webhooks


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


@pytest.mark.parametrize("end", ["delivered", "removed"])
def test_a_webhook_may_come_twice_and_counts_once(api, sandbox, end):
    receiver = Receiver()
    endpoint = sandbox.add_webhook(URL, "whsec_x", deliver=receiver)
    sandbox.inject(Fault("webhook_doubled"))
    api.create()
    assert sandbox.events[0]["pending_webhooks"] == 1

    if end == "removed":
        sandbox.remove_webhook(endpoint)
    sandbox.deliver_due()

    sent = [event["id"] for event in receiver.events]
    assert sent == ([sandbox.events[0]["id"]] * 2 if end == "delivered" else [])
    assert sandbox.events[0]["pending_webhooks"] == 0


def orders_of_arrival(seed: int) -> list[int]:
    sandbox, receiver = Sandbox(clock=Clock(), seed=seed), Receiver()
    sandbox.add_webhook(URL, "whsec_x", deliver=receiver)
    sandbox.inject(Fault("webhook_reordered", seconds=30, times=None))
    intents = [Api(sandbox).create()["id"] for _ in range(8)]
    sandbox.advance_clock(30)
    sandbox.deliver_due()
    return [intents.index(event["data"]["object"]["id"]) for event in receiver.events]


def test_webhooks_may_be_shuffled_and_the_same_with_the_same_seed():
    assert sorted(orders_of_arrival(seed=1)) == [*range(8)] != orders_of_arrival(seed=1)
    assert orders_of_arrival(seed=1) == orders_of_arrival(seed=1) != orders_of_arrival(seed=2)


def test_each_endpoint_takes_its_own_fault_which_may_be_a_delay(api, sandbox, receiver):
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
