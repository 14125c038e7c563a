"""Signed events are verified and read."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import time_machine

from shop_payments.exceptions import ConfigurationError, InvalidSignature, InvalidWebhookPayload
from shop_payments.gateway import read_event
from tests.support import sign

EVENT: dict[str, Any] = {
    "id": "evt_1",
    "object": "event",
    "type": "payment_intent.succeeded",
    "livemode": False,
    "created": 1_700_000_000,
    "api_version": "2026-10-28.endive",
    "data": {"object": {"id": "pi_1", "object": "payment_intent"}},
}
THIN: dict[str, Any] = {
    "id": "evt_test_1",
    "object": "v2.core.event",
    "type": "v1.payment_intent.succeeded",
    "livemode": True,
    "created": "2026-09-17T06:20:52.246Z",
    "related_object": {"id": "pi_1", "type": "payment_intent", "url": "/v1/..."},
}
BODY = json.dumps(EVENT).encode()


def read(body, **signing):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_event(body, sign(body, **signing))


def test_an_event_is_read():
    event = read(EVENT)
    assert (event.id, event.type, event.object_id) == ("evt_1", "payment_intent.succeeded", "pi_1")
    assert event.created_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert (event.livemode, event.api_version) == (False, "2026-10-28.endive")
    assert (event.intent_id, event.payload) == ("pi_1", EVENT)


def test_a_thin_event_is_read():
    event = read(THIN)
    assert (event.id, event.object_id, event.intent_id) == ("evt_test_1", "pi_1", "pi_1")
    assert event.created_at == datetime(2026, 9, 17, 6, 20, 52, 246000, tzinfo=UTC)
    assert event.livemode
    meter = {**THIN, "related_object": {"id": "mtr_1", "type": "billing.meter"}}
    assert (read(meter).object_id, read(meter).intent_id) == ("mtr_1", "")


# --- signatures ---


def test_each_of_several_secrets_is_accepted(configure):
    configure(STRIPE_WEBHOOK_SECRETS=["whsec_old", "whsec_new"])
    assert read(EVENT, secret="whsec_old") == read(EVENT, secret="whsec_new")
    with pytest.raises(InvalidSignature):
        read(EVENT, secret="whsec_other")
    configure(STRIPE_WEBHOOK_SECRETS=[])
    with pytest.raises(ConfigurationError, match="STRIPE_WEBHOOK_SECRETS"):
        read(EVENT, secret="")


@pytest.mark.parametrize("tolerance", [300, 1])
@time_machine.travel(1_700_000_000, tick=False)
def test_a_signature_must_be_recent(configure, tolerance):
    """The SDK accepts times in the future, and with a tolerance of 0 or None it checks none."""
    configure(WEBHOOK_TOLERANCE=tolerance)
    for seconds in (-tolerance, 0, tolerance):
        assert read(EVENT, timestamp=1_700_000_000 + seconds).id == "evt_1"
    for seconds in (-tolerance - 1, tolerance + 1, -3600, 3600):
        with pytest.raises(InvalidSignature, match="too old or in the future"):
            read(EVENT, timestamp=1_700_000_000 + seconds)
    for off in (0, None):
        configure(WEBHOOK_TOLERANCE=off)
        with pytest.raises(ConfigurationError, match="WEBHOOK_TOLERANCE"):
            read(EVENT, timestamp=1)


# The SDK reads t=1=2 as 1; reading it otherwise was a ValueError, and a 500.
GOOD = ["{t},v1=" + "0" * 64 + ",{v1}", "{t},{v1},v1=bad", "{t},v0=x,{v1}", "{t}=7,{v1}"]
BAD = [
    *("", "=", "t=x,v1=y", "t=1,v1=é", "{t}", "{v1}", "t,{t},{v1}", "{t}, {v1}", "{t}0,{v1}"),
    *("{t},v0={hex}", "t=-1,{v1}", "t=" + "9" * 5000 + ",{v1}", "{old},{t},{old_v1}"),
]


def header_of(pattern):
    t, v1 = sign(BODY).split(",")
    old, old_v1 = sign(BODY, timestamp=1_000_000_000).split(",")
    return pattern.format(t=t, v1=v1, hex=v1[3:], old=old, old_v1=old_v1)


def test_one_good_signature_is_enough_and_a_bad_one_is_refused():
    for header in GOOD:
        assert read_event(BODY, header_of(header)).id == "evt_1"
    for header in BAD:
        with pytest.raises(InvalidSignature):
            read_event(BODY, header_of(header))
    for body, problem in [(BODY.replace(b"evt_1", b"evt_2"), "no signature"), (b"\xff", "UTF-8")]:
        with pytest.raises(InvalidSignature, match=problem):
            read_event(body, sign(BODY))


# --- bodies ---


NO_JSON = [b"{", b'{"a": "\x00"}', b'{"a": NaN}', b'{"a": 1e999}', b'{"a": %s}' % (b"9" * 5000)]
NO_EVENT = [b"[]", b"null", b"{}", b'{"object": "charge"}', b'{"object": []}']


# Made storable, two ids became one, and the second event was taken for a duplicate.
WRONG: dict[str, list[Any]] = {
    "id": [None, "", 1, {"a": 1}, "evt_1\x00", "evt_1\ud800"],
    "type": [None, "", 1, []],
    "created": [None, -1, 1.5, True, 2**62, "yesterday", "0001-01-01T00:00:00+14:00"],
}


def test_a_signed_body_without_an_event_is_refused():
    """``{"object": []}`` was a TypeError."""
    wrong = [{**EVENT, name: value} for name, values in WRONG.items() for value in values]
    for body in (*NO_JSON, *NO_EVENT, *wrong):
        problem = "not JSON" if body in NO_JSON else "not an event"
        with pytest.raises(InvalidWebhookPayload, match=problem):
            read(body)


def test_an_event_without_an_object_is_kept():
    for value in (None, "text", {"object": None}, {"object": ["x"]}):
        assert read({**EVENT, "data": value}).object_id == ""


@pytest.mark.parametrize(
    ("brackets", "depth"), [((b"[", b"]"), 100), ((b'{"a":', b"}"), 900), ((b"[", b"]"), 20_000)]
)
def test_deep_json_is_no_500(brackets, depth):
    deep = brackets[0] * depth + b"1" + brackets[1] * depth
    body = b'{"id": "evt_1", "object": "event", "type": "x", "created": 1, "deep": %s}' % deep
    try:
        event = read(body)
    except InvalidWebhookPayload:
        assert depth > 100
    else:
        assert json.dumps(event.payload).encode() == body.replace(b'"a":', b'"a": ')


def test_no_client_secret_is_in_the_payload_at_any_depth():
    secret = {"client_secret": "hidden", "id": "kept"}
    about = {"id": "pi_1", "a": [[secret]], "b": {"c": secret}, "note": "pi_1_secret_hidden2"}
    event = read({**EVENT, "client_secret": "hidden", "data": {"object": about, "old": secret}})
    text = json.dumps(event.payload)
    assert "hidden" not in text
    assert "client_secret" not in text
    assert event.payload["data"]["object"]["a"] == [[{"id": "kept"}]]


@pytest.mark.parametrize("name", ["a\x00b", "\ud800", "é 💥"], ids=range(3))
def test_the_payload_can_be_stored(name):
    """NUL and lone surrogates in an event were a 500 on PostgreSQL."""
    about = {"id": name, name: [name, {"deep": {name: name}}], "number": 1.5, "none": None}
    event = read({**EVENT, "type": f"t{name}", "api_version": name, "data": {"object": about}})
    columns = [event.payload, event.type, event.api_version, event.object_id]
    text = json.dumps(columns, ensure_ascii=False)
    assert text.encode()  # raises for a lone surrogate
    assert "\\u0000" not in text
