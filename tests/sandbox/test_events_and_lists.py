from __future__ import annotations

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import INTENTS, Api, Clock


def make(api: Api, clock: Clock, count: int) -> list[str]:
    """Make intents a second apart; return their ids, newest first."""
    ids = []
    for _ in range(count):
        ids.append(api.create()["id"])
        clock.advance(1)
    return ids[::-1]


def listed(api: Api, params: dict[str, str]) -> tuple[list[str], bool]:
    answer = api.get(INTENTS, params)
    assert (answer["object"], answer["url"]) == ("list", INTENTS)
    return [intent["id"] for intent in answer["data"]], answer["has_more"]


def test_a_list_is_newest_first_and_ten_long(api: Api, clock: Clock) -> None:
    ids = make(api, clock, 11)

    assert listed(api, {}) == (ids[:10], True)
    assert listed(api, {"limit": "11"}) == (ids, False)


def test_a_list_keeps_the_order_within_one_second(api: Api) -> None:
    ids = [api.create()["id"] for _ in range(5)]

    assert listed(api, {}) == (ids[::-1], False)


def test_a_list_goes_on_after_a_cursor(api: Api, clock: Clock) -> None:
    ids = make(api, clock, 5)

    assert listed(api, {"limit": "2", "starting_after": ids[1]}) == (ids[2:4], True)
    assert listed(api, {"limit": "2", "starting_after": ids[2]}) == (ids[3:], False)


def test_a_list_goes_back_before_a_cursor(api: Api, clock: Clock) -> None:
    ids = make(api, clock, 5)

    assert listed(api, {"limit": "2", "ending_before": ids[3]}) == (ids[1:3], True)
    assert listed(api, {"limit": "2", "ending_before": ids[2]}) == (ids[:2], False)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"created": "4000000002"}, [2]),
        ({"created[gte]": "4000000002"}, [4, 3, 2]),
        ({"created[gt]": "4000000002"}, [4, 3]),
        ({"created[lt]": "4000000002"}, [1, 0]),
        ({"created[gte]": "4000000001", "created[lte]": "4000000002"}, [2, 1]),
    ],
)
def test_a_list_filters_by_creation(
    api: Api, clock: Clock, params: dict[str, str], expected: list[int]
) -> None:
    oldest_first = make(api, clock, 5)[::-1]

    assert listed(api, params)[0] == [oldest_first[number] for number in expected]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"limit": "0"}, "parameter_invalid_integer"),
        ({"limit": "101"}, "parameter_invalid_integer"),
        ({"limit": "ten"}, "parameter_invalid_integer"),
        ({"starting_after": "pi_x"}, "resource_missing"),
        ({"ending_before": "pi_x"}, "resource_missing"),
        ({"created[since]": "1"}, "parameter_unknown"),
        ({"created": "yesterday"}, "parameter_invalid_integer"),
        ({"page": "2"}, "parameter_unknown"),
        ({"customer": "cus_1"}, "sandbox_not_covered"),
    ],
)
def test_a_list_refuses(api: Api, params: dict[str, str], code: str) -> None:
    answer = api.get(INTENTS, params)

    assert (answer.status, answer.error["code"]) == (400, code)


def test_a_list_takes_one_cursor(api: Api, clock: Clock) -> None:
    newest, oldest = make(api, clock, 2)

    answer = api.get(INTENTS, {"starting_after": newest, "ending_before": oldest})

    assert answer.status == 400
    assert "only specify one" in answer.error["message"]


def test_an_event_keeps_the_object_as_it_was(api: Api, sandbox: Sandbox) -> None:
    created = api.create()

    api.confirm(created["id"], "pm_card_visa")

    first, _, last, _ = sandbox.events
    assert first["data"]["object"] == created.json
    assert last["data"]["object"]["status"] == "succeeded"


def test_an_event_names_the_request_behind_it(api: Api, sandbox: Sandbox) -> None:
    answer = api.post(INTENTS, "amount=1000&currency=usd", Idempotency_Key="k")

    (event,) = sandbox.events
    request_id = answer.headers["request-id"]
    assert event["request"] == {"id": request_id, "idempotency_key": "k"}
    assert (event["object"], event["livemode"]) == ("event", False)
    assert event["api_version"] == "2026-10-28.endive"
    assert event["pending_webhooks"] == 0


