"""The sandbox: Stripe's API for one test account."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from . import authentication_page, control, stripe_js
from .account.books import Books
from .account.clock import Clock
from .account.faults import Faults
from .api import LoggedRequest, StripeApi
from .levers import Levers
from .wire.idempotency import IdempotencyKeys
from .wire.keys import AcceptedKeys
from .wire.messages import Exchange, SandboxResponse
from .wire.versions import DEFAULT_VERSION, OLDEST, VERSIONS


class Sandbox(Levers):
    """A Stripe account in test mode, in memory.

    `secret_keys` are the accepted keys; None accepts any `sk_test_…` or `rk_test_…` key. All keys
    see the same account. `publishable_keys` does the same for `pk_test_…`. `clock` returns Unix
    time in seconds. The same `seed` gives the same ids and the same faults by rate. `sleep` waits
    for the seconds of a fault `latency`. `api_version` is the account's: of requests that name no
    version, and of events.

    Raises:
        ValueError: the sandbox does not have the API version.
    """

    def __init__(
        self,
        *,
        secret_keys: Collection[str] | None = None,
        publishable_keys: Collection[str] | None = None,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
        sleep: Callable[[float], None] = time.sleep,
        api_version: str = DEFAULT_VERSION,
    ) -> None:
        if api_version not in VERSIONS or api_version < OLDEST:
            raise ValueError(
                f"The sandbox has no API version '{api_version}', only Stripe's since {OLDEST}."
            )
        books = Books(
            clock=Clock(clock),
            random=random.Random(seed),  # noqa: S311 - no secrets
            # Its own generator, so that faults do not change the ids.
            faults=Faults(random.Random(seed), sleep),  # noqa: S311
            api_version=api_version,
        )
        keys = IdempotencyKeys(books.clock)
        accepted = AcceptedKeys(secret=secret_keys, publishable=publishable_keys)
        super().__init__(books=books, keys=keys, accepted=accepted)
        self._api = StripeApi(books=books, keys=keys, accepted=accepted)

    def handle(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | str | None = None
    ) -> SandboxResponse:
        """Answer a request. `url` is absolute or a path, with or without a query string.

        Raises:
            SandboxConnectionDropped: a fault breaks the connection.
        """
        if method.upper() == "HEAD":
            response = self.handle("GET", url, headers, body)
            length = {"content-length": str(len(response.body))}
            return replace(response, headers={**response.headers, **length}, body=b"")
        with self._books.lock:
            self._books.clock.catch_up()  # before the id, so that a seed gives the same ids
            request_id = self._books.new_id("req")
        exchange = Exchange.of(method, url, headers, body, id=request_id)
        if control.is_for_control(exchange.path):
            return control.answer(self, exchange)
        if authentication_page.is_page(exchange.path):
            return authentication_page.answer(self._books, exchange)
        if stripe_js.is_file(exchange.path):
            return stripe_js.answer(exchange)
        return self._api.answer(exchange)

    @property
    def base_url(self) -> str:
        """The base address of the sandbox's pages: the server's, else `https://sandbox.invalid`."""
        return self._books.base_url

    @base_url.setter
    def base_url(self, url: str) -> None:
        self._books.base_url = url

    @property
    def requests(self) -> list[LoggedRequest]:
        """The last 10,000 requests, in the order of their answers."""
        return self._api.log
