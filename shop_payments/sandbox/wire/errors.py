"""Stripe's error objects as exceptions.

    StripeError                 status, type, code, message, param, extra keys
    +-- InvalidRequest          400  invalid_request_error
    |   +-- NotCovered          400/501: Stripe has it, the sandbox does not
    |   +-- ResourceMissing     404 for an id in a path, 400 for one in a parameter
    +-- AuthenticationFailed    401/403  invalid_request_error
    +-- CardDeclined            402  card_error
    +-- IdempotencyConflict     400/409  idempotency_error
    +-- ServerError             500/503  api_error, only from a fault

See: https://docs.stripe.com/api/errors and https://docs.stripe.com/error-codes (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class StripeError(Exception):
    """An error that Stripe answers with."""

    status = 400
    type = "invalid_request_error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        status: int | None = None,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})
        if status is not None:
            self.status = status

    def as_object(self, *, request_id: str) -> dict[str, Any]:
        """Return the JSON object. Keys without a value are left out, as Stripe does."""
        error = {
            "code": self.code,
            "doc_url": doc_url(self.code),
            "message": self.message,
            "param": self.param,
            "request_log_url": f"https://dashboard.stripe.com/test/logs/{request_id}",
            "type": self.type,
            **self.extra,
        }
        return {"error": {key: value for key, value in error.items() if value is not None}}


class InvalidRequest(StripeError):
    """The parameters are invalid, or the object's state does not allow the operation."""


class NotCovered(InvalidRequest):
    """The real Stripe has it, but the sandbox does not."""

    def __init__(self, what: str, *, param: str | None = None, status: int = 400) -> None:
        super().__init__(
            f"The sandbox does not cover {what}. Use Stripe's own test mode for it.",
            code="sandbox_not_covered",
            param=param,
            status=status,
            headers={"stripe-should-retry": "false"},
        )
        self.type = "api_error" if status >= 500 else "invalid_request_error"

    def as_object(self, *, request_id: str) -> dict[str, Any]:
        body = super().as_object(request_id=request_id)
        del body["error"]["doc_url"]  # Stripe has no page for the sandbox's own code
        return body


class ResourceMissing(InvalidRequest):
    """There is no object with this id."""

    def __init__(self, kind: str, object_id: str, *, param: str, status: int = 400) -> None:
        super().__init__(
            f"No such {kind}: '{object_id}'", code="resource_missing", param=param, status=status
        )


class AuthenticationFailed(StripeError):
    """The API key is missing, invalid, or lacks a permission."""

    status = 401

    def __init__(self, message: str, *, code: str | None = None, status: int = 401) -> None:
        headers = {"www-authenticate": 'Basic realm="Stripe"'} if status == 401 else {}
        super().__init__(message, code=code, status=status, headers=headers)

    def as_object(self, *, request_id: str) -> dict[str, Any]:
        body = super().as_object(request_id=request_id)
        del body["error"]["request_log_url"]  # without a valid key there is no account, so no log
        return body


class CardDeclined(StripeError):
    """The issuer or Stripe declined the payment method."""

    status = 402
    type = "card_error"


class IdempotencyConflict(StripeError):
    """The idempotency key was used for another request, or is in use."""

    type = "idempotency_error"


class ServerError(StripeError):
    """An error inside Stripe. Only faults raise it."""

    status = 500
    type = "api_error"

    def __init__(self, message: str, *, code: str | None = None, status: int = 500) -> None:
        # A 500 is saved under the idempotency key, so Stripe asks clients not to retry.
        headers = {"stripe-should-retry": "false"} if status == 500 else {}
        super().__init__(message, code=code, status=status, headers=headers)


def doc_url(code: str | None) -> str | None:
    """Return the address of Stripe's documentation for an error code."""
    return code and f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}"
