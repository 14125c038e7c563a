"""Rate limits: named scopes on top of REST framework's throttles.

What each scope counts, and the reason for its default in ``conf.DEFAULT_THROTTLE_RATES``:

``failed_authentication``
    Failed authentications per address, on all routes except the webhook. It is checked before a key
    or a token is looked up. Failures with a live key and a wrong token are counted separately, per
    key and address, and refuse only further failures. The reason: a storefront's server cannot know
    that a customer's token has expired, and its other customers must still be able to pay. A key in
    a browser is public. No secret can be guessed at any rate. The limit of 300 a minute protects
    the database from the load of the guesses.
``payment_intent_user``
    Card testers make many attempts with few accounts. A customer with a bad connection sends a few
    requests a minute for a few minutes. The limit of 60 an hour allows that.
``payment_intent_address``
    One address may be a tester with many accounts, a mobile carrier, or a storefront's server that
    calls for all customers. The limit of 120 a minute is meant for such a server. Use a much lower
    rate (20/min) if customers call directly, and a higher rate for a larger storefront.
``payment_key``
    The payment system repeats its call until the order is paid, for many orders at the same time.
    The limit of 600 a minute is a tenth of what Stripe allows for a live account, so a client in an
    endless loop does not block other calls.
``refund_key``
    A stolen key must not be able to refund all payments within a minute. Raise the rate if the shop
    refunds many orders in one night.
``orders_user``
    A client polls every second or two while a payment is pending.

If any scope, or a throttle of the host, refuses a request, then no scope counts it. So a customer
who sends too many requests does not use up the limit of a shared address. Scopes are checked before
the order is looked up, so they reveal nothing about it.

REST framework reads and writes the cache without a lock, so concurrent requests may be counted as
one. That is accurate enough to limit abuse. Stripe's Radar checks the cards.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from django.core.cache import caches
from django.core.exceptions import PermissionDenied
from rest_framework.exceptions import APIException, NotAcceptable, Throttled
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle, SimpleRateThrottle
from rest_framework.views import APIView

from shop_payments.api.authentication import live_key_of
from shop_payments.api.exception_handler import answer_in_json
from shop_payments.conf import get_config
from shop_payments.order_tokens import OrderToken
from shop_payments.users import key_of_user

logger = logging.getLogger("shop_payments")

_IPV6_SITE = 64
"""Number of leading bits of an IPv6 address that identify a customer's line.

