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
from shop_payments.testing import StripeSandbox
from tests.after_paid.support import assert_mirrors_agree, everything
from tests.reliability.faults import TRY_AGAIN, Day, troubles
from tests.support import sized, writes

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db(transaction=True)]

ROUNDS = sized("RELIABILITY_FAULT_ROUNDS", sample=4, full=100)
SEED = int(os.environ.get("RELIABILITY_SEED", "3"))
AGAIN = f"python -m tests.reliability --suite faults --seed {SEED} --runs {ROUNDS}"


@pytest.fixture(scope="module")
def stripe() -> StripeSandbox:
    return StripeSandbox(seed=SEED)


def sweep(*, later: timedelta) -> str:
    """Run the command, by the clock of Stripe and the shop; return what it complains of."""
    with time_machine.travel(datetime.now(UTC) + later):
        try:
            call_command("shop_payments_reconcile", stdout=StringIO(), stderr=StringIO())
        except CommandError as error:
            return str(error)
    return ""


def went_wrong(stripe: Any) -> Counter[str]:
    """What befell the requests to Stripe, but for delays."""
    statuses = Counter(str(request.status or "dropped") for request in stripe.requests)
    return Counter({what: count for what, count in statuses.items() if what != "200"})


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
    crew, stripe, storefront, payment_system, order, configure, paid_signals, figure, rate, later
):
    started, heard, told_before = time.monotonic(), len(stripe.requests), Counter(crew.paid())
    before = went_wrong(stripe)
    day = Day(
        crew=crew,
        stripe=stripe,
        storefront=storefront,
        payment_system=payment_system,
        customer=order.customer,
        seed=SEED,
        rate=rate,
    )
    for number in range(ROUNDS):
        answers = day.round()
        damage = day.damage()
        assert not damage, crew.report(answers, round=number, again=AGAIN, damage=damage)
    requests, befell = len(stripe.requests) - heard, went_wrong(stripe) - before
    day.end()
    configure(STRIPE_TRANSPORT=stripe.handle)

    for fault in troubles(rate):
        stripe.inject(fault)
    complaint = sweep(later=timedelta(hours=1))
    stripe.clear_faults()
    assert sweep(later=later) == "", AGAIN

    swept, sent = everything(), writes(stripe)
    assert sweep(later=later) == "", AGAIN
    assert everything() == swept, AGAIN
    assert writes(stripe) == sent, AGAIN
    told = Counter(crew.paid()) - told_before
    told += Counter(str(each["order"].pk) for each in paid_signals)
    loose_ends = day.loose_ends(told)
    assert not loose_ends, crew.report([], again=AGAIN, loose_ends=loose_ends)
    assert not WebhookEvent.objects.exclude(status__in=WebhookEvent.SUCCESSES).exists(), AGAIN
    assert_mirrors_agree(stripe)
    misfits = day.go_on()
    assert not misfits, crew.report(misfits, again=AGAIN)
    assert not day.damage(), AGAIN

    failed = Counter({key: n for key, n in day.answers.items() if key[1:] in TRY_AGAIN})
    assert failed
    assert any(each.is_paid for each in day.placed)
    figure(
        f"faults: {ROUNDS} rounds of {crew.processes} × {crew.threads} calls, {len(day.placed)}"
        f" orders, {sum(each.is_paid for each in day.placed)} paid, {requests} requests to Stripe,"
        f" {rate:.0%} of them hit ({in_words(befell)}, the rest delayed). Failed calls:"
        f" {in_words(failed)}, all of them retryable. One open intent each; a sweep among faults"
        f" {'left some to' if complaint else 'did the work of'} the next one, after that nothing is"
        f" left. Seed {SEED}, {time.monotonic() - started:.0f} s ({connection.vendor})"
    )
