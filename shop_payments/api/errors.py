"""Every error of the API, in one table with a row for each code.

``exception_handler.py`` builds the responses from this table. The OpenAPI schema and the table in
docs/api.md are generated from it: ``python -m tests.generated_docs``.
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
from shop_payments.api.authentication import (
    APIKeyInvalid,
    APIKeyMissing,
    InsufficientScope,
    OrderTokenInvalid,
)
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
    """The routes, named as their operation ids in the OpenAPI schema, and groups of routes."""

    ROOT = auto()
    ORDERS_LIST = auto()
    ORDERS_RETRIEVE = auto()
    PAYMENT_INTENT_CREATE = auto()
    PAYMENT_SETTLE = auto()
    REFUNDS_LIST = auto()
    REFUND_CREATE = auto()
    STRIPE_WEBHOOK = auto()

    NONE = 0  # for errors that occur before a route and a method are found
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
"""The schema of a value: a serializer or a field, a mapping of keys, or a tuple of alternatives."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Details:
    """The part of an error response beside ``message`` and ``code``."""

    key: str = "data"
    read: Callable[[Any], Any]
    """Returns the value of ``key`` for an exception."""

    shape: Shape
    examples: Mapping[Route, Any]
    """A value for the OpenAPI schema, by group of routes. The first group with the route counts."""

    is_optional: bool = False
    """Whether an empty value is left out of the response."""

    def example_for(self, route: Route) -> Any:
        """Return the example for a route."""
        return next(value for group, value in self.examples.items() if route in group)


def _encodable(value: Any) -> Any:
    """Replace lone surrogates in all texts of a value."""
    if isinstance(value, dict):
        return {encodable_text(str(key)): _encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return encodable_text(str(value))


def encodable_text(text: str) -> str:
    """Replace lone surrogates. JSON of clients may contain them, but UTF-8 cannot encode them."""
    return text.encode("utf-8", "replace").decode()


def _one_of(reasons: dict[str, str], *, example: str) -> Details:
    """Return the details of an exception with a ``reason``.

    ``reasons`` maps each reason to its meaning.
    """
    choices = [(str(reason), meaning) for reason, meaning in reasons.items()]
    words = "The exact reason. New reasons may be added."
    return Details(
        read=lambda error: {"reason": str(error.reason)} if error.reason else {},
        shape={"reason": serializers.ChoiceField(choices, help_text=words)},
        examples={Route.ALL: {"reason": str(example)}},
        is_optional=True,
    )


def _read_state(error: own.UnsettledPayment) -> dict[str, Any]:
    """Return the state of the payment intent, and what the order still owes."""
    data = dict(PaymentIntentStateSerializer(error.view).data)
    # Empty until money has been received. Before that, the intent's amount says what is owed.
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
        help_text="The problems of each field.",
    ),
    examples={
        Route.ORDERS_LIST: {"payment_stauts": ["This parameter is not known. Remove it."]},
        Route.REFUND_CREATE: {"amount": ['Write the amount as a decimal string, e.g. "12.50".']},
        Route.WITH_BODY: {"amount": ["This field is not known. Remove it."]},
    },
)
_LINE = {
    "name": "Main product 2",
    "amount": 5600,
    "currency": "usd",
    "quantity": 2,
    "description": "",
}
_STATE = Details(
    read=_read_state,
    shape=UnsettledPaymentSerializer,
    examples={
        Route.ALL: {
            "id": "pi_3R8f5yQ9LjHruSyq1ofjdVY5",
            "amount": "112.00",
            "currency": "usd",
            "status": "requires_payment_method",
            "line_items": [_LINE],
        }
    },
)
_REFUND = Details(
    read=lambda error: refund_data(error.refunds),
    shape=(RefundSerializer, RefundPartsSerializer),
    examples={
        Route.ALL: {
            "id": "0b5f7a5e-6f5c-4d0e-9d5b-1f0a3c1f6c57",
            "stripe_id": None,
            "payment_intent": "pi_3R8f5yQ9LjHruSyq1ofjdVY5",
            "amount": "12.50",
            "currency": "usd",
            "status": "failed",
            "reason": "requested_by_customer",
            "failure_reason": "charge_already_refunded",
            "created_at": "2026-11-30T09:00:00Z",
        }
    },
)
_REFUNDABLE = Details(
    read=lambda error: {"refundable": error.refundable, "currency": error.currency},
    shape={
        "refundable": serializers.CharField(help_text="Decimal string."),
        "currency": serializers.CharField(),
    },
    examples={Route.ALL: {"refundable": "100.00", "currency": "usd"}},
)
_STRIPE_REQUEST = Details(
    read=_read_stripe_request,
    shape={"stripe_request_id": serializers.CharField()},
    examples={Route.ALL: {"stripe_request_id": "req_Sd9PTHnA7RPo2v"}},
    is_optional=True,
)


