"""Other forms of events: of an old API version, thin, or of a connected account.

See: https://docs.stripe.com/upgrades#2022-11-15,
https://docs.stripe.com/event-destinations#thin-events,
https://docs.stripe.com/connect/webhooks (checked 2026-11)
"""

from __future__ import annotations

from datetime import UTC, datetime

from ..account.books import Books, Object
from ..account.renderings import shown_in

OLD_VERSION = "2022-08-01"
"""The last version in which an intent contains its charges."""

OTHER_ACCOUNT = "acct_1SandboxConnected"


def in_form(books: Books, event: Object, version: str, form: str) -> Object:
    """Return the event in an API version and in the form of a fault, if there is one."""
    if form == "webhook_old":
        return _old(books, event)
    if form == "webhook_thin":
        return _thin(event)
    shown = shown_in(version, {**event, "api_version": version}, books)
    return {**shown, "account": OTHER_ACCOUNT} if form == "webhook_of_account" else shown


def _old(books: Books, event: Object) -> Object:
    """Return the event in API version 2022-08-01, and without what newer versions have added: the
    latest charge of an intent, and the intent of a dispute or refund.
    """
    old = shown_in(OLD_VERSION, {**event, "api_version": OLD_VERSION}, books)
    about = old["data"]["object"]
    if about["object"] == "payment_intent":
        about.pop("latest_charge", None)
    elif about["object"] in ("dispute", "refund"):
        about.pop("payment_intent", None)
    return old


def _thin(event: Object) -> Object:
    """Return the event as a thin event, which only names its object."""
    about = event["data"]["object"]
    created = datetime.fromtimestamp(event["created"], tz=UTC)
    return {
        "id": event["id"],
        "object": "v2.core.event",
        "type": f"v1.{event['type']}",
        "created": created.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "livemode": event["livemode"],
        "context": None,
        "reason": None,
        "related_object": {
            "id": about["id"],
            "type": about["object"],
            "url": f"/v1/{about['object'].replace('.', '/')}s/{about['id']}",
        },
    }
