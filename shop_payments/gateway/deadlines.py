"""A limit for a whole call to Stripe, its repetitions included.

Note [One read at a time]
~~~~~~~~~~~~~~~~~~~~~~~~~
The read timeout of ``requests`` limits one read of the socket. A server, or a proxy before it, that
sends one byte every few seconds keeps such a call going for ever, and with it a worker of the shop.
So each read, of the headers and of the body, is limited to the time that is left for the call.

The outcome of a call that is cut is unknown, as after any timeout.

See: https://requests.readthedocs.io/en/latest/user/advanced/#timeouts (checked 2026-11)
"""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import requests

_DEADLINE: ContextVar[float] = ContextVar("shop_payments_deadline", default=float("inf"))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Limit all that the block receives through :class:`DeadlineAdapter`."""
    token = _DEADLINE.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def seconds_left() -> float:
    """Return how long the call may still take; 0 or less when its time is over."""
    return _DEADLINE.get() - time.monotonic()


class DeadlineAdapter(requests.adapters.HTTPAdapter):
    """Ends a call at its deadline. See Note [One read at a time]."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _limit(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager: Any = super().proxy_manager_for(*args, **kwargs)
        if not hasattr(manager, "is_limited"):  # the same one is returned for each call
            _limit(manager)
        return manager

    def send(self, request: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Send once. ``timeout`` is a pair: the connect and the read timeout.

        Raises:
            requests.exceptions.ReadTimeout: the time is over; nothing was sent.
        """
        left = seconds_left()
        if left <= 0:
            raise requests.exceptions.ReadTimeout("the time for the whole call is over")
        kwargs["timeout"] = tuple(min(each, left) for each in kwargs["timeout"])
        return super().send(request, **kwargs)


class _Reader(io.RawIOBase):
    """Reads from a socket for no longer than the call may take."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._file = sock, sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = seconds_left()
        if left <= 0:
            raise TimeoutError("the time for the whole call is over")
        if left != float("inf"):
            self._sock.settimeout(left)
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_Reader(sock))


def _limit(manager: Any) -> None:
    """Let the connections that ``manager`` makes from now on read their answers so."""
    manager.is_limited = True
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _limited(pools[scheme]) for scheme in pools}


def _limited(pool: Any) -> type:
    connection = type("Connection", (pool.ConnectionCls,), {"response_class": _Response})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})
