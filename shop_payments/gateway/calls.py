"""What every call to Stripe has in common: the guard, the translation of errors, pages."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import datetime
from typing import Any, Concatenate, ParamSpec, TypeVar

import stripe
from django.utils import timezone

from shop_payments.exceptions import GatewayUnavailable, MalformedObject
from shop_payments.gateway.errors import translate_error
from shop_payments.gateway.guard import assert_no_transaction
from shop_payments.secrecy import sealed

_S = TypeVar("_S")
_P = ParamSpec("_P")
_R = TypeVar("_R")

PAGE_SIZE = 100
"""As many objects as Stripe puts into one page of a list."""


def stripe_call(
    method: Callable[Concatenate[_S, _P], _R],
) -> Callable[Concatenate[_S, _P], _R]:
    """Guard a method that talks to Stripe, and translate what it raises."""

    @sealed
    def ask(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(self, *args, **kwargs)
        except stripe.StripeError as error:
            raise translate_error(error) from None
        except (MalformedObject, RecursionError):
            raise GatewayUnavailable("Stripe's answer is not what was asked for") from None

    @functools.wraps(method)
    def call(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        assert_no_transaction()
        return ask(self, *args, **kwargs)

    return call


def created_within(since: datetime, until: datetime | None) -> dict[str, int]:
    """Return Stripe's filter for a span of time, rounded outwards to whole seconds."""
    span = {"gte": int(min(_timestamps(since)))}
    if until is not None:
        span["lte"] = int(max(_timestamps(until))) + 1
    return span


def page_params(since: datetime, after: str, *, until: datetime | None = None) -> dict[str, Any]:
    """Return the parameters that list one page, which begins after the object ``after``."""
    params: dict[str, Any] = {"created": created_within(since, until), "limit": PAGE_SIZE}
    return {**params, "starting_after": after} if after else params


def _timestamps(moment: datetime) -> tuple[float, ...]:
    """Seconds since 1970: two of them where clocks are turned and no time zone says which."""
    if moment.tzinfo is not None:
        return (moment.timestamp(),)
    zone = timezone.get_default_timezone()
    return tuple(moment.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
