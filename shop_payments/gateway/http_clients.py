"""The way to Stripe: a pool of connections, or a callable in tests."""

from __future__ import annotations

import json
import threading
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
        return _TransportClient(transport)
    session = _Session()
    # The sandbox is on this machine, and the environment's proxy knows the way to Stripe only.
    session.trust_env = config.STRIPE_API_BASE == STRIPE_API_BASE
    adapter = DeadlineAdapter(pool_maxsize=_POOL_SIZE)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    timeout = (config.CONNECT_TIMEOUT, config.READ_TIMEOUT)
    return _RequestsClient(config.READ_TIMEOUT, timeout=timeout, session=session)


class _Session(requests.Session):
    """Follows no redirects.

    Stripe sends none. Of anybody else's, each would be one more request that nobody counts, and
    some would carry the customer's address elsewhere.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Let a redirect be the answer."""


class _CheckedClient(stripe.HTTPClient):
    """Takes what the SDK must not see out of its hands, and remembers what it forgets.

    An answer that is not Stripe's (a proxy's page, say) it would quote in its message, or fail on
    it with an AttributeError or a UnicodeDecodeError. A refusal may carry the whole intent, and
    the SDK prints what Stripe says. Of several sendings it tells the last one's answer alone.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._call = threading.local()

    def request_with_retries(self, *args: Any, **kwargs: Any) -> tuple[Any, int, Any]:
        self._call.statuses = []
        body, status, headers = super().request_with_retries(*args, **kwargs)
        values = _json_object(body)
        refused = not 200 <= status < 300
        if values is None or (refused and not _is_stripes_error(values.get("error"))):
            message = f"The answer was not Stripe's (HTTP {status})"
            raise stripe.APIError(message, http_status=status, headers=dict(headers))
        silence_console()
        if not refused:
            return body, status, headers
        values = without_client_secrets(values)
        if _is_turned_away(status, values) and any(map(_is_unclear, self._call.statuses[:-1])):
            # It is about the last sending. One before it may have had its effect.
            raise stripe.APIConnectionError(
                values["error"].get("message"),
                http_status=status,
                json_body=values,
                headers=dict(headers),
            )  # type: ignore[no-untyped-call]
        return json.dumps(values), status, headers

    def request(self, *args: Any, **kwargs: Any) -> tuple[Any, int, Any]:
        """Send once; each of the SDK's repetitions waits for its turn."""
        self._call.statuses.append(_NO_ANSWER)
        with taking_turns():
            body, status, headers = super().request(*args, **kwargs)
        self._call.statuses[-1] = status
        return body, status, headers


def _is_stripes_error(error: object) -> bool:
    """Whether this is what Stripe refuses with: others say ``{"error": {…}}``, too."""
    return isinstance(error, dict) and isinstance(error.get("type"), str)


_NO_ANSWER = 0
_CONFLICT = 409
_TURNED_AWAY = {401, 403, 429}
"""Said of the secret key or of the rate, before Stripe looks at the idempotency key."""


def _is_turned_away(status: int, values: Mapping[str, Any]) -> bool:
    """Whether Stripe has not taken a sending, and does not say that it knows of another one."""
    code = values["error"].get("code")
    return status in _TURNED_AWAY or (status == _CONFLICT and code != "idempotency_key_in_use")


def _is_unclear(status: int) -> bool:
    return status in {_NO_ANSWER, _CONFLICT} or status >= 500


def _json_object(body: str | bytes) -> dict[str, Any] | None:
    try:
        values = json.loads(body.decode() if isinstance(body, bytes) else body)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None


class _RequestsClient(_CheckedClient, stripe.RequestsClient):
    """stripe-python's own client; a call ends after ``seconds``, its repetitions included."""

    def __init__(self, seconds: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._seconds = seconds

    def request_with_retries(self, *args: Any, **kwargs: Any) -> tuple[Any, int, Any]:
        with within(self._seconds):
            return super().request_with_retries(*args, **kwargs)

    def request(self, *args: Any, **kwargs: Any) -> tuple[Any, int, Any]:
        """Send once; not again when the time is over."""
        try:
            return super().request(*args, **kwargs)
        except stripe.APIConnectionError as error:
            error.should_retry &= seconds_left() > 0
            raise


class _Answerer(stripe.HTTPClient):
    """stripe-python's HTTP client hook, answered by a callable instead of a network."""

    name = "shop_payments.transport"

    def __init__(self, transport: Transport) -> None:
        super().__init__()
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


class _TransportClient(_CheckedClient, _Answerer):
    """The same checks without a network."""
