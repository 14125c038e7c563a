"""Whose request it is, and what its key may do.

See: https://docs.stripe.com/keys (checked 2026-11)
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from .errors import AuthenticationFailed, NotCovered

RESTRICTED_KEY_PREFIX = "rk_test_"
SECRET_KEY_PREFIXES = ("sk_test_", RESTRICTED_KEY_PREFIX)
PUBLISHABLE_KEY_PREFIX = "pk_test_"

ACCOUNT = "acct_1SandboxAccount"


@dataclass(frozen=True, kw_only=True)
class AcceptedKeys:
    """The keys that open the account; None stands for any of the kind."""

    secret: Collection[str] | None = None
    """Restricted ones as well."""
    publishable: Collection[str] | None = None
    permissions: dict[str, frozenset[str]] = field(default_factory=dict)
    """By restricted key; one that is not in it may do everything."""

    def __post_init__(self) -> None:
        for keys, prefixes in (
            (self.secret, SECRET_KEY_PREFIXES),
            (self.publishable, (PUBLISHABLE_KEY_PREFIX,)),
        ):
            if isinstance(keys, str):
                raise TypeError("Keys are a collection, not one key.")
            if not all(_is_key(key, prefixes) for key in keys or ()):
                raise ValueError(f"The sandbox takes test keys only: {' or '.join(prefixes)}.")


def _is_key(
    key: str, prefixes: tuple[str, ...] = (*SECRET_KEY_PREFIXES, PUBLISHABLE_KEY_PREFIX)
) -> bool:
    """Return whether it is a key, not only a prefix or a placeholder of some documentation."""
    return key.startswith(prefixes) and bool(re.fullmatch(r"[a-z]{2}_test_[A-Za-z0-9_]+", key))


def authenticate(headers: Mapping[str, str], *, accepted: AcceptedKeys) -> bool:
    """Let a test key through, given as bearer token or as basic user; return True if publishable.

    Raises:
        AuthenticationFailed: for no key, another one or a live one.
    """
    key = _api_key(headers.get("authorization", ""))
    if not key:
        raise AuthenticationFailed(
            "You did not provide an API key. You need to provide your API key in the"
            " Authorization header, using Bearer auth (e.g. 'Authorization: Bearer"
            " YOUR_SECRET_KEY'). See https://stripe.com/docs/api#authentication for details, or we"
            " can help at https://support.stripe.com/."
        )
    publishable = key.startswith(PUBLISHABLE_KEY_PREFIX)
    if not publishable and not key.startswith(SECRET_KEY_PREFIXES):
        raise AuthenticationFailed(
            f"Invalid API Key provided: {mask(key)}. The sandbox takes test keys only:"
            f" {' or '.join(SECRET_KEY_PREFIXES)}."
        )
    keys = accepted.publishable if publishable else accepted.secret
    if not _is_key(key) or (keys is not None and key not in keys):
        raise AuthenticationFailed(f"Invalid API Key provided: {mask(key)}")
    return publishable


def secret_key_required() -> AuthenticationFailed:
    """Return Stripe's answer to a publishable key where it takes secret ones only."""
    return AuthenticationFailed(
        "This API call cannot be made with a publishable API key. Please use a secret API key."
        " You can find a list of your API keys at"
        " https://dashboard.stripe.com/account/apikeys.",
        code="secret_key_required",
        status=403,
    )


def check_permission(
    headers: Mapping[str, str], *, accepted: AcceptedKeys, kind: str, reads: bool
) -> None:
    """Raise AuthenticationFailed where a restricted key may not read, or write, objects of a kind.

    Writing includes reading. Stripe's messages show the names (?): it has no list of them.
    See: https://docs.stripe.com/keys/restricted-api-keys (checked 2026-11)
    """
    key = _api_key(headers.get("authorization", ""))
    granted = accepted.permissions.get(key)
    kind = kind.replace(".", "_")
    write, read = f"rak_{kind}_write", f"rak_{kind}_read"
    wanted = read if reads else write
    if granted is None or {wanted, write} & granted:
        return
    raise AuthenticationFailed(
        f"The provided key '{mask(key)}' does not have the required permissions for this endpoint"
        f" on account '{ACCOUNT}'. Having the '{wanted}' permission would allow this request to"
        " continue.",
        status=403,
    )


def mask(key: str) -> str:
    """Return a key as Stripe shows it: its kind, stars, and its last four characters."""
    kind = re.match(r"[a-z]{2}_(test|live)_", key)
    prefix = kind.group() if kind else ""
    secret = key[len(prefix) :]
    shown = secret[-4:] if len(secret) > 8 else ""
    return prefix + "*" * min(len(secret) - len(shown), 40) + shown


def _api_key(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return credentials.strip()
    if scheme.lower() == "basic":
        return _basic_user(credentials.strip())
    return ""


def _basic_user(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
    except ValueError:  # not base64, or not UTF-8 inside
        return ""


_UNCOVERED_HEADERS = ("stripe-account", "stripe-context")


def refuse_uncovered_headers(headers: Mapping[str, str]) -> None:
    """Raise NotCovered where a request speaks for a connected account."""
    for name in _UNCOVERED_HEADERS:
        if name in headers:
            raise NotCovered(f"the header {name.title()}")
