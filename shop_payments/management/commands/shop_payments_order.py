"""``manage.py shop_payments_order 9``: what happened to order 9, in order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser

from shop_payments.management.base import PaymentsCommand
from shop_payments.management.words import at_second
from shop_payments.models import OrderPayment, ReviewItem, StripeAttempt, WebhookEvent
from shop_payments.money import display_amount
from shop_payments.orders import get_order_adapter

_Line = tuple[datetime, str]


class Command(PaymentsCommand):
    help = (
        "Print what happened to the payment of an order, oldest first: its history, its attempts "
        "to write to Stripe, its events, and its review items."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("order_id", metavar="ORDER_ID", help="as in the API's paths")

    def handle(self, *args: Any, order_id: str, **options: Any) -> None:
        pk = get_order_adapter().parse_id(order_id)
        payment = None if pk is None else OrderPayment.objects.filter(order_id=pk).first()
        if payment is None:
            raise CommandError(f"Order {order_id} does not exist, or it has no payment.")
        self.stdout.write(_summary_of_payment(payment))
        for moment, text in sorted(_lines(payment), key=lambda line: line[0]):
            self.stdout.write(f"{at_second(moment)}  {text}")


def _summary_of_payment(payment: OrderPayment) -> str:
    words = [f"Order {payment.order_id}: {payment.status}"]
    if payment.currency:
        words.append(f"received {display_amount(payment.amount_received, payment.currency)}")
        words.append(f"outstanding {display_amount(payment.amount_outstanding, payment.currency)}")
    if payment.needs_review:
        words.append("in review")
    return ", ".join(words) + "."


def _lines(payment: OrderPayment) -> Iterator[_Line]:
    for fact in payment.history.select_related("payment_intent").order_by("pk"):
        words = ["history", fact.kind, fact.detail, str(fact.payment_intent or "")]
        words += [f"source={fact.source}"]
        words += [f"by={fact.actor}"] if fact.actor else []
        words += [f"stripe_request_id={fact.request_id}"] if fact.request_id else []
        yield fact.created_at, _joined(words)
        if fact.needs_dispatch and fact.skipped_at is not None:
            yield fact.skipped_at, _joined(["skipped", fact.kind, f"by={fact.skipped_by}"])
        elif fact.needs_dispatch and fact.dispatched_at is not None:
            yield fact.dispatched_at, _joined(["notified", fact.kind])
    for attempt in payment.attempts.order_by("created_at"):
        yield from _of_attempt(attempt)
    intents = list(payment.payment_intents.values_list("stripe_id", flat=True))
    for event in WebhookEvent.objects.filter(intent_id__in=intents).defer("payload"):
        words = ["event", event.type, event.event_id, event.status, event.outcome, event.error_text]
        yield event.received_at, _joined(words)
    for item in payment.review_items.order_by("pk"):
        yield from _of_review_item(item)


def _of_attempt(attempt: StripeAttempt) -> Iterator[_Line]:
    what = [attempt.operation, attempt.target, f"key={attempt.pk}"]
    yield attempt.created_at, _joined(["attempt", *what])
    if attempt.finished_at is not None:
        came = [attempt.outcome, attempt.stripe_object_id, attempt.error_code]
        came += [f"stripe_request_id={attempt.request_id}"] if attempt.request_id else []
        yield attempt.finished_at, _joined(["attempt", attempt.operation, *came])


def _of_review_item(item: ReviewItem) -> Iterator[_Line]:
    error = str(item.data.get("error", ""))
    yield item.opened_at, _joined(["review", "opened", item.reason, item.detail, error])
    if item.closed_at is not None:
        yield item.closed_at, _joined(["review", "closed", item.reason, item.closing_note])


def _joined(words: list[str]) -> str:
    return "  ".join(word for word in words if word)
