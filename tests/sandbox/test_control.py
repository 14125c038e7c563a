"""The control route: levers over HTTP, and who may pull them."""

from __future__ import annotations

import json

import pytest

from shop_payments.sandbox import Fault
from tests.sandbox.conftest import URL
from tests.sandbox.support import INTENTS, ORDER, Answer, Receiver

CONTROL = "/_sandbox"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def control(sandbox):
    """Call the control route without a socket."""

    def call(method, path, fields=None, headers=JSON):
        body = fields if isinstance(fields, str | None) else json.dumps(fields)
        response = sandbox.handle(method, f"{CONTROL}{path}", headers, body)
        return Answer(response, json.loads(response.body))

    return call


def test_it_shows_the_time_and_what_waits(api, sandbox, control, receiver):
    api.create()
    sandbox.inject(Fault("drop_after"))

    assert control("GET", "").json == {
        "now": 4_000_000_000.0,
        "faults": [{"kind": "drop_after", "times": 1}],
        "pending_deliveries": 1,
        "lost_deliveries": 0,
    }


def test_it_moves_the_clock_and_prunes_idempotency_keys(api, control):
    def write():
        return api.post(INTENTS, ORDER, Idempotency_Key="k")["id"]

    first = write()
    assert control("POST", "/clock", {"advance": 24 * 60 * 60})["now"] == 4_000_086_400.0
    second = write()
    assert control("DELETE", "/idempotency_keys")["forgotten"] == 1

    assert len({first, second, write()}) == 3


def test_it_injects_and_clears_faults(api, control):
    fault = {"kind": "error", "status": 503, "path": INTENTS, "times": None}

    assert control("POST", "/faults", fault)["faults"] == [fault]
    assert api.get(INTENTS).status == 503
    assert control("DELETE", "/faults")["faults"] == []

    assert api.get(INTENTS).status == 200


@pytest.mark.parametrize(
    ("fields", "status"), [(None, "succeeded"), ({"succeed": False}, "requires_payment_method")]
)
def test_it_passes_or_fails_an_authentication(api, control, fields, status):
    intent = api.confirm(api.create(), "pm_card_authenticationRequired")

    answer = control("POST", f"/payment_intents/{intent['id']}/authentication", fields)

    assert (answer.status, answer["status"]) == (200, status)
    assert api.again(intent).json == answer.json


def test_it_moves_an_intent_and_a_refund(api, control):
    intent, refund = api.create(), api.refund(api.pay())

    succeeded = {"status": "succeeded", "fields": {"amount_received": 1}}
    failed = {"status": "failed", "failure_reason": "declined"}
    moved = control("POST", f"/payment_intents/{intent['id']}", succeeded)
    back = control("POST", f"/refunds/{refund['id']}", failed)

    moved.assert_has(status="succeeded", amount_received=1)
    back.assert_has(status="failed", failure_reason="declined")
    assert api.again(refund).json == back.json


def test_it_disputes_a_charge_and_rolls_a_secret(api, sandbox, control):
    endpoint = sandbox.add_webhook(URL, "whsec_old", deliver=Receiver())

    dispute = control("POST", f"/charges/{api.pay()['id']}/dispute", {"reason": "duplicate"})
    inquiry = control("POST", f"/charges/{api.pay()['id']}/dispute", {"inquiry": True})
    rolled = {"secret": "whsec_new", "expires_in": 60}
    control("POST", f"/webhook_endpoints/{endpoint.id}/secret", rolled)
    made = control("POST", f"/webhook_endpoints/{endpoint.id}/secret")

    dispute.assert_has(status="needs_response", reason="duplicate")
    inquiry.assert_has(status="warning_needs_response", reason="fraudulent")
    assert api.again(dispute).json == dispute.json
    assert endpoint.secrets_at(4_000_000_059) == [made["secret"], "whsec_old"]


INTENT = "/payment_intents/ID"


@pytest.mark.parametrize(
    ("method", "path", "fields", "status", "message"),
    [
        ("POST", "/faults", {"kind": "gremlin"}, 400, "the kinds are latency"),
        ("POST", "/faults", "kind=drop_after", 400, "The body is not JSON"),
        ("POST", "/faults", "[" * 100_000, 400, "The body is not JSON"),
        ("POST", "/faults", '{"kind": "latency", "seconds": NaN}', 400, "The body is not JSON"),
        ("POST", "/faults", [], 400, "The body is not a JSON object"),
        ("DELETE", "/faults", {"all": True}, 400, "There is no field 'all' here; there is none"),
        ("GET", "/faults", None, 405, "takes POST or DELETE, not GET"),
        ("GET", "/gremlins", None, 404, "There is no /_sandbox/gremlins; there is /_sandbox, "),
        ("POST", "/clock", {}, 400, "The field 'advance' is missing"),
        ("POST", "/clock", {"advance": "1 h"}, 400, "advance is a number, not '1 h'"),
        ("POST", "/clock", {"advance": True}, 400, "advance is a number, not True"),
        ("POST", INTENT, {"status": 1}, 400, "status is a string, not 1"),
        ("POST", INTENT, {"status": "paid"}, 400, "no status 'paid'"),
        ("POST", INTENT, {"status": "x", "fields": {"status": "y"}}, 400, "besides the status"),
        ("POST", f"{INTENT}/authentication", {"succeed": "no"}, 400, "true or false, not 'no'"),
        ("POST", "/refunds/re_x", {"status": "failed"}, 404, "No such refund: 're_x'"),
        ("POST", "/charges/ch_x/dispute", {}, 404, "No such charge: 'ch_x'"),
        ("POST", "/charges/ch_x/dispute", {"amount": 1}, 400, "There is no field 'amount'"),
        ("POST", "/webhook_endpoints/we_x/secret", {}, 404, "No such webhook_endpoint"),
    ],
)
def test_it_says_what_is_wrong(api, control, method, path, fields, status, message):
    intent = api.create()

    answer = control(method, path.replace("ID", intent["id"]), fields)

    assert (answer.status, message in answer.error["message"]) == (status, True)
    assert api.events_after() == ["payment_intent.created"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),  # a form
        ({**JSON, "Origin": "https://example.com"}, 403),
        ({**JSON, "Origin": "null"}, 403),
        ({**JSON, "Host": "example.com:12111"}, 403),
        ({**JSON, "Host": "localhost.example.com"}, 403),
    ],
)
def test_strangers_do_not_steer_it(sandbox, control, headers, status):
    answer = control("POST", "/faults", {"kind": "drop_after"}, headers)

    assert (answer.status, sandbox.faults) == (status, [])
    assert "access-control-allow-origin" not in answer.headers


def test_a_page_of_this_machine_steers_it(sandbox, control):
    headers = {**JSON, "Origin": "http://127.0.0.1:8000", "Host": "localhost:12111"}

    preflight = sandbox.handle("OPTIONS", f"{CONTROL}/faults", headers)
    answer = control("POST", "/faults", {"kind": "drop_before"}, headers)

    assert answer.status == 200
    for response in (preflight, answer.response):
        assert response.headers["access-control-allow-origin"] == "http://127.0.0.1:8000"
    assert control("DELETE", "/faults").status == 200  # no fault strikes the control route
    assert sandbox.requests == []
