from __future__ import annotations

import time
from typing import Any

import pytest

from shop_payments.sandbox import Fault, Sandbox, SandboxConnectionDropped
from tests.sandbox.support import INTENTS, ORDER, Api


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


def test_latency_waits(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("latency", seconds=0.2))
    started = time.monotonic()

    api.create()

    assert time.monotonic() - started >= 0.2


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
        {"kind": "latency", "status": 500},
    ],
)
def test_a_senseless_fault_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Fault"):
        Fault(**arguments)
