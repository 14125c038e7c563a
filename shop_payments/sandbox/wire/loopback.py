"""Loopback addresses. The sandbox listens, delivers and accepts control requests only there."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit


def is_loopback(host: str | None) -> bool:
    """Return whether a host name or an IP address is a loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


def check_loopback(url: str) -> None:
    """Raise ValueError unless the URL is an HTTP address on this machine."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not is_loopback(parts.hostname):
        raise ValueError(
            "The sandbox delivers webhooks to this machine only (http://127.0.0.1:…), not to"
            f" {url}."
        )
    if parts.username is not None or not re.fullmatch(r"[!-~]+", url) or parts.port == 0:
        raise ValueError(
            "A webhook's address must be ASCII, without spaces, user name and password, such as"
            " http://127.0.0.1:8000/webhooks/stripe."
        )
