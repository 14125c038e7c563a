"""Whatever happens, in whatever order: the invariants hold after each step, and all is healed.

The machine (``machine.py``) acts, the audit (``audit.py``) checks. The default is a sample,
``FIGURES=full`` takes 10,000 steps; ``RELIABILITY_MACHINE_RUNS`` asks for so many runs of 50 steps,
``RELIABILITY_SEED`` draws other ones. A failure prints the shortest steps that lead to it, and the
line that finds it again.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.reliability.machine import ShopMachine
from tests.reliability.world import People
from tests.support import sized

pytestmark = [pytest.mark.reliability, pytest.mark.figures, pytest.mark.django_db(transaction=True)]

STEPS = 50
"""Of one run."""

RUNS = sized("RELIABILITY_MACHINE_RUNS", sample=12, full=200)
SEED = int(os.environ.get("RELIABILITY_SEED", "3"))


@pytest.fixture
def people(db: None) -> People:
    return People.arrive()


def run(people: People, *, runs: int, first_seed: int, shrink: bool = True) -> Counter[str]:
    """Take ``runs`` × 50 steps; return how often each was taken."""
    counts: Counter[str] = Counter()
    number = first_seed
    while counts.total() < runs * STEPS:
        machine: Any = type("ShopMachine", (ShopMachine,), {"people": people, "counts": counts})
        missing = -(-(runs * STEPS - counts.total()) // STEPS)
        run_state_machine_as_test(
            seed(number)(machine),
            settings=settings(
                max_examples=missing,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
                suppress_health_check=list(HealthCheck),
                report_multiple_bugs=False,
            ),
        )
        number += 1
    return counts


def test_whatever_happens_in_whatever_order_nothing_is_lost_or_doubled(people, figure):
    try:
        counts = run(people, runs=RUNS, first_seed=SEED)
    except BaseException as error:
        replay = f"python -m tests.reliability --suite machine --seed {SEED} --runs {RUNS}"
        error.add_note(f"Find it again with: {replay}")
        raise
    taken = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    figure(
        f"machine: {counts.total()} steps in {RUNS} runs, seed {SEED}, the invariants held after"
        f" each, 0 lost, 0 doubled ({connection.vendor}): {taken}"
    )
