"""Kill one operation at one place, recover, and compare the books."""

from __future__ import annotations

from dataclasses import dataclass

from shop_payments.models import Order, PaymentHistory
from tests.reliability.__main__ import replay
from tests.reliability.books import Books
from tests.reliability.scenes import Scene, Stage, sweep
from tests.reliability.victims import Job, Result
from tests.reliability.web import Call

QUARTER_OF_AN_HOUR = 900.0
"""Seconds between a death and each try to recover."""

_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Case:
    """One death, and how it is recovered from."""

    operation: str
    point: int
    way: str
    """Before the same is done again: ``retry`` is nothing, ``events`` what Stripe sent, ``sweep``
    is ``shop_payments_reconcile``."""

    again: int | None = None
    """The place at which the recovery is killed as well, if it gets so far."""

    def line(self, seed: int) -> str:
        """Return the line that replays it."""
        again = f" --again {self.again}" if self.again else ""
        return (
            f"{replay('kill', seed=seed)} --operation {self.operation} --point {self.point}"
            f" --way {self.way}{again}"
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a case."""

    died_at: str
    died_again: bool
    damage: list[str]


def enumerate_places(stage: Stage, operation: str, *, without: str = "") -> tuple[str, ...]:
    """Do it once and return the places that it passed."""
    scene = stage.set(operation)
    sent = len(stage.stripe.requests)
    result = stage.victim.do(scene.job, later=scene.later, without=without)
    assert result.status == scene.answer, f"{operation}: {result}\n{stage.victim.log_tail()}"
    seen = sum(place.startswith("before") and " /v1/" in place for place in result.passed)
    assert seen == len(stage.stripe.requests) - sent, "not each request to Stripe is a place"
    damage = Books(stage.stripe, scene).damage(finished=True)
    assert not damage, f"{operation}, nobody killed: {damage}"
    return result.passed


def run(stage: Stage, case: Case, *, without: str = "") -> Outcome:
    """Set the scene, kill, recover, and look."""
    scene = stage.set(case.operation)
    receivers = _Receivers(stage, scene.order)
    killed = stage.victim.do(scene.job, kill_at=case.point, later=scene.later, without=without)
    assert killed.signal == 9, f"{case} was not killed: {killed}\n{stage.victim.log_tail()}"
    receivers.somebody_died()
    if scene.meanwhile:
        scene.meanwhile()
    recovery = _Recovery(stage, scene, receivers, without)
    damage = recovery.run(case)
    return Outcome(
        died_at=killed.died_at,
        died_again=recovery.died,
        damage=damage,
    )


class _Receivers:
    """What the receivers of an order were notified of, beside what is noted of that."""

    def __init__(self, stage: Stage, order: Order) -> None:
        self._stage, self._order = stage, order
        # The receivers of this process were notified of these, and keep no record.
        self._before = {fact.pk for fact in self._facts()}
        self._at_most: dict[int, int] = {}

    def _facts(self) -> list[PaymentHistory]:
        facts = PaymentHistory.objects.filter(order_payment__order=self._order, needs_dispatch=True)
        return list(facts)

    def somebody_died(self) -> None:
        """Expect each fact that is not noted as sent to be sent once more."""
        sent = self._stage.victim.notified()
        self._at_most = {
            fact.pk: sent[str(fact.fact_id)] + (not fact.dispatched_at) for fact in self._facts()
        }

    def damage(self, *, swept: bool) -> list[str]:
        """Each noted fact was sent, once unless a process died; after a sweep, each fact."""
        sent, found = self._stage.victim.notified(), []
        for fact in self._facts():
            count = sent[str(fact.fact_id)]
            if fact.pk not in self._before and not count and (swept or fact.dispatched_at):
                found.append(f"lost: not sent: {fact}")
            if swept and not fact.dispatched_at:
                found.append(f"lost: not noted as sent: {fact}")
            if count > self._at_most.get(fact.pk, 1):
                found.append(f"doubled: sent once more: {fact}")
        return found


class _Recovery:
    def __init__(self, stage: Stage, scene: Scene, receivers: _Receivers, without: str) -> None:
        self._stage, self._scene, self._without = stage, scene, without
        self._receivers, self._later = receivers, scene.later
        self.died = False

    def run(self, case: Case) -> list[str]:
        """Recover in the case's way, then repeat the operation until it is done."""
        if case.again is not None:
            self._die_at(case.again, case.way)
        if case.way != "retry":
            for job in self._jobs(case.way):
                result = self._do(job)
                if result.status != 200:
                    return [f"lost: not recovered by {case.way}: {result}"]
            damage = self._look(finished=False, swept=case.way == "sweep")
            if damage:
                return damage
        results = []
        for _try in range(_TRIES):
            result = self._do(self._scene.job)
            nothing_to_do = {result.error, str(result.status)} & self._scene.done_before
            if nothing_to_do or self._scene.follows_up:
                # A refused call finishes nothing: the sweep does.
                for job in self._jobs("sweep"):
                    self._do(job)
            if result.status == self._scene.answer or nothing_to_do:
                return self._look(finished=True)
            results.append(str(result))
        return [f"lost: never done: {results}", *self._look(finished=True)]

    def _die_at(self, place: int, way: str) -> None:
        """Begin to recover, and die at this place of it, if there are so many."""
        jobs = [] if way == "retry" else self._jobs(way)
        for job in [*jobs, self._scene.job]:
            result = self._do(job, kill_at=place)
            if result.signal == 9:
                self.died = True
                self._receivers.somebody_died()
                return
            place -= len(result.passed)

    def _jobs(self, way: str) -> list[Job]:
        settings = self._scene.job.settings
        if way == "sweep":
            return [Job(work=sweep, settings=settings)]
        ids = [each["id"] for each in Books(self._stage.stripe, self._scene).intents]
        bodies = [body for each in ids for body in self._stage.events_of(each)]
        return [Job.call(Call.webhook(body), **settings) for body in bodies]

    def _do(self, job: Job, *, kill_at: int | None = None) -> Result:
        self._later += QUARTER_OF_AN_HOUR
        later = 0.0 if job.is_event else self._later  # an old signature is refused
        return self._stage.victim.do(job, kill_at=kill_at, later=later, without=self._without)

    def _look(self, *, finished: bool, swept: bool = False) -> list[str]:
        books = Books(self._stage.stripe, self._scene)
        damage = books.damage(finished=finished or swept, done=not swept)
        return damage + self._receivers.damage(swept=swept)
