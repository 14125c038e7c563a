"""Random sequences of calls, faults and hours; after each step the books are checked.

- Statuses move along Stripe's table only.
- Every effect has its event, and every event its effect.
- Every event is delivered to each endpoint that wanted it, waits for it, or is recorded as lost.
- What is refused changes nothing; what is repeated with its key is the same answer, once.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shop_payments.lifecycle import TRANSITIONS, can_step
from shop_payments.sandbox import Delivery, Fault, Sandbox, SandboxConnectionDropped
from tests.sandbox.sdk_types import answer_problems
from tests.sandbox.support import CARD, INTENTS, KEY, Answer, Clock

Json = dict[str, Any]
DAY = 24 * 60 * 60
ENDPOINTS = "/v1/webhook_endpoints"
URLS = ["http://127.0.0.1:1/one", "http://127.0.0.1:1/two"]

STATUS_OF_EVENT = {
    "payment_intent.payment_failed": "requires_payment_method",
    "payment_intent.requires_action": "requires_action",
    "payment_intent.processing": "processing",
    "payment_intent.amount_capturable_updated": "requires_capture",
    "payment_intent.succeeded": "succeeded",
    "payment_intent.canceled": "canceled",
}
"""Nothing tells of requires_confirmation."""

intents = st.integers(min_value=0, max_value=100)
cards = st.sampled_from(
    [
        "pm_card_visa",
        "pm_card_mastercard",
        "pm_card_chargeDeclined",
        "pm_card_chargeDeclinedProcessingError",
        "pm_card_authenticationRequired",
        "pm_card_nobody",
    ]
)
amounts = st.sampled_from(["1", "50", "11200", "99999999", "100000000"])


@dataclass(frozen=True)
class Sent:
    """A write that was answered for good."""

    path: str
    form: str
    key: str
    answer: Answer
    at: float


class SandboxMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.sandbox = Sandbox(clock=self.clock, seed=1)
        self.delivered: Counter[tuple[str, str]] = Counter()
        self.up = dict.fromkeys(URLS, True)
        self.sent: list[Sent] = []
        self.statuses: dict[str, str] = {}
        self.seen_events = 0
        self.wanted: dict[str, set[str]] = {}
        self.doubled = False
        self.endpoints = {
            url: self.sandbox.add_webhook(url, "whsec_x", deliver=self.receive) for url in URLS
        }

    # What happens

    @rule(amount=amounts, card=st.none() | cards, confirm=st.booleans())
    def create(self, amount: str, card: str | None, confirm: bool) -> None:
        params = {"amount": amount, "currency": "usd", **CARD}
        if card is not None:
            params["payment_method"] = card
        if confirm:
            params["confirm"] = "true"
        self.write(INTENTS, params)

    @precondition(lambda self: self.statuses)
    @rule(at=intents, amount=st.none() | amounts, card=st.none() | cards, word=st.text(max_size=3))
    def update(self, at: int, amount: str | None, card: str | None, word: str) -> None:
        params = {"amount": amount, "payment_method": card, "metadata[word]": word}
        self.write(self.path(at), {name: each for name, each in params.items() if each is not None})

    @precondition(lambda self: self.statuses)
    @rule(at=intents, card=st.none() | cards)
    def confirm(self, at: int, card: str | None) -> None:
        self.write(f"{self.path(at)}/confirm", {"payment_method": card} if card else {})

    @precondition(lambda self: self.statuses)
    @rule(at=intents)
    def cancel(self, at: int) -> None:
        self.write(f"{self.path(at)}/cancel", {})

    @precondition(lambda self: self.statuses)
    @rule(at=intents, succeed=st.booleans())
    def authenticate(self, at: int, succeed: bool) -> None:
        intent_id = self.intent_id(at)
        if self.statuses[intent_id] == "requires_action":
            self.sandbox.complete_authentication(intent_id, succeed)

    @precondition(lambda self: self.statuses)
    @rule(at=intents, status=st.sampled_from(sorted(TRANSITIONS)))
    def move_at_stripe(self, at: int, status: str) -> None:
        intent_id = self.intent_id(at)
        if can_step(self.statuses[intent_id], status):
            self.sandbox.advance(intent_id, status)

    @precondition(lambda self: self.sent)
    @rule(at=intents)
    def repeat(self, at: int) -> None:
        sent = self.sent[at % len(self.sent)]
        self.sandbox.clear_faults()
        before = self.sandbox.events
        again = self.post(sent.path, sent.form, sent.key)

        assert (again.status, again.json) == (sent.answer.status, sent.answer.json)
        assert again.headers["idempotent-replayed"] == "true"
        assert self.sandbox.events == before

    @rule(kind=st.sampled_from(["drop_before", "drop_after"]), times=st.integers(1, 2))
    def trouble(self, kind: Any, times: int) -> None:
        self.sandbox.inject(Fault(kind, times=times, path=INTENTS, method="POST"))

    @rule(status=st.sampled_from([409, 429, 500, 503]))
    def error(self, status: int) -> None:
        self.sandbox.inject(Fault("error", status=status, path=INTENTS, method="POST"))

    @rule(kind=st.sampled_from(["webhook_lost", "webhook_doubled"]))
    def trouble_with_webhooks(self, kind: Any) -> None:
        self.sandbox.inject(Fault(kind))
        self.doubled = self.doubled or kind == "webhook_doubled"

    @rule(kind=st.sampled_from(["webhook_delayed", "webhook_reordered"]))
    def late_webhooks(self, kind: Any) -> None:
        self.sandbox.inject(Fault(kind, seconds=3600, rate=0.5))

    @rule()
    def forget_keys(self) -> None:
        self.sandbox.forget_idempotency_keys()
        self.sent = []

    @rule(url=st.sampled_from(URLS), disabled=st.booleans())
    def switch_endpoint(self, url: str, disabled: bool) -> None:
        form = f"disabled={'true' if disabled else 'false'}"
        answer = self.post(f"{ENDPOINTS}/{self.endpoints[url].id}", form)
        assert answer_problems(answer.json) == []

    @rule(url=st.sampled_from(URLS))
    def replace_endpoint(self, url: str) -> None:
        self.sandbox.remove_webhook(self.endpoints[url])
        for wanted in self.wanted.values():
            wanted.discard(url)
        self.endpoints[url] = self.sandbox.add_webhook(url, "whsec_x", deliver=self.receive)

    @rule(seconds=st.sampled_from([0.5, 3600, DAY]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.sent = [sent for sent in self.sent if self.clock.now - sent.at < DAY]

    @rule(
        seconds=st.sampled_from([0, 1, 60, 4 * DAY]),
        up=st.fixed_dictionaries({url: st.booleans() for url in URLS}),
    )
    def deliver(self, seconds: float, up: dict[str, bool]) -> None:
        self.wait(seconds)
        self.up = up
        self.sandbox.deliver_due()

    # What has to hold

    @invariant()
    def the_books_are_right(self) -> None:
        intents, events = self.all_intents(), self.sandbox.events
        self.statuses_move_along_the_table(intents)
        self.every_effect_has_its_event(intents, events)
        self.no_event_is_without_an_effect(events)
        self.every_event_is_delivered_waits_or_is_lost(events)
        for intent in intents:
            self.money_fits_the_status(intent)
        for event in events[self.seen_events :]:
            assert answer_problems(event) == []
        self.seen_events = len(events)

    def statuses_move_along_the_table(self, intents: list[Json]) -> None:
        for intent in intents:
            seen = self.statuses.setdefault(intent["id"], intent["status"])
            if seen != intent["status"]:
                assert can_step(seen, intent["status"]), (seen, intent["status"])
                self.statuses[intent["id"]] = intent["status"]

    def every_effect_has_its_event(self, intents: list[Json], events: list[Json]) -> None:
        for intent in intents:
            told = [event for event in events if event["data"]["object"]["id"] == intent["id"]]
            first, *rest = told
            assert first["type"] == "payment_intent.created"
            for event in rest:
                assert event["data"]["object"]["status"] == STATUS_OF_EVENT[event["type"]]
            last = told[-1]["data"]["object"]["status"]
            assert intent["status"] in {last, "requires_confirmation"}

    def no_event_is_without_an_effect(self, events: list[Json]) -> None:
        """Each names the request behind it, and that was answered, or its answer was lost."""
        answered = {request.request_id: request.status for request in self.sandbox.requests}
        for event in events[self.seen_events :]:
            if event["request"]["id"] is not None:
                assert answered[event["request"]["id"]] in (200, 402, None)
            assert event["created"] == int(self.clock.now)

    def money_fits_the_status(self, intent: Json) -> None:
        succeeded = intent["status"] == "succeeded"
        held = intent["status"] == "requires_capture"
        assert intent["amount_received"] == (intent["amount"] if succeeded else 0)
        assert intent["amount_capturable"] == (intent["amount"] if held else 0)
        assert (intent["canceled_at"] is not None) == (intent["status"] == "canceled")
        assert (intent["next_action"] is not None) == (intent["status"] == "requires_action")
        assert intent["latest_charge"] or not (succeeded or held)

    def every_event_is_delivered_waits_or_is_lost(self, events: list[Json]) -> None:
        pending, lost = self.sandbox.pending_deliveries, self.sandbox.lost_deliveries
        outstanding = Counter(each.event_id for each in [*pending, *lost] if not each.doubled)
        known = Counter(places(pending) + places(lost) + self.delivered)
        for event in events:
            assert event["pending_webhooks"] == outstanding[event["id"]]
            wanted = self.wanted.setdefault(event["id"], self.enabled())
            for url in wanted:
                assert known[event["id"], url] == 1 or (
                    self.doubled and known[event["id"], url] == 2
                )

    def enabled(self) -> set[str]:
        return {url for url, endpoint in self.endpoints.items() if endpoint.enabled}

    # How

    def path(self, at: int) -> str:
        return f"{INTENTS}/{self.intent_id(at)}"

    def intent_id(self, at: int) -> str:
        return list(self.statuses)[at % len(self.statuses)]

    def all_intents(self) -> list[Json]:
        response = self.sandbox.handle(
            "GET", f"{INTENTS}?limit=100", {"Authorization": f"Bearer {KEY}"}
        )
        found: list[Json] = json.loads(response.body)["data"]
        return found

    def receive(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        if not self.up[url]:
            return 503
        self.delivered[json.loads(body)["id"], url] += 1
        return 200

    def write(self, path: str, params: dict[str, str]) -> None:
        """Write as a client does: with a key, and again until there is an answer."""
        form, key = urlencode(params), f"key-{len(self.sandbox.requests)}"
        before = self.all_intents(), self.sandbox.events
        answer = None
        while answer is None:
            try:
                answer = self.post(path, form, key)
            except SandboxConnectionDropped:
                continue
        assert answer_problems(answer.json) == []
        if answer.status in (200, 402, 500):
            self.sent.append(Sent(path, form, key, answer, self.clock.now))
        if answer.status not in (200, 402):
            assert (self.all_intents(), self.sandbox.events) == before
        if answer.status == 200:
            assert answer.json in self.all_intents()

    def post(self, path: str, form: str, key: str = "") -> Answer:
        headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": key}
        response = self.sandbox.handle("POST", path, headers, form)
        return Answer(response, json.loads(response.body))


def places(deliveries: list[Delivery]) -> Counter[tuple[str, str]]:
    return Counter((delivery.event_id, delivery.endpoint.url) for delivery in deliveries)


SandboxMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestSandbox = SandboxMachine.TestCase
