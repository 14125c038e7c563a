"""One round of refunds that everybody asks for at once, and what came of it."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from shop_payments.models import Order, OrderPayment, PaymentHistory, Refund
from shop_payments.money import format_amount
from shop_payments.sandbox import Fault
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import refunds_at_stripe
from tests.factories import OrderFactory
from tests.reliability.crew import PATIENCE, Answer, Call, Crew, were_together
from tests.reliability.parts import number_in_parts
from tests.support import Caller, pay

CAPTURED = 11200


def paid_order(
    crew: Crew,
    stripe: StripeSandbox,
    storefront: Caller,
    payment_system: Caller,
    customer: Any,
    *,
    parts: int = 1,
) -> Order:
    """One more order of 112.00 usd, paid in so many parts."""
    order: Order = OrderFactory.create(customer=customer)
    order.number = number_in_parts(order.number, parts)
    order.save()
    for _part in range(parts):
        (asked,) = crew.send(Call.payment_intent(order, storefront))
        pay(stripe, asked.result(PATIENCE).json()["data"]["id"])
    (settled,) = crew.send(Call.payment(order, payment_system))
    assert settled.result(PATIENCE).status == 200
    return order


Parts = tuple[tuple[str, int], ...]
"""Of a refund: their ids, which are those of their attempts, and amounts."""


def parts_of_refund(answer: Answer) -> Parts:
    """Return the parts of an accepted refund: one for each payment that it takes."""
    if answer.status != 200:
        return ()
    data = answer.json()["data"]
    parts = data.get("parts", [data])
    return tuple(sorted((each["id"], int(Decimal(each["amount"]) * 100)) for each in parts))


def wishes(draw: random.Random, count: int) -> list[tuple[str, int]]:
    """Keys with their amounts: two thirds are new, the rest repeats; the sum is far too much."""
    keys = {f"k{number}": draw.randint(1, 2 * CAPTURED // 5) for number in range(count * 2 // 3)}
    keys["k0"] = CAPTURED  # all of it, too
    repeated = draw.choices([*keys], k=count - len(keys))
    drawn = [(key, keys[key]) for key in [*keys, *repeated]]
    draw.shuffle(drawn)
    assert sum(keys.values()) > 2 * CAPTURED
    return drawn


@dataclass(frozen=True, kw_only=True)
class Round:
    """What came of it."""

    answers: list[Answer]
    lost: int
    """Answers that were lost, and asked for again."""

    keys: int
    refunds: int
    """How many there are at Stripe."""

    outcome: dict[str, Any]
    due: dict[str, Any]
    """What the outcome has to be."""


def refund_at_once(
    crew: Crew,
    stripe: StripeSandbox,
    paid: Order,
    office: Caller,
    drawn: list[tuple[str, int]],
    *,
    lose: float = 0.0,
) -> Round:
    """Ask for all of it at once, and again for what is lost (a share of ``lose``)."""
    calls = [Call.refund(paid, office, format_amount(amount, "usd"), key) for key, amount in drawn]
    already = len(refunds_at_stripe(stripe))
    heard = {each.request_id for each in stripe.requests}  # no count: the log has an end
    if lose:
        stripe.inject(Fault("drop_after", path="/v1/refunds", method="POST", rate=lose))

    answers = crew.at_once(*calls)

    stripe.clear_faults()
    lost = [index for index, answer in enumerate(answers) if answer.status == 503]
    repeated = crew.send(*[calls[index] for index in lost])
    last = {index: answer.result(PATIENCE) for index, answer in zip(lost, repeated, strict=True)}
    final: list[Answer] = [last.get(index, answer) for index, answer in enumerate(answers)]

    by_key: dict[str, set[tuple[int, Parts]]] = defaultdict(set)
    for (key, _amount), answer in zip(drawn, final, strict=True):
        by_key[key].add((answer.status, parts_of_refund(answer)))
    accepted = {key: ends for key, ends in by_key.items() if any(code == 200 for code, _ in ends)}
    made = {key: parts for key, ends in accepted.items() for _code, parts in ends}
    parts_made = [part for parts in made.values() for part in parts]
    at_stripe = refunds_at_stripe(stripe)[already:]
    sent = [
        each for each in stripe.requests if each.method == "POST" and each.request_id not in heard
    ]
    dropped = sum(each.status is None for each in sent)
    amounts = dict(drawn)
    payment = OrderPayment.objects.get(order=paid)
    return Round(
        answers=answers,
        lost=len(lost),
        keys=len(by_key),
        refunds=len(at_stripe),
        outcome={
            "first answers": {(answer.status, answer.code or "") for answer in answers}
            - {(200, ""), (409, "refund_exceeds_balance"), (503, "gateway_unavailable")},
            "still lost": [answer.status for answer in final if answer.status == 503],
            "keys with two outcomes": [key for key, found in by_key.items() if len(found) != 1],
            "more than came": max(0, sum(each["amount"] for each in at_stripe) - CAPTURED),
            "at Stripe": Counter(
                (each["metadata"]["attempt_id"], each["amount"]) for each in at_stripe
            ),
            "refused by Stripe": [each.status for each in sent if each.status not in {200, None}],
            "sent again unasked": max(0, len(sent) - len(parts_made) - dropped),
            "parts that do not add up": [
                key for key, parts in made.items() if sum(m for _, m in parts) != amounts[key]
            ],
            "refunded here": payment.amount_refunded,
            "told": PaymentHistory.objects.filter(
                order_payment=payment, kind="order_refunded", dispatched_at__isnull=False
            ).count(),
            "rows": Refund.objects.filter(order_payment=payment).count(),
            "some refused": len(accepted) < len(by_key),
            "together": were_together(answers),
        },
        due={
            "first answers": set(),
            "still lost": [],
            "keys with two outcomes": [],
            "more than came": 0,
            "at Stripe": Counter(parts_made),
            "refused by Stripe": [],
            "sent again unasked": 0,
            "parts that do not add up": [],
            "refunded here": sum(amounts[key] for key in accepted),
            "told": len(parts_made),
            "rows": len(parts_made),
            "some refused": True,
            "together": True,
        },
    )
