"""Signed events."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import time_machine
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shop_payments.exceptions import (
    ConfigurationError,
    InvalidSignature,
    InvalidWebhookPayload,
)
from shop_payments.gateway import read_event
from shop_payments.models import WebhookEvent
from tests.gateway.support import (
    create,
    pairs,
)
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


def read(body, **signing):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_event(body, sign(body, **signing))


def test_an_event_is_read():
    event = read(EVENT)
    assert (event.id, event.type, event.object_id) == ("evt_1", "payment_intent.succeeded", "pi_1")
    assert event.created_at == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert (event.livemode, event.api_version) == (False, "2026-10-28.endive")
    assert event.payload == EVENT


def test_an_event_of_the_sandbox_is_read(stripe):
    create()
    event = read(stripe.events[-1])
    assert event.type == "payment_intent.created"
    assert "client_secret" in stripe.events[-1]["data"]["object"]
    assert "client_secret" not in event.payload["data"]["object"]


def test_each_of_several_secrets_opens(configure):
    configure(STRIPE_WEBHOOK_SECRETS=["whsec_old", "whsec_new"])
    assert read(EVENT, secret="whsec_old") == read(EVENT, secret="whsec_new")
    with pytest.raises(InvalidSignature):
        read(EVENT, secret="whsec_other")


def test_without_a_secret_nothing_is_read(configure):
    configure(STRIPE_WEBHOOK_SECRETS=[])
    with pytest.raises(ConfigurationError, match="STRIPE_WEBHOOK_SECRETS"):
        read(EVENT, secret="")


def test_one_good_signature_of_several_is_enough():
    body = json.dumps(EVENT).encode()
    stamp, good = sign(body).split(",")
    for header in [
        f"{stamp},v1={'0' * 64},{good}",
        f"{stamp},{good},v1=bad",
        f"{stamp},v0=x,{good}",
    ]:
        assert read_event(body, header).id == "evt_1"


@pytest.mark.parametrize("seconds", [-301, -3600, 301, 3600])
def test_a_signature_is_of_now(seconds):
    """The SDK lets the future through."""
    with pytest.raises(InvalidSignature, match="too old or lies in the future"):
        read(EVENT, timestamp=int(time.time()) + seconds)


@pytest.mark.parametrize("seconds", [-290, 0, 290])
def test_clocks_may_differ_a_little(seconds):
    assert read(EVENT, timestamp=int(time.time()) + seconds).id == "evt_1"


def test_the_tolerance_is_a_setting(configure):
    configure(WEBHOOK_TOLERANCE=1)
    with time_machine.travel(1_700_000_000, tick=False):
        assert read(EVENT, timestamp=1_699_999_999).id == "evt_1"
        for stamp in (1_699_999_998, 1_700_000_002):
            with pytest.raises(InvalidSignature):
                read(EVENT, timestamp=stamp)


@pytest.mark.parametrize("tolerance", [0, -5, None])
def test_the_check_of_the_age_cannot_be_turned_off(configure, tolerance):
    """For the SDK, a tolerance of 0 or None means not to look."""
    configure(WEBHOOK_TOLERANCE=tolerance)
    with pytest.raises(ConfigurationError, match="WEBHOOK_TOLERANCE"):
        read(EVENT, timestamp=1)


BAD_HEADERS = [
    *("", ",", "=", "t=,v1=", "t", "v1", "t=1", "t=x,v1=y", "v1=abc", "é", "\x00", "t=1,v1=é"),
    *("t={t}", "v1={v1}", "t,t={t},v1={v1}", "t={t},v1={v1}é", "t={t}, v1={v1}", "t={t},v0={v1}"),
    *("t={t},v1={v1}0", "t={t},v1=", "t={t}0,v1={v1}", "t=-{t},v1={v1}", "T={t},V1={v1}"),
    "t=" + "9" * 5000 + ",v1={v1}",
]


@pytest.mark.parametrize("header", BAD_HEADERS, ids=range(len(BAD_HEADERS)))
def test_a_bad_signature_is_refused(header):
    stamp, good = sign(b"{}").split(",")
    with pytest.raises(InvalidSignature):
        read_event(b"{}", header.format(t=stamp[2:], v1=good[3:]))


def test_a_second_equals_sign_in_the_time_is_no_way_around():
    """The SDK reads t=1=2 as 1; reading it otherwise was a ValueError, and a 500."""
    body = json.dumps(EVENT).encode()
    stamp, good = sign(body).split(",")
    assert read_event(body, f"{stamp}=7,{good}").id == "evt_1"
    old_stamp, old = sign(body, timestamp=1_000_000_000).split(",")
    for header in [f"{old_stamp}={stamp[2:]},{old}", f"{old_stamp},{stamp},{old}"]:
        with pytest.raises(InvalidSignature, match="too old"):
            read_event(body, header)


def test_another_body_is_refused():
    with pytest.raises(InvalidSignature, match="no signature matches"):
        read_event(json.dumps({**EVENT, "id": "evt_2"}).encode(), sign(json.dumps(EVENT).encode()))


def test_a_body_that_is_not_utf8_is_refused():
    with pytest.raises(InvalidSignature, match="not UTF-8"):
        read_event(b"\xff{}", sign(b"{}"))


@given(body=st.binary(), header=st.text())
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_unsigned_is_read(body, header):
    with pytest.raises(InvalidSignature):
        read_event(body, header)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"{", b"nonsense", b"\xef\xbb\xbf{}", b'{"a": "\x00"}'),
        *(b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}', b'{"a": 1e999}'),
        b'{"a": ' + b"9" * 5000 + b"}",
    ],
    ids=range(11),
)
def test_a_signed_body_that_is_no_json_is_refused(body):
    with pytest.raises(InvalidWebhookPayload, match="not JSON"):
        read(body)


@pytest.mark.parametrize(
    "body", [b"[]", b"null", b"1", b'"event"', b"{}", b'{"object": "charge"}', b'{"object": []}']
)
def test_a_signed_body_that_is_no_event_is_refused(body):
    """``{"object": []}`` was a TypeError."""
    with pytest.raises(InvalidWebhookPayload, match="is not an event"):
        read(body)


@pytest.mark.parametrize(
    ("name", "value"),
    pairs(
        id=[None, "", 1, [], {"a": 1}],
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


@pytest.mark.parametrize("value", [None, [], "text", 1, {}, {"object": None}, {"object": ["x"]}])
def test_an_event_about_nothing_is_kept(value):
    assert read({**EVENT, "data": value}).object_id == ""


@pytest.mark.parametrize("brackets", [(b"[", b"]"), (b'{"a":', b"}")])
@pytest.mark.parametrize("depth", [100, 300, 900, 5_000, 20_000])
def test_deep_json_is_no_500(brackets, depth):
    deep = brackets[0] * depth + b"1" + brackets[1] * depth
    body = b'{"id": "evt_1", "object": "event", "type": "x", "created": 1, "deep": %s}' % deep
    try:
        event = read(body)
    except InvalidWebhookPayload:
        assert depth > 100
    else:
        assert json.dumps(event.payload).encode() == body.replace(b'"a":', b'"a": ')


def test_a_thin_event_is_read():
    event = read(
        {
            "id": "evt_test_1",
            "object": "v2.core.event",
            "type": "v1.billing.meter.error_report_triggered",
            "created": "2026-09-17T06:20:52.246Z",
            "livemode": True,
            "related_object": {"id": "mtr_1", "type": "billing.meter", "url": "/v1/..."},
        }
    )
    assert (event.id, event.object_id, event.livemode) == ("evt_test_1", "mtr_1", True)
    assert event.created_at == datetime(2026, 9, 17, 6, 20, 52, 246000, tzinfo=UTC)


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


@pytest.mark.parametrize("oddity", ["\x00", "\ud800"])
def test_an_event_id_is_taken_as_it_is_or_not_at_all(oddity):
    """Made storable, two ids became one, and the second event was taken for a repetition."""
    with pytest.raises(InvalidWebhookPayload):
        read({**EVENT, "id": f"evt_1{oddity}"})


strange_text = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("\x00\ud800\udfff")))
strange_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), strange_text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strange_text, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.django_db
@given(data=strange_json, name=strange_text)
@hypothesis_settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_comes_out_can_be_stored(data, name):
    """NUL and lone surrogates in an event were a 500 on PostgreSQL."""
    body = {**EVENT, "id": f"evt_{uuid4().hex}", "type": f"t{name}", "api_version": name}
    body["data"] = {"object": {"id": name}, "extra": data}
    try:
        event = read(body)
    except InvalidWebhookPayload:
        assert "Infinity" in json.dumps(body)
        return
    row = WebhookEvent.objects.create(
        event_id=event.id,
        type=event.type,
        livemode=event.livemode,
        api_version=event.api_version,
        object_id=event.object_id,
        stripe_created_at=event.created_at,
        payload=event.payload,
    )
    row.refresh_from_db()
    assert row.event_id == event.id
