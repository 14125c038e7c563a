"""An app that writes down what the shop's receivers are notified of.

``RELIABILITY_RECORD`` names the file. ``RELIABILITY_WITHOUT`` names the guards that the process
lacks (``switches.py``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.apps import AppConfig

Wrap = Callable[[str, Callable[..., None]], Callable[..., None]]


def listen(path: str, wrap: Wrap = lambda name, receiver: receiver) -> None:
    """Append ``kind fact_id order`` to the file for each signal, once for each process.

    ``wrap`` gets a name and the receiver, and returns what is connected.
    """
    from shop_payments.ledger.facts import SIGNALS

    # A small write to a file in this mode is never torn.
    record = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for kind, signal in SIGNALS.items():

        def receiver(*, order: Any, fact_id: Any, kind: str = kind, **kwargs: Any) -> None:
            os.write(record, f"{kind} {fact_id} {order.pk}\n".encode())

        wrapped = wrap(f"receiver of {kind}", receiver)
        signal.connect(wrapped, weak=False, dispatch_uid=f"ears {kind}")


@contextmanager
def listening(path: str) -> Iterator[None]:
    """Do the same for a while."""
    from shop_payments.ledger.facts import SIGNALS

    listen(path)
    yield
    for kind, signal in SIGNALS.items():
        signal.disconnect(dispatch_uid=f"ears {kind}")


class Ears(AppConfig):
    name = "tests.reliability"

    def ready(self) -> None:
        from tests.reliability import switches

        switches.throw(os.environ.get("RELIABILITY_WITHOUT", ""))
        if path := os.environ.get("RELIABILITY_RECORD"):
            listen(path)
