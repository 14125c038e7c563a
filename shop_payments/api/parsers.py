"""What a body is: JSON in UTF-8, of a bounded size, in which no key is given twice."""

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
"""Of a body in JSON: those that are documented have less than 200."""


class BodyTooLarge(APIException):
    """More than is read."""

    status_code = 413
    default_detail = "The body is too large."
    default_code = "payload_too_large"


class UTF8JSONParser(JSONParser):
    """JSON in UTF-8, whatever charset the type of the body names (RFC 8259, section 8.1)."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            return json.loads(
                stream.read().decode(),
                object_pairs_hook=_without_duplicates,
                parse_constant=_refuse_constant,
            )
        except (RecursionError, ValueError):
            raise ParseError("The body is not JSON.") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # RFC 8259, section 4: parsers differ in which of the values they take.
    values = dict(pairs)
    if len(values) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        words = ["This field is given more than once."]
        raise ValidationError({key: words for key, count in counts.items() if count > 1})
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def check_body_size(request: HttpRequest) -> None:
    """Refuse a body that is too large, or of unknown size, before any of it is read.

    REST framework takes a body without a Content-Length for none. A refund would be one of
    everything.

    Raises:
        BodyTooLarge, ParseError.
    """
    given = request.META.get("CONTENT_LENGTH") or ""
    if not given and request.META.get("HTTP_TRANSFER_ENCODING"):
        raise ParseError("Send the body with a Content-Length.")
    if given and not (given.isascii() and given.isdigit()):
        raise ParseError("The Content-Length is not a number.")
    of_host = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    limit = _MAX_BYTES if of_host is None else min(_MAX_BYTES, of_host)
    digits = given.lstrip("0")
    if len(digits) > len(str(limit)) or int(digits or 0) > limit:
        raise BodyTooLarge


def is_form(request: Request) -> bool:
    """Tell whether the body calls itself a form."""
    return bool(request.content_type) and is_form_media_type(request.content_type)


def is_empty_form(request: HttpRequest) -> bool:
    """Tell whether a form says nothing, as where Django's test client is given no body."""
    has_fields = bool(request.POST or request.FILES)
    return not has_fields and not getattr(request, "_post_parse_error", False)
