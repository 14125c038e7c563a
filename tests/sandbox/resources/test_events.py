"""Events. See: https://docs.stripe.com/api/events (checked 2026-11)"""

from __future__ import annotations

from tests.sandbox.support import DAY, EVENTS, INTENTS, ORDER


def test_an_event_names_its_request_and_keeps_the_object_as_it_was(api, sandbox):
    intent = api.post(INTENTS, ORDER, Idempotency_Key="k")
    api.confirm(intent, "pm_card_visa")

    first, _, last, _ = sandbox.events
    assert first["request"] == {"id": intent.headers["request-id"], "idempotency_key": "k"}
    assert (first["object"], first["livemode"], first["pending_webhooks"]) == ("event", False, 0)
    assert first["api_version"] == "2026-10-28.endive"
    assert first["data"] == {"object": intent.json}
    assert last["data"]["object"]["status"] == "succeeded"
    assert api.again(first).json == first


def test_an_event_is_kept_for_thirty_days(api, sandbox, clock):
    api.create()
    (event,) = sandbox.events
    clock.advance(30 * DAY - 1)
    assert api.again(event).status == 200

    clock.advance(1)

    assert (api.again(event).status, api.get(EVENTS)["data"]) == (404, [])
    assert sandbox.events == [event]
