"""The OpenAPI schema says what the API does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.cache import cache
from django.core.management import call_command
from django.urls import reverse
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from shop_payments.api.errors import ERROR_TABLE
from shop_payments.conf import DEFAULT_THROTTLE_RATES
from shop_payments.models import APIKey, APIKeyScope, Order
from shop_payments.sandbox import Fault, Sandbox
from shop_payments.sandbox.wire.messages import SandboxResponse
from shop_payments.secrecy import Secret
from tests.after_paid.support import AccountingOffice
from tests.conftest import issue_key
from tests.factories import OrderFactory
from tests.support import (
    BASE,
    Caller,
    call_stripe,
    event_body,
    pay,
    post_webhook,
    send_event,
    sign,
)

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[2]
DOCUMENT = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
OPERATIONS: dict[str, Any] = {
    f"{method.upper()} {path.removeprefix(BASE).strip('/')}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
POST_INTENT = "POST orders/{order_id}/payment-intent"
POST_PAYMENT = "POST orders/{order_id}/payment"
GET_REFUNDS = "GET orders/{order_id}/refunds"
POST_REFUND = "POST orders/{order_id}/refunds"
POST_WEBHOOK = "POST webhooks/stripe"


def test_the_openapi_schema_matches_the_code(tmp_path):
    """If not: `manage.py spectacular --file docs/openapi.yaml --validate --fail-on-warn`."""
    found = tmp_path / "openapi.yaml"
    call_command("spectacular", file=str(found), validate=True, fail_on_warn=True)

    assert yaml.safe_load(found.read_text()) == DOCUMENT


# --- what it says -------------------------------------------------------------------------------


def test_every_route_is_described():
    assert sorted(OPERATIONS) == [
        "GET ",
        "GET orders",
        "GET orders/{order_id}",
        GET_REFUNDS,
        POST_PAYMENT,
        POST_INTENT,
        POST_REFUND,
        POST_WEBHOOK,
    ]
    assert all(operation["description"] for operation in OPERATIONS.values())


@pytest.mark.parametrize(
    ("route", "security"),
    [
        ("GET orders", [{"bearerToken": []}, {"staffSession": []}]),
        ("GET orders/{order_id}", [{"bearerToken": []}, {"staffSession": []}]),
        (POST_INTENT, [{"bearerToken": [], "apiKey": []}, {"staffSession": []}]),
        (POST_PAYMENT, [{"apiKey": []}, {"staffSession": []}]),
        (GET_REFUNDS, [{"apiKey": []}, {"staffSession": []}]),
        (POST_REFUND, [{"apiKey": []}, {"staffSession": []}]),
        (POST_WEBHOOK, None),
        ("GET ", None),
    ],
)
def test_each_route_says_who_may_call(route, security):
    assert OPERATIONS[route].get("security") == security


def test_the_key_and_the_token_are_headers():
    schemes = DOCUMENT["components"]["securitySchemes"]

    assert (schemes["apiKey"]["in"], schemes["apiKey"]["name"]) == ("header", "X-API-Key")
    assert (schemes["bearerToken"]["type"], schemes["bearerToken"]["scheme"]) == ("http", "bearer")


def documented_codes() -> dict[str, set[int]]:
    codes: dict[str, set[int]] = {}
    for operation in OPERATIONS.values():
        for status, response in operation["responses"].items():
            for code in re.findall(r"^- `(\w+)`:", response["description"], re.MULTILINE):
                codes.setdefault(code, set()).add(int(status))
    return codes


def test_every_component_bears_the_apps_prefix():
    """A host's own components, made into the same document, may have any other name."""
    names = DOCUMENT["components"]["schemas"]

    assert [name for name in names if not name.startswith("Shop")] == []


def test_every_code_of_the_error_table_is_some_routes():
    # What is about no route at all: a path that does not exist, a method that a route lacks.
    expected = {row.code for row in ERROR_TABLE} - {"not_found", "method_not_allowed"}

    assert set(documented_codes()) == expected


def test_every_code_stands_under_its_status():
    status_of = {row.code: {row.status} for row in ERROR_TABLE}

    assert all(status_of[code] == statuses for code, statuses in documented_codes().items())


