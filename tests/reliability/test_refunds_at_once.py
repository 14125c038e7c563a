"""Everybody gives back the same money at once: never more than came, and each refund once.

32 calls over four processes on PostgreSQL, 16 threads on SQLite, with amounts that cannot all be
given back, and keys that several processes use. Afterwards every lost call is repeated with its
key, and Stripe's books are compared with ours. ``RELIABILITY_REFUND_ROUNDS`` and
``RELIABILITY_SEED`` ask for other rounds; ``RELIABILITY_WITHOUT`` (see ``worker.py``) shows that
the damage would be found.
"""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from typing import Any

import pytest
from django.db import connection

from shop_payments.models import APIKeyScope, OrderPayment, PaymentHistory, Refund
from shop_payments.money import format_amount
from shop_payments.sandbox import Fault
from tests.after_paid.support import AccountingOffice, assert_books_agree, refunds_at_stripe
from tests.conftest import issue_key
from tests.factories import OrderFactory
from tests.reliability.crew import PATIENCE, Answer, Call
from tests.support import pay, sized

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db(transaction=True)]

ROUNDS = sized("RELIABILITY_REFUND_ROUNDS", sample=4, full=25)
SEED = int(os.environ.get("RELIABILITY_SEED", "3"))
CALLS = {"postgresql": 32}
CAPTURED = 11200
LOST = "one answer in ten is lost"


@pytest.fixture
def office(db: None) -> AccountingOffice:
    return AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))


def paid_order(crew: Any, stripe: Any, storefront: Any, payment_system: Any, customer: Any) -> Any:
    """One more order of 112.00 usd, paid."""
    order = OrderFactory.create(customer=customer)
    (asked,) = crew.send(Call.payment_intent(order, storefront))
    pay(stripe, asked.result(PATIENCE).json()["data"]["id"])
    (settled,) = crew.send(Call.payment(order, payment_system))
    assert settled.result(PATIENCE).status == 200
    return order


def wishes(draw: random.Random, count: int) -> list[tuple[str, int]]:
    """Keys with their amounts: two thirds are new, the rest repeats; the sum is far too much."""
    keys = {f"k{number}": draw.randint(1, 2 * CAPTURED // 5) for number in range(count * 2 // 3)}
    keys["k0"] = CAPTURED  # all of it, too
    repeated = draw.choices([*keys], k=count - len(keys))
    drawn = [(key, keys[key]) for key in [*keys, *repeated]]
    draw.shuffle(drawn)
    assert sum(keys.values()) > 2 * CAPTURED
    return drawn


@pytest.mark.parametrize("trouble", ["no trouble", LOST])
def test_refunds_at_once_never_give_back_more_than_came(
    crew, stripe, storefront, payment_system, office, order, configure, figure, trouble
):
    draw = random.Random(SEED)
    count, totals = CALLS.get(connection.vendor, 16), Counter[str]()
    for number in range(ROUNDS):
        paid = paid_order(crew, stripe, storefront, payment_system, order.customer)
        drawn = wishes(draw, count)
        calls = [
            Call.refund(paid, office, format_amount(amount, "usd"), key) for key, amount in drawn
        ]
        heard, already = len(stripe.requests), len(refunds_at_stripe(stripe))
        if trouble == LOST:
            stripe.inject(Fault("drop_after", path="/v1/refunds", method="POST", rate=0.1))

        answers = crew.at_once(*calls)

        stripe.clear_faults()
        lost = [index for index, answer in enumerate(answers) if answer.status == 503]
        repeated = crew.send(*[calls[index] for index in lost])
        last = {
            index: answer.result(PATIENCE) for index, answer in zip(lost, repeated, strict=True)
        }
        final: list[Answer] = [last.get(index, answer) for index, answer in enumerate(answers)]

        by_key: dict[str, set[tuple[int, str]]] = defaultdict(set)
        for (key, _amount), answer in zip(drawn, final, strict=True):
            by_key[key].add((answer.status, answer.id))
        accepted = {key: ids for key, ids in by_key.items() if any(code == 200 for code, _ in ids)}
        at_stripe = refunds_at_stripe(stripe)[already:]
        amounts = dict(drawn)
        payment = OrderPayment.objects.get(order=paid)
        outcome = {
            "first answers": {(answer.status, answer.code or "") for answer in answers}
            - {(200, ""), (409, "refund_exceeds_balance"), (503, "gateway_unavailable")},
            "still lost": [answer.status for answer in final if answer.status == 503],
            "keys with two outcomes": [key for key, found in by_key.items() if len(found) != 1],
            "more than came": max(0, sum(each["amount"] for each in at_stripe) - CAPTURED),
            "at Stripe": Counter(
                (each["metadata"]["attempt_id"], each["amount"]) for each in at_stripe
            ),
            "refused by Stripe": [
                call.status
                for call in stripe.requests[heard:]
                if call.method == "POST" and call.status not in {200, None}
            ],
            "refunded here": payment.amount_refunded,
            "told": PaymentHistory.objects.filter(
                order_payment=payment, kind="order_refunded", dispatched_at__isnull=False
            ).count(),
            "rows": Refund.objects.filter(order_payment=payment).count(),
        }
        assert outcome == {
            "first answers": set(),
            "still lost": [],
            "keys with two outcomes": [],
            "more than came": 0,
            "at Stripe": Counter(
                (found_id, amounts[key]) for key, ids in accepted.items() for _, found_id in ids
            ),
            "refused by Stripe": [],
            "refunded here": sum(amounts[key] for key in accepted),
            "told": len(accepted),
            "rows": len(accepted),
        }, crew.report(answers, round=number, order=paid.pk, seed=SEED, drawn=drawn, out=outcome)
        assert len(accepted) < len(by_key), "some had to be refused"
        totals.update(calls=count, lost=len(lost), keys=len(by_key), refunds=len(at_stripe))

    configure(STRIPE_TRANSPORT=stripe.handle)
    assert_books_agree(stripe)
    if trouble == LOST:
        assert totals["lost"] or ROUNDS * count < 100
    figure(
        f"{count} refunds at once over {crew.processes} processes, {trouble}, {ROUNDS} rounds, seed"
        f" {SEED}: {totals['refunds']} of {totals['keys']} keys accepted, each once at Stripe,"
        f" {totals['lost']} answers lost and repeated, 0 given back too much ({connection.vendor})"
    )
