"""What a body is."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class UTF8JSONParser(JSONParser):
    """JSON in UTF-8, whatever charset the type of the body names (RFC 8259, section 8.1)."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        context = {**(parser_context or {}), "encoding": "utf-8"}
        try:
            return super().parse(stream, media_type, context)
        except (LookupError, RecursionError, ValueError):
            raise ParseError("The body is not JSON.") from None
