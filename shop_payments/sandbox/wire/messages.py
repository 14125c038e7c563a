"""Requests as they arrive, and answers as they are sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """One request as it came."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    """Names are lower case."""
    body: bytes
    request_id: str

    @classmethod
    def of(
        cls, method: str, url: str, headers: Mapping[str, str], body: bytes | str | None, *, id: str
    ) -> Exchange:
        """Return the request; `url` is absolute or a path, with or without a query string."""
        parts = urlsplit(url)
        return cls(
            method=method.upper(),
            path=_decoded(parts.path),
            query=parts.query,
            headers={name.lower(): value for name, value in headers.items()},
            body=body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body or b"",
            request_id=id,
        )

    @property
    def idempotency_key(self) -> str | None:
        """Return the key, which only counts on POST."""
        return (self.headers.get("idempotency-key") or None) if self.method == "POST" else None


def _decoded(path: str) -> str:
    """Decode each part of a path; an encoded slash stays, so that an id leads nowhere else."""
    return "/".join(unquote(part).replace("/", "%2F") for part in path.split("/"))


@dataclass(frozen=True)
class SandboxResponse:
    """What goes back over the wire; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)  # it may hold a client_secret


def json_response(
    body: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> SandboxResponse:
    """Return an answer laid out as Stripe lays it out."""
    text = json.dumps(body, indent=2, ensure_ascii=False)
    return SandboxResponse(
        status, {"content-type": "application/json", **(headers or {})}, text.encode()
    )


@dataclass(frozen=True, kw_only=True)
class Cause:
    """The request behind a change; an event names it."""

    request_id: str | None = None
    idempotency_key: str | None = None
