"""A caller that gives money back, and what Stripe's and our books say."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import time_machine
from django.utils import timezone

from shop_payments.exceptions import PaymentError
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.observations import money_of
from shop_payments.maintenance.cancellations import requested_cancellations
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import (
    BalanceTransaction,
    Dispute,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    Source,
    StripeAttempt,
    WebhookEvent,
)
from shop_payments.money import from_minor_units
from shop_payments.services.cancel_payment import finish_cancellation
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from shop_payments.sync.balance_transactions import fetch_fees
from shop_payments.testing import StripeSandbox
from tests.support import (
    AnyStripe,
    Caller,
    assert_state_follows_from_rows,
    call_stripe,
    post_webhook,
    sign,
)

STAFF, SWEEP = Origin(source=Source.ADMIN, actor="staff 1"), Origin(source=Source.RECONCILE)


def at(hours: float) -> Any:
    """Travel so many hours ahead."""
    return time_machine.travel(timezone.now() + timedelta(hours=hours), tick=True)


def sweep(*, hours: float = 2 / 60) -> Report:
    """Run the sweep so many hours ahead: by default when no attempt is in progress any more."""
    with at(hours):
        return reconcile(since=timezone.now() - timedelta(days=3))


class AccountingOffice(Caller):
    """Calls the refunds route."""

    def refund(self, order: Any, body: Any = None, *, key: str = "") -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        return self.post(f"orders/{getattr(order, 'pk', order)}/refunds", body or {}, **headers)

    def refunds(self, order: Any) -> list[dict[str, Any]]:
        answer = self.get(f"orders/{getattr(order, 'pk', order)}/refunds").json()
        results: list[dict[str, Any]] = answer["data"]["results"]
        return results


def refunds_at_stripe(stripe: AnyStripe) -> list[dict[str, Any]]:
    """All refunds at Stripe, oldest first."""
    return listed_at_stripe(stripe, "refunds")[::-1]


def refund_in_dashboard(stripe: StripeSandbox, **params: str) -> dict[str, Any]:
    """Give money back as staff do in Stripe's dashboard: we hear of it by webhook alone."""
    intent = PaymentIntent.objects.get()
    return call_stripe(stripe, "POST", "refunds", payment_intent=intent.stripe_id, **params)


def listed_at_stripe(stripe: AnyStripe, path: str, **params: str) -> list[dict[str, Any]]:
    """All objects of a list at Stripe, newest first."""
    found: list[dict[str, Any]] = []
    while True:
        after = {"starting_after": found[-1]["id"]} if found else {}
        page = call_stripe(stripe, "GET", path, limit="100", **params, **after)
        found += page["data"]
        if not page["has_more"]:
            return found


def assert_books_agree(stripe: AnyStripe) -> None:
    """What Stripe's books say is what our rows say: object by object, and in the sums.

    For a shop that has heard of everything. Fees are fetched for it.
    """
    assert_mirrors_agree(stripe)
    fetch_fees(since=datetime(2020, 1, 1, tzinfo=UTC))
    charges = PaymentIntent.objects.exclude(latest_charge="")
    sources = {*charges.values_list("latest_charge", flat=True)}
    for kind in ("refunds", "disputes"):
        found = listed_at_stripe(stripe, kind)
        sources |= {each["id"] for each in found if each["charge"] in sources}
    movements = listed_at_stripe(stripe, "balance_transactions")
    ours = [each for each in movements if each["source"] in sources]
    columns = ("stripe_id", "source", "amount", "fee", "net", "currency")
    assert {*BalanceTransaction.objects.values_list(*columns)} == {
        (each["id"], *(each[column] for column in columns[1:])) for each in ours
    }
    for currency in {each["currency"] for each in ours}:
        moved = sum(each["amount"] for each in ours if each["currency"] == currency)
        assert moved == _money_that_stayed(currency)


def assert_mirrors_agree(stripe: AnyStripe) -> None:
    """Each intent, refund and dispute is as at Stripe, and each payment what they make of it."""
    ours, theirs = our_books(), books_at_stripe(stripe)
    assert ours == theirs
    assert_state_follows_from_rows()


