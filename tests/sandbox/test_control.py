"""The control route: the levers over HTTP, and who may use them."""

from __future__ import annotations

import json

import pytest

from shop_payments.sandbox import Fault
from tests.sandbox.conftest import URL
from tests.sandbox.support import DAY, INTENTS, ORDER, Answer, Receiver

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def control(sandbox):
    """Call the control route without a socket."""

    def call(method, path, fields=None, headers=JSON):
        body = fields if isinstance(fields, str | None) else json.dumps(fields)
        response = sandbox.handle(method, f"/_sandbox{path}", headers, body)
        return Answer(response, json.loads(response.body))

    return call


def test_it_shows_the_time_faults_and_deliveries(api, sandbox, control, receiver):
    api.create()
    sandbox.inject(Fault("drop_after"))

    assert control("GET", "").json == {
        "now": 4_000_000_000.0,
        "faults": [{"kind": "drop_after", "times": 1}],
        "pending_deliveries": 1,
        "lost_deliveries": 0,
    }


def test_it_moves_the_clock_and_prunes_idempotency_keys(api, control):
    assert control("POST", "/clock", {"advance": DAY})["now"] == 4_000_086_400.0

    api.post(INTENTS, ORDER, Idempotency_Key="k")
    assert control("DELETE", "/idempotency_keys")["forgotten"] == 1


def test_it_injects_and_clears_faults(api, control):
    fault = {"kind": "error", "status": 503, "path": INTENTS, "times": None}

    assert control("POST", "/faults", fault)["faults"] == [fault]
    assert api.get(INTENTS).status == 503
    assert control("DELETE", "/faults")["faults"] == []

    assert api.get(INTENTS).status == 200


def test_it_moves_intents_and_refunds(api, control):
    waiting = api.confirm(api.create(), "pm_card_authenticationRequired")["id"]
    new, refund = api.create()["id"], api.refund(api.pay())["id"]

    for path, fields, expected in (
        (f"payment_intents/{waiting}/authentication", None, "succeeded"),
        (f"payment_intents/{new}", {"status": "canceled", "fields": {}}, "canceled"),
        (f"refunds/{refund}", {"status": "failed", "failure_reason": "declined"}, "failed"),
    ):
        moved = control("POST", f"/{path}", fields)
        assert moved["status"] == expected
        assert api.again(moved).json == moved.json
    assert moved["failure_reason"] == "declined"


def test_it_disputes_warns_reviews_and_rolls_a_secret(api, sandbox, control):
    endpoint = sandbox.add_webhook(URL, "whsec_old", deliver=Receiver())
    charge = api.pay()

    assert control("POST", f"/charges/{charge['id']}/fraud_warning")["actionable"] is True
    assert control("POST", f"/payment_intents/{charge['payment_intent']}/review")["open"] is True
    dispute = control("POST", f"/charges/{charge['id']}/dispute", {"reason": "duplicate"})
    inquiry = control("POST", f"/charges/{api.pay()['id']}/dispute", {"inquiry": True})
    rolled = {"secret": "whsec_new", "expires_in": 60}
    control("POST", f"/webhook_endpoints/{endpoint.id}/secret", rolled)

    dispute.assert_has(status="needs_response", reason="duplicate")
    inquiry.assert_has(status="warning_needs_response", reason="fraudulent")
    assert endpoint.secrets_at(4_000_000_059) == ["whsec_new", "whsec_old"]


INTENT = "/payment_intents/ID"


@pytest.mark.parametrize(
    ("method", "path", "fields", "status", "message"),
    [
        ("POST", "/faults", {"kind": "gremlin"}, 400, "the kinds are latency"),
        ("POST", "/faults", '{"kind": "latency", "seconds": NaN}', 400, "The body is not JSON"),
        ("POST", "/faults", [], 400, "The body is not a JSON object"),
        ("POST", "/clock", {"all": 1}, 400, "There is no field 'all' here"),
        ("GET", "/faults", None, 405, "takes POST or DELETE, not GET"),
        ("GET", "/gremlins", None, 404, "There is no /_sandbox/gremlins; there is /_sandbox, "),
        ("POST", "/clock", {}, 400, "The field 'advance' is missing"),
        ("POST", "/clock", {"advance": True}, 400, "advance is a number, not true"),
        ("POST", INTENT, {"status": "paid"}, 400, "no status 'paid'"),
        ("POST", INTENT, {"status": "x", "fields": {"status": "y"}}, 400, "Send it as 'status'"),
        ("POST", "/refunds/re_x", {"status": "failed"}, 404, "No such refund: 're_x'"),
    ],
)
def test_an_invalid_request_gets_an_explanation(
    api, control, method, path, fields, status, message
):
    path = path.replace("ID", api.create()["id"])

    control(method, path, fields).assert_refused(status, message)

    assert api.events_after() == ["payment_intent.created"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),  # a form
        ({**JSON, "Origin": "null"}, 403),
        ({**JSON, "Host": "localhost.example.com:12111"}, 403),
    ],
)
def test_other_origins_and_hosts_are_refused(sandbox, control, headers, status):
    answer = control("POST", "/faults", {"kind": "drop_after"}, headers)

    assert (answer.status, sandbox.faults) == (status, [])
    assert "access-control-allow-origin" not in answer.headers


def test_a_page_of_this_machine_may_use_it(sandbox, control):
    headers = {**JSON, "Origin": "http://127.0.0.1:8000", "Host": "localhost:12111"}

    preflight = sandbox.handle("OPTIONS", "/_sandbox/faults", headers)
    answer = control("POST", "/faults", {"kind": "drop_before"}, headers)

    for response in (preflight, answer.response):
        assert response.headers["access-control-allow-origin"] == "http://127.0.0.1:8000"
    assert control("DELETE", "/faults").status == 200  # no fault strikes the control route
    assert sandbox.requests == []
