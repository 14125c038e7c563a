"""Faults as JSON and as words, for the control route and the command line.

{"kind": "error", "status": 500, "path": "/v1/payment_intents", "rate": 0.1}
error status=500 path=/v1/payment_intents rate=0.1
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from .faults import Fault

WITHOUT_END = "forever"
"""What `times=` takes besides a number; null in JSON."""

_FIELDS = [field.name for field in dataclasses.fields(Fault)]
_NUMBERS: Mapping[str, Callable[[str], float]] = {
    "times": int,
    "rate": float,
    "seconds": float,
    "status": int,
}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "times": (int, type(None)),
    "rate": (int, float),
    "seconds": (int, float),
    "status": (int,),
}


def fault_from_json(fields: Any) -> Fault:
    """Return the fault that a JSON object describes.

    Raises:
        ValueError: it does not describe a fault; the message can be shown to the user.
    """
    if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str):
        raise ValueError('A fault is an object with a kind, such as {"kind": "drop_after"}.')
    for name, value in fields.items():
        _check_name(name)
        if isinstance(value, bool) or not isinstance(value, _TYPES.get(name, (str,))):
            raise ValueError(f"The fault's {name} cannot be {json.dumps(value)}.")
    return Fault(**fields)


def fault_from_words(text: str) -> Fault:
    """Return the fault that a line describes.

    Raises:
        ValueError: it does not describe a fault; the message can be shown to the user.
    """
    try:
        kind, *words = shlex.split(text) or [""]
    except ValueError as error:  # an open quote
        raise ValueError(f"'{text}' cannot be read: {error}.") from None
    fields: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        _check_name(name)
        if not equals or not value or name in fields or name == "kind":
            raise ValueError(f"Write {name}=… once, after the kind, instead of '{word}'.")
        fields[name] = _value(name, value)
    return Fault(kind, **fields)  # type: ignore[arg-type]  # Fault itself checks the kind


def fault_to_json(fault: Fault) -> dict[str, Any]:
    """Return the JSON object that describes a fault, without fields that are not set."""
    fields = dataclasses.asdict(fault)
    return {
        name: value
        for name, value in fields.items()
        if name in ("kind", "times") or value not in (None, 0.0)
    }


def _check_name(name: str) -> None:
    if name not in _FIELDS:
        raise ValueError(f"A fault has no '{name}'; it has {', '.join(_FIELDS)}.")


def _value(name: str, text: str) -> Any:
    if name == "times" and text == WITHOUT_END:
        return None
    if name not in _NUMBERS:
        return text
    is_plain = re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text)
    try:
        return _NUMBERS[name](text if is_plain else "")
    except ValueError:
        raise ValueError(f"{name}={text}: '{text}' is not a number.") from None
