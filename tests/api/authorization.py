"""Who may call what: one table, from which come the tests of it and the README's words.

``python -m tests.api.authorization`` prints the README's table and counts the cells.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

# --- answers ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """A status and a stable code."""

    status: int
    code: str = ""
    names_order: bool = True
    """Whether a 200 tells of the order that the table is about."""

    @property
    def is_refusal_of_caller(self) -> bool:
        """Whether it is about the caller, and not about the order."""
        return self.status in {401, 403}

    @property
    def words(self) -> str:
        if self.status == 200:
            return "200" if self.names_order else "200, without it"
        return f"{self.status} `{self.code}`"


OK = Answer(200)
NOT_LISTED = Answer(200, names_order=False)
NO_TOKEN = Answer(401, "not_authenticated")
BAD_TOKEN = Answer(401, "invalid_token")
NO_KEY = Answer(401, "api_key_missing")
BAD_KEY = Answer(401, "api_key_invalid")
NO_SCOPE = Answer(403, "insufficient_scope")
NO_CSRF = Answer(403, "permission_denied")
NOT_FOUND = Answer(404, "order_not_found")
NO_METHOD = Answer(405, "method_not_allowed")
NO_SIGNATURE = Answer(400, "invalid_signature")


@dataclass(frozen=True)
class ByHost:
    """What depends on whether the host's own authentication takes sessions."""

    tokens: Answer
    sessions: Answer


Expected = Answer | ByHost


# --- routes -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Route:
    """A column: one URL name of the API with the method that it takes."""

    name: str
    method: str
    path: str
    always: Answer | None = None
    """The answer where credentials do not count."""

    signed: bool = False
    """Whether Stripe has signed the body."""

    def __str__(self) -> str:
        return f"{self.method} {self.path or '/'}{' (signed)' if self.signed else ''}"


ROUTES = (
    Route(name="root", method="GET", path=""),
    Route(name="orders", method="GET", path="orders"),
    Route(name="order", method="GET", path="orders/{id}"),
    Route(name="payment-intent", method="POST", path="orders/{id}/payment-intent"),
    Route(name="payment", method="POST", path="orders/{id}/payment"),
    Route(name="refunds", method="GET", path="orders/{id}/refunds"),
    Route(name="refunds", method="POST", path="orders/{id}/refunds"),
    Route(name="stripe-webhook", method="POST", path="webhooks/stripe", always=NO_SIGNATURE),
    Route(name="stripe-webhook", method="POST", path="webhooks/stripe", always=OK, signed=True),
)
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


# --- callers ------------------------------------------------------------------------------------


class Token(Enum):
    """The Bearer token."""

    NONE = "no token"
    WRONG = "a wrong token"
    INACTIVE = "the token of a customer who was locked out"
    OWNER = "the customer's token"
    ANOTHER = "another customer's token"


class Key(Enum):
    """The X-API-Key; those that are not live have all scopes."""

    NONE = "no key"
    UNKNOWN = "an unknown key"
    EXPIRED = "an expired key"
    REVOKED = "a revoked key"
    STOREFRONT = "a `storefront` key"
    PAYMENTS = "a `payments` key"
    REFUNDS = "a `refunds` key"
    ALL = "a key with all scopes"


class Session(Enum):
    """Who has logged in with this browser; staff are no customers here."""

    NONE = "no session"
    CUSTOMER = "the customer's session"
    STAFF = "staff without the permission"
    STAFF_VIEW = "staff who may view order payments"
    STAFF_CHANGE = "staff who may change order payments"
    STAFF_BOTH = "staff who may view and change order payments"
    STAFF_REFUND = "staff who may also refund"
    STAFF_REFUND_ONLY = "staff who may refund and no more"
    STAFF_INACTIVE = "staff who were locked out"
    PERMITTED = "somebody with all permissions who is no staff"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """What a request brings along."""

    token: Token = Token.NONE
    key: Key = Key.NONE
    session: Session = Session.NONE
    csrf: bool = True
    """Whether a session brings its CSRF token."""

    def __str__(self) -> str:
        parts = [each.value for each in (self.session, self.token, self.key) if each.name != "NONE"]
        parts += [] if self.csrf else ["no CSRF token"]
        return ", ".join(parts) or "nobody"


