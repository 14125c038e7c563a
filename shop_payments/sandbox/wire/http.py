"""HTTP/1.1 on a socket: read requests within limits, and write answers.

A client that sends too much, too slowly or something else than HTTP gets an error, and its
connection is closed. So no client can hold a thread, or fill the memory, for longer than the limits
allow.

See: https://www.rfc-editor.org/rfc/rfc9112 (checked 2026-11)
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from .messages import SandboxResponse

MAX_LINE = 16 * 1024
"""Bytes of the request line, of a header, and of a line between chunks."""
MAX_HEADERS = 100
MAX_BODY = 1024 * 1024
"""Bytes. Stripe's longest parameters are the 150,000 characters of a dispute's evidence."""
REQUEST_SECONDS = 10.0
"""Seconds in which a client must send a request, and in which it must take the answer."""
IDLE_SECONDS = 60.0
"""Seconds for which a connection stays open between two requests."""
_LINGER_SECONDS = 1.0

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
_TARGET = re.compile(rb"(/|https?://)[^\x00-\x20\x7f]*")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(;.*)?")


class HttpError(Exception):
    """The request cannot be read. The connection is closed after the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A complete request."""

    method: str
    target: str
    headers: Mapping[str, str]
    """Header names are in lower case."""
    body: bytes
    keep_alive: bool
    """Whether the client may send another request on this connection."""


class HttpConnection:
    """A connection of a client, for one request after the other."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._received = bytearray()
        self._deadline = 0.0
        self._is_first = True

    def read(self) -> HttpRequest | None:
        """Return the next request; None if the client has no other.

        Raises:
            HttpError: the request is malformed, too large or too slow.
            OSError: the connection broke.
        """
        if not self._wait():
            return None
        self._deadline = time.monotonic() + REQUEST_SECONDS
        method, target, version = self._request_line()
        headers = self._headers()
        return HttpRequest(
            method=method,
            target=target,
            headers=headers,
            body=self._body(headers, version),
            keep_alive=_keeps_alive(headers, version),
        )

    def write(self, response: SandboxResponse, *, keep_alive: bool) -> None:
        """Send an answer.

        Raises:
            OSError: the connection broke, or the client does not read.
        """
        status = HTTPStatus(response.status)
        headers = {
            "content-length": str(len(response.body)),
            **response.headers,
            "connection": "keep-alive" if keep_alive else "close",
        }
        lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
        lines += [f"{name}: {_one_line(value)}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
        self._socket.settimeout(REQUEST_SECONDS)
        self._socket.sendall(head + response.body)

    def refuse(self, error: HttpError) -> None:
        """Answer a request that cannot be read, and read what is on its way.

        Closing a socket with unread bytes could discard the answer.
        """
        text = f"{error.message}\n".encode()
        response = SandboxResponse(error.status, {"content-type": "text/plain"}, text)
        self.write(response, keep_alive=False)
        self._socket.shutdown(socket.SHUT_WR)
        end = time.monotonic() + _LINGER_SECONDS
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            if not self._socket.recv(MAX_LINE):
                return

    # The head

    def _request_line(self) -> tuple[str, str, bytes]:
        line = self._line(HTTPStatus.REQUEST_URI_TOO_LONG)
        method, _, rest = line.partition(b" ")
        target, _, version = rest.partition(b" ")
        if not version.startswith(b"HTTP/") or not _TOKEN.fullmatch(method):
            raise HttpError(400, "This is not an HTTP request.")
        if version not in (b"HTTP/1.0", b"HTTP/1.1"):
            raise HttpError(505, "Use HTTP/1.1.")
        if not _TARGET.fullmatch(target):
            raise HttpError(400, "The target of the request is not a path.")
        return method.decode(), target.decode(errors="replace"), version

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for _ in range(MAX_HEADERS + 1):
            line = self._line(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            if not line:
                return headers
            raw_name, colon, raw_value = line.partition(b":")
            raw_value = raw_value.strip(b" \t")
            if not colon or not _TOKEN.fullmatch(raw_name) or not _VALUE.fullmatch(raw_value):
                raise HttpError(400, "A header is malformed.")
            name, value = raw_name.decode().lower(), raw_value.decode("latin-1")
            if name in headers:
                if name in _SINGLE:
                    raise HttpError(400, f"There is more than one {name}.")
                value = f"{headers[name]}, {value}"
            headers[name] = value
        raise HttpError(431, f"Send at most {MAX_HEADERS} headers.")

    # The body

    def _body(self, headers: Mapping[str, str], version: bytes) -> bytes:
        is_chunked = "transfer-encoding" in headers
        length = _content_length(headers)
        if is_chunked:
            _check_chunked(headers, version)
        expected = headers.get("expect")
        if expected is not None and expected.lower() != "100-continue":
            raise HttpError(417, "The only expectation may be 100-continue.")
        if expected is not None and (is_chunked or length) and not self._received:
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return self._chunks() if is_chunked else self._exactly(length)

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := self._chunk_size():
            if len(body) + size > MAX_BODY:
                raise _too_large()
            body += self._exactly(size)
            if self._line(400):
                raise HttpError(400, "A chunk is longer than its size.")
        for _ in range(MAX_HEADERS):  # trailers, which nothing needs
            if not self._line(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE):
                return bytes(body)
        raise HttpError(431, f"Send at most {MAX_HEADERS} trailers.")

    def _chunk_size(self) -> int:
        found = _CHUNK_SIZE.fullmatch(self._line(400))
        if not found:
            raise HttpError(400, "The size of a chunk is not a hexadecimal number.")
        return int(found[1], 16)

    # Bytes

    def _wait(self) -> bool:
        """Wait for the first byte of a request; return whether there is one."""
        seconds = REQUEST_SECONDS if self._is_first else IDLE_SECONDS
        self._is_first = False
        self._deadline = time.monotonic() + seconds
        try:
            while not self._received.lstrip(b"\r\n"):  # RFC 9112, 2.2: ignore empty lines
                if len(self._received) > MAX_LINE:
                    return False
                self._receive()
        except HttpError:
            return False
        del self._received[: len(self._received) - len(self._received.lstrip(b"\r\n"))]
        return True

    def _line(self, too_long: int) -> bytes:
        while (end := self._received.find(b"\n")) < 0 and len(self._received) <= MAX_LINE:
            self._receive()
        if not 0 <= end <= MAX_LINE:
            raise HttpError(too_long, f"A line has more than {MAX_LINE} bytes.")
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        return line.removesuffix(b"\r")

    def _exactly(self, length: int) -> bytes:
        while len(self._received) < length:
            self._receive()
        data = bytes(self._received[:length])
        del self._received[:length]
        return data

    def _receive(self) -> None:
        left = self._deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            data = self._socket.recv(64 * 1024)
        except TimeoutError:
            raise HttpError(408, f"Send a request within {REQUEST_SECONDS:g} seconds.") from None
        if not data:
            # A truncated form would be a valid form with other values.
            raise HttpError(400, "The request is cut short.")
        self._received += data


_SINGLE = ("authorization", "content-length", "content-type", "host", "transfer-encoding")
"""Headers of which two would leave open which one counts."""


def _content_length(headers: Mapping[str, str]) -> int:
    length = headers.get("content-length", "0")
    if not re.fullmatch(r"[0-9]+", length):
        raise HttpError(400, "The Content-Length is not a number.")
    if len(length) > len(str(MAX_BODY)) or int(length) > MAX_BODY:
        raise _too_large()
    return int(length)


def _check_chunked(headers: Mapping[str, str], version: bytes) -> None:
    if "content-length" in headers or version == b"HTTP/1.0":
        raise HttpError(400, "Send a Content-Length or chunks, and chunks with HTTP/1.1 only.")
    if headers["transfer-encoding"].lower() != "chunked":
        raise HttpError(501, "The only transfer encoding may be chunked.")


def _too_large() -> HttpError:
    return HttpError(413, f"The body has more than {MAX_BODY} bytes.")


def _keeps_alive(headers: Mapping[str, str], version: bytes) -> bool:
    wanted = {word.strip() for word in headers.get("connection", "").lower().split(",")}
    return "keep-alive" in wanted if version == b"HTTP/1.0" else "close" not in wanted


def _one_line(value: str) -> str:
    return value.replace("\r", " ").replace("\n", " ")
