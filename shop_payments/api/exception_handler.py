"""Builds the response to every error of the API, from ``ERROR_TABLE``.

Only our views use this handler. The host's own ``EXCEPTION_HANDLER`` stays as it is.
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
from shop_payments.ledger.transactions import is_read_only

logger = logging.getLogger("shop_payments")

_BY_EXCEPTION = {
    exception: replace(row, **different)
    for row in ERROR_TABLE
    for exception, different in {row.exception: {}, **row.also}.items()
}

_DJANGO_EXCEPTIONS: dict[type[Exception], type[drf.APIException]] = {
    Http404: drf.NotFound,
    PermissionDenied: drf.PermissionDenied,
    # Django raises these when the CSRF check, or a middleware, reads a form.
    RequestDataTooBig: BodyTooLarge,
    TooManyFieldsSent: BodyTooLarge,
    TooManyFilesSent: BodyTooLarge,
    BadRequest: drf.ParseError,
    MultiPartParserError: drf.ParseError,
    UnreadablePostError: drf.ParseError,
}


def find_row(error: Exception) -> ErrorRow | None:
    """Return the row of the class of ``error``, or of its nearest base class that has a row."""
    # __mro__ begins with the class itself. Its base classes follow, the nearest first.
    return next(
        (_BY_EXCEPTION[kind] for kind in type(error).__mro__ if kind in _BY_EXCEPTION), None
    )


def handle_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """Return a response with ``message`` and ``code``, or None if the error is a bug.

    Django then logs the bug and answers 500.
    """
    for django_error, drf_error in _DJANGO_EXCEPTIONS.items():
        if isinstance(error, django_error):
            error = drf_error()
    row = find_row(error) or _row_of_host(error) or _row_of_standby(error)
    if row is None:
        return None
    # Django logs exceptions only with a 500. The shop must correct these errors, so log them here.
    if row.code == "database_unavailable":
        logger.error("The database is unavailable", exc_info=error)
        answer_in_json(context["request"])
    elif row.code == "not_configured":
        logger.error("Payments are not configured: %s", error)
    body: dict[str, Any] = {"message": row.message or _message(error), "code": row.code}
    if row.details is not None:
        details = row.details.read(error)
        if details or not row.details.is_optional:
            body[row.details.key] = details
    return Response(body, status=row.status, headers=_headers(error, row))


def answer_in_json(request: Request) -> None:
    """Answer in JSON even to a browser.

    The page of the browsable API would read the user from the database.
    """
    request.accepted_renderer = PlainJSONRenderer()
    request.accepted_media_type = PlainJSONRenderer.media_type


def _row_of_host(error: Exception) -> ErrorRow | None:
    """Return a row with the status and the code of an exception that the host's classes raise."""
    if not isinstance(error, drf.APIException):
        return None
    return ErrorRow(str(error.default_code), error.status_code, type(error), "", Route.NONE)


def _row_of_standby(error: Exception) -> ErrorRow | None:
    # During a failover the database may accept reads only. Its error is not an OperationalError.
    return _BY_EXCEPTION[OperationalError] if is_read_only(error) else None


def _message(error: Exception) -> str:
    return _sentence(error.detail) if isinstance(error, drf.APIException) else str(error)


def _sentence(detail: Any) -> str:
    """Return the sentence of a detail.

    djangorestframework-simplejwt raises a dict with ``detail`` and more. Others raise lists.
    """
    if isinstance(detail, dict):
        detail = detail.get("detail") or next(iter(detail.values()), "")
        return _sentence(detail)
    if isinstance(detail, list):
        return _sentence(detail[0] if detail else "")
    return encodable_text(str(detail))


def _headers(error: Exception, row: ErrorRow) -> dict[str, str]:
    headers = {}
    # REST framework sets it on errors that it answers with 401.
    challenge = getattr(error, "auth_header", None)
    if challenge:
        headers["WWW-Authenticate"] = challenge
    wait = getattr(error, "wait", None) or row.retry_after
    if wait:
        # Round up: a client that comes back too early is refused again.
        headers["Retry-After"] = str(max(math.ceil(wait), 1))
    return headers
