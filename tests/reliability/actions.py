"""What people do in a shop, at Stripe and to the machines, and what goes wrong: the moves of
``machine.py``.

All act from outside: over the API, the admin, the commands, a browser at Stripe, Stripe's
dashboard. What an answer must say is checked here; what must hold after each move, in ``audit.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from shop_payments import services
from shop_payments.lifecycle import (
    CANCELABLE_STATUSES,
    UPDATABLE_STATUSES,
    IntentStatus,
    RefundStatus,
)
from shop_payments.models import (
    Order,
    OrderPayment,
    Refund,
    ReviewItem,
    StaffEntry,
    WebhookEvent,
)
from shop_payments.money import format_amount, from_minor_units, minimum_charge
from shop_payments.sandbox import Fault
from shop_payments.sandbox.resources.refund_moves import LEGAL_MOVES
from tests.admin.support import change
from tests.books import STAFF
from tests.oracle import Sums
from tests.reliability.audit import Audit
from tests.reliability.books import read_rows
from tests.reliability.parts import People, part_of
from tests.reliability.scenes import cancel_order
from tests.reliability.world import MANDATE, UNIT_AMOUNTS, Adapter, Json, World
from tests.support import call_stripe, writes

MINUTE, HOUR, DAY = 60, 3600, 24 * 3600

CARDS = (
    "pm_card_visa",
    "pm_card_visa",
    "pm_card_chargeDeclined",
    "pm_card_authenticationRequired",
    "pm_card_threeDSecureRequiredChargeDeclined",
    "pm_card_createDispute",
    "pm_card_createDisputeInquiry",
    "pm_card_refundFail",
    "pm_card_pendingRefund",
    "pm_usBankAccount_success",
    "pm_usBankAccount_insufficientFunds",
)
PARTS = ("all", "half", "little", "too much")
FAULTS = (
    *(Fault(kind, method="POST") for kind in ("drop_before", "drop_after", "error_after")),
    *(Fault("error", status=status, method="POST") for status in (409, 429, 500, 503)),
    Fault("drop_before", method="GET"),
    Fault("error", status=429, method="GET"),
    Fault("drop_after", times=2),
    Fault("error", status=500, times=2),
    # Of a payment intent of test mode, a key of another account would allow a second one (ADR 8).
    Fault("another_account", path="/v1/refunds", times=2),
    Fault("effect_later", method="POST", path="/v1/refunds", seconds=5 * MINUTE),
)
WEBHOOK_FAULTS = (
    Fault("webhook_lost", times=4),
    Fault("webhook_doubled", times=2),
    Fault("webhook_delayed", seconds=HOUR, times=2),
    Fault("webhook_reordered", seconds=10 * MINUTE, times=6),
    Fault("webhook_old", times=4),
    Fault("webhook_thin", times=4),
)
MEANWHILE: dict[str, tuple[Any, ...]] = {
    "a_customer_pays": (0, "pm_card_visa", False),
    "the_storefront_asks_for_an_intent": (0,),
    "the_payment_system_says_it_is_paid": (0,),
    "webhooks_arrive": (),
    "a_sweep": (72,),
    "the_office_refunds": (0, "half", "z"),
    "the_dashboard_refunds": (0, "half"),
    "the_dashboard_cancels": (0,),
    "the_dashboard_captures": (0, "half"),
    "the_order_is_cancelled": (0, True),
    "the_order_changes": (0, 3, None),
    "the_order_is_lowered": (0,),
    "the_shop_says_that_it_has_changed": (0,),
    "staff_cancel": (0,),
    "staff_waive": (0, "all"),
    "staff_settle_outside_stripe": (0, "half"),
}
"""Steps that somebody may take while the app waits for Stripe, and with what."""

OUT_OF_ORDER = {
    *("gateway_error", "gateway_unavailable", "order_unreadable", "payment_intent_in_progress")
}
"""What a customer may be answered while something goes wrong."""

YES_OR_NO = (False, True)
SOME = tuple(range(8))
"""Which one of several."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A method of :class:`Actions` that can be a move."""

    weight: int
    is_possible: Callable[[Any], Any]
    options: dict[str, Sequence[Any]]


STEPS: dict[str, Step] = {}


def step(
    weight: int = 1, /, where: Callable[[Any], Any] = lambda self: True, **options: Sequence[Any]
) -> Callable[[Callable[..., None]], Any]:
    """Let a method be a move, drawn as often as its weight says, if it is possible."""

    def decorate(function: Callable[..., None]) -> Any:
        STEPS[function.__name__] = Step(weight=weight, is_possible=where, options=options)
        return function

    return decorate


