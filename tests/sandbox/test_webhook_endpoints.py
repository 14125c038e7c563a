from __future__ import annotations

import json

import pytest
import stripe

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import Answer, Api, Clock, HTTPReceiver, Receiver

ENDPOINTS = "/v1/webhook_endpoints"
URL = "http://127.0.0.1:9/webhooks"
DAY = 24 * 60 * 60


def create(api: Api, **params: str) -> Answer:
    answer = api.post(ENDPOINTS, {"url": URL, "enabled_events[]": "*", **params})
    assert answer.status == 200, answer.json
    return answer


def verifies(receiver: Receiver | HTTPReceiver, secret: str) -> bool:
    """Tell whether stripe-python believes the last delivery with this secret."""
    try:
        stripe.WebhookSignature.verify_header(
            receiver.bodies[-1].decode(), receiver.headers[-1]["Stripe-Signature"], secret
        )
    except stripe.SignatureVerificationError:
        return False
    return True


def test_an_endpoint_is_made(api: Api) -> None:
    answer = create(api, description="The shop", **{"metadata[env]": "dev"})

    assert answer["id"].startswith("we_1")
    assert answer["secret"].startswith("whsec_")
    assert (answer["status"], answer["url"]) == ("enabled", URL)
    assert (answer["enabled_events"], answer["api_version"]) == (["*"], None)
    assert (answer["description"], answer["metadata"]) == ("The shop", {"env": "dev"})


def test_only_its_creation_shows_the_secret(api: Api) -> None:
    created = create(api)

    seen = [
        api.get(f"{ENDPOINTS}/{created['id']}").json,
        api.post(f"{ENDPOINTS}/{created['id']}", {"description": "x"}).json,
        *api.get(ENDPOINTS)["data"],
    ]

    assert [endpoint["id"] for endpoint in seen] == [created["id"]] * 3
    assert created["secret"] not in repr(seen)


def test_endpoints_are_listed_newest_first(api: Api) -> None:
    ids = [create(api)["id"] for _ in range(3)]

    page = api.get(ENDPOINTS, {"limit": "2"})
    rest = api.get(ENDPOINTS, {"starting_after": ids[1]})

    assert [endpoint["id"] for endpoint in page["data"]] == [ids[2], ids[1]]
    assert (page["has_more"], page["url"]) == (True, ENDPOINTS)
    assert [endpoint["id"] for endpoint in rest["data"]] == [ids[0]]


def test_an_endpoint_is_updated(api: Api) -> None:
    created = create(api, description="x", **{"metadata[a]": "1", "metadata[b]": "2"})

    updated = api.post(
        f"{ENDPOINTS}/{created['id']}",
        {
            "url": "http://localhost:8000/",
            "enabled_events[]": "payment_intent.succeeded",
            "description": "",
            "disabled": "true",
            "metadata[a]": "",
        },
    )

    assert (updated["url"], updated["status"]) == ("http://localhost:8000/", "disabled")
    assert (updated["description"], updated["metadata"]) == (None, {"b": "2"})
    assert updated["enabled_events"] == ["payment_intent.succeeded"]
    again = api.post(f"{ENDPOINTS}/{created['id']}", {"disabled": "false"})
    assert again["status"] == "enabled"


def test_an_endpoint_is_deleted(api: Api, sandbox: Sandbox) -> None:
    endpoint_id = create(api)["id"]
    api.create()

    deleted = api.call("DELETE", f"{ENDPOINTS}/{endpoint_id}")

    assert deleted.json == {"id": endpoint_id, "object": "webhook_endpoint", "deleted": True}
    assert api.get(f"{ENDPOINTS}/{endpoint_id}").status == 404
    assert sandbox.pending_deliveries == []


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_endpoint_is_404(api: Api, method: str) -> None:
    answer = api.call(method, f"{ENDPOINTS}/we_x")

    assert (answer.status, answer.error["code"]) == (404, "resource_missing")
    assert answer.error["message"] == "No such webhook_endpoint: 'we_x'"


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"url": ""}, "parameter_invalid_empty", "url"),
        ({"url": "webhooks"}, "url_invalid", "url"),
        ({"url": "ftp://127.0.0.1/"}, "url_invalid", "url"),
        ({"url": "http://["}, "url_invalid", "url"),
        ({"url": "https://shop.example/webhooks"}, "sandbox_not_covered", "url"),
        ({"url": "http://127.0.0.1@shop.example/"}, "sandbox_not_covered", "url"),
        ({"enabled_events[]": "payment_intent.suceeded"}, None, "enabled_events[0]"),
        ({"enabled_events[]": "payment_intent.*"}, None, "enabled_events[0]"),
        ({"enabled_events": "*"}, None, "enabled_events"),
        ({"api_version": "latest"}, None, "api_version"),
        ({"connect": "true"}, "sandbox_not_covered", "connect"),
        ({"secret": "whsec_mine"}, "parameter_unknown", "secret"),
    ],
)
def test_create_refuses(api: Api, params: dict[str, str], code: str | None, param: str) -> None:
    form = {"url": URL, "enabled_events[]": "*", **params}
    if "enabled_events" in params:
        del form["enabled_events[]"]

    answer = api.post(ENDPOINTS, form)

    assert answer.status == 400
    assert (answer.error.get("code"), answer.error["param"]) == (code, param)


@pytest.mark.parametrize("missing", ["url", "enabled_events[]"])
def test_create_needs_an_address_and_events(api: Api, missing: str) -> None:
    form = {"url": URL, "enabled_events[]": "*"}
    del form[missing]

    answer = api.post(ENDPOINTS, form)

    assert (answer.status, answer.error["code"]) == (400, "parameter_missing")


