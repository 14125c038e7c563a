"""HTTP clients for the SDK: a pool of connections, or a callable in tests.

Note [One retry]
~~~~~~~~~~~~~~~~
A request that gets no answer, a 409 or a 5xx is sent once more, unless ``Stripe-Should-Retry`` says
no. This is safe: reads change nothing, and for the same idempotency key Stripe repeats the answer
that it has saved.

Stripe may reject the retry without looking at the key: 401 and 403 concern the secret key, 429 the
rate, 409 another request. None of them says what the first request has done. If its outcome was
unknown, it stays unknown. The SDK can retry too, but it reports only the last answer. So the SDK's
own retries are switched off.

See: https://docs.stripe.com/error-low-level and
https://docs.stripe.com/api/idempotent_requests (checked 2026-11)
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import stripe
import urllib3

from shop_payments.conf import STRIPE_API_BASE, Config, Transport
from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway.deadlines import limit_reads, seconds_left, within
from shop_payments.gateway.sdk_logs import silence_console
from shop_payments.gateway.values import without_client_secrets
from shop_payments.pacing import taking_turns

_POOL_SIZE = 32
"""Connections kept open per process. Further threads get connections that are closed after use."""


def build_http_client(config: Config) -> stripe.HTTPClient:
    """Return the client that sends the SDK's requests.

    Raises:
        ConfigurationError: a transport for tests is set beside a live key.
    """
    transport = config.transport
    if transport is not None:
        if config.livemode:
            raise ConfigurationError(
                "SHOP_PAYMENTS['STRIPE_TRANSPORT'] is for tests and cannot be used with a live key"
            )
        return _TransportClient(config, transport)
    return _PoolClient(config)


_Answer = tuple[Any, int, Mapping[str, str]]
_Outcome = _Answer | stripe.APIConnectionError

_PAUSE = 0.5
"""Seconds before the retry, as in the SDK."""


class _RetryingClient(stripe.HTTPClient):
    """Retries once, and passes only Stripe's own answers on to the SDK."""

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._retries = config.MAX_NETWORK_RETRIES

    def request_with_retries(self, *args: Any, **kwargs: Any) -> tuple[Any, int, Any]:
        """Send a request, and once more if that may help. See Note [One retry]."""
        first = self._send(*args, **kwargs)
        if not self._retries or not _is_worth_a_retry(first) or seconds_left() <= _PAUSE:
            return _checked(first)
        time.sleep(_PAUSE)
        return _checked(self._send(*args, **kwargs), after_unknown=_is_unknown(first))

    def _send(self, *args: Any, **kwargs: Any) -> _Outcome:
        try:
            with taking_turns():
                return super().request_with_retries(*args, **kwargs)
        except stripe.APIConnectionError as error:
            return error


_CONFLICT = 409


def _is_unknown(outcome: _Outcome) -> bool:
    """Return whether Stripe may have acted, or may still be acting."""
    if isinstance(outcome, stripe.APIConnectionError):
        return True
    _body, status, _headers = outcome
    return status == _CONFLICT or status >= 500


def _is_worth_a_retry(outcome: _Outcome) -> bool:
    if isinstance(outcome, stripe.APIConnectionError):
        return bool(outcome.should_retry)
    _body, _status, headers = outcome
    advice = headers.get("stripe-should-retry")
    return advice == "true" or (advice != "false" and _is_unknown(outcome))


def _checked(outcome: _Outcome, *, after_unknown: bool = False) -> _Answer:
    """Return the answer if it is Stripe's. Client secrets are removed from errors.

    The SDK would quote any other answer, such as a proxy's page, or fail on it with an
    AttributeError or a UnicodeDecodeError. An error may contain the whole intent, and the SDK logs
    it.

    Raises:
        stripe.APIConnectionError: there was no answer, or the outcome of the first request is
            unknown and the answer to the retry does not say it.
        stripe.APIError: the answer is not Stripe's.
    """
    if isinstance(outcome, stripe.APIConnectionError):
        raise outcome
    body, status, headers = outcome
    values = _json_object(body)
    refused = not 200 <= status < 300
    if values is None or (refused and not _is_stripes_error(values.get("error"))):
        message = f"The answer was not Stripe's (HTTP {status})"
        raise stripe.APIError(message, http_status=status, headers=dict(headers))
    silence_console()
    if not refused:
        return outcome
    values = without_client_secrets(values)
    if after_unknown and _is_rejected_unseen(status, values):
        raise stripe.APIConnectionError(
            values["error"].get("message"),
            http_status=status,
            json_body=values,
            headers=dict(headers),
        )  # type: ignore[no-untyped-call]
    return json.dumps(values), status, headers


