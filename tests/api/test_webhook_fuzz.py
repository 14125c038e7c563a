"""The webhook route against forgeries, and against anything that Stripe may ever sign.

``WEBHOOK_FUZZ_SEED`` draws other cases, ``WEBHOOK_FUZZ_CASES`` more or fewer of them (a sample by
default, ten thousand with ``FIGURES=full``). A case follows from the seed and its number, and a
failure names both.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from shop_payments.conf import get_config
from shop_payments.models import OrderPayment, PaymentHistory, WebhookEvent
from shop_payments.sandbox import Fault, Sandbox
from tests.after_paid.support import everything
from tests.factories import OrderFactory
from tests.support import (
    BASE,
    WEBHOOK_SECRET,
    call_stripe,
    event_body,
    pay,
    post_webhook,
    sign,
    sized,
)

pytestmark = pytest.mark.django_db

SEED = int(os.environ.get("WEBHOOK_FUZZ_SEED", "20261122"))
FORGERIES = sized("WEBHOOK_FUZZ_CASES", sample=400, full=10_000)
SIGNED = 60
NOW = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())

Draw = random.Random


@pytest.fixture(autouse=True)
def _noon(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    for name in ("django.request", "shop_payments", "stripe"):
        caplog.set_level(logging.CRITICAL, logger=name)
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture(autouse=True)
def host_authentication() -> None:
    """No request here is authenticated: once is enough."""


# --- forgeries ----------------------------------------------------------------------------------


def hmac_of(body: bytes, moment: object = NOW, secret: str = WEBHOOK_SECRET) -> str:
    signed = str(moment).encode("utf-8", "replace") + b"." + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def header_for(body: bytes, moment: object = NOW, secret: str = WEBHOOK_SECRET) -> str:
    return f"t={moment},v1={hmac_of(body, moment, secret)}"


def flip(draw: Draw, body: bytes) -> bytes:
    changed = bytearray(body)
    changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


NO_EVENTS = [
    *(b"", b"[]", b"{}", b"null", b'"event"', b"-1e999", b"NaN", b"9" * 10_000, b"[" * 100_000),
    b'{"object":' * 20_000 + b'"event"' + b"}" * 20_000,
    b'{"object":"event","id":""}',
    b'{"object":"event","id":"evt_1","type":"x","created":1e400}',
    b'{"object":"event","id":"evt_\\u0000","type":"x","created":1}',
    b'{"object":"event","id":"evt_\\ud800","type":"x","created":1}',
    b"id=evt_1&object=event",
]
ODD_TIMES = ["", "now", "0", f"-{NOW}", f"{NOW}.0", "9" * 6000, "inf", f"{NOW}²"]
ODD_TIMES += ["".join(chr(zero + int(digit)) for digit in str(NOW)) for zero in (0xFF10, 0x0660)]
ODD_HEADERS = [
    "",
    "=",
    "t,v1",
    "t=,v1=",
    "\x00",
    "é",
    "💸",
    "\ud800",
    "," * 50_000,
    "t=1," * 20_000,
]

BODIES: list[Callable[[Draw, bytes], bytes]] = [
    flip,
    lambda draw, body: body[: draw.randrange(len(body))],
    lambda draw, body: draw.choice([b" " + body, body + b"\r\n", body + b"\xff", body * 2]),
    lambda draw, body: json.dumps(json.loads(body), indent=1).encode(),
    lambda draw, body: body.replace(b'_received": 11200', b'_received": 1'),
    lambda draw, body: body.decode().encode(draw.choice(["utf-16", "utf-8-sig"])),
    lambda draw, body: draw.choice(NO_EVENTS),
]
HEADERS: list[Callable[[Draw, bytes], str | None]] = [
    lambda draw, body: None,
    lambda draw, body: draw.choice(ODD_HEADERS),
    lambda draw, body: header_for(body, NOW + draw.choice([-301, 301, -(10**12), 10**100])),
    lambda draw, body: f"t={NOW + draw.randint(1, 300)},v1={hmac_of(body)}",
    lambda draw, body: header_for(body, draw.choice(ODD_TIMES)),
    lambda draw, body: f"t={draw.choice([NOW - 301, NOW + 1])},t={NOW},v1={hmac_of(body)}",
    lambda draw, body: header_for(body, secret=draw.choice(["", "whsec_", WEBHOOK_SECRET[:-1]])),
    lambda draw, body: header_for(draw.choice([b"", body + b" ", body[:-1]])),
    lambda draw, body: f"t={NOW},v1={draw.choice([hmac_of(body)[:-1], hmac_of(body).upper(), ''])}",
    lambda draw, body: f"t={NOW},{draw.choice(['v0', 'v2', 'V1', 'v1 ', ''])}={hmac_of(body)}",
    lambda draw, body: header_for(body).replace(*draw.choice([(",", ";"), ("=", ":")])),
    lambda draw, body: f"{draw.choice(ODD_HEADERS[:7])}é,{header_for(body)}",
]
LENGTHS = ["", "-1", "0", "10", str(10**30), "ten", "1e3", "9" * 6000, "\uff11\uff10"]


def forgery(draw: Draw, body: bytes) -> tuple[bytes, str | None, dict[str, str]]:
    """Return body, signature and length of a request that Stripe could not have sent."""
    header, environ = header_for(body), {}
    kind = draw.choices(["body", "header", "both", "length", "signed"], [30, 45, 15, 5, 5])[0]
    if kind in {"body", "both"}:
        changed = draw.choice(BODIES)(draw, body)
        body = changed if changed != body else b"{}"
    if kind in {"header", "both"}:
        header = draw.choice(HEADERS)(draw, body) or ""
    if kind == "length":
        environ = {"CONTENT_LENGTH": draw.choice(LENGTHS)}
    if kind == "signed":  # by Stripe, but no event or a huge one
        body = draw.choice([body + b" " * get_config().WEBHOOK_MAX_BYTES, *NO_EVENTS])
        header = header_for(body)
    return body, header, environ


@pytest.mark.figures
def test_no_forgery_is_accepted(storefront, order, stripe, figure):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    paid = pay(stripe, intent_id)
    paid["metadata"]["shop"] = "Müller & Söhne 💸"
    bodies = [
        event_body(paid, id="evt_1", created=NOW),
        event_body({"object": "charge", "id": "ch_1"}, id="evt_2", type="charge.succeeded"),
    ]
    client = Client(raise_request_exception=False)
    before, codes, failures = everything(), set(), []

    for number in range(FORGERIES):
        draw = random.Random(f"{SEED}/{number}")
        body, header, environ = forgery(draw, draw.choice(bodies))
        # A header as a server passes it on: the bytes of the wire, read as Latin-1.
        wire = (header or "").encode("utf-8", "surrogatepass").decode("latin-1")
        headers = {"Stripe-Signature": wire} if header else {}
        with CaptureQueriesContext(connection) as executed:
            status = client.generic(
                "POST",
                f"{BASE}/webhooks/stripe",
                body,
                "application/json",
                headers=headers,
                **environ,  # type: ignore[arg-type]
            ).status_code
        codes.add(status)
        if status not in {400, 413} or len(executed):
            failures.append(f"{number}: {status}, {len(executed)} SQL, {header!r}, {body!r}")

    assert not failures, f"seed {SEED}\n" + "\n\n".join(each[:3000] for each in failures[:5])
    assert everything() == before
    assert codes == {400, 413}
    assert {post_webhook(body, sign(body)).status_code for body in bodies} == {200}
    assert OrderPayment.objects.get().is_paid  # so each of them would have been worth forging
    figure(f"{FORGERIES} forged webhooks, seed {SEED}: 0 accepted, 0 rows, 0 statements")


# --- signed by Stripe, and strange --------------------------------------------------------------

DEEP = "@deep@"
STATUSES = ["succeeded", "processing", "requires_capture", "canceled", "requires_magic", ""]
ODD_VALUES: list[Any] = [
    *(None, True, False, 0, -1, 2**31, 2**63, 10**30, 1.5, float("nan"), float("inf")),
    *("", "\x00", "\ud800", "💸", "x" * 70_000, "pi_of_nobody", DEEP, *STATUSES),
    *([], {}, [None], {"id": {"id": []}}, {"\x00": "\ud800", "client_secret": "x"}, [[[[]]]]),
]


def places_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from places_in(item, (*path, key))


def spoil(draw: Draw, event: dict[str, Any]) -> None:
    """Change, drop or add something, mostly in what the app reads."""
    places = list(places_in(event))
    about = [place for place in places if place[:2] == ("data", "object")]
    *path, last = draw.choice(draw.choice([places, about or places]))
    holder: Any = event
    for key in path:
        holder = holder[key]
    deed = draw.randrange(6)
    if deed == 0:
        del holder[last]
    elif deed == 1 and isinstance(holder, dict):
        holder[draw.choice(["metadata", "\x00", "id", "object"])] = draw.choice(ODD_VALUES)
    else:
        holder[last] = draw.choice(ODD_VALUES)


def strange_body(draw: Draw, intent: dict[str, Any], number: int) -> bytes:
    """Draw what Stripe might sign one day: never a proof that the order was paid.

    The honest event says that nothing was received, and no odd value is the amount of the order.
    """
    value: Any = draw.choice(ODD_VALUES)
    if number % 10:
        kind = draw.choice(["succeeded", "payment_failed", "processing", "canceled", "magic"])
        about = {**intent, "status": draw.choice([intent["status"], *STATUSES])}
        kind = draw.choice([f"payment_intent.{kind}"] * 4 + ["charge.refunded"])
        value = json.loads(event_body(about, type=kind, id=f"evt_strange_{number}", created=NOW))
        for _ in range(draw.choice([0, 1, 1, 1, 2, 3, 8])):
            spoil(draw, value)
    levels = draw.choice([10, 400, 990, 3000, 60_000])
    return json.dumps(value).replace(f'"{DEEP}"', "[" * levels + "]" * levels).encode()


def test_a_strange_event_of_stripes_pays_nothing_and_stops_nothing(
    storefront, order, stripe: Sandbox
):
    client, failures, answers = Client(raise_request_exception=False), [], set()
    for number in range(SIGNED):
        draw = random.Random(f"{SEED}/signed/{number}")
        another = OrderFactory.create(customer=order.customer)
        intent_id = storefront.payment_intent(another).json()["data"]["id"]
        intent = call_stripe(stripe, "GET", f"payment_intents/{intent_id}")
        body = strange_body(draw, intent, number)
        if fault := draw.choice([None] * 4 + [429, 500, 503]):
            stripe.inject(Fault("error", method="GET", status=fault))

        response = post_webhook(body, sign(body), client=client)

        stripe.clear_faults()
        code = json.loads(response.content).get("code") if response.content[:1] == b"{" else "?"
        answers.add((response.status_code, code))
        if PaymentHistory.objects.filter(kind="order_paid").exists() or code == "?":
            failures.append(f"case {number}: {response.status_code} {code}, {body[:3000]!r}")

    assert not failures, f"seed {SEED}\n" + "\n\n".join(failures[:5])
    documented = {(200, None), (400, "invalid_payload"), (503, "event_failed")}
    assert documented <= answers <= documented | {(413, "payload_too_large")}
    assert not OrderPayment.objects.filter(status="paid").exists()
    assert WebhookEvent.objects.filter(status="set_aside").exists()
    honest = event_body(pay(stripe, storefront.payment_intent(order).json()["data"]["id"]))
    assert post_webhook(honest, sign(honest)).status_code == 200
    assert OrderPayment.objects.get(order=order).is_paid
