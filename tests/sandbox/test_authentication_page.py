"""The page on which a person or a test completes or fails 3D Secure, or pays with Amazon Pay.

See: https://docs.stripe.com/payments/3d-secure/authentication-flow and
https://docs.stripe.com/payments/amazon-pay/accept-a-payment (checked 2026-11)
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest

from tests.sandbox.support import DAY

CARD = "pm_card_authenticationRequired"
BACK = "https://shop.example/done?order=9#top"


def challenge(api):
    """Return an intent that waits for its customer, and the link they get."""
    intent = api.confirm(api.create(), CARD, return_url=BACK)
    return intent, intent["next_action"]["redirect_to_url"]["url"]


@pytest.fixture
def press(sandbox):
    return lambda url, outcome: sandbox.handle("POST", url, {}, f"outcome={outcome}")


def test_the_link_shows_what_is_to_be_paid_and_other_requests_change_nothing(api, sandbox, press):
    intent, url = challenge(api)

    page = sandbox.handle("GET", url, {})

    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for words in ("112.00 usd", intent["id"], "Complete authentication", "Fail authentication"):
        assert words in page.body.decode()
    assert url.startswith("https://sandbox.invalid/3ds/")
    assert sandbox.handle("GET", "/3ds/nobody", {}).status == 404
    assert sandbox.handle("DELETE", url, {}).status == 405
    assert press(url, "perhaps").status == 400
    assert api.again(intent).json == intent.json


@pytest.mark.parametrize(
    ("outcome", "status", "redirect_status"),
    [("complete", "succeeded", "succeeded"), ("fail", "requires_payment_method", "failed")],
)
def test_a_button_redirects_to_the_shop(api, press, outcome, status, redirect_status):
    intent, url = challenge(api)

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


def test_a_link_is_valid_for_one_answer_and_until_the_next_link(api, sandbox, press):
    intent, old = challenge(api)
    again = api.confirm(intent, CARD, return_url=BACK)
    new = again["next_action"]["redirect_to_url"]["url"]

    assert sandbox.handle("GET", old, {}).status == 404
    assert press(new, "fail").status == 303
    api.confirm(intent, "pm_card_visa")
    over = press(new, "complete")

    assert (over.status, "is over" in over.body.decode()) == (410, True)
    assert api.again(intent)["status"] == "succeeded"


def test_amazon_pay_redirects_its_customer_to_the_page(api, sandbox, press):
    intent = api.create(**{"allowed_payment_method_types[]": "amazon_pay"})
    data = {"payment_method_data[type]": "amazon_pay"}
    api.confirm(intent, **data).assert_refused(param="return_url")

    waiting = api.confirm(intent, **data, return_url=BACK)
    url = waiting["next_action"]["redirect_to_url"]["url"]
    page = sandbox.handle("GET", url, {}).body.decode()
    press(url, "complete")

    assert (waiting["status"], "Authorize test payment" in page) == ("requires_action", True)
    charge = api.charge_of(api.again(intent))
    details = charge["payment_method_details"]
    assert details["amazon_pay"]["funding"]["card"]["last4"] == "4242"
    refund = api.refund(charge)
    assert refund["status"] == "pending"
    sandbox.advance_clock(4 * DAY)
    assert api.again(refund)["status"] == "succeeded"
