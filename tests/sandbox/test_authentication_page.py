"""The page where a person, or a test, passes or fails 3D Secure."""

from __future__ import annotations

import urllib.request
from urllib.parse import parse_qs, urlsplit

import pytest

from shop_payments.sandbox import Sandbox, SandboxResponse, SandboxServer
from tests.sandbox.support import INTENTS, Api

CARD = "pm_card_authenticationRequired"
BACK = "https://shop.example/done?order=9#top"


def challenge(api: Api, **params: str) -> tuple[str, str]:
    """Return the id of an intent that waits for its customer, and the link they get."""
    intent = api.confirm(api.create(**params)["id"], CARD, return_url=BACK)
    url: str = intent["next_action"]["redirect_to_url"]["url"]
    return intent["id"], url


def press(sandbox: Sandbox, url: str, outcome: str) -> SandboxResponse:
    return sandbox.handle("POST", url, {}, f"outcome={outcome}")


def test_the_link_shows_what_is_to_be_paid(api: Api, sandbox: Sandbox) -> None:
    intent_id, url = challenge(api)

    page = sandbox.handle("GET", url, {})

    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "112.00 usd" in page.body.decode()
    assert intent_id in page.body.decode()
    assert "Complete authentication" in page.body.decode()
    assert "Fail authentication" in page.body.decode()
    assert api.get(f"{INTENTS}/{intent_id}")["status"] == "requires_action"


@pytest.mark.parametrize(
    ("outcome", "capture_method", "status", "redirect_status"),
    [
        ("complete", "automatic", "succeeded", "succeeded"),
        ("complete", "manual", "requires_capture", "succeeded"),
        ("fail", "automatic", "requires_payment_method", "failed"),
    ],
)
def test_a_button_leads_back_to_the_shop(
    api: Api,
    sandbox: Sandbox,
    outcome: str,
    capture_method: str,
    status: str,
    redirect_status: str,
) -> None:
    intent_id, url = challenge(api, capture_method=capture_method)

    answer = press(sandbox, url, outcome)

    intent = api.get(f"{INTENTS}/{intent_id}")
    back = urlsplit(answer.headers["location"])
    assert (answer.status, intent["status"]) == (303, status)
    assert (back.netloc, back.path, back.fragment) == ("shop.example", "/done", "top")
    assert parse_qs(back.query) == {
        "order": ["9"],
        "payment_intent": [intent_id],
        "payment_intent_client_secret": [intent["client_secret"]],
        "redirect_status": [redirect_status],
    }


def test_without_a_way_back_it_says_that_it_is_done(api: Api, sandbox: Sandbox) -> None:
    intent = api.confirm(api.create()["id"], CARD)

    page = press(sandbox, intent["next_action"]["use_stripe_sdk"]["stripe_js"], "complete")

    assert (page.status, "Done." in page.body.decode()) == (200, True)
    assert api.get(f"{INTENTS}/{intent['id']}")["status"] == "succeeded"


def test_a_link_is_good_for_one_answer(api: Api, sandbox: Sandbox) -> None:
    intent_id, url = challenge(api)
    press(sandbox, url, "fail")
    api.confirm(intent_id, "pm_card_visa")

    again = press(sandbox, url, "complete")

    assert (again.status, "is over" in again.body.decode()) == (410, True)
    assert api.get(f"{INTENTS}/{intent_id}")["status"] == "succeeded"


def test_a_new_link_voids_the_old_one(api: Api, sandbox: Sandbox) -> None:
    intent_id, old = challenge(api)
    new = api.confirm(intent_id, CARD, return_url=BACK)["next_action"]["redirect_to_url"]["url"]

    assert sandbox.handle("GET", old, {}).status == 404
    assert sandbox.handle("GET", new, {}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/3ds/nobody", "", 404),
        ("POST", "/3ds/pi_1", "outcome=complete", 404),
        ("POST", None, "outcome=perhaps", 400),
        ("POST", None, "", 400),
        ("DELETE", None, "", 405),
    ],
)
def test_other_requests_change_nothing(
    api: Api, sandbox: Sandbox, method: str, path: str | None, body: str, status: int
) -> None:
    intent_id, url = challenge(api)

    answer = sandbox.handle(method, path or url, {}, body)

    assert answer.status == status
    assert api.get(f"{INTENTS}/{intent_id}")["status"] == "requires_action"


def test_the_links_lead_to_the_server(server: SandboxServer) -> None:
    _, url = challenge(Api(server.sandbox))

    with urllib.request.urlopen(url) as page:
        text = page.read().decode()

    assert url.startswith(f"{server.url}/3ds/")
    assert "Complete authentication" in text


def test_without_a_server_the_links_lead_nowhere(api: Api) -> None:
    _, url = challenge(api)

    assert url.startswith("https://sandbox.invalid/3ds/")