def test_there_are_at_most_sixteen(api: Api) -> None:
    for _ in range(16):
        create(api)

    answer = api.post(ENDPOINTS, {"url": URL, "enabled_events[]": "*"})

    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert "maximum of 16" in answer.error["message"]


def test_an_endpoint_gets_the_events_it_asked_for(api: Api, sandbox: Sandbox) -> None:
    receiver = Receiver()
    sandbox.add_webhook(
        URL, "whsec_x", deliver=receiver, enabled_events=["payment_intent.succeeded"]
    )
    api.confirm(api.create()["id"], "pm_card_visa")

    sandbox.deliver_due()

    assert receiver.types == ["succeeded"]
    assert [event["pending_webhooks"] for event in sandbox.events] == [0, 0, 0, 0]


def test_a_disabled_endpoint_gets_nothing_new(api: Api, sandbox: Sandbox) -> None:
    receiver = Receiver()
    endpoint = sandbox.add_webhook(URL, "whsec_x", deliver=receiver)
    api.post(f"{ENDPOINTS}/{endpoint.id}", {"disabled": "true"})
    api.create()
    api.post(f"{ENDPOINTS}/{endpoint.id}", {"disabled": "false"})
    api.create()

    sandbox.deliver_due()

    assert len(receiver.bodies) == 1


def test_a_retry_to_a_disabled_endpoint_is_the_last(
    api: Api, sandbox: Sandbox, clock: Clock
) -> None:
    receiver = Receiver(answer=500)
    endpoint = sandbox.add_webhook(URL, "whsec_x", deliver=receiver)
    api.create()
    sandbox.deliver_due()
    api.post(f"{ENDPOINTS}/{endpoint.id}", {"disabled": "true"})
    clock.advance(1)

    assert sandbox.deliver_due() == 0

    assert sandbox.pending_deliveries == []
    assert [delivery.attempts for delivery in sandbox.lost_deliveries] == [1]
    assert sandbox.events[0]["pending_webhooks"] == 1


def test_events_come_in_the_version_of_the_endpoint(
    api: Api, sandbox: Sandbox, http_receiver: HTTPReceiver
) -> None:
    create(api, url=f"{http_receiver.url}/200", api_version="2025-03-31.basil")
    api.create()
    sandbox.deliver_due()

    assert json.loads(http_receiver.bodies[0])["api_version"] == "2025-03-31.basil"
    assert sandbox.events[0]["api_version"] == "2026-10-28.endive"


def test_the_secret_of_its_creation_signs(
    api: Api, sandbox: Sandbox, http_receiver: HTTPReceiver
) -> None:
    secret = create(api, url=f"{http_receiver.url}/200")["secret"]
    api.create()

    assert sandbox.deliver_due() == 1

    assert verifies(http_receiver, secret)
    assert not verifies(http_receiver, "whsec_other")


def test_during_a_rotation_both_secrets_sign(api: Api, sandbox: Sandbox, clock: Clock) -> None:
    receiver = Receiver()
    endpoint = sandbox.add_webhook(URL, "whsec_old", deliver=receiver)
    new = sandbox.roll_webhook_secret(endpoint.id, expires_in=3600)
    clock.advance(3599)
    api.create()
    sandbox.deliver_due()

    assert receiver.headers[0]["Stripe-Signature"].count("v1=") == 2
    assert verifies(receiver, new)
    assert verifies(receiver, "whsec_old")


def test_after_a_rotation_the_old_secret_signs_no_more(
    api: Api, sandbox: Sandbox, clock: Clock
) -> None:
    receiver = Receiver()
    endpoint = sandbox.add_webhook(URL, "whsec_old", deliver=receiver)
    sandbox.roll_webhook_secret(endpoint.id, "whsec_new", expires_in=3600)
    clock.advance(3600)
    api.create()
    sandbox.deliver_due()

    assert receiver.headers[0]["Stripe-Signature"].count("v1=") == 1
    assert verifies(receiver, "whsec_new")
    assert not verifies(receiver, "whsec_old")


def test_three_secrets_may_sign_at_once(api: Api, sandbox: Sandbox) -> None:
    receiver = Receiver()
    endpoint = sandbox.add_webhook(URL, "whsec_1", deliver=receiver)
    sandbox.roll_webhook_secret(endpoint.id, "whsec_2", expires_in=DAY)
    sandbox.roll_webhook_secret(endpoint.id, "whsec_3", expires_in=DAY)
    api.create()
    sandbox.deliver_due()

    assert all(verifies(receiver, f"whsec_{number}") for number in (1, 2, 3))


def test_a_secret_that_leaked_ends_at_once(api: Api, sandbox: Sandbox) -> None:
    receiver = Receiver()
    endpoint = sandbox.add_webhook(URL, "whsec_leaked", deliver=receiver)
    new = sandbox.roll_webhook_secret(endpoint.id)
    api.create()
    sandbox.deliver_due()

    assert verifies(receiver, new)
    assert not verifies(receiver, "whsec_leaked")


@pytest.mark.parametrize("seconds", [-1, DAY + 1])
def test_an_old_secret_lives_for_a_day_at_most(sandbox: Sandbox, seconds: float) -> None:
    endpoint = sandbox.add_webhook(URL, "whsec_old", deliver=Receiver())

    with pytest.raises(ValueError, match="expires_in"):
        sandbox.roll_webhook_secret(endpoint.id, expires_in=seconds)
