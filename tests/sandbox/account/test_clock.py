from __future__ import annotations

import pytest

from shop_payments.sandbox.account.clock import Clock as SandboxClock
from tests.sandbox.support import Clock


def divide_by_zero() -> None:
    raise ZeroDivisionError


def test_actions_run_in_order_each_at_its_time_and_once():
    clock = SandboxClock(Clock(100.0))
    log: list[tuple[str, float]] = []
    clock.after(20, lambda: log.append(("second", clock())))
    clock.after(20, lambda: log.append(("second too", clock())))
    clock.after(10, lambda: log.append(("first", clock())))
    clock.after(20, lambda: clock.after(10, lambda: log.append(("third", clock()))))
    clock.after(40, divide_by_zero)
    clock.after(50, lambda: log.append(("after a failure", clock())))

    with pytest.raises(ZeroDivisionError):
        clock.advance(60)
    assert log == [("first", 110.0), ("second", 120.0), ("second too", 120.0), ("third", 130.0)]
    clock.catch_up()

    assert (log[4:], clock()) == ([("after a failure", 150.0)], 160.0)


@pytest.mark.parametrize("seconds", [-1, float("nan"), 1e12])
def test_the_clock_advances_by_ten_years_at_most(sandbox, seconds):
    with pytest.raises(ValueError, match=r"The clock (cannot go back|can advance by at most)"):
        sandbox.advance_clock(seconds)

    assert sandbox.now == 4_000_000_000
