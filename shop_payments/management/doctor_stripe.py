"""What the doctor asks Stripe: the account, the keys, the endpoints, the deliveries, the clock."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from urllib.parse import urlsplit
from uuid import uuid4

from django.conf import settings
from django.utils import timezone

from shop_payments.conf import STRIPE_API_BASE, Config, get_config
from shop_payments.exceptions import (
    ConfigurationError,
    GatewayAuthenticationError,
    GatewayError,
    GatewayInvalidRequest,
    GatewayUnavailable,
    ObjectMissing,
)
from shop_payments.gateway import (
    PERMISSIONS,
    STRIPE_API_VERSION,
    EventResult,
    Gateway,
    PaymentIntentResult,
    Permission,
    WebhookEndpointResult,
    get_gateway,
)
from shop_payments.management.findings import Finding
from shop_payments.management.webhooks import (
    endpoints_of_this_shop,
    has_allowed_host,
    webhook_path,
)
from shop_payments.management.words import at_second, counted, sentence
from shop_payments.sync.registry import LISTED_EVENTS, OPTIONAL_EVENTS

_Findings = Iterator[Finding]

_KEYS = "dashboard.stripe.com/apikeys"

_LARGEST_SKEW = timedelta(seconds=30)
"""A larger difference of the clocks is reported. ``Date`` has whole seconds, and the call takes
some time."""

_RETRIED = timedelta(days=3)
"""Stripe delivers an event again for three days."""

_PATIENCE = timedelta(minutes=10)
"""If an older event is not delivered, deliveries fail. A younger one may be delivered yet."""

_GRACE = timedelta(minutes=2)
"""It is normal that even younger events are on their way."""


def examine_stripe() -> _Findings:
    """Ask Stripe, or the sandbox. Nothing is written there."""
    config = get_config()
    try:
        gateway = get_gateway()
    except ConfigurationError:
        return  # E002 reports it
    with _quiet_log():
        account = [*_account(gateway, config)]
        yield from account
        if account[-1].level == "error":
            return
        newest, stripe_time = _newest_intent(gateway)
        yield from _clock(stripe_time, config)
        yield from _permissions(gateway, config)
        yield from _publishable_key(gateway, newest, config)
        yield from _endpoints(gateway)


@contextmanager
def _quiet_log() -> Iterator[None]:
    """Keep the app's log silent: the findings say the same, and refusals are expected."""
    logger, refuse = logging.getLogger("shop_payments"), lambda record: False
    logger.addFilter(refuse)
    try:
        yield
    finally:
        logger.removeFilter(refuse)


def _account(gateway: Gateway, config: Config) -> _Findings:
    mode = "live" if gateway.livemode else "test"
    try:
        account = gateway.retrieve_account()
    except GatewayUnavailable as error:
        is_sandbox = config.STRIPE_API_BASE != STRIPE_API_BASE
        yield Finding(
            "error",
            sentence(error),
            "If the address is wrong, correct SHOP_PAYMENTS['STRIPE_API_BASE']."
            if is_sandbox
            else "Allow this machine to connect to Stripe, or set HTTPS_PROXY.",
        )
    except GatewayAuthenticationError as error:
        if error.http_status == HTTPStatus.FORBIDDEN:
            text = f"Key: it works, in {mode} mode. It may not read its account."
            yield Finding("ok", text)
        else:
            yield Finding(
                "error",
                f"Stripe does not accept the secret key: {sentence(error)}",
                f"Copy a {mode} key that has not expired from {_KEYS} to "
                "SHOP_PAYMENTS['STRIPE_SECRET_KEY'].",
            )
    except GatewayError as error:
        yield Finding("error", f"Stripe does not show the account: {error.in_full}.")
    else:
        words = f"{account.id} ({account.name})" if account.name else account.id
        yield Finding("ok", f"Key: it works, for the account {words}, in {mode} mode.")
        if gateway.livemode and not account.charges_enabled:
            yield Finding(
                "warning",
                "Account: it cannot take payments yet.",
                "Complete its details in Stripe's dashboard.",
            )


def _newest_intent(gateway: Gateway) -> tuple[PaymentIntentResult | None, datetime | None]:
    try:
        return gateway.newest_payment_intent()
    except GatewayError:
        return None, None


def _clock(stripe_time: datetime | None, config: Config) -> _Findings:
    if stripe_time is None:
        yield Finding("ok", "Clock: not checked, because no answer from Stripe contained a time.")
        return
    skew = timezone.now() - stripe_time
    seconds = round(abs(skew).total_seconds())
    if abs(skew) <= _LARGEST_SKEW:
        yield Finding("ok", "Clock: it agrees with Stripe's clock.")
        return
    where = "ahead of" if skew > timedelta() else "behind"
    words = f"Clock: this machine is {seconds} seconds {where} Stripe."
    fix = "Synchronize the clock (NTP)."
    if seconds > config.WEBHOOK_TOLERANCE:
        yield Finding("error", f"{words} Webhooks are refused as too old or too new.", fix)
    else:
        yield Finding("warning", words, fix)


