"""Runs ``tests/hostshop``: a shop with an order of its own needs a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_shop_with_its_own_order_takes_payments() -> None:
    command = [sys.executable, "-m", "pytest", "--ds=tests.hostshop.settings", "tests/hostshop"]
    # What belongs to this run (its worker, its options) is none of the other's business.
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}

    run = subprocess.run(
        [*command, "-q", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"^[1-9]\d* passed", run.stdout, re.MULTILINE), run.stdout
