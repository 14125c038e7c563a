"""The OpenAPI schema says what the API does; see also ``checked_answers`` in conftest.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest
import yaml
from django.urls import reverse

from shop_payments.sandbox import Sandbox
from shop_payments.sandbox.wire.messages import SandboxResponse
from tests.api.openapi import DOCUMENT
from tests.generated_docs import ROOT, write_openapi
from tests.support import answer

pytestmark = pytest.mark.django_db


def test_the_openapi_schema_matches_the_code(tmp_path):
    """If not: ``python -m tests.generated_docs`` writes it."""
    write_openapi(tmp_path / "openapi.yaml")
    assert yaml.safe_load((tmp_path / "openapi.yaml").read_text()) == DOCUMENT


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
