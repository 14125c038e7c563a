"""Stripe answers badly, and everybody asks at once: clear answers, and one sweep heals.

Four processes with 16 threads each on PostgreSQL, one on SQLite, ask for new, changed, withdrawn
and paid orders while a share of Stripe's answers is dropped before or after the effect, delayed, or
429, 500 and 503, and webhooks are lost, doubled and shuffled (see ``faults.py``). The default is a
sample; ``RELIABILITY_FAULT_ROUNDS`` and ``RELIABILITY_SEED`` ask for other rounds. The seed decides
who asks for what and which answers go wrong, not which thread is quicker.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.core.management import CommandError, call_command
from django.db import connection

from shop_payments.models import WebhookEvent
from tests.after_paid.support import assert_mirrors_agree, everything
from tests.reliability.__main__ import replay
from tests.reliability.faults import TRY_AGAIN, WatchedStripe, troubles
from tests.support import sized

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db(transaction=True)]

ROUNDS = sized("RELIABILITY_FAULT_ROUNDS", sample=4, full=100)
SEED = int(os.environ.get("RELIABILITY_SEED", "3"))
AGAIN = replay("faults", seed=SEED, runs=ROUNDS)


@pytest.fixture(scope="module")
def stripe() -> WatchedStripe:
    return WatchedStripe(seed=SEED)


def sweep(*, later: timedelta) -> str:
    """Run the command, by the clock of Stripe and the shop; return what it complains of."""
    with time_machine.travel(datetime.now(UTC) + later):
        try:
            call_command("shop_payments_reconcile", stdout=StringIO(), stderr=StringIO())
        except CommandError as error:
            return str(error)
    return ""


def in_words(counts: Counter[Any]) -> str:
    def name(what: Any) -> str:
        return what if isinstance(what, str) else " ".join(map(str, filter(None, what)))

    return ", ".join(f"{count} × {name(what)}" for what, count in counts.most_common()) or "none"


@pytest.mark.parametrize(
    ("rate", "later"),
    [
        pytest.param(0.1, timedelta(hours=13), id="one answer in ten, swept the next day"),
        # By then Stripe has forgotten the idempotency keys.
        pytest.param(0.3, timedelta(hours=48), id="three in ten, swept two days later"),
    ],
)
def test_bad_answers_are_told_clearly_and_one_sweep_heals(
    crew, stripe, begin_day, configure, paid_signals, figure, rate, later
):
    started, told_before = time.monotonic(), Counter(crew.paid())
    day = begin_day(crew=crew, seed=SEED, rate=rate)
    for number in range(ROUNDS):
        answers = day.round()
        damage = day.damage()
        assert not damage, crew.report(answers, round=number, damage=damage)
    day.end()
    configure(STRIPE_TRANSPORT=stripe.handle)

    for fault in troubles(rate):
        stripe.inject(fault)
    complaint = sweep(later=later)
    stripe.clear_faults()
    later += timedelta(hours=1)  # what was sent within the last minute is left to who sent it
    assert sweep(later=later) == ""

    swept, sent = everything(), stripe.writes
    assert sweep(later=later) == ""
    assert everything() == swept
    assert stripe.writes == sent
    told = Counter(crew.paid()) - told_before
    told += Counter(str(each["order"].pk) for each in paid_signals)
    loose_ends = day.loose_ends(told)
    assert not loose_ends, crew.report([], loose_ends=loose_ends)
    assert not WebhookEvent.objects.exclude(status__in=WebhookEvent.SUCCESSES).exists()
    assert_mirrors_agree(stripe)
    misfits = day.go_on()
    assert not misfits, crew.report(misfits)
    assert not day.damage()

    # A sample is too small for each kind of trouble to come.
    assert ROUNDS < 20 or {"dropped", "429", "500", "503"} <= {*day.requests}
    assert ROUNDS < 20 or day.unfinished
    failed = Counter({key: n for key, n in day.answers.items() if key[1:] in TRY_AGAIN})
    assert failed
    paid = sum(each.is_paid for each in day.placed)
    assert paid
    figure(
        f"faults, {rate:.0%} of Stripe's answers: {ROUNDS} rounds of {crew.processes} ×"
        f" {crew.threads} calls, {len(day.placed)} orders, {paid} paid,"
        f" {day.unheard} of them unheard, {day.unfinished} attempts left unfinished."
        f" {day.requests.total()} requests to Stripe"
        f" ({in_words(day.requests)}, some of them late). {failed.total()} calls failed"
        f" ({in_words(failed)}), each to be repeated. One open"
        f" intent an order at any time, 0 lost; a sweep among faults"
        f" {'left some to the next' if complaint else 'was enough'}, another one changed nothing."
        f" Seed {SEED}, {time.monotonic() - started:.0f} s ({connection.vendor})"
    )
