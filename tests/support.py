"""Helpers for tests: a client that speaks the API, and a Stripe that answers it."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from django.test import Client
from stripe import WebhookSignature

BASE = "/api/v1/shop"
WEBHOOK_SECRET = "whsec_of_the_tests"


def no_stripe(*args: Any) -> NoReturn:
    raise AssertionError("this test reaches Stripe and has no `stripe` fixture")


class Caller:
    """A REST client: a Django test client with a token and a key."""

    def __init__(self, *, token: str = "", key: str = "", client: Client | None = None) -> None:
        self.client = client or Client(raise_request_exception=True)
        self.headers: dict[str, str] = {}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        if key:
            self.headers["X-API-Key"] = key

    def get(self, path: str, **headers: str) -> Any:
        return self.client.get(f"{BASE}/{path}", headers={**self.headers, **headers})

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.client.post(
            f"{BASE}/{path}",
            data=b"" if body is None else json.dumps(body),
            content_type="application/json",
            headers={**self.headers, **headers},
        )

    def payment_intent(self, order: Any, body: Any = None) -> Any:
        return self.post(f"orders/{getattr(order, 'pk', order)}/payment-intent", body)

    def payment(self, order: Any, body: Any = None) -> Any:
        return self.post(f"orders/{getattr(order, 'pk', order)}/payment", body)


def sign(body: bytes, *, secret: str = WEBHOOK_SECRET, timestamp: int | None = None) -> str:
    """Sign a webhook body honestly, with Stripe's own code."""
    return WebhookSignature.generate_signature_header(
        body.decode(), secret, **({} if timestamp is None else {"timestamp": timestamp})
    )


def post_webhook(
    body: bytes, signature: str, *, client: Client | None = None, content_type: str = "application/json"
) -> Any:
    return (client or Client()).post(
        f"{BASE}/webhooks/stripe",
        data=body,
        content_type=content_type,
        headers={"Stripe-Signature": signature},
    )


def answer(response: Any) -> tuple[int, str | None]:
    """The status and the stable code of an answer."""
    return response.status_code, response.json().get("code")
