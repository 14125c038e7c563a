"""Parse form bodies and query strings, with Stripe's brackets for hashes and lists.

See: https://docs.stripe.com/api (checked 2026-11)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from .errors import InvalidRequest
from .params import Appended

_MAX_DEPTH = 8
_MAX_PARAMETERS = 1000
_MAX_NAME_LENGTH = 500
"""Characters, with the brackets. The longest valid names are of keys of metadata."""


def read_params(query: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the parameters of query string and body, nested according to their brackets.

    Raises:
        InvalidRequest: the body is not a form, is not UTF-8, or has malformed or too many names.
    """
    if body:
        _check_content_type(headers.get("content-type", ""))
    try:
        pairs = [*_pairs(query), *_pairs(body.decode())]
    except UnicodeError:
        raise InvalidRequest("Invalid request: the parameters are not valid UTF-8.") from None
    return nest(pairs)


def _check_content_type(content_type: str) -> None:
    """Raise InvalidRequest for another type than a form's. Without a type, the body is a form.

    Early clients of Stripe sent no type.
    See: https://github.com/stripe/stripe-python/issues/85 (checked 2026-11)
    """
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in ("", "application/x-www-form-urlencoded"):
        return
    if media_type == "application/json":
        raise InvalidRequest(
            "Invalid request (check that your POST content type is"
            " application/x-www-form-urlencoded). If you have any questions, we can help at"
            " https://support.stripe.com/."
        )
    raise InvalidRequest(
        f"Invalid request: unsupported Content-Type {content_type[:100]}. If error persists and"
        " you need assistance, please contact support@stripe.com."
    )


def _pairs(form: str) -> list[tuple[str, str]]:
    form.encode()  # a query string may contain half of a surrogate pair
    if form.count("&") > _MAX_PARAMETERS:
        raise InvalidRequest(f"Invalid request: more than {_MAX_PARAMETERS} parameters.")
    return parse_qsl(form, keep_blank_values=True, errors="strict")


_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return `a[b]=1&c[]=2&d[0]=3` as `{"a": {"b": "1"}, "c": {"0": "2"}, "d": {"0": "3"}}`.

    Raises:
        InvalidRequest: names are malformed or contradict each other.
    """
    root: dict[str, Any] = {}
    for name, value in pairs:
        _insert(root, _name_parts(name), value, name)
    return root


def _name_parts(name: str) -> list[str]:
    found = _NAME.fullmatch(name) if len(name) <= _MAX_NAME_LENGTH else None
    if not found:
        raise InvalidRequest(
            f"Received unknown parameter: {name[:100]}", code="parameter_unknown", param=name[:100]
        )
    parts = [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])]
    if len(parts) > _MAX_DEPTH:
        raise InvalidRequest(f"Invalid parameter: {name[:100]} is nested too deeply.")
    return parts


def _insert(root: dict[str, Any], parts: list[str], value: str, name: str) -> None:
    node = root
    for part in parts[:-1]:
        node = node.setdefault(_index(node, part), {})
        if not isinstance(node, dict):
            raise InvalidRequest(f"Invalid parameter: {name[:100]} is given twice.", param=name)
    last = _index(node, parts[-1])
    if isinstance(node.get(last), dict):
        raise InvalidRequest(f"Invalid parameter: {name[:100]} is given twice.", param=name)
    node[last] = value


def _index(node: dict[str, Any], part: str) -> str:
    return part or Appended(len(node))  # `a[]` appends
