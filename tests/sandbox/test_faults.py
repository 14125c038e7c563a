from __future__ import annotations

import json
import time
from typing import Any

import pytest

from shop_payments.sandbox import Fault, Sandbox, SandboxConnectionDropped
from tests.sandbox.support import INTENTS, ORDER, Api, Clock, Receiver


def test_a_connection_dropped_before_has_no_effect(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("drop_before"))

    with pytest.raises(SandboxConnectionDropped):
        api.post(INTENTS, ORDER, Idempotency_Key="k")

    assert sandbox.events == []
    retried = api.post(INTENTS, ORDER, Idempotency_Key="k")
    assert "idempotent-replayed" not in retried.headers


def test_a_connection_dropped_after_has_its_effect(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("drop_after"))

    with pytest.raises(ConnectionError):
        api.post(INTENTS, ORDER, Idempotency_Key="k")

    assert len(sandbox.events) == 1
    retried = api.post(INTENTS, ORDER, Idempotency_Key="k")
    assert retried.headers["idempotent-replayed"] == "true"
    assert len(sandbox.events) == 1


def test_a_dropped_request_is_logged_without_a_status(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("drop_after"))

    with pytest.raises(SandboxConnectionDropped):
        api.post(INTENTS, ORDER)

    assert [(request.path, request.status) for request in sandbox.requests] == [(INTENTS, None)]


def test_a_refusal_has_no_effect_and_names_its_parameter(api: Api, sandbox: Sandbox) -> None:
    intent = api.create()
    sandbox.inject(Fault("refused", path="/v1/payment_intents/pi_*", param="currency"))

    refused = api.post(f"{INTENTS}/{intent['id']}", {"description": "new"}, Idempotency_Key="k")
    replay = api.post(f"{INTENTS}/{intent['id']}", {"description": "new"}, Idempotency_Key="k")

    error = refused.json["error"]
    assert (refused.status, error["param"]) == (400, "currency")
    assert "code" not in error
    assert replay.headers["idempotent-replayed"] == "true"
    assert api.get(f"{INTENTS}/{intent['id']}").json["description"] is None


def test_latency_waits(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("latency", seconds=0.2))
    started = time.monotonic()

    api.create()

    assert time.monotonic() - started >= 0.2


def test_latency_waits_as_it_is_told_to() -> None:
    waited: list[float] = []
    sandbox = Sandbox(sleep=waited.append)
    sandbox.inject(Fault("latency", seconds=7))

    Api(sandbox).create()

    assert waited == [7]


@pytest.mark.parametrize(
    ("status", "error_type", "code"),
    [
        (409, "idempotency_error", None),
        (429, "invalid_request_error", "rate_limit"),
        (500, "api_error", None),
        (503, "api_error", None),
    ],
)
def test_an_error_has_stripes_shape_and_no_effect(
    api: Api, sandbox: Sandbox, status: int, error_type: str, code: str | None
) -> None:
    sandbox.inject(Fault("error", status=status))

    answer = api.post(INTENTS, ORDER)

    assert answer.status == status
    assert (answer.error["type"], answer.error.get("code")) == (error_type, code)
    assert sandbox.events == []


def test_an_error_after_its_effect_is_what_the_key_answers_for_ever(
    api: Api, sandbox: Sandbox
) -> None:
    """Stripe says of its own 500s that they may have had any effect, or none."""
    sandbox.inject(Fault("error_after"))

    answers = [api.post(INTENTS, ORDER, Idempotency_Key="k") for _ in range(2)]

    assert [answer.status for answer in answers] == [500, 500]
    assert [answer.error["type"] for answer in answers] == ["api_error", "api_error"]
    assert [answer.headers.get("idempotent-replayed") for answer in answers] == [None, "true"]
    assert len(sandbox.events) == 1


def test_what_is_refused_has_no_effect_to_hide(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("error_after"))

    answer = api.post(INTENTS, {**ORDER, "amount": "1"})

    assert (answer.status, answer.error["code"]) == (400, "amount_too_small")


