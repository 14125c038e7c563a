"""Requests and answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request as it was received."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """Header names are in lower case."""
    body: bytes
    request_id: str

    @classmethod
    def of(
        cls, method: str, url: str, headers: Mapping[str, str], body: bytes | str | None, *, id: str
    ) -> Exchange:
        """Return the request; `url` is absolute or a path, with or without a query string."""
        path, query = _address(url)
        return cls(
            method=method.upper(),
            path=_decoded(path),
            query=query,
            headers={name.lower(): value for name, value in headers.items()},
            body=body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body or b"",
            request_id=id,
        )

    @property
    def idempotency_key(self) -> str | None:
        """Return the idempotency key of a POST. Stripe ignores it on other methods.

        See: https://docs.stripe.com/api/idempotent_requests (checked 2026-11)
        """
        return (self.headers.get("idempotency-key") or None) if self.method == "POST" else None


def _address(url: str) -> tuple[str, str]:
    """Return the path and the query string. An address that is not a URL is a path."""
    if not url.startswith("/"):  # //x is a path too, where urlsplit would find a host
        with suppress(ValueError):
            parts = urlsplit(url)
            url = f"{parts.path}?{parts.query}"
    path, _, query = url.partition("#")[0].partition("?")
    return path, query


def _decoded(path: str) -> str:
    """Decode each segment of a path. An encoded slash stays, so that an id cannot add a segment."""
    return "/".join(unquote(part).replace("/", "%2F") for part in path.split("/"))


@dataclass(frozen=True, slots=True)
class SandboxResponse:
    """An answer. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)  # it may contain a client secret


def json_response(
    body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> SandboxResponse:
    """Return an answer with JSON, indented as Stripe's.

    Half of a surrogate pair, which UTF-8 cannot express, becomes a question mark.
    """
    text = json.dumps(body, indent=2, ensure_ascii=False)
    return SandboxResponse(
        status,
        {"content-type": "application/json", **(headers or {})},
        text.encode("utf-8", "replace"),
    )


@dataclass(frozen=True, kw_only=True)
class Cause:
    """The request that caused a change, as events name it."""

    request_id: str | None = None
    idempotency_key: str | None = None
