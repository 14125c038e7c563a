"""Declare and parse the parameters of routes.

A schema maps the name of a parameter to a `Param`. `parse` converts strings and dictionaries of
strings to values, or raises an error with Stripe's message. Parameters that only the real Stripe
has are declared with `uncovered()` and refused by name. Other parameters are unknown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from .errors import InvalidRequest, NotCovered

Parser = Callable[[Any, str], Any]
"""A function of the raw value and the parameter's full name; returns the value or raises."""


@dataclass(frozen=True, kw_only=True)
class Removed:
    """A parameter that newer API versions refuse."""

    since: str
    """The date of the first version without it, such as "2026-09-30"."""
    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Param:
    """One parameter of a route."""

    parse: Parser
    required: bool = False
    unsettable: bool = False
    """An empty string clears the field. It is parsed to None."""
    removed: Removed | None = None

    @property
    def covered(self) -> bool:
        """Return whether the sandbox covers it."""
        return self.parse is not _not_covered


Schema = Mapping[str, Param]


def parse(
    schema: Schema, raw: Mapping[str, Any], *, version: str = "", within: str = ""
) -> dict[str, Any]:
    """Return the values of the parameters in `raw`. Absent parameters stay absent.

    `version` is the API version of the request. Newer versions have removed some parameters.

    Raises:
        InvalidRequest: a parameter is unknown, missing or malformed.
        NotCovered: only the real Stripe has this parameter.
    """
    _refuse_unknown(schema, raw, within)
    values = {}
    for name, param in schema.items():
        full_name = _full_name(name, within)
        if name in raw:
            _refuse_removed(param, full_name, version)
            values[name] = _value(param, raw[name], full_name)
        elif param.required:
            raise InvalidRequest(
                f"Missing required param: {full_name}.", code="parameter_missing", param=full_name
            )
    return values


_NAMED = 10
"""How many unknown parameters a message names."""


def _refuse_unknown(schema: Schema, raw: Mapping[str, Any], within: str) -> None:
    unknown = [name for name in raw if name not in schema]
    if unknown:
        names = [_full_name(name, within) for name in unknown[:_NAMED]]
        plural = "s" if len(unknown) > 1 else ""
        hint = "" if len(unknown) > 1 else _hint(schema, unknown[0], within)
        raise InvalidRequest(
            f"Received unknown parameter{plural}: {', '.join(names)}{hint}",
            code="parameter_unknown",
            param=names[0],
        )


def _hint(schema: Schema, name: str, within: str) -> str:
    """Return a hint at the parameter with the most similar name, as Stripe gives it.

    Which names are similar enough for Stripe is not documented (?).
    See: https://github.com/stripe/stripe-react-native/issues/874 (checked 2026-11)
    """
    similar = get_close_matches(name[:100], schema, n=1)
    return f". Did you mean {_full_name(similar[0], within)}?" if similar else ""


def _full_name(name: str, within: str) -> str:
    return f"{within}[{name}]" if within else name


def _refuse_removed(param: Param, name: str, version: str) -> None:
    if param.removed and version >= param.removed.since:
        raise InvalidRequest(param.removed.message, code=param.removed.code, param=name)


def _value(param: Param, raw: Any, name: str) -> Any:
    if raw != "":
        return param.parse(raw, name)
    if param.unsettable:
        return None
    raise InvalidRequest(
        f"You passed an empty string for '{name}'. We assume empty values are an attempt to unset"
        f" a parameter; however '{name}' cannot be unset. You should remove '{name}' from your"
        " request or supply a non-empty value.",
        code="parameter_invalid_empty",
        param=name,
    )


def uncovered(*names: str) -> dict[str, Param]:
    """Declare parameters that Stripe has and the sandbox does not cover."""
    return {name: Param(parse=_not_covered, unsettable=False) for name in names}


def _not_covered(raw: Any, name: str) -> Any:
    raise NotCovered(f"the parameter '{name}'", param=name)


