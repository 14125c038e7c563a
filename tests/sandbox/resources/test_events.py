"""Events. See: https://docs.stripe.com/api/events (checked 2026-11)"""

from __future__ import annotations

from tests.sandbox.support import DAY, ENDPOINTS, EVENTS, INTENTS, ORDER


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


def test_an_event_is_sent_again_to_one_endpoint(api, sandbox, receiver):
    """As `stripe events resend evt_… --webhook-endpoint we_…` does."""
    api.create()
    sandbox.deliver_due()
    (event,) = sandbox.events
    (endpoint,) = api.get(ENDPOINTS)["data"]
    path = f"{EVENTS}/{event['id']}/retry"

    again = api.post(path, {"webhook_endpoint": endpoint["id"]})

    assert (again["id"], again["pending_webhooks"]) == (event["id"], 1)
    assert sandbox.deliver_due() == 1
    assert [each["id"] for each in receiver.events] == [event["id"]] * 2
    assert api.again(event)["pending_webhooks"] == 0
    api.post(path, {"webhook_endpoint": "we_1"}).assert_refused(code="resource_missing")
    api.post(f"{EVENTS}/evt_1/retry", {"webhook_endpoint": "we_1"}).assert_refused(status=404)
    api.post(path).assert_refused(code="parameter_missing", param="webhook_endpoint")
    api.post(path, {"for_stripecli": "true"}).assert_refused(code="sandbox_not_covered")
