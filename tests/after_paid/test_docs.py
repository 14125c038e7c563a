"""docs/after-paid.md says what is true."""

from __future__ import annotations

from pathlib import Path

from django.dispatch import Signal

from shop_payments import signals
from tests.after_paid.states import markdown

PAGE = (Path(__file__).parents[2] / "docs" / "after-paid.md").read_text(encoding="utf-8")


def test_the_table_of_states_is_that_of_the_code():
    """If not: ``python -m tests.after_paid.states`` prints it."""
    written = PAGE.partition("|---|---|---|---|---|---|\n")[2].partition("<!-- end -->")[0]

    assert written.splitlines() == markdown()


def test_every_signal_is_named():
    names = [name for name in vars(signals) if isinstance(vars(signals)[name], Signal)]

    assert [name for name in names if f"`{name}`" not in PAGE] == []