def text(*, max_length: int = 5000) -> Parser:
    """Accept a string of at most so many characters (not bytes)."""

    def parse_text(raw: Any, name: str) -> str:
        value = _string(raw, name)
        if len(value) > max_length:
            raise InvalidRequest(
                f"Invalid string: {value[:10]}...{value[-10:]}; must be at most"
                f" {max_length} characters",
                param=name,
            )
        return value

    return parse_text


def integer(*, at_least: int | None = None, at_most: int | None = None) -> Parser:
    """Accept an integer within the bounds."""

    def parse_integer(raw: Any, name: str) -> int:
        if not isinstance(raw, str) or not re.fullmatch(r"-?[0-9]{1,30}", raw):
            raise _invalid_integer(f"Invalid integer: {_shown(raw)}", name)
        number = int(raw)
        if at_least is not None and number < at_least:
            raise _invalid_integer(f"This value must be greater than or equal to {at_least}.", name)
        if at_most is not None and number > at_most:
            raise _invalid_integer(
                f"This value must be less than or equal to {at_most} (it is currently '{number}').",
                name,
            )
        return number

    return parse_integer


def boolean(raw: Any, name: str) -> bool:
    """Accept "true" and "false", also capitalized. "1", "YES" and "TRUE" (?) are no booleans.

    stripe-python before 12 and stripe-dotnet before 48 send them capitalized. See:
    https://github.com/stripe/stripe-dotnet/pull/3104,
    https://github.com/cartalyst/stripe/issues/218,
    https://github.com/jcberquist/stripe-cfml/issues/49 (checked 2026-11)
    """
    if raw not in ("true", "True", "false", "False"):
        raise InvalidRequest(f"Invalid boolean: {_shown(raw)}", param=name)
    return raw in ("true", "True")


def one_of(*choices: str, uncovered_choices: Iterable[str] = ()) -> Parser:
    """Accept one of Stripe's words. Words that are not covered are refused as such."""
    others = tuple(uncovered_choices)

    def parse_choice(raw: Any, name: str) -> str:
        value = _string(raw, name)
        if value in others:
            raise NotCovered(f"{name}={value}", param=name)
        if value not in choices:
            *most, last = [*choices, *others]
            listed = f"{', '.join(most)}, or {last}" if most else last
            raise InvalidRequest(f"Invalid {name}: must be one of {listed}", param=name)
        return value

    return parse_choice


def list_of(parse_item: Parser, *, at_most: int = 100) -> Parser:
    """Accept a list, written as `name[]=a&name[]=b` or `name[0]=a`."""

    def parse_list(raw: Any, name: str) -> list[Any]:
        items = with_lists(raw)
        if not isinstance(items, list):
            raise InvalidRequest("Invalid array", param=name)
        if len(items) > at_most:
            raise InvalidRequest(f"Array {name} exceeds the maximum of {at_most}", param=name)
        return [parse_item(item, f"{name}[{index}]") for index, item in enumerate(items)]

    return parse_list


class Appended(str):
    """The index of an item appended by `a[]=x`, which makes a list and never a hash."""

    __slots__ = ()


def with_lists(node: Any) -> Any:
    """Return the tree with every dictionary whose keys are "0", "1", "2", … as a list.

    `a[0]=x` may be a list or a hash, depending on the parameter: `metadata[0]=x` sets a key "0".
    """
    if not isinstance(node, dict):
        return node
    items = {key: with_lists(item) for key, item in node.items()}
    if items and items.keys() == {str(index) for index in range(len(items))}:
        return [items[str(index)] for index in range(len(items))]
    return items


@dataclass(frozen=True)
class Hash:
    """Accepts a hash, `name[key]=value`, with its own schema."""

    schema: Schema

    def __call__(self, raw: Any, name: str) -> dict[str, Any]:
        """Return the values by key."""
        if not isinstance(raw, dict):
            raise InvalidRequest("Invalid hash", param=name)
        return parse(self.schema, raw, within=name)


