from __future__ import annotations

import pytest

from shop_payments.sandbox import Sandbox
from shop_payments.sandbox.account.clock import Clock as SandboxClock
from tests.sandbox.support import Api, Clock


@pytest.fixture
def clock() -> SandboxClock:
    return SandboxClock(Clock(100.0))


@pytest.fixture
def log() -> list[tuple[str, float]]:
    return []


def test_appointments_are_kept_in_order_each_at_its_time(clock, log):
    clock.after(20, lambda: log.append(("second", clock())))
    clock.after(20, lambda: log.append(("second too", clock())))
    clock.after(10, lambda: log.append(("first", clock())))
    clock.after(20, lambda: clock.after(10, lambda: log.append(("third", clock()))))

    clock.advance(60)

    assert log == [("first", 110.0), ("second", 120.0), ("second too", 120.0), ("third", 130.0)]
    assert clock() == 160.0


def test_an_appointment_that_fails_is_not_kept_again(clock, log):
    clock.after(10, lambda: 1 / 0)
    clock.after(20, lambda: log.append(("next", clock())))

    with pytest.raises(ZeroDivisionError):
        clock.advance(30)
    clock.catch_up()

    assert (log, clock()) == ([("next", 120.0)], 130.0)


@pytest.mark.parametrize("seconds", [-1, float("nan"), 1e12])
def test_the_clock_goes_forward_in_sensible_steps(clock, seconds):
    with pytest.raises(ValueError, match=r"The clock (cannot go back|goes on by at most)"):
        clock.advance(seconds)

    assert clock() == 100.0


def test_an_object_is_created_in_the_second_that_has_begun():
    sandbox = Sandbox(clock=Clock(4_000_000_000.9))

    assert Api(sandbox).create()["created"] == 4_000_000_000
