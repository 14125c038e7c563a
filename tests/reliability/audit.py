"""What has to hold after every step, whatever went wrong in it, and at the end.

Everything is read from the database and from Stripe's books. While an answer is lost, our rows may
lag behind Stripe; they never run ahead of it, never go back, and never say what Stripe has not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from django.db.models import Model

from shop_payments import exceptions
from shop_payments.lifecycle import (
    FINAL_STATUSES,
    RETURNED_REFUND_STATUSES,
    UPDATABLE_STATUSES,
    DisputeState,
    IntentStatus,
    RefundStatus,
    Verdict,
    dispute_state,
    is_open,
)
from shop_payments.models import (
    Dispute,
    FactKind,
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    StripeAttempt,
    WebhookEvent,
)
from tests.after_paid.support import assert_books_agree, assert_mirrors_agree
from tests.reliability.books import subject_of
from tests.reliability.world import Adapter, Json, World, status_of
from tests.support import assert_state_follows_from_rows, writes

MODELS: tuple[type[Model], ...] = (
    OrderPayment,
    PaymentIntent,
    Refund,
    Dispute,
    StripeAttempt,
    WebhookEvent,
    ReviewItem,
    PaymentHistory,
)
Rows = dict[type[Model], dict[Any, Json]]

ENDS: dict[type[Model], dict[str, tuple[str, ...]]] = {
    PaymentIntent: {"succeeded": (), "canceled": ()},
    Refund: {"succeeded": ("failed",), "failed": (), "canceled": (), "refused": ()},
}
"""Stripe's final statuses, and where a row may go from there."""

DISPATCH = ("dispatched_at", "dispatch_claimed_at")
"""What may change of a fact, once it is written."""


def read_rows() -> Rows:
    """Every row that a payment has."""
    return {
        model: {row["pk"]: row for row in model._default_manager.values("pk", *_columns(model))}
        for model in MODELS
    }


def _columns(model: type[Model]) -> list[str]:
    names = [field.attname for field in model._meta.concrete_fields]
    return [name for name in names if name != "payload"]  # never changes, and is large


