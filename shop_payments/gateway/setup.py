"""The calls that set up and examine a shop: the account, the keys, and the webhook endpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from shop_payments.gateway.calls import (
    INTENTS,
    PAGE_SIZE,
    Calls,
    created_within,
    path_of,
    stripe_call,
)
from shop_payments.gateway.reading import (
    intent_of_answer,
    page_of_answer,
    reading_of,
    values_of_answer,
)
from shop_payments.gateway.results import Answer, EventResult, PaymentIntentResult
from shop_payments.gateway.sdk_logs import secret_in_url
from shop_payments.gateway.values import own_id, secret_of, storable, text_of
from shop_payments.gateway.webhooks import events_of_answer
from shop_payments.secrecy import Secret

_ACCOUNT, _ENDPOINTS, _EVENTS = "/v1/account", "/v1/webhook_endpoints", "/v1/events"
_UNKNOWN = "shop_payments_doctor"
"""The last part of an id that no object has."""


@dataclass(frozen=True, kw_only=True)
class AccountResult:
    """The account of the secret key."""

    id: str
    name: str
    charges_enabled: bool


@dataclass(frozen=True, kw_only=True)
class WebhookEndpointResult:
    """A webhook endpoint of the account, in the mode of the key."""

    id: str
    url: str
    is_enabled: bool
    enabled_events: frozenset[str]
    api_version: str
    """The version of its events; empty for the default version of the account."""

    secret: Secret = field(default=Secret(""), repr=False)
    """The signing secret, which is only in the answer to the creation."""


@dataclass(frozen=True, kw_only=True)
class Permission:
    """A permission that a restricted key needs, and a call that needs it and changes nothing.

    Stripe does not list the permissions of a key. But it refuses a key without the permission with
    a 403, before it looks for the object.
    See: https://docs.stripe.com/keys/restricted-api-keys (checked 2026-11)
    """

    name: str
    """As in the documentation of this app."""

    purpose: str
    """What does not work without it."""

    method: str
    path: str
    is_optional: bool = False


PERMISSIONS = (
    Permission(
        name="write payment intents",
        purpose="customers cannot pay",
        method="POST",
        path=path_of(INTENTS, f"pi_{_UNKNOWN}"),
    ),
    Permission(
        name="write refunds",
        purpose="nothing can be refunded",
        method="POST",
        path=path_of("/v1/refunds", f"re_{_UNKNOWN}"),
    ),
    Permission(
        name="read charges",
        purpose="payments cannot be read",
        method="GET",
        path=path_of("/v1/charges", f"ch_{_UNKNOWN}"),
    ),
    Permission(
        name="read disputes",
        purpose="disputes are not noticed",
        method="GET",
        path=path_of("/v1/disputes", f"du_{_UNKNOWN}"),
    ),
    Permission(
        name="read events",
        purpose="the sweep compares Stripe's lists every time",
        method="GET",
        path=path_of(_EVENTS, f"evt_{_UNKNOWN}"),
        is_optional=True,
    ),
    Permission(
        name="read balance transactions",
        purpose="shop_payments_fees does not work",
        method="GET",
        path=path_of("/v1/balance_transactions", f"txn_{_UNKNOWN}"),
        is_optional=True,
    ),
    Permission(
        name="read early fraud warnings",
        purpose="the sweep does not find them",
        method="GET",
        path=path_of("/v1/radar/early_fraud_warnings", f"issfr_{_UNKNOWN}"),
        is_optional=True,
    ),
    Permission(
        name="write reviews",
        purpose="staff cannot approve them here",
        method="POST",
        path=path_of("/v1/reviews", f"prv_{_UNKNOWN}", "approve"),
        is_optional=True,
    ),
)
"""What the app needs. ``shop_payments_doctor`` and ``shop_payments_webhook`` also use permissions
for the account and for webhook endpoints, which a shop that runs does not need."""


class SetupCalls(Calls):
    """The part of the gateway that sets up and examines a shop."""

    @stripe_call
    def retrieve_account(self) -> AccountResult:
        """Retrieve the account of the secret key.

        See: https://docs.stripe.com/api/accounts/retrieve (checked 2026-11)

        Raises:
            GatewayAuthenticationError: the key is refused, or it may not read the account.
            GatewayError: see the tree in ``exceptions``.
        """
        values = values_of_answer(self._get(_ACCOUNT), "account")
        with reading_of("account"):
            return AccountResult(
                id=own_id(values["id"]),
                name=storable(_name_of(values)),
                charges_enabled=values.get("charges_enabled") is True,
            )

    @stripe_call
    def newest_payment_intent(self) -> tuple[PaymentIntentResult | None, datetime | None]:
        """Return the account's newest intent, if there is one, and the time by Stripe's clock.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        answer = self._get(INTENTS, {"limit": 1})
        return next(iter(page_of_answer(answer, intent_of_answer).items), None), answer.as_of

    @stripe_call
    def retrieve_as_browser(self, intent: PaymentIntentResult, *, publishable_key: str) -> None:
        """Retrieve an intent as Stripe.js does, with the publishable key.

        Raises:
            ConfigurationError: the SDK prints addresses, and this one has the client secret in it.
            ObjectMissing: the key belongs to another account.
            GatewayAuthenticationError: the key is refused.
            GatewayError: see the tree in ``exceptions``.
        """
        key = {"api_key": publishable_key}
        with secret_in_url():
            self._get(
                path_of(INTENTS, intent.id), {"client_secret": intent.client_secret.reveal(), **key}
            )

    @stripe_call
    def use_permission(self, permission: Permission, *, idempotency_key: str) -> None:
        """Make a call that needs a permission, for an object that does not exist.

        Raises:
            GatewayAuthenticationError: the key lacks the permission.
            ObjectMissing: the key has it.
            GatewayError: see the tree in ``exceptions``. It says nothing about the permission.
        """
        if permission.method == "GET":
            self._get(permission.path)
        else:
            self._post(permission.path, {}, idempotency_key)

    @stripe_call
    def list_webhook_endpoints(self) -> list[WebhookEndpointResult]:
        """Return the webhook endpoints in the mode of the key, newest first.

        Stripe does not list endpoints for thin events here.
        See: https://docs.stripe.com/api/webhook_endpoints/list (checked 2026-11)

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        return [_endpoint_of_answer(item) for item in self._all(_ENDPOINTS, {})]

    @stripe_call
    def create_webhook_endpoint(
        self, params: Mapping[str, Any], *, idempotency_key: str
    ) -> WebhookEndpointResult:
        """Create a webhook endpoint with exactly ``params``; the result has its secret.

        See: https://docs.stripe.com/api/webhook_endpoints/create (checked 2026-11)

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        return _endpoint_of_answer(self._post(_ENDPOINTS, params, idempotency_key))

    @stripe_call
    def undelivered_events(
        self, *, types: Sequence[str], since: datetime, until: datetime
    ) -> list[EventResult]:
        """Return up to 100 events that at least one endpoint has not accepted, oldest first.

        Stripe takes at most 20 types.
        See: https://docs.stripe.com/api/events/list (checked 2026-11)

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        params = {
            "types": [*types],
            "delivery_success": "false",
            "created": created_within(since, until),
            "limit": PAGE_SIZE,
        }
        return [*events_of_answer(self._get(_EVENTS, params)).items]


def _name_of(account: Mapping[str, Any]) -> str:
    """Return the name that Stripe's dashboard shows for an account; empty if there is none."""
    settings, profile = account.get("settings") or {}, account.get("business_profile") or {}
    return str((settings.get("dashboard") or {}).get("display_name") or profile.get("name") or "")


def _endpoint_of_answer(endpoint: Answer) -> WebhookEndpointResult:
    values = values_of_answer(endpoint, "webhook_endpoint")
    with reading_of("webhook endpoint"):
        return WebhookEndpointResult(
            id=own_id(values["id"]),
            url=storable(text_of(values["url"])),
            is_enabled=values.get("status") == "enabled",
            enabled_events=frozenset(map(text_of, values["enabled_events"])),
            api_version=storable(str(values.get("api_version") or "")),
            secret=secret_of(values.get("secret")),
        )
