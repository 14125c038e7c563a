"""Answers of Stripe's and settings that are not as they should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from shop_payments.sandbox import Sandbox, SandboxResponse
from tests.canary.detector import STRIPE_KEY, WEBHOOK_SECRETS


class Mangler:
    """Stripe, whose next answer is not what it should be."""

    def __init__(self, stripe: Sandbox, mangle: Callable[[dict[str, Any]], Any]) -> None:
        self._stripe, self._mangle, self._armed = stripe, mangle, False

    def arm(self) -> None:
        self._armed = True

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> SandboxResponse:
        answer = self._stripe.handle(method, url, headers, body)
        if not self._armed:
            return answer
        self._armed = False
        mangled = self._mangle(json.loads(answer.body))
        status, content = mangled if isinstance(mangled, tuple) else (answer.status, mangled)
        text = content if isinstance(content, str) else json.dumps(content)
        spilled = json.loads(answer.body).get("client_secret", "")
        return SandboxResponse(status, {**answer.headers, "request-id": spilled}, text.encode())


def spill(values: dict[str, Any]) -> str:
    """What a proxy or a careless Stripe could say: every secret there is."""
    return f"{values.get('client_secret')} {STRIPE_KEY} {' '.join(WEBHOOK_SECRETS)}"


def nested(values: dict[str, Any], *, depth: int) -> dict[str, Any]:
    for _level in range(depth):
        values = {"in": values}
    return values


def refusal(status: int, type_: str, **more: str) -> Callable[[dict[str, Any]], Any]:
    def mangle(values: dict[str, Any]) -> Any:
        error = {"type": type_, "message": spill(values), "payment_intent": values, **more}
        return status, {"error": {**error, "param": spill(values), "charge": spill(values)}}

    return mangle


MANGLED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "half": lambda values: json.dumps(values)[: json.dumps(values).find("_secret_") + 25],
    "a page": lambda values: (200, f"<html>{spill(values)}</html>"),
    "a proxy's page": lambda values: (502, f"<html>{spill(values)}</html>"),
    "a list": lambda values: [values],
    "a text": lambda values: json.dumps(spill(values)),
    "an error that is a text": lambda values: (400, {"error": spill(values)}),
    "another object": lambda values: {**values, "object": spill(values)},
    "no id": lambda values: {**values, "id": None},
    "a secret as id": lambda values: {**values, "id": values.get("client_secret")},
    "a secret as status": lambda values: {**values, "status": values.get("client_secret")},
    "a secret as amount": lambda values: {**values, "amount": spill(values)},
    "a secret as currency": lambda values: {**values, "currency": spill(values)},
    "a secret as time": lambda values: {**values, "created": spill(values)},
    "a secret in a secret": lambda values: {**values, "client_secret": {"a": spill(values)}},
    "secrets everywhere": lambda values: {
        **values,
        "metadata": {**values.get("metadata", {}), "x": spill(values), spill(values)[:60]: "y"},
        "description": spill(values),
        "payment_method": spill(values),
        "latest_charge": {"id": spill(values)},
        "cancellation_reason": spill(values),
        "last_payment_error": {
            name: spill(values) for name in ("code", "decline_code", "message", "charge", "type")
        },
    },
    "a deep object": lambda values: {**values, "review": nested(values, depth=400)},
    "a declined card": refusal(402, "card_error", code="card_declined"),
    "a bad request": refusal(400, "invalid_request_error", code="parameter_unknown"),
    "a secret as code": lambda values: refusal(400, "invalid_request_error", code=spill(values))(
        values
    ),
    "an unexpected state": refusal(
        400, "invalid_request_error", code="payment_intent_unexpected_state"
    ),
    "a missing object": refusal(404, "invalid_request_error", code="resource_missing"),
    "a bad key": refusal(401, "invalid_request_error"),
    "no permission": refusal(403, "invalid_request_error"),
    "a conflict": refusal(409, "idempotency_error"),
    "a key in use": refusal(409, "invalid_request_error", code="idempotency_key_in_use"),
    "too many": refusal(429, "invalid_request_error", code="rate_limit"),
    "an outage": refusal(500, "api_error"),
}


BAD_SETTINGS: dict[str, dict[str, Any]] = {
    "a line's end": {"STRIPE_SECRET_KEY": f"{STRIPE_KEY}\n"},
    "no secret key": {"STRIPE_SECRET_KEY": STRIPE_KEY.removeprefix("sk_test_")},
    "swapped": {"STRIPE_SECRET_KEY": WEBHOOK_SECRETS[0], "STRIPE_WEBHOOK_SECRETS": [STRIPE_KEY]},
    "a list of keys": {"STRIPE_SECRET_KEY": [STRIPE_KEY]},
    "a dict of secrets": {"STRIPE_WEBHOOK_SECRETS": {"new": WEBHOOK_SECRETS[1]}},
    "bytes": {"STRIPE_SECRET_KEY": STRIPE_KEY.encode()},
    "in the address": {"STRIPE_API_BASE": f"https://{STRIPE_KEY}@127.0.0.1:9"},
    "in somebody's address": {"STRIPE_API_BASE": f"https://{STRIPE_KEY}@stripe.example"},
}