def email(raw: Any, name: str) -> str:
    """Accept an email address."""
    value = _string(raw, name)
    if len(value) > 800 or not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+\.[^@\s.,;<>]+", value):
        raise InvalidRequest(
            f"Invalid email address: {value[:800]}", code="email_invalid", param=name
        )
    return value


def url(raw: Any, name: str) -> str:
    """Accept a URL of any scheme, because mobile apps use custom schemes."""
    value: str = text()(raw, name)
    if not value.isascii():
        raise InvalidRequest(
            "Invalid URL: Non-ASCII characters in URLs must be percent-encoded in order for the URL"
            " to be valid.",
            code="url_invalid",
            param=name,
        )
    try:
        parts = urlsplit(value)
        sound = parts.scheme and (parts.netloc or parts.path) and parts.port != 0
    except ValueError:  # a malformed IPv6 address or port
        sound = False
    if not sound or re.search(r"[\x00-\x20\x7f]", value):
        raise InvalidRequest("Not a valid URL", code="url_invalid", param=name)
    return value


METADATA_KEYS = 50
METADATA_KEY_LENGTH = 40
METADATA_VALUE_LENGTH = 500


def metadata(raw: Any, name: str) -> dict[str, str]:
    """Accept `metadata[key]=value`. An empty value removes the key.

    `merge_metadata` checks the number of keys after the update.
    See: https://docs.stripe.com/api/metadata (checked 2026-11)
    """
    if not isinstance(raw, dict):
        raise InvalidRequest("Invalid hash", param=name)
    values = {}
    for key, item in raw.items():
        if isinstance(key, Appended):
            raise InvalidRequest("Invalid hash", param=name)
        value = _string(item, f"{name}[{key}]")
        _check_metadata_length("key", key, METADATA_KEY_LENGTH, name)
        _check_metadata_length("value", value, METADATA_VALUE_LENGTH, f"{name}[{key}]")
        values[key] = value
    return values


def merge_metadata(
    existing: Mapping[str, str], changes: Mapping[str, str] | None
) -> dict[str, str]:
    """Return the metadata after an update. None removes all keys, an empty value removes one."""
    if changes is None:
        return {}
    merged = {**existing, **changes}
    kept = {key: value for key, value in merged.items() if value != ""}
    if len(kept) > METADATA_KEYS:
        raise InvalidRequest(
            f"Metadata can have up to {METADATA_KEYS} keys, but you passed in {len(kept)}.",
            param="metadata",
        )
    return kept


def _check_metadata_length(part: str, value: str, limit: int, name: str) -> None:
    if len(value) > limit:
        raise InvalidRequest(
            f"Metadata {part}s can have up to {limit} characters, but you passed in a {part} that"
            f" is {len(value)} characters. Invalid {part}: {value[:1000]}",
            param=name,
        )


def _string(raw: Any, name: str) -> str:
    if not isinstance(raw, str):
        raise InvalidRequest(f"Invalid string: {_shown(raw)}", param=name)
    return raw


def _shown(raw: Any) -> str:
    """Return a value for a message: a hash or a list as JSON."""
    text = raw if isinstance(raw, str) else json.dumps(with_lists(raw), ensure_ascii=False)
    return str(text)[:50]


def _invalid_integer(message: str, name: str) -> InvalidRequest:
    return InvalidRequest(message, code="parameter_invalid_integer", param=name)


EXPAND: Schema = {"expand": Param(parse=list_of(text()))}

CREATED_FILTER = Hash({bound: Param(parse=integer()) for bound in ("gt", "gte", "lt", "lte")})


def created_filter(raw: Any, name: str) -> dict[str, int]:
    """Accept `created=123` or `created[gte]=123`."""
    if isinstance(raw, dict):
        return CREATED_FILTER(raw, name)
    return {"eq": integer()(raw, name)}


CURSORS: Schema = {
    "limit": Param(parse=integer(at_least=1, at_most=100)),
    "starting_after": Param(parse=text()),
    "ending_before": Param(parse=text()),
}

PAGINATION: Schema = {**CURSORS, "created": Param(parse=created_filter)}
