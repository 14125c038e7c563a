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
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
FORGERIES = sized("WEBHOOK_FUZZ_CASES", sample=1000, full=10_000)
SIGNED = 100
NOW = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())
TOLERANCE = 300

Draw = random.Random


@pytest.fixture(autouse=True)
def _noon(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    for name in ("django.request", "shop_payments", "stripe"):
        caplog.set_level(logging.CRITICAL, logger=name)
    with time_machine.travel(NOW, tick=False):
        yield


def hmac_of(body: bytes, moment: object, secret: str = WEBHOOK_SECRET) -> str:
    signed = str(moment).encode("utf-8", "replace") + b"." + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def header_for(body: bytes, moment: object = NOW, secret: str = WEBHOOK_SECRET) -> str:
    return f"t={moment},v1={hmac_of(body, moment, secret)}"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request to the webhook's route, and how it was made."""

    body: bytes
    signature: str | None
    steps: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)

    def send(self, client: Client) -> Any:
        # A header as a server passes it on: the bytes of the wire, read as Latin-1.
        header = (self.signature or "").encode("utf-8", "surrogatepass").decode("latin-1")
        return client.generic(
            "POST",
            f"{BASE}/webhooks/stripe",
            self.body,
            "application/json",
            headers=None if self.signature is None else {"Stripe-Signature": header},
            **self.environ,  # type: ignore[arg-type]
        )

    @property
    def is_genuine(self) -> bool:
        """Whether Stripe could have sent this; without the app's own code on purpose."""
        if self.signature is None or not self.signature.isascii():
            return False
        items = [item.partition("=")[::2] for item in self.signature.split(",")]
        times = [value.partition("=")[0] for name, value in items if name == "t"]
        signatures = {value.partition("=")[0] for name, value in items if name == "v1"}
        try:
            moment = int(times[0])
            length = int(self.environ.get("CONTENT_LENGTH", len(self.body)))
        except (IndexError, ValueError):
            return False
        expected = hmac_of(self.body[: max(0, length)], moment)
        return abs(NOW - moment) <= TOLERANCE and expected in signatures


ODD_BYTES = [b"\x00", b" ", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b'"', b"{"]
NO_EVENTS = [
    *(b"", b"[]", b"{}", b"null", b'"event"', b"-1e999", b"NaN", b"9" * 10_000, b"[" * 100_000),
    b"[" * 50_000 + b"]" * 50_000,
    b'{"object":' * 20_000 + b'"event"' + b"}" * 20_000,
    b'{"object":"event","id":""}',
    b'{"object":"event","id":"evt_1","type":"x","created":"never"}',
    b'{"object":"event","id":"evt_1","type":"x","created":1e400}',
    b'{"object":"event","id":"evt_\\u0000","type":"x","created":1}',
    b'{"object":"event","id":"evt_\\ud800","type":"x","created":1}',
    b'{"object":["event"],"id":"evt_1","type":"x","created":1}',
    b"id=evt_1&object=event",
]
ODD_TIMES = ["", "now", "0", f"-{NOW}", f"{NOW}.0", f"0x{NOW:x}", "9" * 6000, "inf", f"{NOW}²"]
ODD_TIMES += ["".join(chr(zero + int(digit)) for digit in str(NOW)) for zero in (0xFF10, 0x0660)]
ODD_HEADERS = ["", "=", "t,v1", "t=,v1=", "null", "\x00", "é" * 50, "💸", "\ud800"]
ODD_HEADERS += ["," * 50_000, "v1=" * 20_000, "t=1," * 20_000, "x" * 200_000]

