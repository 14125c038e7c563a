"""What all calls to Stripe share: the transaction guard, translated errors, pages of lists."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

import stripe
from django.utils import timezone

from shop_payments.days import as_stored
from shop_payments.exceptions import GatewayUnavailable, MalformedObject
from shop_payments.gateway.errors import translate_error
from shop_payments.gateway.guard import assert_no_transaction
from shop_payments.gateway.reading import all_pages
from shop_payments.gateway.results import Answer
from shop_payments.gateway.values import storable
from shop_payments.secrecy import sealed

_S = TypeVar("_S")
_P = ParamSpec("_P")
_R = TypeVar("_R")

PAGE_SIZE = 100
"""Stripe's maximum for a page. See: https://docs.stripe.com/api/pagination (checked 2026-11)"""


def stripe_call(
    method: Callable[Concatenate[_S, _P], _R],
) -> Callable[Concatenate[_S, _P], _R]:
    """Guard a method that calls Stripe, and translate the SDK's exceptions to ours."""

    @sealed
    def ask(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(self, *args, **kwargs)
        except stripe.StripeError as error:
            raise translate_error(error) from None
        except (MalformedObject, RecursionError):
            # Stripe may have carried out the request, so this is not a refusal.
            raise GatewayUnavailable("Stripe's answer could not be read") from None

    @functools.wraps(method)
    def call(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        assert_no_transaction()
        return ask(self, *args, **kwargs)

    return call


INTENTS = "/v1/payment_intents"
WITH_INTENT = {"expand": ["payment_intent.latest_charge"]}
"""Expands the intent of a refund, a dispute, a warning or a review, with its latest charge."""


class Calls:
    """Sends requests through the SDK, without building its objects.

    ``raw_request`` takes the SDK's keys, headers, retries and errors. The SDK's objects would cost
    more time than the request itself, and the app only reads the JSON.
    See: https://github.com/stripe/stripe-python#custom-requests (checked 2026-11)
    """

    def __init__(self, client: stripe.StripeClient) -> None:
        self._client = client

    def _get(self, path: str, params: Mapping[str, Any] | None = None) -> Answer:
        """Retrieve an object, or a page of a list."""
        return _answer_of(self._client.raw_request("get", path, **(params or {})))

    def _post(self, path: str, params: Mapping[str, Any], idempotency_key: str) -> Answer:
        """Write at Stripe."""
        if not idempotency_key:
            # Without one, the SDK makes up a new key for each call. A retry would then pay twice.
            raise ValueError("a write to Stripe needs an idempotency key")
        key = {"idempotency_key": idempotency_key}
        return _answer_of(self._client.raw_request("post", path, **params, **key))

    def _all(self, path: str, params: Mapping[str, Any]) -> Iterator[Answer]:
        """Return the objects of all pages of a list."""
        return all_pages(partial(self._get, path), {**params, "limit": PAGE_SIZE})


def path_of(collection: str, object_id: str, action: str = "") -> str:
    """Return the path of an object in a collection, or of an action on it."""
    return f"{collection}/{quote(object_id, safe='')}{action and f'/{action}'}"


def _answer_of(response: Any) -> Answer:
    if not isinstance(response.data, Mapping):
        raise MalformedObject("not an object")
    headers = response.headers
    replayed = headers.get("idempotent-replayed", "") == "true"
    return Answer(
        values=response.data,
        # A repeated answer shows the state at the time of the first one.
        as_of=None if replayed else _sent_at(headers.get("date")),
        request_id=storable(headers.get("request-id", "")),
        replayed=replayed,
    )


def _sent_at(date: str | None) -> datetime | None:
    """Read the header ``Date``, which HTTP servers send with each answer.

    See: https://www.rfc-editor.org/rfc/rfc9110#field.date (checked 2026-11)
    """
    try:
        moment = parsedate_to_datetime(date) if date else None
    except ValueError:
        return None
    return None if moment is None or moment.tzinfo is None else as_stored(moment)


def created_within(since: datetime, until: datetime | None) -> dict[str, int]:
    """Return Stripe's filter ``created`` for a period, widened to whole seconds."""
    span = {"gte": int(min(_timestamps(since)))}
    if until is not None:
        span["lte"] = int(max(_timestamps(until))) + 1
    return span


def page_params(since: datetime, after: str, *, until: datetime | None = None) -> dict[str, Any]:
    """Return the parameters for one page of a list, starting after the object ``after``."""
    params: dict[str, Any] = {"created": created_within(since, until), "limit": PAGE_SIZE}
    return {**params, "starting_after": after} if after else params


def _timestamps(moment: datetime) -> tuple[float, ...]:
    """Return the Unix times of ``moment``: two if it is naive and in the hour that occurs twice."""
    if moment.tzinfo is not None:
        return (moment.timestamp(),)
    zone = timezone.get_default_timezone()
    return tuple(moment.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
