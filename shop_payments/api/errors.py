"""Every error of the API, in one table with a row for each code.

``exception_handler.py`` answers from it. The OpenAPI schema and the README's table are generated
from it: ``python -m tests.generated_docs``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any, TypeAlias

from django.db import InterfaceError, OperationalError
from rest_framework import exceptions as drf
from rest_framework import serializers

from shop_payments import exceptions as own
from shop_payments.api.authentication import APIKeyInvalid, APIKeyMissing, InsufficientScope
from shop_payments.api.parsers import BodyTooLarge
from shop_payments.api.serializers import (
    PaymentIntentStateSerializer,
    RefundPartsSerializer,
    RefundSerializer,
    UnsettledPaymentSerializer,
    refund_data,
)
from shop_payments.balance import Refusal


class Route(Flag):
    """The routes, by their operation ids in the OpenAPI schema, and groups of them."""

    ROOT = auto()
    ORDERS_LIST = auto()
    ORDERS_RETRIEVE = auto()
    PAYMENT_INTENT_CREATE = auto()
    PAYMENT_SETTLE = auto()
    REFUNDS_LIST = auto()
    REFUND_CREATE = auto()
    STRIPE_WEBHOOK = auto()

    NONE = 0  # of an error before a route is found, or of a method that the route lacks
    WITH_BODY = PAYMENT_INTENT_CREATE | PAYMENT_SETTLE | REFUND_CREATE
    WITH_KEY = WITH_BODY | REFUNDS_LIST
    WITH_TOKEN = ORDERS_LIST | ORDERS_RETRIEVE | PAYMENT_INTENT_CREATE
    CALLS_STRIPE = PAYMENT_INTENT_CREATE | PAYMENT_SETTLE | REFUND_CREATE
    OF_ONE_ORDER = WITH_KEY | ORDERS_RETRIEVE
    OF_CLIENTS = OF_ONE_ORDER | ORDERS_LIST | ROOT
    ALL = OF_CLIENTS | STRIPE_WEBHOOK


Shape: TypeAlias = (
    "type[serializers.Serializer[Any]] | serializers.Field[Any, Any, Any, Any]"
    " | Mapping[str, Shape] | tuple[Shape, ...]"
)
"""How the schema describes a value: a serializer or a field, an object by key, or alternatives."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Details:
    """What an answer says beside its message and its code."""

    key: str = "data"
    read: Callable[[Any], Any]
    """Reads them from the exception."""

    shape: Shape
    is_optional: bool = False
    """Whether they are left out of the answer if they are empty."""


def _encodable(value: Any) -> Any:
    """Replace lone surrogates, which JSON may hold and UTF-8 may not."""
    if isinstance(value, dict):
        return {encodable_text(str(key)): _encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return encodable_text(str(value))


def encodable_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _one_of(reasons: dict[str, str]) -> Details:
    """Describe the exception's ``reason``: one of ``reasons``, each with its meaning."""
    choices = [(str(reason), meaning) for reason, meaning in reasons.items()]
    words = "Why exactly; there may be further reasons one day."
    return Details(
        read=lambda error: {"reason": str(error.reason)} if error.reason else {},
        shape={"reason": serializers.ChoiceField(choices, help_text=words)},
        is_optional=True,
    )


def _read_state(error: own.UnsettledPayment) -> dict[str, Any]:
    """Describe the intent; if money was received before, also what it amounts to."""
    data = dict(PaymentIntentStateSerializer(error.view).data)
    if error.outstanding:
        data["outstanding"] = error.outstanding
        data["payment_status"] = error.payment_status
    return data


def _read_stripe_request(error: Exception) -> dict[str, str]:
    request_id = getattr(error, "request_id", "")
    return {"stripe_request_id": request_id} if request_id else {}


_FIELDS = Details(
    key="errors",
    read=lambda error: _encodable(error.detail),
    shape=serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()),
        help_text="What is wrong, by field.",
    ),
)
_STATE = Details(read=_read_state, shape=UnsettledPaymentSerializer)
_REFUND = Details(
    read=lambda error: refund_data(error.refunds),
    shape=(RefundSerializer, RefundPartsSerializer),
)
_REFUNDABLE = Details(
    read=lambda error: {"refundable": error.refundable, "currency": error.currency},
    shape={
        "refundable": serializers.CharField(help_text="Decimal string."),
        "currency": serializers.CharField(),
    },
)
_STRIPE_REQUEST = Details(
    read=_read_stripe_request,
    shape={"stripe_request_id": serializers.CharField()},
    is_optional=True,
)


@dataclass(frozen=True)
class ErrorRow:
    """One row of the table."""

    code: str
    """Stable: clients may rely on it."""

    status: int
    exception: type[Exception]
    meaning: str
    routes: Route
    """Where clients have to expect it."""

    message: str = ""
    """What the answer says, if the exception's own words are not for clients."""

    retry_after: int = 0
    """Seconds for the Retry-After header; 0 for none."""

    details: Details | None = None
    also: Mapping[type[Exception], dict[str, Any]] = field(default_factory=dict)
    """Further exceptions with this code, and what differs from the row."""

    @property
    def description(self) -> str:
        """The meaning for the README and the OpenAPI schema."""
        return f"{self.meaning}; `Retry-After`" if self.retry_after else self.meaning


