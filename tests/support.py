"""Helpers for tests: a client that speaks the API, and a Stripe that answers it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn, Protocol
from urllib.parse import urlencode

from django.db import connection
from django.test import Client

from shop_payments import services, signals
from shop_payments.ledger.evaluation import derived_values
from shop_payments.ledger.payments import read_rows
from shop_payments.models import APIKey, APIKeyScope, OrderPayment
from shop_payments.sandbox import Sandbox, SandboxResponse
from shop_payments.testing import SignedEvent, StripeSandbox, build_event, sign_event

BASE = "/api/v1/shop"
WEBHOOK_SECRET = "whsec_of_the_tests"

LIVE = {
    "STRIPE_SECRET_KEY": "sk_live_of_the_tests",
    "STRIPE_API_BASE": "http://127.0.0.1:9",
    "STRIPE_TRANSPORT": None,
}
"""Settings of a shop with a live key, under which a call to Stripe fails."""


def sized(name: str, *, sample: int, full: int) -> int:
    """How often to do something: ``FIGURES=full`` asks for all of it, ``name`` for a number."""
    default = full if os.environ.get("FIGURES") == "full" else sample
    return int(os.environ.get(name, default))


def no_stripe(*args: Any) -> NoReturn:
    raise AssertionError("this test reaches Stripe and has no `stripe` fixture")


def issue_key(*scopes: APIKeyScope) -> str:
    _key, secret = APIKey.objects.issue(label="tests", scopes=[str(scope) for scope in scopes])
    return secret.reveal()


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
    return sign_event(body, secret=secret, timestamp=timestamp).signature


def post_webhook(body: bytes, signature: str, *, client: Client | None = None, **how: str) -> Any:
    return SignedEvent(body=body, signature=signature).post(client, **how)


def answer(response: Any) -> tuple[int, str | None]:
    """The status and the stable code of an answer."""
    return response.status_code, response.json().get("code")


class AnyStripe(Protocol):
    """A Stripe that can be asked: a sandbox, in this process or in another one."""

    def handle(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | str | None = None
    ) -> SandboxResponse: ...


def call_stripe(stripe: AnyStripe, method: str, path: str, **params: str) -> dict[str, Any]:
    """Do at Stripe what somebody else does there: a customer's browser, or staff."""
    response = stripe.handle(
        method, f"/v1/{path}", {"Authorization": "Bearer sk_test_of_the_tests"}, urlencode(params)
    )
    values: dict[str, Any] = json.loads(response.body)
    return values


def pay(stripe: Sandbox, intent_id: str, payment_method: str = "pm_card_visa") -> dict[str, Any]:
    """Confirm an intent as a customer's browser would; the webhooks wait."""
    assert isinstance(stripe, StripeSandbox)
    return stripe.pay(intent_id, payment_method, deliver=False)


def debit(stripe: Sandbox, intent_id: str, account: str) -> dict[str, Any]:
    """Confirm an intent with a bank account, as a customer's browser would; the webhooks wait."""
    accepted = "mandate_data[customer_acceptance]"
    mandate = {f"{accepted}[type]": "online", f"{accepted}[online][ip_address]": "203.0.113.7"}
    mandate[f"{accepted}[online][user_agent]"] = "a browser"
    path = f"payment_intents/{intent_id}/confirm"
    return call_stripe(stripe, "POST", path, payment_method=account, **mandate)


def writes(stripe: Sandbox) -> list[str]:
    """The paths of the writes that Stripe was sent, in order."""
    return [request.path for request in stripe.requests if request.method == "POST"]


def plan_of(sql: str) -> str:
    """How the database would find what a captured query asks for."""
    with connection.cursor() as cursor:
        cursor.execute(f"{connection.ops.explain_query_prefix()} {sql}")
        return str(cursor.fetchall())


def assert_state_follows_from_rows() -> None:
    """Every payment's stored state is what its rows and the order as last seen amount to."""
    for payment in OrderPayment.objects.filter(failed_reads=0).order_by("pk"):
        rows = read_rows(payment)
        for name, value in derived_values(rows, rows.balance()).items():
            stored = getattr(payment, name)
            assert stored == value, f"{payment}: {name} is {stored}, and should be {value}"
        waits = payment.review_items.open().exists()
        assert payment.needs_review == waits, f"{payment} and its review items do not agree"


def event_body(intent: dict[str, Any], **changes: Any) -> bytes:
    """An event about ``intent``, as Stripe would send it."""
    event = build_event(f"payment_intent.{intent.get('status')}", intent, **changes)
    return json.dumps(event).encode()


def send_event(intent: dict[str, Any], **changes: Any) -> Any:
    """Deliver a signed event about ``intent``."""
    body = event_body(intent, **changes)
    return post_webhook(body, sign(body))


class Alteration:
    """Changes what Stripe answers, until it is stopped."""

    def __init__(self, configure: Callable[..., None], stripe: Sandbox) -> None:
        self._configure, self._stripe = configure, stripe

    def __call__(self, path: str, change: Callable[[Any], Any]) -> None:
        """Change the successful answers to requests for a path."""

        def transport(method: str, url: str, *rest: Any) -> SandboxResponse:
            found = self._stripe.handle(method, url, *rest)
            if found.status != 200 or path not in url:
                return found
            return replace(found, body=json.dumps(change(json.loads(found.body))).encode())

        self._configure(STRIPE_TRANSPORT=transport)

    def refuse(self, path: str, *, status: int = 400, **error: str) -> None:
        """Refuse writes to the paths that end with this one."""
        values = {"type": "invalid_request_error", "message": "No.", **error}

        def transport(method: str, url: str, *rest: Any) -> SandboxResponse:
            if method.upper() == "POST" and url.endswith(path):
                return SandboxResponse(status, {}, json.dumps({"error": values}).encode())
            return self._stripe.handle(method, url, *rest)

        self._configure(STRIPE_TRANSPORT=transport)

    def stop(self) -> None:
        self._configure(STRIPE_TRANSPORT=self._stripe.handle)


@contextmanager
def releases_heard() -> Iterator[dict[str, bool]]:
    """Note of each signal whether its receiver may release the goods, in their order."""
    heard: dict[str, bool] = {}
    receivers = []
    for name in ("payment_received", "order_paid", "order_refunded", "dispute_opened"):

        def hear(*, order_payment: OrderPayment, name: str = name, **_data: Any) -> None:
            heard[name] = services.may_release(order_payment.order_id)

        receivers.append((getattr(signals, name), hear))
        receivers[-1][0].connect(hear)
    yield heard
    for signal, hear in receivers:
        signal.disconnect(hear)


class Died(BaseException):
    """Stands for kill -9: nothing in the app catches it."""


def refuse(**kwargs: Any) -> None:
    """Be a receiver of a signal that fails."""
    raise ConnectionError("the warehouse does not answer")
