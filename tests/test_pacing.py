"""A long run of calls keeps within Stripe's rate."""

from __future__ import annotations

import pytest

from shop_payments.gateway import get_gateway
from shop_payments.pacing import Pace, keeping
from shop_payments.sandbox import Fault


class Time:
    """A clock that only sleep and the calls move."""

    def __init__(self) -> None:
        self.now, self.slept = 1000.0, 0.0

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        self.slept += seconds

    def pace(self, per_second: int) -> Pace:
        return Pace(per_second, clock=lambda: self.now, sleep=self.sleep)


@pytest.mark.parametrize(
    ("slow", "on_its_way", "then"),
    [(None, 0.0, 0.0), (None, 0.0, 0.03), (0, 0.001, 0.001), (10, 0.001, 0.001), (None, 0.05, 0)],
)
def test_never_more_than_so_many_arrive_at_stripe_in_any_second(slow, on_its_way, then):
    """Found: 26 of a sweep's requests within a second, where the first had to connect."""
    time, arrivals = Time(), []
    pace = time.pace(25)
    for number in range(200):
        with pace.turn():
            time.now += 0.2 if number % 40 == slow else on_its_way
            arrivals.append(time.now)
            time.now += then

    pairs = zip(arrivals, arrivals[25:], strict=False)
    assert all(later - earlier >= 1 - 1e-6 for earlier, later in pairs)
    assert (time.slept == 0) == (on_its_way + then > 1 / 26)  # a slower run never waits


def test_every_request_to_stripe_waits_for_its_turn_and_so_does_a_retry(stripe, configure):
    """Found: only the first sending was counted."""
    configure(MAX_NETWORK_RETRIES=1)
    time = Time()
    stripe.inject(Fault("drop_before"))

    with keeping(time.pace(2)):
        for _ in range(4):
            get_gateway().list_refunds("pi_x")
    get_gateway().list_refunds("pi_x")

    assert time.slept == pytest.approx(2)
