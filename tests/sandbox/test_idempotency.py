from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from shop_payments.sandbox import Fault, Sandbox
from tests.sandbox.support import INTENTS, ORDER, PUBLISHABLE_KEY, Answer, Api, Clock
from tests.threads import Hold

DAY = 24 * 60 * 60


def test_a_replay_is_the_saved_answer(api: Api, sandbox: Sandbox) -> None:
    first = api.post(INTENTS, ORDER, Idempotency_Key="k")

    again = api.post(INTENTS, ORDER, Idempotency_Key="k")

    assert again.response.body == first.response.body
    assert again.status == 200
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["original-request"] == first.headers["request-id"]
    assert again.headers["request-id"] != first.headers["request-id"]
    assert "idempotent-replayed" not in first.headers
    assert len(sandbox.events) == 1


def test_a_replay_is_not_the_present_state(api: Api) -> None:
    created = api.post(INTENTS, ORDER, Idempotency_Key="k")
    api.post(f"{INTENTS}/{created['id']}", {"amount": "5000"})

    assert api.post(INTENTS, ORDER, Idempotency_Key="k")["amount"] == 11200


def test_other_parameters_are_refused(api: Api, sandbox: Sandbox) -> None:
    api.post(INTENTS, ORDER, Idempotency_Key="k")

    answer = api.post(INTENTS, {**ORDER, "amount": "1"}, Idempotency_Key="k")

    assert (answer.status, answer.error["type"]) == (400, "idempotency_error")
    assert answer.error["message"] == (
        "Keys for idempotent requests can only be used with the same parameters they were first"
        " used with. Try using a key other than 'k' if you meant to execute a different request."
    )
    assert len(sandbox.events) == 1


def test_another_path_is_refused(api: Api) -> None:
    intent_id = api.post(INTENTS, ORDER, Idempotency_Key="k")["id"]

    answer = api.post(f"{INTENTS}/{intent_id}", ORDER, Idempotency_Key="k")

    assert (answer.status, answer.error["type"]) == (400, "idempotency_error")
    assert f"('{INTENTS}/{intent_id}' vs '{INTENTS}')" in answer.error["message"]


def test_a_decline_is_saved(api: Api) -> None:
    intent_id = api.create()["id"]
    confirm = (f"{INTENTS}/{intent_id}/confirm", {"payment_method": "pm_card_chargeDeclined"})

    first = api.post(*confirm, Idempotency_Key="k")
    again = api.post(*confirm, Idempotency_Key="k")

    assert (again.status, again.response.body) == (402, first.response.body)
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("card", ["pm_card_visa", "pm_card_chargeDeclined"])
def test_a_saved_answer_says_that_a_retry_is_no_use(api: Api, card: str) -> None:
    path = f"{INTENTS}/{api.create()['id']}/confirm"

    first = api.post(path, {"payment_method": card}, Idempotency_Key="k")
    again = api.post(path, {"payment_method": card}, Idempotency_Key="k")

    assert first.headers["stripe-should-retry"] == "false"
    assert again.headers["stripe-should-retry"] == "false"


def test_what_is_not_saved_says_nothing_of_retries(api: Api) -> None:
    wrong = api.post(INTENTS, {**ORDER, "amount": "x"}, Idempotency_Key="k")

    for answer in (wrong, api.get(INTENTS), api.post(INTENTS, ORDER)):
        assert "stripe-should-retry" not in answer.headers


def test_a_browser_does_not_get_a_servers_saved_answer(api: Api, sandbox: Sandbox) -> None:
    intent = api.create(**{"metadata[cost]": "40.00"})
    path, card = f"{INTENTS}/{intent['id']}/confirm", {"payment_method": "pm_card_visa"}
    api.post(path, card, Idempotency_Key="k")

    without = api.call("POST", path, card, key=PUBLISHABLE_KEY, Idempotency_Key="k")
    with_it = api.call(
        "POST",
        path,
        {**card, "client_secret": intent["client_secret"]},
        key=PUBLISHABLE_KEY,
        Idempotency_Key="k",
    )

    assert (without.status, without.error["param"]) == (400, "client_secret")
    assert with_it.error["code"] == "payment_intent_unexpected_state"
    assert "metadata" not in with_it.error["payment_intent"]


