"""Keep secrets out of the SDK's logs.

Note [The SDK's logger]
~~~~~~~~~~~~~~~~~~~~~~~
At DEBUG, stripe-python logs whole request and response bodies, including client secrets. The filter
below removes secrets from its records before any handler gets them. With ``STRIPE_LOG`` (or
``stripe.log``), the SDK also prints to stderr, without its logger. There, "debug" is lowered to
"info" before an answer is printed. At "info" it prints requests and errors, and the errors' secrets
are removed before the SDK reads them.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import stripe

from shop_payments.exceptions import ConfigurationError
from shop_payments.secrecy import redact


class _RedactingFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = redact(record.getMessage())
        record.args = ()
        return True


logging.getLogger("stripe").addFilter(_RedactingFilter())


@contextmanager
def secret_in_url() -> Iterator[None]:
    """Let the block send a request whose address has a secret in it, without logging it.

    urllib3 logs addresses at DEBUG, and the SDK prints them with ``STRIPE_LOG``.

    Raises:
        ConfigurationError: the SDK prints addresses to stderr.
    """
    if {"debug", "info"} & {stripe.log, os.environ.get("STRIPE_LOG")}:
        raise ConfigurationError("STRIPE_LOG is set, so the SDK would print a client secret")
    logger, redacting = logging.getLogger("urllib3.connectionpool"), _RedactingFilter()
    logger.addFilter(redacting)
    try:
        yield
    finally:
        logger.removeFilter(redacting)


def silence_console() -> None:
    """Keep the SDK from printing bodies to stderr. See Note [The SDK's logger]."""
    if "debug" in {stripe.log, os.environ.get("STRIPE_LOG")}:
        stripe.log = "info"
