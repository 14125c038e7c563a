"""A time limit for a whole call to Stripe, including its retry.

Note [One read at a time]
~~~~~~~~~~~~~~~~~~~~~~~~~
A read timeout limits a single read of the socket. If a server or a proxy sends
one byte every few seconds, the call never ends, and a worker of the shop is blocked. So each read,
of the headers and of the body, may only take the time that is left for the call.

If the time runs out, the outcome of the call is unknown, as after any timeout.

See: https://urllib3.readthedocs.io/en/stable/reference/urllib3.util.html (checked 2026-11)
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

import urllib3

_DEADLINE: ContextVar[float] = ContextVar("shop_payments_deadline", default=float("inf"))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Limit the calls of the block to so many seconds in all; see :func:`limit_reads`."""
    token = _DEADLINE.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _DEADLINE.reset(token)


def seconds_left() -> float:
    """Return the seconds left for the current call; 0 or less if its time is over."""
    return _DEADLINE.get() - time.monotonic()


class _Reader(io.RawIOBase):
    """Reads from a socket until the deadline of the call."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._file = sock, sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = seconds_left()
        if left <= 0:
            raise TimeoutError("the call took longer than its total timeout")
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


def limit_reads(manager: urllib3.PoolManager) -> None:
    """Make the future connections of ``manager`` read their answers with a deadline."""
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _limited(pools[scheme]) for scheme in pools}


def _limited(pool: Any) -> type:
    connection = type("Connection", (pool.ConnectionCls,), {"response_class": _Response})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})
