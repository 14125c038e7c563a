"""From our rows and Stripe's objects to what the oracle (``tests/oracle.py``) wants to know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.db.models import Model

from shop_payments.lifecycle import RefundStatus
from shop_payments.models import (
    Dispute,
    Order,
    OrderPayment,
    PaymentIntent,
    Refund,
    StaffEntry,
    StripeAttempt,
)
from tests.oracle import (
    Came,
    Evidence,
    Went,
    dispute_by,
    intent_by_row,
    intent_by_stripe,
    refund_by,
    settlement_by,
    waived_by,
)
from tests.support import AnyStripe, call_stripe

Json = dict[str, Any]
Rows = Mapping[type[Model], Mapping[Any, Json]]

MONEY: tuple[type[Model], ...] = (PaymentIntent, Refund, Dispute, StaffEntry, StripeAttempt)
"""What the balance of an order follows from."""


def columns(model: type[Model]) -> list[str]:
    """What a row is compared by."""
    names = [field.attname for field in model._meta.concrete_fields]
    return [name for name in names if name != "payload"]  # never changes, and is large


def rows_of(payment: OrderPayment) -> Rows:
    """Read what the balance of one order follows from."""
    found: dict[type[Model], dict[Any, Json]] = {}
    for model in MONEY:
        mine = model._default_manager.filter(order_payment=payment)
        found[model] = {row["pk"]: row for row in mine.values("pk", *columns(model))}
    return found


def known_here(payment: Json, rows: Rows) -> Evidence:
    """What our rows say, of an order as it was when it was last read."""
    return _evidence(
        payment,
        rows,
        came={pk: intent_by_row(row) for pk, row in _of(payment, rows, PaymentIntent).items()},
        went=[
            *_outflows(payment, rows, Refund, refund_by),
            *_outflows(payment, rows, Dispute, dispute_by),
        ],
    )


def known_to_stripe(
    stripe: AnyStripe,
    payment: Json,
    rows: Rows,
    *,
    intents: Iterable[Json],
    refunds: Iterable[Json],
    disputes: Iterable[Json],
    order: Order | None = None,
) -> Evidence:
    """What Stripe says, and ``order`` as it is now; without it, as it was when last read.

    The rows say what was noted when something was first seen. Whether the shop wants the money of
    an open ``order`` needs no note.
    """
    now = payment if order is None else as_it_is(payment, order)
    mine = {row["stripe_id"]: row for row in _of(payment, rows, PaymentIntent).values()}
    came = {}
    intents = list(intents)
    charged = _charge_times(stripe, intents)
    for number, each in enumerate(intents):
        row = mine.get(each["id"], _NO_ROW)
        wanted = row["wanted"] or (order is not None and now["is_payable"])
        row = {**row, "wanted": wanted}
        seen = intent_by_stripe(each, charged=charged.get(each["id"]), row=row)
        came[row.get("pk", -number)] = seen
    return _evidence(
        now,
        rows,
        came=came,
        went=[
            *_outflows(payment, rows, Refund, refund_by, seen=refunds),
            *_outflows(payment, rows, Dispute, dispute_by, seen=disputes),
        ],
    )


_NO_ROW: Json = {"created_at": None, "wanted": False, "total_seen": None, "waived_seen": 0}


def as_it_is(payment: Json, order: Order) -> Json:
    """The row of an order's payment, as if the order had just been read."""
    is_open = order.status == Order.Status.OPEN
    terms = {"total": order.amount, "currency": order.currency, "is_payable": is_open}
    return {**payment, **terms}


def _charge_times(stripe: AnyStripe, intents: list[Json]) -> dict[str, int]:
    """When the money of several payments came; of one alone it does not matter."""
    paid = [each for each in intents if each["amount_received"]]
    if len(paid) < 2:
        return {}
    return {
        each["id"]: call_stripe(stripe, "GET", f"charges/{each['latest_charge']}")["created"]
        for each in paid
    }


def _of(payment: Json, rows: Rows, model: type[Model]) -> dict[Any, Json]:
    return {pk: row for pk, row in rows[model].items() if row["order_payment_id"] == payment["pk"]}


def _outflows(
    payment: Json, rows: Rows, model: type[Model], read: Any, *, seen: Iterable[Json] | None = None
) -> list[Went]:
    """By our rows; or as ``seen`` at Stripe, where there is a row."""
    intents = rows[PaymentIntent]
    mine = _of(payment, rows, model)
    if seen is None:
        pairs = [(row, row) for row in mine.values()]
    else:
        by_id = {row["stripe_id"]: row for row in mine.values() if row["stripe_id"]}
        pairs = [(each, by_id[each["id"]]) for each in seen if each["id"] in by_id]
        # What was asked for here, and whose outcome nobody knows yet, is on its way.
        pairs += [(row, row) for row in mine.values() if row["status"] == RefundStatus.REQUESTED]
    found = [
        read(each, of=intents[row["payment_intent_id"]]["stripe_id"], row=row)
        for each, row in pairs
    ]
    return [each for each in found if each is not None]


def _evidence(payment: Json, rows: Rows, *, came: dict[Any, Came], went: list[Went]) -> Evidence:
    waived = 0
    of_captures: list[tuple[Any, tuple[bool, int, int]]] = []
    for entry in _of(payment, rows, StaffEntry).values():
        if entry["kind"] == StaffEntry.Kind.SETTLEMENT:
            stripe_id = rows[PaymentIntent][entry["payment_intent_id"]]["stripe_id"]
            settled = settlement_by(entry, of=stripe_id)
            went += [settled] if settled else []
        else:
            capture = rows[StripeAttempt].get(entry["capture_id"])
            intent = came.get(entry["payment_intent_id"])
            money = waived_by(entry, intent=intent, capture=capture)
            if capture is None:
                waived += money
            elif money:
                found = capture["outcome"] == "succeeded", entry["pk"], money
                of_captures.append((entry["payment_intent_id"], found))
    # An intent is captured once, however often that was asked for.
    waived += sum(money for _known, _pk, money in dict(sorted(of_captures)).values())
    return Evidence(
        total=payment["total"] or 0,
        currency=payment["currency"],
        payable=payment["is_payable"],
        came=tuple(came.values()),
        went=tuple(went),
        waived=waived,
    )
