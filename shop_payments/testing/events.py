"""Events as Stripe sends them, signed with the project's webhook secret."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.test import Client
from django.urls import NoReverseMatch, reverse
from stripe import WebhookSignature

from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway import STRIPE_API_VERSION

from .guards import get_test_config


def webhook_url() -> str:
    """Return the path of the project's webhook route.

    Raises:
        ConfigurationError: the routes of shop_payments are not in the project's URLs.
    """
    try:
        return reverse("shop_payments:stripe-webhook")
    except NoReverseMatch:
        raise ConfigurationError(
            "The routes of shop_payments are not in ROOT_URLCONF. Add to its urlpatterns: "
            'path("api/v1/shop/", include("shop_payments.api.urls"))'
        ) from None


def build_event(event_type: str, subject: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Return an event of ``event_type`` about ``subject``, one of Stripe's objects as a dict.

    ``changes`` replace keys of the event, for example ``build_event("payment_intent.succeeded",
    intent, id="evt_1")``. The default is a new id for each event.

    Raises:
        TypeError: ``subject`` is not a dict, but a model instance, for example.

    See: https://docs.stripe.com/api/events/object (checked 2026-11)
    """
    if not isinstance(subject, Mapping):
        raise TypeError(
            "Pass one of Stripe's objects as a dict, for example the result of "
            f"`stripe_sandbox.payment_intent(order)`, not {type(subject).__name__}."
        )
    return {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "api_version": STRIPE_API_VERSION,
        "created": int(time.time()),
        "data": {"object": dict(subject)},
        "livemode": subject.get("livemode", False),
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": event_type,
        **changes,
    }


@dataclass(frozen=True, kw_only=True)
class SignedEvent:
    """The body of a webhook request and its signature."""

    body: bytes
    signature: str

    @property
    def headers(self) -> dict[str, str]:
        """The header with the signature."""
        return {"Stripe-Signature": self.signature}

    def post(self, client: Client | None = None, *, content_type: str = "application/json") -> Any:
        """Post it to the project's webhook route as Stripe does, and return the response.

        Raises:
            ConfigurationError: the routes of shop_payments are not in the project's URLs.
        """
        return (client or Client()).post(
            webhook_url(),
            data=self.body,
            content_type=content_type,
            headers=self.headers,
            secure=True,
        )


def sign_event(
    event: Mapping[str, Any] | bytes, *, secret: str = "", timestamp: int | None = None
) -> SignedEvent:
    """Sign an event, or the bytes of a body, with stripe-python.

    ``secret`` defaults to the first of ``STRIPE_WEBHOOK_SECRETS``, and ``timestamp`` (Unix time in
    seconds) to now. Other values make a false or an old signature.

    Raises:
        ConfigurationError: no secret is configured, or the project's secret key is a live key.
        TypeError: ``event`` is neither a dict nor bytes.
    """
    if not isinstance(event, Mapping | bytes):
        raise TypeError(f"Pass an event as a dict or a body as bytes, not {type(event).__name__}.")
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    signature: str = WebhookSignature.generate_signature_header(
        body.decode(), secret or configured_secret(), timestamp
    )
    return SignedEvent(body=body, signature=signature)


def configured_secret() -> str:
    """Return the first of the project's webhook secrets.

    Raises:
        ConfigurationError: no secret is configured, or the project's secret key is a live key.
    """
    secrets = get_test_config().STRIPE_WEBHOOK_SECRETS
    if not secrets:
        raise ConfigurationError(
            "SHOP_PAYMENTS['STRIPE_WEBHOOK_SECRETS'] is missing. Use the fixture `stripe_sandbox`, "
            "which brings one, or set 'whsec_of_the_tests' in the settings of your tests."
        )
    return secrets[0].reveal()
