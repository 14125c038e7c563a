"""Disputes: the operations.

A charge of certain test cards, or a lever, opens a dispute. As in Stripe's test mode, the evidence
decides it: `winning_evidence`, `losing_evidence` or `escalate_inquiry_evidence` as
`evidence[uncategorized_text]`.

See: https://docs.stripe.com/api/disputes and https://docs.stripe.com/testing#disputes
(checked 2026-11)
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ..account.books import Books, Object
from ..wire.errors import InvalidRequest, ResourceMissing
from ..wire.lists import among, paginate
from ..wire.params import (
    EXPAND,
    PAGINATION,
    Hash,
    Param,
    Schema,
    boolean,
    merge_metadata,
    metadata,
    text,
    uncovered,
)
from . import dispute_moves
from .base import Call, Resource, routes
from .dispute_moves import CLOSED, FILES, TEXTS

EVIDENCE_LENGTH = 150_000
"""The maximum number of characters of all evidence."""

# Operations


def retrieve(call: Call) -> Object:
    """GET /v1/disputes/{id}."""
    return _find(call.books, call.object_id)


def list_all(call: Call) -> Object:
    """GET /v1/disputes."""
    wanted = call.books.disputes.rows(among(call.params, "charge", "payment_intent"))
    return paginate(wanted, call.params, url="/v1/disputes", kind="dispute")


def update(call: Call) -> Object:
    """POST /v1/disputes/{id}: add evidence, and submit it unless `submit` is false."""
    books, params = call.books, call.params
    dispute = _find(books, call.object_id)
    _check_open(dispute)
    evidence = _evidence(dispute, params)
    changed_metadata = (
        merge_metadata(dispute["metadata"], params["metadata"])
        if "metadata" in params
        else dispute["metadata"]
    )
    old = copy.deepcopy(dispute)
    dispute.update(evidence=evidence, metadata=changed_metadata)
    if "evidence" in params:
        dispute["evidence_details"]["has_evidence"] = any(evidence.values())
    if params.get("submit", "evidence" in params):
        dispute_moves.submit(books, dispute)
    if dispute != old:
        dispute_moves.emit_update(books, old, dispute, call.cause)
    return dispute


def close(call: Call) -> Object:
    """POST /v1/disputes/{id}/close: accept the loss, or close an inquiry."""
    dispute = _find(call.books, call.object_id)
    _check_open(dispute)
    if dispute_moves.is_inquiry(dispute):  # (?): the fixtures of Stripe's command line do it
        dispute_moves.close(call.books, dispute, call.cause)
    else:
        dispute_moves.lose(call.books, dispute, call.cause)
    return dispute


def _evidence(dispute: Object, params: Mapping[str, Any]) -> Object:
    """Return the evidence after the update, if the dispute still accepts evidence."""
    given = params.get("evidence", {})
    if ("evidence" in params or params.get("submit")) and not dispute_moves.takes_evidence(dispute):
        raise InvalidRequest(
            "The evidence deadline has passed."
            if dispute["evidence_details"]["past_due"]
            else "Evidence has already been submitted for this dispute."
        )
    evidence = {**dispute["evidence"], **given}
    if sum(len(each) for each in evidence.values() if isinstance(each, str)) > EVIDENCE_LENGTH:
        raise InvalidRequest(
            f"The evidence may have {EVIDENCE_LENGTH:,} characters in total.", param="evidence"
        )
    return evidence


def _check_open(dispute: Object) -> None:
    if dispute["status"] in CLOSED:
        raise InvalidRequest("This dispute is already closed")


def _find(books: Books, dispute_id: str) -> Object:
    dispute = books.disputes.get(dispute_id)
    if dispute is None:
        raise ResourceMissing("dispute", dispute_id, param="dispute", status=404)
    return dispute


# Parameters

_EVIDENCE: Schema = {
    **{name: Param(parse=text(max_length=20000)) for name in TEXTS},
    **uncovered("appeal", "enhanced_evidence", *FILES),
}

UPDATE: Schema = {
    **EXPAND,
    "evidence": Param(parse=Hash(_EVIDENCE)),
    "metadata": Param(parse=metadata, unsettable=True),
    "submit": Param(parse=boolean),
    **uncovered("intended_submission_method"),
}

LIST: Schema = {
    **EXPAND,
    **PAGINATION,
    "charge": Param(parse=text()),
    "payment_intent": Param(parse=text()),
}

RESOURCE = Resource(
    kind="dispute",
    stored=lambda books: books.disputes,
    expandable={
        "charge": "charge",
        "payment_intent": "payment_intent",
        **{f"evidence.{name}": "file" for name in FILES},
    },
)

ROUTES = routes(
    "/v1/disputes",
    "dispute",
    ("GET", "", list_all, LIST),
    ("GET", "/{id}", retrieve, EXPAND),
    ("POST", "/{id}", update, UPDATE),
    ("POST", "/{id}/close", close, EXPAND),
)
