"""What must hold after every step of the machine, whatever went wrong in it, and at the end.

Everything is read from the database and from Stripe's objects. While an answer is lost, our rows
may be older than Stripe; their money is never ahead of it, and what has ended stays.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from django.db.models import Model

from shop_payments import exceptions
from shop_payments.lifecycle import (
    RETURNED_REFUND_STATUSES,
    UPDATABLE_STATUSES,
    DisputeState,
    IntentStatus,
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
    StaffEntry,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.money import minimum_charge
from tests.books import assert_books_agree, assert_mirrors_agree
from tests.oracle import Sums
from tests.reliability.books import MONEY, Books, Ending, Rows, read_rows, subject_of, work_out_rows
from tests.reliability.world import Adapter, Json, World, status_of
from tests.support import assert_state_follows_from_rows, writes

ENDS: dict[type[Model], dict[str, tuple[str, ...]]] = {
    PaymentIntent: {"succeeded": (), "canceled": ()},
    Refund: {"succeeded": ("failed",), "failed": (), "canceled": (), "refused": ()},
}
"""Stripe's final statuses, and where a row may go from there."""

NOTED: dict[type[Model], tuple[str, ...]] = {
    PaymentIntent: ("total_seen", "waived_seen"),
    Refund: ("total_seen", "waived_seen", "kind", "requested_amount"),
    Dispute: ("total_seen", "waived_seen"),
    StaffEntry: ("kind", "amount", "currency", "payment_intent_id", "total_seen", "capture_id"),
}
"""What is noted when something is first seen, and stays."""

DISPATCH = ("dispatched_at", "dispatch_acquired_at", "dispatch_failures")
"""What may change of a fact once it is written."""

HOOKS = (FactKind.PAYMENT_RECEIVED, FactKind.ORDER_PAID, FactKind.ORDER_REFUNDED)
"""Facts of which the adapter is notified, too."""