The customer can choose the other bits freely.
"""


class ThrottleCache:
    """The cache ``THROTTLE_CACHE``, for one request. While it is down, nothing is counted.

    Customers must be able to pay while the cache is down. After one failure the request does not
    use the cache again, because each further call might wait for a timeout.
    """

    def __init__(self) -> None:
        self._alias = get_config().THROTTLE_CACHE
        self._is_down = False

    def get(self, key: str, default: Any) -> Any:
        if not self._is_down:
            try:
                return caches[self._alias].get(key, default)
            except Exception as error:  # each cache backend raises its own exceptions
                self._give_up(error)
        return default

    def set(self, key: str, value: Any, timeout: float) -> None:
        if not self._is_down:
            try:
                caches[self._alias].set(key, value, timeout)
            except Exception as error:
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._is_down = True
        logger.error(
            "request not throttled: cache=%s error=%s",
            self._alias,
            type(error).__name__,
            exc_info=error,
        )


class ScopeThrottle(SimpleRateThrottle):
    """One scope for one request: REST framework's window, with our rates, cache and keys.

    :meth:`allow_request` checks the limit. :meth:`charge` counts the request, after all scopes have
    allowed it.
    """

    key: str | None = None
    history: list[float]
    num_requests: int
    duration: int

    def __init__(self, scope: str, cache: ThrottleCache) -> None:
        self.scope = scope
        self.cache = cache  # type: ignore[assignment]
        super().__init__()

    def subject(self, request: Request, view: APIView) -> str:
        """Return who or what is counted, or an empty string to count nothing."""
        raise NotImplementedError

    def get_rate(self) -> str | None:
        return get_config().THROTTLE_RATES[self.scope or ""]

    def get_cache_key(self, request: Request, view: APIView) -> str | None:
        subject = self.subject(request, view)
        if not subject:
            return None
        # Use a digest: caches limit the length and the characters of keys, and a caller can choose
        # the address if NUM_PROXIES is not set. A digest also keeps addresses out of the cache.
        digest = hashlib.sha256(subject.encode("utf-8", "replace")).hexdigest()
        return f"shop_payments:throttle:{self.scope}:{digest[:32]}"

    # The base class counts here, before the other scopes have been checked.
    def throttle_success(self) -> bool:
        return True

    def charge(self) -> None:
        """Count the request."""
        if self.key is not None:  # there is no key without a rate or without a subject
            super().throttle_success()

    def throttle_failure(self) -> bool:
        logger.warning("request throttled: scope=%s rate=%s", self.scope, self.rate)
        return False

    def wait(self) -> float:
        # The base class returns None if the rate was lowered below the number already counted.
        return self.duration - (self.now - self.history[self.num_requests - 1])


class UserThrottle(ScopeThrottle):
    """Counts per customer, or per staff user in their session. For guests, counts per order."""

    def subject(self, request: Request, view: APIView) -> str:
        if isinstance(request.auth, OrderToken):
            return f"order {request.auth.order_id}"
        key = key_of_user(request.user)
        return "" if key is None else f"user {key}"


class KeyThrottle(ScopeThrottle):
    """Counts per live API key."""

    def subject(self, request: Request, view: APIView) -> str:
        key = live_key_of(request)
        return f"key {key.prefix}" if key else ""


class AddressThrottle(ScopeThrottle):
    """Counts per address, found with REST framework's ``NUM_PROXIES``; IPv6 per customer's line."""

    def subject(self, request: Request, view: APIView) -> str:
        ident = self.get_ident(request)
        # Behind a Unix socket there is no address, and all callers would share one count.
        subject = f"address {_line(ident)}" if ident else ""
        if api_settings.NUM_PROXIES is None and request.META.get("HTTP_X_FORWARDED_FOR"):
            # The caller writes this header, and could use up the limit of any address. So count it
            # together with the address of the connection, which the caller cannot choose.
            return f"{subject} by way of {request.META.get('REMOTE_ADDR', '')}"
        return subject


class FailureThrottle(AddressThrottle):
    """Counts per address. If the request has a live key, counts per key and address."""

    def subject(self, request: Request, view: APIView) -> str:
        key = live_key_of(request)
        subject = super().subject(request, view)
        return f"key {key.prefix}, {subject}" if key else subject


def _line(ident: str) -> str:
    address = _address(ident) or _address(_without_port(ident))
    if address is None:
        return ident
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:  # a server that listens on IPv6 sees IPv4 addresses in this form
            return str(address.ipv4_mapped)
        return str(ip_network((int(address), _IPV6_SITE), strict=False))
    return str(address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _without_port(text: str) -> str:
    """Return an address without its port. Some gateways add the port of each connection."""
    return text.rpartition(":")[0].strip("[]")


SCOPES: Mapping[str, type[ScopeThrottle]] = {
    "failed_authentication": FailureThrottle,
    "payment_intent_user": UserThrottle,
    "payment_intent_address": AddressThrottle,
    "payment_key": KeyThrottle,
    "refund_key": KeyThrottle,
    "orders_user": UserThrottle,
}
"""The throttle of each scope of ``conf.DEFAULT_THROTTLE_RATES``."""

FAILED_AUTHENTICATION = "failed_authentication"


class ScopedThrottling(APIView):
    """A view with the limits ``throttle_scopes``, in addition to the host's throttles."""

    throttle_scopes: tuple[str, ...] = ()
    _throttles: Sequence[ScopeThrottle] = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        cache = ThrottleCache() if self.throttle_scopes else None
        throttles = {scope: SCOPES[scope](scope, cache) for scope in self.throttle_scopes if cache}
        guesser = throttles.pop(FAILED_AUTHENTICATION, None)
        self._throttles = list(throttles.values())
        # Before authentication, so that guessed keys and tokens cost no query.
        if guesser:
            self._refuse_guesser(guesser, request)
        try:
            super().initial(request, *args, **kwargs)
        except (NotAcceptable, Throttled):  # not about who the caller is
            raise
        except (APIException, PermissionDenied) as error:
            # An error of the host, such as an identity provider that is down, is not a failed
            # authentication of the caller.
            is_callers = getattr(error, "status_code", 403) < 500
            if is_callers and guesser:
                self._charge_failure(guesser, request)
            raise

    def _refuse_guesser(self, guesser: ScopeThrottle, request: Request) -> None:
        if not guesser.allow_request(request, self):
            answer_in_json(request)  # a page would look up the user in the database
            self.throttled(request, guesser.wait())

    def _charge_failure(self, guesser: ScopeThrottle, request: Request) -> None:
        # Check again: if a live key is known by now, another count applies.
        if not guesser.allow_request(request, self):
            self.throttled(request, guesser.wait())
        guesser.charge()

    def get_throttles(self) -> list[BaseThrottle]:
        return [*self._throttles, *super().get_throttles()]

    def check_throttles(self, request: Request) -> None:
        # Raises Throttled with the longest wait if any throttle refuses the request.
        super().check_throttles(request)
        for throttle in self._throttles:
            throttle.charge()
