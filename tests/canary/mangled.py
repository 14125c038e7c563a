"""Answers of Stripe's and settings that are not as they should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from shop_payments.sandbox import Sandbox, SandboxResponse
from tests.canary.detector import STRIPE_KEY, WEBHOOK_SECRETS

Mangle = Callable[[dict[str, Any]], Any]


class Mangler:
    """Stripe, whose next answer is not what it should be."""

    def __init__(self, stripe: Sandbox, mangle: Mangle) -> None:
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


def refusal(status: int, type_: str, code: str = "") -> Mangle:
    def mangle(values: dict[str, Any]) -> Any:
        error = {"type": type_, "code": code or spill(values), "message": spill(values)}
        more = {"payment_intent": values, "param": spill(values), "charge": spill(values)}
        return status, {"error": {**error, **more}}

    return mangle


MANGLED: dict[str, Mangle] = {
    "half": lambda values: json.dumps(values)[: json.dumps(values).find("_secret_") + 25],
    "a proxy's page": lambda values: (502, f"<html>{spill(values)}</html>"),
    "a text": lambda values: json.dumps(spill(values)),
    "another object": lambda values: {**values, "object": spill(values)},
    "a secret as id": lambda values: {**values, "id": values.get("client_secret")},
    "a secret as amount": lambda values: {**values, "amount": spill(values)},
    "a secret as currency": lambda values: {**values, "currency": spill(values)},
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
    "a declined card": refusal(402, "card_error", "card_declined"),
    "a bad request": refusal(400, "invalid_request_error"),
    "a bad key": refusal(401, "invalid_request_error"),
    "an outage": refusal(500, "api_error"),
}

BAD_SETTINGS: dict[str, dict[str, Any]] = {
    "a line's end": {"STRIPE_SECRET_KEY": f"{STRIPE_KEY}\n"},
    "swapped": {"STRIPE_SECRET_KEY": WEBHOOK_SECRETS[0], "STRIPE_WEBHOOK_SECRETS": [STRIPE_KEY]},
    "a list of keys": {"STRIPE_SECRET_KEY": [STRIPE_KEY]},
    "a dict of secrets": {"STRIPE_WEBHOOK_SECRETS": {"new": WEBHOOK_SECRETS[1]}},
    "in the address": {"STRIPE_API_BASE": f"https://{STRIPE_KEY}@127.0.0.1:9"},
}