def test_a_refused_state_is_saved(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create()["id"]
    sandbox.advance(intent_id, "processing")
    update = (f"{INTENTS}/{intent_id}", {"amount": "5000"})
    assert api.post(*update, Idempotency_Key="k").status == 400
    sandbox.advance(intent_id, "requires_payment_method")

    again = api.post(*update, Idempotency_Key="k")

    assert (again.status, again.error["code"]) == (400, "payment_intent_unexpected_state")


def test_failed_validation_is_not_saved(api: Api) -> None:
    wrong = api.post(INTENTS, {**ORDER, "amount": "x"}, Idempotency_Key="k")
    right = api.post(INTENTS, ORDER, Idempotency_Key="k")

    assert (wrong.status, right.status) == (400, 200)


def test_a_refused_key_is_not_saved(api: Api) -> None:
    assert api.call("POST", INTENTS, ORDER, key="hello", Idempotency_Key="k").status == 401
    assert api.post(INTENTS, ORDER, Idempotency_Key="k").status == 200


@pytest.mark.parametrize(
    ("status", "saved"), [(500, True), (503, False), (429, False), (409, False)]
)
def test_a_server_error_is_saved_and_others_are_not(
    api: Api, sandbox: Sandbox, status: int, saved: bool
) -> None:
    sandbox.inject(Fault("error", status=status))

    first = api.post(INTENTS, ORDER, Idempotency_Key="k")
    again = api.post(INTENTS, ORDER, Idempotency_Key="k")

    assert first.status == status
    assert again.status == (500 if saved else 200)
    assert len(sandbox.events) == (0 if saved else 1)


def test_a_key_lives_for_a_day(api: Api, clock: Clock) -> None:
    first = api.post(INTENTS, ORDER, Idempotency_Key="k")
    clock.advance(DAY - 1)
    second = api.post(INTENTS, ORDER, Idempotency_Key="k")
    clock.advance(1)
    third = api.post(INTENTS, ORDER, Idempotency_Key="k")

    assert first["id"] == second["id"] != third["id"]


def test_keys_can_be_pruned(api: Api, sandbox: Sandbox) -> None:
    first = api.post(INTENTS, ORDER, Idempotency_Key="k")
    api.post(INTENTS, ORDER, Idempotency_Key="l")

    assert sandbox.forget_idempotency_keys() == 2

    assert api.post(INTENTS, ORDER, Idempotency_Key="k")["id"] != first["id"]


@pytest.fixture
def pause() -> Hold:
    """Where the slow request waits."""
    return Hold()


@pytest.fixture
def slow_api(clock: Clock, pause: Hold) -> Api:
    """Its first request is slow."""
    sandbox = Sandbox(clock=clock, seed=1, sleep=pause.hold)
    sandbox.inject(Fault("latency", seconds=1))
    return Api(sandbox)


def test_a_key_in_use_is_not_pruned(slow_api: Api, pause: Hold) -> None:
    def post() -> int:
        return slow_api.post(INTENTS, ORDER, Idempotency_Key="k").status

    def prune_and_post() -> tuple[int, int]:
        return slow_api.sandbox.forget_idempotency_keys(), post()

    assert pause.meanwhile(post, prune_and_post) == (200, (0, 409))


@pytest.mark.parametrize(("length", "status"), [(255, 200), (256, 400)])
def test_a_key_has_at_most_255_characters(api: Api, length: int, status: int) -> None:
    assert api.post(INTENTS, ORDER, Idempotency_Key="k" * length).status == status


def test_a_key_on_get_means_nothing(api: Api) -> None:
    answer = api.get(INTENTS, Idempotency_Key="k")

    assert "idempotency-key" not in answer.headers
    assert api.post(INTENTS, ORDER, Idempotency_Key="k").status == 200


def test_a_request_meets_the_first_one_in_progress(slow_api: Api, pause: Hold) -> None:
    def post() -> Answer:
        return slow_api.post(INTENTS, ORDER, Idempotency_Key="k")

    first, second = pause.meanwhile(post, post)

    assert first.status == 200
    assert (second.status, second.error["type"]) == (409, "idempotency_error")
    assert second.error["code"] == "idempotency_key_in_use"
    assert post().response.body == first.response.body
    assert len(slow_api.sandbox.events) == 1


def test_one_slow_request_stalls_no_other(slow_api: Api, pause: Hold) -> None:
    """The slow one is let go once the other has its answer."""
    slow, quick = pause.meanwhile(
        lambda: slow_api.post(INTENTS, ORDER, Idempotency_Key="k"), slow_api.create
    )

    assert (slow.status, quick.status) == (200, 200)


def test_32_threads_with_one_key_have_one_effect(api: Api, sandbox: Sandbox) -> None:
    sandbox.inject(Fault("latency", seconds=0.05))
    barrier = threading.Barrier(32)

    def post(_: int) -> tuple[int, str]:
        barrier.wait()
        answer = api.post(INTENTS, ORDER, Idempotency_Key="k")
        return answer.status, answer.json.get("id", "")

    with ThreadPoolExecutor(32) as pool:
        answers = Counter(pool.map(post, range(32)))

    assert len(sandbox.events) == 1
    assert len(api.get(INTENTS)["data"]) == 1
    assert {status for status, _ in answers} == {200, 409}
    assert len([answer for answer in answers if answer[0] == 200]) == 1


def test_32_threads_with_32_keys_have_32_effects(api: Api, sandbox: Sandbox) -> None:
    with ThreadPoolExecutor(32) as pool:
        answers = pool.map(
            lambda number: api.post(INTENTS, ORDER, Idempotency_Key=f"k{number}")["id"], range(32)
        )

    assert len(set(answers)) == len(sandbox.events) == 32


def test_32_threads_confirm_an_intent_once(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create()["id"]

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: api.confirm(intent_id, "pm_card_visa"), range(32)))

    assert Counter(answer.status for answer in answers) == {200: 1, 400: 31}
    assert [event["type"] for event in sandbox.events].count("payment_intent.succeeded") == 1
