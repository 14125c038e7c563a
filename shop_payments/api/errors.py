"""Every failure of the API, in one table: exception → status and code.

The handler is hooked into our views alone, so the host's own ``EXCEPTION_HANDLER`` stays as it is.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from rest_framework import exceptions as drf
from rest_framework.request import Request
from rest_framework.response import Response

from shop_payments import exceptions as own
from shop_payments.api.authentication import APIKeyInvalid, APIKeyMissing, InsufficientScope
from shop_payments.api.parsers import BodyTooLarge
from shop_payments.api.renderers import PlainJSONRenderer
from shop_payments.api.serializers import PaymentIntentStateSerializer, refund_data
from shop_payments.ledger.transactions import is_of_a_standby


@dataclass(frozen=True)
class ErrorRow:
    """One line of the table."""

    exception: type[Exception]
    status: int
    code: str
    """Stable: clients may rely on it."""

    meaning: str
    """For the README and the OpenAPI schema; empty where another line says it of the same code."""

    message: str = ""
    """What the answer says, where the exception's own words are not for clients."""

    retry_after: int = 0
    """Seconds for the Retry-After header; 0 for none."""


logger = logging.getLogger("shop_payments")

_UNAVAILABLE = "The payment provider could not be reached. Try again in a moment."
_REFUSED = "The payment provider refused the request. The shop has been told."
_AWAY = "The shop is out of order for a moment. Try again."
_UNREADABLE = "The order could not be read. Try again in a moment."
_NOT_CONFIGURED = "Payments are not configured. The shop has been told."

