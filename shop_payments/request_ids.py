"""The id of a request to the API: sent by the client, returned with the answer, and in the log.

It is not the id that Stripe gives each request of ours: ``stripe_request_id`` in log lines and
answers, and "Stripe request id" in the admin.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import uuid4

from django.http import HttpRequest

REQUEST_ID_HEADER = "X-Request-ID"

_current: ContextVar[str] = ContextVar("shop_payments_request_id", default="")

# Nothing that could forge a line of a log, or end a quoted value in one.
_ACCEPTED = re.compile(r"[A-Za-z0-9._:@+/=-]{1,200}")

_ATTRIBUTE = "shop_payments_request_id"


@contextmanager
def request_id_of(request: HttpRequest) -> Iterator[str]:
    """Yield the client's id of a request, or a new one. Log lines of the block have it.

    An id that is too long, or has other characters than letters, digits and ``._:@+/=-``, is
    replaced by a new one.
    """
    given = request.META.get("HTTP_X_REQUEST_ID", "")
    request_id = given if _ACCEPTED.fullmatch(given) else uuid4().hex
    # For Django's own lines about the answer. It writes them after the view.
    setattr(request, _ATTRIBUTE, request_id)
    token = _current.set(request_id)
    try:
        yield request_id
    finally:
        _current.reset(token)


class RequestIDFilter(logging.Filter):
    """Sets ``request_id`` of each log record, for formatters; ``-`` outside of a request.

    It removes no record. Outside of the API's requests, the id of another filter stays.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        of_request = getattr(getattr(record, "request", None), _ATTRIBUTE, "")
        found = _current.get() or of_request or getattr(record, "request_id", "-")
        record.request_id = found
        return True
