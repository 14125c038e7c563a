"""Several web servers and concurrent requests: what a lock inside one process cannot protect.

In full, four servers with 16 threads each on PostgreSQL, one on SQLite; Stripe is the sandbox in
this process, behind a socket. By default a sample; ``FIGURES=full`` runs all of it.
``RELIABILITY_ROUNDS`` asks for another number of rounds, ``RELIABILITY_SEED`` draws other ones.
"""

from __future__ import annotations

import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from shop_payments.lifecycle import IntentStatus
from shop_payments.models import (
    Order,
    OrderPayment,
    PaymentHistory,
    StripeAttempt,
)
from shop_payments.money import format_amount
from shop_payments.sandbox import Fault
from shop_payments.testing import StripeSandbox
from tests.books import (
    assert_books_agree,
    assert_mirrors_agree,
    everything,
    listed_at_stripe,
    refunds_at_stripe,
)
from tests.factories import OrderFactory
from tests.reliability import parts
from tests.reliability.__main__ import replay
from tests.reliability.parts import People, place_order
from tests.reliability.shoppers import Round
from tests.reliability.web import ERROR, PATIENCE, Answer, Call, Shop, crew, were_together
from tests.support import WEBHOOK_SECRET, Caller, call_stripe, event_body, pay, sized

CAPTURED = 11200


def ask(shop: Shop, order: Order, route: str, caller: Caller) -> Answer:
    (sent,) = shop.send(Call.order(order, route, caller))
    return sent.result(PATIENCE)


def paid_order(shop: Shop, people: People, *, parts: int = 1) -> Order:
    """Create an order of 112.00 usd that was paid in so many payments."""
    order = place_order(people.customer, parts=parts)
    for _part in range(parts):
        pay(shop.stripe, ask(shop, order, "payment-intent", people.storefront).data["id"])
    assert ask(shop, order, "payment", people.payment_system).status == 200
    return order


