"""Early fraud warnings: the operations.

See: https://docs.stripe.com/api/radar/early_fraud_warnings (checked 2026-11)
"""

from __future__ import annotations

from ..account.books import Object
from ..wire.errors import ResourceMissing
from ..wire.lists import among, paginate
from ..wire.params import EXPAND, PAGINATION, Param, Schema, text
from .base import Call, Resource, routes
from .radar_moves import WARNING

_URL = "/v1/radar/early_fraud_warnings"


def retrieve(call: Call) -> Object:
    """GET /v1/radar/early_fraud_warnings/{id}."""
    warning = call.books.early_fraud_warnings.get(call.object_id)
    if warning is None:
        raise ResourceMissing("early_fraud_warning", call.object_id, param="id", status=404)
    return warning


def list_all(call: Call) -> Object:
    """GET /v1/radar/early_fraud_warnings."""
    chosen = among(call.params, "charge", "payment_intent")
    wanted = call.books.early_fraud_warnings.rows(chosen)
    return paginate(wanted, call.params, url=_URL, kind=WARNING)


LIST: Schema = {
    **EXPAND,
    **PAGINATION,
    "charge": Param(parse=text()),
    "payment_intent": Param(parse=text()),
}

RESOURCE = Resource(
    kind=WARNING,
    stored=lambda books: books.early_fraud_warnings,
    expandable={"charge": "charge", "payment_intent": "payment_intent"},
)

ROUTES = routes(
    _URL,
    WARNING,
    ("GET", "", list_all, LIST),
    ("GET", "/{id}", retrieve, EXPAND),
)
