"""The id of a request: from the client, in every answer, and in every line of the log."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest

from shop_payments.request_ids import RequestIDFilter
from tests.generated_docs import ROOT
from tests.support import BASE, Caller, answer, event_body, pay, post_webhook, sign

pytestmark = pytest.mark.django_db

OURS = {"X-Request-ID": "shop-42/a:b.c=@+_"}
NEW = re.compile("[0-9a-f]{32}")


@pytest.fixture
def log() -> Iterator[StringIO]:
    """What the app and Django log, in the format of a host."""
    handler = logging.StreamHandler(StringIO())
    handler.setFormatter(logging.Formatter("[%(request_id)s] %(name)s: %(message)s"))
    handler.addFilter(RequestIDFilter())
    loggers = [logging.getLogger(name) for name in ("shop_payments", "django.request")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.addHandler(handler)
        each.setLevel(logging.INFO)
    yield handler.stream
    for each, level in zip(loggers, levels, strict=True):
        each.removeHandler(handler)
        each.setLevel(level)


def lines(log: StringIO) -> list[str]:
    return log.getvalue().splitlines()


def test_every_answer_has_the_clients_id(storefront, payment_system, office, order, stripe, client):
    one = f"orders/{order.pk}"
    called = storefront.post(f"{one}/payment-intent", **OURS)
    event = event_body(pay(stripe, called.json()["data"]["id"]))
    signed = {"Stripe-Signature": sign(event)}
    page = {**OURS, "Accept": "text/html"}
    for status, response in (
        (200, storefront.get("", **OURS)),
        (200, storefront.get("", **page)),
        (200, storefront.get("orders", **OURS)),
        (200, storefront.get(one, **OURS)),
        (200, called),
        (200, payment_system.post(f"{one}/payment", **OURS)),
        (200, office.post(f"{one}/refunds", {"amount": "1.00"}, **OURS)),
        (200, office.get(f"{one}/refunds", **OURS)),
        (200, client.generic("POST", f"{BASE}/webhooks/stripe", event, headers={**OURS, **signed})),
        (400, Caller().post("webhooks/stripe", **OURS)),
        (400, storefront.get("orders?page=1", **OURS)),
        (401, Caller().get("orders", **OURS)),
        (404, storefront.get("orders/0", **OURS)),
        (405, payment_system.get(f"{one}/payment", **OURS)),
        (405, Caller().get("webhooks/stripe", **OURS)),
        (406, storefront.get("orders", **OURS, Accept="application/xml")),
        (
            415,
            client.post(f"{BASE}/{one}/refunds", {"amount": 1}, headers={**OURS, **office.headers}),
        ),
    ):
        assert (response.status_code, response["X-Request-ID"]) == (status, OURS["X-Request-ID"])


def test_an_id_that_could_forge_a_line_of_the_log_is_replaced():
    seen = set()
    for given in ("", "a b", 'a"b', "a\tb", "a,b", "a\\n", "é", "%0a", "x" * 201, "<b>", "{}"):
        answered = Caller().get("", **{"X-Request-ID": given})["X-Request-ID"]
        assert NEW.fullmatch(answered), given
        seen.add(answered)
    assert len(seen) == 11, "each request has its own"
    assert Caller().get("", **{"X-Request-ID": "x" * 200})["X-Request-ID"] == "x" * 200
    assert NEW.fullmatch(Caller().get("")["X-Request-ID"])


def test_the_log_has_the_id_beside_stripes(storefront, payment_system, order, stripe, log):
    intent = storefront.post(f"orders/{order.pk}/payment-intent", **OURS).json()["data"]
    pay(stripe, intent["id"])
    payment_system.post(f"orders/{order.pk}/payment", **{"X-Request-ID": "second"})

    changed = [line for line in lines(log) if "Payment changed" in line]
    assert re.fullmatch(r"\[shop-42\S+\] .* stripe_request_id=req_\w+", changed[0])
    assert all(line.startswith("[second] shop_payments: ") for line in changed[1:])
    assert len(changed) > 2


def test_the_id_ends_with_its_request(storefront, order, stripe, log):
    storefront.post(f"orders/{order.pk}/payment-intent", **OURS)
    log.truncate(0)
    logging.getLogger("shop_payments").warning("a command")
    logging.getLogger("shop_payments").warning("a host's", extra={"request_id": "theirs"})
    assert [line.strip("\0") for line in lines(log)] == [
        "[-] shop_payments: a command",
        "[theirs] shop_payments: a host's",
    ]


def test_a_webhook_that_fails_is_logged_with_the_id_that_stripe_got(configure, log):
    configure(STRIPE_WEBHOOK_SECRETS=[])
    response = post_webhook(b"{}", "none")
    assert answer(response) == (503, "not_configured")
    (ours, djangos) = lines(log)
    assert ours.startswith(f"[{response['X-Request-ID']}] shop_payments: Payments are not")
    assert djangos.startswith(f"[{response['X-Request-ID']}] django.request: Service Unavailable")


OF_A_HOST = """
import django
from django.conf import settings
from rest_framework.authentication import BaseAuthentication

class Broken(BaseAuthentication):
    def authenticate(self, request):
        raise RuntimeError("a bug")

settings.REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["__main__.Broken"]}
settings.LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "shop_payments.request_ids.RequestIDFilter"}},
    "formatters": {"line": {"format": "%(levelname)s [%(request_id)s] %(name)s %(message)s"}},
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "filters": ["request_id"],
            "formatter": "line",
        }
    },
    "root": {"handlers": ["console"], "level": "INFO"},
}
django.setup()
from django.test import Client
client = Client(raise_request_exception=False, headers={"X-Request-ID": "from-the-client"})
print(client.get("/api/v1/shop/orders").status_code)
"""


def test_a_bug_is_logged_with_the_id_by_the_documented_settings():
    """Django writes the line after the view has ended."""
    command = [sys.executable, "-W", "error", "-c", OF_A_HOST]
    run: Any = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "500", run.stderr
    first = "ERROR [from-the-client] django.request Internal Server Error: /api/v1/shop/orders"
    assert run.stderr.splitlines()[0] == first
