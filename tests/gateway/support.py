"""Helpers of the gateway's tests."""

from __future__ import annotations

import traceback
from typing import Any
from uuid import uuid4

import pytest

from shop_payments.exceptions import GatewayError
from shop_payments.gateway import get_gateway

PARAMS: dict[str, Any] = {
    "amount": 11200,
    "currency": "usd",
    "description": "Payment for Order #1",
    "metadata": {"order_id": "1", "attempt_id": "an-attempt"},
    "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
}


def new_key() -> str:
    return str(uuid4())


def create(*, key: str = "", **changes: Any) -> Any:
    return get_gateway().create_payment_intent(
        {**PARAMS, **changes}, idempotency_key=key or new_key()
    )


def retrieve(intent_id: str) -> Any:
    return get_gateway().retrieve_payment_intent(intent_id)


def confirm(intent_id: str, method: str = "pm_card_visa") -> Any:
    return get_gateway().confirm_payment_intent(
        intent_id, payment_method=method, idempotency_key=new_key()
    )


def refusal(expected: type[GatewayError], call: Any, *args: Any, **kwargs: Any) -> GatewayError:
    """Call, and return the exception, which must be of exactly this class."""
    with pytest.raises(GatewayError) as failure:
        call(*args, **kwargs)
    assert type(failure.value) is expected, repr(failure.value)
    return failure.value


def facts(error: GatewayError) -> tuple[bool, bool, int, str]:
    return error.retryable, error.effect_unknown, error.http_status, error.code


def all_of(error: BaseException) -> str:
    """Return what an error reporter prints: the traceback with the app's local variables."""
    assert error.__traceback__ is not None
    below_the_test = error.__traceback__.tb_next
    report = traceback.TracebackException(type(error), error, below_the_test, capture_locals=True)
    return "".join(report.format())