# Keys


def _permissions(gateway: Gateway, config: Config) -> _Findings:
    if not config.STRIPE_SECRET_KEY.startswith("rk_"):
        yield Finding(
            "ok",
            "Permissions: the key may do everything. A restricted key (rk_…) is safer; docs/"
            "doctor.md lists what it needs.",
        )
        return
    granted, unknown = [], []
    for permission in PERMISSIONS:
        has, name_at_stripe = _has_permission(gateway, permission)
        if has is None:
            unknown.append(permission.name)
        elif has:
            granted.append(permission.name)
        else:
            named = f" ({name_at_stripe})" if name_at_stripe else ""
            yield Finding(
                "warning" if permission.is_optional else "error",
                f"Permissions: the key may not {permission.name}{named}, so {permission.purpose}.",
                f"Edit the key at {_KEYS}, and allow it.",
            )
    if granted:
        yield Finding("ok", f"Permissions: the key may {', '.join(granted)}.")
    if unknown:
        yield Finding(
            "ok", f"Permissions: it is not known whether the key may {', '.join(unknown)}."
        )


def _has_permission(gateway: Gateway, permission: Permission) -> tuple[bool | None, str]:
    """Return whether the key has it, None if that is not known; and its name at Stripe."""
    try:
        gateway.use_permission(permission, idempotency_key=str(uuid4()))
    except GatewayAuthenticationError as error:
        is_refused = error.http_status == HTTPStatus.FORBIDDEN
        return (False if is_refused else None), error.permission
    except ObjectMissing:
        return True, ""
    except GatewayError:
        return None, ""
    return True, ""


def _publishable_key(
    gateway: Gateway, newest: PaymentIntentResult | None, config: Config
) -> _Findings:
    key = config.STRIPE_PUBLISHABLE_KEY
    if not key:
        return
    if newest is None or not newest.client_secret:
        text = "Publishable key: it is not known whether it belongs to the secret key"
        yield Finding("ok", f"{text}, because there is no payment intent to try it with.")
        return
    try:
        gateway.retrieve_as_browser(newest, publishable_key=key)
    except (ConfigurationError, GatewayUnavailable) as error:
        yield Finding("ok", f"Publishable key: it is not known whether it works. {sentence(error)}")
    except (GatewayInvalidRequest, GatewayAuthenticationError) as error:
        is_others = isinstance(error, ObjectMissing)
        yield Finding(
            "error",
            "Publishable key: it belongs to another account than the secret key."
            if is_others
            else f"Publishable key: Stripe does not accept it: {sentence(error)}",
            "Take SHOP_PAYMENTS['STRIPE_PUBLISHABLE_KEY'] and ['STRIPE_SECRET_KEY'] from the same "
            f"page of the same account: {_KEYS}.",
        )
    except GatewayError as error:
        yield Finding("ok", f"Publishable key: it is not known whether it works. {sentence(error)}")
    else:
        yield Finding("ok", "Publishable key: it belongs to the secret key.")


# Webhooks


def _endpoints(gateway: Gateway) -> _Findings:
    try:
        path, endpoints = webhook_path(), gateway.list_webhook_endpoints()
    except ConfigurationError:
        return  # W008 reports it
    except GatewayError as error:
        yield Finding(
            "warning",
            f"Webhook endpoints: not known. {sentence(error)}",
            "Allow the key to read webhook endpoints, or look at dashboard.stripe.com/webhooks.",
        )
        return
    ours = endpoints_of_this_shop(endpoints)
    for each in endpoints:
        yield from _endpoint(each, is_ours=each in ours)
    if not ours:
        yield _no_endpoint(path)
        return
    urls = [each.url for each in ours if each.is_enabled]
    for url in {url for url in urls if urls.count(url) > 1}:
        yield Finding(
            "warning",
            f"Webhook endpoints: several endpoints send the same events to {url}.",
            "Delete all but one at dashboard.stripe.com/webhooks.",
        )
    yield from _deliveries(gateway, [each for each in endpoints if each.is_enabled], ours)


def _no_endpoint(path: str) -> Finding:
    """Return the finding that no endpoint has this shop's path.

    On a developer's machine, Stripe's command-line client may forward the events.
    """
    return Finding(
        "warning" if settings.DEBUG else "error",
        f"Webhook endpoint: Stripe has no endpoint for this shop (path {path}).",
        f"`manage.py shop_payments_webhook create --url https://YOUR.SHOP{path}`"
        + (f", or `stripe listen --forward-to 127.0.0.1:8000{path}`." if settings.DEBUG else "."),
    )


