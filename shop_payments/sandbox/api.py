"""Handle a request: authenticate it, find and run its operation, and build the answer."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any

from .account.books import Books, Object
from .account.faults import RequestFaults, unknown_error
from .account.renderings import shown_in
from .resources.base import Call, Route, for_browser
from .resources.expand import check, expand
from .routes import RESOURCES, find_route
from .wire import params
from .wire.browsers import cors_headers, preflight_headers, with_headers, without_telemetry
from .wire.errors import StripeError
from .wire.forms import read_params
from .wire.idempotency import IdempotencyKeys, Outcome
from .wire.keys import (
    AcceptedKeys,
    authenticate,
    check_permission,
    refuse_uncovered_headers,
    secret_key_required,
)
from .wire.messages import Cause, Exchange, SandboxResponse, json_response
from .wire.versions import api_version

LOG_LENGTH = 10_000
"""How many requests are logged. Older ones are dropped, because a server may run for weeks."""
LOGGED_BYTES = 64 * 1024
"""The parameters of larger bodies are not logged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRequest:
    """A request in the log, for tests. It contains no API key and no client secret."""

    method: str
    path: str
    params: Mapping[str, Any]
    idempotency_key: str | None
    status: int | None
    """None if a fault broke the connection."""
    request_id: str


@dataclass(frozen=True, kw_only=True)
class _Request:
    """A request whose API key and route are known."""

    exchange: Exchange
    route: Route
    object_id: str
    raw: Mapping[str, Any]
    version: str
    publishable: bool
    faults: RequestFaults


