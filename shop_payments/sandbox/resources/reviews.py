"""Reviews: the operations.

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
    """GET /v1/reviews: open reviews only, as Stripe does."""
    is_open = call.books.reviews.rows(keep=lambda review: bool(review["open"]))
    return paginate(is_open, call.params, url="/v1/reviews", kind=radar_moves.REVIEW)


def approve(call: Call) -> Object:
    """POST /v1/reviews/{id}/approve."""
    review = retrieve(call)
    if not review["open"]:
        # (?): Stripe does not document this answer.
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