def has(*statuses: str) -> Callable[[Actions], Any]:
    """Possible if Stripe has an intent of ours with one of these statuses."""
    return lambda self: self._intents(*statuses)


def pick(found: Sequence[Any], at: int) -> Any:
    """Return one of them; None if there is none."""
    return found[at % len(found)] if found else None


class Actions:
    """A shop, and everything that may happen to it."""

    people: People
    world: World | Any
    audit: Audit
    takes_debits: bool
    focus: Any = None
    """The order that somebody acts on meanwhile; any order without it."""

    refunds_by_key: dict[tuple[Any, str], set[str]]

    # Customers

    @step(
        3,
        where=lambda self: len(self.world.orders) < 3,
        currency=SOME,
        held=YES_OR_NO,
        parts=(1, 1, 2, 2, 3, 4),
    )
    def a_customer_orders(self, currency: int, held: bool, parts: int) -> None:
        self._take_order(currency, held=held, parts=parts)
        self._ask_for_an_intent(self.world.orders[-1])

    def _take_order(self, currency: int, *, held: bool, parts: int = 1) -> None:
        # A shop that takes debits offers nothing that Stripe cannot take by debit.
        currencies = ["usd"] if self.takes_debits else list(UNIT_AMOUNTS)
        held = held and not self.takes_debits
        self.world.order(pick(currencies, currency), held=held, parts=parts)

    @step(4, at=SOME)
    def the_storefront_asks_for_an_intent(self, at: int) -> None:
        self._ask_for_an_intent(self._order(at))

    def _ask_for_an_intent(self, order: Order) -> Json | None:
        """Ask as the storefront does; return the intent of the answer."""
        before = self._sums_of(order)
        answer = self.world.call(lambda: self.people.storefront.payment_intent(order))
        if answer is None:
            return None
        code = answer.json().get("code")
        data: Json | None = answer.json()["data"] if code is None else None
        if data is not None:
            self.world.secrets[order.pk].append(data)
        if not self.world.is_disturbed and code not in OUT_OF_ORDER:
            self._was_asked_for_what_is_owed(order, answer, before)  # else that may have changed
        return data

    def _was_asked_for_what_is_owed(
        self, order: Order, answer: Any, before: Sums | None = None
    ) -> None:
        """Check the amount, or the reason of the refusal, which may be what held ``before``."""
        order = Order.objects.get(pk=order.pk)
        sums, body = self._sums_of(order), answer.json()
        said = (body.get("code"), body.get("data", {}).get("reason", ""))
        if before is not None and before.refusal and said == before.refusal:
            return
        if sums is None:
            is_paid_in_another = OrderPayment.objects.filter(order=order).exists()
            reason = "currency_changed" if is_paid_in_another else said[1]
            assert said == ("order_not_payable", reason), body
            return
        if sums.refusal:
            assert said == sums.refusal, (said, sums)
            return
        now = part_of(order.number, total=order.amount, outstanding=sums.asks)
        if now < minimum_charge(order.currency):
            assert said[0] == "amount_too_small", (said, sums)
            return
        assert said[0] is None, (said, sums)
        there = call_stripe(self.world.stripe, "GET", f"payment_intents/{body['data']['id']}")
        assert (there["amount"], there["currency"]) == (now, order.currency), sums
        assert body["data"]["amount"] == format_amount(now, order.currency)
        assert body["data"]["status"] == there["status"]
        assert there["status"] in UPDATABLE_STATUSES

    @step(24, at=SOME, card=(*["pm_card_visa"] * 20, *CARDS))
    def a_customer_comes_to_pay(self, at: int, card: str) -> None:
        shown = self._ask_for_an_intent(self._order(at))
        if shown is not None:
            self._pay(shown, card)

    @step(6, where=lambda self: self._tabs(), at=SOME, card=CARDS, in_old_tab=(*[False] * 3, True))
    def a_customer_pays(self, at: int, card: str, in_old_tab: bool) -> None:
        """An old tab may show what cannot be paid any more."""
        if tabs := self._tabs(is_payable=not in_old_tab) or self._tabs():
            self._pay(pick(tabs, at), card)

    def _pay(self, shown: Json, card: str) -> None:
        is_debit = card.startswith("pm_us")
        if is_debit and not self.takes_debits:
            return
        path, secret = f"payment_intents/{shown['id']}/confirm", shown["client_secret"]
        mandate = MANDATE if is_debit else {}
        self.world.browse(path, client_secret=secret, payment_method=card, **mandate)

    def _tabs(self, *, is_payable: bool = False) -> list[Json]:
        """What browsers were given, and with ``is_payable`` can still be paid."""
        payable = {each["id"] for each in self._intents(*UPDATABLE_STATUSES)}
        tabs = [tab for tabs in self.world.secrets.values() for tab in tabs]
        return [tab for tab in tabs if not is_payable or tab["id"] in payable]

    @step(4, where=has(IntentStatus.REQUIRES_ACTION), at=SOME, succeed=YES_OR_NO)
    def a_customer_authenticates(self, at: int, succeed: bool) -> None:
        waiting = self._intents(IntentStatus.REQUIRES_ACTION)
        self.world.stripe.complete_authentication(pick(waiting, at)["id"], succeed)

    # The shop

    @step(4, at=SOME, quantity=(1, 2, 3, 3, 3, 4, 4, 0), currency=(*[None] * 7, *UNIT_AMOUNTS))
    def the_order_changes(self, at: int, quantity: int, currency: str | None) -> None:
        """It may become free, or get another currency: as many yen as there were cents."""
        order = self._order(at)
        self.world.changed.add(order.pk)
        price = UNIT_AMOUNTS[order.currency] if quantity else 0
        order.lines.update(quantity=quantity or 1, unit_amount=price)
        if currency and not self.takes_debits:
            Order.objects.filter(pk=order.pk).update(currency=currency)

    @step(at=SOME)
    def the_order_is_lowered(self, at: int) -> None:
        self.the_order_changes(at, 1, None)

    @step(2, at=SOME)
    def the_shop_says_that_it_has_changed(self, at: int) -> None:
        order = self._order(at)
        self.world.attempt(lambda: services.reevaluate_order(order.pk))

    @step(at=SOME)
    def the_shop_asks_whether_it_may_ship(self, at: int) -> None:
        order = self._order(at)
        may = self.world.attempt(lambda: services.may_release(order.pk))
        sums = self._sums_of(order)
        if may is not None and sums is not None and not self.world.is_disturbed:
            assert may == sums.may_release, sums

    @step(2, at=SOME, is_notified=YES_OR_NO)
    def the_order_is_cancelled(self, at: int, is_notified: bool) -> None:
        """The shop does so, and the app is notified, or has to find out."""
        order = self._order(at)
        self.world.changed.add(order.pk)
        if is_notified:
            self.world.survive(lambda: cancel_order(order.pk))
        else:
            Order.objects.filter(pk=order.pk).update(status=Order.Status.CANCELLED)

    @step(4, where=lambda self: self._cancelled(), at=SOME)
    def the_order_is_reopened(self, at: int) -> None:
        pk = pick(self._cancelled(), at)
        Order.objects.filter(pk=pk).update(status=Order.Status.OPEN)
        self.world.changed.add(pk)

    @step(
        5,
        where=has(IntentStatus.REQUIRES_CAPTURE),
        at=SOME,
        part=PARTS,
        waive_rest=YES_OR_NO,
    )
    def the_shop_captures(self, at: int, part: str, waive_rest: bool) -> None:
        each = pick(self._intents(IntentStatus.REQUIRES_CAPTURE), at)
        amount = None if part == "all" else from_minor_units(_part(each, part), each["currency"])
        order_id = each["metadata"]["order_id"]
        how: Json = {"amount_decimal": amount, "waive_rest": waive_rest, "origin": STAFF}
        self.world.attempt(lambda: services.capture_payment(order_id=order_id, **how))

    @step(3, at=SOME)
    def the_payment_system_says_it_is_paid(self, at: int) -> None:
        order = self._order(at)
        answer = self.world.call(lambda: self.people.payment_system.payment(order))
        if answer is None or answer.status_code != 200 or self.world.is_disturbed:
            return
        sums = self._sums_of(order)
        assert sums is not None
        assert sums.owed == 0, sums

    # Staff

    @step(
        6,
        where=has(IntentStatus.SUCCEEDED),
        at=SOME,
        part=(*PARTS, "all of all"),
        key="abc",
        kind=("", "", "goods", "correction"),
    )
    def the_office_refunds(self, at: int, part: str, key: str, kind: str = "") -> None:
        """Too much of one payment may be there of several; it may also be all that is left."""
        if not (each := pick(self._intents(IntentStatus.SUCCEEDED), at)):
            return
        order = each["metadata"]["order_id"]
        body = {} if part == "all of all" else {"amount": _decimal(each, part)}
        body |= {"kind": kind} if kind else {}
        answer = self.world.call(lambda: self.people.office.refund(order, body, key=key))
        if answer is not None and answer.status_code == 200:
            data = answer.json()["data"]
            ids = {part["id"] for part in data.get("parts", [data])}
            assert self.refunds_by_key.setdefault((order, key), ids) == ids
            there = self.world.look().refunds
            assert all(row.stripe_id in there for row in Refund.objects.filter(pk__in=ids))

    @step(where=has(*CANCELABLE_STATUSES), at=SOME)
    def staff_cancel(self, at: int) -> None:
        if each := pick(self._intents(*CANCELABLE_STATUSES), at):
            order: Json = {"order_id": each["metadata"]["order_id"], "origin": STAFF}
            self.world.attempt(lambda: services.cancel_payment(**order))

    @step(2, where=lambda self: self._open_items(), at=SOME)
    def staff_close_an_item(self, at: int) -> None:
        pk, user = pick(self._open_items(), at)["pk"], self.people.superuser
        how: Json = {"reason": "looked at", "user": user, "origin": STAFF}
        self.world.attempt(lambda: services.close_review_item(item_pk=pk, **how))

    @step(2, at=SOME, part=PARTS)
    def staff_waive(self, at: int, part: str) -> None:
        order = self._order(at)
        payment = OrderPayment.objects.filter(order=order).first()
        if payment is not None and payment.amount_owed:
            owed = {"amount": payment.amount_owed, "currency": payment.currency}
            request = _entry(_part(owed, part), payment.currency)
            self.world.attempt(
                lambda: services.waive_amount(order_id=order.pk, request=request, origin=STAFF)
            )

    @step(where=has(IntentStatus.SUCCEEDED), at=SOME, part=PARTS)
    def staff_settle_outside_stripe(self, at: int, part: str) -> None:
        if each := pick(self._intents(IntentStatus.SUCCEEDED), at):
            settle = partial(
                services.settle_outside_stripe,
                order_id=each["metadata"]["order_id"],
                intent_id=each["id"],
                request=_entry(_part(each, part), each["currency"]),
                origin=STAFF,
            )
            self.world.attempt(settle)

    @step(where=lambda self: self._entries(), at=SOME)
    def staff_revoke_an_entry(self, at: int) -> None:
        how: Json = {"reason": "a mistake", "user": None, "origin": STAFF}
        pk = pick(self._entries(), at)
        self.world.attempt(lambda: services.revoke_staff_entry(entry_pk=pk, **how))

    @step(at=SOME)
    def somebody_looks(self, at: int) -> None:
        order = self._order(at)
        answer = self.world.call(lambda: self.people.storefront.get(f"orders/{order.pk}"))
        sums = self._sums_of(order)
        assert answer is not None
        if answer.status_code == 200 and not Adapter.broken and sums is not None:
            order, shown = Order.objects.get(pk=order.pk), answer.json()["data"]
            assert shown["payment_status"] == sums.status, sums
            assert shown["outstanding"] == format_amount(sums.outstanding, order.currency), sums
            is_enough = sums.asks >= minimum_charge(order.currency)
            assert shown["payable"] == (not sums.refusal and is_enough), sums
        payment = OrderPayment.objects.filter(order=order).first()
        for row in (order, payment):
            if row is not None:
                page = self.world.survive(partial(self.world.staff.get, change(row)))
                assert page is None or page.status_code == 200

    # Stripe's dashboard, and the banks

    @step(2, where=has(IntentStatus.SUCCEEDED), at=SOME, part=PARTS)
    def the_dashboard_refunds(self, at: int, part: str) -> None:
        if each := pick(self._intents(IntentStatus.SUCCEEDED), at):
            amount = {} if part == "all" else {"amount": str(_part(each, part))}
            self.world.dashboard("refunds", payment_intent=each["id"], **amount)

    @step(where=has(*CANCELABLE_STATUSES), at=SOME)
    def the_dashboard_cancels(self, at: int) -> None:
        if each := pick(self._intents(*CANCELABLE_STATUSES), at):
            self.world.dashboard(f"payment_intents/{each['id']}/cancel")

    @step(where=has(IntentStatus.REQUIRES_CAPTURE), at=SOME, part=PARTS)
    def the_dashboard_captures(self, at: int, part: str) -> None:
        if each := pick(self._intents(IntentStatus.REQUIRES_CAPTURE), at):
            amount = {} if part == "all" else {"amount_to_capture": str(_part(each, part))}
            self.world.dashboard(f"payment_intents/{each['id']}/capture", **amount)

    @step(2, where=has(IntentStatus.SUCCEEDED), at=SOME, inquiry=YES_OR_NO)
    def a_bank_disputes(self, at: int, inquiry: bool) -> None:
        disputed = {each["payment_intent"] for each in self.audit.seen.disputes.values()}
        charges = [
            call_stripe(self.world.stripe, "GET", f"charges/{each['latest_charge']}")
            for each in self._intents(IntentStatus.SUCCEEDED)
            if each["id"] not in disputed
        ]
        disputable = [
            each["id"]
            for each in charges
            if each["payment_method_details"]["type"] == "card" and not each["refunded"]
        ]
        if charge_id := pick(disputable, at):
            self.world.stripe.open_dispute(charge_id, inquiry=inquiry)

    @step(
        2,
        where=lambda self: self.audit.seen.disputes,
        at=SOME,
        evidence=("winning_evidence", "losing_evidence", "escalate_inquiry_evidence", ""),
    )
    def the_dashboard_answers_a_dispute(self, at: int, evidence: str) -> None:
        path = f"disputes/{pick([*self.audit.seen.disputes], at)}"
        if evidence:
            self.world.dashboard(path, **{"evidence[uncategorized_text]": evidence})
        else:
            self.world.dashboard(f"{path}/close")

    @step(
        2,
        where=lambda self: self.audit.seen.refunds,
        at=SOME,
        status=(RefundStatus.FAILED, RefundStatus.SUCCEEDED),
    )
    def a_bank_decides_on_a_refund(self, at: int, status: str) -> None:
        refund = pick([*self.audit.seen.refunds.values()], at)
        if status in LEGAL_MOVES[refund["status"]]:
            self.world.stripe.advance_refund(refund["id"], status)

    @step(
        where=lambda self: len(self.world.strangers) < 3,
        at=SOME,
        is_paid=YES_OR_NO,
        is_of_staging=YES_OR_NO,
    )
    def another_system_takes_money(self, at: int, is_paid: bool, is_of_staging: bool) -> None:
        """It has an order of the same number, on the same account; it may be our own app."""
        params = {
            "amount": "11200",
            "currency": "usd",
            "metadata[order_id]": str(self._order(at).pk),
            "allowed_payment_method_types[0]": "card",
        }
        if is_of_staging:
            params["metadata[attempt_id]"] = str(uuid5(NAMESPACE_OID, str(at)))
        if is_paid:
            params |= {"confirm": "true", "payment_method": "pm_card_visa"}
        pk = self.world.dashboard("payment_intents", **params)["id"]
        if is_paid:
            self.world.dashboard("refunds", payment_intent=pk, amount="1200")
        made = call_stripe(self.world.stripe, "GET", f"payment_intents/{pk}")
        self.world.strangers[pk] = made

    # What goes wrong

    @step(3, fault=FAULTS)
    def stripe_is_in_trouble(self, fault: Fault) -> None:
        self.world.troubles.append(fault)

    @step(2, where=lambda self: not self.world.deaths, moment=("before", "after"))
    def the_process_will_die(self, moment: str) -> None:
        self.world.deaths.append(moment)

    @step(
        6,
        where=lambda self: not self.world.meanwhile,
        what=("a_customer_pays", *MEANWHILE),
        moment=("before", "after"),
        times=(1, 2),
    )
    def somebody_else_will_act_meanwhile(self, what: str, moment: str, times: int) -> None:
        """While the app waits for Stripe, and with the same order."""

        def act(order_id: Any) -> None:
            self.focus = order_id
            self.audit.seen = self.world.look()
            try:
                getattr(self, what)(*MEANWHILE[what])
            finally:
                self.focus = None

        self.world.meanwhile += [(moment, act)] * times

    @step(2, fault=WEBHOOK_FAULTS)
    def webhooks_are_in_trouble(self, fault: Fault) -> None:
        self.world.stripe.inject(fault)

    @step(where=lambda self: not self.world.receivers_break)
    def a_receiver_breaks(self) -> None:
        self.world.receivers_break = 1

    @step(
        where=lambda self: not Adapter.broken, method=("total", "is_payable", "amount_to_pay_now")
    )
    def the_shops_code_breaks(self, method: str) -> None:
        Adapter.broken = method

    @step(20, where=lambda self: Adapter.broken)
    def the_shops_code_is_repaired(self) -> None:
        Adapter.broken = ""

    @step(5)
    def webhooks_arrive(self) -> None:
        self.world.stripe.deliver_due()

    @step(2, where=lambda self: self.audit.seen.intents, at=range(200))
    def an_old_webhook_arrives(self, at: int) -> None:
        self.world.receive(pick(self.world.stripe.events, at))

    # Time, and operators

    @step(
        3,
        seconds=(
            *[10, 4 * MINUTE, HOUR, 23 * HOUR + 30 * MINUTE, 25 * HOUR] * 3,
            *(5 * DAY, 8 * DAY, 40 * DAY),
        ),
    )
    def time_passes(self, seconds: int) -> None:
        self.world.clock.shift(seconds)

    @step(2, at=SOME, seconds=(-10 * MINUTE, 10 * MINUTE), what=("ask", "settle", "sweep"))
    def a_process_with_another_clock_acts(self, at: int, seconds: int, what: str) -> None:
        self.world.meanwhile.clear()  # webhooks that arrive then are too old, or too new
        with self.world.clock_ahead(seconds):
            if what == "ask":
                self.the_storefront_asks_for_an_intent(at)
            elif what == "settle":
                self.the_payment_system_says_it_is_paid(at)
            else:
                self.a_sweep(72)

    @step(3, hours=(0, 0, 72, 2000))
    def a_sweep(self, hours: int) -> None:
        """By the events since the last one, or by lists that begin so many hours ago."""
        self.world.run("shop_payments_reconcile", *([f"--since={hours}"] if hours else []))

    @step()
    def a_dry_sweep_changes_nothing(self) -> None:
        self.world.meanwhile.clear()
        before = read_rows(), writes(self.world.stripe)
        self.world.run("shop_payments_reconcile", "--dry-run")
        assert (read_rows(), writes(self.world.stripe)) == before

    @step(
        where=lambda self: WebhookEvent.objects.filter(purged_at=None).exists(),
        at=SOME,
        failed=YES_OR_NO,
    )
    def events_are_replayed(self, at: int, failed: bool) -> None:
        found = WebhookEvent.objects.filter(purged_at=None).order_by("pk")
        which = "--failed" if failed else pick(list(found), at).event_id
        self.world.run("shop_payments_events", "replay", which)

    @step()
    def personal_data_is_purged(self) -> None:
        self.world.run("shop_payments_purge")

    # What there is

    def _order(self, at: int) -> Order:
        focused = [order for order in self.world.orders if order.pk == self.focus]
        order: Order = pick(focused or self.world.orders, at)
        return order

    def _sums_of(self, order: Order) -> Sums | None:
        return self.audit.sums_of(Order.objects.get(pk=order.pk))

    def _cancelled(self) -> list[int]:
        cancelled = Order.objects.filter(status=Order.Status.CANCELLED)
        return list(cancelled.order_by("pk").values_list("pk", flat=True))

    def _intents(self, *statuses: str) -> list[Json]:
        """Our intents at Stripe with these statuses, of the order in focus."""
        ours = [each for each in self.audit.ours() if each["status"] in statuses]
        focus = self.focus and str(self.focus)
        return [each for each in ours if focus in (None, each["metadata"]["order_id"])]

    def _open_items(self) -> list[Json]:
        rows = self.audit.rows[ReviewItem].values()
        return [row for row in rows if row["closed_at"] is None]

    def _entries(self) -> list[int]:
        rows = self.audit.rows[StaffEntry].values()
        return [row["pk"] for row in rows if row["revoked_at"] is None]


def _entry(amount: int, currency: str) -> services.EntryRequest:
    return services.EntryRequest(amount_decimal=from_minor_units(amount, currency), reason="agreed")


def _part(each: Json, part: str) -> int:
    """A part of an intent's money in minor units; the last digit of three is a 0."""
    amount: int = each["amount"]
    parts = {"all": amount, "half": amount // 20 * 10, "little": 10, "too much": amount + 10}
    return parts[part]


def _decimal(each: Json, part: str) -> str:
    return format_amount(_part(each, part), each["currency"])
