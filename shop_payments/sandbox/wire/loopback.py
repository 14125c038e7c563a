"""This machine, and no other: where the sandbox listens, delivers and is steered from."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit


def is_loopback(host: str | None) -> bool:
    """Return whether a host name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def check_loopback(url: str) -> None:
    """Raise ValueError unless the URL is HTTP on this machine, and can be posted to."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not is_loopback(parts.hostname):
        raise ValueError(
            "The sandbox delivers webhooks to this machine only (http://127.0.0.1:…), not to"
            f" {url}."
        )
    if parts.username is not None or not re.fullmatch(r"[!-~]+", url) or parts.port == 0:
        raise ValueError(
            "A webhook's address is written in ASCII, without spaces and passwords:"
            " http://127.0.0.1:8000/webhooks/stripe."
        )
