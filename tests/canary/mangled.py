"""Answers of Stripe's and settings that are not as they should be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from shop_payments.sandbox import Sandbox, SandboxResponse
from tests.canary.detector import STRIPE_KEY, WEBHOOK_SECRETS

Mangle = Callable[[dict[str, Any]], tuple[int, str]]


class Mangler:
    """Stripe, whose next answer after :meth:`arm` is not what it should be."""

    def __init__(self, stripe: Sandbox, mangles: Iterator[Mangle]) -> None:
        self._stripe, self._mangles, self._armed = stripe, mangles, False

    def arm(self) -> None:
        self._armed = True

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> SandboxResponse:
        answer = self._stripe.handle(method, url, headers, body)
        if not self._armed:
            return answer
        self._armed = False
        values = json.loads(answer.body)
        status, text = next(self._mangles)(values)
        headers = {**answer.headers, "request-id": values.get("client_secret", "")}
        return SandboxResponse(status, headers, text.encode())


def spill(values: dict[str, Any]) -> str:
    """What a proxy or a careless Stripe could say: every secret there is."""
    return f"{values.get('client_secret')} {STRIPE_KEY} {' '.join(WEBHOOK_SECRETS)}"


def with_spilled(*names: str) -> Mangle:
    return lambda values: (200, json.dumps({**values, **dict.fromkeys(names, spill(values))}))


def refusal(status: int, type_: str, code: str = "") -> Mangle:
    def mangle(values: dict[str, Any]) -> tuple[int, str]:
        error = {"type": type_, "code": code or spill(values), "message": spill(values)}
        more = {"payment_intent": values, "param": spill(values), "charge": spill(values)}
        return status, json.dumps({"error": {**error, **more}})

    return mangle


MANGLED: dict[str, Mangle] = {
    "half": lambda values: (200, json.dumps(values)[: json.dumps(values).find("_secret_") + 25]),
    "a proxy's page": lambda values: (502, f"<html>{spill(values)}</html>"),
    "another object": with_spilled("object"),
    "a secret as id": with_spilled("id"),
    "a secret as amount": with_spilled("amount"),
    "secrets everywhere": with_spilled(
        "description", "payment_method", "latest_charge", "cancellation_reason", "currency"
    ),
    "a declined card": refusal(402, "card_error", "card_declined"),
    "a bad request": refusal(400, "invalid_request_error"),
    "an outage": refusal(500, "api_error"),
}

BAD_SETTINGS: list[dict[str, Any]] = [
    {"STRIPE_SECRET_KEY": f"{STRIPE_KEY}\n"},
    {"STRIPE_SECRET_KEY": WEBHOOK_SECRETS[0], "STRIPE_WEBHOOK_SECRETS": [STRIPE_KEY]},
    {"STRIPE_SECRET_KEY": [STRIPE_KEY]},
    {"STRIPE_WEBHOOK_SECRETS": {"new": WEBHOOK_SECRETS[1]}},
    {"STRIPE_API_BASE": f"https://{STRIPE_KEY}@127.0.0.1:9"},
]
