"""The sandbox itself: one test account behind Stripe's API."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from . import authentication_page, control
from .account.books import Books
from .account.clock import Clock
from .account.faults import Faults
from .api import LoggedRequest, StripeApi
from .levers import Levers
from .wire import wsgi
from .wire.idempotency import IdempotencyKeys
from .wire.keys import AcceptedKeys
from .wire.messages import Exchange, SandboxResponse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Sandbox(Levers):
    """A Stripe account in test mode, in memory.

    `secret_keys` of None takes any `sk_test_…` or `rk_test_…` key (all see the same account), a
    collection only those; `publishable_keys` likewise for `pk_test_…`. `clock` gives Unix time in
    seconds; `seed` makes ids repeatable, and what a fault with a rate befalls. `sleep` is how a
    request waits for so many seconds where a fault gives it a latency.
    """

    def __init__(
        self,
        *,
        secret_keys: Collection[str] | None = None,
        publishable_keys: Collection[str] | None = None,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        books = Books(
            clock=Clock(clock),
            random=random.Random(seed),  # noqa: S311 - no secrets
            faults=Faults(random.Random(seed), sleep),  # noqa: S311 - ids do not depend on faults
        )
        keys = IdempotencyKeys(books.clock)
        accepted = AcceptedKeys(secret=secret_keys, publishable=publishable_keys)
        super().__init__(books=books, keys=keys, accepted=accepted)
        self._api = StripeApi(books=books, keys=keys, accepted=accepted)

    def handle(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | str | None = None
    ) -> SandboxResponse:
        """Answer one request; `url` is absolute or a path, with or without a query string.

        Raises:
            SandboxConnectionDropped: where a fault breaks the connection.
        """
        request_id = self._books.new_id("req")
        exchange = Exchange.of(method, url, headers, body, id=request_id)
        if control.is_for_control(exchange.path):
            return control.answer(self, exchange)
        if authentication_page.is_page(exchange.path):
            return authentication_page.answer(self._books, exchange)
        return self._api.answer(exchange)

    @property
    def base_url(self) -> str:
        """Where the sandbox's pages are: a server's address, else `https://sandbox.invalid`."""
        return self._books.base_url

    @base_url.setter
    def base_url(self, url: str) -> None:
        self._books.base_url = url

    @property
    def requests(self) -> list[LoggedRequest]:
        """The requests so far, in the order of their answers; of more than 10,000 the last ones."""
        return self._api.log

    def wsgi_app(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request as a WSGI application."""
        return wsgi.serve(self.handle, environ, start_response)
