"""Hosts whose projects are set up in other ways than ours."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.core.cache import cache
from django.core.management import call_command
from django.test import RequestFactory
from django.utils import timezone
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import APIException, AuthenticationFailed
from rest_framework.throttling import AnonRateThrottle
from rest_framework.versioning import AcceptHeaderVersioning, NamespaceVersioning
from rest_framework.views import APIView

from shop_payments.api.views import OrderViewSet
from shop_payments.models import APIKey, OrderPayment, PaymentHistory, PaymentIntent
from shop_payments.models.orders import draw_order_number
from tests.support import BASE, Caller, DyingLine, answer, call_stripe, die, pay, send_event

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[2]


# --- defaults of the host's REST framework, which views take over when they are made ------------


class OnceADay(AnonRateThrottle):
    rate = "1/day"


def test_a_hosts_throttle_does_not_reach_the_webhook(storefront, order, stripe, monkeypatch):
    intent = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    monkeypatch.setattr(APIView, "throttle_classes", [OnceADay])
    cache.clear()

    answers = [send_event(intent).status_code for _ in range(3)]

    cache.clear()
    assert answers == [200, 200, 200]


def test_a_hosts_throttle_does_reach_the_other_routes(client, db, monkeypatch):
    monkeypatch.setattr(APIView, "throttle_classes", [OnceADay])
    cache.clear()

    answers = [client.get(f"{BASE}/").status_code for _ in range(2)]

    cache.clear()
    assert answers == [200, 429]


class NamespacesOfTheHost(NamespaceVersioning):
    allowed_versions = ("v1",)


class VersionsOfTheHost(AcceptHeaderVersioning):
    allowed_versions = ("v7",)
    default_version = "v6"


@pytest.mark.parametrize("versioning", [NamespacesOfTheHost, VersionsOfTheHost])
def test_a_hosts_versioning_reaches_no_route(
    storefront, payment_system, order, stripe, monkeypatch, versioning
):
    monkeypatch.setattr(APIView, "versioning_class", versioning)

    intent = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

    assert send_event(intent).status_code == 200
    assert payment_system.payment(order).status_code == 200
    assert storefront.get(f"orders/{order.pk}").status_code == 200


# --- the host's authentication ------------------------------------------------------------------


class DetailsBesideTheSentence(BaseAuthentication):
    """As djangorestframework-simplejwt fails."""

    def authenticate(self, request: Any) -> None:
        raise AuthenticationFailed(
            {
                "detail": "Given token not valid for any token type",
                "code": "token_not_valid",
                "messages": [{"message": "Token is expired"}],
            }
        )


class ServiceAway(APIException):
    status_code = 503
    default_code = "identity_provider_away"


class AskElsewhere(BaseAuthentication):
    def authenticate(self, request: Any) -> None:
        raise ServiceAway("The identity provider cannot be reached.")


class Sentences(BaseAuthentication):
    def authenticate(self, request: Any) -> None:
        raise AuthenticationFailed(["The token has expired.", "Get another one."])


@pytest.mark.parametrize(
    ("authentication", "status", "code", "message"),
    [
        (
            DetailsBesideTheSentence,
            401,
            "invalid_token",
            "Given token not valid for any token type",
        ),
        (Sentences, 401, "invalid_token", "The token has expired."),
        (AskElsewhere, 503, "identity_provider_away", "The identity provider cannot be reached."),
    ],
)
def test_a_hosts_authentication_fails_in_our_envelope(
    storefront, order, settings, authentication, status, code, message
):
    path = f"{__name__}.{authentication.__name__}"
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": [path]}

    response = storefront.payment_intent(order)

    assert response.status_code == status
    assert response.json() == {"message": message, "code": code}


def keep_keys_of_its_own(get_response: Any) -> Any:
    """A middleware of the host's that notes something of its own on requests."""

    def middleware(request: Any) -> Any:
        request.api_key = "the host's own"
        return get_response(request)

    return middleware


def test_what_a_host_notes_on_requests_is_no_key(storefront, order, stripe, admin_client, settings):
    """Found: staff in their session got a 500, for the history was to name that key."""
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, f"{__name__}.keep_keys_of_its_own"]

    assert answer(Caller(client=admin_client).payment_intent(order)) == (200, None)
    assert answer(storefront.payment_intent(order)) == (200, None)
    assert not PaymentHistory.objects.filter(actor__contains="host").exists()


class BareUser:
    """A user model of one's own, without what Django's admin needs."""

    is_authenticated = True
    is_anonymous = False


def test_a_user_model_without_staff(settings):
    settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": []}
    request = RequestFactory().get(f"{BASE}/orders")
    request.user = BareUser()  # type: ignore[assignment]

    response = OrderViewSet.as_view({"get": "list"})(request)

    assert response.status_code == 401


