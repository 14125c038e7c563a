"""Random sequences of calls, faults and hours; after each step the books are checked.

- Statuses move along Stripe's table only.
- Every effect has its event, and every event its effect.
- A payment is taken once, what is given back was there, and the balance adds up.
- What is refused changes nothing; what is repeated with its key is the same answer, once.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shop_payments.lifecycle import TRANSITIONS
from shop_payments.sandbox import Fault, Sandbox, SandboxConnectionDropped
from shop_payments.sandbox.resources import refund_moves
from tests.sandbox.sdk_types import answer_problems
from tests.sandbox.support import CARD, DAY, INTENTS, KEY, MANDATE, Answer, Clock, Receiver

Json = dict[str, Any]
URL = "http://127.0.0.1:1/"

STATUS_OF_EVENT = {
    "payment_intent.payment_failed": "requires_payment_method",
    "payment_intent.requires_action": "requires_action",
    "payment_intent.processing": "processing",
    "payment_intent.amount_capturable_updated": "requires_capture",
    "payment_intent.succeeded": "succeeded",
    "payment_intent.canceled": "canceled",
}
"""Nothing tells of requires_confirmation."""

UNDONE = ("failed", "canceled")
"""Refunds whose money came back."""

intents = st.integers(min_value=0, max_value=3)
cards = st.sampled_from(
    [
        "pm_card_visa",
        "pm_card_chargeDeclined",
        "pm_card_authenticationRequired",
        "pm_card_threeDSecureRequiredChargeDeclined",
        "pm_usBankAccount_success",
        "pm_usBankAccount_insufficientFunds",
        "pm_card_createDispute",
        "pm_card_createDisputeInquiry",
        "pm_card_refundFail",
        "pm_card_pendingRefund",
        "pm_card_nobody",
    ]
)
amounts = st.sampled_from(["50", "11200", "99999999"])
TYPES = {
    "allowed_payment_method_types[0]": "card",
    "allowed_payment_method_types[1]": "us_bank_account",
}
options = st.sampled_from(
    [
        CARD,
        TYPES,
        {**CARD, "capture_method": "manual"},
        {**CARD, "confirmation_method": "manual"},
    ]
)
faults = st.sampled_from(
    [
        *(Fault(kind, times=2, method="POST") for kind in ("drop_before", "drop_after")),
        Fault("error_after", method="POST"),
        *(Fault("error", status=status, method="POST") for status in (409, 429, 500, 503)),
        Fault("webhook_lost"),
        Fault("webhook_doubled"),
        Fault("webhook_delayed", seconds=3600),
    ]
)


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
        self.sandbox = Sandbox(clock=Clock(), seed=1)
        self.receiver = Receiver()
        self.sent: list[Sent] = []
        self.statuses: dict[str, str] = {}
        self.seen_events = 0
        self.failed_afterwards: set[str] = set()
        self.sandbox.add_webhook(URL, "whsec_x", deliver=self.receiver)

    # What happens

    @initialize(options=options)
    def begin(self, options: dict[str, str]) -> None:
        self.create("11200", None, False, options)

    @rule(amount=amounts, card=st.none() | cards, confirm=st.booleans(), options=options)
    def create(self, amount: str, card: str | None, confirm: bool, options: dict[str, str]) -> None:
        params = {"amount": amount, "currency": "usd", **options}
        if card is not None:
            params["payment_method"] = card
        if confirm:
            params |= {"confirm": "true", **MANDATE}
        self.write(INTENTS, params)

    @rule(at=intents, card=cards)
    def pay(self, at: int, card: str) -> None:
        self.write(f"{self.path(at)}/confirm", {"payment_method": card, **MANDATE})

    @rule(at=intents, card=st.none() | cards, mandate=st.sampled_from([{}, MANDATE]))
    def confirm(self, at: int, card: str | None, mandate: dict[str, str]) -> None:
        card_given = {"payment_method": card} if card else {}
        self.write(f"{self.path(at)}/confirm", {**card_given, **mandate})

    @rule(at=intents, amount=st.none() | amounts, card=st.none() | cards, word=st.text(max_size=3))
    def update(self, at: int, amount: str | None, card: str | None, word: str) -> None:
        params = {"amount": amount, "payment_method": card, "metadata[word]": word}
        self.write(self.path(at), {name: each for name, each in params.items() if each is not None})

    @rule(at=intents, part=st.sampled_from([{}, {"amount_to_capture": "50"}]))
    def capture(self, at: int, part: dict[str, str]) -> None:
        held = [each for each, status in self.statuses.items() if status == "requires_capture"]
        intent_id = held[at % len(held)] if held else self.intent_id(at)
        self.write(f"{INTENTS}/{intent_id}/capture", part)

    @rule(at=intents, amount=st.none() | amounts)
    def refund(self, at: int, amount: str | None) -> None:
        paid = [each for each, status in self.statuses.items() if status == "succeeded"]
        intent_id = paid[at % len(paid)] if paid else self.intent_id(at)
        part = {"amount": amount} if amount else {}
        self.write("/v1/refunds", {"payment_intent": intent_id, **part})

    @rule(at=intents, status=st.sampled_from(sorted(refund_moves.LEGAL_MOVES)))
    def move_refund(self, at: int, status: str) -> None:
        refunds = self.all("/v1/refunds")
        if refunds and (refund := refunds[at % len(refunds)]):
            if status in refund_moves.LEGAL_MOVES[refund["status"]]:
                self.sandbox.advance_refund(refund["id"], status)
            else:
                self.write(f"/v1/refunds/{refund['id']}/cancel", {})

    @rule(at=intents, inquiry=st.booleans())
    def dispute(self, at: int, inquiry: bool) -> None:
        disputed = {each["charge"] for each in self.all("/v1/disputes")}
        fit = [
            each["id"]
            for each in self.all("/v1/charges")
            if each["paid"] and each["captured"] and not each["refunded"]
            if each["id"] not in disputed and each["payment_method_details"]["type"] == "card"
        ]
        if fit:
            self.sandbox.open_dispute(fit[at % len(fit)], inquiry=inquiry)

    @rule(
        at=intents,
        evidence=st.sampled_from(
            ["winning_evidence", "losing_evidence", "escalate_inquiry_evidence", "words", ""]
        ),
    )
    def answer_dispute(self, at: int, evidence: str) -> None:
        disputes = self.all("/v1/disputes")
        if not disputes:
            self.write(f"{self.path(at)}/confirm", {"payment_method": "pm_card_createDispute"})
        elif evidence:
            path = f"/v1/disputes/{disputes[at % len(disputes)]['id']}"
            self.write(path, {"evidence[uncategorized_text]": evidence})
        else:
            self.write(f"/v1/disputes/{disputes[at % len(disputes)]['id']}/close", {})

    @rule(at=intents, really=st.sampled_from([False, False, False, True]))
    def cancel(self, at: int, really: bool) -> None:
        if really:  # little happens to an intent afterwards
            self.write(f"{self.path(at)}/cancel", {})

    @rule(at=intents, succeed=st.booleans(), status=st.sampled_from(sorted(TRANSITIONS)))
    def move_at_stripe(self, at: int, succeed: bool, status: str) -> None:
        intent_id = self.intent_id(at)
        if self.statuses[intent_id] == "requires_action":
            self.sandbox.complete_authentication(intent_id, succeed)
        elif status in TRANSITIONS[self.statuses[intent_id]]:
            self.sandbox.advance(intent_id, status)

    @rule(at=intents)
    def repeat(self, at: int) -> None:
        self.sandbox.clear_faults()
        before = self.sandbox.events
        for sent in self.sent[-1 - at :][:1]:
            again = self.post(sent.path, sent.form, sent.key)
            assert (again.status, again.json) == (sent.answer.status, sent.answer.json)
            assert again.headers["idempotent-replayed"] == "true"
        assert self.sandbox.events == before

    @rule(fault=faults)
    def trouble(self, fault: Fault) -> None:
        self.sandbox.inject(fault)

    @rule(
        seconds=st.sampled_from([1, 60, DAY, 5 * DAY, 130 * DAY]),
        up=st.booleans(),
        keys_forgotten=st.booleans(),
    )
    def time_passes(self, seconds: float, up: bool, keys_forgotten: bool) -> None:
        self.sandbox.advance_clock(seconds)
        self.sent = [sent for sent in self.sent if self.sandbox.now - sent.at < DAY]
        if keys_forgotten:
            self.sandbox.forget_idempotency_keys()
            self.sent = []
        self.receiver.answer = 200 if up else 503
        self.sandbox.deliver_due()

    # What has to hold

    @invariant()
    def the_books_are_right(self) -> None:
        intents, events = self.all(INTENTS), self.sandbox.events
        self.statuses_move_along_the_table(intents)
        self.every_effect_has_its_event(intents, events)
        self.no_event_is_without_an_effect(events)
        self.every_event_is_delivered_waits_or_is_lost(events)
        self.money_fits_the_statuses(intents)
        self.money_given_back_was_there()
        for event in events[self.seen_events :]:
            assert answer_problems(event) == []
        self.seen_events = len(events)

    def statuses_move_along_the_table(self, intents: list[Json]) -> None:
        for intent in intents:
            seen = self.statuses.setdefault(intent["id"], intent["status"])
            if seen != intent["status"]:
                assert intent["status"] in TRANSITIONS[seen], (seen, intent["status"])
                self.statuses[intent["id"]] = intent["status"]

    def every_effect_has_its_event(self, intents: list[Json], events: list[Json]) -> None:
        for intent in intents:
            told = [event for event in events if event["data"]["object"]["id"] == intent["id"]]
            assert told, f"nothing was told of {intent['id']}"
            first, *rest = told
            assert first["type"] == "payment_intent.created"
            for event in rest:
                assert event["data"]["object"]["status"] == STATUS_OF_EVENT[event["type"]]
            last = told[-1]["data"]["object"]["status"]
            assert intent["status"] in {last, "requires_confirmation"}

    def no_event_is_without_an_effect(self, events: list[Json]) -> None:
        """Each names the request behind it, and that was answered, or its answer was lost.

        Or it was answered with a 500 that says nothing of the effect.
        """
        answered = {request.request_id: request.status for request in self.sandbox.requests}
        for event in events[self.seen_events :]:
            request_id = event["request"]["id"]
            if request_id is not None and request_id not in self.failed_afterwards:
                assert answered[request_id] in (200, 402, None)
        created = [event["created"] for event in events]
        assert created == sorted(created)
        assert all(moment <= self.sandbox.now for moment in created)

    def money_fits_the_statuses(self, intents: list[Json]) -> None:
        charges = self.all("/v1/charges")
        for intent in intents:
            made = [charge for charge in charges if charge["payment_intent"] == intent["id"]]
            taken = [charge for charge in made if charge["paid"] and charge["captured"]]
            succeeded = intent["status"] == "succeeded"
            held = intent["status"] == "requires_capture"

            assert intent["amount_received"] == sum(charge["amount_captured"] for charge in taken)
            assert len(taken) == (1 if succeeded else 0)
            assert intent["amount_capturable"] == (intent["amount"] if held else 0)
            assert (intent["canceled_at"] is not None) == (intent["status"] == "canceled")
            assert (intent["next_action"] is not None) == (intent["status"] == "requires_action")
            latest = made[0]["id"] if made else None  # lists are newest first
            assert intent["latest_charge"] == latest
            for charge in made:
                assert charge["paid"] == (charge["status"] == "succeeded")
                assert charge["amount_captured"] <= charge["amount"]

    def money_given_back_was_there(self) -> None:
        refunds, disputes = self.all("/v1/refunds"), self.all("/v1/disputes")
        moved = Counter[str]()
        for movement in self.all("/v1/balance_transactions"):
            assert movement["net"] == movement["amount"] - movement["fee"]
            assert movement["fee"] == sum(detail["amount"] for detail in movement["fee_details"])
            waits = movement["available_on"] > self.sandbox.now
            assert movement["status"] == ("pending" if waits else "available")
            moved[movement["source"]] += movement["amount"]
        for charge in self.all("/v1/charges"):
            back = [each for each in refunds if each["charge"] == charge["id"]]
            kept = sum(each["amount"] for each in back if each["status"] not in UNDONE)
            assert charge["amount_refunded"] == kept <= charge["amount_captured"]
            assert charge["refunded"] == (0 < kept == charge["amount_captured"])
            booked = charge["paid"] and charge["balance_transaction"] is not None
            assert moved[charge["id"]] == (charge["amount_captured"] if booked else 0)
            gone = [each for each in disputes if each["charge"] == charge["id"]]
            lost = sum(each["amount"] for each in gone if not is_with_us(each))
            assert kept + lost <= charge["amount_captured"]
        for refund in refunds:
            undone = refund["status"] in UNDONE
            assert moved[refund["id"]] == (0 if undone else -refund["amount"])
        for dispute in disputes:
            assert moved[dispute["id"]] == (0 if is_with_us(dispute) else -dispute["amount"])
            assert {row["source"] for row in dispute["balance_transactions"]} <= {dispute["id"]}

    def every_event_is_delivered_waits_or_is_lost(self, events: list[Json]) -> None:
        left = [*self.sandbox.pending_deliveries, *self.sandbox.lost_deliveries]
        outstanding = Counter(each.event_id for each in left if not each.doubled)
        for event in events:
            assert event["pending_webhooks"] == outstanding[event["id"]] <= 1

    # How

    def path(self, at: int) -> str:
        return f"{INTENTS}/{self.intent_id(at)}"

    def intent_id(self, at: int) -> str:
        return list(self.statuses)[at % len(self.statuses)]

    def all(self, path: str) -> list[Json]:
        headers = {"Authorization": f"Bearer {KEY}"}
        response = self.sandbox.handle("GET", f"{path}?limit=100", headers)
        found: list[Json] = json.loads(response.body)["data"]
        return found

    def everything(self) -> list[list[Json]]:
        kinds = ("payment_intents", "charges", "refunds", "disputes", "balance_transactions")
        return [*(self.all(f"/v1/{kind}") for kind in kinds), self.sandbox.events]

    def write(self, path: str, params: dict[str, str]) -> None:
        """Write as a client does: with a key, and again until there is an answer."""
        form, key = urlencode(params), f"key-{len(self.sandbox.requests)}"
        before = self.everything()
        fails_afterwards = any(fault.kind == "error_after" for fault in self.sandbox.faults)
        sent_before = len(self.sandbox.requests)
        answer = None
        while answer is None:
            try:
                answer = self.post(path, form, key)
            except SandboxConnectionDropped:
                continue
        assert answer_problems(answer.json) == []
        if answer.status in (200, 402, 500):
            self.sent.append(Sent(path, form, key, answer, self.sandbox.now))
        if answer.status == 500 and fails_afterwards:
            self.failed_afterwards |= {
                request.request_id for request in self.sandbox.requests[sent_before:]
            }
        elif answer.status not in (200, 402):
            assert self.everything() == before
        if answer.status == 200:
            assert answer.json in self.all(f"/v1/{answer.json['object']}s")

    def post(self, path: str, form: str, key: str = "") -> Answer:
        headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": key}
        response = self.sandbox.handle("POST", path, headers, form)
        return Answer(response, json.loads(response.body))


def is_with_us(dispute: Json) -> bool:
    """Tell whether the disputed money is on the account."""
    status: str = dispute["status"]
    return status == "won" or status.startswith("warning_")


SandboxMachine.TestCase.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    derandomize=True,  # a run of CI must not depend on the draw
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow],
)
TestSandbox = SandboxMachine.TestCase