ERROR_TABLE: tuple[ErrorRow, ...] = (
    ErrorRow(
        own.InvalidSignature, 400, "invalid_signature", "webhook: not signed by Stripe, or not now"
    ),
    ErrorRow(
        own.InvalidWebhookPayload, 400, "invalid_payload", "webhook: signed, but not an event"
    ),
    ErrorRow(drf.ParseError, 400, "parse_error", "the body is not JSON"),
    ErrorRow(
        drf.ValidationError,
        400,
        "invalid_request",
        "the body or the query is not as documented; see `errors`",
    ),
    ErrorRow(APIKeyMissing, 401, "api_key_missing", "no `X-API-Key` header"),
    ErrorRow(APIKeyInvalid, 401, "api_key_invalid", "an unknown, expired or revoked API key"),
    ErrorRow(drf.NotAuthenticated, 401, "not_authenticated", "no Bearer token"),
    ErrorRow(drf.AuthenticationFailed, 401, "invalid_token", "a wrong or expired Bearer token"),
    ErrorRow(InsufficientScope, 403, "insufficient_scope", "the API key lacks the route's scope"),
    ErrorRow(
        drf.PermissionDenied,
        403,
        "permission_denied",
        "not allowed, or no CSRF token in a staff session",
    ),
    ErrorRow(own.OrderNotFound, 404, "order_not_found", "no such order, or somebody else's"),
    ErrorRow(
        own.PaymentIntentMissing,
        404,
        "payment_intent_missing",
        "the order has no payment intent to prove a payment",
    ),
    ErrorRow(drf.NotFound, 404, "not_found", "no such page"),
    ErrorRow(
        drf.MethodNotAllowed, 405, "method_not_allowed", "the route does not take this method"
    ),
    ErrorRow(drf.NotAcceptable, 406, "not_acceptable", "the answer would be JSON"),
    ErrorRow(own.OrderAlreadyPaid, 409, "order_already_paid", "the order is paid"),
    ErrorRow(
        own.OrderNotPayable,
        409,
        "order_not_payable",
        "the order is free, cancelled or refunded; `data.reason`, where there is one, is `free`, "
        "`refunded`, `negative_total` or `currency_changed`",
    ),
    ErrorRow(
        own.PaymentProcessing,
        409,
        "payment_processing",
        "a slow payment method is working; do not pay again",
    ),
    ErrorRow(
        own.PaymentAuthorized,
        409,
        "payment_authorized",
        "the money is reserved and waits for capture",
    ),
    ErrorRow(
        own.PaymentInReview,
        409,
        "payment_in_review",
        "money is there that does not count, or is on its way out (`data.reason` is "
        "`refund_pending` or `dispute_open`), or Stripe has a payment that is not known here "
        "(`unknown_intent`)",
    ),
    ErrorRow(
        own.PaymentIntentInProgress,
        409,
        "payment_intent_in_progress",
        "another request for this order is running; `Retry-After`",
    ),
    ErrorRow(
        own.PaymentNotCompleted,
        409,
        "payment_not_completed",
        "something is still owed; see `data`",
    ),
    ErrorRow(
        own.PaymentMismatch,
        409,
        "payment_mismatch",
        "money came that does not count for the order, which is in review; see `data`",
    ),
    ErrorRow(
        own.OrderNotRefundable, 409, "order_not_refundable", "nothing was paid that could go back"
    ),
    ErrorRow(
        own.RefundExceedsBalance,
        409,
        "refund_exceeds_balance",
        "more than is left of the payment; see `data`",
    ),
    ErrorRow(
        own.PaymentDisputed,
        409,
        "payment_disputed",
        "the customer's bank has claimed the money; a refund would pay twice",
    ),
    ErrorRow(
        own.RefundInProgress,
        409,
        "refund_in_progress",
        "another request is sending this refund; `Retry-After`",
    ),
    ErrorRow(
        own.RefundRefused,
        409,
        "refund_refused",
        "this refund, or a part of it, was refused and not given back; see `data`, and ask with "
        "another key",
    ),
    ErrorRow(
        own.IdempotencyKeyReused,
        409,
        "idempotency_key_reused",
        "the `Idempotency-Key` was used with another amount, reason or kind",
    ),
    ErrorRow(own.WebhookPayloadTooLarge, 413, "payload_too_large", "the body is too large"),
    ErrorRow(BodyTooLarge, 413, "payload_too_large", ""),
    ErrorRow(
        drf.UnsupportedMediaType,
        415,
        "unsupported_media_type",
        "the body is not `application/json`",
    ),
    ErrorRow(
        own.MoneyError,
        422,
        "amount_not_representable",
        "the currency cannot represent the order's amount",
    ),
    ErrorRow(own.AmountTooSmall, 422, "amount_too_small", "below Stripe's minimum charge"),
    ErrorRow(own.AmountTooLarge, 422, "amount_too_large", "above Stripe's maximum charge"),
    ErrorRow(drf.Throttled, 429, "throttled", "too many requests; `Retry-After`", retry_after=1),
    ErrorRow(
        own.GatewayError,
        502,
        "gateway_error",
        "Stripe refused the request: the shop must look at it",
        _REFUSED,
    ),
    ErrorRow(
        own.GatewayUnavailable,
        503,
        "gateway_unavailable",
        "Stripe did not answer, or is busy; safe to repeat; `Retry-After`",
        _UNAVAILABLE,
        5,
    ),
    ErrorRow(
        own.GatewayBusy,
        503,
        "gateway_unavailable",
        "",
        _UNAVAILABLE,
        2,
    ),
    ErrorRow(
        own.TargetMissing,
        503,
        "gateway_unavailable",
        "",
        _UNAVAILABLE,
        60,
    ),
    ErrorRow(
        own.IdempotencyKeyInUse,
        409,
        "payment_intent_in_progress",
        "",
        "Another request is creating this payment intent. Try again in a moment.",
        1,
    ),
    ErrorRow(
        own.ConfigurationError,
        503,
        "not_configured",
        "a setting of the shop is missing or wrong; `Retry-After`",
        _NOT_CONFIGURED,
        60,
    ),
    ErrorRow(
        own.OrderUnreadable,
        503,
        "order_unreadable",
        "the shop's own code could not read the order; safe to repeat; `Retry-After`",
        _UNREADABLE,
    ),
    ErrorRow(
        OperationalError,
        503,
        "database_unavailable",
        "the shop's database is away; safe to repeat; `Retry-After`",
        _AWAY,
        10,
    ),
    ErrorRow(
        InterfaceError,
        503,
        "database_unavailable",
        "",
        _AWAY,
        10,
    ),
    ErrorRow(
        own.EventFailed,
        503,
        "event_failed",
        "webhook: stored, but to be sent again; `Retry-After`",
        retry_after=60,
    ),
)

_BY_EXCEPTION = {row.exception: row for row in ERROR_TABLE}

