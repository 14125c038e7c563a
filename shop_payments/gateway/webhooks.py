"""Verify and read Stripe's signed events."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import stripe

from shop_payments.conf import get_config
from shop_payments.days import as_stored
from shop_payments.exceptions import (
    ConfigurationError,
    InvalidSignature,
    InvalidWebhookPayload,
    MalformedObject,
    WebhookPayloadTooLarge,
)
from shop_payments.gateway.reading import intent_from_values, page_parts, readable, reading_of
from shop_payments.gateway.results import (
    Answer,
    EventResult,
    EventSubject,
    Page,
    PaymentIntentResult,
)
from shop_payments.gateway.values import (
    id_of,
    moment_of,
    own_id,
    text_of,
    without_client_secrets,
)
from shop_payments.secrecy import sealed


@sealed
def read_event(payload: bytes, signature_header: str) -> EventResult:
    """Verify a webhook body against the configured secrets and read its event.

    The signature may be at most ``WEBHOOK_TOLERANCE`` seconds in the past or in the future. The SDK
    checks only the past, and a tolerance of 0 turns its check off. Here it cannot be turned off.

    Raises:
        WebhookPayloadTooLarge: the body is larger than ``WEBHOOK_MAX_BYTES``, and was not read.
        InvalidSignature: no configured secret signed the body, or not recently.
        InvalidWebhookPayload: the body is signed, but is not an event.
        ConfigurationError: no webhook secret is configured.

    See: https://docs.stripe.com/webhooks#verify-manually (checked 2026-11)
    """
    if len(payload) > get_config().WEBHOOK_MAX_BYTES:
        raise WebhookPayloadTooLarge("The body is too large.")
    text = _verified(payload, signature_header)
    try:
        values = json.loads(text, parse_float=_finite, parse_constant=_finite)
    except (ValueError, RecursionError):
        raise InvalidWebhookPayload("the body is not JSON") from None
    return event_from_values(values)


def _finite(literal: str) -> float:
    number = float(literal)
    if not math.isfinite(number):
        raise ValueError(f"{literal} is not a finite number")
    return number


def _verified(payload: bytes, signature_header: str) -> str:
    """Return the body as text if one of the configured secrets signed it recently."""
    config = get_config()
    if not config.STRIPE_WEBHOOK_SECRETS:
        raise ConfigurationError("SHOP_PAYMENTS['STRIPE_WEBHOOK_SECRETS'] is missing")
    try:
        text = payload.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidSignature("the body is not UTF-8") from None
    if not signature_header.isascii():
        raise InvalidSignature("the signature header is not ASCII")
    if not any(
        _is_signed(text, signature_header, secret.reveal())
        for secret in config.STRIPE_WEBHOOK_SECRETS
    ):
        raise InvalidSignature("no signature matches a webhook secret")
    _assert_recent(signature_header, tolerance=config.WEBHOOK_TOLERANCE)
    return text


def _is_signed(text: str, header: str, secret: str) -> bool:
    try:
        stripe.WebhookSignature.verify_header(text, header, secret, None)
    except (stripe.SignatureVerificationError, TypeError, ValueError):
        return False
    return True


def _assert_recent(header: str, *, tolerance: int) -> None:
    # The signature is valid and covers the first t=, so it is read as the SDK reads it.
    pairs = [item.split("=") for item in header.split(",")]
    signed_at = next(int(pair[1]) for pair in pairs if pair[0] == "t")
    if abs(time.time() - signed_at) > tolerance:
        raise InvalidSignature("the timestamp of the signature is too old or in the future")


def event_from_values(values: object) -> EventResult:
    """Read an event.

    Raises:
        InvalidWebhookPayload: it is not an event.
    """
    if not isinstance(values, dict) or values.get("object") not in ("event", "v2.core.event"):
        raise InvalidWebhookPayload("the body is not an event")
    try:
        payload = without_client_secrets(values)
        return EventResult(
            id=own_id(values["id"]),
            type=text_of(payload["type"])[:255],
            created_at=_event_time(payload.get("created")),
            livemode=payload.get("livemode") is True,
            api_version=str(payload.get("api_version") or "")[:64],
            object_id=_object_id(payload)[:255],
            intent_id=_intent_id(payload)[:255],
            payload=payload,
        )
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidWebhookPayload(f"not an event: {type(error).__name__}") from None


def events_of_answer(page: Answer) -> Page[EventResult]:
    """Read one page of events, oldest first; ``after`` is the newest id if there is another page.

    Stripe lists the newest first, also on a page that ends before an event.

    Raises:
        MalformedObject: it is not a list.
    """
    found, has_more = page_parts(page)
    items = tuple(readable(found, _event_of_answer))[::-1]
    with reading_of("list"):
        return Page(items=items, after=own_id(found[0].values["id"]) if has_more else "")


def _event_of_answer(answer: Answer) -> EventResult:
    try:
        return event_from_values(answer.values)
    except InvalidWebhookPayload as error:
        raise MalformedObject(str(error)) from None


def _about(payload: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the object in a snapshot event; None in a thin event."""
    data = payload.get("data")
    about = data.get("object") if isinstance(data, Mapping) else None
    return about if isinstance(about, Mapping) else None


