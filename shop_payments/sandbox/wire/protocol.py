"""Stripe's wire protocol: requests in, answers out, keys, versions, form bodies, lists.

See: https://docs.stripe.com/api (checked 2026-11)
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

from ..account.books import Books, Object
from .errors import AuthenticationFailed, InvalidRequest, NotCovered, ResourceMissing
from .params import Appended, Schema
from .versions import DEFAULT_VERSION, VERSIONS

RESTRICTED_KEY_PREFIX = "rk_test_"
SECRET_KEY_PREFIXES = ("sk_test_", RESTRICTED_KEY_PREFIX)
PUBLISHABLE_KEY_PREFIX = "pk_test_"
_MAX_DEPTH = 8


@dataclass(frozen=True)
class SandboxResponse:
    """What goes back over the wire; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)  # it may hold a client_secret


@dataclass(frozen=True, kw_only=True)
class Cause:
    """The request behind a change; an event names it."""

    request_id: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request that passed validation, as its route's handler gets it."""

    books: Books
    params: Mapping[str, Any]
    object_id: str
    """The id in the address; empty where the route has none."""
    cause: Cause
    publishable: bool
    """Whether a browser asks."""


Handler = Callable[[Call], Object]
"""Runs under the lock of the books; validates first, then changes."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """One operation of the API: how it is addressed, what it takes, what it does."""

    method: str
    path: str
    """E.g. `/v1/payment_intents/{id}/confirm`."""
    schema: Schema
    handler: Handler
    returns: str
    """The kind of the object in the answer, or of the objects in its list."""
    listed: bool = False
    """The answer is a list."""
    browser_schema: Schema | None = None
    """What a publishable key may send; None refuses such keys."""

    def schema_for(self, *, publishable: bool) -> Schema:
        """Return what the bearer of a secret, or of a publishable, key may send."""
        return self.browser_schema or {} if publishable else self.schema

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.path).replace(r"\{id\}", "(?P<id>[^/]+)"))

    def match(self, method: str, path: str) -> str | None:
        """Return the id in the address ("" without one), or None if it is not this route's."""
        found = self._pattern.fullmatch(path) if method == self.method else None
        return found.groupdict().get("id", "") if found else None


def routes(
    base: str,
    kind: str,
    *operations: tuple[str, str, Handler, Schema],
    browser_schemas: Mapping[Handler, Schema] | None = None,
) -> tuple[Route, ...]:
    """Return the routes of a kind of object, given as method, path under `base`, handler, schema.

    The GET of `base` itself is a list.
    """
    return tuple(
        Route(
            method=method,
            path=base + path,
            handler=handler,
            schema=schema,
            returns=kind,
            listed=method == "GET" and path == "",
            browser_schema=(browser_schemas or {}).get(handler),
        )
        for method, path, handler, schema in operations
    )


def json_response(
    body: Object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> SandboxResponse:
    """Return an answer laid out as Stripe lays it out."""
    text = json.dumps(body, indent=2, ensure_ascii=False)
    return SandboxResponse(
        status, {"content-type": "application/json", **(headers or {})}, text.encode()
    )


# Keys


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
    """Tell a key from a prefix alone, and from what stands for one in documentation."""
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


def refuse_publishable_key(route: Route) -> None:
    """Raise AuthenticationFailed where a browser has no business."""
    if route.browser_schema is None:
        raise AuthenticationFailed(
            "This API call cannot be made with a publishable API key. Please use a secret API key."
            " You can find a list of your API keys at"
            " https://dashboard.stripe.com/account/apikeys.",
            code="secret_key_required",
            status=403,
        )


ACCOUNT = "acct_1SandboxAccount"


def check_permission(route: Route, headers: Mapping[str, str], *, accepted: AcceptedKeys) -> None:
    """Raise AuthenticationFailed where a restricted key lacks the permission for a route.

    Writing includes reading. Stripe's messages show the names (?): it has no list of them.
    See: https://docs.stripe.com/keys/restricted-api-keys (checked 2026-11)
    """
    key = _api_key(headers.get("authorization", ""))
    granted = accepted.permissions.get(key)
    write, read = f"rak_{route.returns}_write", f"rak_{route.returns}_read"
    wanted = read if route.method == "GET" else write
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


# Headers

_UNCOVERED_HEADERS = ("stripe-account", "stripe-context")


def refuse_uncovered_headers(headers: Mapping[str, str]) -> None:
    """Raise NotCovered where a request speaks for a connected account."""
    for name in _UNCOVERED_HEADERS:
        if name in headers:
            raise NotCovered(f"the header {name.title()}")


def api_version(headers: Mapping[str, str]) -> str:
    """Return the API version asked for, or the sandbox's own.

    Raises:
        InvalidRequest: if there is none of that name.
        NotCovered: for a preview.
    """
    version = headers.get("stripe-version") or DEFAULT_VERSION
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}\.preview(;.*)?", version):
        raise NotCovered("the previews of API versions")
    if version not in VERSIONS:
        raise InvalidRequest(f"Invalid Stripe API version: {version[:50]}")
    return version


