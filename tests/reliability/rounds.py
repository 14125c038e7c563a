"""A round of orders at two servers: who goes away meanwhile, and what the books say in the end."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from django.db import connection

from shop_payments.models import APIKeyScope, FactKind, PaymentHistory, WebhookEvent
from tests.after_paid.support import listed_at_stripe
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory
from tests.reliability.books import Books, Damage
from tests.reliability.clusters import Cluster
from tests.reliability.parts import number_in_parts
from tests.reliability.scenes import Ending
from tests.reliability.servers import TwoServers
from tests.reliability.shoppers import CLIENTS, Journey, Mall, Tally
from tests.support import Caller

PATIENCE = 300
"""Seconds for all orders of a round, on a machine that is busy with other things."""


@dataclass
class Outages:
    """One server is killed and started again; then PostgreSQL is stopped, and started again.

    Each when a part of the orders is done, so that there is load however fast the machine is.
    """

    cluster: Cluster
    mode: str
    """How PostgreSQL is stopped, see ``clusters.STOPS``."""

    server: int
    away: float = 1.0
    """Seconds without a database."""

    under_load: list[int] = field(default_factory=list)
    """How many orders were not done yet when each began."""

    def happen(self, shop: TwoServers, ends: Sequence[Future[None]]) -> None:
        def wait_for(share: float) -> None:
            while sum(end.done() for end in ends) < share * len(ends):
                time.sleep(0.02)
            self.under_load.append(sum(not end.done() for end in ends))

        wait_for(0.2)
        shop.kill_and_restart(self.server)
        wait_for(0.6)
        self.cluster.stop(self.mode)
        time.sleep(self.away)
        self.cluster.start()


class Round:
    """Some orders, from nothing to paid, and some of them to refunded."""

    def __init__(
        self,
        shop: TwoServers,
        *,
        orders: int,
        seed: str,
        parts: Sequence[int] = (1, 1, 1, 2, 3, 4),
    ) -> None:
        """``parts``: in how many payments an order is paid is drawn from these."""
        draw = random.Random(seed)
        storefront_key = issue_key(APIKeyScope.STOREFRONT)
        tokens = TokenFactory.create_batch(CLIENTS)
        customers = {each.user: Caller(token=each.key, key=storefront_key) for each in tokens}
        self.shop, self.tally, self.seconds = shop, Tally(), 0.0
        self.journeys = []
        for number in range(orders):
            user = tokens[number % CLIENTS].user
            order = OrderFactory.create(customer=user)
            order.number = number_in_parts(order.number, draw.choice(parts))
            order.save()
            self.journeys.append(Journey.draw(draw, order, customers[user]))
        self._payment_system = Caller(key=issue_key(APIKeyScope.PAYMENTS))
        self._office = Caller(key=issue_key(APIKeyScope.REFUNDS))

    def run(self, outages: Outages | None = None) -> None:
        """Have all orders done, with the outages in between."""
        connection.close()  # the database will not be there all the time
        started = time.monotonic()
        mall = Mall(self.shop, self.tally, payment_system=self._payment_system, office=self._office)
        try:
            ends = mall.serve(self.journeys)
            if outages:
                outages.happen(self.shop, ends)
            for end in ends:
                end.result(PATIENCE)
        finally:
            mall.close()
        self.seconds = time.monotonic() - started

    def damage(self) -> Damage:
        """Compare Stripe's books with ours, and with what the callers were answered."""
        found = Damage()
        by_order: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for intent in listed_at_stripe(self.shop.stripe, "payment_intents"):
            by_order[intent["metadata"]["order_id"]].append(intent)
        for journey in self.journeys:
            self._look_at(journey, by_order[str(journey.order.pk)], found)
        self._look_at_facts(found)
        self._look_at_inbox(found)
        return found

    def _look_at(self, journey: Journey, intents: list[dict[str, Any]], found: Damage) -> None:
        wants = {"open": [], "received": journey.payments, "refunded": journey.refunded}
        facts = {FactKind.ORDER_PAID: 1, FactKind.PAYMENT_RECEIVED: len(journey.payments)}
        ending = Ending(order=journey.order, wants=wants, facts=facts)
        books = Books(self.shop.stripe, ending, intents=intents)
        damage = books.damage(finished=True)
        damage.lost += [f"nobody was told: {fact}" for fact in books.untold()]
        answered = list(journey.refunds.values())
        damage.doubled += [f"a key has the refunds {each}" for each in answered if len(each) > 1]
        at_stripe = {each["id"] for each in books.refunds}
        accepted = journey.accepted
        if strangers := at_stripe - set().union(*accepted.values()):
            damage.doubled.append(f"nobody asked for the refunds {strangers}")
        for key, parts in accepted.items():
            if sum(parts.values()) != journey.wishes[key]:
                damage.other.append(f"{journey.wishes[key]} asked back, and {parts} accepted")
        for kind in ("lost", "doubled", "other"):
            here = [f"order {journey.order.pk}: {words}" for words in getattr(damage, kind)]
            getattr(found, kind).extend(here)

    def _look_at_facts(self, found: Damage) -> None:
        told = self.shop.told()
        facts = PaymentHistory.objects.filter(needs_dispatch=True)
        found.lost += [
            f"no receiver heard of {each}" for each in facts if not told[str(each.fact_id)]
        ]

    def _look_at_inbox(self, found: Damage) -> None:
        sent = {each["id"] for each in listed_at_stripe(self.shop.stripe, "events")}
        kept = set(WebhookEvent.objects.values_list("event_id", flat=True))
        if sent - kept:
            found.lost.append(f"the events {sorted(sent - kept)[:5]} are not in the inbox")
        for event in WebhookEvent.objects.exclude(status__in=WebhookEvent.SUCCESSES):
            found.other.append(f"{event} is {event.status}: {event.outcome}")