_DJANGO_EXCEPTIONS: dict[type[Exception], type[drf.APIException]] = {
    Http404: drf.NotFound,
    PermissionDenied: drf.PermissionDenied,
    # What Django finds in a body when something looks for a CSRF token in a form.
    RequestDataTooBig: BodyTooLarge,
    TooManyFieldsSent: BodyTooLarge,
    TooManyFilesSent: BodyTooLarge,
    BadRequest: drf.ParseError,
    MultiPartParserError: drf.ParseError,
    UnreadablePostError: drf.ParseError,
}


def find_row(error: Exception) -> ErrorRow | None:
    """Return the line of the nearest class of ``error`` that has one."""
    return next(
        (_BY_EXCEPTION[kind] for kind in type(error).__mro__ if kind in _BY_EXCEPTION), None
    )


def handle_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer with ``{"message", "code"}``; None (a 500, logged by Django) for what is a bug."""
    for django_error, drf_error in _DJANGO_EXCEPTIONS.items():
        if isinstance(error, django_error):
            error = drf_error()
    row = find_row(error) or _row_of_host(error) or _row_of_standby(error)
    if row is None:
        return None
    if row.code == _BY_EXCEPTION[OperationalError].code:
        # Django logs what becomes a 500; this is answered, and must be seen all the same.
        logger.error("The database is away", exc_info=error)
        answer_in_json(context["request"])
    body: dict[str, Any] = {"message": row.message or _message(error), "code": row.code}
    body.update(_details(error))
    return Response(body, status=row.status, headers=_headers(error, row))


def answer_in_json(request: Request) -> None:
    """Give up the page that a browser would get: it asks the database who the user is."""
    request.accepted_renderer = PlainJSONRenderer()
    request.accepted_media_type = PlainJSONRenderer.media_type


def _row_of_host(error: Exception) -> ErrorRow | None:
    """What the host's own classes raise on purpose keeps its status and its code."""
    if not isinstance(error, drf.APIException):
        return None
    return ErrorRow(type(error), error.status_code, str(error.default_code), "the host's own")


def _row_of_standby(error: Exception) -> ErrorRow | None:
    return _BY_EXCEPTION[OperationalError] if is_of_a_standby(error) else None


def _message(error: Exception) -> str:
    if isinstance(error, drf.ValidationError):
        return "The request is not valid."
    return _sentence(error.detail) if isinstance(error, drf.APIException) else str(error)


def _sentence(detail: Any) -> str:
    """Find the sentence in a detail that some packages of authentication give more than that."""
    if isinstance(detail, dict):
        detail = detail.get("detail") or next(iter(detail.values()), "")
        return _sentence(detail)
    if isinstance(detail, list):
        return _sentence(detail[0] if detail else "")
    return _encodable_text(str(detail))


def _encodable(value: Any) -> Any:
    """Replace lone surrogates, which JSON may hold and UTF-8 may not."""
    if isinstance(value, dict):
        return {_encodable_text(str(key)): _encodable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return _encodable_text(str(value))


def _encodable_text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _details(error: Exception) -> dict[str, Any]:
    if isinstance(error, drf.ValidationError):
        return {"errors": _encodable(error.detail)}
    if isinstance(error, own.UnsettledPayment):
        return {"data": _state_of(error)}
    if isinstance(error, own.RefundExceedsBalance):
        return {"data": {"refundable": error.refundable, "currency": error.currency}}
    if isinstance(error, own.RefundRefused):
        return {"data": refund_data(error.refunds)}
    if isinstance(error, own.GatewayError) and error.request_id:
        return {"data": {"stripe_request_id": error.request_id}}
    if isinstance(error, (own.OrderNotPayable, own.PaymentInReview)) and error.reason:
        return {"data": {"reason": str(error.reason)}}
    return {}


def _state_of(error: own.UnsettledPayment) -> dict[str, Any]:
    """Describe the intent; if money was received before, also what it amounts to."""
    data = dict(PaymentIntentStateSerializer(error.view).data)
    if error.outstanding:
        data["outstanding"] = error.outstanding
        data["payment_status"] = error.payment_status
    return data


def _headers(error: Exception, row: ErrorRow) -> dict[str, str]:
    headers = {}
    challenge = getattr(error, "auth_header", None)
    if challenge:
        headers["WWW-Authenticate"] = challenge
    wait = getattr(error, "retry_after", None) or getattr(error, "wait", None) or row.retry_after
    if wait:
        headers["Retry-After"] = str(max(math.ceil(wait), 1))
    return headers
