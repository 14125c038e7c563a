"""The page of a 3D Secure challenge or a redirect, where a person or a test completes or fails it.

Stripe's test mode has such pages too. GET shows it. POST with `outcome=complete` or `outcome=fail`
answers the challenge and redirects to the shop, with the query parameters that Stripe adds.

See: https://docs.stripe.com/payments/3d-secure/authentication-flow (checked 2026-11)
"""

from __future__ import annotations

from html import escape
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from .account.books import Authentication, Books, Object
from .banks.currencies import readable
from .resources.payment_intents.attempts import complete_authentication
from .resources.payment_intents.challenges import PATH
from .resources.payment_method_types import REDIRECTS
from .wire.messages import Exchange, SandboxResponse

_REDIRECT_STATUS = {"processing": "pending", "requires_payment_method": "failed"}

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "content-type": "text/html; charset=utf-8",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} (sandbox)</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1rem/1.5 sans-serif; max-width: 30rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.25rem }}
button {{ font: inherit; padding: .5rem 1rem; margin: 0 .5rem .5rem 0 }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""

_CHALLENGE = """<p>Sandbox: no real payment. {words} <strong>{amount}</strong> ({intent}).</p>
<form method="post">
<button name="outcome" value="complete">{complete}</button>
<button name="outcome" value="fail">{fail}</button>
</form>
"""

_3DS = {
    "title": "3D Secure",
    "words": "The sandbox plays the bank: authenticate a payment of",
    "complete": "Complete authentication",
    "fail": "Fail authentication",
}
_REDIRECT = {
    "title": "Amazon Pay",
    "words": "The sandbox plays Amazon Pay: authorize a payment of",
    "complete": "Authorize test payment",
    "fail": "Fail test payment",
}


def is_page(path: str) -> bool:
    """Return whether a request is for a challenge's page."""
    return path.startswith(PATH)


def answer(books: Books, exchange: Exchange) -> SandboxResponse:
    """Show the page, or apply the button that was pressed."""
    with books.lock:
        books.clock.catch_up()
        challenge = books.authentications.get(exchange.path.removeprefix(PATH))
        if challenge is None:
            return _page(404, "<p>There is no such authentication.</p>")
        intent = books.payment_intents[challenge.intent_id]
        if intent["status"] != "requires_action":
            return _page(410, "<p>This authentication is over.</p>")
        match exchange.method:
            case "GET":
                return _show(books, intent)
            case "POST":
                return _finish(books, challenge, exchange)
    return _page(405, "<p>GET or POST.</p>", allow="GET, POST")


def _show(books: Books, intent: Object) -> SandboxResponse:
    payment_method = books.payment_methods[intent["payment_method"]]
    texts = _REDIRECT if payment_method["type"] in REDIRECTS else _3DS
    amount = escape(readable(intent["amount"], intent["currency"]))
    content = _CHALLENGE.format(**texts, amount=amount, intent=escape(intent["id"]))
    return _page(200, content, title=texts["title"])


def _finish(books: Books, challenge: Authentication, exchange: Exchange) -> SandboxResponse:
    outcome = dict(parse_qsl(exchange.body.decode("utf-8", "replace"))).get("outcome")
    if outcome not in ("complete", "fail"):
        return _page(400, "<p>The outcome is <code>complete</code> or <code>fail</code>.</p>")
    intent = complete_authentication(books, challenge.intent_id, succeed=outcome == "complete")
    if challenge.return_url is None:
        return _page(200, "<p>Done. You may close this window.</p>")
    location = _return_address(challenge.return_url, intent)
    return SandboxResponse(303, {**_HEADERS, "location": location}, b"")


def _return_address(return_url: str, intent: Object) -> str:
    parts = urlsplit(return_url)
    added = {
        "payment_intent": intent["id"],
        "payment_intent_client_secret": intent["client_secret"],
        "redirect_status": _REDIRECT_STATUS.get(intent["status"], "succeeded"),
    }
    query = "&".join(filter(None, (parts.query, urlencode(added))))
    return urlunsplit(parts._replace(query=query))


def _page(
    status: int, content: str, *, title: str = "Authentication", **headers: str
) -> SandboxResponse:
    body = _PAGE.format(content=content, title=title).encode()
    return SandboxResponse(status, {**_HEADERS, **headers}, body)
