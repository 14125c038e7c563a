"""What stripe-python prints.

Note [The SDK's logger]
~~~~~~~~~~~~~~~~~~~~~~~
stripe-python prints whole request and response bodies at DEBUG, client secrets included. The
filter below takes secrets out of its records before any handler sees them. What ``STRIPE_LOG``
(or ``stripe.log``) asks for goes to stderr past the logger. There "debug" is turned down to
"info" before an answer is printed: it names requests and quotes errors, whose secrets are taken
out before the SDK reads them.
"""

from __future__ import annotations

import logging
import os

import stripe

from shop_payments.secrecy import redact


class _RedactingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = redact(record.getMessage())
        record.args = ()
        return True


logging.getLogger("stripe").addFilter(_RedactingFilter())


def silence_console() -> None:
    """Keep bodies off stderr, whenever it was asked for. See Note [The SDK's logger]."""
    if "debug" in {stripe.log, os.environ.get("STRIPE_LOG")}:
        stripe.log = "info"
