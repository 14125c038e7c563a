"""How early fraud warnings and reviews begin and end.

A charge of a test card creates a warning. A lever opens a review; at Stripe, staff open one in the
dashboard, or a rule of Radar for Fraud Teams does. A refund or a dispute ends both.

See: https://docs.stripe.com/api/radar/early_fraud_warnings/object,
https://docs.stripe.com/api/radar/reviews/object, https://docs.stripe.com/testing (checked 2026-11)
"""

from __future__ import annotations

import copy

from ..account.books import Books, Object
from ..wire.messages import Cause
from . import events

WARNING, REVIEW = "radar.early_fraud_warning", "review"


def warn(books: Books, charge: Object, cause: Cause) -> Object:
    """Create an early fraud warning for a charge."""
    warning: Object = {
        "id": books.new_id("issfr"),
        "object": WARNING,
        "actionable": _is_actionable(charge),
        "charge": charge["id"],
        "created": books.now(),
        "fraud_type": "misc",
        "livemode": False,
        "payment_intent": charge["payment_intent"],
    }
    books.early_fraud_warnings.add(warning)
    events.emit(books, f"{WARNING}.created", warning, cause)
    return warning


def open_review(books: Books, intent: Object, cause: Cause) -> Object:
    """Open a review of a payment, as staff do in Stripe's dashboard.

    Raises:
        ValueError: it already has a review.
    """
    if intent["review"] is not None:
        raise ValueError(f"{intent['id']} already has a review.")
    review: Object = {
        "id": books.new_id("prv"),
        "object": REVIEW,
        "billing_zip": None,
        "charge": intent["latest_charge"],
        "closed_reason": None,
        "created": books.now(),
        "ip_address": None,
        "ip_address_location": None,
        "livemode": False,
        "open": True,
        "opened_reason": "manual",
        "payment_intent": intent["id"],
        "reason": "manual",
        "session": None,
    }
    books.reviews.add(review)
    intent["review"] = review["id"]
    events.emit(books, "review.opened", review, cause)
    return review


def close_review(books: Books, review: Object, reason: str, cause: Cause) -> None:
    """Close a review, unless it is closed already."""
    if review["open"]:
        review.update(open=False, closed_reason=reason, reason=reason)
        events.emit(books, "review.closed", review, cause)


def after_outflow(books: Books, charge: Object, reason: str, cause: Cause) -> None:
    """Update the warnings and reviews of a charge after a refund or a dispute."""
    for warning in books.early_fraud_warnings.where("charge", charge["id"]):
        if warning["actionable"] != _is_actionable(charge):
            old = copy.deepcopy(warning)
            warning["actionable"] = _is_actionable(charge)
            changed = events.differences(old, warning)
            events.emit(books, f"{WARNING}.updated", warning, cause, previous=changed)
    if charge["refunded"] or charge["disputed"]:
        for review in books.reviews.where("payment_intent", charge["payment_intent"]):
            close_review(books, review, reason, cause)


def _is_actionable(charge: Object) -> bool:
    return not charge["disputed"] and not charge["refunded"]
