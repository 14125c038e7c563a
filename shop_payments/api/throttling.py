"""Rate limits: named scopes on top of REST framework's throttles.

What each scope counts, and why the defaults (``conf.DEFAULT_THROTTLE_RATES``) are what they are:

``failed_authentication``
    Failures to authenticate, per address, on all routes but the webhook. It is checked before a key
    or a token is looked up. Failures with a live key and a wrong token are counted apart, per key
    and address, and only they are refused: a storefront's server cannot know that a customer's
    token has expired, and must not lose its other customers for it; and a key in a browser is known
    to everybody. No secret can be guessed at any rate; 300 a minute keep guesses from being work
    for the database.
``payment_intent_user``
    Card testers want many attempts from few accounts. A customer on a bad line asks a few times a
    minute for a few minutes, which 60 an hour leave room for.
``payment_intent_address``
    An address may be one tester with many accounts, a mobile carrier, or a storefront's server that
    calls for all of its customers: 120 a minute is for the last of these. Shops whose customers
    call directly can go far lower (20/min), larger storefronts with servers of their own higher.
``payment_key``
    The payment system repeats its hint until the order is paid, for many orders at a time. 600 a
    minute are a tenth of what Stripe allows a live account, so a loop there leaves room for others.
``refund_key``
    A key that gives money back should not be enough to empty the till in a minute. A shop that
    refunds a season's orders in one night raises the rate.
``orders_user``
    A client polls every second or two while a payment is on its way.

A request is counted in all of its scopes, or, if one of them (or a throttle of the host) refuses
it, in none: a customer who sends too many requests does not use up the rate of an address that
others share. Scopes are checked before the order is looked up, so they reveal nothing about it.

REST framework counts with a read and a write of the cache, without a lock: concurrent requests may
be counted as one. That limits abuse well enough; Stripe's Radar is what checks the cards.
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
from shop_payments.users import key_of_user

logger = logging.getLogger("shop_payments")

_IPV6_SITE = 64
"""Bits of an IPv6 address that name a customer's line; the others its owner may choose."""


class ThrottleCache:
    """The cache (``THROTTLE_CACHE``) of one request. While it is down, nothing is counted.

    Customers have to be able to pay then. One failure is enough for a request: the next call might
    wait for another timeout.
    """

    def __init__(self) -> None:
        self._alias = get_config().THROTTLE_CACHE
        self._is_down = False

    def get(self, key: str, default: Any) -> Any:
        if not self._is_down:
            try:
                return caches[self._alias].get(key, default)
            except Exception as error:
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
            "the cache %r fails (%s): this request is not throttled",
            self._alias,
            type(error).__name__,
            exc_info=error,
        )


