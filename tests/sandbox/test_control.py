"""The control route: levers over HTTP, and who may pull them."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from shop_payments.sandbox import Fault, Sandbox, SandboxServer
from tests.sandbox.support import DISPUTES, INTENTS, ORDER, REFUNDS, Answer, Api, Receiver

CONTROL = "/_sandbox"
JSON = {"Content-Type": "application/json"}


class Control:
    """Calls the control route without a socket."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def call(
        self, method: str, path: str, fields: Any = None, headers: dict[str, str] = JSON
    ) -> Answer:
        body = fields if isinstance(fields, str | None) else json.dumps(fields)
        response = self.sandbox.handle(method, f"{CONTROL}{path}", headers, body)
        return Answer(response, json.loads(response.body))


@pytest.fixture
def control(sandbox: Sandbox) -> Control:
    return Control(sandbox)


def test_it_tells_the_time_and_what_waits(api: Api, sandbox: Sandbox, control: Control) -> None:
    sandbox.add_webhook("http://127.0.0.1:9/", "whsec_x", deliver=Receiver())
    api.create()
    sandbox.inject(Fault("drop_after"))

    answer = control.call("GET", "")

    assert answer.json == {
        "now": 4_000_000_000.0,
        "faults": [{"kind": "drop_after", "times": 1}],
        "pending_deliveries": 1,
        "lost_deliveries": 0,
    }


def test_it_moves_the_clock(api: Api, control: Control) -> None:
    first = api.post(INTENTS, ORDER, Idempotency_Key="k")

    answer = control.call("POST", "/clock", {"advance": 24 * 60 * 60})

    assert (answer.status, answer["now"]) == (200, 4_000_086_400.0)
    assert api.post(INTENTS, ORDER, Idempotency_Key="k")["id"] != first["id"]


def test_it_injects_a_fault(api: Api, control: Control) -> None:
    fault = {"kind": "error", "status": 503, "path": INTENTS, "times": 1}

    answer = control.call("POST", "/faults", fault)

    assert (answer.status, answer["faults"]) == (200, [fault])
    assert [api.get(INTENTS).status for _ in range(2)] == [503, 200]


def test_it_clears_the_faults(api: Api, sandbox: Sandbox, control: Control) -> None:
    sandbox.inject(Fault("error", status=503, times=None))

    assert control.call("DELETE", "/faults")["faults"] == []

    assert api.get(INTENTS).status == 200


def test_it_prunes_idempotency_keys(api: Api, control: Control) -> None:
    first = api.post(INTENTS, ORDER, Idempotency_Key="k")

    assert control.call("DELETE", "/idempotency_keys")["forgotten"] == 1

    assert api.post(INTENTS, ORDER, Idempotency_Key="k")["id"] != first["id"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (None, "succeeded"),
        ({"succeed": True}, "succeeded"),
        ({"succeed": False}, "requires_payment_method"),
    ],
)
def test_it_passes_or_fails_an_authentication(
    api: Api, control: Control, fields: Any, status: str
) -> None:
    intent_id = api.create()["id"]
    api.confirm(intent_id, "pm_card_authenticationRequired")

    answer = control.call("POST", f"/payment_intents/{intent_id}/authentication", fields)

    assert (answer.status, answer["status"]) == (200, status)
    assert api.get(f"{INTENTS}/{intent_id}")["status"] == status


def test_it_moves_an_intent(api: Api, control: Control) -> None:
    intent_id = api.create()["id"]

    answer = control.call(
        "POST",
        f"/payment_intents/{intent_id}",
        {"status": "succeeded", "fields": {"amount_received": 1}},
    )

    assert (answer["status"], answer["amount_received"]) == ("succeeded", 1)


def test_it_moves_a_refund(api: Api, control: Control) -> None:
    refund = api.refund(api.pay())
    fields = {"status": "failed", "failure_reason": "declined"}

    answer = control.call("POST", f"/refunds/{refund['id']}", fields)

    assert (answer.status, answer["status"], answer["failure_reason"]) == (
        200,
        "failed",
        "declined",
    )
    assert api.get(f"{REFUNDS}/{refund['id']}").json == answer.json


@pytest.mark.parametrize(
    ("fields", "status", "reason"),
    [
        (None, "needs_response", "fraudulent"),
        ({"reason": "duplicate"}, "needs_response", "duplicate"),
        ({"inquiry": True}, "warning_needs_response", "fraudulent"),
    ],
)
def test_it_disputes_a_charge(
    api: Api, control: Control, fields: Any, status: str, reason: str
) -> None:
    charge = api.pay()

    answer = control.call("POST", f"/charges/{charge['id']}/dispute", fields)

    assert (answer.status, answer["status"], answer["reason"]) == (200, status, reason)
    assert api.get(f"{DISPUTES}/{answer['id']}").json == answer.json


@pytest.mark.parametrize(
    ("path", "fields", "status", "message"),
    [
        ("/refunds/re_x", {"status": "failed"}, 404, "No such refund: 're_x'"),
        ("/refunds/LAST", {"status": "pending"}, 400, "from succeeded to pending"),
        ("/refunds/LAST", {}, 400, "The field 'status' is missing."),
        ("/charges/ch_x/dispute", {}, 404, "No such charge: 'ch_x'"),
        ("/charges/CHARGE/dispute", {}, 400, "has been refunded"),
        ("/charges/CHARGE/dispute", {"amount": 1}, 400, "There is no field 'amount'"),
    ],
)
def test_what_the_levers_of_money_do_not_take(
    api: Api, control: Control, path: str, fields: Any, status: int, message: str
) -> None:
    charge = api.pay()
    refund = api.refund(charge)
    before = api.sandbox.events

    answer = control.call(
        "POST", path.replace("LAST", refund["id"]).replace("CHARGE", charge["id"]), fields
    )

    assert (answer.status, message in answer.error["message"]) == (status, True)
    assert api.sandbox.events == before


