"""Idempotency keys. See: https://docs.stripe.com/api/idempotent_requests (checked 2026-11)"""

from __future__ import annotations

import pytest

from shop_payments.sandbox import Fault, Sandbox
from tests.sandbox.support import DAY, INTENTS, ORDER, PUBLISHABLE_KEY, Api
from tests.threads import Hold


def write(api, path=INTENTS, params=ORDER, **headers):
    return api.post(path, params, Idempotency_Key="k", **headers)


def test_a_replay_is_the_saved_answer_and_not_the_current_state(api):
    first = write(api)
    api.update(first, amount="5000")

    again = write(api)

    assert (again.status, again.response.body) == (200, first.response.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["original-request"] == first.headers["request-id"]
    assert again.headers["request-id"] != first.headers["request-id"]
    assert "idempotent-replayed" not in first.headers
    assert first.headers["stripe-should-retry"] == again.headers["stripe-should-retry"] == "false"
    assert api.events_after() == ["payment_intent.created"]


def test_other_parameters_and_another_path_are_refused(api):
    intent = write(api)
    path = f"{INTENTS}/{intent['id']}"

    other_amount, other_path = write(api, params={**ORDER, "amount": "1"}), write(api, path)

    same = "the same parameters they were first used with"
    other_amount.assert_refused(message=same, type="idempotency_error")
    other_path.assert_refused(message=f"('{path}' vs '{INTENTS}')", type="idempotency_error")
    assert api.again(intent).json == intent.json


def test_what_is_not_executed_is_not_saved(api):
    wrong = write(api, params={**ORDER, "amount": "x"})
    stranger = api.call("POST", INTENTS, ORDER, key="hello", Idempotency_Key="k")
    too_long = api.post(INTENTS, ORDER, Idempotency_Key="k" * 256)

    assert [each.status for each in (wrong, stranger, too_long, write(api))] == [400, 401, 400, 200]
    assert "stripe-should-retry" not in wrong.headers


@pytest.mark.parametrize(("status", "saved"), [(500, True), (409, False)])
def test_a_500_is_saved_and_a_409_is_not(api, sandbox, status, saved):
    sandbox.inject(Fault("error", status=status))

    assert [write(api).status for _ in range(2)] == [status, 500 if saved else 200]
    assert len(sandbox.events) == (0 if saved else 1)


def test_a_browser_does_not_get_a_servers_saved_answer(api):
    intent = api.create(**{"metadata[cost]": "40.00"})
    path, card = f"{INTENTS}/{intent['id']}/confirm", {"payment_method": "pm_card_visa"}
    write(api, path, card)

    without = write(api, path, card, key=PUBLISHABLE_KEY)
    secret = {"client_secret": intent["client_secret"]}
    with_it = write(api, path, {**card, **secret}, key=PUBLISHABLE_KEY)

    without.assert_refused(param="client_secret")
    with_it.assert_refused(code="payment_intent_unexpected_state")
    assert "metadata" not in with_it.error["payment_intent"]


def test_a_key_is_kept_for_a_day(api, sandbox):
    first = write(api)
    sandbox.advance_clock(DAY - 1)
    second = write(api)
    sandbox.advance_clock(1)
    third = write(api)
    sandbox.inject(Fault("forget_idempotency_keys", method="POST"))

    assert first["id"] == second["id"] != third["id"]
    assert write(api)["id"] not in (first["id"], third["id"])


def test_a_key_in_use_is_a_conflict_and_is_not_pruned(clock):
    pause = Hold()
    api = Api(Sandbox(clock=clock, seed=1, sleep=pause.hold))
    api.sandbox.inject(Fault("latency", seconds=1))

    first, (pruned, second) = pause.meanwhile(
        lambda: write(api), lambda: (api.sandbox.forget_idempotency_keys(), write(api))
    )

    assert (first.status, pruned) == (200, 0)
    second.assert_refused(409, type="idempotency_error", code="idempotency_key_in_use")
    assert second.headers["stripe-should-retry"] == "true"
    assert write(api).response.body == first.response.body
    assert len(api.sandbox.events) == 1