class ScopeThrottle(SimpleRateThrottle):
    """One scope for one request: REST framework's window, with our rates, cache and keys.

    :meth:`allow_request` asks; :meth:`charge` counts, once all scopes have let the request pass.
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
        """Say who or what is counted; empty where the request has none."""
        raise NotImplementedError

    def get_rate(self) -> str | None:
        return get_config().THROTTLE_RATES[self.scope or ""]

    def get_cache_key(self, request: Request, view: APIView) -> str | None:
        subject = self.subject(request, view)
        if not subject:
            return None
        # A digest: callers choose ids in URLs, and their address where NUM_PROXIES is not set.
        # Caches limit length and characters of a key, and addresses are nobody else's business.
        digest = hashlib.sha256(subject.encode("utf-8", "replace")).hexdigest()
        return f"shop_payments:throttle:{self.scope}:{digest[:32]}"

    def throttle_success(self) -> bool:
        return True

    def charge(self) -> None:
        """Count the request."""
        if self.key is not None:
            super().throttle_success()

    def throttle_failure(self) -> bool:
        logger.warning(
            "throttled: SHOP_PAYMENTS['THROTTLE_RATES'][%r] is %r", self.scope, self.rate
        )
        return False

    def wait(self) -> float:
        # The base class has no answer where a rate was lowered below what is counted already.
        return self.duration - (self.now - self.history[self.num_requests - 1])


class UserThrottle(ScopeThrottle):
    """Counts per customer, or per member of staff in their session."""

    def subject(self, request: Request, view: APIView) -> str:
        key = key_of_user(request.user)
        return "" if key is None else f"user {key}"


class KeyThrottle(ScopeThrottle):
    """Counts per live API key."""

    def subject(self, request: Request, view: APIView) -> str:
        key = live_key_of(request)
        return f"key {key.prefix}" if key else ""


class AddressThrottle(ScopeThrottle):
    """Counts per address, by REST framework's ``NUM_PROXIES``; IPv6 by the customer's line."""

    def subject(self, request: Request, view: APIView) -> str:
        ident = self.get_ident(request)
        # Behind a Unix socket there is no address; everybody would be the same caller.
        subject = f"address {_line(ident)}" if ident else ""
        if api_settings.NUM_PROXIES is None and request.META.get("HTTP_X_FORWARDED_FOR"):
            # Written by the caller. The address of the caller is not, and keeps them from using up
            # what another address may do.
            return f"{subject} by way of {request.META.get('REMOTE_ADDR', '')}"
        return subject


class FailureThrottle(AddressThrottle):
    """Counts per address; beside a live key, per key and address."""

    def subject(self, request: Request, view: APIView) -> str:
        key = live_key_of(request)
        subject = super().subject(request, view)
        return f"key {key.prefix}, {subject}" if key else subject


def _line(ident: str) -> str:
    address = _address(ident) or _address(_without_port(ident))
    if address is None:
        return ident
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(ip_network((int(address), _IPV6_SITE), strict=False))
    return str(address)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _without_port(text: str) -> str:
    """Some gateways write it behind the address; each of a caller's connections has another."""
    return text.rpartition(":")[0].strip("[]")


SCOPES: Mapping[str, type[ScopeThrottle]] = {
    "failed_authentication": FailureThrottle,
    "payment_intent_user": UserThrottle,
    "payment_intent_address": AddressThrottle,
    "payment_key": KeyThrottle,
    "refund_key": KeyThrottle,
    "orders_user": UserThrottle,
}
"""Whom each scope of ``conf.DEFAULT_THROTTLE_RATES`` counts."""

FAILED_AUTHENTICATION = "failed_authentication"


class ScopedThrottling(APIView):
    """A view whose requests are counted in ``throttle_scopes``, beside the host's own throttles."""

    throttle_scopes: tuple[str, ...] = ()
    _throttles: Sequence[ScopeThrottle] = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        cache = ThrottleCache() if self.throttle_scopes else None
        throttles = {scope: SCOPES[scope](scope, cache) for scope in self.throttle_scopes if cache}
        guesser = throttles.pop(FAILED_AUTHENTICATION, None)
        self._throttles = list(throttles.values())
        if guesser:
            self._refuse_guesser(guesser, request)
        try:
            super().initial(request, *args, **kwargs)
        except (NotAcceptable, Throttled):
            raise
        except (APIException, PermissionDenied) as error:
            # It is no failure of the caller's if the host cannot tell who calls.
            is_callers = getattr(error, "status_code", 403) < 500
            if is_callers and guesser:
                self._charge_failure(guesser, request)
            raise

    def _refuse_guesser(self, guesser: ScopeThrottle, request: Request) -> None:
        if not guesser.allow_request(request, self):
            answer_in_json(request)  # nothing is to be looked up for a guesser
            self.throttled(request, guesser.wait())

    def _charge_failure(self, guesser: ScopeThrottle, request: Request) -> None:
        # Asked again: by now a key may be known, and then it is not the same count.
        if not guesser.allow_request(request, self):
            self.throttled(request, guesser.wait())
        guesser.charge()

    def get_throttles(self) -> list[BaseThrottle]:
        return [*self._throttles, *super().get_throttles()]

    def check_throttles(self, request: Request) -> None:
        super().check_throttles(request)  # all are asked, and the longest wait is the answer
        for throttle in self._throttles:
            throttle.charge()
