"""The webhook's door against thousands of forgeries, and against whatever Stripe may ever sign.

``WEBHOOK_FUZZ_SEED`` draws other cases, ``WEBHOOK_FUZZ_CASES`` more or fewer of them (a sample by
default, ten thousand with ``FIGURES=full``). A case is a function of the seed and its own number
alone, and a failure names both.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.db import connection
from django.test import Client

from shop_payments.conf import get_config
from shop_payments.models import OrderPayment, PaymentHistory, WebhookEvent
from shop_payments.sandbox import Fault, Sandbox
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
FORGERIES = sized("WEBHOOK_FUZZ_CASES", sample=2000, full=10_000)
SIGNED = 300
NOW = int(datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp())
TOLERANCE = 300

Draw = random.Random


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request to the webhook's route, and how it was made."""

    body: bytes
    signature: str | None
    steps: tuple[str, ...] = ()
    environ: dict[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    query: str = ""

    @property
    def body_as_read(self) -> bytes:
        """As much of the body as the request says it has."""
        try:
            return self.body[: max(0, int(self.environ["CONTENT_LENGTH"]))]
        except KeyError:
            return self.body
        except ValueError:
            return b""

    def send(self, client: Client) -> Any:
        return client.generic(
            "POST",
            f"{BASE}/webhooks/stripe{self.query}",
            self.body,
            self.content_type,
            headers=None if self.signature is None else {"Stripe-Signature": wsgi(self.signature)},
            **self.environ,  # type: ignore[arg-type]
        )

    def __str__(self) -> str:
        return (
            f"made by {' + '.join(self.steps)}\n  body ({len(self.body)} bytes): "
            f"{self.body[:1500]!r}\n  Stripe-Signature: {str(self.signature)[:1500]!r}\n"
            f"  type {self.content_type!r}, query {self.query[:100]!r}, {str(self.environ)[:300]}"
        )


def wsgi(header: str) -> str:
    """A header as a server hands it over: the bytes of the wire, read as Latin-1."""
    return header.encode("utf-8", "surrogatepass").decode("latin-1")


def hmac_of(body: bytes, moment: object, secret: str = WEBHOOK_SECRET) -> str:
    signed = str(moment).encode("utf-8", "replace") + b"." + body
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def header_for(body: bytes, moment: object = NOW, secret: str = WEBHOOK_SECRET) -> str:
    return f"t={moment},v1={hmac_of(body, moment, secret)}"


def is_genuine(case: Case) -> bool:
    """Whether Stripe could have sent this: told apart from the app's own code on purpose."""
    if case.signature is None or not case.signature.isascii():
        return False
    items = [item.partition("=")[::2] for item in case.signature.split(",")]
    times = [value.partition("=")[0] for name, value in items if name == "t"]
    signatures = {value.partition("=")[0] for name, value in items if name == "v1"}
    try:
        moment = int(times[0])
        expected = hmac_of(case.body_as_read, moment)
    except (IndexError, ValueError):
        return False
    return abs(NOW - moment) <= TOLERANCE and expected in signatures


# --- the body -----------------------------------------------------------------------------------


def _flip_bytes(draw: Draw, body: bytes) -> bytes:
    changed = bytearray(body)
    for _ in range(draw.choice([1, 1, 1, 2, 20])):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _insert_bytes(draw: Draw, body: bytes) -> bytes:
    at = draw.randint(0, len(body))
    return body[:at] + draw.choice(_ODD_BYTES) + body[at:]


def _cut_out(draw: Draw, body: bytes) -> bytes:
    start = draw.randrange(len(body))
    return body[:start] + body[start + draw.randint(1, 40) :]


def _truncate(draw: Draw, body: bytes) -> bytes:
    return body[: draw.randrange(len(body))]


def _pad(draw: Draw, body: bytes) -> bytes:
    odd = draw.choice(_ODD_BYTES)
    return draw.choice([odd + body, body + odd, body + body, body + b"\r\n"])


def _rewrite(draw: Draw, body: bytes) -> bytes:
    """The same event in other bytes, as a proxy might send it on."""
    options: dict[str, Any] = draw.choice(
        [{"indent": 1}, {"sort_keys": True}, {"separators": (",", ":")}, {"ensure_ascii": False}]
    )
    return json.dumps(json.loads(body), **options).encode()


def _raise_the_amount(draw: Draw, body: bytes) -> bytes:
    amount = draw.choice(["1", "11201", "-11200", "112e2", "9" * 30, "9" * 5000, "null", "NaN"])
    return body.replace(b'_received": 11200', b'_received": ' + amount.encode())


def _another_encoding(draw: Draw, body: bytes) -> bytes:
    charset = draw.choice(["utf-16", "utf-32", "utf-8-sig", "utf-7", "cp037", "latin-1"])
    return body.decode("utf-8", "replace").encode(charset, "replace")


def _noise(draw: Draw, body: bytes) -> bytes:
    return draw.randbytes(draw.choice([1, 10, 100, 5000]))


def _no_event(draw: Draw, body: bytes) -> bytes:
    return draw.choice(_NO_EVENTS)


_ODD_BYTES = [
    b"\x00",
    b" ",
    b"\n",
    b"\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",  # a lone surrogate
    b"\xef\xbb\xbf",
    b"\xf0\x9f\x92\xb8",
    "é".encode("latin-1"),
    "\u202e".encode(),
    b'"',
    b"{",
    b"1",
]

_NO_EVENTS = [
    b"",
    b" ",
    b"[]",
    b"{}",
    b"null",
    b"true",
    b'"event"',
    b"0",
    b"-1e999",
    b"NaN",
    b"9" * 10_000,
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"[" * 50_000 + b"]" * 50_000,
    b'{"object":' * 20_000 + b'"event"' + b"}" * 20_000,
    b'{"object":"event"}',
    b'{"object":"event","id":""}',
    b'{"object":"event","id":"evt_1","type":"","created":1}',
    b'{"object":"event","id":"evt_1","type":"x","created":"never"}',
    b'{"object":"event","id":"evt_1","type":"x","created":1e400}',
    b'{"object":"event","id":"evt_1","type":"x","created":99999999999999999999}',
    b'{"object":"event","id":"evt_\\u0000","type":"x","created":1}',
    b'{"object":"event","id":"evt_\\ud800","type":"x","created":1}',
    b'{"object":["event"],"id":"evt_1","type":"x","created":1}',
    b'{"object":"list","data":[{"object":"event"}]}',
    b"id=evt_1&object=event",
    b"<event/>",
]

_BODY_STEPS: list[Callable[[Draw, bytes], bytes]] = [
    _flip_bytes,
    _insert_bytes,
    _cut_out,
    _truncate,
    _pad,
    _rewrite,
    _raise_the_amount,
    _another_encoding,
    _noise,
    _no_event,
]


# --- the header ---------------------------------------------------------------------------------

_ODD_TIMES = [
    "",
    "now",
    "0",
    "-1",
    f"-{NOW}",
    f"{NOW}.0",
    f"{NOW}e0",
    f"0x{NOW:x}",
    f"{NOW}000",
    "9" * 30,
    "9" * 6000,
    "inf",
    "nan",
    "null",
    "".join(chr(0xFF10 + int(digit)) for digit in str(NOW)),  # full-width digits
    "".join(chr(0x0660 + int(digit)) for digit in str(NOW)),  # Arabic-Indic digits
    f"{NOW}²",
    f"{NOW}\x00",
]

_ODD_HEADERS = [
    "",
    ",",
    "=",
    "==,==",
    "t",
    "t,v1",
    "t=,v1=",
    "v1",
    "null",
    "[]",
    "\x00",
    "\xff\xfe",
    "é" * 50,
    "💸",
    "\ud800",
    "t=" + "," * 5000,
    "," * 50_000,
    "v1=" * 20_000,
    "t=1," * 20_000,
    "x" * 200_000,
]


def _at_another_time(draw: Draw, body: bytes) -> str:
    """An honest signature, older than is allowed or of a time that has not come."""
    away = draw.choice([301, 302, 600, 3600, 86_400, 10**7, NOW, 10**12, 10**100])
    return header_for(body, NOW + draw.choice([-1, 1]) * away)


def _another_time_written_down(draw: Draw, body: bytes) -> str:
    seconds = draw.choice([-1, 1]) * draw.randint(1, TOLERANCE)
    return f"t={NOW + seconds},v1={hmac_of(body, NOW)}"


def _odd_time(draw: Draw, body: bytes) -> str:
    odd = draw.choice(_ODD_TIMES)
    return f"t={odd},v1={hmac_of(body, draw.choice([odd, NOW]))}"


def _two_times(draw: Draw, body: bytes) -> str:
    """The first one counts, and the signature is of the second."""
    first = draw.choice([NOW - 301, NOW + 1, NOW - 10**6, 0, draw.choice(_ODD_TIMES)])
    return f"t={first},t={NOW},v1={hmac_of(body, NOW)}"


def _another_secret(draw: Draw, body: bytes) -> str:
    secrets = ["", " ", "whsec_", WEBHOOK_SECRET[:-1], WEBHOOK_SECRET.upper(), "sk_test_of_the"]
    return header_for(body, secret=draw.choice([*secrets, f"whsec_{draw.random()}"]))


def _another_body(draw: Draw, body: bytes) -> str:
    return header_for(draw.choice([b"", b"{}", body + b" ", body[:-1], body[::-1], body * 2]))


def _wrong_signatures(draw: Draw, body: bytes) -> str:
    wrong = [f"v1={draw.randbytes(32).hex()}" for _ in range(draw.choice([1, 2, 5, 500]))]
    return ",".join([f"t={NOW}", *wrong])


def _bent_signature(draw: Draw, body: bytes) -> str:
    true = hmac_of(body, NOW)
    at = draw.randrange(len(true))
    bent = draw.choice(
        [
            true[:at],
            true[:at] + draw.choice("0123456789abcdefgé\x00 ") + true[at + 1 :],
            true.upper(),
            true + draw.choice("0 \n\x00é"),
            f" {true}",
            f"0x{true}",
            f'"{true}"',
            true[::-1],
            hmac.new(WEBHOOK_SECRET.encode(), body, hashlib.sha256).hexdigest(),
            hashlib.sha256(body).hexdigest(),
            "",
        ]
    )
    return f"t={NOW},v1={bent}"


def _another_scheme(draw: Draw, body: bytes) -> str:
    scheme = draw.choice(["v0", "v2", "V1", "v1 ", " v1", "v01", "v", "", "sha256", "v\uff11", "t"])
    return f"t={NOW},{scheme}={hmac_of(body, NOW)}"


def _bent_grammar(draw: Draw, body: bytes) -> str:
    true = header_for(body)
    return draw.choice(
        [
            true.replace(",", draw.choice([";", "&", ", ", " ", "\t", "\r\n", ",,v1=,"]), 1),
            true.replace("=", draw.choice([":", "==", " = ", "%3D"])),
            true.partition(",")[draw.choice([0, 2])],
            f"Bearer {true}",
            f'"{true}"',
            f"{true}é",
            true.upper(),
            true[: draw.randrange(len(true))],
        ]
    )


def _odd_header(draw: Draw, body: bytes) -> str:
    return draw.choice(_ODD_HEADERS)


def _joined_headers(draw: Draw, body: bytes) -> str:
    """Two headers of one name arrive as one, with a comma between: the second is honest."""
    return f"{draw.choice([header_for(b'{}', NOW - 1), *_ODD_HEADERS[:10]])},{header_for(body)}"


_HEADER_STEPS: list[Callable[[Draw, bytes], str]] = [
    _at_another_time,
    _another_time_written_down,
    _odd_time,
    _two_times,
    _another_secret,
    _another_body,
    _wrong_signatures,
    _bent_signature,
    _another_scheme,
    _bent_grammar,
    _odd_header,
    _joined_headers,
]


# --- a forgery ----------------------------------------------------------------------------------


def _change_body(draw: Draw, honest: Case) -> Case:
    step = draw.choice(_BODY_STEPS)
    return replace(honest, body=step(draw, honest.body), steps=(step.__name__,))


def _change_header(draw: Draw, honest: Case) -> Case:
    if draw.random() < 0.05:
        return replace(honest, signature=None, steps=("no header",))
    step = draw.choice(_HEADER_STEPS)
    return replace(honest, signature=step(draw, honest.body), steps=(step.__name__,))


def _change_both(draw: Draw, honest: Case) -> Case:
    changed = _change_body(draw, honest)
    header = _change_header(draw, changed)
    return replace(header, steps=(*changed.steps, *header.steps))


def _change_length(draw: Draw, honest: Case) -> Case:
    """The request says that its body is shorter than it is, or much longer, or says nonsense."""
    length = draw.choice(
        [
            str(draw.randrange(len(honest.body))),
            str(-draw.randint(1, 9999)),
            str(10 ** draw.randint(6, 30)),
            draw.choice(["", "ten", "1e3", "0x10", "9" * 6000, "\uff11\uff10", "²"]),
        ]
    )
    return replace(honest, environ={"CONTENT_LENGTH": length}, steps=("another length",))


def _sign_what_is_no_event(draw: Draw, honest: Case) -> Case:
    body = draw.choice(_NO_EVENTS)
    return replace(honest, body=body, signature=header_for(body), steps=("signed, but no event",))


def _sign_a_huge_body(draw: Draw, honest: Case) -> Case:
    room = get_config().WEBHOOK_MAX_BYTES - len(honest.body)
    body = honest.body + b" " * (room + draw.choice([1, 2, 1000, 3_000_000]))
    return replace(honest, body=body, signature=header_for(body), steps=("signed, but huge",))


_KINDS: list[tuple[int, Callable[[Draw, Case], Case]]] = [
    (30, _change_body),
    (45, _change_header),
    (15, _change_both),
    (5, _change_length),
    (4, _sign_what_is_no_event),
    (1, _sign_a_huge_body),
]
_SIGNED_ON_PURPOSE = {"signed, but no event", "signed, but huge"}


def _around(draw: Draw, case: Case) -> Case:
    """What else a request says of itself; none of it makes a forgery better or worse."""
    if draw.random() < 0.7:
        return case
    environ = draw.choice(
        [
            {"HTTP_ACCEPT": "text/html"},
            {"HTTP_ACCEPT": "\xff/\x00;q=é"},
            {"HTTP_AUTHORIZATION": "Bearer \xff"},
            {"HTTP_X_API_KEY": "spk_1_\xe9"},
            {"HTTP_COOKIE": "sessionid=\xff; csrftoken=\x00"},
            {"HTTP_CONTENT_ENCODING": "gzip"},
            {"HTTP_TRANSFER_ENCODING": "chunked"},
            {"HTTP_X_HTTP_METHOD_OVERRIDE": "GET"},
        ]
    )
    types = ["", "text/plain", "application/json; charset=utf-16", "multipart/form-data", "é/\x00"]
    types += ["application/x-www-form-urlencoded"]
    # Django itself, before any middleware, fails on a query beside a charset that is no charset.
    type_and_query = draw.choice(
        [
            (draw.choice(types), draw.choice(["?format=xml", "?%ff=%00", "?" + "a=b&" * 2000])),
            ("application/json; charset=base64", ""),
        ]
    )
    return replace(
        case,
        environ={**environ, **case.environ},
        content_type=type_and_query[0],
        query=type_and_query[1],
    )


def forgery(number: int, honest_bodies: list[bytes]) -> Case:
    """Draw the case of this number: never one that Stripe could have sent."""
    draw = random.Random(f"{SEED}/{number}")
    weights, kinds = zip(*_KINDS, strict=True)
    while True:
        body = draw.choice(honest_bodies)
        honest = Case(body=body, signature=header_for(body))
        case = _around(draw, draw.choices(kinds, weights)[0](draw, honest))
        if not is_genuine(case) or _SIGNED_ON_PURPOSE.intersection(case.steps):
            return case


# --- the tests ----------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Ten thousand lines of "Bad Request" help nobody."""
    for name in ("django.request", "shop_payments", "stripe"):
        caplog.set_level(logging.CRITICAL, logger=name)


@pytest.fixture(autouse=True)
def _noon() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def everything() -> dict[str, list[Any]]:
    """All rows of the app."""
    models = apps.get_app_config("shop_payments").get_models()
    return {model.__name__: list(model._base_manager.order_by("pk").values()) for model in models}


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect the SQL that the block runs."""
    seen: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield seen


def reports(failures: list[str]) -> str:
    shown = "\n\n".join(failures[:5])
    return f"{len(failures)} cases failed; WEBHOOK_FUZZ_SEED={SEED}\n\n{shown}"


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

    with statements() as executed:
        for number in range(FORGERIES):
            case = forgery(number, bodies)
            status = case.send(client).status_code
            codes[status] += 1
            if status not in {400, 413} or executed:
                failures.append(f"case {number}: {status}, SQL {executed}, {case}")
                executed.clear()

    assert not failures, reports(failures)
    assert everything() == before
    assert set(codes) == {400, 413}
    assert {post_webhook(body, sign(body)).status_code for body in bodies} == {200}
    assert OrderPayment.objects.get().is_paid  # so each of them would have been worth forging
    figure(
        f"{FORGERIES} forged webhooks, seed {SEED}: 0 accepted, 0 answered with 5xx, 0 rows, "
        f"0 statements; answers {dict(codes)}"
    )


def test_the_forger_is_able():
    """The test of the test: honest requests are told from forgeries, and all ways are taken."""
    body = event_body({"object": "payment_intent", "amount_received": 11200, "id": "pi_1"})
    honest = Case(body=body, signature=header_for(body))
    rotated = replace(honest, signature=f"t={NOW},v1={'0' * 64},v1={hmac_of(body, NOW)},v0=x")
    late = replace(honest, signature=header_for(body, NOW - TOLERANCE - 1))

    cases = [forgery(number, [body]) for number in range(2000)]

    assert (is_genuine(honest), is_genuine(rotated), is_genuine(late)) == (True, True, False)
    taken = {step for case in cases for step in case.steps}
    assert taken >= {step.__name__ for step in (*_BODY_STEPS, *_HEADER_STEPS)}
    assert taken >= {"no header", "another length", *_SIGNED_ON_PURPOSE}
    assert cases[7] == forgery(7, [body])


# --- signed by Stripe, and strange --------------------------------------------------------------

_DEEP = "@deep@"
_STATUSES = ["succeeded", "processing", "requires_capture", "canceled", "requires_magic", ""]


def _odd_value(draw: Draw) -> Any:
    return draw.choice(
        [
            None,
            True,
            False,
            0,
            -1,
            1,
            2**31,
            2**63,
            10**30,
            1.5,
            1e308,
            float("nan"),
            float("inf"),
            "",
            "\x00",
            "\ud800",
            "💸",
            "x" * 300,
            "x" * 70_000,
            "1970-01-01",
            "pi_of_nobody",
            "usd ",
            [],
            {},
            [None],
            {"": ""},
            {"id": {"id": []}},
            {"\x00": "\ud800", "client_secret": "x"},
            [[[[]]]],
            _DEEP,
            draw.choice(_STATUSES),
        ]
    )


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from _places(item, (*path, key))


def _spoil(draw: Draw, event: dict[str, Any]) -> None:
    """Change, drop or add something, mostly in what the app reads."""
    places = list(_places(event))
    about = [place for place in places if place[:2] == ("data", "object")]
    *path, last = draw.choice(draw.choice([places, about or places]))
    holder: Any = event
    for key in path:
        holder = holder[key]
    deed = draw.randrange(6)
    if deed == 0:
        del holder[last]
    elif deed == 1 and isinstance(holder, dict):
        holder[draw.choice(["metadata", "\x00", "é", "id", "object", "x" * 300])] = _odd_value(draw)
    else:
        holder[last] = _odd_value(draw)


def strange_body(draw: Draw, intent: dict[str, Any], number: int) -> bytes:
    """Draw what Stripe might sign one day: never a proof that the order was paid.

    The honest event says that nothing was received, and no odd value is the sum that is due.
    """
    if draw.random() < 0.1:
        value: Any = _odd_value(draw)
    else:
        kind = draw.choice(["succeeded", "payment_failed", "processing", "canceled", "magic"])
        about = json.loads(json.dumps(intent))
        about["status"] = draw.choice([intent["status"], *_STATUSES])
        kind = draw.choice([f"payment_intent.{kind}"] * 4 + ["charge.refunded"])
        value = json.loads(event_body(about, type=kind, id=f"evt_strange_{number}", created=NOW))
        for _ in range(draw.choice([0, 1, 1, 1, 2, 3, 8])):
            _spoil(draw, value)
    text = json.dumps(value, ensure_ascii=True)
    levels = draw.choice([10, 400, 990, 3000, 60_000])
    return text.replace(f'"{_DEEP}"', "[" * levels + "]" * levels).encode()


def test_whatever_stripe_signs_is_survived(storefront, order, stripe: Sandbox):
    client, failures, answers = Client(raise_request_exception=False), [], set()
    for number in range(SIGNED):
        draw = random.Random(f"{SEED}/signed/{number}")
        another = OrderFactory.create(customer=order.customer)
        intent_id = storefront.payment_intent(another).json()["data"]["id"]
        intent = call_stripe(stripe, "GET", f"payment_intents/{intent_id}")
        body = strange_body(draw, intent, number)
        fault = draw.choice([None] * 4 + [429, 500, 503])
        if fault:
            stripe.inject(Fault("error", method="GET", status=fault))

        response = post_webhook(body, sign(body), client=client)

        stripe.clear_faults()
        code = json.loads(response.content).get("code") if response.content[:1] == b"{" else "?"
        answers.add((response.status_code, code))
        paid = PaymentHistory.objects.filter(kind="order_paid").exists()
        if paid or (response.status_code, code) not in _DOCUMENTED:
            shown = f"{len(body)} bytes: {body[:3000]!r}"
            failures.append(f"case {number}: {response.status_code} {code}, paid {paid}, {shown}")

    assert not failures, reports(failures)
    assert not OrderPayment.objects.filter(status="paid").exists()
    assert answers >= {(200, None), (400, "invalid_payload"), (503, "event_failed")}
    assert WebhookEvent.objects.filter(status="set_aside").exists()
    assert stripe.requests[-1].status is not None
    honest = event_body(pay(stripe, storefront.payment_intent(order).json()["data"]["id"]))
    assert post_webhook(honest, sign(honest)).status_code == 200
    assert OrderPayment.objects.get(order=order).is_paid


_DOCUMENTED = {
    (200, None),
    (400, "invalid_payload"),
    (413, "payload_too_large"),
    (503, "event_failed"),
}


def test_the_clock_stands_still():
    """Signatures are made for ``NOW``; were the clock to run, honest ones would grow old."""
    assert time.time() == NOW
