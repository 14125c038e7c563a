"""``manage.py shop_payments_webhook``."""

from __future__ import annotations

import pytest
from django.core.management import CommandError

from shop_payments.gateway import STRIPE_API_VERSION
from shop_payments.sandbox import Fault
from shop_payments.sync.registry import LISTED_EVENTS
from shop_payments.testing import StripeSandbox
from tests.commands.support import run
from tests.support import call_stripe

pytestmark = pytest.mark.django_db

PATH = "/api/v1/shop/webhooks/stripe"
URL = f"http://127.0.0.1:8000{PATH}"
ENDPOINTS = "/v1/webhook_endpoints"


def endpoints(stripe: StripeSandbox) -> list[dict[str, object]]:
    found: list[dict[str, object]] = call_stripe(stripe, "GET", "webhook_endpoints")["data"]
    return found


def refusal(*arguments: str) -> str:
    with pytest.raises(CommandError) as error:
        run("webhook", *arguments)
    return str(error.value)


def test_the_endpoint_gets_the_events_and_the_version_of_the_app(stripe):
    out, err = run("webhook", "create", "--url", URL)

    (endpoint,) = endpoints(stripe)
    assert endpoint["url"] == URL
    assert endpoint["api_version"] == STRIPE_API_VERSION
    assert endpoint["enabled_events"] == [*LISTED_EVENTS]
    assert out.startswith("whsec_")
    assert len(out.split()) == 1  # the secret, alone
    assert f"Endpoint {endpoint['id']} sends 20 types of events" in err
    (created,) = [each for each in stripe.requests if each.method == "POST"]
    assert created.idempotency_key


def test_an_endpoint_is_not_created_twice(stripe):
    run("webhook", "create", "--url", URL)

    assert "has this URL already" in refusal("create", "--url", URL)
    assert len(endpoints(stripe)) == 1


def test_a_lost_answer_may_have_created_the_endpoint(stripe):
    stripe.inject(Fault("drop_after", method="POST", path=ENDPOINTS))

    said = refusal("create", "--url", URL)

    assert "Stripe could not be reached at https://api.stripe.com" in said
    assert "The endpoint may exist nevertheless" in said
    assert len(endpoints(stripe)) == 1


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("shop.example", "must be a complete URL"),
        ("https://shop.example/webhooks", f"must be https://shop.example{PATH}"),
        ("https://shop.example" + PATH, "does not cover webhooks to other machines"),
    ],
)
def test_an_address_that_cannot_work_is_refused(stripe, url, words):
    assert words in refusal("create", "--url", url)
    assert endpoints(stripe) == []


def test_live_mode_needs_https(configure):
    configure(STRIPE_SECRET_KEY="sk_live_x", STRIPE_TRANSPORT=None)

    assert "must begin with https://" in refusal("create", "--url", URL)


def test_the_list_says_which_endpoint_is_this_shops(stripe):
    assert "no webhook endpoints in test mode" in run("webhook", "list")[1]
    run("webhook", "create", "--url", URL)
    other = {"url": "http://127.0.0.1:1/", "enabled_events[0]": "*"}
    call_stripe(stripe, "POST", "webhook_endpoints", **other)

    head, *lines = run("webhook", "list")[0].splitlines()

    assert head.split() == ["ID", "STATUS", "VERSION", "EVENTS", "THIS", "SHOP", "URL"]
    rows = [line.split()[1:] for line in lines]
    assert rows == [
        ["enabled", "account's", "all", "no", "http://127.0.0.1:1/"],
        ["enabled", STRIPE_API_VERSION, "20", "yes", URL],
    ]