# --- several databases --------------------------------------------------------------------------


def test_a_second_database_with_atomic_requests(tmp_path):
    """Found: only the default database was opted out of ATOMIC_REQUESTS."""
    (tmp_path / "two_databases.py").write_text(
        "from tests.settings import *\n"
        "DATABASES['legacy'] = {'ENGINE': 'django.db.backends.sqlite3', 'ATOMIC_REQUESTS': True,\n"
        f"    'NAME': {str(tmp_path / 'a')!r}, 'TEST': {{'NAME': {str(tmp_path / 'b')!r}}}}}\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "DATABASE_URL": ""}
    environment.pop("DATABASE_URL")  # the suite's own database is in use
    arguments = ["-p", "no:cacheprovider", "--ds=two_databases", "tests/outbox/test_sender.py"]

    run = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "-k", "same_key"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 0, run.stdout


# --- USE_TZ = False -----------------------------------------------------------------------------


@pytest.fixture
def no_time_zones(settings):
    settings.TIME_ZONE = "Europe/Berlin"
    settings.USE_TZ = False


def test_an_order_is_paid_without_time_zones(
    no_time_zones, storefront, payment_system, order, stripe
):
    intent = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

    assert send_event(intent).status_code == 200
    assert payment_system.payment(order).status_code == 200
    assert OrderPayment.objects.get().status == "paid"
    created_at = PaymentIntent.objects.get().stripe_created_at
    assert created_at == datetime.fromtimestamp(intent["created"])  # noqa: DTZ006


@pytest.mark.parametrize(
    "moment",
    [
        "2026-11-22T12:00+00:00",
        "2026-10-25T00:30+00:00",  # half past two
        "2026-10-25T01:30+00:00",  # half past two, once more
        "2026-03-29T01:05+00:00",  # five past three; ten minutes ago it was five to two
    ],
)
def test_an_intent_is_found_again_without_time_zones(
    no_time_zones, storefront, order, stripe, configure, moment
):
    configure(STRIPE_TRANSPORT=DyingLine(stripe, after_the_effect=True))
    # A number, for a datetime would bring its own time zone along.
    with time_machine.travel(datetime.fromisoformat(moment).timestamp(), tick=False) as clock:
        die(storefront, order)
        clock.shift(timedelta(hours=30))
        response = storefront.payment_intent(order)

    (intent,) = call_stripe(stripe, "GET", "payment_intents")["data"]
    assert response.status_code == 200
    assert response.json()["data"]["id"] == intent["id"]


# --- bodies -------------------------------------------------------------------------------------

TEXT = "application/json; charset="


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"[" * 100_000, "application/json"),
        (b"\xff\xfe{}", "application/json"),
        (b"{}".decode().encode("utf-16"), TEXT + "utf-16"),
        (b'{"a": ' + b"9" * 6000 + b"}", "application/json"),
        (b"{", TEXT + "undefined"),
    ],
    ids=["deep", "not UTF-8", "UTF-16", "a long number", "cut off"],
)
def test_a_body_that_is_not_json_in_utf8(storefront, order, body, content_type):
    response = post(storefront, order, body, content_type)

    assert answer(response) == (400, "parse_error")


@pytest.mark.parametrize("charset", ["base64", "hex", "undefined", "rot13", "idna", "latin-1"])
def test_a_charset_is_not_looked_at(storefront, order, stripe, charset):
    assert post(storefront, order, b"{}", TEXT + charset).status_code == 200


@pytest.mark.parametrize("charset", ["base64", "undefined", "utf-16"])
def test_a_charset_is_not_looked_at_for_the_query_either(storefront, order, charset):
    response = storefront.client.generic(
        "GET", f"{BASE}/orders?page=%31", content_type=TEXT + charset, headers=storefront.headers
    )

    assert response.status_code == 200


@pytest.mark.parametrize("accept", ["application/json", "text/html"])
def test_a_field_that_utf8_cannot_say(storefront, order, accept):
    storefront.headers["Accept"] = accept

    response = post(storefront, order, b'{"\\ud800": 1}', "application/json")

    assert response.status_code == 400
    if accept == "application/json":
        assert response.json()["errors"] == {"?": ["This field is not known."]}


def post(caller, order, body, content_type):
    return caller.client.generic(
        "POST",
        f"{BASE}/orders/{order.pk}/payment-intent",
        body,
        content_type=content_type,
        headers=caller.headers,
    )


def test_a_host_without_time_zones_gets_order_numbers_and_a_list_of_keys(db, settings, capsys):
    settings.USE_TZ = False
    APIKey.objects.issue(label="shop", scopes=["storefront"])

    call_command("shop_payments_api_key", "list")

    assert draw_order_number().startswith(f"ORD-{timezone.now():%Y%m%d}-")
    assert "shop" in capsys.readouterr().out
