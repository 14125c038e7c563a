"""The OpenAPI schema says what the API does; see also ``checked_answers`` in conftest.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.urls import reverse
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from shop_payments.api.errors import ERROR_TABLE, Route
from shop_payments.sandbox import Sandbox
from shop_payments.sandbox.wire.messages import SandboxResponse
from tests.api.openapi import DOCUMENT, OPERATIONS, check_body, route_of
from tests.generated_docs import ROOT, write_openapi
from tests.support import BASE, Caller, answer

pytestmark = pytest.mark.django_db


def test_the_openapi_schema_matches_the_code(tmp_path):
    """If not: ``python -m tests.generated_docs`` writes it."""
    write_openapi(tmp_path / "openapi.yaml")
    assert yaml.safe_load((tmp_path / "openapi.yaml").read_text()) == DOCUMENT


def parts_of(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object of the document."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            yield from parts_of(each)


def test_the_openapi_schema_is_valid():
    """OpenAPI's own schema says nothing of the schemas in it, which are JSON Schema."""
    assert DOCUMENT["openapi"] == "3.1.0"
    validate_schema(DOCUMENT)
    schemas = [part["schema"] for part in parts_of(DOCUMENT["paths"]) if "schema" in part]
    for schema in [*schemas, *DOCUMENT["components"]["schemas"].values()]:
        Draft202012Validator.check_schema(schema)
    for part in parts_of(DOCUMENT):
        if reference := part.get("$ref"):
            found = DOCUMENT
            for key in reference.removeprefix("#/").split("/"):
                found = found[key]


@pytest.mark.parametrize("route", OPERATIONS)
def test_each_error_of_a_route_has_an_example_in_its_form(route):
    operation = OPERATIONS[route]
    name = operation["operationId"].removeprefix("shop_").upper()
    documented = {row.code: row.status for row in ERROR_TABLE if Route[name] in row.routes}
    shown = {}
    for status, response in operation["responses"].items():
        content = response["content"]["application/json"]
        for example in content.get("examples", {}).values():
            check_body(route, status, example["value"])
            shown[example["value"]["code"]] = int(status)
    assert shown == documented


def test_the_examples_are_what_the_api_answers(storefront, payment_system, office, order, stripe):
    """Those that need no more than a request."""
    one = f"orders/{order.pk}"
    stranger = Caller(key="spk_00000000_x")
    responses = [
        Caller().get("orders"),
        storefront.get("orders?payment_stauts=paid"),
        storefront.get("orders", Accept="application/xml"),
        storefront.get("orders/0"),
        Caller().post(f"{one}/payment-intent"),
        stranger.post(f"{one}/payment-intent"),
        payment_system.post(f"{one}/payment-intent"),
        storefront.post(f"{one}/payment-intent", {"amount": "1.00"}),
        payment_system.post(f"{one}/payment"),
        storefront.post(f"{one}/payment"),
        office.post(f"{one}/refunds"),
        office.post(f"{one}/refunds", {"amount": 12.5}),
        office.client.post(
            f"{BASE}/{one}/refunds", b"{", "application/json", headers=office.headers
        ),
        Caller().client.post(
            f"{BASE}/webhooks/stripe", b"{}", "application/json", headers={"Stripe-Signature": ""}
        ),
    ]
    stripe.pay(storefront.payment_intent(order).json()["data"]["id"])
    payment_system.payment(order)
    responses.append(storefront.post(f"{one}/payment-intent"))
    for response in responses:
        body, status = response.json(), str(response.status_code)
        content = OPERATIONS[route_of(response.request)]["responses"][status]["content"]
        examples = content["application/json"]["examples"].values()
        (example,) = (each["value"] for each in examples if each["value"]["code"] == body["code"])
        assert body == example


def test_a_fault_of_the_shop_and_another_request_are_documented_on_their_routes(
    storefront, payment_system, order, stripe, configure
):
    storefront.payment_intent(order)
    configure(STRIPE_TRANSPORT=Sandbox(secret_keys=["sk_test_other"]).handle)
    assert answer(payment_system.payment(order)) == (502, "gateway_error")
    in_use = {"error": {"type": "idempotency_error", "code": "idempotency_key_in_use"}}
    busy = SandboxResponse(409, {"request-id": "req_1"}, json.dumps(in_use).encode())
    configure(STRIPE_TRANSPORT=lambda *request: busy)
    order.lines.update(quantity=3)
    response = storefront.payment_intent(order)
    assert answer(response) == (409, "payment_intent_in_progress")
    assert response.json()["data"] == {"stripe_request_id": "req_1"}
    configure(ORDER_ADAPTER="nowhere.Adapter")
    for path in ("orders", "orders/1"):
        assert answer(storefront.get(path)) == (503, "not_configured")


def test_the_demo_serves_the_schema_and_a_page_that_needs_no_internet(client):
    response = client.get(reverse("schema"))
    page = client.get(reverse("docs")).content.decode()
    assert yaml.safe_load(response.content)["info"] == DOCUMENT["info"]
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
    command = [sys.executable, "-W", "error", "-c", WITHOUT_IT]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "[200, 404, 404]", run.stderr
