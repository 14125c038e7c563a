"""Calls every route and writes down what it answers; see ``test_host_settings.py``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import time_machine

from shop_payments.models import APIKeyScope
from shop_payments.testing import StripeSandbox
from tests.conftest import issue_key
from tests.factories import OrderFactory, OrderLineFactory, TokenFactory, UserFactory
from tests.support import BASE, Caller, event_body, post_webhook, sign

pytestmark = pytest.mark.django_db

TO = "TRANSCRIPT"
"""The environment's variable that names the file."""


@time_machine.travel(datetime(2026, 11, 24, 10, tzinfo=UTC), tick=False)
def test_write_what_every_route_answers() -> None:
    with StripeSandbox(seed=1) as stripe:
        text = "\n".join(written(response) for response in every_response(stripe))
    Path(os.environ[TO]).write_text(text, encoding="utf-8")


LISTS = ("cursor=x", "page=2", "created_from=2026-11-24T10:00:00Z&payment_status=unpaid")


def every_response(stripe: StripeSandbox) -> Iterator[Any]:
    user = UserFactory(username="ada")
    order = OrderFactory(pk=41, number="Nº 1", customer=user)
    OrderLineFactory(order=order, name="Käse \u2028 <b>", unit_amount=10**12, quantity=3)
    OrderFactory(pk=42, number="N 2", customer=user, currency="kwd", lines=[{"unit_amount": 5120}])
    token = TokenFactory.create(user=user, key="a" * 40)
    customer = Caller(token=token.key, key=issue_key(APIKeyScope.STOREFRONT))
    machine = Caller(key=issue_key(APIKeyScope.PAYMENTS, APIKeyScope.REFUNDS))
    customer.headers["X-Request-ID"] = "one"  # pages show it
    one, two, key = "orders/41", "orders/42", {"Idempotency-Key": "a-key"}
    for accept in ("text/html", "application/json; indent=2", "*/*", "application/json"):
        customer.headers["Accept"] = accept
        yield from (customer.get(path) for path in ("", "orders", one))
    yield from (customer.get(f"orders?{query}") for query in ("format=json", *LISTS))
    yield customer.post(f"{one}/payment-intent", {})
    intent = customer.post(f"{two}/payment-intent")
    yield from (intent, machine.post(f"{two}/payment"))
    stripe.pay(intent.json()["data"])
    yield machine.post(f"{two}/payment")
    yield machine.post(f"{two}/refunds", {"amount": "1.000", "kind": "goods"}, **key)
    yield from (machine.get(f"{two}/refunds"), customer.get(two))
    # Errors.
    bodies: list[Any] = [[], "x", {"amount": 1.5}, {"amount": "9999"}, {"x": 1}, {"reason": "none"}]
    for body in bodies:
        yield machine.post(f"{two}/refunds", body, **key)
        yield customer.post(f"{one}/payment-intent", body)
    yield from (Caller().get("orders"), Caller().post(f"{two}/payment"), customer.get(f"{one}/x"))
    yield from (customer.get("orders/43"), customer.get(f"{two}/payment"), machine.get("orders"))
    send, headers = customer.client.generic, customer.headers
    yield send("POST", f"{BASE}/{one}/payment-intent", "{NaN", "application/json", headers=headers)
    yield customer.get("orders", Accept="application/xml")
    for path in ("", "orders", one, f"{one}/payment-intent"):
        yield send("OPTIONS", f"{BASE}/{path}", headers=headers)
    event = event_body({"object": "charge", "id": "ch_1"}, type="charge.succeeded", id="evt_1")
    yield from (post_webhook(event, sign(event)), post_webhook(event, "none"))


def written(response: Any) -> str:
    names = ("Content-Type", "Cache-Control", "Allow", "WWW-Authenticate", "Retry-After")
    head = [f"{name}: {response[name]}" for name in names if name in response]
    body = response.content.decode()
    body = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "a UUID", body)
    body = re.sub(r"\b\w{64}\b", "a CSRF token", body)
    request = response.request
    return "\n".join([f"{request['REQUEST_METHOD']} {request['PATH_INFO']}", *head, body, ""])
