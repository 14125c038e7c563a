"""Signed events."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
import time_machine
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shop_payments.exceptions import (
    ConfigurationError,
    InvalidSignature,
    InvalidWebhookPayload,
    WebhookPayloadTooLarge,
)
from shop_payments.gateway import read_event
from tests.gateway.support import pairs
from tests.support import sign

EVENT = {
    "id": "evt_1",
    "object": "event",
    "type": "payment_intent.succeeded",
    "created": 1_700_000_000,
    "livemode": False,
    "api_version": "2026-10-28.endive",
    "data": {"object": {"id": "pi_1", "object": "payment_intent"}},
}
THIN = {
    "id": "evt_test_1",
    "object": "v2.core.event",
    "type": "v1.payment_intent.succeeded",
    "created": "2026-09-17T06:20:52.246Z",
    "livemode": True,
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


def test_each_of_several_secrets_opens(configure):
    configure(STRIPE_WEBHOOK_SECRETS=["whsec_old", "whsec_new"])
    assert read(EVENT, secret="whsec_old") == read(EVENT, secret="whsec_new")
    with pytest.raises(InvalidSignature):
        read(EVENT, secret="whsec_other")
    configure(STRIPE_WEBHOOK_SECRETS=[])
    with pytest.raises(ConfigurationError, match="STRIPE_WEBHOOK_SECRETS"):
        read(EVENT, secret="")


@pytest.mark.parametrize("tolerance", [300, 1])
@time_machine.travel(1_700_000_000, tick=False)
def test_a_signature_is_of_now(configure, tolerance):
    """The SDK lets the future through."""
    configure(WEBHOOK_TOLERANCE=tolerance)
    for seconds in (-tolerance, 0, tolerance):
        assert read(EVENT, timestamp=1_700_000_000 + seconds).id == "evt_1"
    for seconds in (-tolerance - 1, tolerance + 1, -3600, 3600):
        with pytest.raises(InvalidSignature, match="too old or lies in the future"):
            read(EVENT, timestamp=1_700_000_000 + seconds)


@pytest.mark.parametrize("tolerance", [0, -5, None])
def test_the_check_of_the_age_cannot_be_turned_off(configure, tolerance):
    """For the SDK, a tolerance of 0 or None means not to look."""
    configure(WEBHOOK_TOLERANCE=tolerance)
    with pytest.raises(ConfigurationError, match="WEBHOOK_TOLERANCE"):
        read(EVENT, timestamp=1)


# The SDK reads t=1=2 as 1; reading it otherwise was a ValueError, and a 500.
GOOD = ["{t},v1=" + "0" * 64 + ",{v1}", "{t},{v1},v1=bad", "{t},v0=x,{v1}", "{t}=7,{v1}"]
BAD = [
    *("", ",", "=", "t=,v1=", "t", "v1", "t=1", "t=x,v1=y", "v1=abc", "é", "\x00", "t=1,v1=é"),
    *(
        "{t}",
        "{v1}",
        "t,{t},{v1}",
        "{t},{v1}é",
        "{t}, {v1}",
        "{t},v0={hex}",
        "{t},{v1}0",
        "{t},v1=",
    ),
    *("{t}0,{v1}", "t=-1,{v1}", "T={now},V1={hex}", "t=" + "9" * 5000 + ",{v1}"),
    *("{old}={now},{old_v1}", "{old},{t},{old_v1}"),
]


def header_of(pattern):
    t, v1 = sign(BODY).split(",")
    old, old_v1 = sign(BODY, timestamp=1_000_000_000).split(",")
    return pattern.format(t=t, v1=v1, now=t[2:], hex=v1[3:], old=old, old_v1=old_v1)


def test_one_good_signature_is_enough():
    for header in GOOD:
        assert read_event(BODY, header_of(header)).id == "evt_1"


@pytest.mark.parametrize("header", BAD, ids=range(len(BAD)))
def test_a_bad_signature_is_refused(header):
    with pytest.raises(InvalidSignature):
        read_event(BODY, header_of(header))


def test_another_body_is_refused():
    for body, problem in [(BODY.replace(b"evt_1", b"evt_2"), "no signature"), (b"\xff", "UTF-8")]:
        with pytest.raises(InvalidSignature, match=problem):
            read_event(body, sign(BODY))


@given(body=st.binary(), header=st.text())
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_unsigned_is_read(body, header):
    with pytest.raises(InvalidSignature):
        read_event(body, header)


# --- bodies ---


NO_JSON = [
    *(b"", b" ", b"{", b"nonsense", b"\xef\xbb\xbf{}", b'{"a": "\x00"}', b'{"a": NaN}'),
    *(b'{"a": -Infinity}', b'{"a": 1e999}', b'{"a": ' + b"9" * 5000 + b"}"),
]
NO_EVENT = [b"[]", b"null", b"1", b'"event"', b"{}", b'{"object": "charge"}', b'{"object": []}']


def test_a_signed_body_that_is_no_event_is_refused():
    """``{"object": []}`` was a TypeError."""
    for bodies, problem in [(NO_JSON, "not JSON"), (NO_EVENT, "is not an event")]:
        for body in bodies:
            with pytest.raises(InvalidWebhookPayload, match=problem):
                read(body)


@pytest.mark.parametrize(
    ("name", "value"),
    pairs(
        # Made storable, two ids became one, and the second event was taken for a repetition.
        id=[None, "", 1, [], {"a": 1}, "evt_1\x00", "evt_1\ud800"],
        type=[None, "", 1, [], {"a": 1}],
        created=[
            *(None, -1, 1.5, True, [], 2**62, 10**30),
            *("yesterday", "0001-01-01T00:00:00+14:00"),
        ],
    ),
)
def test_an_event_with_wrong_types_is_refused(name, value):
    with pytest.raises(InvalidWebhookPayload, match="not an event"):
        read({**EVENT, name: value})


def test_a_body_that_is_too_large_is_refused(configure):
    configure(WEBHOOK_MAX_BYTES=10)
    with pytest.raises(WebhookPayloadTooLarge):
        read(EVENT)


@pytest.mark.parametrize("value", [None, [], "text", 1, {}, {"object": None}, {"object": ["x"]}])
def test_an_event_about_nothing_is_kept(value):
    assert read({**EVENT, "data": value}).object_id == ""


@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("depth", [100, 900, 20_000])
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
    about = {
        "id": "pi_1",
        "a": [[secret]],
        "b": {"c": secret},
        "note": "pi_1_secret_hidden2 was it",
    }
    event = read({**EVENT, "client_secret": "hidden", "data": {"object": about, "old": secret}})
    text = json.dumps(event.payload)
    assert "hidden" not in text
    assert "client_secret" not in text
    assert event.payload["data"]["object"]["a"] == [[{"id": "kept"}]]


strange_text = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\x00\ud800\udfff")))
strange_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), strange_text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strange_text, inner, max_size=3),
    max_leaves=8,
)


@given(data=strange_json, name=strange_text)
@hypothesis_settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_comes_out_can_be_stored(data, name):
    """NUL and lone surrogates in an event were a 500 on PostgreSQL."""
    body = {**EVENT, "type": f"t{name}", "api_version": name}
    body["data"] = {"object": {"id": name}, "extra": data}
    try:
        event = read(body)
    except InvalidWebhookPayload:
        assert "Infinity" in json.dumps(body)
        return
    columns = [event.payload, event.type, event.api_version, event.object_id]
    text = json.dumps(columns, ensure_ascii=False)
    assert text.encode()
    assert "\\u0000" not in text
