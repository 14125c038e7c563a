"""Kill one operation at one place, recover, and compare the books."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shop_payments.models import Order, PaymentHistory
from tests.reliability.books import Books, Damage
from tests.reliability.crew import Call
from tests.reliability.scenes import Scene, Shop
from tests.reliability.victims import Job, Result

QUARTER_OF_AN_HOUR = 900.0
"""Seconds between a death and each try to recover: whoever lives has finished by then."""

_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Case:
    """One death, and how it is recovered from."""

    operation: str
    point: int
    way: str
    """``retry``: the same once more. ``events``: what Stripe sent, then the same once more.
    ``sweep``: ``shop_payments_reconcile``, then the same once more."""
    again: int | None = None
    """The place at which the first try to recover is killed as well, if it gets there."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a case."""

    died_at: str
    died_again: bool
    damage: Damage


def enumerate_places(shop: Shop, operation: str, *, without: str = "") -> list[str]:
    """Do it once and return the places that it passed."""
    scene = shop.set(operation)
    result = shop.victim.do(scene.job, without=without)
    assert result.is_done, f"{operation}: {result}\n{shop.victim.log_tail()}"
    damage = Books(shop.stripe, scene).damage(finished=True)
    assert not damage, f"{operation}, nobody killed: {damage}"
    return result.passed


def run(shop: Shop, case: Case, *, without: str = "") -> Outcome:
    """Set the scene, kill, recover, and look."""
    scene = shop.set(case.operation)
    killed = shop.victim.do(scene.job, kill_at=case.point, without=without)
    assert killed.signal == 9, f"{case} was not killed: {killed}\n{shop.victim.log_tail()}"
    if scene.meanwhile:
        scene.meanwhile()
    finished, told = _dispatched(scene.order), shop.victim.told()
    recovery = _Recovery(shop, scene, without)
    damage = recovery.run(case)
    for fact_id in finished:
        if shop.victim.told()[fact_id] != told[fact_id]:
            damage.doubled.append(f"told of {fact_id} once more")
    return Outcome(died_at=killed.died_at, died_again=recovery.died, damage=damage)


def _dispatched(order: Order) -> list[str]:
    facts = PaymentHistory.objects.filter(
        order_payment__order=order, dispatched_at__isnull=False, needs_dispatch=True
    )
    return [str(each) for each in facts.values_list("fact_id", flat=True)]


class _Recovery:
    def __init__(self, shop: Shop, scene: Scene, without: str) -> None:
        self._shop, self._scene, self._without = shop, scene, without
        self._later = 0.0
        self.died = False

    def run(self, case: Case) -> Damage:
        """Recover in the case's way, then repeat the operation until it is done."""
        if case.again is not None:
            first = [*self._jobs(case.way), self._scene.job][0]
            self.died = self._do(first, kill_at=case.again).signal == 9
        if case.way != "retry":
            for job in self._jobs(case.way):
                result = self._do(job)
                if not result.is_done:
                    return Damage(lost=[f"not recovered by {case.way}: {result}"])
            damage = self._look(finished=False, swept=case.way == "sweep")
            if damage:
                return damage
        results = []
        for _try in range(_TRIES):
            result = self._do(self._scene.job)
            nothing_to_do = {result.error, str(result.status)} & self._scene.done_before
            if nothing_to_do:
                # Who is refused finishes nothing: what the dead left is the sweep's to finish.
                for job in self._jobs("sweep"):
                    self._do(job)
            if result.is_done or nothing_to_do:
                return self._look(finished=True)
            results.append(str(result))
        return Damage(lost=[f"never done: {results}; {self._look(finished=True)}"])

    def _jobs(self, way: str) -> Sequence[Job]:
        if way == "sweep":
            settings = self._scene.job.values["settings"]
            return [Job.service("sweep", self._scene.order, **settings)]
        if way == "events":
            ids = [each["id"] for each in Books(self._shop.stripe, self._scene).intents]
            bodies = [body for each in ids for body in self._shop.events_of(each)]
            settings = self._scene.job.values["settings"]
            return [Job.call(Call.webhook(body), **settings) for body in bodies]
        return [self._scene.job]

    def _do(self, job: Job, *, kill_at: int | None = None) -> Result:
        is_event = "Stripe-Signature" in job.values.get("call", {}).get("headers", {})
        self._later += QUARTER_OF_AN_HOUR
        later = 0.0 if is_event else self._later  # an old signature is refused
        return self._shop.victim.do(job, kill_at=kill_at, later=later, without=self._without)

    def _look(self, *, finished: bool, swept: bool = False) -> Damage:
        books = Books(self._shop.stripe, self._scene)
        damage = books.damage(finished=finished or swept, done=not swept)
        if swept:
            damage.lost += [f"nobody was told: {fact}" for fact in books.untold()]
        return damage
