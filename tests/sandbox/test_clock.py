from __future__ import annotations

import pytest

from shop_payments.sandbox import Sandbox
from shop_payments.sandbox.account.clock import Clock as SandboxClock
from tests.sandbox.support import INTENTS, Api, Clock

Log = list[tuple[str, float]]


def kept(clock: SandboxClock, log: Log, name: str) -> None:
    log.append((name, clock()))


def fail() -> None:
    raise ZeroDivisionError


def test_appointments_are_kept_in_order_each_at_its_time() -> None:
    clock, log = SandboxClock(Clock(100.0)), Log()
    clock.after(20, lambda: kept(clock, log, "second"))
    clock.after(10, lambda: kept(clock, log, "first"))
    clock.after(20, lambda: kept(clock, log, "third"))

    clock.advance(60)

    assert log == [("first", 110.0), ("second", 120.0), ("third", 120.0)]
    assert clock() == 160.0


def test_an_appointment_may_lead_to_another() -> None:
    clock, log = SandboxClock(Clock(100.0)), Log()
    clock.after(10, lambda: clock.after(10, lambda: kept(clock, log, "later")))

    clock.advance(15)
    assert log == []
    clock.advance(15)

    assert log == [("later", 120.0)]


def test_time_that_passes_by_itself_counts() -> None:
    source, log = Clock(100.0), Log()
    clock = SandboxClock(source)
    clock.after(10, lambda: kept(clock, log, "due"))
    source.advance(30)

    clock.catch_up()

    assert (log, clock()) == ([("due", 110.0)], 130.0)


def test_an_appointment_that_fails_is_not_kept_again() -> None:
    clock, log = SandboxClock(Clock(100.0)), Log()
    clock.after(10, fail)
    clock.after(20, lambda: kept(clock, log, "next"))

    with pytest.raises(ZeroDivisionError):
        clock.advance(30)
    assert clock() == 130.0
    clock.catch_up()

    assert log == [("next", 120.0)]


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e12])
def test_the_clock_goes_forward_in_sensible_steps(seconds: float) -> None:
    clock = SandboxClock(Clock(100.0))

    with pytest.raises(ValueError, match=r"The clock (cannot go back|goes on by at most)"):
        clock.advance(seconds)

    assert clock() == 100.0


def test_keys_and_webhooks_live_by_the_same_clock(api: Api, sandbox: Sandbox) -> None:
    answers = [500, 200]
    sandbox.add_webhook("http://127.0.0.1:9/", "whsec_x", deliver=lambda *_: answers.pop(0))
    first = api.post(INTENTS, "amount=1000&currency=usd", Idempotency_Key="k")
    sandbox.deliver_due()

    sandbox.advance_clock(24 * 60 * 60)
    second = api.post(INTENTS, "amount=2000&currency=usd", Idempotency_Key="k")

    assert (first["created"], second["created"]) == (4_000_000_000, 4_000_086_400)
    assert sandbox.now == 4_000_086_400
    sandbox.add_webhook("http://127.0.0.1:9/", "whsec_x", deliver=lambda *_: 200)
    assert sandbox.pending_deliveries[0].due_at <= sandbox.now


def test_what_is_made_bears_the_second_that_has_begun(api: Api, clock: Clock) -> None:
    clock.advance(0.9)

    assert api.create()["created"] == 4_000_000_000
