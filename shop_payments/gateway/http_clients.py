"""The way to Stripe: a pool of connections, or a callable in tests.

Note [One retry]
~~~~~~~~~~~~~~~~
A request that gets no answer, a 409 or a 5xx is sent once more, unless Stripe advises otherwise in
``Stripe-Should-Retry``. That is safe: reads change nothing, and for the idempotency key of a write
Stripe repeats the answer that it has saved.

The retry may be turned away: 401 and 403 are about the secret key, 429 is about the rate, and 409
about another request. None of them says what became of the first request: if its effect was
unknown, it stays unknown. The SDK can retry as well, but reports only the last answer. So its own
retries are switched off.

See: https://docs.stripe.com/error-low-level and
https://docs.stripe.com/api/idempotent_requests (checked 2026-11)
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import requests
import stripe

from shop_payments.conf import STRIPE_API_BASE, Config, Transport
from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway.deadlines import DeadlineAdapter, seconds_left, within
from shop_payments.gateway.sdk_logs import silence_console
from shop_payments.gateway.values import without_client_secrets
from shop_payments.pacing import taking_turns

_POOL_SIZE = 32
"""Connections kept per process; more threads than this still work, on connections of their own."""


def build_http_client(config: Config) -> stripe.HTTPClient:
    """Return the client that carries the SDK's requests.

    Raises:
        ConfigurationError: a transport for tests would meet a live key.
    """
    transport = config.transport
    if transport is not None:
        if config.livemode:
            raise ConfigurationError(
                "SHOP_PAYMENTS['STRIPE_TRANSPORT'] is for tests; it must not meet a live key"
            )
        return _TransportClient(config, transport)
    session = _Session()
    # The sandbox is on this machine, and the environment's proxy knows the way to Stripe only.
    session.trust_env = config.STRIPE_API_BASE == STRIPE_API_BASE
    adapter = DeadlineAdapter(pool_maxsize=_POOL_SIZE)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    return _RequestsClient(config, session)


class _Session(requests.Session):
    """Follows no redirects.

    Stripe sends none. Of anybody else's, each would be one more request that nobody counts, and
    some would carry the customer's address elsewhere.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Let a redirect be the answer."""


_Answer = tuple[Any, int, Mapping[str, str]]
_Outcome = _Answer | stripe.APIConnectionError

_PAUSE = 0.5
"""Seconds before the retry, as in the SDK."""


class _RetryingClient(stripe.HTTPClient):
    """Retries once, and lets the SDK see only answers that are Stripe's."""

    def __init__(self, config: Config, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._retries = config.MAX_NETWORK_RETRIES

    def request_with_retries(self, *args: Any, **kwargs: Any) -> tuple[Any, int, Any]:
        """Send a request, and a second time where that may help. See Note [One retry]."""
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
    """Whether Stripe may have acted, or may be acting at the moment."""
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
    """Return an answer that is Stripe's, a refusal without client secrets.

    The SDK would quote any other answer (a proxy's page, say), or fail on it with an AttributeError
    or a UnicodeDecodeError. A refusal may contain the whole intent, and the SDK prints it.

    Raises:
        stripe.APIConnectionError: no answer, or one that says nothing of a first request whose
            effect is unknown.
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
    if after_unknown and _is_turned_away(status, values):
        raise stripe.APIConnectionError(
            values["error"].get("message"),
            http_status=status,
            json_body=values,
            headers=dict(headers),
        )  # type: ignore[no-untyped-call]
    return json.dumps(values), status, headers


def _is_turned_away(status: int, values: Mapping[str, Any]) -> bool:
    """Whether Stripe refused a request without a look at what its idempotency key has done."""
    code = values["error"].get("code")
    return status in {401, 403, 429} or (status == _CONFLICT and code != "idempotency_key_in_use")


def _is_stripes_error(error: object) -> bool:
    """Whether this is what Stripe refuses with: others say ``{"error": {…}}``, too."""
    return isinstance(error, dict) and isinstance(error.get("type"), str)


def _json_object(body: str | bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(body.decode() if isinstance(body, bytes) else body)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


class _RequestsClient(_RetryingClient, stripe.RequestsClient):
    """stripe-python's own client; a call ends after ``READ_TIMEOUT``, its retry included."""

    def __init__(self, config: Config, session: requests.Session) -> None:
        timeout = (config.CONNECT_TIMEOUT, config.READ_TIMEOUT)
        super().__init__(config, timeout=timeout, session=session)
        self._seconds = config.READ_TIMEOUT

    def request_with_retries(self, *args: Any, **kwargs: Any) -> tuple[Any, int, Any]:
        with within(self._seconds):
            return super().request_with_retries(*args, **kwargs)


class _TransportClient(_RetryingClient):
    """stripe-python's HTTP client hook, answered by a callable instead of a network."""

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
            broken = stripe.APIConnectionError(str(error), should_retry=True)  # type: ignore[no-untyped-call]
            raise broken from error
        return answer.body, answer.status, requests.structures.CaseInsensitiveDict(answer.headers)

    def close(self) -> None:
        """Nothing to close."""