def our_books() -> set[tuple[Any, ...]]:
    """What our rows say of the intents, refunds and disputes at Stripe."""
    intents = PaymentIntent.objects.values_list("stripe_id", "status", "amount_received")
    mirrors = [*Refund.objects.exclude(stripe_id=""), *Dispute.objects.all()]
    return {("intent", *intent) for intent in intents} | {
        (row._meta.model_name, row.stripe_id, row.status, row.amount, row.currency)
        for row in mirrors
    }


def books_at_stripe(stripe: AnyStripe) -> set[tuple[Any, ...]]:
    """The same of Stripe's, without what other systems do on the account."""
    attempts = {str(pk) for pk in StripeAttempt.objects.values_list("pk", flat=True)}
    intents = [
        each
        for each in listed_at_stripe(stripe, "payment_intents")
        if each["metadata"].get("attempt_id") in attempts
    ]
    ids = {each["id"] for each in intents}
    received = {("intent", each["id"], each["status"], each["amount_received"]) for each in intents}
    mirrors = [*listed_at_stripe(stripe, "refunds"), *listed_at_stripe(stripe, "disputes")]
    return received | {
        (each["object"], each["id"], each["status"], each["amount"], each["currency"])
        for each in mirrors
        if each["payment_intent"] in ids
    }


def _money_that_stayed(currency: str) -> int:
    """What came, less what has gone, by our rows: money that paid nothing included."""
    total = 0
    for intent in PaymentIntent.objects.filter(currency=currency):
        money = money_of(intent, intent.refunds.all(), intent.disputes.all())
        total += money.received - money.refunded - money.refund_pending
        total -= money.lost + money.disputed
    return total


def everything() -> list[list[dict[str, Any]]]:
    """All rows that a sweep could touch, to compare."""
    models = (OrderPayment, PaymentIntent, Refund, Dispute, StripeAttempt, WebhookEvent)
    rows = [list(model._default_manager.order_by("pk").values()) for model in models]
    return [*rows, list(PaymentHistory.objects.order_by("pk").values())]


def hear_everything(stripe: StripeSandbox) -> None:
    """Repeat what was lost, and have every event delivered (once more), whatever went wrong."""
    stripe.clear_faults()
    for hours in (0, 24, 26):  # what is missing is given up when two looks agree, a day later
        with at(hours):
            _repeat_requested_refunds()
    for payment_pk in requested_cancellations().values_list("pk", flat=True):
        assert finish_cancellation(payment_pk, origin=SWEEP)
    for event in stripe.events:
        deliver(event)


def _repeat_requested_refunds() -> None:
    """Ask once more for each refund whose outcome is not known."""
    for refund in Refund.objects.requested():
        asked, payment = refund.requested_amount, refund.order_payment
        parts = payment.refunds.filter(request_key=refund.request_key)
        request = RefundRequest(
            amount_decimal=None if asked is None else from_minor_units(asked, refund.currency),
            key=refund.request_key,
            intent_id=refund.payment_intent.stripe_id if parts.count() == 1 else "",
            reason=refund.reason,
            kind=refund.kind,
        )
        with suppress(PaymentError):  # as it was refused before
            refund_payment(order_id=payment.order_id, request=request, origin=SWEEP)


def deliver(event: dict[str, Any]) -> None:
    """Deliver one of Stripe's events, signed."""
    body = json.dumps(event).encode()
    assert post_webhook(body, sign(body)).status_code == 200


def dispute_at_stripe(stripe: StripeSandbox) -> dict[str, Any]:
    """The newest dispute at Stripe."""
    found: dict[str, Any] = call_stripe(stripe, "GET", "disputes")["data"][0]
    return found


def answer_dispute(stripe: StripeSandbox, evidence: str) -> None:
    """Submit evidence, as staff do in Stripe's dashboard."""
    params = {"evidence[uncategorized_text]": evidence, "submit": "true"}
    call_stripe(stripe, "POST", f"disputes/{dispute_at_stripe(stripe)['id']}", **params)