def _endpoint(endpoint: WebhookEndpointResult, *, is_ours: bool) -> _Findings:
    sends_all = "*" in endpoint.enabled_events
    number = (
        "all events"
        if sends_all
        else counted(len(endpoint.enabled_events), "type of events", "types of events")
    )
    version = endpoint.api_version or "the account's default"
    whose = "this shop's" if is_ours else "not this shop's"
    yield Finding(
        "ok",
        f"Webhook endpoint {endpoint.id} ({whose}): {endpoint.url}, {number}, API version "
        f"{version}, payload style snapshot{'' if endpoint.is_enabled else ', disabled'}.",
    )
    if not is_ours:
        return
    if not endpoint.is_enabled:
        yield Finding(
            "error",
            f"Webhook endpoint {endpoint.id} is disabled.",
            "Enable it at dashboard.stripe.com/webhooks. Stripe disables endpoints that failed for "
            "days, so look at its failed deliveries first.",
        )
    missing = set() if sends_all else set(LISTED_EVENTS) - endpoint.enabled_events
    for level, names in (
        ("error", sorted(missing - OPTIONAL_EVENTS)),
        ("warning", sorted(missing & OPTIONAL_EVENTS)),
    ):
        if names:
            yield Finding(
                "error" if level == "error" else "warning",
                f"Webhook endpoint {endpoint.id} does not send {', '.join(names)}.",
                "Add these events at dashboard.stripe.com/webhooks.",
            )
    if endpoint.api_version != STRIPE_API_VERSION:
        yield Finding(
            "warning",
            f"Webhook endpoint {endpoint.id} sends events in the API version {version}, and not in "
            f"{STRIPE_API_VERSION}, so each event may cost a call to Stripe.",
            "The version of an endpoint cannot change. Delete it at dashboard.stripe.com/webhooks, "
            f"then `manage.py shop_payments_webhook create --url {endpoint.url}`.",
        )
    if not has_allowed_host(endpoint.url):
        host = urlsplit(endpoint.url).hostname
        yield Finding(
            "warning",
            f"Webhook endpoint {endpoint.id} sends to the host {host}, which Django refuses.",
            f"Add {host!r} to ALLOWED_HOSTS, unless a proxy changes the Host header.",
        )


def _deliveries(
    gateway: Gateway,
    enabled: Sequence[WebhookEndpointResult],
    ours: Sequence[WebhookEndpointResult],
) -> _Findings:
    now = timezone.now()
    try:
        events = gateway.undelivered_events(
            types=LISTED_EVENTS, since=now - _RETRIED, until=now - _PATIENCE
        )
        young = gateway.undelivered_events(
            types=LISTED_EVENTS, since=now - _PATIENCE, until=now + _LARGEST_SKEW
        )
    except GatewayError as error:
        text = f"Deliveries: it is not known whether they fail. {sentence(error)}"
        yield Finding("warning", text, "Look at dashboard.stripe.com/webhooks.")
        return
    if not events:
        yield _recent_deliveries(young, now)
        return
    newest = events[-1]
    are_ours = all(each in ours for each in enabled)
    whose = "" if are_ours else " (or another endpoint of the account)"
    yield Finding(
        "error" if are_ours else "warning",
        f"Deliveries: this shop{whose} did not accept {_number_of(events)} of the last three days. "
        f"The newest is {newest.type} {newest.id} at {at_second(newest.created_at)}.",
        _FAILED_DELIVERIES,
    )


def _recent_deliveries(young: Sequence[EventResult], now: datetime) -> Finding:
    """Return the finding about the last minutes, if all earlier events were delivered."""
    if not young:
        return Finding("ok", "Deliveries: Stripe delivered all events of the last three days.")
    oldest, number = young[0], _number_of(young)
    if oldest.created_at > now - _GRACE:
        return Finding(
            "ok",
            f"Deliveries: Stripe is still delivering {number}. It delivered all others of the last "
            "three days.",
        )
    return Finding(
        "warning",
        f"Deliveries: Stripe has not delivered {number} yet. "
        f"The oldest is {oldest.type} {oldest.id}, of {at_second(oldest.created_at)}.",
        f"If this remains so for more than ten minutes: {_FAILED_DELIVERIES}",
    )


def _number_of(events: Sequence[EventResult]) -> str:
    return f"{'at least ' if len(events) >= 100 else ''}{counted(len(events), 'event')}"


_FAILED_DELIVERIES = (
    "Look at the response of the endpoint at dashboard.stripe.com/webhooks, or in the sandbox's "
    "terminal: for invalid_signature, copy the endpoint's signing secret (the sandbox's "
    "--webhook-secret) to SHOP_PAYMENTS['STRIPE_WEBHOOK_SECRETS']; for a 4xx, correct the address; "
    "for a 5xx or a timeout, look at the shop's log."
)
