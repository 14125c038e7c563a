"""The page where a person, or a test, passes or fails 3D Secure.

See: https://docs.stripe.com/payments/3d-secure/authentication-flow (checked 2026-11)
"""

from __future__ import annotations

import urllib.request
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.sandbox.support import Api

CARD = "pm_card_authenticationRequired"
BACK = "https://shop.example/done?order=9#top"


def challenge(api, **params):
    """Return an intent that waits for its customer, and the link they get."""
    intent = api.confirm(api.create(**params), CARD, return_url=BACK)
    return intent, intent["next_action"]["redirect_to_url"]["url"]


@pytest.fixture
def press(sandbox):
    return lambda url, outcome: sandbox.handle("POST", url, {}, f"outcome={outcome}")


def test_the_link_shows_what_is_to_be_paid(api, sandbox):
    intent, url = challenge(api)

    page = sandbox.handle("GET", url, {})

    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for words in ("112.00 usd", intent["id"], "Complete authentication", "Fail authentication"):
        assert words in page.body.decode()
    assert api.again(intent).json == intent.json
    assert url.startswith("https://sandbox.invalid/3ds/")


@pytest.mark.parametrize(
    ("outcome", "capture_method", "status", "redirect_status"),
    [
        ("complete", "automatic", "succeeded", "succeeded"),
        ("complete", "manual", "requires_capture", "succeeded"),
        ("fail", "automatic", "requires_payment_method", "failed"),
    ],
)
def test_a_button_leads_back_to_the_shop(
    api, press, outcome, capture_method, status, redirect_status
):
    intent, url = challenge(api, capture_method=capture_method)

    answer = press(url, outcome)

    back = urlsplit(answer.headers["location"])
    assert (answer.status, api.again(intent)["status"]) == (303, status)
    assert (back.netloc, back.path, back.fragment) == ("shop.example", "/done", "top")
    assert parse_qs(back.query) == {
        "order": ["9"],
        "payment_intent": [intent["id"]],
        "payment_intent_client_secret": [intent["client_secret"]],
        "redirect_status": [redirect_status],
    }


def test_without_a_return_url_the_page_says_that_it_is_done(api, press):
    intent = api.confirm(api.create(), CARD)

    page = press(intent["next_action"]["use_stripe_sdk"]["stripe_js"], "complete")

    assert (page.status, "Done." in page.body.decode()) == (200, True)
    assert api.again(intent)["status"] == "succeeded"


def test_a_link_is_good_for_one_answer_and_void_after_the_next_link(api, sandbox, press):
    intent, old = challenge(api)
    again = api.confirm(intent, CARD, return_url=BACK)
    new = again["next_action"]["redirect_to_url"]["url"]

    assert sandbox.handle("GET", old, {}).status == 404
    assert press(new, "fail").status == 303
    api.confirm(intent, "pm_card_visa")
    over = press(new, "complete")

    assert (over.status, "is over" in over.body.decode()) == (410, True)
    assert api.again(intent)["status"] == "succeeded"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/3ds/nobody", "", 404),
        ("POST", None, "outcome=perhaps", 400),
        ("DELETE", None, "", 405),
    ],
)
def test_other_requests_change_nothing(api, sandbox, method, path, body, status):
    intent, url = challenge(api)

    assert sandbox.handle(method, path or url, {}, body).status == status

    assert api.again(intent).json == intent.json


def test_the_links_lead_to_the_server(server):
    _, url = challenge(Api(server.sandbox))

    with urllib.request.urlopen(url) as page:
        assert "Complete authentication" in page.read().decode()
    assert url.startswith(f"{server.url}/3ds/")