def test_it_rolls_a_secret(sandbox: Sandbox, control: Control) -> None:
    endpoint = sandbox.add_webhook("http://127.0.0.1:9/", "whsec_old", deliver=Receiver())

    given = control.call(
        "POST",
        f"/webhook_endpoints/{endpoint.id}/secret",
        {"secret": "whsec_new", "expires_in": 60},
    )
    made = control.call("POST", f"/webhook_endpoints/{endpoint.id}/secret")

    assert given["secret"] == "whsec_new"
    assert made["secret"].startswith("whsec_")
    assert endpoint.secrets_at(4_000_000_059) == [made["secret"], "whsec_old"]


@pytest.mark.parametrize(
    ("method", "path", "fields", "status", "message"),
    [
        ("POST", "/faults", {"kind": "gremlin"}, 400, "the kinds are latency"),
        ("POST", "/faults", None, 400, "A fault is an object with a kind"),
        ("POST", "/faults", "kind=drop_after", 400, "The body is not JSON"),
        ("POST", "/faults", "[" * 100_000, 400, "The body is not JSON"),
        ("POST", "/faults", '{"kind": "latency", "seconds": NaN}', 400, "The body is not JSON"),
        ("POST", "/clock", {}, 400, "The field 'advance' is missing"),
        ("POST", "/clock", {"advance": "1 h"}, 400, "advance is a number, not '1 h'"),
        ("POST", "/clock", {"advance": -1}, 400, "cannot go back by 1"),
        ("POST", "/faults", [], 400, "The body is not a JSON object"),
        ("DELETE", "/faults", {"all": True}, 400, "There is no field 'all' here; there is none"),
        ("POST", "/payment_intents/{id}", {}, 400, "The field 'status' is missing"),
        ("POST", "/payment_intents/{id}", {"status": 1}, 400, "status is a string, not 1"),
        ("POST", "/payment_intents/{id}", {"status": "paid"}, 400, "no status 'paid'"),
        (
            "POST",
            "/payment_intents/{id}",
            {"status": "succeeded", "fields": {"status": "x"}},
            400,
            "besides the status",
        ),
        (
            "POST",
            "/payment_intents/{id}",
            {"status": "succeeded", "fields": {"self": 1}},
            400,
            "A payment intent has no self",
        ),
        ("POST", "/faults", {"kind": "drop_after", "times": -1}, 400, "times is 1 or more"),
        ("POST", "/payment_intents/pi_x", {"status": "succeeded"}, 404, "No such payment_intent"),
        (
            "POST",
            "/payment_intents/{id}/authentication",
            {"succeed": "no"},
            400,
            "succeed is true or false, not 'no'",
        ),
        ("POST", "/payment_intents/{id}/authentication", {}, 400, "waits for no authentication"),
        ("POST", "/webhook_endpoints/we_x/secret", {}, 404, "No such webhook_endpoint"),
        (
            "POST",
            "/webhook_endpoints/we_x/secret",
            {"expires_in": True},
            400,
            "expires_in is a number, not True",
        ),
        ("POST", "/webhook_endpoints/we_x/secret", {"expires_in": -1}, 400, "expires_in is 0 to"),
        ("GET", "/faults", None, 405, "takes POST or DELETE, not GET"),
        ("GET", "/gremlins", None, 404, "There is no /_sandbox/gremlins; there is /_sandbox, "),
    ],
)
def test_it_says_what_is_wrong(
    api: Api, control: Control, method: str, path: str, fields: Any, status: int, message: str
) -> None:
    intent_id = api.create()["id"]

    answer = control.call(method, path.format(id=intent_id), fields)

    assert answer.status == status
    assert message in answer.error["message"]


def test_a_form_is_no_json(control: Control) -> None:
    answer = control.call("POST", "/faults", {"kind": "drop_after"}, headers={})

    assert (answer.status, control.sandbox.faults) == (400, [])


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.com"},
        {"Origin": "null"},
        {"Host": "example.com:12111"},
        {"Host": "localhost.example.com"},
    ],
)
def test_strangers_do_not_steer_it(control: Control, headers: dict[str, str]) -> None:
    answer = control.call("POST", "/faults", {"kind": "drop_after"}, {**JSON, **headers})

    assert (answer.status, control.sandbox.faults) == (403, [])
    assert "access-control-allow-origin" not in answer.headers


def test_a_page_of_this_machine_steers_it(sandbox: Sandbox, control: Control) -> None:
    headers = {**JSON, "Origin": "http://127.0.0.1:8000", "Host": "localhost:12111"}

    preflight = sandbox.handle("OPTIONS", f"{CONTROL}/faults", headers)
    answer = control.call("POST", "/faults", {"kind": "drop_after"}, headers)

    assert answer.status == 200
    for response in (preflight, answer.response):
        assert response.headers["access-control-allow-origin"] == "http://127.0.0.1:8000"


def test_it_is_no_request_to_stripe(sandbox: Sandbox, control: Control) -> None:
    sandbox.inject(Fault("drop_before", times=None))

    assert control.call("DELETE", "/faults").status == 200
    assert sandbox.requests == []


def test_it_is_there_over_a_socket(server: SandboxServer) -> None:
    request = urllib.request.Request(
        f"{server.url}{CONTROL}/faults", data=b'{"kind": "drop_after"}', headers=JSON
    )
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer) == {"faults": [{"kind": "drop_after", "times": 1}]}

    assert server.sandbox.faults == [Fault("drop_after")]