def _object_id(payload: Mapping[str, Any]) -> str:
    """Return the id of an event's object: a snapshot contains the object, a thin event names it."""
    about = _about(payload)
    return id_of(payload.get("related_object") if about is None else about)


def _intent_id(payload: Mapping[str, Any]) -> str:
    about = _about(payload)
    if about is None:
        named = _related(payload)
        return id_of(named) if named.get("type") == "payment_intent" else ""
    is_intent = about.get("object") == "payment_intent"
    return id_of(about if is_intent else about.get("payment_intent"))


def account_of_event(payload: Mapping[str, Any]) -> str:
    """Return the connected account of a stored event; empty for the shop's own account.

    Thin events have no ``account``, but name it in ``context``. Snapshot events for an organization
    have a ``context`` even if they concern the shop's own account, so it is ignored there.

    See: https://docs.stripe.com/api/events/object#event_object-account,
    https://docs.stripe.com/api/v2/core/events/object#v2_event_object-context,
    https://docs.stripe.com/changelog/basil/2025-04-30/additional-context-organization-events
    (checked 2026-11)
    """
    if is_thin(payload):
        return id_of(payload.get("account") or payload.get("context"))
    return id_of(payload.get("account"))


def is_thin(payload: Mapping[str, Any]) -> bool:
    """Return whether a stored event is thin: it only names its object.

    See: https://docs.stripe.com/event-destinations#thin-events (checked 2026-11)
    """
    return _about(payload) is None


def _related(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the reference to an object in a thin event."""
    related = payload.get("related_object")
    return related if isinstance(related, Mapping) else {}


def _event_time(value: object) -> datetime:
    """Read the time of an event: Unix time in a snapshot event, ISO 8601 in a thin event."""
    if isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return as_stored(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    return moment_of(value)


def intent_from_event(payload: Mapping[str, Any]) -> PaymentIntentResult:
    """Read the payment intent in a stored ``payment_intent.*`` event.

    Raises:
        InvalidWebhookPayload: the event contains no intent, or one that cannot be read.
    """
    about = _about(payload)
    if about is None or about.get("object") != "payment_intent":
        raise InvalidWebhookPayload("the event is not about a payment intent")
    try:
        return intent_from_values(about, as_of=_event_time(payload.get("created")))
    except MalformedObject as error:
        raise InvalidWebhookPayload(str(error)) from None


def id_of_intent_event(payload: Mapping[str, Any]) -> str:
    """Return the id of the intent in a stored event, even if the rest of it cannot be read.

    Raises:
        InvalidWebhookPayload: the event contains no intent, or its id is malformed.
    """
    about = _about(payload)
    if about is None or about.get("object") != "payment_intent":
        raise InvalidWebhookPayload("the event is not about a payment intent")
    try:
        return own_id(about.get("id"))
    except (TypeError, ValueError) as error:
        raise InvalidWebhookPayload(f"not a payment intent: {error!r}") from None


def subject_of_event(payload: Mapping[str, Any]) -> EventSubject:
    """Return the object of a stored event, and the intent and charge that it belongs to.

    Raises:
        InvalidWebhookPayload: the event has no object.
    """
    about = _about(payload)
    if about is None:
        related = _related(payload)
        if not related.get("id"):
            raise InvalidWebhookPayload("the event names no object")
        charge = related if related.get("type") == "charge" else None
        return EventSubject(id=id_of(related), payment_intent="", charge=id_of(charge))
    charge = about.get("id") if about.get("object") == "charge" else about.get("charge")
    return EventSubject(
        id=id_of(about), payment_intent=id_of(about.get("payment_intent")), charge=id_of(charge)
    )
