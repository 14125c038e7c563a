"""API keys: authentication and permissions.

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
    """The accepted keys of the account; None accepts every test key of the kind."""

    secret: Collection[str] | None = None
    """Secret and restricted keys."""
    publishable: Collection[str] | None = None
    permissions: dict[str, frozenset[str]] = field(default_factory=dict)
    """The permissions of restricted keys. A key that is not listed has all of them."""

    def __post_init__(self) -> None:
        for keys, prefixes in (
            (self.secret, SECRET_KEY_PREFIXES),
            (self.publishable, (PUBLISHABLE_KEY_PREFIX,)),
        ):
            if isinstance(keys, str):
                raise TypeError("Pass a collection of keys, not one key.")
            if not all(_is_key(key, prefixes) for key in keys or ()):
                raise ValueError(f"The sandbox accepts test keys only: {' or '.join(prefixes)}.")


def _is_key(
    key: str, prefixes: tuple[str, ...] = (*SECRET_KEY_PREFIXES, PUBLISHABLE_KEY_PREFIX)
) -> bool:
    """Return whether it is a test key, and not only a prefix or a placeholder from a document."""
    return key.startswith(prefixes) and bool(re.fullmatch(r"[a-z]{2}_test_[A-Za-z0-9_]+", key))


def authenticate(headers: Mapping[str, str], *, accepted: AcceptedKeys) -> bool:
    """Check the key, a bearer token or the user of basic auth; return whether it is publishable.

    Raises:
        AuthenticationFailed: the key is missing, not accepted, or a live key.
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
            f"Invalid API Key provided: {mask(key)}. The sandbox accepts test keys only:"
            f" {' or '.join(SECRET_KEY_PREFIXES)}."
        )
    keys = accepted.publishable if publishable else accepted.secret
    if not _is_key(key) or (keys is not None and key not in keys):
        raise AuthenticationFailed(f"Invalid API Key provided: {mask(key)}")
    return publishable


def secret_key_required() -> AuthenticationFailed:
    """Return Stripe's error for a publishable key on a route that needs a secret key."""
    return AuthenticationFailed(
        "This API call cannot be made with a publishable API key. Please use a secret API key."
        " You can find a list of your API keys at"
        " https://dashboard.stripe.com/account/apikeys.",
        code="secret_key_required",
        status=403,
    )


_PERMISSION_NAMES = {"account": "accounts_kyc_basic", "webhook_endpoint": "webhook"}
"""Where the name in a permission is not that of the object, by kind (?)."""


def check_permission(
    headers: Mapping[str, str], *, accepted: AcceptedKeys, kind: str, reads: bool
) -> None:
    """Raise AuthenticationFailed if a restricted key may not read or write objects of a kind.

    A write permission includes reading. The names of the permissions come from Stripe's error
    messages (?), because Stripe does not document them.
    See: https://docs.stripe.com/keys/restricted-api-keys (checked 2026-11)
    """
    key = _api_key(headers.get("authorization", ""))
    granted = accepted.permissions.get(key)
    kind = _PERMISSION_NAMES.get(kind, kind).replace(".", "_")
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
    """Return a key as in Stripe's messages: its prefix, stars, and its last four characters."""
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
    except ValueError:  # not base64, or not UTF-8
        return ""


_UNCOVERED_HEADERS = ("stripe-account", "stripe-context")


def refuse_uncovered_headers(headers: Mapping[str, str]) -> None:
    """Raise NotCovered for requests on behalf of a connected account."""
    for name in _UNCOVERED_HEADERS:
        if headers.get(name, ACCOUNT) != ACCOUNT:  # a request may name the key's own account
            raise NotCovered(f"the header {name.title()}")
