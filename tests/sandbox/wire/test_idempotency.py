"""Idempotency keys. See: https://docs.stripe.com/api/idempotent_requests (checked 2026-11)"""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from shop_payments.sandbox import Fault, Sandbox
from tests.sandbox.support import DAY, INTENTS, ORDER, PUBLISHABLE_KEY, Api
from tests.threads import Hold


def write(api, path=INTENTS, params=ORDER, **headers):
    return api.post(path, params, Idempotency_Key="k", **headers)


def test_a_replay_is_the_saved_answer_and_not_the_present_state(api):
    first = write(api)
    api.update(first, amount="5000")

    again = write(api)

    assert (again.status, again.response.body) == (200, first.response.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["original-request"] == first.headers["request-id"]
    assert again.headers["request-id"] != first.headers["request-id"]
    assert "idempotent-replayed" not in first.headers
    assert api.events_after() == ["payment_intent.created"]


def test_other_parameters_and_another_path_are_refused(api):
    intent = write(api)

    answers = [write(api, params={**ORDER, "amount": "1"}), write(api, f"{INTENTS}/{intent['id']}")]

    for answer in answers:
        assert (answer.status, answer.error["type"]) == (400, "idempotency_error")
    assert answers[0].error["message"] == (
        "Keys for idempotent requests can only be used with the same parameters they were first"
        " used with. Try using a key other than 'k' if you meant to execute a different request."
    )
    assert f"('{INTENTS}/{intent['id']}' vs '{INTENTS}')" in answers[1].error["message"]
    assert api.again(intent).json == intent.json


@pytest.mark.parametrize("card", ["pm_card_visa", "pm_card_chargeDeclined"])
def test_a_saved_answer_asks_for_no_retry(api, card):
    path = f"{INTENTS}/{api.create()['id']}/confirm"

    first, again = (write(api, path, {"payment_method": card}) for _ in range(2))

    assert (again.status, again.response.body) == (first.status, first.response.body)
    assert again.headers["idempotent-replayed"] == "true"
    assert first.headers["stripe-should-retry"] == again.headers["stripe-should-retry"] == "false"


def test_a_refused_state_is_saved(api, sandbox):
    intent = api.create_in("processing")
    path, change = f"{INTENTS}/{intent['id']}", {"amount": "5000"}
    assert write(api, path, change).status == 400
    sandbox.advance(intent["id"], "requires_payment_method")

    again = write(api, path, change)

    assert (again.status, again.error["code"]) == (400, "payment_intent_unexpected_state")


def test_a_failed_validation_and_a_refused_key_are_not_saved(api):
    wrong = write(api, params={**ORDER, "amount": "x"})
    stranger = api.call("POST", INTENTS, ORDER, key="hello", Idempotency_Key="k")

    on_get = api.get(INTENTS, Idempotency_Key="k")

    assert (wrong.status, stranger.status, write(api).status) == (400, 401, 200)
    assert "idempotency-key" not in on_get.headers
    for answer in (wrong, api.get(INTENTS), api.post(INTENTS, ORDER)):
        assert "stripe-should-retry" not in answer.headers


@pytest.mark.parametrize(
    ("status", "saved"), [(500, True), (503, False), (429, False), (409, False)]
)
def test_a_500_is_saved_and_other_troubles_are_not(api, sandbox, status, saved):
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

    assert (without.status, without.error["param"]) == (400, "client_secret")
    assert with_it.error["code"] == "payment_intent_unexpected_state"
    assert "metadata" not in with_it.error["payment_intent"]


def test_a_key_lives_for_a_day(api, sandbox):
    first = write(api)
    sandbox.advance_clock(DAY - 1)
    second = write(api)
    sandbox.advance_clock(1)
    third = write(api)

    assert first["id"] == second["id"] != third["id"]
    assert sandbox.forget_idempotency_keys() == 1
    assert write(api)["id"] != third["id"]


def test_a_key_has_at_most_255_characters(api):
    statuses = [
        api.post(INTENTS, ORDER, Idempotency_Key="k" * length).status for length in (255, 256)
    ]

    assert statuses == [200, 400]


@pytest.fixture
def pause():
    """Where the slow request waits."""
    return Hold()


@pytest.fixture
def slow_api(clock, pause):
    """Its first request is slow."""
    sandbox = Sandbox(clock=clock, seed=1, sleep=pause.hold)
    sandbox.inject(Fault("latency", seconds=1))
    return Api(sandbox)


def test_a_key_in_use_is_a_conflict_and_is_not_pruned(slow_api, pause):
    def prune_and_write():
        return slow_api.sandbox.forget_idempotency_keys(), write(slow_api)

    first, (pruned, second) = pause.meanwhile(lambda: write(slow_api), prune_and_write)

    assert (first.status, pruned, second.status) == (200, 0, 409)
    assert second.error["type"] == "idempotency_error"
    assert second.error["code"] == "idempotency_key_in_use"
    assert second.headers["stripe-should-retry"] == "true"
    assert write(slow_api).response.body == first.response.body
    assert len(slow_api.sandbox.events) == 1


def test_32_threads_with_one_key_have_one_effect(api, sandbox):
    sandbox.inject(Fault("latency", seconds=0.05))
    barrier = threading.Barrier(32)

    def post(_):
        barrier.wait()
        answer = write(api)
        return answer.status, answer.json.get("id")

    with ThreadPoolExecutor(32) as pool:
        answers = Counter(pool.map(post, range(32)))

    assert len(sandbox.events) == len(api.get(INTENTS)["data"]) == 1
    assert {status for status, _ in answers} == {200, 409}
    assert len([answer for answer in answers if answer[0] == 200]) == 1
