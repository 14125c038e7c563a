"""Events. See: https://docs.stripe.com/api/events (checked 2026-11)"""

from __future__ import annotations

import pytest

from tests.sandbox.conftest import URL
from tests.sandbox.support import DAY, EVENTS, INTENTS, ORDER

EMITTED = [
    "charge.updated",
    "payment_intent.succeeded",
    "charge.succeeded",
    "payment_intent.payment_failed",
    "charge.failed",
    "payment_intent.created",
]
"""The events of a declined and then a good card, newest first."""


def test_an_event_names_its_request_and_keeps_the_object_as_it_was(api, sandbox):
    intent = api.post(INTENTS, ORDER, Idempotency_Key="k")
    api.confirm(intent, "pm_card_visa")

    first, _, last, _ = sandbox.events
    request_id = intent.headers["request-id"]
    assert first["request"] == {"id": request_id, "idempotency_key": "k"}
    assert (first["object"], first["livemode"], first["pending_webhooks"]) == ("event", False, 0)
    assert first["api_version"] == "2026-10-28.endive"
    assert first["data"] == {"object": intent.json}
    assert last["data"]["object"]["status"] == "succeeded"
    assert api.again(first).json == first


def test_what_the_sandbox_hands_out_is_a_copy(api, sandbox):
    intent = api.create()

    sandbox.events[0]["data"]["object"]["amount"] = 1
    sandbox.advance(intent["id"], "processing")["metadata"]["mine"] = "x"

    assert sandbox.events[0]["data"]["object"]["amount"] == 11200
    assert api.again(intent)["metadata"] == {}


@pytest.mark.parametrize(
    ("params", "types"),
    [
        ({}, EMITTED),
        ({"type": "payment_intent.succeeded"}, ["payment_intent.succeeded"]),
        ({"type": "payment_intent.*"}, EMITTED[1::2]),
        ({"type": "charge.*"}, EMITTED[::2]),
        ({"type": "*.created"}, ["payment_intent.created"]),
        ({"type": "payment_intent.[a-z]*"}, []),
        ({"types[]": "payment_intent.*"}, []),
        ({"types[0]": EMITTED[5], "types[1]": EMITTED[1]}, [EMITTED[1], EMITTED[5]]),
        ({"created[gt]": "4000000000"}, EMITTED[:3]),
        ({"delivery_success": "true"}, [EMITTED[0], *EMITTED[2:]]),
        ({"delivery_success": "false"}, ["payment_intent.succeeded"]),
    ],
)
def test_events_are_listed(api, sandbox, clock, params, types):
    answers = [200, 500]
    sandbox.add_webhook(
        URL,
        "whsec_x",
        deliver=lambda *_: answers.pop(0),
        enabled_events=["payment_intent.payment_failed", "payment_intent.succeeded"],
    )
    intent = api.create()
    api.confirm(intent, "pm_card_chargeDeclined")
    clock.advance(1)
    api.confirm(intent, "pm_card_visa")
    sandbox.deliver_due()

    assert [event["type"] for event in api.get(EVENTS, params)["data"]] == types


def test_stripe_forgets_an_event_after_thirty_days(api, sandbox, clock):
    api.create()
    (event,) = sandbox.events
    clock.advance(30 * DAY - 1)
    assert api.again(event).status == 200

    clock.advance(1)

    assert (api.again(event).status, api.get(EVENTS)["data"]) == (404, [])
    assert sandbox.events == [event]