class Audit:
    """Compare the world with what it was after the last step."""

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
        self._nothing_of_others_is_touched()
        self._money_is_proven()
        self._what_was_noted_stays(before)
        self._the_balance_follows()
        self._what_has_ended_stays(before)
        self._each_move_is_a_fact(before)
        self._no_more_goes_back_than_came(before)
        self._history_only_grows(before)
        self._facts_are_sent_once_and_in_order()
        self._events_are_kept()
        assert_state_follows_from_rows()
        self.world.is_disturbed = False

    def ours(self) -> list[Json]:
        """Return our intents at Stripe."""
        strangers = self.world.strangers
        return [each for each in self.seen.intents.values() if each["id"] not in strangers]

    def _news(self, model: type[Model], before: Rows) -> list[tuple[Json, Json | None]]:
        """Rows that are new or have changed, with what they were."""
        old = before[model]
        return [(row, old.get(pk)) for pk, row in self.rows[model].items() if row != old.get(pk)]

    def _of(self, payment: Json, model: type[Model]) -> list[Json]:
        rows = self.rows[model].values()
        return [row for row in rows if row["order_payment_id"] == payment["pk"]]

    def _payment_of(self, row: Json) -> Json:
        return self.rows[OrderPayment][row["order_payment_id"]]

    # After each step

    def _at_most_one_open_intent(self) -> None:
        """Here by a constraint; at Stripe because nothing is created beside an unknown outcome."""
        rows = self.rows[PaymentIntent].values()
        here = Counter(row["order_payment_id"] for row in rows if is_open(row["status"]))
        open_at_stripe = [each for each in self.ours() if is_open(each["status"])]
        there = Counter(each["metadata"]["order_id"] for each in open_at_stripe)
        assert max([*here.values(), *there.values()], default=1) == 1, (here, there)

    def _one_effect_for_each_key(self) -> None:
        named = [each["metadata"] for each in [*self.ours(), *self.seen.refunds.values()]]
        made = Counter(each["attempt_id"] for each in named if "attempt_id" in each)
        assert all("attempt_id" in each["metadata"] for each in self.ours())
        keys = {str(pk) for pk in self.rows[StripeAttempt]}
        assert made.keys() <= keys, "something was made without an attempt"
        assert max(made.values(), default=1) == 1, made

    def _nothing_of_others_is_touched(self) -> None:
        for stripe_id, was in self.world.strangers.items():
            assert self.seen.intents[stripe_id] == was
        ids = {row["stripe_id"] for row in self.rows[PaymentIntent].values()}
        assert not ids & self.world.strangers.keys()

    def _money_is_proven(self) -> None:
        """Money that has come here has come at Stripe, for this order."""
        for row in self.rows[PaymentIntent].values():
            there = self.seen.intents[row["stripe_id"]]
            assert there["metadata"]["order_id"] == str(self._payment_of(row)["order_id"])
            if row["amount_received"]:
                assert status_of(there) == (IntentStatus.SUCCEEDED, row["amount_received"])
                assert there["currency"] == row["currency"]

    def _what_was_noted_stays(self, before: Rows) -> None:
        """It was right when it was noted, and nothing that happens later changes it."""
        for model, names in NOTED.items():
            for row, was in self._news(model, before):
                if model is PaymentIntent and was is not None and was["total_seen"] is None:
                    continue  # its money was first seen in this step
                if was is not None:
                    changed = [each for each in names if was[each] not in (None, row[each])]
                    assert not changed, (changed, was, row)
                elif model in (Refund, Dispute):
                    self._was_noted_well(row, before)
        for row, was in self._news(PaymentIntent, before):
            assert row["wanted"] or was is None or not was["wanted"], (was, row)
            payment = self._payment_of(row)
            is_seen = row["status"] == IntentStatus.SUCCEEDED and not payment["failed_reads"]
            assert row["wanted"] or not (is_seen and payment["is_payable"]), f"wanted: {row}"

    def _was_noted_well(self, row: Json, before: Rows) -> None:
        """What the order cost when it was seen; nothing if the money does not count."""
        intent, payment = self.rows[PaymentIntent][row["payment_intent_id"]], self._payment_of(row)
        counts = intent["wanted"] and intent["currency"] == payment["currency"]
        if self.world.is_disturbed or payment["failed_reads"]:
            return  # the order may have been changed, or wanted, since; or cannot be read
        assert (row["total_seen"] is not None) == counts, (row, intent)
        if counts:
            was = before[OrderPayment].get(payment["pk"], payment)
            now = Order.objects.get(pk=payment["order_id"]).amount
            assert row["total_seen"] in (now, was["total"]), (row, now, was)

    def _the_balance_follows(self) -> None:
        """The balance of each order that could be read is what the oracle works out."""
        for payment in self.rows[OrderPayment].values():
            if payment["failed_reads"] or payment["total"] is None:
                continue
            sums = work_out_rows(payment, self.rows)
            due = sums.columns()
            wrong = {name: payment[name] for name in due if payment[name] != due[name]}
            assert not wrong, f"order {payment['order_id']}: {wrong}, and should be {due}"
            self._asks_for_attention(payment, sums, ("excess", "uncounted"))

    def _asks_for_attention(self, payment: Json, sums: Sums, reasons: tuple[str, ...]) -> None:
        """Review items are open for the causes that are there, and for no others.

        One that staff have closed stays closed for as long as its amount does not change.
        """
        intents = self.rows[PaymentIntent]
        items = {
            (item["reason"], intents[item["payment_intent_id"]]["stripe_id"]): item
            for item in self._of(payment, ReviewItem)
            if item["reason"] in reasons
        }
        causes = {"excess": sums.excess, "uncounted": sums.uncounted}
        causes["waived_received"] = sums.waived_and_received
        due = {(reason, pk): money for reason in reasons for pk, money in causes[reason].items()}
        for key, item in items.items():
            if item["closed_at"] is None:
                assert due.get(key) == item["data"]["amount"], (key, due, item)
        for key, money in due.items():
            assert key in items, f"nobody is asked about {key}: {money}"
            item = items[key]
            by_staff = item["closed_at"] is not None and not item["closed_automatically"]
            assert item["closed_at"] is None or (by_staff and item["data"]["amount"] == money)

    def _what_has_ended_stays(self, before: Rows) -> None:
        for model, ends in ENDS.items():
            for row, was in self._news(model, before):
                if was is not None and was["status"] in ends:
                    assert row["status"] in {was["status"], *ends[was["status"]]}, (was, row)

    def _each_move_is_a_fact(self, before: Rows) -> None:
        """Of its object, in this step."""
        history = self.rows[PaymentHistory].items()
        facts = [row for pk, row in history if pk not in before[PaymentHistory]]
        named: list[tuple[type[Model], str, set[Any]]] = [
            (PaymentIntent, "pk", {str(fact["payment_intent_id"]) for fact in facts}),
            (Refund, "pk", {fact["data"].get("refund_id") for fact in facts}),
            (Dispute, "stripe_id", {fact["data"].get("stripe_dispute_id") for fact in facts}),
        ]
        for model, name, noted in named:
            for row, was in self._news(model, before):
                if self._payment_of(row)["failed_reads"]:
                    continue  # the fact follows when the order can be read
                if was is None or was["status"] != row["status"]:
                    assert str(row[name]) in noted, f"no fact says so: {was} -> {row}"

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
        """What is refunded was neither back, nor on its way, nor with the bank."""

        def of_intent(model: type[Model]) -> list[Json]:
            found = before[model].values()
            return [row for row in found if row["payment_intent_id"] == intent["pk"]]

        states = [(dispute_state(row["status"]), row["amount"]) for row in of_intent(Dispute)]
        assert DisputeState.OPEN not in dict(states), "money that a bank holds was refunded"
        refunds = [*of_intent(Refund), *new]
        taken = [
            *(amount for state, amount in states if state == DisputeState.LOST),
            *(r["amount"] for r in refunds if r["status"] not in RETURNED_REFUND_STATUSES),
            *(
                row["amount"]
                for row in of_intent(StaffEntry)
                if row["kind"] == StaffEntry.Kind.SETTLEMENT and row["revoked_at"] is None
            ),
        ]
        assert sum(taken) <= intent["amount_received"], (new, taken, intent)
        assert {row["currency"] for row in new} == {intent["currency"]}

    def _history_only_grows(self, before: Rows) -> None:
        for pk, was in before[PaymentHistory].items():
            row = self.rows[PaymentHistory][pk]
            assert {**row, **dict.fromkeys(DISPATCH)} == {**was, **dict.fromkeys(DISPATCH)}
            assert was["dispatched_at"] in (None, row["dispatched_at"])
            assert was["dispatch_failures"] <= row["dispatch_failures"]

    def _facts_are_sent_once_and_in_order(self) -> None:
        """A later fact of a payment waits for an earlier one."""
        facts = sorted(self.rows[PaymentHistory].values(), key=lambda each: each["pk"])
        waiting: dict[Any, Json] = {}
        for fact in facts:
            sent = self.world.notified[fact["fact_id"]]
            assert sent == (1 if fact["dispatched_at"] else 0), (fact, sent)
            assert fact["needs_dispatch"] or not sent
            if fact["kind"] in HOOKS and sent:
                assert Adapter.notified[fact["fact_id"]], f"the adapter was not notified: {fact}"
            earlier = waiting.get(fact["order_payment_id"])
            if fact["dispatched_at"]:
                assert earlier is None, f"{fact} was sent before {earlier}"
            elif fact["needs_dispatch"]:
                waiting.setdefault(fact["order_payment_id"], fact)
        found = Counter(key for fact in facts if (key := subject_of(fact)) is not None)
        assert max(found.values(), default=1) == 1, found

    def _events_are_kept(self) -> None:
        """All that were signed; and those that fail do so for a reason."""
        kept = {event["event_id"] for event in self.rows[WebhookEvent].values()}
        assert self.world.taken <= kept <= {event["id"] for event in self.world.stripe.events}
        for event in self.rows[WebhookEvent].values():
            if event["status"] == WebhookEvent.Status.FAILED:
                outcome = event["outcome_data"]
                assert hasattr(exceptions, outcome["error"]), outcome
            assert event["status"] != WebhookEvent.Status.SET_ASIDE or event["attempts"] >= 20

    # What an order comes to

    def sums_of(self, order: Order) -> Sums | None:
        """Work out an order as it is, by our rows as they are.

        None if there was no attempt to pay, or if it cannot be read.
        """
        rows = read_rows((OrderPayment, *MONEY))
        payments = rows[OrderPayment].values()
        payment = next((each for each in payments if each["order_id"] == order.pk), None)
        if payment is None or self.is_unreadable(payment, rows):
            return None
        return work_out_rows(payment, rows, order)

    def is_unreadable(self, payment: Json, rows: Rows | None = None) -> bool:
        """Whether the order has another currency than the money that counts for it."""
        order = Order.objects.get(pk=payment["order_id"])
        counted = {
            row["currency"]
            for row in (rows or self.rows)[PaymentIntent].values()
            if row["order_payment_id"] == payment["pk"] and row["wanted"]
        } & {payment["currency"]}
        return bool(counted) and order.currency not in counted

    # At the end

    def _books(self, payment: Json) -> Books:
        order = Order.objects.get(pk=payment["order_id"])
        return Books(self.world.stripe, Ending(order=order), intents=self.ours())

    def nothing_is_lost(self) -> None:
        """Check that one sweep has seen all money, and what has become of it."""
        assert_mirrors_agree(self.world.stripe)
        for payment in self.rows[OrderPayment].values():
            books = self._books(payment)
            assert not payment["failed_reads"]
            assert not (damage := books.balance_damage(books.sums(as_it_is=False))), damage

    def close(self, sweep: Callable[[], str]) -> None:
        """Raise AssertionError for what is lost, doubled or left over; ``sweep`` sweeps once."""
        self.check()
        assert_books_agree(self.world.stripe)
        for payment in self.rows[OrderPayment].values():
            assert not (damage := self._books(payment).damage(finished=True, done=False)), damage
        assert not PaymentHistory.objects.undispatched().exists()
        assert not WebhookEvent.objects.exclude(status__in=WebhookEvent.SUCCESSES).exists()
        cancelled = Order.objects.filter(status=Order.Status.CANCELLED)
        orders = {str(pk) for pk in cancelled.values_list("pk", flat=True)}
        payable = [each for each in self.ours() if each["status"] in UPDATABLE_STATUSES]
        assert not orders & {each["metadata"]["order_id"] for each in payable}
        before = writes(self.world.stripe), read_rows()
        said = sweep()
        assert (writes(self.world.stripe), read_rows()) == before, said
        assert "Brought up to date: nothing." in said
        assert "Staff or developers should look" not in said

    def compare_with_orders(self) -> None:
        """Compare each order, as it is now, with what Stripe's objects come to."""
        for payment in self.rows[OrderPayment].values():
            books = self._books(payment)
            assert not payment["failed_reads"]
            assert not (damage := books.damage(finished=True)), damage
            sums = books.sums(as_it_is=True)
            assert not (damage := books.balance_damage(sums)), damage
            self._asks_for_attention(payment, sums, ("excess", "uncounted", "waived_received"))
            self._asks_about_a_rest(payment, sums)
            may_be_too_much = payment["order_id"] in self.world.changed or any(
                [
                    *(r["status"] in RETURNED_REFUND_STATUSES for r in self._of(payment, Refund)),
                    *(row["status"] == "won" for row in self._of(payment, Dispute)),
                    *(row["revoked_at"] is not None for row in self._of(payment, StaffEntry)),
                ]
            )
            assert may_be_too_much or not sums.excess, f"charged for what was there: {sums}"

    def _asks_about_a_rest(self, payment: Json, sums: Sums) -> None:
        items = self._of(payment, ReviewItem)
        least = minimum_charge(payment["currency"])
        # What is on its way out is not asked about: it may come back.
        missing = min(sums.owed, payment["total"] - sums.waived - sums.there)
        is_left = sums.covered_by > 0 and missing > 0
        unwanted = is_left and not payment["is_payable"] and sums.status == "partially_paid"
        too_small = is_left and 0 < sums.asks < least
        for reason, due in (("rest_owed", unwanted), ("rest_too_small", too_small)):
            # An item is about the newest payment, so there may be one of an older payment as well.
            found = [item for item in items if item["reason"] == reason]
            is_open = [item["closed_at"] is None for item in found]
            if due:
                asked = [item for item in found if item["data"]["amount"] == missing]
                assert asked, f"nobody is asked about {reason}: {found}"
                assert any(
                    item["closed_at"] is None or not item["closed_automatically"] for item in asked
                ), asked
                assert sum(is_open) <= 1, found
            else:
                assert not any(is_open), found
