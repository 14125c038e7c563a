"""Two things at the same moment, in threads: by chance, and in an order that the test lays down."""

from __future__ import annotations

import threading
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any, Literal
from urllib.parse import urlsplit

from django.db import connections
from django.db.models import F

from shop_payments.models import PaymentIntent

PATIENCE = 30
"""Seconds; a thread that has not answered by then never will."""


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run every call in a thread of its own, all released at the same moment.

    Returns what each has returned or raised.
    """
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(index: int, call: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            results[index] = call()
        except Exception as error:
            results[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(index, call)) for index, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


When = Literal["before", "after"]


class Hold:
    """A place at which whoever comes is held until they are let go."""

    def __init__(self) -> None:
        self.is_reached, self.let_go = threading.Event(), threading.Event()

    def hold(self, *_anything: object) -> None:
        self.is_reached.set()
        assert self.let_go.wait(PATIENCE)

    def meanwhile(self, held: Callable[[], Any], call: Callable[[], Any]) -> tuple[Any, Any]:
        """Run ``call`` while ``held`` is held; return what each has returned or raised."""

        def once_it_is_held() -> Any:
            assert self.is_reached.wait(PATIENCE)
            try:
                return call()
            finally:
                self.let_go.set()

        first, second = at_once(held, once_it_is_held)
        return first, second


class HeldLine(Hold):
    """A line to Stripe on which the first request of a kind is held until it is let go.

    ``before`` Stripe hears of it, or ``after`` Stripe has acted, with the answer on its way.
    """

    def __init__(
        self, stripe: Any, path: str = "*", *, method: str = "POST", when: When = "before"
    ) -> None:
        super().__init__()
        self._stripe, self._path, self._method, self._when = stripe, path, method, when

    def __call__(self, method: str, url: str, *rest: Any) -> Any:
        is_of_the_kind = method.upper() == self._method and fnmatchcase(
            urlsplit(url).path, self._path
        )
        is_held = is_of_the_kind and not self.is_reached.is_set()
        if is_held and self._when == "before":
            self.hold()
        answer = self._stripe.handle(method, url, *rest)
        if is_held and self._when == "after":
            self.hold()
        return answer


class RestlessLine:
    """A line to Stripe on which somebody changes an intent's row during every look at it."""

    def __init__(self, stripe: Any, intent: PaymentIntent) -> None:
        self.looks = 0
        self._stripe, self._intent = stripe, intent

    def __call__(self, method: str, url: str, *rest: Any) -> Any:
        if method.upper() == "GET" and urlsplit(url).path.endswith(self._intent.stripe_id):
            self.looks += 1
            rows = PaymentIntent.objects.filter(pk=self._intent.pk)
            rows.update(version=F("version") + 1)
        return self._stripe.handle(method, url, *rest)
