"""Helpers for tests: a client that speaks the API, and a Stripe that answers it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NoReturn, Protocol
from urllib.parse import urlencode

from django.conf import settings
from django.db import connection
from django.test import Client, override_settings

from shop_payments import services, signals
from shop_payments.ledger.evaluation import derived_values
from shop_payments.ledger.payments import read_rows
from shop_payments.models import OrderPayment
from shop_payments.sandbox import Sandbox, SandboxResponse
from shop_payments.testing import SignedEvent, StripeSandbox, build_event, sign_event

BASE = "/api/v1/shop"
WEBHOOK_SECRET = "whsec_of_the_tests"


def sized(name: str, *, sample: int, full: int) -> int:
    """How often to do something: ``FIGURES=full`` asks for all of it, ``name`` for a number."""
    default = full if os.environ.get("FIGURES") == "full" else sample
    return int(os.environ.get(name, default))


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
    return sign_event(body, secret=secret, timestamp=timestamp).signature


def post_webhook(
    body: bytes,
    signature: str,
    *,
    client: Client | None = None,
    content_type: str = "application/json",
) -> Any:
    return SignedEvent(body=body, signature=signature).post(client, content_type=content_type)


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
    return call_stripe(
        stripe,
        "POST",
        f"payment_intents/{intent_id}/confirm",
        **{
            "payment_method": account,
            "mandate_data[customer_acceptance][type]": "online",
            "mandate_data[customer_acceptance][online][ip_address]": "203.0.113.7",
            "mandate_data[customer_acceptance][online][user_agent]": "a browser",
        },
    )


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


class StripeOfTomorrow:
    """Stripe as it may be one day: every intent that is fetched has ``status``."""

    def __init__(self, stripe: Sandbox, *, status: str) -> None:
        self._stripe, self._status = stripe, status
        self._override = override_settings(
            SHOP_PAYMENTS={**settings.SHOP_PAYMENTS, "STRIPE_TRANSPORT": self.handle}
        )

    def handle(self, method: str, url: str, headers: Any, body: Any) -> SandboxResponse:
        answer = self._stripe.handle(method, url, headers, body)
        values = {**json.loads(answer.body), "status": self._status}
        return replace(answer, body=json.dumps(values).encode())

    def __enter__(self) -> None:
        self._override.enable()

    def __exit__(self, *exc: object) -> None:
        self._override.disable()


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


class DyingLine:
    """A connection to Stripe in whose first write the process dies."""

    def __init__(self, stripe: Sandbox, *, after_the_effect: bool) -> None:
        self._stripe, self._after, self._armed = stripe, after_the_effect, True

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> SandboxResponse:
        dies = self._armed and method.upper() == "POST"
        if not dies:
            return self._stripe.handle(method, url, headers, body)
        self._armed = False
        if self._after:
            self._stripe.handle(method, url, headers, body)
        raise Died


def die(caller: Caller, order: Any) -> None:
    """Ask for a payment intent; the process dies on the way."""
    try:
        caller.payment_intent(order)
    except Died:
        return
    raise AssertionError("nobody died")
