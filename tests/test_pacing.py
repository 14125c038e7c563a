"""A long run of calls keeps within Stripe's rate."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shop_payments.gateway import get_gateway
from shop_payments.pacing import Pace, keeping
from shop_payments.sandbox import Fault


class Time:
    """A clock that only sleep moves, and the calls themselves."""

    def __init__(self, *, each_call_takes: float = 0.0) -> None:
        self.now, self.slept, self._takes = 1000.0, 0.0, each_call_takes

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        self.slept += seconds

    def turns(self, pace: Pace, count: int) -> Iterator[float]:
        for _ in range(count):
            with pace.turn():
                yield self.now
                self.now += self._takes


def pace_of(time: Time, per_second: int) -> Pace:
    return Pace(per_second, clock=lambda: time.now, sleep=time.sleep)


@pytest.mark.parametrize("takes", [0.0, 0.01, 0.03])
def test_never_more_than_so_many_in_any_second(takes):
    time = Time(each_call_takes=takes)

    moments = list(time.turns(pace_of(time, 25), 200))

    pairs = zip(moments, moments[25:], strict=False)
    assert all(later - earlier >= 1 - 1e-6 for earlier, later in pairs)


@pytest.mark.parametrize("slow", [0, 10, 39])
def test_nor_at_stripe_where_a_request_is_slow_on_its_way(slow):
    """Measured: 26 of a sweep's requests within a second, where the first had to connect."""
    time = Time()
    pace, arrivals = pace_of(time, 25), []

    for number in range(200):
        with pace.turn():
            time.now += 0.2 if number % 40 == slow else 0.001
            arrivals.append(time.now)
            time.now += 0.001

    pairs = zip(arrivals, arrivals[25:], strict=False)
    assert all(later - earlier >= 1 - 1e-6 for earlier, later in pairs)


def test_whoever_is_slower_never_waits():
    time = Time(each_call_takes=0.05)

    list(time.turns(pace_of(time, 25), 200))

    assert time.slept == 0


def test_every_request_to_stripe_waits_for_its_turn(stripe, db):
    time = Time()

    with keeping(pace_of(time, 2)):
        for _ in range(5):
            get_gateway().list_refunds("pi_x")
    assert time.slept == pytest.approx(2)

    get_gateway().list_refunds("pi_x")
    assert time.slept == pytest.approx(2)


def test_a_retry_waits_for_its_turn_too(stripe, db, configure):
    """Only the first sending was counted."""
    configure(MAX_NETWORK_RETRIES=1)
    stripe.inject(Fault("drop_before"))
    time = Time()

    with keeping(pace_of(time, 1)):
        get_gateway().list_refunds("pi_x")

    assert time.slept == pytest.approx(1)
