"""Events that a shop makes for its own tests are such as Stripe signs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from shop_payments.exceptions import ConfigurationError, InvalidSignature
from shop_payments.gateway import read_event
from shop_payments.models import PaymentIntent, WebhookEvent
from shop_payments.testing import build_event, sign_event, webhook_url

CHARGE = {"id": "ch_1", "object": "charge", "livemode": False}


def test_a_signed_event_is_what_the_app_reads():
    event = build_event("charge.succeeded", CHARGE, id="evt_1")

    signed = sign_event(event)

    read = read_event(signed.body, signed.signature)
    assert (read.id, read.type, read.object_id) == ("evt_1", "charge.succeeded", "ch_1")
    assert read.payload == event


def test_every_event_has_an_id_of_its_own():
    assert build_event("charge.succeeded", CHARGE)["id"] != build_event("x", CHARGE)["id"]


def test_the_mode_of_the_object_is_that_of_the_event():
    assert build_event("charge.succeeded", {**CHARGE, "livemode": True})["livemode"] is True


@pytest.mark.parametrize("wrong", [{"secret": "whsec_of_another"}, {"timestamp": 1_000_000_000}])
def test_a_false_or_an_old_signature_can_be_made(wrong):
    signed = sign_event(build_event("charge.succeeded", CHARGE), **wrong)

    with pytest.raises(InvalidSignature):
        read_event(signed.body, signed.signature)


def test_a_body_is_signed_as_it_is():
    signed = sign_event(b"no event at all")

    assert signed.body == b"no event at all"


def test_a_text_is_no_event():
    text: Any = json.dumps(build_event("charge.succeeded", CHARGE))

    with pytest.raises(TypeError, match="not str"):
        sign_event(text)


def test_a_row_is_no_object_of_stripes():
    row: Any = PaymentIntent()

    with pytest.raises(TypeError, match="not PaymentIntent"):
        build_event("payment_intent.succeeded", row)


def test_the_first_secret_signs(configure):
    configure(STRIPE_WEBHOOK_SECRETS=["whsec_new", "whsec_old"])
    signed = sign_event(build_event("charge.succeeded", CHARGE))
    configure(STRIPE_WEBHOOK_SECRETS="whsec_new")

    assert read_event(signed.body, signed.signature).type == "charge.succeeded"


@pytest.mark.parametrize("urls", ["config.urls", "tests.testing.urls"])
def test_it_finds_the_route_under_any_prefix(db, settings, urls):
    settings.ROOT_URLCONF = urls

    response = sign_event(build_event("charge.succeeded", CHARGE, id="evt_1")).post()

    assert (response.status_code, response.json()["data"]) == (200, {"id": "evt_1"})


def test_the_shop_can_post_it_by_itself(client, db):
    signed = sign_event(build_event("charge.succeeded", CHARGE, id="evt_1"))

    response = client.post(
        webhook_url(), signed.body, content_type="application/json", headers=signed.headers
    )

    assert response.status_code == 200
    assert WebhookEvent.objects.get().event_id == "evt_1"


def test_it_is_posted_over_https_as_stripe_does(db, settings):
    settings.MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", *settings.MIDDLEWARE]
    settings.SECURE_SSL_REDIRECT = True

    assert sign_event(build_event("charge.succeeded", CHARGE)).post(Client()).status_code == 200


def test_routes_that_are_not_included_are_asked_for(settings):
    settings.ROOT_URLCONF = "rest_framework.urls"

    with pytest.raises(ConfigurationError, match=r'include\("shop_payments\.api\.urls"\)'):
        sign_event(b"{}").post()


@pytest.mark.parametrize("secrets", [(), ""])
def test_a_missing_secret_is_asked_for(configure, secrets):
    configure(STRIPE_WEBHOOK_SECRETS=secrets)

    with pytest.raises(ConfigurationError, match=r"STRIPE_WEBHOOK_SECRETS.*is missing"):
        sign_event(b"{}")


@pytest.mark.parametrize("key", ["sk_live_of_the_tests", "rk_live_of_the_tests"])
def test_nothing_is_signed_beside_a_live_key(configure, key):
    configure(STRIPE_SECRET_KEY=key)

    with pytest.raises(ConfigurationError, match="is a live key") as refusal:
        sign_event(b"{}")
    assert key not in str(refusal.value)


def test_a_signed_event_shows_no_secret():
    signed = sign_event(build_event("charge.succeeded", CHARGE))

    assert "whsec_of_the_tests" not in repr(signed)
    assert json.loads(signed.body)["data"]["object"] == CHARGE