def test_an_event_is_retrieved(api: Api, sandbox: Sandbox) -> None:
    api.create()
    (event,) = sandbox.events

    assert api.get(f"/v1/events/{event['id']}").json == event


def test_an_unknown_event_is_404(api: Api) -> None:
    answer = api.get("/v1/events/evt_x")

    assert (answer.status, answer.error["message"]) == (404, "No such event: 'evt_x'")


TOLD = [
    "charge.updated",
    "payment_intent.succeeded",
    "charge.succeeded",
    "payment_intent.payment_failed",
    "charge.failed",
]
"""What is told of a declined and then a good card, newest first."""


@pytest.mark.parametrize(
    ("params", "types"),
    [
        ({}, [*TOLD, "payment_intent.created"]),
        ({"type": "payment_intent.succeeded"}, ["payment_intent.succeeded"]),
        ({"type": "payment_intent.*"}, [*TOLD[1::2], "payment_intent.created"]),
        ({"type": "charge.*"}, TOLD[::2]),
        ({"type": "charge.refunded"}, []),
        ({"type": "*.created"}, ["payment_intent.created"]),
        ({"type": "payment_intent.[a-z]*"}, []),
        ({"type": "payment_intent"}, []),
        ({"types[]": "payment_intent.*"}, []),
        (
            {"types[0]": "payment_intent.created", "types[1]": "payment_intent.succeeded"},
            ["payment_intent.succeeded", "payment_intent.created"],
        ),
        ({"created[gt]": "4000000000"}, TOLD[:3]),
    ],
)
def test_events_are_listed(
    api: Api, clock: Clock, params: dict[str, str], types: list[str]
) -> None:
    intent_id = api.create()["id"]
    api.confirm(intent_id, "pm_card_chargeDeclined")
    clock.advance(1)
    api.confirm(intent_id, "pm_card_visa")

    answer = api.get("/v1/events", params)

    assert [event["type"] for event in answer["data"]] == types


def test_what_events_gives_is_a_copy(api: Api, sandbox: Sandbox) -> None:
    api.create()

    sandbox.events[0]["data"]["object"]["amount"] = 1

    assert sandbox.events[0]["data"]["object"]["amount"] == 11200


def test_type_and_types_exclude_each_other(api: Api) -> None:
    answer = api.get("/v1/events", {"type": "charge.*", "types[]": "payment_intent.created"})

    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert "type, types" in answer.error["message"]


def test_events_are_listed_by_the_success_of_their_delivery(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create()["id"]
    answers = [200, 500]
    sandbox.add_webhook(
        "http://127.0.0.1:9/",
        "whsec_x",
        deliver=lambda *_: answers.pop(0),
        enabled_events=["payment_intent.payment_failed", "payment_intent.succeeded"],
    )
    api.confirm(intent_id, "pm_card_chargeDeclined")
    api.confirm(intent_id, "pm_card_visa")
    sandbox.deliver_due()

    delivered = api.get("/v1/events", {"delivery_success": "true"})
    not_delivered = api.get("/v1/events", {"delivery_success": "false"})

    assert [event["type"] for event in delivered["data"]] == [
        TOLD[0],
        *TOLD[2:],
        "payment_intent.created",
    ]
    assert [event["type"] for event in not_delivered["data"]] == ["payment_intent.succeeded"]


def test_stripe_forgets_an_event_after_thirty_days(
    api: Api, sandbox: Sandbox, clock: Clock
) -> None:
    api.create()
    (event,) = sandbox.events
    clock.advance(30 * 24 * 60 * 60 - 1)
    assert api.get(f"/v1/events/{event['id']}").status == 200

    clock.advance(1)

    assert api.get(f"/v1/events/{event['id']}").status == 404
    assert api.get("/v1/events")["data"] == []
    assert sandbox.events == [event]