class Audit:
    """Compares the world with what it was after the last step."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rows, self.seen = read_rows(), world.look()

    def check(self) -> None:
        """Raise AssertionError, or what was raised where it was hidden."""
        if self.world.bugs:
            raise self.world.bugs[0]
        before, self.rows = self.rows, read_rows()
        self.seen = self.world.look()
        self._at_most_one_open_intent()
        self._one_effect_for_each_key()
        self._what_is_not_ours_is_left_alone()
        self._paid_on_proof(before)
        self._rows_say_what_stripe_has_said(before)
        self._no_row_leaves_its_end(before)
        self._each_move_is_a_fact(before)
        self._no_more_goes_back_than_came(before)
        self._history_only_grows(before)
        self._facts_are_told_once()
        self._events_are_kept()
        self._no_secret_is_stored(before)
        assert_state_follows_from_rows()
        self.world.answered.clear()
        self.world.is_disturbed = False

    # Rows and objects

    def ours(self) -> list[Json]:
        """Our intents at Stripe."""
        strangers = self.world.strangers
        return [each for each in self.seen.intents.values() if each["id"] not in strangers]

    def _news(self, model: type[Model], before: Rows) -> list[tuple[Json, Json | None]]:
        """The rows that are new or have changed, with what they were."""
        old = before[model]
        return [(row, old.get(pk)) for pk, row in self.rows[model].items() if row != old.get(pk)]

    def _stripe(self, model: type[Model]) -> dict[str, Json]:
        kinds = {PaymentIntent: "intents", Refund: "refunds", Dispute: "disputes"}
        found: dict[str, Json] = getattr(self.seen, kinds[model])
        return found

    # What has to hold

    def _at_most_one_open_intent(self) -> None:
        """Here by a constraint; at Stripe too, for nothing is created beside an unknown outcome."""
        here = Counter(
            row["order_payment_id"]
            for row in self.rows[PaymentIntent].values()
            if is_open(row["status"])
        )
        there = Counter(
            each["metadata"]["order_id"] for each in self.ours() if is_open(each["status"])
        )
        assert not [count for count in [*here.values(), *there.values()] if count > 1], (
            here,
            there,
        )
        paid = {
            str(self.rows[OrderPayment][row["order_payment_id"]]["order_id"])
            for row in self.rows[PaymentIntent].values()
            if row["verdict"] == Verdict.ACCEPTED
        }
        assert not paid & there.keys(), "an intent is open beside the one that has paid"

    def _one_effect_for_each_key(self) -> None:
        made = Counter(each["metadata"]["attempt_id"] for each in self.ours())
        made.update(
            each["metadata"]["attempt_id"]
            for each in self.seen.refunds.values()
            if "attempt_id" in each["metadata"]
        )
        keys = {str(pk) for pk in self.rows[StripeAttempt]}
        assert made.keys() <= keys, "something was made without an attempt"
        assert not [key for key, count in made.items() if count > 1], made

    def _what_is_not_ours_is_left_alone(self) -> None:
        for stripe_id, was in self.world.strangers.items():
            assert self.seen.intents[stripe_id] == was
        ids = {row["stripe_id"] for row in self.rows[PaymentIntent].values()}
        assert not ids & self.world.strangers.keys()

    def _paid_on_proof(self, before: Rows) -> None:
        """By an intent that has succeeded and fits the order as it was when that was seen."""
        for row in self.rows[PaymentIntent].values():
            there = self.seen.intents[row["stripe_id"]]
            payment = self.rows[OrderPayment][row["order_payment_id"]]
            assert there["metadata"]["order_id"] == str(payment["order_id"])
            if not row["verdict"]:
                continue
            assert status_of(there) == (IntentStatus.SUCCEEDED, row["amount_received"])
            assert there["currency"] == row["currency"]
            was = before[PaymentIntent].get(row["pk"])
            if was is None or was["verdict"] != row["verdict"]:
                self._judged_well(row, payment)

    def _judged_well(self, row: Json, payment: Json) -> None:
        order = Order.objects.get(pk=payment["order_id"])
        another = any(
            other["verdict"] == Verdict.ACCEPTED
            for other in self.rows[PaymentIntent].values()
            if other["order_payment_id"] == payment["pk"] and other["pk"] != row["pk"]
        )
        due = (order.amount, order.currency)
        captures = [
            attempt["outcome"]
            for attempt in self.rows[StripeAttempt].values()
            if attempt["target"] == row["stripe_id"]
            and attempt["operation"] == StripeAttempt.Operation.CAPTURE_INTENT
            and attempt["params"].get("amount_to_capture") == row["amount_received"]
        ]
        if (row["amount"], row["currency"]) != due:
            captures = []
        if captures and {*captures} == {StripeAttempt.Outcome.FAILED}:
            return  # the dashboard was quicker with as much; nobody knew while it was sent
        fits = (row["amount_received"], row["currency"]) == due or bool(captures)
        wanted = order.status == Order.Status.OPEN
        accepted = row["verdict"] == Verdict.ACCEPTED
        assert accepted == (fits and wanted and not another), (row["verdict"], due, row, wanted)

    def _rows_say_what_stripe_has_said(self, before: Rows) -> None:
        """A row moves only to what an answer has just said, or to what can never change."""
        for model in (PaymentIntent, Refund, Dispute):
            for row, was in self._news(model, before):
                stripe_id, status = row["stripe_id"], status_of(row)
                if not stripe_id or (was and status_of(was) == status):
                    continue
                said = self.world.answered[stripe_id]
                if status in said:
                    newest = max(said, key=lambda each: said[each])
                    assert status == newest, f"{row} is older than {newest}"
                    continue
                if model is PaymentIntent and status[0] in FINAL_STATUSES:
                    assert status == status_of(self.seen.intents[stripe_id])
                    continue
                # A repeated answer may be old: it says that there is something, and a look follows.
                is_new = was is None or not was["stripe_id"]
                assert is_new, (model, was, row)
                assert model is not Dispute, row

    def _no_row_leaves_its_end(self, before: Rows) -> None:
        for model, leads_to in ENDS.items():
            for row, was in self._news(model, before):
                if was is not None and was["status"] in leads_to:
                    assert row["status"] in {was["status"], *leads_to[was["status"]]}, (was, row)

    def _each_move_is_a_fact(self, before: Rows) -> None:
        """Of its object, in this step."""
        old = before[PaymentHistory]
        facts = [row for pk, row in self.rows[PaymentHistory].items() if pk not in old]
        named: dict[type[Model], Callable[[Json], tuple[Any, Any]]] = {
            PaymentIntent: lambda row: (row["pk"], [fact["payment_intent_id"] for fact in facts]),
            Refund: lambda row: (str(row["pk"]), [e["data"].get("refund_id") for e in facts]),
            Dispute: lambda row: (
                row["stripe_id"],
                [fact["data"].get("stripe_dispute_id") for fact in facts],
            ),
        }
        for model, find in named.items():
            for row, was in self._news(model, before):
                subject, told_of = find(row)
                if was is None or was["status"] != row["status"]:
                    assert subject in told_of, f"no fact says so: {was} -> {row}"

    def _no_more_goes_back_than_came(self, before: Rows) -> None:
        for each in self.ours():
            back = [
                refund["amount"]
                for refund in self.seen.refunds.values()
                if refund["payment_intent"] == each["id"]
                and refund["status"] not in RETURNED_REFUND_STATUSES
            ]
            assert sum(back) <= each["amount_received"]
        new = defaultdict(list)
        for row, was in self._news(Refund, before):
            if was is None and row["attempt_id"] is not None:
                new[row["payment_intent_id"]].append(row)
        for intent_pk, refunds in new.items():
            self._was_left(self.rows[PaymentIntent][intent_pk], refunds, before)

    def _was_left(self, intent: Json, new: list[Json], before: Rows) -> None:
        """What is asked back was neither back, nor on its way, nor with the bank."""

        def of_intent(model: type[Model]) -> list[Json]:
            found = before[model].values()
            return [row for row in found if row["payment_intent_id"] == intent["pk"]]

        states = [(dispute_state(row["status"]), row["amount"]) for row in of_intent(Dispute)]
        assert DisputeState.OPEN not in dict(states), "money that a bank holds was asked for"
        taken = sum(amount for state, amount in states if state == DisputeState.LOST) + sum(
            row["amount"]
            for row in [*of_intent(Refund), *new]
            if row["status"] not in RETURNED_REFUND_STATUSES
        )
        assert taken <= intent["amount_received"], (new, taken, intent)
        assert {row["currency"] for row in new} == {intent["currency"]}

    def _history_only_grows(self, before: Rows) -> None:
        for pk, was in before[PaymentHistory].items():
            row = self.rows[PaymentHistory][pk]
            assert {**row, **dict.fromkeys(DISPATCH)} == {**was, **dict.fromkeys(DISPATCH)}
            assert was["dispatched_at"] in (None, row["dispatched_at"])

    def _facts_are_told_once(self) -> None:
        facts = list(self.rows[PaymentHistory].values())
        for fact in facts:
            told = self.world.told[fact["fact_id"]]
            assert told == (1 if fact["dispatched_at"] else 0), (fact, told)
            assert fact["needs_dispatch"] or not told
            if fact["kind"] in (FactKind.ORDER_PAID, FactKind.ORDER_REFUNDED) and told:
                assert Adapter.told[fact["fact_id"]], f"the adapter was not told: {fact}"
        found = Counter(key for fact in facts if (key := subject_of(fact)) is not None)
        assert not [key for key, count in found.items() if count > 1], found

    def _events_are_kept(self) -> None:
        """All that were signed; and those that fail do so for a reason."""
        kept = {event["event_id"] for event in self.rows[WebhookEvent].values()}
        assert self.world.taken <= kept <= {event["id"] for event in self.world.stripe.events}
        for event in self.rows[WebhookEvent].values():
            if event["status"] == WebhookEvent.Status.FAILED:
                name = event["outcome"].partition(":")[0]
                assert hasattr(exceptions, name) or name == "EventFailed", event["outcome"]
            assert event["status"] != WebhookEvent.Status.SET_ASIDE or event["attempts"] >= 20

    def _no_secret_is_stored(self, before: Rows) -> None:
        for model in MODELS:
            for row, _was in self._news(model, before):
                assert "_secret_" not in repr(row), model
        new = self.rows[WebhookEvent].keys() - before[WebhookEvent].keys()
        for event in WebhookEvent.objects.filter(pk__in=new):
            assert "_secret_" not in repr(event.payload)

    # What has to hold once everybody has heard of everything

    def nothing_is_lost(self) -> None:
        """One sweep is enough to see all money, and what has become of it."""
        assert_mirrors_agree(self.world.stripe)
        self._all_money_is_judged()

    def close(self, sweep: Any) -> None:
        """Raise AssertionError for what is lost, doubled or left over; ``sweep`` sweeps once."""
        self.check()
        assert_books_agree(self.world.stripe)
        self._nothing_is_left_over()
        self._nobody_pays_for_what_is_cancelled()
        self._all_money_is_judged()
        self._all_facts_are_there()
        sent, rows = writes(self.world.stripe), read_rows()
        said = sweep()
        assert (writes(self.world.stripe), read_rows()) == (sent, rows), said
        assert "Brought up to date: nothing." in said
        assert "Somebody should look" not in said

    def _nothing_is_left_over(self) -> None:
        assert not StripeAttempt.objects.pending().exists()
        assert not Refund.objects.filter(status=RefundStatus.REQUESTED).exists()
        assert not PaymentHistory.objects.undispatched().exists()
        assert not WebhookEvent.objects.exclude(status__in=WebhookEvent.SUCCESSES).exists()
        assert not OrderPayment.objects.filter(cancel_requested_at__isnull=False).exists()

    def _nobody_pays_for_what_is_cancelled(self) -> None:
        cancelled = Order.objects.filter(status=Order.Status.CANCELLED)
        orders = {str(pk) for pk in cancelled.values_list("pk", flat=True)}
        payable = [each for each in self.ours() if each["status"] in UPDATABLE_STATUSES]
        assert not orders & {each["metadata"]["order_id"] for each in payable}

    def _all_money_is_judged(self) -> None:
        rows = {row["stripe_id"]: row for row in self.rows[PaymentIntent].values()}
        reviews = {
            (item["payment_intent_id"], item["reason"]) for item in self.rows[ReviewItem].values()
        }
        for each in self.ours():
            if each["status"] == IntentStatus.SUCCEEDED:
                row = rows[each["id"]]
                accepted = row["verdict"] == Verdict.ACCEPTED
                assert row["verdict"]
                assert accepted or (row["pk"], row["verdict"]) in reviews

    def _all_facts_are_there(self) -> None:
        """One for each thing that has happened."""
        intents = self.rows[PaymentIntent]
        paid = {pk for pk, row in intents.items() if row["verdict"] == Verdict.ACCEPTED}
        refunds = list(self.rows[Refund].values())
        disputes = list(self.rows[Dispute].values())
        expected = Counter(
            {
                FactKind.ORDER_PAID: len(paid),
                FactKind.INTENT_CREATED: len(intents),
                FactKind.DISPUTE_OPENED: len(disputes),
                FactKind.REFUND_FAILED: sum(
                    row["status"] == RefundStatus.FAILED for row in refunds
                ),
            }
        )
        found = Counter(fact["kind"] for fact in self.rows[PaymentHistory].values())
        assert {kind: found[kind] for kind in expected} == dict(expected)
        back = {
            row["stripe_id"]
            for row in refunds
            if row["status"] == RefundStatus.SUCCEEDED and row["payment_intent_id"] in paid
        }
        told = {
            fact["data"]["stripe_refund_id"]
            for fact in self.rows[PaymentHistory].values()
            if fact["kind"] == FactKind.ORDER_REFUNDED
        }
        assert back <= told  # one that has failed since was told, too
        failed = sum(
            event["type"] == "payment_intent.payment_failed" for event in self.world.stripe.events
        )
        assert found[FactKind.PAYMENT_FAILED] <= failed
