"""WebhookEndpoints. See: https://docs.stripe.com/api/webhook_endpoints (checked 2026-11)"""

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
    seen = [api.again(made).json, *api.get(ENDPOINTS)["data"]]
    assert [each["id"] for each in seen] == [made["id"]] * 2
    assert made["secret"] not in repr(seen)
    assert [create(api).status for _ in range(16)] == [200] * 15 + [400]  # at most 16


def test_an_endpoint_is_updated(api):
    made = create(api, description="x", **{"metadata[a]": "1", "metadata[b]": "2"})
    path, url = f"{ENDPOINTS}/{made['id']}", "http://localhost:8000/"
    changes = {"url": url, "description": "", "disabled": "true", "metadata[a]": ""}

    updated = api.post(path, changes)

    updated.assert_has(url=url, status="disabled", description=None, metadata={"b": "2"})
    assert api.post(path, {"disabled": "false"})["status"] == "enabled"


def test_an_endpoint_is_deleted_with_its_pending_deliveries(api, sandbox):
    made = create(api)
    api.create()

    deleted = api.call("DELETE", f"{ENDPOINTS}/{made['id']}")

    assert deleted.json == {"id": made["id"], "object": "webhook_endpoint", "deleted": True}
    assert api.again(made).status == 404
    assert sandbox.pending_deliveries == []


def test_a_disabled_endpoint_gets_no_retry(api, sandbox, clock):
    endpoint = sandbox.add_webhook(URL, "whsec_x", deliver=Receiver(answer=500))
    api.create()
    sandbox.deliver_due()
    api.post(f"{ENDPOINTS}/{endpoint.id}", {"disabled": "true"})
    clock.advance(1)

    assert (sandbox.deliver_due(), sandbox.pending_deliveries) == (0, [])

    assert [delivery.attempts for delivery in sandbox.lost_deliveries] == [1]
    assert sandbox.events[0]["pending_webhooks"] == 1


@pytest.mark.parametrize(("waited", "old_signs"), [(3599, True), (3600, False)])
def test_an_old_secret_signs_until_it_expires(api, sandbox, clock, waited, old_signs):
    """See: https://docs.stripe.com/webhooks#roll-endpoint-secrets (checked 2026-11)"""
    receiver = Receiver()
    endpoint = sandbox.add_webhook(URL, "whsec_old", deliver=receiver)
    new = sandbox.roll_webhook_secret(endpoint.id, expires_in=3600)
    clock.advance(waited)
    api.create()

    sandbox.deliver_due()

    assert receiver.headers[0]["Stripe-Signature"].count("v1=") == 1 + old_signs
    assert (receiver.verifies(new), receiver.verifies("whsec_old")) == (True, old_signs)
    with pytest.raises(ValueError, match="expires_in must be 0 to 86400 seconds"):
        sandbox.roll_webhook_secret(endpoint.id, expires_in=DAY + 1)