class StripeApi:
    """Stripe's API for one account."""

    def __init__(
        self,
        *,
        books: Books,
        keys: IdempotencyKeys,
        accepted: AcceptedKeys,
    ) -> None:
        self._books = books
        self._keys = keys
        self._accepted = accepted
        self._other_account = Books(
            clock=books.clock,
            random=books.random,
            faults=books.faults,
            account_id="acct_1AnotherAccount",
            api_version=books.api_version,
        )
        """Another account, for the fault `another_account`."""
        self.log: list[LoggedRequest] = []

    def answer(self, exchange: Exchange) -> SandboxResponse:
        """Answer a request.

        Raises:
            SandboxConnectionDropped: a fault breaks the connection.
        """
        if exchange.method == "OPTIONS":
            return SandboxResponse(200, preflight_headers(exchange.headers), b"")
        exchange = with_headers(exchange)
        raw: dict[str, Any] = {}
        status = None
        try:
            response = self._try_answer(exchange, raw)
            status = response.status
            return response
        finally:
            self._log(exchange, raw, status)

    def _try_answer(self, exchange: Exchange, raw: dict[str, Any]) -> SandboxResponse:
        faults = self._books.faults.for_request(exchange.method, exchange.path)
        version = self._books.api_version
        publishable = False
        try:
            faults.on_arrival()
            publishable = authenticate(exchange.headers, accepted=self._accepted)
            version = api_version(exchange.headers, version)
            refuse_uncovered_headers(exchange.headers)
            given = read_params(exchange.query, exchange.headers, exchange.body)
            raw.update(without_telemetry(given) if publishable else given)
            route, object_id = find_route(exchange.method, exchange.path)
            check_permission(
                exchange.headers,
                accepted=self._accepted,
                kind=route.returns,
                reads=route.method == "GET",
            )
            response = self._run(
                _Request(
                    exchange=exchange,
                    route=route,
                    object_id=object_id,
                    raw=raw,
                    version=version,
                    publishable=publishable,
                    faults=faults,
                )
            )
        except StripeError as error:
            response = _error_response(error, exchange, publishable=publishable)
        faults.before_answer()
        always = {
            "date": formatdate(self._books.clock(), usegmt=True),
            "request-id": exchange.request_id,
            "stripe-version": version,
            **cors_headers(exchange.headers),
        }
        return replace(response, headers={**response.headers, **always})

    def _run(self, request: _Request) -> SandboxResponse:
        if request.publishable and request.route.browser_schema is None:
            raise secret_key_required()
        if request.faults.forgets_keys:
            self._keys.forget_all()
        if request.exchange.idempotency_key is None or request.faults.is_other_account:
            return self._execute(request).response
        return self._keys.run(
            request.exchange.idempotency_key,
            publishable=request.publishable,
            path=request.exchange.path,
            params=request.raw,
            request_id=request.exchange.request_id,
            execute=lambda: self._execute(request),
        )

    def _execute(self, request: _Request) -> Outcome:
        exchange, route = request.exchange, request.route
        begun = False
        try:
            values = params.parse(
                route.schema_for(publishable=request.publishable),
                request.raw,
                version=request.version,
            )
            paths = values.pop("expand", [])
            check(paths, kind=route.returns, listed=route.listed, resources=RESOURCES)
            begun = True
            request.faults.before_effect()
            cause = Cause(request_id=exchange.request_id, idempotency_key=exchange.idempotency_key)
            call = Call(
                books=self._other_account if request.faults.is_other_account else self._books,
                params=values,
                object_id=request.object_id,
                cause=cause,
                publishable=request.publishable,
                api_version=request.version,
            )
            with self._books.lock:
                self._books.clock.catch_up()
                if request.faults.effect_delay is not None:
                    self._postpone(request, call, request.faults.effect_delay)
                    raise unknown_error()
                body = route.handler(call)
                self._hide(request, body)
                if paths:
                    body = expand(self._books, body, paths, RESOURCES)
                body = shown_in(_shown_version(request, self._books), body, self._books)
                response = _response(body, publishable=request.publishable)
            request.faults.after_effect()
        except StripeError as error:
            response = _error_response(error, exchange, publishable=request.publishable)
        return Outcome(response=response, saved=begun)

    def _postpone(self, request: _Request, call: Call, seconds: float) -> None:
        """Run the operation later. Stripe completes some operations that ended with a 500.

        See: https://docs.stripe.com/error-low-level#server-errors (checked 2026-11)
        """

        def roll_forward() -> None:
            with suppress(StripeError):  # the operation may have become impossible meanwhile
                request.route.handler(call)

        self._books.clock.after(seconds, roll_forward)

    def _hide(self, request: _Request, body: Object) -> None:
        """Hide a new object from lists for a while, and remove hidden objects from this list."""
        now, unlisted = self._books.clock(), self._books.unlisted
        seconds = request.faults.unlisted_for
        if seconds is not None and "id" in body:
            unlisted[body["id"]] = now + seconds
        if request.route.listed and unlisted:
            shown = [each for each in body["data"] if unlisted.get(each["id"], now) <= now]
            body["data"] = shown

    def _log(self, exchange: Exchange, raw: Mapping[str, Any], status: int | None) -> None:
        is_small = len(exchange.body) <= LOGGED_BYTES
        shown = {name: raw[name] for name in raw if name != "client_secret" and is_small}
        self.log.append(
            LoggedRequest(
                method=exchange.method,
                path=exchange.path,
                params=params.with_lists(shown),
                idempotency_key=exchange.idempotency_key,
                status=status,
                request_id=exchange.request_id,
            )
        )
        del self.log[:-LOG_LENGTH]


def _shown_version(request: _Request, books: Books) -> str:
    # An event has the version of the account when it happened, whatever the request asks for.
    return books.api_version if request.route.returns == "event" else request.version


def _response(
    body: Object,
    *,
    publishable: bool,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> SandboxResponse:
    shown = for_browser(body, RESOURCES) if publishable else body
    return json_response(shown, status=status, headers=headers)


def _error_response(
    error: StripeError, exchange: Exchange, *, publishable: bool
) -> SandboxResponse:
    body = error.as_object(request_id=exchange.request_id)
    return _response(body, publishable=publishable, status=error.status, headers=error.headers)
