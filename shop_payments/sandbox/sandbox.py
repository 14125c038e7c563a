"""The sandbox itself: one test account behind Stripe's API, and the levers a test pulls."""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from . import params, payment_intent_moves, webhooks
from .books import Books, Object
from .errors import StripeError
from .faults import Fault, Faults, Trouble
from .idempotency import IdempotencyKeys, Outcome
from .protocol import (
    DEFAULT_VERSION,
    TEST_KEY_PREFIXES,
    Call,
    Cause,
    Route,
    SandboxResponse,
    api_version,
    authenticate,
    error_response,
    json_response,
    read_params,
    refuse_uncovered_headers,
)
from .routes import find_route
from .webhooks import Deliver, Delivery, WebhookEndpoint

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


@dataclass(frozen=True, kw_only=True)
class LoggedRequest:
    """What a test may count. Keys and client secrets are not in it."""

    method: str
    path: str
    params: Mapping[str, Any]
    idempotency_key: str | None
    status: int | None
    """None if the connection broke."""
    request_id: str


@dataclass(frozen=True, kw_only=True)
class _Exchange:
    """One request on its way through."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    request_id: str

    @property
    def idempotency_key(self) -> str | None:
        """Return the key, which only counts on POST."""
        return (self.headers.get("idempotency-key") or None) if self.method == "POST" else None


class Sandbox:
    """A Stripe account in test mode, in memory.

    `secret_keys` of None takes any `sk_test_…` or `rk_test_…` key (all see the same account), a
    collection only those. `clock` gives Unix time in seconds; `seed` makes ids repeatable.
    """

    def __init__(
        self,
        *,
        secret_keys: Collection[str] | None = None,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
    ) -> None:
        if isinstance(secret_keys, str):
            raise TypeError("secret_keys is a collection of keys, not one key.")
        if any(not key.startswith(TEST_KEY_PREFIXES) for key in secret_keys or ()):
            raise ValueError(f"The sandbox takes test keys only: {' or '.join(TEST_KEY_PREFIXES)}.")
        self._accepted_keys = None if secret_keys is None else frozenset(secret_keys)
        self._books = Books(clock=clock, random=random.Random(seed))  # noqa: S311 - no secrets
        self._keys = IdempotencyKeys(clock)
        self._faults = Faults()
        self.requests: list[LoggedRequest] = []

    # The API

    def handle(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | str | None = None
    ) -> SandboxResponse:
        """Answer one request; `url` is absolute or a path, with or without a query string.

        Raises:
            SandboxConnectionDropped: where a fault breaks the connection.
        """
        parts = urlsplit(url)
        raw_body = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body or b""
        exchange = _Exchange(
            method=method.upper(),
            path=unquote(parts.path),
            query=parts.query,
            headers={name.lower(): value for name, value in headers.items()},
            body=raw_body,
            request_id=self._books.new_id("req"),
        )
        return self._answer(exchange)

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request as a WSGI application."""
        headers = {
            name[5:].replace("_", "-"): str(value)
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        headers["content-type"] = environ.get("CONTENT_TYPE", "")
        path = quote(environ.get("PATH_INFO", "").encode("latin-1"))
        url = f"{path}?{environ.get('QUERY_STRING', '')}"
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        response = self.handle(environ["REQUEST_METHOD"], url, headers, body)
        start_response(
            f"{response.status} {HTTPStatus(response.status).phrase}",
            [*response.headers.items(), ("content-length", str(len(response.body)))],
        )
        return [response.body]

    def _answer(self, exchange: _Exchange) -> SandboxResponse:
        raw: dict[str, Any] = {}
        status = None
        try:
            response = self._try_answer(exchange, raw)
            status = response.status
            return response
        finally:
            self._log(exchange, raw, status)

    def _try_answer(self, exchange: _Exchange, raw: dict[str, Any]) -> SandboxResponse:
        trouble = self._faults.take(exchange.method, exchange.path)
        version = DEFAULT_VERSION
        try:
            trouble.on_arrival()
            authenticate(exchange.headers, accepted=self._accepted_keys)
            version = api_version(exchange.headers)
            refuse_uncovered_headers(exchange.headers)
            raw.update(read_params(exchange.query, exchange.headers, exchange.body))
            response = self._run(exchange, raw, version, trouble)
        except StripeError as error:
            response = error_response(error, request_id=exchange.request_id)
        trouble.before_answer()
        always = {"request-id": exchange.request_id, "stripe-version": version}
        return replace(response, headers={**response.headers, **always})

    def _run(
        self, exchange: _Exchange, raw: Mapping[str, Any], version: str, trouble: Trouble
    ) -> SandboxResponse:
        route, object_id = find_route(exchange.method, exchange.path)

        def execute() -> Outcome:
            return self._execute(exchange, route, object_id, raw, version, trouble)

        if exchange.idempotency_key is None:
            return execute().response
        return self._keys.run(
            exchange.idempotency_key,
            path=exchange.path,
            params=copy.deepcopy(raw),
            request_id=exchange.request_id,
            execute=execute,
        )

    def _execute(
        self,
        exchange: _Exchange,
        route: Route,
        object_id: str,
        raw: Mapping[str, Any],
        version: str,
        trouble: Trouble,
    ) -> Outcome:
        begun = False
        try:
            values = params.parse(route.schema, raw, version=version)
            begun = True
            trouble.before_effect()
            cause = Cause(request_id=exchange.request_id, idempotency_key=exchange.idempotency_key)
            call = Call(books=self._books, params=values, object_id=object_id, cause=cause)
            with self._books.lock:
                response = json_response(route.handler(call))
        except StripeError as error:
            response = error_response(error, request_id=exchange.request_id)
        return Outcome(response=response, saved=begun)

    def _log(self, exchange: _Exchange, raw: Mapping[str, Any], status: int | None) -> None:
        shown = {name: raw[name] for name in raw if name != "client_secret"}
        self.requests.append(
            LoggedRequest(
                method=exchange.method,
                path=exchange.path,
                params=params.with_lists(shown),
                idempotency_key=exchange.idempotency_key,
                status=status,
                request_id=exchange.request_id,
            )
        )

    # Faults

    def inject(self, fault: Fault) -> None:
        """Let a fault wait for the next request that it matches."""
        self._faults.add(fault)

    def clear_faults(self) -> None:
        """Forget the faults that still wait."""
        self._faults.clear()

    # What happens at Stripe by itself

    def complete_authentication(self, intent_id: str, succeed: bool = True) -> Object:
        """Let the customer pass or fail 3D Secure; return a copy of the intent.

        Raises:
            ValueError: if the intent does not wait for that.
            StripeError: if there is no such intent.
        """
        with self._books.lock:
            return copy.deepcopy(
                payment_intent_moves.complete_authentication(
                    self._books, intent_id, succeed=succeed
                )
            )

    def advance(self, intent_id: str, status: str, **fields: Any) -> Object:
        """Force the intent into a status, with the matching event; return a copy of it.

        The fields that usually go with the status are set; `fields` override them (for example
        `amount_received=1`). Legal transitions are not asked for: this is how a test gets what
        Stripe should never do.

        Raises:
            ValueError: for a status or field that intents do not have.
            StripeError: if there is no such intent.
        """
        with self._books.lock:
            return copy.deepcopy(
                payment_intent_moves.advance(self._books, intent_id, status, fields)
            )

    # Webhooks

    def add_webhook(
        self, url: str, secret: str, *, deliver: Deliver | None = None
    ) -> WebhookEndpoint:
        """Send every event from now on to `url`, signed with `secret` (`whsec_…`).

        `deliver` takes URL, body and headers and returns the HTTP status; without it events are
        posted over HTTP, to this machine only.

        Raises:
            ValueError: for an address elsewhere.
        """
        if deliver is None:
            webhooks.check_loopback(url)
        endpoint = WebhookEndpoint(
            id=self._books.new_id("we"),
            url=url,
            secret=secret,
            deliver=deliver or webhooks.post_to_loopback,
        )
        with self._books.lock:
            self._books.webhook_endpoints.append(endpoint)
        return endpoint

    def remove_webhook(self, endpoint: WebhookEndpoint) -> None:
        """Send nothing more to the endpoint, not even what waits for it."""
        with self._books.lock:
            webhooks.remove(self._books, endpoint)

    def deliver_due(self) -> int:
        """Deliver, in this thread, all whose time has come by the sandbox's clock.

        Returns the number of attempts, failed ones included.
        """
        return webhooks.deliver_due(self._books)

    @property
    def pending_deliveries(self) -> list[Delivery]:
        """Deliveries that are still to come, or to come again."""
        with self._books.lock:
            return [copy.copy(delivery) for delivery in self._books.deliveries]

    @property
    def lost_deliveries(self) -> list[Delivery]:
        """Deliveries given up after three days."""
        with self._books.lock:
            return [copy.copy(delivery) for delivery in self._books.lost_deliveries]

    @property
    def events(self) -> list[Object]:
        """All events, oldest first."""
        with self._books.lock:
            return copy.deepcopy(list(self._books.events.values()))