class Row:
    """A caller, and what each route answers."""

    def __init__(self, caller: Caller, *answers: Expected, readme: str = "") -> None:
        self.caller = caller
        self.readme = readme
        """What the README calls the caller; empty where it leaves the row out."""

        given = iter(answers)
        self.answers: dict[Route, Expected] = {
            route: route.always or next(given) for route in ROUTES
        }
        if list(given):
            raise ValueError(f"{caller}: more answers than routes")

    def answer(self, route: Route, *, host_takes_sessions: bool) -> Answer:
        expected = self.answers[route]
        if isinstance(expected, Answer):
            return expected
        return expected.sessions if host_takes_sessions else expected.tokens

    def answer_to(self, method: str, route: Route, *, host_takes_sessions: bool) -> Answer:
        """What a method that is not the route's own gets: first who calls is looked at."""
        answer = self.answer(route, host_takes_sessions=host_takes_sessions)
        if answer.is_refusal_of_caller or (method, route.method) == ("HEAD", "GET"):
            return answer
        return OK if method == "OPTIONS" else NO_METHOD


def _having(
    token: Token = Token.NONE,
    key: Key = Key.NONE,
    session: Session = Session.NONE,
    *,
    csrf: bool = True,
) -> Caller:
    return Caller(token=token, key=key, session=session, csrf=csrf)


_N, _W, _X, _O, _A = Token.NONE, Token.WRONG, Token.INACTIVE, Token.OWNER, Token.ANOTHER

# A session that the host's authentication takes is a user; one that it does not is nobody.
_USER = ByHost(NO_TOKEN, OK)
_OTHER_USER_LIST = ByHost(NO_TOKEN, NOT_LISTED)
_OTHER_USER = ByHost(NO_TOKEN, NOT_FOUND)
_USER_UNPROTECTED = ByHost(NO_TOKEN, NO_CSRF)

