"""Events that a shop makes for its tests are like Stripe's."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from shop_payments.exceptions import ConfigurationError, InvalidSignature
from shop_payments.gateway import read_event
from shop_payments.models import PaymentIntent, WebhookEvent
from shop_payments.testing import build_event, sign_event

CHARGE = {"id": "ch_1", "object": "charge", "livemode": False}


def test_the_app_reads_an_event_signed_with_the_first_secret(configure):
    event = build_event("charge.succeeded", {**CHARGE, "livemode": True}, id="evt_1")

    configure(STRIPE_WEBHOOK_SECRETS=["whsec_of_the_tests", "whsec_old"])
    signed = sign_event(event)
    configure(STRIPE_WEBHOOK_SECRETS="whsec_of_the_tests")

    read = read_event(signed.body, signed.signature)
    assert (read.id, read.type, read.object_id) == ("evt_1", "charge.succeeded", "ch_1")
    assert (read.payload, read.livemode) == (event, True)
    assert "whsec_of_the_tests" not in repr(signed)
    assert build_event("charge.succeeded", CHARGE)["id"] != build_event("x", CHARGE)["id"]


@pytest.mark.parametrize("wrong", [{"secret": "whsec_of_another"}, {"timestamp": 1_000_000_000}])
def test_a_false_or_an_old_signature_can_be_made(wrong):
    signed = sign_event(build_event("charge.succeeded", CHARGE), **wrong)

    with pytest.raises(InvalidSignature):
        read_event(signed.body, signed.signature)


def test_a_row_or_a_text_is_refused():
    row: Any = PaymentIntent()
    text: Any = "{}"

    with pytest.raises(TypeError, match="not PaymentIntent"):
        build_event("payment_intent.succeeded", row)
    with pytest.raises(TypeError, match="not str"):
        sign_event(text)


def test_an_event_is_posted_to_the_route_under_any_prefix_over_https(db, settings):
    settings.ROOT_URLCONF = "tests.testing.urls"
    settings.MIDDLEWARE = ["django.middleware.security.SecurityMiddleware", *settings.MIDDLEWARE]
    settings.SECURE_SSL_REDIRECT = True

    response = sign_event(build_event("charge.succeeded", CHARGE, id="evt_1")).post()

    assert (response.status_code, response.json()["data"]) == (200, {"id": "evt_1"})
    assert WebhookEvent.objects.get().event_id == "evt_1"
    assert sign_event(build_event("charge.succeeded", CHARGE)).post(Client()).status_code == 200


def test_missing_routes_or_secrets_and_a_live_key_are_named(settings, configure):
    settings.ROOT_URLCONF = "rest_framework.urls"

    with pytest.raises(ConfigurationError, match=r'include\("shop_payments\.api\.urls"\)'):
        sign_event(b"{}").post()
    configure(STRIPE_WEBHOOK_SECRETS=())
    with pytest.raises(ConfigurationError, match=r"STRIPE_WEBHOOK_SECRETS.*is missing"):
        sign_event(b"{}")
    configure(STRIPE_SECRET_KEY="rk_live_of_the_tests")
    with pytest.raises(ConfigurationError, match="is a live key") as refusal:
        sign_event(b"{}")
    assert "rk_live_of_the_tests" not in str(refusal.value)
