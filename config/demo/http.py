"""HTTP calls that can be shown as curl lines and sent: one object for both, so they agree."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

_TIMEOUT = 30
"""Seconds; both servers are on this machine."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    body: Any
    """Parsed JSON; the raw text where it is not JSON."""

    def __str__(self) -> str:
        """Return status line and body as people read them."""
        body = json.dumps(self.body, indent=2, ensure_ascii=False)
        return f"{self.status} {HTTPStatus(self.status).phrase}\n{body}"


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request to one of the demo's servers."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    """Sent as ``application/x-www-form-urlencoded``, as curl's ``-d`` does."""

    def __str__(self) -> str:
        """Return a curl line that does the same."""
        words = [f"curl -X {self.method} {shlex.quote(self.url)}"]
        words += [f"-H {shlex.quote(f'{name}: {value}')}" for name, value in self.headers.items()]
        words += [f"-d {shlex.quote(f'{name}={value}')}" for name, value in self.form.items()]
        return " \\\n    ".join(words)

    def send(self) -> Answer:
        """Send it, past any proxy.

        Raises:
            OSError: nobody answers.
        """
        parts = urlsplit(self.url)
        headers = {"Accept": "application/json", **self.headers}
        if self.form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection = HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT)
        try:
            connection.request(self.method, parts.path, urlencode(self.form), headers)
            response = connection.getresponse()
            return Answer(response.status, _parse(response.read()))
        finally:
            connection.close()


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode(errors="replace")