ROWS = (
    # The columns: /, orders, orders/{id}, …/payment-intent, …/payment, and …/refunds twice:
    # to list and to create.
    Row(_having(), OK, NO_TOKEN, NO_TOKEN, NO_KEY, NO_KEY, NO_KEY, NO_KEY, readme="nobody"),
    Row(_having(_N, Key.UNKNOWN), OK, NO_TOKEN, NO_TOKEN, BAD_KEY, BAD_KEY, BAD_KEY, BAD_KEY),
    Row(_having(_N, Key.EXPIRED), OK, NO_TOKEN, NO_TOKEN, BAD_KEY, BAD_KEY, BAD_KEY, BAD_KEY),
    Row(_having(_N, Key.REVOKED), OK, NO_TOKEN, NO_TOKEN, BAD_KEY, BAD_KEY, BAD_KEY, BAD_KEY),
    Row(
        *(
            _having(_N, Key.STOREFRONT),
            OK,
            NO_TOKEN,
            NO_TOKEN,
            NO_TOKEN,
            NO_SCOPE,
            NO_SCOPE,
            NO_SCOPE,
        ),
        readme="a `storefront` key alone",
    ),
    Row(
        *(_having(_N, Key.PAYMENTS), OK, NO_TOKEN, NO_TOKEN, NO_SCOPE, OK, NO_SCOPE, NO_SCOPE),
        readme="a `payments` key alone",
    ),
    Row(_having(_N, Key.ALL), OK, NO_TOKEN, NO_TOKEN, NO_TOKEN, OK, OK, OK),
    Row(
        *(_having(_N, Key.REFUNDS), OK, NO_TOKEN, NO_TOKEN, NO_SCOPE, NO_SCOPE, OK, OK),
        readme="a `refunds` key alone",
    ),
    # A wrong token.
    Row(_having(_W), BAD_TOKEN, BAD_TOKEN, BAD_TOKEN, NO_KEY, NO_KEY, NO_KEY, NO_KEY),
    Row(
        _having(_W, Key.UNKNOWN),
        BAD_TOKEN,
        BAD_TOKEN,
        BAD_TOKEN,
        BAD_KEY,
        BAD_KEY,
        BAD_KEY,
        BAD_KEY,
    ),
    Row(
        _having(_W, Key.EXPIRED),
        BAD_TOKEN,
        BAD_TOKEN,
        BAD_TOKEN,
        BAD_KEY,
        BAD_KEY,
        BAD_KEY,
        BAD_KEY,
    ),
    Row(
        _having(_W, Key.REVOKED),
        BAD_TOKEN,
        BAD_TOKEN,
        BAD_TOKEN,
        BAD_KEY,
        BAD_KEY,
        BAD_KEY,
        BAD_KEY,
    ),
    Row(
        *(
            _having(_W, Key.STOREFRONT),
            BAD_TOKEN,
            BAD_TOKEN,
            BAD_TOKEN,
            BAD_TOKEN,
            NO_SCOPE,
            NO_SCOPE,
            NO_SCOPE,
        ),
        readme="a wrong token, a `storefront` key",
    ),
    Row(
        _having(_W, Key.PAYMENTS), BAD_TOKEN, BAD_TOKEN, BAD_TOKEN, NO_SCOPE, OK, NO_SCOPE, NO_SCOPE
    ),
    Row(_having(_W, Key.ALL), BAD_TOKEN, BAD_TOKEN, BAD_TOKEN, BAD_TOKEN, OK, OK, OK),
    Row(_having(_X), BAD_TOKEN, BAD_TOKEN, BAD_TOKEN, NO_KEY, NO_KEY, NO_KEY, NO_KEY),
    Row(_having(_X, Key.ALL), BAD_TOKEN, BAD_TOKEN, BAD_TOKEN, BAD_TOKEN, OK, OK, OK),
    Row(_having(_W, Key.REFUNDS), BAD_TOKEN, BAD_TOKEN, BAD_TOKEN, NO_SCOPE, NO_SCOPE, OK, OK),
    # The customer whose order it is.
    Row(
        _having(_O), OK, OK, OK, NO_KEY, NO_KEY, NO_KEY, NO_KEY, readme="the customer's token alone"
    ),
    Row(
        *(_having(_O, Key.UNKNOWN), OK, OK, OK, BAD_KEY, BAD_KEY, BAD_KEY, BAD_KEY),
        readme="the customer's token, an unknown, expired or revoked key",
    ),
    Row(
        *(_having(_O, Key.EXPIRED), OK, OK, OK, BAD_KEY, BAD_KEY, BAD_KEY, BAD_KEY),
        readme="the customer's token, an unknown, expired or revoked key",
    ),
    Row(
        *(_having(_O, Key.REVOKED), OK, OK, OK, BAD_KEY, BAD_KEY, BAD_KEY, BAD_KEY),
        readme="the customer's token, an unknown, expired or revoked key",
    ),
    Row(
        *(_having(_O, Key.STOREFRONT), OK, OK, OK, OK, NO_SCOPE, NO_SCOPE, NO_SCOPE),
        readme="**the customer's token, a `storefront` key**",
    ),
    Row(
        *(_having(_O, Key.PAYMENTS), OK, OK, OK, NO_SCOPE, OK, NO_SCOPE, NO_SCOPE),
        readme="the customer's token, a `payments` key",
    ),
    Row(_having(_O, Key.ALL), OK, OK, OK, OK, OK, OK, OK),
    Row(_having(_O, Key.REFUNDS), OK, OK, OK, NO_SCOPE, NO_SCOPE, OK, OK),
    # Another customer.
    Row(_having(_A), OK, NOT_LISTED, NOT_FOUND, NO_KEY, NO_KEY, NO_KEY, NO_KEY),
    Row(_having(_A, Key.UNKNOWN), OK, NOT_LISTED, NOT_FOUND, BAD_KEY, BAD_KEY, BAD_KEY, BAD_KEY),
    Row(_having(_A, Key.EXPIRED), OK, NOT_LISTED, NOT_FOUND, BAD_KEY, BAD_KEY, BAD_KEY, BAD_KEY),
    Row(_having(_A, Key.REVOKED), OK, NOT_LISTED, NOT_FOUND, BAD_KEY, BAD_KEY, BAD_KEY, BAD_KEY),
    Row(
        *(
            _having(_A, Key.STOREFRONT),
            OK,
            NOT_LISTED,
            NOT_FOUND,
            NOT_FOUND,
            NO_SCOPE,
            NO_SCOPE,
            NO_SCOPE,
        ),
        readme="another customer's token, a `storefront` key",
    ),
    Row(_having(_A, Key.PAYMENTS), OK, NOT_LISTED, NOT_FOUND, NO_SCOPE, OK, NO_SCOPE, NO_SCOPE),
    Row(_having(_A, Key.ALL), OK, NOT_LISTED, NOT_FOUND, NOT_FOUND, OK, OK, OK),
    Row(_having(_A, Key.REFUNDS), OK, NOT_LISTED, NOT_FOUND, NO_SCOPE, NO_SCOPE, OK, OK),
    # Staff in their session. Without the permission they are users like any other.
    Row(
        *(_having(session=Session.STAFF_VIEW), OK, OK, OK, NO_KEY, NO_KEY, NO_KEY, NO_KEY),
        readme="staff's session, may view order payments",
    ),
    Row(
        *(_having(session=Session.STAFF_BOTH), OK, OK, OK, OK, OK, NO_KEY, NO_KEY),
        readme="staff's session, may view and change them",
    ),
    Row(
        *(
            _having(session=Session.STAFF_BOTH, csrf=False),
            OK,
            OK,
            OK,
            NO_CSRF,
            NO_CSRF,
            NO_KEY,
            NO_KEY,
        ),
        readme="the same without a CSRF token",
    ),
    Row(
        *(_having(session=Session.STAFF_REFUND), OK, OK, OK, OK, OK, OK, OK),
        readme="staff's session, may also add refunds",
    ),
    Row(
        *(_having(session=Session.STAFF_REFUND, csrf=False), OK, OK, OK, NO_CSRF, NO_CSRF),
        *(OK, NO_CSRF),
    ),
    Row(
        # In the admin, too, nobody refunds what they may not see.
        _having(session=Session.STAFF_REFUND_ONLY),
        *(OK, _OTHER_USER_LIST, _OTHER_USER, NO_KEY, NO_KEY, NO_KEY, NO_KEY),
    ),
    Row(
        _having(session=Session.STAFF_CHANGE),
        OK,
        _OTHER_USER_LIST,
        _OTHER_USER,
        OK,
        OK,
        NO_KEY,
        NO_KEY,
    ),
    Row(
        _having(session=Session.STAFF_CHANGE, csrf=False),
        *(OK, _OTHER_USER_LIST, _OTHER_USER, NO_CSRF, NO_CSRF, NO_KEY, NO_KEY),
    ),
    Row(
        _having(session=Session.STAFF_VIEW, csrf=False), OK, OK, OK, NO_KEY, NO_KEY, NO_KEY, NO_KEY
    ),
    Row(
        *(
            _having(session=Session.STAFF),
            OK,
            _OTHER_USER_LIST,
            _OTHER_USER,
            NO_KEY,
            NO_KEY,
            NO_KEY,
            NO_KEY,
        ),
        readme="staff's session without the permission *",
    ),
    Row(
        _having(session=Session.STAFF_INACTIVE),
        OK,
        NO_TOKEN,
        NO_TOKEN,
        NO_KEY,
        NO_KEY,
        NO_KEY,
        NO_KEY,
    ),
    Row(
        _having(session=Session.PERMITTED),
        *(OK, _OTHER_USER_LIST, _OTHER_USER, NO_KEY, NO_KEY, NO_KEY, NO_KEY),
    ),
    # Who brings a key or a token does not act as staff, whatever the session says.
    Row(
        _having(Token.ANOTHER, session=Session.STAFF_REFUND),
        *(OK, NOT_LISTED, NOT_FOUND, NO_KEY, NO_KEY, NO_KEY, NO_KEY),
    ),
    Row(
        _having(Token.WRONG, session=Session.STAFF_REFUND),
        ByHost(BAD_TOKEN, OK),
        ByHost(BAD_TOKEN, NOT_LISTED),
        ByHost(BAD_TOKEN, NOT_FOUND),
        *(NO_KEY, NO_KEY, NO_KEY, NO_KEY),
    ),
    Row(
        _having(key=Key.STOREFRONT, session=Session.STAFF_BOTH),
        *(OK, _OTHER_USER_LIST, _OTHER_USER, _OTHER_USER, NO_SCOPE, NO_SCOPE, NO_SCOPE),
    ),
    Row(
        _having(key=Key.PAYMENTS, session=Session.STAFF_BOTH),
        *(OK, _OTHER_USER_LIST, _OTHER_USER, NO_SCOPE, OK, NO_SCOPE, NO_SCOPE),
    ),
    Row(
        _having(key=Key.REVOKED, session=Session.STAFF_BOTH),
        *(OK, _OTHER_USER_LIST, _OTHER_USER, BAD_KEY, BAD_KEY, BAD_KEY, BAD_KEY),
    ),
    Row(
        # REST framework's SessionAuthentication, if it comes first, does not look at the token.
        _having(Token.WRONG, Key.STOREFRONT, Session.STAFF_BOTH),
        ByHost(BAD_TOKEN, OK),
        ByHost(BAD_TOKEN, NOT_LISTED),
        ByHost(BAD_TOKEN, NOT_FOUND),
        ByHost(BAD_TOKEN, NOT_FOUND),
        NO_SCOPE,
        NO_SCOPE,
        NO_SCOPE,
    ),
    # A customer who is logged in.
    Row(
        *(_having(session=Session.CUSTOMER), OK, _USER, _USER, NO_KEY, NO_KEY, NO_KEY, NO_KEY),
        readme="the customer's session *",
    ),
    Row(
        _having(key=Key.STOREFRONT, session=Session.CUSTOMER),
        *(OK, _USER, _USER, _USER, NO_SCOPE, NO_SCOPE, NO_SCOPE),
        readme="the customer's session *, a `storefront` key",
    ),
    Row(
        _having(key=Key.STOREFRONT, session=Session.CUSTOMER, csrf=False),
        *(OK, _USER, _USER, _USER_UNPROTECTED, NO_SCOPE, NO_SCOPE, NO_SCOPE),
        readme="the same without a CSRF token",
    ),
    Row(
        _having(key=Key.PAYMENTS, session=Session.CUSTOMER),
        *(OK, _USER, _USER, NO_SCOPE, OK, NO_SCOPE, NO_SCOPE),
    ),
)


# --- what is made of it -------------------------------------------------------------------------

CELLS = tuple((row, route) for row in ROWS for route in ROUTES)

_SHOWN = tuple(route for route in ROUTES if route.name != "root" and route.always is None)


def readme_table() -> list[list[str]]:
    """The README's table, with its head.

    It speaks of hosts that take sessions; rows that say the same are one.
    """
    head = ["who", *(f"`{route}`".replace("orders/{id}/", "…/") for route in _SHOWN)]
    table = [head]
    for row in ROWS:
        answers = [row.answer(route, host_takes_sessions=True).words for route in _SHOWN]
        if row.readme and [row.readme, *answers] not in table[-1:]:
            table.append([row.readme, *answers])
    return table


def markdown(table: list[list[str]]) -> Iterator[str]:
    head, *rows = table
    for line in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(line)} |".replace("| --- ", "|---").replace("--- |", "---|")


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in markdown(readme_table()))
    sys.stdout.write(
        f"\n{len(ROWS)} callers × {len(ROUTES)} routes = {len(CELLS)} cells, "
        "under each of two host authentications\n"
    )
