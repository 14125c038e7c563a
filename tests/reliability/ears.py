"""An app of the project that hears what the host is told, and writes it down.

``RELIABILITY_RECORD`` names the file. ``RELIABILITY_WITHOUT`` names what is taken away from the
app (see ``switches.py``), so that one can see the tests find the damage.
"""

from __future__ import annotations

import os
from typing import Any

from django.apps import AppConfig


class Ears(AppConfig):
    name = "tests.reliability"

    def ready(self) -> None:
        from shop_payments.ledger.facts import SIGNALS
        from tests.reliability import switches

        switches.throw(os.environ.get("RELIABILITY_WITHOUT", ""))
        # One small write to a file so opened is never torn.
        self._record = os.open(
            os.environ["RELIABILITY_RECORD"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )
        for kind, signal in SIGNALS.items():
            signal.connect(self._hear, dispatch_uid=f"ears {kind}")

    def _hear(self, *, order: Any, fact_id: Any, **kwargs: Any) -> None:
        os.write(self._record, f"{fact_id} {order.pk}\n".encode())