@dataclass(frozen=True)
class ErrorRow:
    """One row of the table."""

    code: str
    """Stable: clients rely on it."""

    status: int
    exception: type[Exception]
    meaning: str
    """A phrase for docs/api.md and the OpenAPI schema."""

    routes: Route
    """The routes whose clients must handle the error."""

    message: str = ""
    """The message of the response, if the text of the exception is not for clients."""

    example: str = ""
    """A message for the OpenAPI schema, if neither ``message`` nor the exception's class has one.

    ``{scope}`` is the scope that the route requires.
    """

    retry_after: int = 0
    """Seconds for the Retry-After header; 0 for none."""

    details: Details | None = None
    also: Mapping[type[Exception], dict[str, Any]] = field(default_factory=dict)
    """Further exceptions with this code, each with the fields that differ from the row."""

    @property
    def description(self) -> str:
        """Return the meaning, with a note if the response has a Retry-After header."""
        return f"{self.meaning}; `Retry-After`" if self.retry_after else self.meaning

    @property
    def example_message(self) -> str:
        """Return a message for the OpenAPI schema."""
        return self.message or self.example or str(getattr(self.exception, "default_detail", ""))


ERROR_TABLE: tuple[ErrorRow, ...] = (
    ErrorRow(
        "invalid_signature",
        400,
        own.InvalidSignature,
        "webhook: the signature is missing, wrong or too old",
        Route.STRIPE_WEBHOOK,
        example="no signature matches a webhook secret",
    ),
    ErrorRow(
        "invalid_payload",
        400,
        own.InvalidWebhookPayload,
        "webhook: the body is signed, but is not an event",
        Route.STRIPE_WEBHOOK,
        example="the body is not JSON",
    ),
    ErrorRow(
        "parse_error",
        400,
        drf.ParseError,
        "the body is not JSON",
        Route.ALL,
        example="The body is not JSON. Send JSON in UTF-8.",
    ),
    ErrorRow(
        "invalid_request",
        400,
        drf.ValidationError,
        "the body or the query is not as documented; see `errors`",
        Route.WITH_BODY | Route.ORDERS_LIST,
        "The request is not valid. See errors for each field.",
        details=_FIELDS,
    ),
    ErrorRow(
        "api_key_missing", 401, APIKeyMissing, "the `X-API-Key` header is missing", Route.WITH_KEY
    ),
    ErrorRow(
        "api_key_invalid",
        401,
        APIKeyInvalid,
        "the API key is unknown, expired or revoked",
        Route.WITH_KEY,
    ),
    ErrorRow(
        "not_authenticated",
        401,
        drf.NotAuthenticated,
        "the Bearer token is missing",
        Route.WITH_TOKEN,
    ),
    ErrorRow(
        "invalid_token",
        401,
        drf.AuthenticationFailed,
        "the Bearer token is wrong or has expired",
        Route.WITH_TOKEN | Route.ROOT,
    ),
    ErrorRow(
        "order_token_invalid",
        401,
        OrderTokenInvalid,
        "the `X-Order-Token` is wrong or has expired, or is not valid for the route",
        Route.OF_CLIENTS,
    ),
    ErrorRow(
        "insufficient_scope",
        403,
        InsufficientScope,
        "the API key does not have the scope that the route requires",
        Route.WITH_KEY,
        example="The API key does not have the scope '{scope}'. Use another API key.",
    ),
    ErrorRow(
        "permission_denied",
        403,
        drf.PermissionDenied,
        "the caller does not have the permission, or a staff session sent no CSRF token",
        Route.WITH_KEY | Route.WITH_TOKEN,
    ),
    ErrorRow(
        "order_not_found",
        404,
        own.OrderNotFound,
        "the order does not exist, or belongs to another customer",
        Route.OF_ONE_ORDER,
        example="Order not found.",
    ),
    ErrorRow(
        "payment_intent_missing",
        404,
        own.PaymentIntentMissing,
        "the order has no payment intent",
        Route.PAYMENT_SETTLE,
        example="The order has no payment intent.",
    ),
    ErrorRow(
        "method_not_allowed",
        405,
        drf.MethodNotAllowed,
        "the route does not take this method",
        Route.NONE,
    ),
    ErrorRow(
        "not_acceptable",
        406,
        drf.NotAcceptable,
        "the `Accept` header does not allow JSON",
        Route.OF_CLIENTS,
    ),
    ErrorRow(
        "order_already_paid",
        409,
        own.OrderAlreadyPaid,
        "the order is paid",
        Route.PAYMENT_INTENT_CREATE,
        example="The order has been paid.",
    ),
    ErrorRow(
        "order_not_payable",
        409,
        own.OrderNotPayable,
        "the order is free, cancelled or refunded; `data.reason`, if present, is `free`, "
        "`refunded`, `negative_total` or `currency_changed`",
        Route.PAYMENT_INTENT_CREATE,
        details=_one_of(
            {
                Refusal.FREE: "the order costs nothing",
                Refusal.REFUNDED: "the order was paid and refunded",
                "negative_total": "the order's total is less than 0",
                "currency_changed": "money in another currency was received for the order",
            },
            example=Refusal.FREE,
        ),
        example="The order is empty, free or cancelled.",
    ),
    ErrorRow(
        "payment_processing",
        409,
        own.PaymentProcessing,
        "a payment is being processed; do not pay again",
        Route.PAYMENT_INTENT_CREATE,
        example="A payment of this order is being processed.",
    ),
    ErrorRow(
        "payment_authorized",
        409,
        own.PaymentAuthorized,
        "the payment is authorized and waits for capture",
        Route.PAYMENT_INTENT_CREATE,
        example="The order's payment is authorized and waits for capture.",
    ),
    ErrorRow(
        "payment_in_review",
        409,
        own.PaymentInReview,
        "staff must review the order: money was received that does not count, or `data.reason` is "
        "`refund_pending`, `dispute_open` or `unknown_intent` (Stripe has a payment that the shop "
        "does not know)",
        Route.PAYMENT_INTENT_CREATE,
        details=_one_of(
            {
                Refusal.REFUND_PENDING: "a refund is pending",
                Refusal.DISPUTE_OPEN: "a dispute is open",
                Refusal.UNKNOWN_INTENT: "Stripe has a payment that the shop does not know",
            },
            example=Refusal.REFUND_PENDING,
        ),
        example="A payment of this order is being reviewed by the shop.",
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
            # A gateway error, but its cause is another request of ours, not a fault of Stripe.
            own.IdempotencyKeyInUse: {
                "message": "Another request is creating this payment intent. Try again in a moment."
            }
        },
        example="The payment intent keeps changing. Try again in a moment.",
    ),
    ErrorRow(
        "payment_not_completed",
        409,
        own.PaymentNotCompleted,
        "the order is not fully paid; see `data`",
        Route.PAYMENT_SETTLE,
        details=_STATE,
        example="The payment is not completed: requires_payment_method.",
    ),
    ErrorRow(
        "payment_mismatch",
        409,
        own.PaymentMismatch,
        "money was received that does not count for the order; staff must review it; see `data`",
        Route.PAYMENT_SETTLE,
        details=_STATE,
        example="The payment was received but does not count for the order. It is in review.",
    ),
    ErrorRow(
        "order_not_refundable",
        409,
        own.OrderNotRefundable,
        "the order has no payment that can be refunded",
        Route.REFUND_CREATE,
        example="The order has not been paid.",
    ),
    ErrorRow(
        "refund_exceeds_balance",
        409,
        own.RefundExceedsBalance,
        "the amount is more than what is left to refund; see `data`",
        Route.REFUND_CREATE,
        details=_REFUNDABLE,
        example="Only 100.00 USD can be refunded.",
    ),
    ErrorRow(
        "payment_disputed",
        409,
        own.PaymentDisputed,
        "the payment is disputed; a refund would pay the customer twice",
        Route.REFUND_CREATE,
        example="The customer's bank holds this payment. Wait for its decision.",
    ),
    ErrorRow(
        "refund_in_progress",
        409,
        own.RefundInProgress,
        "another request is sending this refund",
        Route.REFUND_CREATE,
        retry_after=1,
        example="This refund is being sent by another request. Try again in a moment.",
    ),
    ErrorRow(
        "refund_refused",
        409,
        own.RefundRefused,
        "the refund or a part of it was refused; see `data`, and try again with another "
        "`Idempotency-Key`",
        Route.REFUND_CREATE,
        details=_REFUND,
        example="Nothing was refunded: charge_already_refunded",
    ),
    ErrorRow(
        "idempotency_key_reused",
        409,
        own.IdempotencyKeyReused,
        "the `Idempotency-Key` was used before, with another amount, reason or kind",
        Route.REFUND_CREATE,
        example="This idempotency key was used for another refund.",
    ),
    ErrorRow(
        "payload_too_large",
        413,
        own.WebhookPayloadTooLarge,
        "the body is too large",
        Route.ALL,
        also={BodyTooLarge: {}},
        example="The body is too large.",
    ),
    ErrorRow(
        "unsupported_media_type",
        415,
        drf.UnsupportedMediaType,
        "the body is not `application/json`",
        Route.WITH_BODY,
        example='Unsupported media type "application/x-www-form-urlencoded" in request.',
    ),
    ErrorRow(
        "amount_not_representable",
        422,
        own.MoneyError,
        "the currency cannot represent the amount",
        Route.PAYMENT_INTENT_CREATE | Route.REFUND_CREATE,
        example="12.345 has more decimals than usd has",
    ),
    ErrorRow(
        "amount_too_small",
        422,
        own.AmountTooSmall,
        "the amount is below Stripe's minimum charge",
        Route.PAYMENT_INTENT_CREATE,
        details=_STRIPE_REQUEST,
    ),
    ErrorRow(
        "amount_too_large",
        422,
        own.AmountTooLarge,
        "the amount is above Stripe's maximum charge",
        Route.PAYMENT_INTENT_CREATE,
        details=_STRIPE_REQUEST,
    ),
    # The throttle's own wait replaces retry_after. A throttle of the host may have none.
    ErrorRow("throttled", 429, drf.Throttled, "too many requests", Route.OF_CLIENTS, retry_after=1),
    ErrorRow(
        "gateway_error",
        502,
        own.GatewayError,
        "Stripe refused the request; the shop's log says why",
        Route.CALLS_STRIPE,
        "The payment provider refused the request. Contact the shop.",
        details=_STRIPE_REQUEST,
        example="Request was throttled. Expected available in 60 seconds.",
    ),
    ErrorRow(
        "gateway_unavailable",
        503,
        own.GatewayUnavailable,
        "Stripe did not answer, is busy, or does not know the payment under the shop's key; safe "
        "to repeat",
        Route.CALLS_STRIPE,
        "The payment provider could not be reached. Try again in a moment.",
        retry_after=5,
        details=_STRIPE_REQUEST,
        also={
            own.GatewayBusy: {"retry_after": 2},
            # The key is of another account or mode. The shop must change it first.
            own.TargetMissing: {
                "retry_after": 60,
                "message": "The payment provider does not know this payment at present. Try again "
                "later, or contact the shop.",
            },
        },
    ),
    ErrorRow(
        "not_configured",
        503,
        own.ConfigurationError,
        "a setting of the shop is missing or wrong",
        Route.ALL,
        "Payments are not configured correctly. Contact the shop.",
        retry_after=60,
    ),
    ErrorRow(
        "order_unreadable",
        503,
        own.OrderUnreadable,
        "the shop's code could not read the order; safe to repeat",
        Route.OF_ONE_ORDER | Route.ORDERS_LIST,
        # The text of the exception names the method of the shop's adapter.
        "The order could not be read. Try again in a moment.",
        retry_after=5,
    ),
    ErrorRow(
        "database_unavailable",
        503,
        OperationalError,
        "the database is unavailable; safe to repeat",
        Route.ALL,
        "The database is unavailable. Try again in a moment.",
        retry_after=10,
        # psycopg raises it for a connection that the server has closed.
        also={InterfaceError: {}},
    ),
    ErrorRow(
        "event_failed",
        503,
        own.EventFailed,
        "webhook: the event is stored but not processed; Stripe sends it again",
        Route.STRIPE_WEBHOOK,
        retry_after=60,
        example="charge.refunded evt_1R8f5yQ9 could not be processed; it should be sent again",
    ),
)
