"""What Stripe refuses is refused here, has no effect, and leaves no trace but the answer."""

from __future__ import annotations

from typing import Any

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.refusals import INVALID, REFUSALS, Refusal
from tests.sandbox.sdk_types import answer_problems
from tests.sandbox.support import INTENTS, ORDER, Api, Clock


def intent_in(api: Api, state: str | None) -> str:
    intent_id: str = api.create()["id"]
    if state is not None:
        api.sandbox.advance(intent_id, state)
    return intent_id


def books(api: Api) -> Any:
    return api.get(INTENTS)["data"], api.sandbox.events


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_it_is_refused_as_stripe_does(api: Api, refusal: Refusal) -> None:
    path = refusal.path.replace("ID", intent_in(api, refusal.state))
    before = books(api)

    answer = api.call(refusal.method, path, refusal.sent, key=refusal.key, **refusal.headers)

    assert answer.status == refusal.status, answer.json
    error = answer.error
    assert (error["type"], error.get("code"), error.get("param")) == (
        refusal.type,
        refusal.code,
        refusal.param,
    ), error["message"]
    assert answer_problems(answer.json) == []
    if refusal.status != 402:  # a decline is an effect: the attempt failed
        assert books(api) == before


def test_the_table_has_no_name_twice() -> None:
    names = [refusal.name for refusal in REFUSALS]
    assert len(set(names)) == len(names)


class TestIdempotencyKeys:
    def test_other_parameters(self, api: Api) -> None:
        api.post(INTENTS, ORDER, Idempotency_Key="one")
        answer = api.post(INTENTS, {**ORDER, "amount": "1"}, Idempotency_Key="one")
        assert (answer.status, answer.error["type"]) == (400, "idempotency_error")

    def test_another_address(self, api: Api) -> None:
        intent = api.post(INTENTS, ORDER, Idempotency_Key="one")
        answer = api.post(f"{INTENTS}/{intent['id']}", ORDER, Idempotency_Key="one")
        assert (answer.status, answer.error["type"]) == (400, "idempotency_error")

    def test_a_key_that_is_too_long(self, api: Api) -> None:
        answer = api.post(INTENTS, ORDER, Idempotency_Key="k" * 256)
        assert (answer.status, answer.error["type"]) == (400, INVALID)

    def test_a_decline_is_repeated_and_not_tried_again(self, api: Api, sandbox: Sandbox) -> None:
        intent_id = intent_in(api, None)
        card = {"payment_method": "pm_card_chargeDeclined"}
        path = f"{INTENTS}/{intent_id}/confirm"

        first = api.post(path, card, Idempotency_Key="one")
        again = api.post(path, card, Idempotency_Key="one")

        assert (first.status, again.json) == (402, first.json)
        assert [event["type"] for event in sandbox.events] == [
            "payment_intent.created",
            "charge.failed",
            "payment_intent.payment_failed",
        ]

    def test_after_24_hours_a_key_is_new(self, api: Api, clock: Clock) -> None:
        first = api.post(INTENTS, ORDER, Idempotency_Key="one")
        clock.advance(24 * 60 * 60)
        assert api.post(INTENTS, ORDER, Idempotency_Key="one")["id"] != first["id"]
