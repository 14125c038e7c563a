"""What Stripe refuses is refused here, has no effect, and leaves no trace but the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.refusals import INVALID, REFUSALS, Refusal
from tests.sandbox.sdk_types import answer_problems
from tests.sandbox.support import INTENTS, ORDER, Api, Clock


class Names:
    """What the placeholders of a row stand for."""

    def __init__(self, api: Api, refusal: Refusal) -> None:
        self.ids = {"ID": intent_in(api, refusal.state, refusal.card)}
        if refusal.after is not None:
            path, sent = refusal.after
            self.ids["LAST"] = api.post(self.in_text(path), self.in_params(sent))["id"]

    def in_text(self, text: str) -> str:
        for name, value in self.ids.items():
            text = text.replace(name, value)
        return text

    def in_params(self, sent: Mapping[str, str] | str) -> Mapping[str, str] | str:
        if isinstance(sent, str):
            return sent
        return {name: self.ids.get(value, value) for name, value in sent.items()}


def intent_in(api: Api, state: str | None, card: str | None = None) -> str:
    intent_id: str = api.create()["id"]
    if state is not None and state != "requires_payment_method":
        api.sandbox.advance(intent_id, state)
    if card is not None:
        api.confirm(intent_id, card)
    return intent_id


def books(api: Api) -> Any:
    kinds = ("payment_intents", "charges", "refunds", "disputes", "balance_transactions")
    return [api.get(f"/v1/{kind}")["data"] for kind in kinds], api.sandbox.events


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
def test_it_is_refused_as_stripe_does(api: Api, refusal: Refusal) -> None:
    names = Names(api, refusal)
    path, sent = names.in_text(refusal.path), names.in_params(refusal.sent)
    before = books(api)

    answer = api.call(refusal.method, path, sent, key=refusal.key, **refusal.headers)

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
