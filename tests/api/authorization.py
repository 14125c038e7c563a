"""Who may call what: one table, from which the tests and the table in docs/api.md are made.

``python -m tests.api.authorization`` prints the table of the page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple


class Answer(NamedTuple):
    """A status and a stable code, and whether a 200 shows the order that the table is about."""

    status: int
    code: str = ""
    names_order: bool = True

    @property
    def words(self) -> str:
        if self.status == 200:
            return "200" if self.names_order else "200, without it"
        return f"{self.status} `{self.code}`"


NOT_FOUND = Answer(404, "order_not_found")
ANSWERS = {
    **{"ok": Answer(200), "-": Answer(200, names_order=False), "404": NOT_FOUND},
    **{"token?": Answer(401, "not_authenticated"), "token!": Answer(401, "invalid_token")},
    **{"guest!": Answer(401, "order_token_invalid")},
    **{"key?": Answer(401, "api_key_missing"), "key!": Answer(401, "api_key_invalid")},
    **{"scope": Answer(403, "insufficient_scope"), "csrf": Answer(403, "permission_denied")},
}


class Route(NamedTuple):
    """A column: one URL name of the API, with the method that it takes."""

    name: str
    method: str
    path: str
    always: Answer | None = None  # the answer where credentials do not count
    signed: bool = False  # whether Stripe has signed the body


ROUTES = (
    Route("root", "GET", ""),
    Route("orders", "GET", "orders"),
    Route("order", "GET", "orders/{id}"),
    Route("payment-intent", "POST", "orders/{id}/payment-intent"),
    Route("payment", "POST", "orders/{id}/payment"),
    Route("refunds", "GET", "orders/{id}/refunds"),
    Route("refunds", "POST", "orders/{id}/refunds"),
    Route("stripe-webhook", "POST", "webhooks/stripe", Answer(400, "invalid_signature")),
    Route("stripe-webhook", "POST", "webhooks/stripe", ANSWERS["ok"], signed=True),
)


class Caller(NamedTuple):
    """The credentials of a request; "-" stands for none.

    The session is the customer's or of staff, who may VIEW or CHANGE payments, or BOTH, or REFUND
    them, too; ONLY may refund alone, and SEE may view and refund. ORDER stands for a guest's token;
    WRONG_ORDER is the token of a payment link. The key has one scope or ALL; if it is not live, it
    has all.
    """

    session: str
    token: str
    key: str
    csrf: bool = True  # whether a session sends its CSRF token

    def __str__(self) -> str:
        return f"{self.session}/{self.token}/{self.key}{'' if self.csrf else '/nocsrf'}"


class Row(NamedTuple):
    """A caller, what each route answers, and what the page says, if it shows the row."""

    caller: Caller
    answers: tuple[str, ...]
    documented: str

    def answer(self, route: Route, *, host_takes_sessions: bool) -> Answer:
        if route.always is not None:
            return route.always
        tokens, _, sessions = self.answers[ROUTES.index(route)].partition("/")
        return ANSWERS[sessions if sessions and host_takes_sessions else tokens]


# session, token, key, "nocsrf" | the answers of the first seven routes | what the page says.
# "a/b" is a for a host that authenticates by tokens alone, and b for one that takes sessions.
# Routes for programs ignore a token. A caller with a key or a token does not act as staff, whatever
# the session says. REST framework's SessionAuthentication, if it comes first, ignores the token.
_TABLE = """
- - -                  | ok token? token? key? key? key? key?           | nobody
- - STOREFRONT         | ok token? token? token? scope scope scope      | a `storefront` key alone
- - PAYMENTS           | ok token? token? scope ok scope scope          | a `payments` key alone
- - REFUNDS            | ok token? token? scope scope ok ok             | a `refunds` key alone
- WRONG STOREFRONT     | token! token! token! token! scope scope scope  | {wrong}
- WRONG ALL            | token! token! token! token! ok ok ok           |
- INACTIVE STOREFRONT  | token! token! token! token! scope scope scope  |
- OWNER -              | ok ok ok key? key? key? key?                   | the customer's token alone
- OWNER UNKNOWN        | ok ok ok key! key! key! key!                   | {not_live}
- OWNER EXPIRED        | ok ok ok key! key! key! key!                   | {not_live}
- OWNER REVOKED        | ok ok ok key! key! key! key!                   | {not_live}
- OWNER STOREFRONT     | ok ok ok ok scope scope scope                  | {owner}
- OWNER PAYMENTS       | ok ok ok scope ok scope scope                  | {payments}
- OWNER ALL            | ok ok ok ok ok ok ok                           |
- ORDER -              | guest! guest! ok key? key? key? key?           | an order token alone
- ORDER STOREFRONT     | guest! guest! ok ok scope scope scope          | {guest}
- ORDER PAYMENTS       | guest! guest! ok scope guest! scope scope      | {guest_payments}
- ORDER ALL            | guest! guest! ok ok guest! guest! guest!       |
- ANOTHER_ORDER ALL    | guest! guest! 404 404 guest! guest! guest!     | {another_order}
- EXPIRED_ORDER ALL    | guest! guest! guest! guest! guest! guest! guest! |
- WRONG_ORDER ALL      | guest! guest! guest! guest! guest! guest! guest! |
- ORDER_AND_TOKEN ALL  | guest! guest! guest! guest! guest! guest! guest! |
REFUND ORDER -         | guest! guest! ok key? key? key? key?           |
CUSTOMER ORDER ALL     | guest! guest! ok ok guest! guest! guest!       |
- ANOTHER STOREFRONT   | ok - 404 404 scope scope scope                 | {another}
VIEW - -               | ok ok ok key? key? key? key?                   | {view}
BOTH - -               | ok ok ok ok ok key? key?                       | {both}
BOTH - - nocsrf        | ok ok ok csrf csrf key? key?                   | {no_csrf}
REFUND - -             | ok ok ok ok ok ok ok                           | {refund}
REFUND - - nocsrf      | ok ok ok csrf csrf ok csrf                     |
CHANGE - -             | ok token?/- token?/404 ok ok key? key?         |
STAFF - -              | ok token?/- token?/404 key? key? key? key?     | {staff}
SEE - -                | ok ok ok key? key? ok ok                       |
ONLY - -               | ok token?/- token?/404 key? key? key? key?     |
INACTIVE - -           | ok token? token? key? key? key? key?           |
PERMITTED - -          | ok token?/- token?/404 key? key? key? key?     |
REFUND ANOTHER -       | ok - 404 key? key? key? key?                   |
BOTH - PAYMENTS        | ok token?/- token?/404 scope ok scope scope    |
BOTH WRONG STOREFRONT  | token!/ok token!/- token!/404 token!/404 scope scope scope |
CUSTOMER - -           | ok token?/ok token?/ok key? key? key? key?     | {customer}
CUSTOMER - STOREFRONT  | ok token?/ok token?/ok token?/ok scope scope scope | {customer_and_key}
CUSTOMER - STOREFRONT nocsrf | ok token?/ok token?/ok token?/csrf scope scope scope | {no_csrf}
"""
_DOCUMENTED = {
    "wrong": "a wrong token, a `storefront` key",
    "not_live": "the customer's token, an unknown, expired or revoked key",
    "owner": "**the customer's token, a `storefront` key**",
    "payments": "the customer's token, a `payments` key",
    "guest": "**a guest with an order token, a `storefront` key**",
    "guest_payments": "an order token, a `payments` key",
    "another_order": "another order's token, a key with all scopes",
    "another": "another customer's token, a `storefront` key",
    "view": "staff's session, may view payments",
    "both": "staff's session, may view and change them",
    "refund": "staff's session, may also add refunds",
    "staff": "staff's session without the permission *",
    "customer": "the customer's session *",
    "customer_and_key": "the customer's session *, a `storefront` key",
    "no_csrf": "the same without a CSRF token",
}


def _row(line: str) -> Row:
    credentials, answers, documented = (part.strip() for part in line.split("|"))
    session, token, key, *no_csrf = credentials.split()
    caller = Caller(session, token, key, csrf=not no_csrf)
    return Row(caller, tuple(answers.split()), documented.format(**_DOCUMENTED))


ROWS = tuple(_row(line) for line in _TABLE.strip().splitlines())
_SHOWN = tuple(route for route in ROUTES if route.name != "root" and route.always is None)


def documented_table() -> list[list[str]]:
    """Return the table of the page, with its head. Neighbouring rows that say the same are one."""
    paths = [f"`{each.method} {each.path}`".replace("orders/{id}/", "…/") for each in _SHOWN]
    table = [["who", *paths]]
    for row in ROWS:
        answers = [row.answer(route, host_takes_sessions=True).words for route in _SHOWN]
        if row.documented and [row.documented, *answers] not in table[-1:]:
            table.append([row.documented, *answers])
    return table


def markdown(table: list[list[str]]) -> Iterator[str]:
    head, *rows = table
    for line in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(line)} |".replace("| --- ", "|---").replace("--- |", "---|")


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in markdown(documented_table()))