# --- what the API does --------------------------------------------------------------------------


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The component, refusing what it does not name."""
    return {"additionalProperties": False, **schema}


COMPONENTS = {
    "schemas": {name: closed(schema) for name, schema in DOCUMENT["components"]["schemas"].items()}
}


def route_of(request: Any) -> str:
    path = request["PATH_INFO"].removeprefix(BASE).strip("/")
    parts = path.split("/")
    if parts[0] == "orders" and len(parts) > 1:
        parts[1] = "{order_id}"
    return f"{request['REQUEST_METHOD']} {'/'.join(parts)}"


def fits(response: Any) -> tuple[int, str]:
    """Hold an answer against the schema; return its status and code."""
    documented = OPERATIONS[route_of(response.request)]["responses"][str(response.status_code)]
    schema = documented["content"][response["Content-Type"]]["schema"]
    Draft202012Validator({**schema, "components": COMPONENTS}).validate(response.json())
    headers = {"WWW-Authenticate", "Retry-After"} & set(response.headers)
    assert headers <= set(documented.get("headers", {}))
    return response.status_code, response.json().get("code", "")


def test_the_validation_has_teeth(order, storefront):
    """An answer with anything that is not documented is refused."""
    response = storefront.get(f"orders/{order.pk}")
    response.json()["data"]["client_secret"] = "pi_1_secret_2"

    with pytest.raises(Exception, match="client_secret"):
        fits(response)


def test_answers_about_orders(storefront, order, stripe, webhooks, configure):
    """Orders without an intent, with one, paid, and such as cannot be paid."""
    for unit_amount in (100, 200, 5123):
        OrderFactory.create(customer=order.customer, lines=[{"unit_amount": unit_amount}])
    Order.objects.filter(lines__unit_amount=5123).update(currency="kwd")
    storefront.payment_intent(order)
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    webhooks()
    configure(PAGE_SIZE=3)

    pages = [storefront.get("orders"), storefront.get("orders?page=2")]
    single = [storefront.get(f"orders/{each.pk}") for each in Order.objects.all()]

    assert {fits(response) for response in [*pages, *single]} == {(200, "")}
    assert fits(storefront.get("orders?page=0")) == (400, "invalid_request")
    assert fits(storefront.get("orders/0")) == (404, "order_not_found")
    assert fits(storefront.get("")) == (200, "")


@pytest.mark.parametrize("path", ["", "orders", "orders/1"])
def test_answers_to_strangers_who_read(path, order):
    assert fits(Caller(token="wrong").get(path)) == (401, "invalid_token")
    if path:
        assert fits(Caller().get(path)) == (401, "not_authenticated")


def test_answers_to_callers_that_want_something_else(storefront, payment_system, order):
    answers = [
        storefront.get("orders", Accept="text/csv"),
        storefront.get(f"orders/{order.pk}", Accept="text/csv"),
        storefront.get("", Accept="text/csv"),
        storefront.post(f"orders/{order.pk}/payment-intent", Accept="text/csv"),
        payment_system.post(f"orders/{order.pk}/payment", Accept="text/csv"),
    ]

    assert {fits(response) for response in answers} == {(406, "not_acceptable")}


@pytest.mark.parametrize(
    ("action", "scope"), [("payment-intent", "payments"), ("payment", "storefront")]
)
def test_answers_to_strangers_who_write(action, scope, order, storefront):
    path, token = f"orders/{order.pk}/{action}", storefront.headers["Authorization"][7:]
    revoked = issue_key(APIKeyScope.STOREFRONT, APIKeyScope.PAYMENTS)
    APIKey.objects.find_by_secret(Secret(revoked)).revoke()  # type: ignore[union-attr]

    assert fits(Caller(token=token).post(path)) == (401, "api_key_missing")
    assert fits(Caller(token=token, key="wrong").post(path)) == (401, "api_key_invalid")
    assert fits(Caller(token=token, key=revoked).post(path)) == (401, "api_key_invalid")
    wrong = Caller(token=token, key=issue_key(APIKeyScope(scope)))
    assert fits(wrong.post(path)) == (403, "insufficient_scope")


@pytest.mark.parametrize("action", ["payment-intent", "payment"])
def test_answers_to_staff_without_a_csrf_token(action, order, admin_user):
    caller = Caller()
    caller.client.handler.enforce_csrf_checks = True
    caller.client.force_login(admin_user)

    assert fits(caller.post(f"orders/{order.pk}/{action}")) == (403, "permission_denied")


def test_answers_to_customers_nobody_knows(order, storefront):
    key = storefront.headers["X-API-Key"]

    assert fits(Caller(key=key).payment_intent(order)) == (401, "not_authenticated")
    assert fits(Caller(key=key, token="x").payment_intent(order)) == (401, "invalid_token")
    assert fits(storefront.payment_intent(0)) == (404, "order_not_found")


def test_answers_to_callers_that_come_too_often(storefront, payment_system, order, configure):
    cache.clear()
    configure(THROTTLE_RATES=dict.fromkeys(DEFAULT_THROTTLE_RATES, "1/day"))
    calls: list[Callable[[], Any]] = [
        lambda: storefront.payment_intent(0),
        lambda: payment_system.payment(0),
        lambda: storefront.get("orders"),
        lambda: storefront.get("orders/0"),
    ]

    answers = [call() for call in calls * 2]
    strangers = [Caller(token="wrong").get("") for _ in range(2)]

    cache.clear()
    assert {fits(each) for each in answers[4:]} == {(429, "throttled")}
    assert [fits(each)[0] for each in strangers] == [401, 429]


@pytest.mark.parametrize("action", ["payment-intent", "payment"])
def test_answers_to_bodies_that_are_not_empty(action, order, storefront, payment_system):
    caller = storefront if action == "payment-intent" else payment_system
    url = f"{BASE}/orders/{order.pk}/{action}"

    def post(body: str, content_type: str = "application/json") -> Any:
        return caller.client.post(url, body, content_type=content_type, headers=caller.headers)

    assert fits(post("{")) == (400, "parse_error")
    assert fits(post('{"amount": 1}')) == (400, "invalid_request")
    assert fits(post("[1]")) == (400, "invalid_request")
    assert fits(post("<a/>", "application/xml")) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("unit_amount", "currency", "code"),
    [
        (5123, "kwd", "amount_not_representable"),
        (1, "usd", "amount_too_small"),
        (99_999_999, "usd", "amount_too_large"),
    ],
)
def test_answers_to_amounts_that_do_not_go(storefront, order, stripe, unit_amount, currency, code):
    Order.objects.update(currency=currency)
    order.lines.update(unit_amount=unit_amount)

    assert fits(storefront.payment_intent(order)) == (422, code)


@pytest.mark.parametrize(
    ("status", "code"),
    [("processing", "payment_processing"), ("requires_capture", "payment_authorized")],
)
def test_answers_while_a_payment_is_on_its_way(
    storefront, payment_system, order, stripe, status, code
):
    created = storefront.payment_intent(order)
    stripe.advance(created.json()["data"]["id"], status)

    assert fits(created) == (200, "")
    assert fits(storefront.payment_intent(order)) == (409, code)
    assert fits(payment_system.payment(order)) == (409, "payment_not_completed")


def test_answers_about_a_paid_order(storefront, payment_system, order, stripe):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

    assert fits(payment_system.payment(order)) == (200, "")
    assert fits(storefront.payment_intent(order)) == (409, "order_already_paid")


def test_answers_about_an_order_in_review(storefront, payment_system, order, stripe):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    call_stripe(stripe, "POST", f"payment_intents/{intent_id}", currency="eur")
    pay(stripe, intent_id)

    assert fits(payment_system.payment(order)) == (409, "payment_mismatch")
    assert fits(storefront.payment_intent(order)) == (409, "payment_in_review")
    assert fits(storefront.get(f"orders/{order.pk}")) == (200, "")


def test_answers_about_an_order_that_is_paid_in_part(
    storefront, payment_system, order, stripe, configure
):
    configure(ORDER_ADAPTER="tests.api.adapters.Deposit")
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])

    assert fits(payment_system.payment(order)) == (409, "payment_not_completed")
    assert fits(storefront.payment_intent(order)) == (200, "")
    assert fits(payment_system.payment(order)) == (409, "payment_not_completed")
    assert fits(storefront.get(f"orders/{order.pk}")) == (200, "")


def reason_of(response: Any) -> str:
    reason: str = response.json()["data"]["reason"]
    return reason


def test_answers_that_say_why_an_order_is_not_payable(
    storefront, payment_system, order, stripe, webhooks
):
    order.lines.update(unit_amount=0)
    free = storefront.payment_intent(order)
    order.lines.update(unit_amount=5600)
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    pay(stripe, intent_id)
    webhooks()
    Order.objects.update(currency="eur")
    changed = storefront.payment_intent(order)
    unreadable = payment_system.payment(order)
    Order.objects.update(currency="usd")
    call_stripe(stripe, "POST", "refunds", payment_intent=intent_id)
    webhooks()
    refunded = storefront.payment_intent(order)

    answers = {"free": free, "currency_changed": changed, "refunded": refunded}
    for reason, response in answers.items():
        assert fits(response) == (409, "order_not_payable")
        assert reason_of(response) == reason
    assert fits(unreadable) == (503, "order_unreadable")


def test_answers_while_money_is_on_its_way_out(storefront, order, stripe, webhooks):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    call_stripe(stripe, "POST", f"payment_intents/{intent_id}", amount="9000")
    pay(stripe, intent_id)
    webhooks()
    stripe.dispute(intent_id)

    response = storefront.payment_intent(order)

    assert fits(response) == (409, "payment_in_review")
    assert reason_of(response) == "dispute_open"


@pytest.mark.parametrize(
    ("adapter", "call_3"),
    [("RaisesForTotal", (503, "order_unreadable")), ("RaisesForLineItems", (200, ""))],
)
def test_answers_about_an_order_that_cannot_be_read(
    storefront, payment_system, order, stripe, configure, adapter, call_3
):
    created = storefront.payment_intent(order)
    pay(stripe, created.json()["data"]["id"])
    Order.objects.update(number="BROKEN-1")
    configure(ORDER_ADAPTER=f"tests.api.adapters.{adapter}")

    asked = storefront.payment_intent(order)
    settled = payment_system.payment(order)

    assert fits(asked) == (503, "order_unreadable")
    assert fits(settled) == call_3
    assert fits(storefront.get("orders")) == (200, "")
    assert fits(storefront.get(f"orders/{order.pk}")) == (200, "")


@pytest.fixture
def two_payments(storefront, order, stripe, webhooks, configure) -> list[str]:
    """The intents of a deposit of 90.00 and of the rest."""
    configure(ORDER_ADAPTER="tests.api.adapters.Deposit")
    intents = []
    for _ in range(2):
        intents.append(storefront.payment_intent(order).json()["data"]["id"])
        pay(stripe, intents[-1])
        webhooks()
    return intents


@pytest.fixture
def office(db) -> AccountingOffice:
    return AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))


def test_answers_about_refunds_of_one_payment_and_of_two(office, order, two_payments):
    one = office.refund(order, {"amount": "1.00", "kind": "goods"})
    two = office.refund(order, {"amount": "30.00", "kind": "correction"})
    wrong = office.refund(order, {"amount": "1.00", "kind": "other"})

    assert [fits(each) for each in (one, two)] == [(200, ""), (200, "")]
    assert ["parts" in each.json()["data"] for each in (one, two)] == [False, True]
    assert fits(wrong) == (400, "invalid_request")
    assert fits(office.get(f"orders/{order.pk}/refunds")) == (200, "")


@pytest.mark.parametrize(("amount", "parts"), [("90.00", 2), ("22.00", 1)])
def test_answers_about_refunds_that_stripe_refuses(
    office, order, two_payments, stripe, amount, parts
):
    """Staff have given the money back in the dashboard, and no webhook has said so."""
    stripe.disconnect_webhooks()
    for intent_id in two_payments:
        call_stripe(stripe, "POST", "refunds", payment_intent=intent_id)

    office.refund(order, {"amount": amount}, key="a")
    again = office.refund(order, {"amount": amount}, key="a")

    assert fits(again) == (409, "refund_refused")
    assert len(again.json()["data"].get("parts", [again])) == parts


def test_answers_about_an_order_that_nobody_wants_paid(storefront, payment_system, order):
    Order.objects.update(status=Order.Status.CANCELLED)

    assert fits(storefront.payment_intent(order)) == (409, "order_not_payable")
    assert fits(payment_system.payment(order)) == (404, "payment_intent_missing")
    assert fits(payment_system.payment(0)) == (404, "order_not_found")


def test_answers_while_stripe_is_in_trouble(storefront, payment_system, order, stripe, configure):
    storefront.payment_intent(order)
    stripe.inject(Fault("drop_before", method="GET", times=2))
    away = [storefront.payment_intent(order), payment_system.payment(order)]
    stripe.inject(Fault("error", method="GET", status=429, times=2))
    busy = [storefront.payment_intent(order), payment_system.payment(order)]
    configure(STRIPE_TRANSPORT=Sandbox(secret_keys=["sk_test_other"]).handle)
    refused = [storefront.payment_intent(order), payment_system.payment(order)]
    configure(STRIPE_SECRET_KEY="")
    unset = [storefront.payment_intent(order), payment_system.payment(order)]

    assert {fits(response) for response in away + busy} == {(503, "gateway_unavailable")}
    assert {fits(response) for response in refused} == {(502, "gateway_error")}
    assert {fits(response) for response in unset} == {(503, "not_configured")}


KEY_IN_USE = {"error": {"type": "idempotency_error", "code": "idempotency_key_in_use"}}


def test_the_answer_while_another_request_is_at_stripe(storefront, order, configure):
    in_use = SandboxResponse(409, {"request-id": "req_1"}, json.dumps(KEY_IN_USE).encode())
    configure(STRIPE_TRANSPORT=lambda *request: in_use)

    response = storefront.payment_intent(order)

    assert fits(response) == (409, "payment_intent_in_progress")
    assert response.json()["data"] == {"stripe_request_id": "req_1"}


def test_answers_to_stripe(storefront, order, stripe, configure):
    intent = pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    body = event_body(intent)
    no_event = b"[]"

    assert fits(post_webhook(body, "t=1,v1=0")) == (400, "invalid_signature")
    assert fits(post_webhook(no_event, sign(no_event))) == (400, "invalid_payload")
    stripe.inject(Fault("drop_before", method="GET"))
    assert fits(send_event({**intent, "status": "processing"})) == (503, "event_failed")
    assert fits(post_webhook(body, sign(body))) == (200, "")
    configure(WEBHOOK_MAX_BYTES=100)
    assert fits(post_webhook(body, sign(body))) == (413, "payload_too_large")
    configure(WEBHOOK_MAX_BYTES=10_000, STRIPE_WEBHOOK_SECRETS=[])
    assert fits(post_webhook(body, sign(body))) == (503, "not_configured")


def test_a_wrong_adapter_is_the_shops_fault(storefront, order, configure):
    configure(ORDER_ADAPTER="nowhere.Adapter")

    answers = [storefront.get("orders"), storefront.get("orders/1")]

    assert {fits(response) for response in answers} == {(503, "not_configured")}


# --- where it is served -------------------------------------------------------------------------


def test_the_demo_serves_the_schema(client):
    response = client.get(reverse("schema"))

    assert response.status_code == 200
    assert yaml.safe_load(response.content)["info"] == DOCUMENT["info"]


def test_the_demos_page_needs_no_internet(client):
    page = client.get(reverse("docs")).content.decode()

    assert "/static/drf_spectacular_sidecar/swagger-ui-dist/swagger-ui-bundle.js" in page
    assert not re.search(r"(src|href)=\"(https?:)?//", page)


WITHOUT_IT = """
import sys
sys.modules["drf_spectacular"] = None  # as if the extra `docs` were not installed
import django
django.setup()
from django.test import Client
answers = [Client().get(path) for path in ("/api/v1/shop/", "/api/schema/", "/api/docs/")]
print([answer.status_code for answer in answers])
"""


def test_the_api_works_without_drf_spectacular():
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_IT],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert run.stdout.strip() == "[200, 404, 404]", run.stderr