def draw_refunds(draw: random.Random, count: int) -> list[tuple[str, int]]:
    """Draw keys with amounts, a third of them repeated; the sum exceeds what was paid."""
    keys = {f"k{number}": draw.randint(1, 2 * CAPTURED // 5) for number in range(count * 2 // 3)}
    keys["k0"] = CAPTURED
    repeated = draw.choices([*keys], k=count - len(keys))
    drawn = [(key, keys[key]) for key in [*keys, *repeated]]
    draw.shuffle(drawn)
    return drawn


Outcome = tuple[int, str, frozenset[tuple[str, int]]]
"""Of a refund: status, code and its parts, one for each payment that it takes: id and amount."""


def outcome_of(answer: Answer) -> Outcome:
    parts = answer.data.get("parts", [answer.data]) if answer.status == 200 else []
    made = frozenset((each["id"], int(Decimal(each["amount"]) * 100)) for each in parts)
    return answer.status, answer.code, made


def refund_at_once(
    shop: Shop, order: Order, office: Caller, drawn: list[tuple[str, int]], *, lose: float = 0.0
) -> tuple[list[Answer], dict[str, set[Outcome]]]:
    """Ask for all refunds at once, and again where Stripe's answer was lost (a share ``lose``).

    Return the first answers, and what came of each key in the end.
    """
    calls = [Call.refund(order, office, format_amount(money, "usd"), key) for key, money in drawn]
    if lose:
        shop.stripe.inject(Fault("drop_after", path="/v1/refunds", method="POST", rate=lose))
    first = shop.at_once(*calls)
    shop.stripe.clear_faults()
    outcomes: dict[str, set[Outcome]] = defaultdict(set)
    for (key, _money), call, answer in zip(drawn, calls, first, strict=True):
        if answer.status == 503:
            (again,) = shop.send(call)
            answer = again.result(PATIENCE)
        outcomes[key].add(outcome_of(answer))
    return first, outcomes


def refused_by_stripe(stripe: StripeSandbox) -> list[Any]:
    """Return the refunds that Stripe refused, because they exceed the charge."""
    return [each for each in stripe.requests if each.path == "/v1/refunds" and each.status == 400]


pytestmark = [
    pytest.mark.reliability,
    pytest.mark.figures,
    pytest.mark.django_db(transaction=True),
    pytest.mark.xdist_group("crew"),
]


def rounds(*, sample: int, full: int) -> int:
    return sized("RELIABILITY_ROUNDS", sample=sample, full=full)


SEED = int(os.environ.get("RELIABILITY_SEED", "3"))
AGAIN = replay("concurrency", seed=SEED)


@pytest.fixture(scope="module")
def shop(
    django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """In full 4 × 16 threads, by default 2 × 8; on SQLite, which has one writer, one server."""
    processes, threads = (4, 16) if os.environ.get("FIGURES") == "full" else (2, 8)
    if connection.vendor == "sqlite":
        processes, threads = 1, 16
    folder = tmp_path_factory.mktemp("crew")
    with (
        django_db_blocker.unblock(),
        crew(StripeSandbox(seed=SEED), folder, processes=processes, threads=threads) as shop,
    ):
        yield shop


@pytest.fixture
def stripe(shop: Shop, configure: Any) -> StripeSandbox:
    """The servers' Stripe, which this process calls as well."""
    configure(STRIPE_TRANSPORT=shop.stripe.handle, ORDER_ADAPTER=parts.ADAPTER)
    return shop.stripe


@pytest.mark.parametrize("state", ["new", "withdrawn at Stripe"])
def test_concurrent_requests_for_an_order_get_one_intent(shop, stripe, people, figure, state):
    count = rounds(sample=2, full=20)
    for number in range(count):
        wanted = OrderFactory.create(customer=people.customer)
        attempts = StripeAttempt.objects.filter(order_payment__order=wanted)
        if state != "new":
            withdrawn = ask(shop, wanted, "payment-intent", people.storefront).data["id"]
            call_stripe(stripe, "POST", f"payment_intents/{withdrawn}/cancel")
            seen = ask(shop, wanted, "payment", people.payment_system)
            assert seen.code == "payment_not_completed"
        before = attempts.count()

        call = Call.order(wanted, "payment-intent", people.storefront)
        answers = shop.at_once(*[call] * shop.size)

        report = shop.report(answers, round=number, order=wanted.pk)
        assert {each.status for each in answers} == {200}, report
        assert len({each.body for each in answers}) == 1, report
        at_stripe = [
            each["status"]
            for each in listed_at_stripe(stripe, "payment_intents")
            if each["metadata"]["order_id"] == str(wanted.pk)
        ]
        open_there = [each for each in at_stripe if each != IntentStatus.CANCELED]
        assert open_there == [IntentStatus.REQUIRES_PAYMENT_METHOD], report
        assert attempts.count() == before + 1, report
        assert were_together(answers), report
    assert_mirrors_agree(stripe)
    figure(
        f"{len(shop.servers)} servers, {shop.size} requests for one order ({state}), {count}"
        f" rounds: 1 open intent, 1 distinct answer, 0 answers but 200"
    )


def test_an_order_is_paid_once_whichever_message_is_first(shop, stripe, people, figure):
    """Webhook, payment system and a second tab, within a hundredth of a second of each payment."""
    draw, payments, orders = random.Random(SEED), 0, []
    before = shop.notified_of_payment()
    for number in range(count := rounds(sample=8, full=200)):
        total = 1 + number % 8 if number % 8 < 4 else 1
        orders.append(order := place_order(people.customer, parts=total))
        for part in range(1, total + 1):
            intent_id = ask(shop, order, "payment-intent", people.storefront).data["id"]
            body = event_body(pay(stripe, intent_id))
            delays = [draw.choice([0, 0, draw.uniform(0, 0.01)]) for _ in range(3)]
            calls = [
                Call.webhook(body, later=delays[0]),
                Call.order(order, "payment", people.payment_system, later=delays[1]),
                Call.order(order, "payment-intent", people.storefront, later=delays[2]),
            ]

            answers = shop.at_once(*draw.sample(calls, 3))

            payments += 1
            payment, is_paid = OrderPayment.objects.get(order=order), part == total
            facts = Counter(payment.history.values_list("kind", flat=True))
            outcome = (
                sorted((answer.status, answer.code) for answer in answers),
                (payment.status, facts["payment_received"], facts["order_paid"]),
            )
            refused = "order_already_paid" if is_paid else "payment_not_completed"
            assert outcome == (
                [(200, ""), (200, ""), (409, refused)],
                ("paid" if is_paid else "partially_paid", part, int(is_paid)),
            ), shop.report(answers, round=number, delays=delays, outcome=outcome)

    notified = shop.notified_of_payment() - before
    assert notified == Counter({str(each.pk): 1 for each in orders})
    assert not PaymentHistory.objects.undispatched().exists()
    assert_mirrors_agree(stripe)
    figure(
        f"webhook, payment and a second tab at once, {count} orders with {payments} payments,"
        f" seed {SEED}: 1 order_paid each"
    )


@pytest.mark.parametrize("lose", [0.0, 0.1])
def test_concurrent_refunds_never_exceed_the_payments(shop, stripe, people, figure, lose):
    """With keys that several calls share; ``lose`` is the share of Stripe's lost answers."""
    draw, totals, size = random.Random(SEED), Counter[str](), min(shop.size, 32)
    for number in range(count := rounds(sample=2, full=25)):
        paid = paid_order(shop, people, parts=1 + number % 4)
        drawn = draw_refunds(draw, size)

        already = len(refunds_at_stripe(stripe))
        answers, outcomes = refund_at_once(shop, paid, people.office, drawn, lose=lose)

        at_stripe = refunds_at_stripe(stripe)[already:]
        report = shop.report(answers, round=number, drawn=drawn, outcomes=outcomes)
        assert {len(each) for each in outcomes.values()} == {1}, report
        ends = {key: end for key, (end,) in outcomes.items()}
        kinds = {(status, code) for status, code, _parts in ends.values()}
        assert kinds == {(200, ""), (409, "refund_exceeds_balance")}, report
        made = {key: parts for key, (_status, _code, parts) in ends.items() if parts}
        sums = {key: sum(money for _id, money in parts) for key, parts in made.items()}
        assert sums == {key: dict(drawn)[key] for key in made}, report
        assert Counter((each["metadata"]["attempt_id"], each["amount"]) for each in at_stripe) == (
            Counter(part for parts in made.values() for part in parts)
        ), report
        assert were_together(answers), report
        totals.update(refunds=len(at_stripe), lost=sum(each.status == 503 for each in answers))

    assert not refused_by_stripe(stripe)
    assert not PaymentHistory.objects.undispatched().exists()
    assert_books_agree(stripe)
    assert not lose or totals["lost"] or totals["refunds"] < 100  # a sample may be too small
    figure(
        f"{size} concurrent refunds, {lose:.0%} of the answers lost, {count} rounds, seed {SEED}:"
        f" {totals['refunds']} refunds at Stripe, each once, {totals['lost']} answers lost and"
        f" asked for again, 0 refunded too much"
    )


def troubles(rate: float) -> list[Fault]:
    """Return faults for a share of Stripe's answers, and for a fifth of its webhooks each."""
    kinds: list[dict[str, Any]] = [
        {"kind": "drop_before"},
        {"kind": "drop_after"},
        {"kind": "latency", "seconds": 0.2},
        *({"kind": "error", "status": status} for status in (429, 500, 503)),
        {"kind": "error", "status": 429, "code": "lock_timeout"},
        {"kind": "error_after"},
    ]
    share = 1 - (1 - rate) ** (1 / len(kinds))
    return [
        *(Fault(path="/v1/", rate=share, **each) for each in kinds),
        *(Fault(kind, rate=0.2) for kind in ("webhook_lost", "webhook_doubled")),
        Fault("webhook_reordered", rate=0.2, seconds=1),
    ]


@pytest.mark.parametrize(
    ("rate", "later"),
    [
        pytest.param(0.1, timedelta(hours=13), id="one answer in ten, swept the next day"),
        # By then Stripe has forgotten the idempotency keys.
        pytest.param(0.3, timedelta(hours=48), id="three in ten, swept two days later"),
    ],
)
def test_customers_buy_while_stripe_answers_badly_and_a_sweep_heals(
    shop, stripe, figure, rate, later
):
    played = Round(shop, orders=rounds(sample=12, full=150), seed=f"{SEED} {rate}", abandoned=0.2)
    endpoints = shop.add_webhooks(WEBHOOK_SECRET)
    for fault in troubles(rate):
        stripe.inject(fault)
    played.run()
    for endpoint in endpoints:
        stripe.remove_webhook(endpoint)
    unfinished = StripeAttempt.objects.pending().count()

    shop.sweep(later=later)  # may report an error
    stripe.clear_faults()
    # What was sent within the last minute is left alone. For a day, a refund that Stripe answers
    # with a saved 500 is sent again by each sweep. After that it is looked for twice, an hour
    # apart; a look-up that failed in the first sweep did not count. The last sweep reads the events
    # of what the others have done.
    later += timedelta(days=1)
    for _sweep in range(3):
        later += timedelta(hours=1)
        said = shop.sweep(later=later)
        assert ERROR not in said, shop.report([], said=said)

    swept, requests = everything(), [*stripe.requests]
    shop.sweep(later=later)
    assert everything() == swept
    new = {each.request_id: each.method for each in stripe.requests}
    assert {new[pk] for pk in new.keys() - {each.request_id for each in requests}} == {"GET"}
    damage = played.damage(webhooks_are_lost=True)
    assert not damage, shop.report([], damage=damage, answered=played.answers)
    assert {200} <= {*shop.webhook_answers} <= {200, 503}
    assert_mirrors_agree(stripe)
    assert not played.left_to_pay()
    assert {"503 gateway_unavailable"} <= {*played.answers}
    figure(
        f"{rate:.0%} of Stripe's answers bad: {len(played.journeys)} orders, {unfinished} attempts"
        f" left unfinished, answers {dict(played.answers)}; 0 lost, 0 doubled, seed {SEED}"
    )


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has no row locks")
def test_a_missing_lock_is_found(db, people, tmp_path, figure):
    """Show that the suite can fail.

    Stripe itself refuses refunds that exceed a charge; that it was asked for them is the damage.
    """
    draw, stripe = random.Random(SEED), StripeSandbox(seed=SEED)
    with crew(stripe, tmp_path, processes=1, threads=16, without="lock") as shop:
        for _round in range(25):
            paid = paid_order(shop, people)
            refund_at_once(shop, paid, people.office, draw_refunds(draw, shop.size))
            if damage := refused_by_stripe(stripe):
                break

    assert damage, f"25 rounds without the lock, seed {SEED}: no damage was found"
    figure(f"concurrent refunds without the lock: {damage[0]}")
