"""The OpenAPI schema says what the API does; see also ``documented_answers`` in conftest.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml
from django.urls import reverse

from shop_payments.api.errors import ERROR_TABLE, Route
from shop_payments.models import APIKeyScope
from shop_payments.sandbox import Sandbox
from shop_payments.sandbox.wire.messages import SandboxResponse
from tests.after_paid.support import AccountingOffice
from tests.api.openapi import DOCUMENT, OPERATIONS, check_answer
from tests.conftest import issue_key
from tests.generated_docs import ROOT, write_openapi
from tests.support import answer, call_stripe, pay

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def host_authentication() -> None:
    """Run once instead of for each authentication of the host: no test here is about callers."""


POST_INTENT = "POST orders/{order_id}/payment-intent"
POST_PAYMENT = "POST orders/{order_id}/payment"
GET_REFUNDS = "GET orders/{order_id}/refunds"
POST_REFUND = "POST orders/{order_id}/refunds"
POST_WEBHOOK = "POST webhooks/stripe"


def test_the_openapi_schema_matches_the_code(tmp_path):
    """If not: ``python -m tests.generated_docs`` writes it."""
    write_openapi(tmp_path / "openapi.yaml")

    assert yaml.safe_load((tmp_path / "openapi.yaml").read_text()) == DOCUMENT


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


def test_every_component_bears_the_apps_prefix():
    """A host's own components, made into the same document, may have any other name."""
    names = DOCUMENT["components"]["schemas"]

    assert [name for name in names if not name.startswith("Shop")] == []


def test_every_code_belongs_to_a_route():
    # These are about no route: a path that does not exist, a method that a route lacks.
    without = [row.code for row in ERROR_TABLE if row.routes is Route.NONE]

    assert without == ["not_found", "method_not_allowed"]


def test_every_code_and_every_exception_has_one_row():
    codes = [row.code for row in ERROR_TABLE]
    exceptions = [each for row in ERROR_TABLE for each in (row.exception, *row.also)]

    assert len(codes) == len(set(codes))
    assert len(exceptions) == len(set(exceptions))


# --- what the API does --------------------------------------------------------------------------


def changed(response: Any, **values: Any) -> Any:
    """The answer with other values in its body."""
    response.json = lambda: {**json.loads(response.content), **values}
    return response


def test_an_answer_that_is_not_documented_is_found(order, storefront):
    shown = storefront.get(f"orders/{order.pk}")
    data = {**shown.json()["data"], "client_secret": "pi_1_secret_2"}
    with pytest.raises(Exception, match="client_secret"):
        check_answer(changed(shown, data=data))

    refused = storefront.get("orders/0")
    with pytest.raises(Exception, match="payment_intent_missing"):
        check_answer(changed(refused, code="payment_intent_missing"))

    refused.status_code = 409
    with pytest.raises(AssertionError, match="does not document 409"):
        check_answer(refused)


@pytest.mark.parametrize("path", ["", "orders", "orders/1"])
def test_reading_in_another_format(path, storefront):
    response = storefront.get(path, Accept="text/csv")

    assert answer(response) == (406, "not_acceptable")


@pytest.mark.parametrize("action", ["payment-intent", "payment"])
def test_writing_in_another_format(action, order, storefront, payment_system):
    caller = storefront if action == "payment-intent" else payment_system
    path = f"orders/{order.pk}/{action}"

    assert answer(caller.post(path, Accept="text/csv")) == (406, "not_acceptable")
    caller.headers["Content-Type"] = "application/xml"
    assert answer(caller.post(path, {})) == (415, "unsupported_media_type")
    caller.headers["Content-Type"] = "application/json"
    assert answer(caller.post(path, {"amount": 1})) == (400, "invalid_request")


def test_settling_while_stripe_refuses_the_key(
    storefront, payment_system, order, stripe, configure
):
    storefront.payment_intent(order)
    configure(STRIPE_TRANSPORT=Sandbox(secret_keys=["sk_test_other"]).handle)

    assert answer(payment_system.payment(order)) == (502, "gateway_error")


KEY_IN_USE = {"error": {"type": "idempotency_error", "code": "idempotency_key_in_use"}}


def test_the_answer_while_another_request_is_at_stripe(storefront, order, configure):
    in_use = SandboxResponse(409, {"request-id": "req_1"}, json.dumps(KEY_IN_USE).encode())
    configure(STRIPE_TRANSPORT=lambda *request: in_use)

    response = storefront.payment_intent(order)

    assert answer(response) == (409, "payment_intent_in_progress")
    assert response.json()["data"] == {"stripe_request_id": "req_1"}


@pytest.mark.parametrize(("amount", "parts"), [("90.00", 2), ("22.00", 1)])
def test_a_refund_that_stripe_refuses(
    order, storefront, stripe, webhooks, configure, amount, parts
):
    """Staff have refunded a deposit and the rest in the dashboard, and no webhook came."""
    configure(ORDER_ADAPTER="tests.api.adapters.Deposit")
    office = AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))
    intents = []
    for _ in range(2):
        intents.append(storefront.payment_intent(order).json()["data"]["id"])
        pay(stripe, intents[-1])
        webhooks()
    stripe.disconnect_webhooks()
    for intent_id in intents:
        call_stripe(stripe, "POST", "refunds", payment_intent=intent_id)

    office.refund(order, {"amount": amount}, key="a")
    again = office.refund(order, {"amount": amount}, key="a")

    assert answer(again) == (409, "refund_refused")
    assert len(again.json()["data"].get("parts", [again])) == parts


def test_a_wrong_adapter_is_the_shops_fault(storefront, configure):
    configure(ORDER_ADAPTER="nowhere.Adapter")

    for path in ("orders", "orders/1"):
        assert answer(storefront.get(path)) == (503, "not_configured")


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
