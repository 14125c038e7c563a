"""Reviews: payments that a person should look at.

See: https://docs.stripe.com/api/radar/reviews (checked 2026-11)
"""

from __future__ import annotations

from ..account.books import Object
from ..wire.errors import InvalidRequest, ResourceMissing
from ..wire.lists import paginate
from ..wire.params import EXPAND, PAGINATION, Schema
from . import radar_moves
from .base import Call, Resource, routes


def retrieve(call: Call) -> Object:
    """GET /v1/reviews/{id}."""
    review = call.books.reviews.get(call.object_id)
    if review is None:
        raise ResourceMissing("review", call.object_id, param="review", status=404)
    return review


def list_all(call: Call) -> Object:
    """GET /v1/reviews: the open ones."""
    wanted = [each for each in call.books.reviews.values() if each["open"]]
    return paginate(wanted, call.params, url="/v1/reviews", kind=radar_moves.REVIEW)


def approve(call: Call) -> Object:
    """POST /v1/reviews/{id}/approve."""
    review = retrieve(call)
    if not review["open"]:
        # (?): Stripe does not document what it answers here.
        raise InvalidRequest("This review has already been closed.")
    radar_moves.close_review(call.books, review, "approved", call.cause)
    return review


LIST: Schema = {**EXPAND, **PAGINATION}

RESOURCE = Resource(
    kind=radar_moves.REVIEW,
    stored=lambda books: books.reviews,
    expandable={"charge": "charge", "payment_intent": "payment_intent"},
)

ROUTES = routes(
    "/v1/reviews",
    radar_moves.REVIEW,
    ("GET", "", list_all, LIST),
    ("GET", "/{id}", retrieve, EXPAND),
    ("POST", "/{id}/approve", approve, EXPAND),
)
