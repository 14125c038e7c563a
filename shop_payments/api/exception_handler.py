"""The answer to every failure of the API, by the table of errors.

The handler is hooked into our views alone, so the host's own ``EXCEPTION_HANDLER`` stays as it is.
"""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from typing import Any

from django.core.exceptions import (
    BadRequest,
    PermissionDenied,
    RequestDataTooBig,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.db import OperationalError
from django.http import Http404, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from rest_framework import exceptions as drf
from rest_framework.request import Request
from rest_framework.response import Response

from shop_payments.api.errors import ERROR_TABLE, ErrorRow, Route, encodable_text
from shop_payments.api.parsers import BodyTooLarge
from shop_payments.api.renderers import PlainJSONRenderer
from shop_payments.ledger.transactions import is_of_a_standby

logger = logging.getLogger("shop_payments")

_BY_EXCEPTION = {
    exception: replace(row, **different)
    for row in ERROR_TABLE
    for exception, different in {row.exception: {}, **row.also}.items()
}

_DJANGO_EXCEPTIONS: dict[type[Exception], type[drf.APIException]] = {
    Http404: drf.NotFound,
    PermissionDenied: drf.PermissionDenied,
    # What Django finds in a body when something looks for a CSRF token in a form.
    RequestDataTooBig: BodyTooLarge,
    TooManyFieldsSent: BodyTooLarge,
    TooManyFilesSent: BodyTooLarge,
    BadRequest: drf.ParseError,
    MultiPartParserError: drf.ParseError,
    UnreadablePostError: drf.ParseError,
}


def find_row(error: Exception) -> ErrorRow | None:
    """Return the row of the nearest class of ``error`` that has one."""
    return next(
        (_BY_EXCEPTION[kind] for kind in type(error).__mro__ if kind in _BY_EXCEPTION), None
    )


def handle_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """Answer with ``{"message", "code"}``; None (a 500, logged by Django) for what is a bug."""
    for django_error, drf_error in _DJANGO_EXCEPTIONS.items():
        if isinstance(error, django_error):
            error = drf_error()
    row = find_row(error) or _row_of_host(error) or _row_of_standby(error)
    if row is None:
        return None
    if row.code == "database_unavailable":
        # Django logs what becomes a 500; this is answered, and must be seen all the same.
        logger.error("The database is away", exc_info=error)
        answer_in_json(context["request"])
    body: dict[str, Any] = {"message": row.message or _message(error), "code": row.code}
    if row.details is not None:
        details = row.details.read(error)
        if details or not row.details.is_optional:
            body[row.details.key] = details
    return Response(body, status=row.status, headers=_headers(error, row))


def answer_in_json(request: Request) -> None:
    """Give up the page that a browser would get: it asks the database who the user is."""
    request.accepted_renderer = PlainJSONRenderer()
    request.accepted_media_type = PlainJSONRenderer.media_type


def _row_of_host(error: Exception) -> ErrorRow | None:
    """What the host's own classes raise on purpose keeps its status and its code."""
    if not isinstance(error, drf.APIException):
        return None
    return ErrorRow(str(error.default_code), error.status_code, type(error), "", Route.NONE)


def _row_of_standby(error: Exception) -> ErrorRow | None:
    return _BY_EXCEPTION[OperationalError] if is_of_a_standby(error) else None


def _message(error: Exception) -> str:
    return _sentence(error.detail) if isinstance(error, drf.APIException) else str(error)


def _sentence(detail: Any) -> str:
    """Find the sentence in a detail that some packages of authentication give more than that."""
    if isinstance(detail, dict):
        detail = detail.get("detail") or next(iter(detail.values()), "")
        return _sentence(detail)
    if isinstance(detail, list):
        return _sentence(detail[0] if detail else "")
    return encodable_text(str(detail))


def _headers(error: Exception, row: ErrorRow) -> dict[str, str]:
    headers = {}
    challenge = getattr(error, "auth_header", None)
    if challenge:
        headers["WWW-Authenticate"] = challenge
    wait = getattr(error, "wait", None) or row.retry_after
    if wait:
        headers["Retry-After"] = str(max(math.ceil(wait), 1))
    return headers
