"""Who may call what: one table, from which the tests and the README's table are made.

``python -m tests.api.authorization`` prints the README's table.
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
    """Whether a 200 shows the order that the table is about."""

    @property
    def words(self) -> str:
        if self.status == 200:
            return "200" if self.names_order else "200, without it"
        return f"{self.status} `{self.code}`"


NO_CSRF = Answer(403, "permission_denied")
NOT_FOUND = Answer(404, "order_not_found")
ANSWERS = {
    "ok": Answer(200),
    "-": Answer(200, names_order=False),
    "no_token": Answer(401, "not_authenticated"),
    "bad_token": Answer(401, "invalid_token"),
    "no_key": Answer(401, "api_key_missing"),
    "bad_key": Answer(401, "api_key_invalid"),
    "scope": Answer(403, "insufficient_scope"),
    "csrf": NO_CSRF,
    "404": NOT_FOUND,
}


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


UNSIGNED = Answer(400, "invalid_signature")
ROUTES = (
    Route(name="root", method="GET", path=""),
    Route(name="orders", method="GET", path="orders"),
    Route(name="order", method="GET", path="orders/{id}"),
    Route(name="payment-intent", method="POST", path="orders/{id}/payment-intent"),
    Route(name="payment", method="POST", path="orders/{id}/payment"),
    Route(name="refunds", method="GET", path="orders/{id}/refunds"),
    Route(name="refunds", method="POST", path="orders/{id}/refunds"),
    Route(name="stripe-webhook", method="POST", path="webhooks/stripe", always=UNSIGNED),
    Route(
        name="stripe-webhook",
        method="POST",
        path="webhooks/stripe",
        always=ANSWERS["ok"],
        signed=True,
    ),
)


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
    """The credentials of a request."""

    token: Token = Token.NONE
    key: Key = Key.NONE
    session: Session = Session.NONE
    csrf: bool = True
    """Whether a session sends its CSRF token."""

    def __str__(self) -> str:
        parts = [each.value for each in (self.session, self.token, self.key) if each.name != "NONE"]
        parts += [] if self.csrf else ["no CSRF token"]
        return ", ".join(parts) or "nobody"


class Row:
    """A caller, and what each route answers.

    ``answers`` are names of ``ANSWERS`` for the routes whose answer depends on the caller, in their
    order. ``a/b`` is a for a host that authenticates by tokens alone, b for one that takes
    sessions.
    """

    def __init__(
        self,
        token: Token = Token.NONE,
        key: Key = Key.NONE,
        session: Session = Session.NONE,
        *,
        answers: str,
        csrf: bool = True,
        readme: str = "",
    ) -> None:
        self.caller = Caller(token=token, key=key, session=session, csrf=csrf)
        self.readme = readme
        """What the README calls the caller; empty where it leaves the row out."""

        given = iter(answers.split())
        self._answers = {route: None if route.always else next(given) for route in ROUTES}

    def answer(self, route: Route, *, host_takes_sessions: bool) -> Answer:
        name = self._answers[route]
        if name is None:
            assert route.always is not None
            return route.always
        tokens, _, sessions = name.partition("/")
        return ANSWERS[sessions if sessions and host_takes_sessions else tokens]


_N, _W, _X, _O, _A = Token.NONE, Token.WRONG, Token.INACTIVE, Token.OWNER, Token.ANOTHER
_NOT_LIVE = "the customer's token, an unknown, expired or revoked key"

ROWS = (
    # Routes: /, orders, order, payment-intent, payment, list refunds, create a refund
    Row(answers="ok no_token no_token no_key no_key no_key no_key", readme="nobody"),
    Row(_N, Key.UNKNOWN, answers="ok no_token no_token bad_key bad_key bad_key bad_key"),
    Row(
        *(_N, Key.STOREFRONT),
        answers="ok no_token no_token no_token scope scope scope",
        readme="a `storefront` key alone",
    ),
    Row(
        *(_N, Key.PAYMENTS),
        answers="ok no_token no_token scope ok scope scope",
        readme="a `payments` key alone",
    ),
    Row(_N, Key.ALL, answers="ok no_token no_token no_token ok ok ok"),
    Row(
        *(_N, Key.REFUNDS),
        answers="ok no_token no_token scope scope ok ok",
        readme="a `refunds` key alone",
    ),
    # A wrong token. Routes for programs ignore it.
    Row(_W, answers="bad_token bad_token bad_token no_key no_key no_key no_key"),
    Row(
        *(_W, Key.STOREFRONT),
        answers="bad_token bad_token bad_token bad_token scope scope scope",
        readme="a wrong token, a `storefront` key",
    ),
    Row(_W, Key.ALL, answers="bad_token bad_token bad_token bad_token ok ok ok"),
    Row(_X, Key.STOREFRONT, answers="bad_token bad_token bad_token bad_token scope scope scope"),
    # The customer whose order it is.
    Row(_O, answers="ok ok ok no_key no_key no_key no_key", readme="the customer's token alone"),
    Row(_O, Key.UNKNOWN, answers="ok ok ok bad_key bad_key bad_key bad_key", readme=_NOT_LIVE),
    Row(_O, Key.EXPIRED, answers="ok ok ok bad_key bad_key bad_key bad_key", readme=_NOT_LIVE),
    Row(_O, Key.REVOKED, answers="ok ok ok bad_key bad_key bad_key bad_key", readme=_NOT_LIVE),
    Row(
        *(_O, Key.STOREFRONT),
        answers="ok ok ok ok scope scope scope",
        readme="**the customer's token, a `storefront` key**",
    ),
    Row(
        *(_O, Key.PAYMENTS),
        answers="ok ok ok scope ok scope scope",
        readme="the customer's token, a `payments` key",
    ),
    Row(_O, Key.ALL, answers="ok ok ok ok ok ok ok"),
    Row(_O, Key.REFUNDS, answers="ok ok ok scope scope ok ok"),
    # Another customer.
    Row(
        *(_A, Key.STOREFRONT),
        answers="ok - 404 404 scope scope scope",
        readme="another customer's token, a `storefront` key",
    ),
    Row(_A, Key.ALL, answers="ok - 404 404 ok ok ok"),
    # Staff in their session. Without the permission they are users like any other.
    Row(
        session=Session.STAFF_VIEW,
        answers="ok ok ok no_key no_key no_key no_key",
        readme="staff's session, may view order payments",
    ),
    Row(
        session=Session.STAFF_BOTH,
        answers="ok ok ok ok ok no_key no_key",
        readme="staff's session, may view and change them",
    ),
    Row(
        session=Session.STAFF_BOTH,
        csrf=False,
        answers="ok ok ok csrf csrf no_key no_key",
        readme="the same without a CSRF token",
    ),
    Row(
        session=Session.STAFF_REFUND,
        answers="ok ok ok ok ok ok ok",
        readme="staff's session, may also add refunds",
    ),
    Row(session=Session.STAFF_REFUND, csrf=False, answers="ok ok ok csrf csrf ok csrf"),
    # As in the admin, nobody refunds what they may not see.
    Row(
        session=Session.STAFF_REFUND_ONLY,
        answers="ok no_token/- no_token/404 no_key no_key no_key no_key",
    ),
    Row(session=Session.STAFF_CHANGE, answers="ok no_token/- no_token/404 ok ok no_key no_key"),
    Row(
        session=Session.STAFF,
        answers="ok no_token/- no_token/404 no_key no_key no_key no_key",
        readme="staff's session without the permission *",
    ),
    Row(
        session=Session.STAFF_INACTIVE,
        answers="ok no_token no_token no_key no_key no_key no_key",
    ),
    Row(
        session=Session.PERMITTED,
        answers="ok no_token/- no_token/404 no_key no_key no_key no_key",
    ),
    # A caller with a key or a token does not act as staff, whatever the session says.
    Row(
        *(_A, Key.NONE, Session.STAFF_REFUND),
        answers="ok - 404 no_key no_key no_key no_key",
    ),
    Row(
        *(_N, Key.PAYMENTS, Session.STAFF_BOTH),
        answers="ok no_token/- no_token/404 scope ok scope scope",
    ),
    # REST framework's SessionAuthentication, if it comes first, does not look at the token.
    Row(
        *(_W, Key.STOREFRONT, Session.STAFF_BOTH),
        answers="bad_token/ok bad_token/- bad_token/404 bad_token/404 scope scope scope",
    ),
    # A customer who is logged in.
    Row(
        session=Session.CUSTOMER,
        answers="ok no_token/ok no_token/ok no_key no_key no_key no_key",
        readme="the customer's session *",
    ),
    Row(
        *(_N, Key.STOREFRONT, Session.CUSTOMER),
        answers="ok no_token/ok no_token/ok no_token/ok scope scope scope",
        readme="the customer's session *, a `storefront` key",
    ),
    Row(
        *(_N, Key.STOREFRONT, Session.CUSTOMER),
        csrf=False,
        answers="ok no_token/ok no_token/ok no_token/csrf scope scope scope",
        readme="the same without a CSRF token",
    ),
)


# --- the README's table -------------------------------------------------------------------------

_SHOWN = tuple(route for route in ROUTES if route.name != "root" and route.always is None)


def readme_table() -> list[list[str]]:
    """Return the README's table, with its head.

    It is about hosts that take sessions; neighbouring rows that say the same are one.
    """
    table = [["who", *(f"`{route}`".replace("orders/{id}/", "…/") for route in _SHOWN)]]
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