def test_an_effect_comes_minutes_after_the_500(api: Api, sandbox: Sandbox) -> None:
    """Stripe finishes what a server error has interrupted, and sends the webhooks for it."""
    sandbox.inject(Fault("effect_later", method="POST", seconds=300))

    answers = [api.post(INTENTS, ORDER, Idempotency_Key="k") for _ in range(2)]

    assert [answer.status for answer in answers] == [500, 500]
    assert answers[1].headers["idempotent-replayed"] == "true"
    assert (sandbox.events, api.get(INTENTS).json["data"]) == ([], [])
    sandbox.advance_clock(299)
    assert sandbox.events == []
    sandbox.advance_clock(1)
    (intent,) = api.get(INTENTS).json["data"]
    assert intent["created"] == int(sandbox.now)
    assert [event["type"] for event in sandbox.events] == ["payment_intent.created"]
    assert api.post(INTENTS, ORDER, Idempotency_Key="k").status == 500


def test_an_effect_that_has_become_impossible_does_not_come(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create()["id"]
    sandbox.inject(Fault("effect_later", path="/v1/payment_intents/*/confirm", seconds=60))
    assert api.confirm(intent_id, "pm_card_visa").status == 500
    api.post(f"{INTENTS}/{intent_id}/cancel", {})

    sandbox.advance_clock(60)

    assert api.get(f"{INTENTS}/{intent_id}").json["status"] == "canceled"


def test_what_is_made_may_be_missing_from_lists_for_a_while(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("unlisted", method="POST", path=INTENTS, seconds=60))
    hidden, shown = api.create()["id"], api.create()["id"]

    assert [each["id"] for each in api.get(INTENTS).json["data"]] == [shown]
    assert api.get(f"{INTENTS}/{hidden}").json["id"] == hidden
    sandbox.advance_clock(60)
    assert [each["id"] for each in api.get(INTENTS).json["data"]] == [shown, hidden]


def test_another_accounts_key_finds_nothing(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create()["id"]
    sandbox.inject(Fault("another_account", times=None))

    assert api.get(f"{INTENTS}/{intent_id}").error["code"] == "resource_missing"
    assert api.get(INTENTS).json["data"] == []
    made = api.post(INTENTS, ORDER, Idempotency_Key="k").json["id"]
    assert [each["id"] for each in api.get(INTENTS).json["data"]] == [made]

    sandbox.clear_faults()
    assert [each["id"] for each in api.get(INTENTS).json["data"]] == [intent_id]


@pytest.mark.parametrize(
    ("fault", "hit"),
    [
        (Fault("error", status=429, method="POST"), True),
        (Fault("error", status=429, method="get"), False),
        (Fault("error", status=429, path="/v1/payment_intents"), True),
        (Fault("error", status=429, path="/v1/payment_intents/*/confirm"), True),
        (Fault("error", status=429, path="/v1/payment_intents/*/cancel"), False),
        (Fault("error", status=429, path="/v1/events"), False),
    ],
)
def test_a_fault_befalls_what_it_matches(
    api: Api, sandbox: Sandbox, fault: Fault, hit: bool
) -> None:
    intent_id = api.create()["id"]
    sandbox.inject(fault)

    answer = api.confirm(intent_id, "pm_card_visa")

    assert answer.status == (429 if hit else 200)


def test_a_fault_happens_as_often_as_said(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("error", status=429, times=2))
    sandbox.inject(Fault("error", status=503))

    assert [api.get(INTENTS).status for _ in range(4)] == [429, 429, 503, 200]


def test_a_rate_limit_says_which_and_not_to_retry(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("error", status=429))

    answer = api.get(INTENTS)

    assert answer.headers["stripe-rate-limited-reason"] == "global-rate"
    assert answer.headers.get("stripe-should-retry") != "true"


def test_a_lock_timeout_asks_to_retry(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("error", status=429, code="lock_timeout"))

    answer = api.post(INTENTS, ORDER, Idempotency_Key="k")

    assert (answer.status, answer.error["code"]) == (429, "lock_timeout")
    assert answer.headers["stripe-should-retry"] == "true"
    assert "stripe-rate-limited-reason" not in answer.headers
    assert api.post(INTENTS, ORDER, Idempotency_Key="k").status == 200


def outcomes(seed: int) -> str:
    """Return what came of 200 requests, one letter each, with a tenth to be refused."""
    sandbox = Sandbox(seed=seed)
    sandbox.inject(Fault("error", status=503, rate=0.1))
    api = Api(sandbox)
    return "".join("x" if api.get(INTENTS).status == 503 else "." for _ in range(200))


def test_a_fault_with_a_rate_befalls_some_and_the_same_with_the_same_seed() -> None:
    assert 5 <= outcomes(seed=7).count("x") <= 40
    assert outcomes(seed=7) == outcomes(seed=7) != outcomes(seed=8)


def test_the_ids_do_not_depend_on_the_faults() -> None:
    calm, troubled = Sandbox(seed=7), Sandbox(seed=7)
    troubled.inject(Fault("error", status=503, rate=0.0001))

    assert Api(calm).create()["id"] == Api(troubled).create()["id"]


def test_a_rate_counts_within_what_matches(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("error", status=503, method="POST", rate=1.0, times=2))

    statuses = [api.get(INTENTS).status, *(api.post(INTENTS, ORDER).status for _ in range(3))]

    assert statuses == [200, 503, 503, 200]


def test_the_faults_that_wait_can_be_seen(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("error", status=429, times=3))
    sandbox.inject(Fault("drop_after", path="/v1/nowhere"))
    api.get(INTENTS)

    assert sandbox.faults == [
        Fault("error", status=429, times=2),
        Fault("drop_after", path="/v1/nowhere"),
    ]


def test_stripe_may_forget_a_key_before_a_retry(api: Api, sandbox: Sandbox) -> None:
    first = api.post(INTENTS, ORDER, Idempotency_Key="k")
    sandbox.inject(Fault("forget_idempotency_keys", method="POST"))

    second = api.post(INTENTS, ORDER, Idempotency_Key="k")
    third = api.post(INTENTS, ORDER, Idempotency_Key="k")

    assert first["id"] != second["id"] == third["id"]
    assert "idempotent-replayed" not in second.headers


def test_a_fault_may_last_until_cleared(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("error", status=429, times=None))
    assert [api.get(INTENTS).status for _ in range(3)] == [429, 429, 429]

    sandbox.clear_faults()

    assert api.get(INTENTS).status == 200


def test_faults_of_two_kinds_meet_in_one_request(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("latency", seconds=0.1))
    sandbox.inject(Fault("drop_after"))
    started = time.monotonic()

    with pytest.raises(SandboxConnectionDropped):
        api.post(INTENTS, ORDER)

    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize(
    "arguments",
    [
        {"kind": "gremlin"},
        {"kind": "error"},
        {"kind": "error", "status": 418},
        {"kind": "error", "status": 500, "code": "rate_limit"},
        {"kind": "latency", "status": 500},
        {"kind": "error_after", "status": 503},
        {"kind": "latency"},
        {"kind": "latency", "seconds": -1},
        {"kind": "latency", "seconds": float("nan")},
        {"kind": "latency", "seconds": float("inf")},
        {"kind": "drop_after", "seconds": 1},
        {"kind": "drop_after", "times": 0},
        {"kind": "drop_after", "times": -1},
        {"kind": "drop_after", "method": "FETCH"},
        {"kind": "drop_after", "method": ""},
        {"kind": "drop_after", "path": "v1/payment_intents"},
        {"kind": "drop_after", "path": ""},
        {"kind": "webhook_lost", "type": "payment_intent.suceeded"},
        {"kind": "webhook_lost", "type": ""},
        {"kind": "drop_after", "rate": 0},
        {"kind": "drop_after", "rate": 1.1},
        {"kind": "drop_after", "type": "payment_intent.*"},
        {"kind": "webhook_lost", "path": "/v1/events"},
        {"kind": "webhook_delayed"},
        {"kind": "webhook_reordered"},
    ],
)
def test_a_senseless_fault_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Fault"):
        Fault(**arguments)


WEBHOOK = "http://127.0.0.1:9/webhooks"


@pytest.fixture
def receiver(sandbox: Sandbox) -> Receiver:
    receiver = Receiver()
    sandbox.add_webhook(WEBHOOK, "whsec_x", deliver=receiver)
    return receiver


def test_a_webhook_may_be_lost(
    api: Api, sandbox: Sandbox, clock: Clock, receiver: Receiver
) -> None:
    sandbox.inject(Fault("webhook_lost", type="payment_intent.succeeded"))
    api.confirm(api.create()["id"], "pm_card_visa")
    clock.advance(4 * 24 * 60 * 60)

    sandbox.deliver_due()

    assert receiver.types == ["created", "charge.succeeded", "charge.updated"]
    (lost,) = sandbox.lost_deliveries
    assert (lost.event_id, lost.attempts) == (sandbox.events[2]["id"], 0)
    assert [event["pending_webhooks"] for event in sandbox.events] == [0, 0, 1, 0]
    missed = api.get("/v1/events", {"delivery_success": "false"})
    assert [event["type"] for event in missed["data"]] == ["payment_intent.succeeded"]


def test_a_webhook_may_come_twice(api: Api, sandbox: Sandbox, receiver: Receiver) -> None:
    sandbox.inject(Fault("webhook_doubled"))
    api.create()

    assert sandbox.events[0]["pending_webhooks"] == 1
    assert sandbox.deliver_due() == 2

    first, second = (json.loads(body)["id"] for body in receiver.bodies)
    assert first == second == sandbox.events[0]["id"]
    assert sandbox.events[0]["pending_webhooks"] == 0


def test_a_removed_endpoint_owes_nothing_twice(api: Api, sandbox: Sandbox) -> None:
    endpoint = sandbox.add_webhook(WEBHOOK, "whsec_x", deliver=Receiver())
    sandbox.inject(Fault("webhook_doubled"))
    api.create()

    sandbox.remove_webhook(endpoint)

    assert sandbox.events[0]["pending_webhooks"] == 0
    assert sandbox.pending_deliveries == []


def test_a_webhook_may_be_late(
    api: Api, sandbox: Sandbox, clock: Clock, receiver: Receiver
) -> None:
    sandbox.inject(Fault("webhook_delayed", type="payment_intent.created", seconds=60))
    api.confirm(api.create()["id"], "pm_card_visa")
    sandbox.deliver_due()
    assert receiver.types == ["charge.succeeded", "succeeded", "charge.updated"]

    clock.advance(60)
    sandbox.deliver_due()

    assert receiver.types[3:] == ["created"]


def orders_of_arrival(seed: int) -> list[str]:
    clock = Clock()
    sandbox = Sandbox(clock=clock, seed=seed)
    receiver = Receiver()
    sandbox.add_webhook(WEBHOOK, "whsec_x", deliver=receiver)
    sandbox.inject(Fault("webhook_reordered", seconds=30, times=None))
    api = Api(sandbox)
    intents = [api.create()["id"] for _ in range(8)]
    clock.advance(30)
    sandbox.deliver_due()
    arrived = [json.loads(body)["data"]["object"]["id"] for body in receiver.bodies]
    assert sorted(arrived) == sorted(intents)
    return [str(intents.index(intent_id)) for intent_id in arrived]


def test_webhooks_may_be_shuffled_and_the_same_with_the_same_seed() -> None:
    in_order = [str(number) for number in range(8)]

    assert orders_of_arrival(seed=1) != in_order
    assert orders_of_arrival(seed=1) == orders_of_arrival(seed=1) != orders_of_arrival(seed=2)


def test_each_endpoint_has_faults_of_its_own(api: Api, sandbox: Sandbox) -> None:
    first, second = Receiver(), Receiver()
    sandbox.add_webhook(WEBHOOK, "whsec_x", deliver=first)
    sandbox.add_webhook(WEBHOOK, "whsec_x", deliver=second)
    sandbox.inject(Fault("webhook_lost"))
    api.create()

    sandbox.deliver_due()

    assert (first.types, second.types) == ([], ["created"])


def test_a_webhook_fault_leaves_requests_alone(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("webhook_lost"))

    assert api.create().status == 200
    assert sandbox.faults == [Fault("webhook_lost")]


def test_a_fault_of_a_request_leaves_webhooks_alone(
    api: Api, sandbox: Sandbox, receiver: Receiver
) -> None:
    sandbox.inject(Fault("drop_before", path="/v1/nowhere"))
    api.create()

    sandbox.deliver_due()

    assert receiver.types == ["created"]
    assert len(sandbox.faults) == 1