BODIES: dict[str, Callable[[Draw, bytes], bytes]] = {
    "a flipped bit": lambda draw, body: (
        body[: (at := draw.randrange(len(body)))]
        + bytes([body[at] ^ 1 << draw.randrange(8)])
        + body[at + 1 :]
    ),
    "odd bytes": lambda draw, body: (
        body[: (at := draw.randint(0, len(body)))] + draw.choice(ODD_BYTES) + body[at:]
    ),
    "cut": lambda draw, body: body[: draw.randrange(len(body))],
    "more": lambda draw, body: draw.choice([b" " + body, body + b"\r\n", body + body]),
    "written again": lambda draw, body: json.dumps(json.loads(body), indent=1).encode(),
    "another amount": lambda draw, body: body.replace(
        b'_received": 11200', b'_received": ' + draw.choice([b"1", b"112e2", b"9" * 5000, b"NaN"])
    ),
    "another encoding": lambda draw, body: body.decode().encode(
        draw.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7", "cp037"]), "replace"
    ),
    "noise": lambda draw, body: draw.randbytes(draw.choice([1, 100, 5000])),
    "no event": lambda draw, body: draw.choice(NO_EVENTS),
}
HEADERS: dict[str, Callable[[Draw, bytes], str | None]] = {
    "no header": lambda draw, body: None,
    "an odd header": lambda draw, body: draw.choice(ODD_HEADERS),
    "signed at another time": lambda draw, body: header_for(
        body, NOW + draw.choice([-1, 1]) * draw.choice([301, 3600, 10**7, 10**12, 10**100])
    ),
    "another time written down": lambda draw, body: (
        f"t={NOW + draw.choice([-1, 1]) * draw.randint(1, TOLERANCE)},v1={hmac_of(body, NOW)}"
    ),
    "an odd time": lambda draw, body: (
        f"t={(odd := draw.choice(ODD_TIMES))},v1={hmac_of(body, draw.choice([odd, NOW]))}"
    ),
    "two times": lambda draw, body: (
        f"t={draw.choice([NOW - 301, NOW + 1, 0])},t={NOW},v1={hmac_of(body, NOW)}"
    ),
    "another secret": lambda draw, body: header_for(
        body, secret=draw.choice(["", "whsec_", WEBHOOK_SECRET[:-1], WEBHOOK_SECRET.upper()])
    ),
    "another body": lambda draw, body: header_for(draw.choice([b"", body + b" ", body[:-1]])),
    "a bent signature": lambda draw, body: (
        f"t={NOW},v1="
        + draw.choice(
            [
                hmac_of(body, NOW)[: draw.randrange(64)],
                hmac_of(body, NOW).upper(),
                hmac_of(body, NOW) + draw.choice("0 \x00é"),
                hashlib.sha256(body).hexdigest(),
                "",
            ]
        )
    ),
    "another scheme": lambda draw, body: (
        f"t={NOW},{draw.choice(['v0', 'v2', 'V1', 'v1 ', 'v', '', 't'])}={hmac_of(body, NOW)}"
    ),
    "another grammar": lambda draw, body: header_for(body).replace(
        *draw.choice([(",", ";"), (",", ", "), ("=", ":"), ("=", " = "), ("t=", "Bearer t=")])
    ),
    "two headers as one": lambda draw, body: (
        f"{draw.choice([header_for(b'{}', NOW - 1), *ODD_HEADERS[:8]])},{header_for(body)}"
    ),
}
LENGTHS = ["", "-1", "0", "10", str(10**30), "ten", "1e3", "9" * 6000, "\uff11\uff10"]


def draw_case(number: int, honest_bodies: list[bytes]) -> Case:
    """Draw the case of this number: never one that Stripe could have sent, and an event."""
    draw = random.Random(f"{SEED}/{number}")
    while True:
        body = draw.choice(honest_bodies)
        steps, environ = [], {}
        header: str | None = header_for(body)
        kind = draw.choices(["body", "header", "both", "length", "signed"], [30, 45, 15, 5, 5])[0]
        if kind in {"body", "both"}:
            steps.append(draw.choice([*BODIES]))
            body = BODIES[steps[-1]](draw, body)
        if kind in {"header", "both"}:
            steps.append(draw.choice([*HEADERS]))
            header = HEADERS[steps[-1]](draw, body)
        if kind == "length":
            environ = {"CONTENT_LENGTH": draw.choice(LENGTHS)}
        if kind == "signed":  # signed by Stripe, but no event, or a huge one
            huge = body + b" " * get_config().WEBHOOK_MAX_BYTES
            body = draw.choice([huge, *NO_EVENTS])
            header = header_for(body)
        case = Case(body=body, signature=header, steps=(kind, *steps), environ=environ)
        if kind == "signed" or not case.is_genuine:
            return case


@pytest.mark.figures
def test_no_forgery_is_accepted(storefront, order, stripe, figure):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    paid = pay(stripe, intent_id)
    paid["metadata"]["shop"] = "Müller & Söhne 💸"
    bodies = [
        event_body(paid, id="evt_1", created=NOW),
        json.dumps(json.loads(event_body(paid, id="evt_2")), ensure_ascii=False).encode(),
        event_body({"object": "charge", "id": "ch_1"}, id="evt_3", type="charge.succeeded"),
    ]
    client = Client(raise_request_exception=False)
    before, codes, failures = everything(), Counter[int](), []

    for number in range(FORGERIES):
        case = draw_case(number, bodies)
        with CaptureQueriesContext(connection) as executed:
            status = case.send(client).status_code
        codes[status] += 1
        if status not in {400, 413} or len(executed):
            failures.append(f"case {number} of seed {SEED}: {status}, {len(executed)} SQL, {case}")

    assert not failures, "\n\n".join(each[:3000] for each in failures[:5])
    assert everything() == before
    assert set(codes) == {400, 413}
    assert {post_webhook(body, sign(body)).status_code for body in bodies} == {200}
    assert OrderPayment.objects.get().is_paid  # so each of them would have been worth forging
    figure(
        f"{FORGERIES} forged webhooks, seed {SEED}: 0 accepted, 0 answered with 5xx, 0 rows, "
        f"0 statements; answers {dict(codes)}"
    )


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
    if draw.random() < 0.1:
        value: Any = draw.choice(ODD_VALUES)
    else:
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

    assert not failures, "\n\n".join(failures[:5])
    documented = {(200, None), (400, "invalid_payload"), (503, "event_failed")}
    assert documented <= answers <= documented | {(413, "payload_too_large")}
    assert not OrderPayment.objects.filter(status="paid").exists()
    assert WebhookEvent.objects.filter(status="set_aside").exists()
    honest = event_body(pay(stripe, storefront.payment_intent(order).json()["data"]["id"]))
    assert post_webhook(honest, sign(honest)).status_code == 200
    assert OrderPayment.objects.get(order=order).is_paid
