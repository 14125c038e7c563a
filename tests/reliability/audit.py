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
from tests.after_paid.support import assert_books_agree, assert_mirrors_agree
from tests.oracle import Sums, work_out
from tests.reliability.books import subject_of
from tests.reliability.observed import MONEY, as_it_is, columns, known_here, known_to_stripe
from tests.reliability.world import Adapter, Json, World, status_of
from tests.support import assert_state_follows_from_rows, writes

MODELS: tuple[type[Model], ...] = (
    OrderPayment,
    PaymentIntent,
    Refund,
    Dispute,
    StaffEntry,
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

NOTED: dict[type[Model], tuple[str, ...]] = {
    PaymentIntent: ("total_seen", "waived_seen"),
    Refund: ("total_seen", "waived_seen", "kind", "requested_amount"),
    Dispute: ("total_seen", "waived_seen"),
    StaffEntry: ("kind", "amount", "currency", "payment_intent_id", "total_seen", "capture_id"),
}
"""What is noted when something is first seen, and stays."""

DISPATCH = ("dispatched_at", "dispatch_acquired_at", "dispatch_failures")
"""What may change of a fact, once it is written."""


def read_rows(models: tuple[type[Model], ...] = MODELS) -> Rows:
    """Every row that a payment has."""
    return {
        model: {row["pk"]: row for row in model._default_manager.values("pk", *columns(model))}
        for model in models
    }


HOOKS = (FactKind.PAYMENT_RECEIVED, FactKind.ORDER_PAID, FactKind.ORDER_REFUNDED)
"""Of which the adapter hears, too."""


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
        self._money_is_as_proven()
        self._what_was_noted_stays(before)
        self._the_balance_follows(before)
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

    def _money_is_as_proven(self) -> None:
        """What has come here has come at Stripe, for this order."""
        for row in self.rows[PaymentIntent].values():
            there = self.seen.intents[row["stripe_id"]]
            payment = self.rows[OrderPayment][row["order_payment_id"]]
            assert there["metadata"]["order_id"] == str(payment["order_id"])
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
            payment = self.rows[OrderPayment][row["order_payment_id"]]
            is_seen = row["status"] == IntentStatus.SUCCEEDED and not payment["failed_reads"]
            wanted = payment["is_payable"]
            assert row["wanted"] or not (is_seen and wanted), f"the shop wanted it: {row}"

    def _was_noted_well(self, row: Json, before: Rows) -> None:
        """What the order cost when the refund or dispute was seen; nothing if its money counts for
        nothing."""
        intent = self.rows[PaymentIntent][row["payment_intent_id"]]
        payment = self.rows[OrderPayment][row["order_payment_id"]]
        counts = intent["wanted"] and intent["currency"] == payment["currency"]
        if self.world.is_disturbed or payment["failed_reads"]:
            return  # the order may have been changed, or wanted, since; or cannot be read
        assert (row["total_seen"] is not None) == counts, (row, intent)
        if counts:
            was = before[OrderPayment].get(payment["pk"], payment)
            now = Order.objects.get(pk=payment["order_id"]).amount
            assert row["total_seen"] in (now, was["total"]), (row, now, was)

    def _the_balance_follows(self, before: Rows) -> None:
        """Of each order that could be read: what is stored is what the oracle works out."""
        for payment in self.rows[OrderPayment].values():
            if payment["failed_reads"] or payment["total"] is None:
                continue
            sums = work_out(known_here(payment, self.rows))
            self._is_stored(payment, sums)
            self._asks_for_attention(payment, sums, ("excess", "uncounted"))

    def _is_stored(self, payment: Json, sums: Sums) -> None:
        due = sums.columns()
        wrong = {name: payment[name] for name in due if payment[name] != due[name]}
        assert not wrong, f"order {payment['order_id']}: {wrong}, and should be {due}"

    def _asks_for_attention(self, payment: Json, sums: Sums, reasons: tuple[str, ...]) -> None:
        """Review items are open for the causes that are there, and for no others.

        Staff may have closed one: it stays closed for as long as its amount does not change.
        """
        stripe_ids = {row["pk"]: row["stripe_id"] for row in self.rows[PaymentIntent].values()}
        items = {
            (item["reason"], stripe_ids[item["payment_intent_id"]]): item
            for item in self.rows[ReviewItem].values()
            if item["order_payment_id"] == payment["pk"] and item["reason"] in reasons
        }
        causes = {
            "excess": sums.excess,
            "uncounted": sums.uncounted,
            "waived_received": sums.waived_and_received,
        }
        due = {
            (reason, stripe_id): money
            for reason in reasons
            for stripe_id, money in causes[reason].items()
        }
        for key, item in items.items():
            if item["closed_at"] is None:
                assert due.get(key) == item["data"]["amount"], (key, due, item)
        for key, money in due.items():
            assert key in items, f"nobody is asked about {key}: {money}"
            item = items[key]
            by_staff = item["closed_at"] is not None and not item["closed_itself"]
            assert item["closed_at"] is None or (by_staff and item["data"]["amount"] == money)

    # What an order comes to

    def sums_of(self, order: Order) -> Sums | None:
        """Work out an order as it is, by our rows as they are; None where nothing was ever tried,
        or it cannot be read."""
        rows = read_rows((OrderPayment, *MONEY))
        payments = rows[OrderPayment].values()
        payment = next((each for each in payments if each["order_id"] == order.pk), None)
        if payment is None or self.is_unreadable(payment, rows):
            return None
        now = as_it_is(payment, order)
        intents = {
            pk: {**row, "wanted": row["wanted"] or (now["is_payable"] and _has_come(row))}
            for pk, row in rows[PaymentIntent].items()
        }
        return work_out(known_here(now, {**rows, PaymentIntent: intents}))

    def is_unreadable(self, payment: Json, rows: Rows | None = None) -> bool:
        """Whether the order has another currency by now than the money that counts for it."""
        order = Order.objects.get(pk=payment["order_id"])
        counted = {
            row["currency"]
            for row in (rows or self.rows)[PaymentIntent].values()
            if row["order_payment_id"] == payment["pk"] and row["wanted"]
        } & {payment["currency"]}
        return bool(counted) and order.currency not in counted

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
                if self.rows[OrderPayment][row["order_payment_id"]]["failed_reads"]:
                    continue  # what it means is said when the order can be read
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
        taken += sum(
            row["amount"]
            for row in of_intent(StaffEntry)
            if row["kind"] == StaffEntry.Kind.SETTLEMENT and row["revoked_at"] is None
        )
        assert taken <= intent["amount_received"], (new, taken, intent)
        assert {row["currency"] for row in new} == {intent["currency"]}

    def _history_only_grows(self, before: Rows) -> None:
        for pk, was in before[PaymentHistory].items():
            row = self.rows[PaymentHistory][pk]
            assert {**row, **dict.fromkeys(DISPATCH)} == {**was, **dict.fromkeys(DISPATCH)}
            assert was["dispatched_at"] in (None, row["dispatched_at"])
            assert was["dispatch_failures"] <= row["dispatch_failures"]

    def _facts_are_told_once(self) -> None:
        facts = list(self.rows[PaymentHistory].values())
        for fact in facts:
            told = self.world.told[fact["fact_id"]]
            assert told == (1 if fact["dispatched_at"] else 0), (fact, told)
            assert fact["needs_dispatch"] or not told
            if fact["kind"] in HOOKS and told:
                assert Adapter.told[fact["fact_id"]], f"the adapter was not told: {fact}"
        self._facts_are_told_in_order(facts)
        found = Counter(key for fact in facts if (key := subject_of(fact)) is not None)
        assert not [key for key, count in found.items() if count > 1], found

    def _facts_are_told_in_order(self, facts: list[Json]) -> None:
        """A later fact of a payment waits for an earlier one."""
        waiting: dict[Any, Json] = {}
        for fact in sorted(facts, key=lambda each: each["pk"]):
            earlier = waiting.get(fact["order_payment_id"])
            if fact["dispatched_at"]:
                assert earlier is None, f"{fact} was told before {earlier}"
            elif fact["needs_dispatch"]:
                waiting.setdefault(fact["order_payment_id"], fact)

    def _events_are_kept(self) -> None:
        """All that were signed; and those that fail do so for a reason."""
        kept = {event["event_id"] for event in self.rows[WebhookEvent].values()}
        assert self.world.taken <= kept <= {event["id"] for event in self.world.stripe.events}
        for event in self.rows[WebhookEvent].values():
            if event["status"] == WebhookEvent.Status.FAILED:
                name = event["outcome"].partition(":")[0]
                assert hasattr(exceptions, name), event["outcome"]
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
        self.compare_with_stripe(as_it_is=False)

    def compare_with_stripe(self, *, as_it_is: bool) -> None:
        """Compare each order with what Stripe's objects come to, and the order ``as_it_is``."""
        refunds, disputes = self.seen.refunds.values(), self.seen.disputes.values()
        for payment in self.rows[OrderPayment].values():
            order = Order.objects.get(pk=payment["order_id"])
            mine = [each for each in self.ours() if each["metadata"]["order_id"] == str(order.pk)]
            known = known_to_stripe(
                self.world.stripe,
                payment,
                self.rows,
                intents=mine,
                refunds=refunds,
                disputes=disputes,
                order=order if as_it_is else None,
            )
            sums = work_out(known)
            assert not payment["failed_reads"]
            self._is_stored(payment, sums)
            if as_it_is:
                self._asks_for_attention(payment, sums, ("excess", "uncounted", "waived_received"))
                self._asks_about_a_rest(payment, sums)
                self._asks_nobody_for_too_much(mine, sums)
                quiet = order.pk not in self.world.changed and not self._has_come_back(payment)
                assert not (quiet and sums.excess), f"charged for what was there: {sums}"

    def _has_come_back(self, payment: Json) -> bool:
        """Whether money that was gone is there again."""
        returned = [
            *(row["status"] in RETURNED_REFUND_STATUSES for row in self._of(payment, Refund)),
            *(row["status"] == "won" for row in self._of(payment, Dispute)),
            *(row["revoked_at"] is not None for row in self._of(payment, StaffEntry)),
        ]
        return any(returned)

    def _of(self, payment: Json, model: type[Model]) -> list[Json]:
        rows = self.rows[model].values()
        return [row for row in rows if row["order_payment_id"] == payment["pk"]]

    def _asks_about_a_rest(self, payment: Json, sums: Sums) -> None:
        items = {item["reason"]: item for item in self._of(payment, ReviewItem)}
        least = minimum_charge(payment["currency"])
        is_left = sums.covered_by > 0 and sums.owed > 0
        unwanted = is_left and not payment["is_payable"] and sums.status == "partially_paid"
        too_small = is_left and 0 < sums.asks < least
        for reason, due in (("rest_owed", unwanted), ("rest_too_small", too_small)):
            item = items.get(reason)
            if due:
                assert item is not None, f"nobody is asked about {reason}"
                assert item["closed_at"] is None or not item["closed_itself"], item
            else:
                assert item is None or item["closed_at"] is not None, item

    def _asks_nobody_for_too_much(self, intents: list[Json], sums: Sums) -> None:
        asked = [each["amount"] for each in intents if each["status"] in UPDATABLE_STATUSES]
        assert all(amount <= sums.outstanding for amount in asked), (asked, sums)

    def close(self, sweep: Any) -> None:
        """Raise AssertionError for what is lost, doubled or left over; ``sweep`` sweeps once."""
        self.check()
        assert_books_agree(self.world.stripe)
        self._nothing_is_left_over()
        self._nobody_pays_for_what_is_cancelled()
        self.compare_with_stripe(as_it_is=False)
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

    def _all_facts_are_there(self) -> None:
        """One for each thing that has happened."""
        intents = self.rows[PaymentIntent]
        refunds = list(self.rows[Refund].values())
        disputes = list(self.rows[Dispute].values())
        expected = Counter(
            {
                FactKind.INTENT_CREATED: len(intents),
                FactKind.DISPUTE_OPENED: len(disputes),
                FactKind.REFUND_FAILED: sum(
                    row["status"] == RefundStatus.FAILED for row in refunds
                ),
            }
        )
        found = Counter(fact["kind"] for fact in self.rows[PaymentHistory].values())
        assert {kind: found[kind] for kind in expected} == dict(expected)
        failed = sum(
            event["type"] == "payment_intent.payment_failed" for event in self.world.stripe.events
        )
        assert found[FactKind.PAYMENT_FAILED] <= failed
        for payment in self.rows[OrderPayment].values():
            self._facts_about_money_are_there(payment)

    def _facts_about_money_are_there(self, payment: Json) -> None:
        """Each payment that counts, its refunds, and that the order was paid: once each."""
        sums = work_out(known_here(payment, self.rows))
        facts = self._of(payment, PaymentHistory)
        stripe_ids = {row["pk"]: row["stripe_id"] for row in self.rows[PaymentIntent].values()}

        def about(kind: FactKind) -> list[str]:
            return [stripe_ids[each["payment_intent_id"]] for each in facts if each["kind"] == kind]

        assert sorted(about(FactKind.PAYMENT_RECEIVED)) == sorted(sums.counted)
        is_paid = sums.status in ("paid", "partially_refunded") and payment["is_payable"]
        assert int(is_paid) <= len(about(FactKind.ORDER_PAID)) <= min(1, len(sums.counted))
        back = {
            row["stripe_id"]
            for row in self._of(payment, Refund)
            if row["status"] == RefundStatus.SUCCEEDED
            and stripe_ids[row["payment_intent_id"]] in sums.counted
        }
        told = [
            each["data"]["stripe_refund_id"]
            for each in facts
            if each["kind"] == FactKind.ORDER_REFUNDED
        ]
        assert back <= {*told}  # one that has failed since was told, too


def _has_come(row: Json) -> bool:
    return bool(row["status"] == IntentStatus.SUCCEEDED)
