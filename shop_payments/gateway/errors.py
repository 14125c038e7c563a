"""Translate the SDK's exceptions to ours."""

from __future__ import annotations

import logging
import re

import stripe
import urllib3

from shop_payments.conf import get_config
from shop_payments.exceptions import (
    AmountTooLarge,
    AmountTooSmall,
    CardDeclined,
    GatewayAuthenticationError,
    GatewayBusy,
    GatewayError,
    GatewayInvalidRequest,
    GatewayUnavailable,
    IdempotencyKeyInUse,
    IdempotencyMismatch,
    ObjectMissing,
    UnexpectedState,
)
from shop_payments.gateway.values import storable

logger = logging.getLogger("shop_payments")

_AMOUNT_ERRORS: dict[str, type[GatewayInvalidRequest]] = {
    "amount_too_small": AmountTooSmall,
    "amount_too_large": AmountTooLarge,
}


def translate_error(error: stripe.StripeError) -> GatewayError:
    """Return our exception for one of the SDK's.

    The message is Stripe's, without secrets. The body is dropped. If the answer is not one of
    Stripe's error objects, the SDK's message is dropped too, because it may quote the body.
    """
    status = error.http_status or 0
    details = error.error.to_dict() if error.error is not None else {}
    code = str(details.get("code") or error.code or "")
    kind = _error_class(error, status=status, code=code, type_=str(details.get("type") or ""))
    headers = urllib3.HTTPHeaderDict(error.headers or {})
    message = _message_of(error)
    permission = _missing_permission(message) if status == _FORBIDDEN else ""
    translated = kind(
        f"The key in STRIPE_SECRET_KEY lacks the permission {permission}"
        if permission
        else message,
        code=storable(code),
        param=storable(str(details.get("param") or "")),
        request_id=storable(str(headers.get("request-id") or "")),
        http_status=status,
        replayed=headers.get("idempotent-replayed") == "true",
    )
    if status == _CONFLICT:
        # A concurrent request may use the same idempotency key ("perhaps due to using the same
        # idempotent key", says Stripe, which does not always give a code). It may still have its
        # effect. So the outcome is unknown, and the attempt stays pending.
        # See: https://docs.stripe.com/api/errors (checked 2026-11)
        translated.effect_unknown = True
    if isinstance(translated, GatewayAuthenticationError):
        translated.permission = permission
        logger.error(
            "Stripe refused the secret key: status=%s permission=%s stripe_request_id=%s",
            status,
            permission or "-",
            translated.request_id,
        )
    return translated


_FORBIDDEN = 403
_CONFLICT = 409
_NAMED = re.compile(r"(?:Having|Enabling) (.{1,400}?) permissions? (?:on this key )?would allow")
_PERMISSION = re.compile(r"'([a-z0-9_]{1,100})'")


def _missing_permission(message: str) -> str:
    """Return the permissions that the key lacks, as Stripe's message names them; "" if it does not.

    Stripe documents that it refuses a restricted key without the permission, but not the message:
    "Having the 'rak_charge_read' permission would allow this request to continue." If it names
    several permissions, each of them is enough.
    See: https://docs.stripe.com/keys/restricted-api-keys and
    https://github.com/stripe/stripe-node/issues/2246 (checked 2026-11)
    """
    named = _NAMED.search(message)
    return " or ".join(_PERMISSION.findall(named[1])) if named else ""


_START_SANDBOX = "Start the sandbox: manage.py shop_payments_sandbox"
_ADDRESS = re.compile(r"\S*@\S*")


def _message_of(error: stripe.StripeError) -> str:
    if error.error is not None:
        words = storable(str(error.user_message or "Stripe gave no message")).strip()
        return _ADDRESS.sub("…", words)  # no email addresses in logs
    if error.http_status:
        return f"The answer was not Stripe's (HTTP {error.http_status})"
    config = get_config()
    words = f"Stripe could not be reached at {config.STRIPE_API_BASE} ({type(error).__name__})"
    return f"{words}. {_START_SANDBOX}" if config.uses_sandbox else words


def _error_class(
    error: stripe.StripeError, *, status: int, code: str, type_: str
) -> type[GatewayError]:
    is_stripes = error.error is not None  # None for a proxy's page, or if there was no answer
    if not is_stripes or isinstance(error, stripe.APIConnectionError) or status >= 500:
        return GatewayUnavailable
    if status == _CONFLICT:
        return IdempotencyKeyInUse if code == "idempotency_key_in_use" else GatewayBusy
    if isinstance(error, stripe.RateLimitError):
        return GatewayBusy
    if isinstance(error, stripe.AuthenticationError | stripe.PermissionError):
        return GatewayAuthenticationError
    if isinstance(error, stripe.IdempotencyError) or type_ == "idempotency_error":
        return IdempotencyMismatch
    if isinstance(error, stripe.CardError):
        return CardDeclined
    if code == "resource_missing" and status == 404:
        return ObjectMissing
    if code.endswith("_unexpected_state"):
        return UnexpectedState
    if isinstance(error, stripe.InvalidRequestError):
        return _AMOUNT_ERRORS.get(code, GatewayInvalidRequest)
    # The SDK has no class for it. Stripe may have acted, so the outcome counts as unknown.
    return GatewayUnavailable