ERROR_TABLE: tuple[ErrorRow, ...] = (
    ErrorRow(
        "invalid_signature",
        400,
        own.InvalidSignature,
        "webhook: not signed by Stripe, or not now",
        Route.STRIPE_WEBHOOK,
    ),
    ErrorRow(
        "invalid_payload",
        400,
        own.InvalidWebhookPayload,
        "webhook: signed, but not an event",
        Route.STRIPE_WEBHOOK,
    ),
    ErrorRow(
        "parse_error",
        400,
        drf.ParseError,
        "the body is not JSON",
        Route.ALL,
    ),
    ErrorRow(
        "invalid_request",
        400,
        drf.ValidationError,
        "the body or the query is not as documented; see `errors`",
        Route.WITH_BODY | Route.ORDERS_LIST,
        "The request is not valid.",
        details=_FIELDS,
    ),
    ErrorRow("api_key_missing", 401, APIKeyMissing, "no `X-API-Key` header", Route.WITH_KEY),
    ErrorRow(
        "api_key_invalid",
        401,
        APIKeyInvalid,
        "an unknown, expired or revoked API key",
        Route.WITH_KEY,
    ),
    ErrorRow("not_authenticated", 401, drf.NotAuthenticated, "no Bearer token", Route.WITH_TOKEN),
    ErrorRow(
        "invalid_token",
        401,
        drf.AuthenticationFailed,
        "a wrong or expired Bearer token",
        Route.WITH_TOKEN | Route.ROOT,
    ),
    ErrorRow(
        "insufficient_scope",
        403,
        InsufficientScope,
        "the API key lacks the route's scope",
        Route.WITH_KEY,
    ),
    ErrorRow(
        "permission_denied",
        403,
        drf.PermissionDenied,
        "not allowed, or no CSRF token in a staff session",
        Route.WITH_KEY | Route.WITH_TOKEN,
    ),
    ErrorRow(
        "order_not_found",
        404,
        own.OrderNotFound,
        "no such order, or somebody else's",
        Route.OF_ONE_ORDER,
    ),
    ErrorRow(
        "payment_intent_missing",
        404,
        own.PaymentIntentMissing,
        "the order has no payment intent to prove a payment",
        Route.PAYMENT_SETTLE,
    ),
    ErrorRow("not_found", 404, drf.NotFound, "no such page", Route.NONE),
    ErrorRow(
        "method_not_allowed",
        405,
        drf.MethodNotAllowed,
        "the route does not take this method",
        Route.NONE,
    ),
    ErrorRow(
        "not_acceptable", 406, drf.NotAcceptable, "the answer would be JSON", Route.OF_CLIENTS
    ),
    ErrorRow(
        "order_already_paid",
        409,
        own.OrderAlreadyPaid,
        "the order is paid",
        Route.PAYMENT_INTENT_CREATE,
    ),
    ErrorRow(
        "order_not_payable",
        409,
        own.OrderNotPayable,
        "the order is free, cancelled or refunded; `data.reason`, where there is one, is `free`, "
        "`refunded`, `negative_total` or `currency_changed`",
        Route.PAYMENT_INTENT_CREATE,
        details=_one_of(
            {
                Refusal.FREE: "the order costs nothing",
                Refusal.REFUNDED: "the order was paid and refunded",
                "negative_total": "the order's total is less than 0",
                "currency_changed": "the order was paid in another currency before",
            }
        ),
    ),
    ErrorRow(
        "payment_processing",
        409,
        own.PaymentProcessing,
        "a slow payment method is working; do not pay again",
        Route.PAYMENT_INTENT_CREATE,
    ),
    ErrorRow(
        "payment_authorized",
        409,
        own.PaymentAuthorized,
        "the money is reserved and waits for capture",
        Route.PAYMENT_INTENT_CREATE,
    ),
    ErrorRow(
        "payment_in_review",
        409,
        own.PaymentInReview,
        "money is there that does not count, or is on its way out (`data.reason` is "
        "`refund_pending` or `dispute_open`), or Stripe has a payment that is not known here "
        "(`unknown_intent`)",
        Route.PAYMENT_INTENT_CREATE,
        details=_one_of(
            {
                Refusal.REFUND_PENDING: "a refund is on its way",
                Refusal.DISPUTE_OPEN: "a dispute is open",
                Refusal.UNKNOWN_INTENT: "Stripe has a payment that is not known here",
            }
        ),
    ),
    ErrorRow(
        "payment_intent_in_progress",
        409,
        own.PaymentIntentInProgress,
        "another request for this order is running",
        Route.PAYMENT_INTENT_CREATE | Route.PAYMENT_SETTLE,
        retry_after=1,
        details=_STRIPE_REQUEST,
        also={
            own.IdempotencyKeyInUse: {
                "message": "Another request is creating this payment intent. Try again in a moment."
            }
        },
    ),
    ErrorRow(
        "payment_not_completed",
        409,
        own.PaymentNotCompleted,
        "something is still owed; see `data`",
        Route.PAYMENT_SETTLE,
        details=_STATE,
    ),
    ErrorRow(
        "payment_mismatch",
        409,
        own.PaymentMismatch,
        "money came that does not count for the order, which is in review; see `data`",
        Route.PAYMENT_SETTLE,
        details=_STATE,
    ),
    ErrorRow(
        "order_not_refundable",
        409,
        own.OrderNotRefundable,
        "nothing was paid that could go back",
        Route.REFUND_CREATE,
    ),
    ErrorRow(
        "refund_exceeds_balance",
        409,
        own.RefundExceedsBalance,
        "more than is left of the payment; see `data`",
        Route.REFUND_CREATE,
        details=_REFUNDABLE,
    ),
    ErrorRow(
        "payment_disputed",
        409,
        own.PaymentDisputed,
        "the customer's bank has claimed the money; a refund would pay twice",
        Route.REFUND_CREATE,
    ),
    ErrorRow(
        "refund_in_progress",
        409,
        own.RefundInProgress,
        "another request is sending this refund",
        Route.REFUND_CREATE,
        retry_after=1,
    ),
    ErrorRow(
        "refund_refused",
        409,
        own.RefundRefused,
        "this refund, or a part of it, was refused and not given back; see `data`, and ask with "
        "another key",
        Route.REFUND_CREATE,
        details=_REFUND,
    ),
    ErrorRow(
        "idempotency_key_reused",
        409,
        own.IdempotencyKeyReused,
        "the `Idempotency-Key` was used with another amount, reason or kind",
        Route.REFUND_CREATE,
    ),
    ErrorRow(
        "payload_too_large",
        413,
        own.WebhookPayloadTooLarge,
        "the body is too large",
        Route.ALL,
        also={BodyTooLarge: {}},
    ),
    ErrorRow(
        "unsupported_media_type",
        415,
        drf.UnsupportedMediaType,
        "the body is not `application/json`",
        Route.WITH_BODY,
    ),
    ErrorRow(
        "amount_not_representable",
        422,
        own.MoneyError,
        "the currency cannot represent the order's amount",
        Route.PAYMENT_INTENT_CREATE | Route.REFUND_CREATE,
    ),
    ErrorRow(
        "amount_too_small",
        422,
        own.AmountTooSmall,
        "below Stripe's minimum charge",
        Route.PAYMENT_INTENT_CREATE,
        details=_STRIPE_REQUEST,
    ),
    ErrorRow(
        "amount_too_large",
        422,
        own.AmountTooLarge,
        "above Stripe's maximum charge",
        Route.PAYMENT_INTENT_CREATE,
        details=_STRIPE_REQUEST,
    ),
    ErrorRow("throttled", 429, drf.Throttled, "too many requests", Route.OF_CLIENTS, retry_after=1),
    ErrorRow(
        "gateway_error",
        502,
        own.GatewayError,
        "Stripe refused the request; the shop has to check why",
        Route.CALLS_STRIPE,
        "The payment provider refused the request. The shop has been told.",
        details=_STRIPE_REQUEST,
    ),
    ErrorRow(
        "gateway_unavailable",
        503,
        own.GatewayUnavailable,
        "Stripe did not answer, or is busy; safe to repeat",
        Route.CALLS_STRIPE,
        "The payment provider could not be reached. Try again in a moment.",
        retry_after=5,
        details=_STRIPE_REQUEST,
        also={own.GatewayBusy: {"retry_after": 2}, own.TargetMissing: {"retry_after": 60}},
    ),
    ErrorRow(
        "not_configured",
        503,
        own.ConfigurationError,
        "a setting of the shop is missing or wrong",
        Route.ALL,
        "Payments are not configured. The shop has been told.",
        retry_after=60,
    ),
    ErrorRow(
        "order_unreadable",
        503,
        own.OrderUnreadable,
        "the shop's own code could not read the order; safe to repeat",
        Route.OF_ONE_ORDER | Route.ORDERS_LIST,
        "The order could not be read. Try again in a moment.",
        retry_after=5,
    ),
    ErrorRow(
        "database_unavailable",
        503,
        OperationalError,
        "the shop's database is away; safe to repeat",
        Route.ALL,
        "The shop is out of order for a moment. Try again.",
        retry_after=10,
        also={InterfaceError: {}},
    ),
    ErrorRow(
        "event_failed",
        503,
        own.EventFailed,
        "webhook: stored, but to be sent again",
        Route.STRIPE_WEBHOOK,
        retry_after=60,
    ),
)