# Parameters


def read_params(query: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    """Return the parameters of query string and body, nested as their brackets say.

    Raises:
        InvalidRequest: for JSON, other content types, bad UTF-8 and senseless brackets.
    """
    if body:
        _check_content_type(headers.get("content-type", ""))
    try:
        pairs = [*_pairs(query), *_pairs(body.decode())]
    except UnicodeDecodeError:
        raise InvalidRequest("Invalid request: the parameters are not valid UTF-8.") from None
    return nest(pairs)


def _check_content_type(content_type: str) -> None:
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in ("", "application/x-www-form-urlencoded"):
        return
    if media_type == "application/json":
        raise InvalidRequest(
            "Invalid request (check that your POST content type is"
            " application/x-www-form-urlencoded). If you have any questions, we can help at"
            " https://support.stripe.com/."
        )
    raise InvalidRequest(
        f"Invalid request: unsupported Content-Type {content_type[:100]}. If error persists and"
        " you need assistance, please contact support@stripe.com."
    )


def _pairs(form: str) -> list[tuple[str, str]]:
    return parse_qsl(form, keep_blank_values=True, errors="strict")


_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return `a[b]=1&c[]=2&d[0]=3` as `{"a": {"b": "1"}, "c": {"0": "2"}, "d": {"0": "3"}}`.

    Raises:
        InvalidRequest: if names are malformed or contradict each other.
    """
    root: dict[str, Any] = {}
    for name, value in pairs:
        _insert(root, _name_parts(name), value, name)
    return root


def _name_parts(name: str) -> list[str]:
    found = _NAME.fullmatch(name)
    if not found:
        raise InvalidRequest(
            f"Received unknown parameter: {name[:100]}", code="parameter_unknown", param=name[:100]
        )
    parts = [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])]
    if len(parts) > _MAX_DEPTH:
        raise InvalidRequest(f"Invalid parameter: {name[:100]} is nested too deeply.")
    return parts


def _insert(root: dict[str, Any], parts: list[str], value: str, name: str) -> None:
    node = root
    for part in parts[:-1]:
        node = node.setdefault(_index(node, part), {})
        if not isinstance(node, dict):
            raise InvalidRequest(f"Invalid parameter: {name[:100]} is given twice.", param=name)
    last = _index(node, parts[-1])
    if isinstance(node.get(last), dict):
        raise InvalidRequest(f"Invalid parameter: {name[:100]} is given twice.", param=name)
    node[last] = value


def _index(node: dict[str, Any], part: str) -> str:
    return part or Appended(len(node))  # `a[]` appends


# Lists


def matching(objects: Iterable[Object], params: Mapping[str, Any], *names: str) -> list[Object]:
    """Keep the objects with the values that the parameters of these names ask for, if sent."""
    wanted = {name: params[name] for name in names if name in params}
    return [each for each in objects if all(each[name] == wanted[name] for name in wanted)]


def paginate(
    objects: Iterable[Object], params: Mapping[str, Any], *, url: str, kind: str
) -> Object:
    """Return a page of `objects` (given oldest first) as Stripe's list object, newest first.

    Raises:
        InvalidRequest: if both cursors are given, or one that names no object.
    """
    if "starting_after" in params and "ending_before" in params:
        raise InvalidRequest(
            "You may only specify one of these parameters: ending_before, starting_after."
        )
    newest_first = [*objects][::-1]
    limit = params.get("limit", 10)
    if "ending_before" in params:
        end = _position(newest_first, params["ending_before"], "ending_before", kind)
        candidates = _created_within(newest_first[:end], params)
        page = candidates[-limit:]
    else:
        start = 0
        if "starting_after" in params:
            start = _position(newest_first, params["starting_after"], "starting_after", kind) + 1
        candidates = _created_within(newest_first[start:], params)
        page = candidates[:limit]
    return {"object": "list", "data": page, "has_more": len(candidates) > limit, "url": url}


def _position(objects: list[Object], object_id: str, param: str, kind: str) -> int:
    for position, candidate in enumerate(objects):
        if candidate["id"] == object_id:
            return position
    raise ResourceMissing(kind, object_id, param=param)


_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    "eq": lambda created, bound: created == bound,
    "gt": lambda created, bound: created > bound,
    "gte": lambda created, bound: created >= bound,
    "lt": lambda created, bound: created < bound,
    "lte": lambda created, bound: created <= bound,
}


def _created_within(objects: list[Object], params: Mapping[str, Any]) -> list[Object]:
    bounds = params.get("created", {})
    return [
        candidate
        for candidate in objects
        if all(_COMPARISONS[how](candidate["created"], bound) for how, bound in bounds.items())
    ]
