"""Between WSGI and the sandbox's own requests and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

from .messages import SandboxResponse

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Handle = Callable[[str, str, Mapping[str, str], bytes], SandboxResponse]
"""Takes method, URL, headers and body."""


def serve(
    handle: Handle, environ: WSGIEnvironment, start_response: StartResponse
) -> Iterable[bytes]:
    """Answer one request as a WSGI application."""
    body = _body(environ)
    if isinstance(body, SandboxResponse):
        response = body
    else:
        response = handle(environ["REQUEST_METHOD"], _url(environ), _headers(environ), body)
    start_response(
        f"{response.status} {HTTPStatus(response.status).phrase}",
        [*response.headers.items(), ("content-length", str(len(response.body)))],
    )
    return [response.body]


def _url(environ: WSGIEnvironment) -> str:
    raw = str(environ.get("RAW_URI", ""))
    if raw.startswith("/"):  # as it was sent: PATH_INFO shows %2F as a slash
        return raw
    path = quote(environ.get("PATH_INFO", "").encode("latin-1"))
    return f"{path}?{environ.get('QUERY_STRING', '')}"


def _headers(environ: WSGIEnvironment) -> dict[str, str]:
    headers = {
        name[5:].replace("_", "-"): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    headers["content-type"] = environ.get("CONTENT_TYPE", "")
    return headers


def _body(environ: WSGIEnvironment) -> bytes | SandboxResponse:
    """Return the body, or the answer to a request that is not as long as it says."""
    if "HTTP_TRANSFER_ENCODING" in environ:  # wsgiref would leave the body unread
        return SandboxResponse(411, {"content-type": "text/plain"}, b"Send a Content-Length.\n")
    length = environ.get("CONTENT_LENGTH") or "0"
    if not length.isascii() or not length.isdigit():
        return SandboxResponse(400, {"content-type": "text/plain"}, b"Bad Content-Length.\n")
    body: bytes = environ["wsgi.input"].read(int(length))
    if len(body) < int(length):  # the client has gone; half of a form is another form
        return SandboxResponse(400, {"content-type": "text/plain"}, b"The body is cut short.\n")
    return body