def _is_rejected_unseen(status: int, values: Mapping[str, Any]) -> bool:
    """Return whether Stripe rejected a request without looking at its idempotency key."""
    code = values["error"].get("code")
    return status in {401, 403, 429} or (status == _CONFLICT and code != "idempotency_key_in_use")


def _is_stripes_error(error: object) -> bool:
    """Return whether this is one of Stripe's error objects, which always have a ``type``.

    See: https://docs.stripe.com/api/errors (checked 2026-11)
    """
    return isinstance(error, dict) and isinstance(error.get("type"), str)


def _json_object(body: str | bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(body.decode() if isinstance(body, bytes) else body)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


class _PoolClient(_RetryingClient):
    """A pool of connections. A call ends after ``READ_TIMEOUT`` seconds, with its retry.

    urllib3 without ``requests``, which needs twice the time for a request, and would send the
    password that a ``.netrc`` names for a host instead of the secret key. Redirects are not
    followed: Stripe sends none, and one from anyone else could send the customer's data to another
    server.
    """

    name = "shop_payments.pool"

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._connect, self._read = config.CONNECT_TIMEOUT, config.READ_TIMEOUT
        self._pool = _build_pool(config.STRIPE_API_BASE)

    def request_with_retries(self, *args: Any, **kwargs: Any) -> tuple[Any, int, Any]:
        with within(self._read):
            return super().request_with_retries(*args, **kwargs)

    def request(  # type: ignore[override]
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        left = seconds_left()
        if left <= 0:
            raise _broken("the call took longer than its total timeout")
        try:
            answer = self._pool.request(
                method.upper(),
                url,
                body=post_data,
                headers=headers,
                timeout=urllib3.Timeout(min(self._connect, left), min(self._read, left)),
                redirect=False,
                retries=False,
            )
        except urllib3.exceptions.SSLError as error:
            raise _broken(str(error), should_retry=False) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _broken(f"{type(error).__name__}: {error}") from error
        return answer.data, answer.status, answer.headers

    def close(self) -> None:
        self._pool.clear()


def _broken(message: str, *, should_retry: bool = True) -> stripe.APIConnectionError:
    return stripe.APIConnectionError(message, should_retry=should_retry)  # type: ignore[no-untyped-call]


def _build_pool(base: str) -> urllib3.PoolManager:
    """Return a pool that checks certificates as the SDK does, and uses the environment's proxy.

    Raises:
        ConfigurationError: the proxy's address cannot be used.
    """
    options: dict[str, Any] = {
        "maxsize": _POOL_SIZE,
        "ca_certs": stripe.ca_bundle_path,
        "cert_reqs": "CERT_REQUIRED",
    }
    address = _proxy_for(base)
    if not address:
        pool = urllib3.PoolManager(**options)
    else:
        try:
            proxy = urllib3.util.parse_url(address)
            login = urllib3.make_headers(proxy_basic_auth=proxy.auth and unquote(proxy.auth))
            pool = urllib3.ProxyManager(proxy.url, proxy_headers=login, **options)
        except (urllib3.exceptions.HTTPError, ValueError):
            # Not the address itself, which may contain a password.
            raise ConfigurationError(
                "HTTPS_PROXY or HTTP_PROXY must be http://HOST:PORT or https://HOST:PORT"
            ) from None
    limit_reads(pool)
    return pool


def _proxy_for(base: str) -> str:
    """Return the proxy that the environment names for Stripe; empty for the sandbox.

    The sandbox runs on this machine, where a proxy cannot reach it.
    """
    url = urlsplit(base)
    if base != STRIPE_API_BASE or proxy_bypass(url.hostname or ""):
        return ""
    proxies = getproxies()
    return proxies.get(url.scheme) or proxies.get("all") or ""


class _TransportClient(_RetryingClient):
    """A client of stripe-python that calls a function instead of the network."""

    name = "shop_payments.transport"

    def __init__(self, config: Config, transport: Transport) -> None:
        super().__init__(config)
        self._transport = transport

    def request(  # type: ignore[override]
        self, method: str, url: str, headers: Mapping[str, str] | None, post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            answer = self._transport(method, url, headers or {}, post_data)
        except OSError as error:
            raise _broken(str(error)) from error
        return answer.body, answer.status, urllib3.HTTPHeaderDict(answer.headers)

    def close(self) -> None:
        """Nothing to close."""
