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
    """The place at which the first try to recover is killed as well, if it gets so far: counted
    through all that belongs to it."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a case."""

    died_at: str
    died_again: bool
    left_to_sweep: bool
    """The repetition had nothing to do, and a sweep finished what was left."""
    damage: Damage


def enumerate_places(shop: Shop, operation: str, *, without: str = "") -> list[str]:
    """Do it once and return the places that it passed."""
    scene = shop.set(operation)
    sent = len(shop.stripe.requests)
    result = shop.victim.do(scene.job, later=scene.later, without=without)
    assert result.status == scene.answer, f"{operation}: {result}\n{shop.victim.log_tail()}"
    seen = sum(place.startswith("before") and " /v1/" in place for place in result.passed)
    assert seen == len(shop.stripe.requests) - sent, "not each request to Stripe is a place"
    damage = Books(shop.stripe, scene).damage(finished=True)
    assert not damage, f"{operation}, nobody killed: {damage}"
    return result.passed


def run(shop: Shop, case: Case, *, without: str = "") -> Outcome:
    """Set the scene, kill, recover, and look."""
    scene = shop.set(case.operation)
    hearing = _Hearing(shop, scene.order)
    killed = shop.victim.do(scene.job, kill_at=case.point, later=scene.later, without=without)
    assert killed.signal == 9, f"{case} was not killed: {killed}\n{shop.victim.log_tail()}"
    hearing.somebody_died()
    if scene.meanwhile:
        scene.meanwhile()
    recovery = _Recovery(shop, scene, hearing, without)
    damage = recovery.run(case)
    return Outcome(
        died_at=killed.died_at,
        died_again=recovery.died,
        left_to_sweep=recovery.left_to_sweep,
        damage=damage,
    )


class _Hearing:
    """What the receivers have heard of an order, beside what is noted of that."""

    def __init__(self, shop: Shop, order: Order) -> None:
        self._shop, self._order = shop, order
        # Of these, the receivers of this process have heard, who keep no record.
        self._before = {fact.pk for fact in self._facts()}
        self._may_be_heard: dict[int, int] = {}

    def _facts(self) -> list[PaymentHistory]:
        facts = PaymentHistory.objects.filter(order_payment__order=self._order, needs_dispatch=True)
        return list(facts)

    def somebody_died(self) -> None:
        """Expect each fact that is not noted as told to be told once more than it was."""
        told = self._shop.victim.told()
        self._may_be_heard = {
            fact.pk: told[str(fact.fact_id)] + (not fact.dispatched_at) for fact in self._facts()
        }

    def compare(self, damage: Damage, *, swept: bool) -> None:
        """Whoever is noted as told was told, once where nobody died; after a sweep, everybody."""
        told = self._shop.victim.told()
        for fact in self._facts():
            count = told[str(fact.fact_id)]
            if fact.pk not in self._before and not count and (swept or fact.dispatched_at):
                noted = "is noted as told" if fact.dispatched_at else "waits"
                damage.lost.append(f"nobody was told: {fact}; it {noted}")
            if swept and not fact.dispatched_at:
                damage.lost.append(f"not noted as told: {fact}")
            if count > self._may_be_heard.get(fact.pk, 1):
                damage.doubled.append(f"told of {fact} once more")


class _Recovery:
    def __init__(self, shop: Shop, scene: Scene, hearing: _Hearing, without: str) -> None:
        self._shop, self._scene, self._without = shop, scene, without
        self._hearing, self._later = hearing, scene.later
        self.died = self.left_to_sweep = False

    def run(self, case: Case) -> Damage:
        """Recover in the case's way, then repeat the operation until it is done."""
        if case.again is not None:
            self._die_at(case.again, case.way)
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
            if nothing_to_do or self._scene.follows_up:
                # Who is refused finishes nothing: what the dead left is the sweep's to finish.
                self.left_to_sweep = True
                for job in self._jobs("sweep"):
                    self._do(job)
            if result.status == self._scene.answer or nothing_to_do:
                return self._look(finished=True)
            results.append(str(result))
        return Damage(lost=[f"never done: {results}; {self._look(finished=True)}"])

    def _die_at(self, place: int, way: str) -> None:
        """Begin to recover, and die at this place of it, if there are so many."""
        jobs = [] if way == "retry" else self._jobs(way)
        for job in [*jobs, self._scene.job]:
            result = self._do(job, kill_at=place)
            if result.signal == 9:
                self.died = True
                self._hearing.somebody_died()
                return
            place -= len(result.passed)

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
        self._hearing.compare(damage, swept=swept)
        return damage
