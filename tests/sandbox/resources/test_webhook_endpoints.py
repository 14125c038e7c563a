"""WebhookEndpoints. See: https://docs.stripe.com/api/webhook_endpoints (checked 2026-11)

What is refused is in `refusals`.
"""

from __future__ import annotations

import pytest

from tests.sandbox.conftest import URL
from tests.sandbox.support import DAY, ENDPOINTS, Receiver


def create(api, **params):
    return api.post(ENDPOINTS, {"url": URL, "enabled_events[]": "*", **params})


def test_an_endpoint_is_made_and_shows_its_secret_once(api):
    made = create(api, description="The shop", **{"metadata[env]": "dev"})

    assert (made["id"][:4], made["secret"][:6]) == ("we_1", "whsec_")
    made.assert_has(status="enabled", url=URL, enabled_events=["*"])
    made.assert_has(api_version=None, description="The shop", metadata={"env": "dev"})
    path = f"{ENDPOINTS}/{made['id']}"
    seen = [api.get(path).json, api.post(path).json, *api.get(ENDPOINTS)["data"]]
    assert [each["id"] for each in seen] == [made["id"]] * 3
    assert made["secret"] not in repr(seen)


def test_endpoints_are_listed_and_there_are_at_most_sixteen(api):
    made = [create(api)["id"] for _ in range(16)]

    assert "maximum of 16" in create(api).error["message"]
    page = api.get(ENDPOINTS, {"limit": "2", "starting_after": made[2]})
    assert [each["id"] for each in page["data"]] == [made[1], made[0]]


def test_an_endpoint_is_updated(api):
    made = create(api, description="x", **{"metadata[a]": "1", "metadata[b]": "2"})
    path = f"{ENDPOINTS}/{made['id']}"
    changes = {
        "url": "http://localhost:8000/",
        "enabled_events[]": "payment_intent.succeeded",
        "description": "",
        "disabled": "true",
        "metadata[a]": "",
    }

    updated = api.post(path, changes)

    updated.assert_has(url="http://localhost:8000/", status="disabled")
    updated.assert_has(description=None, metadata={"b": "2"})
    assert updated["enabled_events"] == ["payment_intent.succeeded"]
    assert api.post(path, {"disabled": "false"})["status"] == "enabled"


def test_an_endpoint_is_deleted_with_what_waits_for_it(api, sandbox):
    made = create(api)
    api.create()

    deleted = api.call("DELETE", f"{ENDPOINTS}/{made['id']}")

    assert deleted.json == {"id": made["id"], "object": "webhook_endpoint", "deleted": True}
    assert api.again(made).status == 404
    assert sandbox.pending_deliveries == []


def test_an_endpoint_gets_the_events_that_it_wants(api, sandbox):
    receiver = Receiver()
    sandbox.add_webhook(
        URL, "whsec_x", deliver=receiver, enabled_events=["payment_intent.succeeded"]
    )
    api.pay()

    sandbox.deliver_due()

    assert receiver.types == ["succeeded"]
    assert [event["pending_webhooks"] for event in sandbox.events] == [0, 0, 0, 0]


def test_a_disabled_endpoint_gets_nothing_new(api, sandbox):
    receiver = Receiver()
    endpoint = sandbox.add_webhook(URL, "whsec_x", deliver=receiver)
    for disabled in ("true", "false"):
        api.post(f"{ENDPOINTS}/{endpoint.id}", {"disabled": disabled})
        api.create()

    sandbox.deliver_due()

    assert len(receiver.bodies) == 1


def test_a_disabled_endpoint_gets_no_retry(api, sandbox, clock):
    endpoint = sandbox.add_webhook(URL, "whsec_x", deliver=Receiver(answer=500))
    api.create()
    sandbox.deliver_due()
    api.post(f"{ENDPOINTS}/{endpoint.id}", {"disabled": "true"})
    clock.advance(1)

    assert (sandbox.deliver_due(), sandbox.pending_deliveries) == (0, [])

    assert [delivery.attempts for delivery in sandbox.lost_deliveries] == [1]
    assert sandbox.events[0]["pending_webhooks"] == 1


@pytest.mark.parametrize(
    ("expires_in", "waited", "old_signs"),
    [(3600, 3599, True), (3600, 3600, False), (0, 0, False), (DAY, DAY - 1, True)],
)
def test_an_old_secret_signs_until_it_expires(api, sandbox, clock, expires_in, waited, old_signs):
    """See: https://docs.stripe.com/webhooks#roll-endpoint-secrets (checked 2026-11)"""
    receiver = Receiver()
    endpoint = sandbox.add_webhook(URL, "whsec_old", deliver=receiver)
    made = sandbox.roll_webhook_secret(endpoint.id, expires_in=expires_in)
    clock.advance(waited)
    sandbox.roll_webhook_secret(endpoint.id, "whsec_newest", expires_in=DAY)
    api.create()

    sandbox.deliver_due()

    assert receiver.headers[0]["Stripe-Signature"].count("v1=") == 2 + old_signs
    assert receiver.verifies("whsec_newest")
    assert receiver.verifies(made)
    assert receiver.verifies("whsec_old") == old_signs


@pytest.mark.parametrize("seconds", [-1, DAY + 1])
def test_an_old_secret_lives_for_a_day_at_most(sandbox, seconds):
    endpoint = sandbox.add_webhook(URL, "whsec_old", deliver=Receiver())

    with pytest.raises(ValueError, match="expires_in"):
        sandbox.roll_webhook_secret(endpoint.id, expires_in=seconds)
