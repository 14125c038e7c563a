"""The webhook route against forgeries. ``tests/gateway/test_webhooks.py`` has single cases.

``WEBHOOK_FUZZ_SEED`` draws other cases, and ``WEBHOOK_FUZZ_CASES`` more or fewer of them. The
default is a sample; ``FIGURES=full`` draws ten thousand. A failure names the seed and the number,
from which its case follows.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import random
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from shop_payments.models import OrderPayment
from tests.books import everything
from tests.support import BASE, WEBHOOK_SECRET, event_body, pay, post_webhook, sign, sized

SEED = int(os.environ.get("WEBHOOK_FUZZ_SEED", "20261122"))
FORGERIES = sized("WEBHOOK_FUZZ_CASES", sample=150, full=10_000)
NOW = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())

Draw = random.Random


def hmac_of(body: bytes, moment: object = NOW, secret: str = WEBHOOK_SECRET) -> str:
    signed = str(moment).encode("utf-8", "replace") + b"." + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def header_for(body: bytes, moment: object = NOW, secret: str = WEBHOOK_SECRET) -> str:
    return f"t={moment},v1={hmac_of(body, moment, secret)}"


def flip(draw: Draw, body: bytes) -> bytes:
    place = draw.randrange(len(body))
    return body[:place] + bytes([body[place] ^ 1 << draw.randrange(8)]) + body[place + 1 :]


NO_EVENTS = [
    *(b"", b"[]", b"{}", b"null", b'"event"', b"-1e999", b"NaN", b"9" * 10_000, b"[" * 100_000),
    b'{"object":"event","id":""}',
    b'{"object":"event","id":"evt_1","type":"x","created":1e400}',
    b'{"object":"event","id":"evt_\\ud800","type":"x","created":1}',
    b"id=evt_1&object=event",
]
ODD_TIMES = ["", "now", "0", f"-{NOW}", f"{NOW}.0", "9" * 6000, "inf", f"{NOW}²"]
ODD_HEADERS = ["", "=", "t,v1", "t=,v1=", "\x00", "é", "💸", "\ud800", "," * 9_000, "t=1," * 9_000]

BODIES: list[Callable[[Draw, bytes], bytes]] = [
    flip,
    lambda draw, body: body[: draw.randrange(len(body))],
    lambda draw, body: draw.choice([b" " + body, body + b"\r\n", body + b"\xff", body * 2]),
    lambda draw, body: body.replace(b'_received": 11200', b'_received": 1'),
    lambda draw, body: body.decode().encode(draw.choice(["utf-16", "utf-8-sig"])),
    lambda draw, body: draw.choice(NO_EVENTS),
]
HEADERS: list[Callable[[Draw, bytes], str]] = [
    lambda draw, body: draw.choice(ODD_HEADERS),
    lambda draw, body: header_for(body, NOW + draw.choice([-301, 301, -(10**12), 10**100])),
    lambda draw, body: header_for(body, draw.choice(ODD_TIMES)),
    lambda draw, body: f"t={draw.choice([NOW - 301, NOW + 1])},t={NOW},v1={hmac_of(body)}",
    lambda draw, body: header_for(body, secret=draw.choice(["", "whsec_", WEBHOOK_SECRET[:-1]])),
    lambda draw, body: header_for(draw.choice([b"", body + b" ", body[:-1]])),
    lambda draw, body: f"t={NOW},v1={draw.choice([hmac_of(body)[:-1], hmac_of(body).upper(), ''])}",
    lambda draw, body: f"t={NOW},{draw.choice(['v0', 'v2', 'V1', 'v1 ', ''])}={hmac_of(body)}",
    lambda draw, body: header_for(body).replace(*draw.choice([(",", ";"), ("=", ":")])),
]


def forgery(draw: Draw, body: bytes) -> tuple[bytes, str]:
    """Return the body and the signature of a request that Stripe could not have sent."""
    header = header_for(body)
    kind = draw.choices(["body", "header", "both"], [30, 45, 15])[0]
    if kind in {"body", "both"}:
        changed = draw.choice(BODIES)(draw, body)
        body = changed if changed != body else b"{}"
    if kind in {"header", "both"}:
        header = draw.choice(HEADERS)(draw, body)
    # A header as a server passes it on: the bytes of the wire, read as Latin-1.
    return body, header.encode("utf-8", "surrogatepass").decode("latin-1")


@pytest.mark.figures
@pytest.mark.django_db
@time_machine.travel(NOW, tick=False)
def test_no_forgery_is_accepted(storefront, order, stripe, figure, caplog):
    for name in ("django.request", "shop_payments", "stripe"):
        caplog.set_level(logging.CRITICAL, logger=name)
    paid = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    paid["metadata"]["shop"] = "Müller & Söhne 💸"
    bodies = [
        event_body(paid, id="evt_1", created=NOW),
        event_body({"object": "charge", "id": "ch_1"}, id="evt_2", type="charge.succeeded"),
    ]
    client = Client(raise_request_exception=False)
    before, failures = everything(), []
    for number in range(FORGERIES):
        draw = random.Random(f"{SEED}/{number}")
        body, header = forgery(draw, draw.choice(bodies))
        headers = {"Stripe-Signature": header} if header else {}
        url, json = f"{BASE}/webhooks/stripe", "application/json"
        with CaptureQueriesContext(connection) as executed:
            response = client.generic("POST", url, body, json, headers=headers)
        if response.status_code != 400 or len(executed):
            failures.append(f"{number}: {response}, {len(executed)} SQL, {header!r}, {body!r}")
    assert not failures, f"seed {SEED}\n" + "\n\n".join(each[:3000] for each in failures[:5])
    assert everything() == before
    assert {post_webhook(body, sign(body)).status_code for body in bodies} == {200}
    assert OrderPayment.objects.get().is_paid  # so each of them would have been worth forging
    figure(f"{FORGERIES} forged webhooks, seed {SEED}: 0 accepted, 0 rows, 0 statements")
