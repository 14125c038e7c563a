"""Whatever happens, in whatever order: what must hold holds after each step, and all is healed.

The default is a sample, ``FIGURES=full`` takes 10,000 steps. ``RELIABILITY_MACHINE_RUNS`` asks for
so many runs of 50 steps, ``RELIABILITY_SEED`` draws other ones. A failure prints the shortest steps
that lead to it, and the line that finds it again.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from copy import copy
from itertools import count, takewhile
from typing import Any
from uuid import uuid4

import pytest

from shop_payments.models import StripeAttempt
from shop_payments.outbox import sender
from tests.reliability.__main__ import replay
from tests.reliability.machine import STEPS_OF_A_RUN, run
from tests.reliability.parts import People
from tests.support import sized

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db(transaction=True)]

RUNS = sized("RELIABILITY_MACHINE_RUNS", sample=3, full=200)
SEED = int(os.environ.get("RELIABILITY_SEED", "3"))


def run_many(people: People, *, numbers: Iterable[int], counts: Counter[str], **how: bool) -> None:
    """Take the steps of these seeds, one run after the other."""
    for number in numbers:
        try:
            run(people, number=number, counts=counts, **how)
        except BaseException as error:
            line = replay("machine", seed=number, runs=1)
            error.add_note(f"The same run again: {line}")
            raise


def steps_of(counts: Counter[str]) -> int:
    """Return how many steps were taken in an open shop."""
    return counts.total() - counts["open_the_shop"]


def test_whatever_happens_nothing_is_lost_or_doubled(people, figure):
    counts: Counter[str] = Counter()
    # A run may be shorter, or find the shop closed: then there is one more.
    seeds = takewhile(lambda _: steps_of(counts) < RUNS * STEPS_OF_A_RUN, count(SEED))

    run_many(people, numbers=seeds, counts=counts)

    taken = ", ".join(f"{times} {name}" for name, times in counts.most_common())
    figure(
        f"machine: {steps_of(counts)} steps in {counts['open_the_shop']} runs, seeds from {SEED}"
        f" on: 0 lost, 0 doubled: {taken}"
    )


def test_a_new_key_for_each_try_is_found(people, monkeypatch, figure):
    """Show that the suite can fail."""
    call = sender._call_stripe

    def call_with_new_key(attempt: StripeAttempt) -> Any:
        again = copy(attempt)
        again.pk = uuid4()
        return call(again)

    monkeypatch.setattr(sender, "_call_stripe", call_with_new_key)
    counts: Counter[str] = Counter()

    with pytest.raises(AssertionError) as found:
        run_many(people, numbers=range(100), counts=counts, shrink=False)

    note = found.value.__notes__[-1]
    figure(f"machine: a new key for each try is found after {steps_of(counts)} steps ({note})")
