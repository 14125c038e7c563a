"""The stand-in for Stripe.js: its script, and the page of its payment element.

The paths are those of https://js.stripe.com, with and without the host. Stripe names the script by
the release of the API (`/endive/stripe.js`) or by its version (`/v3/`); here it is always the same.

See: https://docs.stripe.com/sdks/stripejs-versioning (checked 2026-11)
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from .wire.messages import Exchange, SandboxResponse

_FILES = Path(__file__).parent / "static"

_SCRIPT = re.compile(r"(/js\.stripe\.com)?/(v3/?|(acacia|basil|clover|dahlia|endive)/stripe\.js)")
_FRAME = re.compile(r"/js\.stripe\.com/sandbox/(?P<name>payment_element\.(html|css|js))")

_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript"}

_HEADERS = {
    "access-control-allow-origin": "*",
    "cache-control": "no-cache",
    # No inline code. The form is never submitted: the script sends what was entered.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'"
    ),
    "cross-origin-resource-policy": "cross-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


def is_file(path: str) -> bool:
    """Return whether a request is for one of the files."""
    return _name(path) is not None


def answer(exchange: Exchange) -> SandboxResponse:
    """Return the file."""
    if exchange.method not in ("GET", "HEAD"):
        return SandboxResponse(405, {**_HEADERS, "allow": "GET, HEAD"}, b"")
    name = _name(exchange.path)
    assert name is not None
    content_type = f"{_TYPES[Path(name).suffix]}; charset=utf-8"
    body = b"" if exchange.method == "HEAD" else _read(name)
    return SandboxResponse(200, {**_HEADERS, "content-type": content_type}, body)


def _name(path: str) -> str | None:
    if _SCRIPT.fullmatch(path):
        return "stripe.js"
    found = _FRAME.fullmatch(path)
    return found["name"] if found else None


@cache
def _read(name: str) -> bytes:
    return (_FILES / name).read_bytes()
