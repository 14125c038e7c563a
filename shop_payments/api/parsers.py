"""Parses request bodies: JSON in UTF-8, of limited size, without duplicate keys."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NoReturn

from django.conf import settings
from django.http import HttpRequest
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.parsers import JSONParser
from rest_framework.request import Request, is_form_media_type

_MAX_BYTES = 262_144
"""Maximum size of a JSON body. The documented bodies have fewer than 200 bytes."""


class BodyTooLarge(APIException):
    """The body is larger than the limit. It was not read."""

    status_code = 413
    default_detail = "The body is too large."
    default_code = "payload_too_large"


class UTF8JSONParser(JSONParser):
    """Parses JSON as UTF-8, whatever charset the content type names (RFC 8259, section 8.1)."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            return json.loads(
                stream.read().decode(),
                object_pairs_hook=_without_duplicates,
                parse_constant=_refuse_constant,
            )
        except (RecursionError, ValueError):
            raise ParseError("The body is not JSON. Send JSON in UTF-8.") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Parsers differ in which of several values they use (RFC 8259, section 4). So a proxy may have
    # checked another amount than the one that would be refunded.
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        words = ["This field is given more than once. Send it once."]
        raise ValidationError({key: words for key, count in counts.items() if count > 1})
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def check_body_size(request: HttpRequest) -> None:
    """Refuse a body that is too large or of unknown size, before it is read.

    REST framework treats a body without a Content-Length as empty. An empty body of a refund means
    everything that is left, so such a body must not be treated as empty.

    Raises:
        BodyTooLarge: the body is larger than the limit.
        ParseError: the Content-Length is missing or malformed.
    """
    given = request.META.get("CONTENT_LENGTH") or ""
    if not given and request.META.get("HTTP_TRANSFER_ENCODING"):
        raise ParseError("The Content-Length header is missing. Send the body with its length.")
    if given and not (given.isascii() and given.isdigit()):
        raise ParseError("The Content-Length header is not a number.")
    of_host = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    limit = _MAX_BYTES if of_host is None else min(_MAX_BYTES, of_host)
    # Compare the number of digits first: int() refuses numbers of thousands of digits.
    digits = given.lstrip("0")
    if len(digits) > len(str(limit)) or int(digits or 0) > limit:
        raise BodyTooLarge


def is_form(request: Request) -> bool:
    """Return whether the content type of the body is that of a form."""
    return bool(request.content_type) and is_form_media_type(request.content_type)


def is_empty_form(request: HttpRequest) -> bool:
    """Return whether a form has no fields. Django's test client sends such a form by default."""
    has_fields = bool(request.POST or request.FILES)
    return not has_fields and not getattr(request, "_post_parse_error", False)
