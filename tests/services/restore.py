"""A restored backup: Stripe has payments of our orders that the database does not know any more."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from django.db import connection
from django.urls import reverse
from django.utils import timezone

from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import ReviewItem
from tests.support import call_stripe, pay

TABLES = (
    "paymenthistory webhookevent reviewitem refund dispute staffentry paymentintent stripeattempt"
    " orderpayment"
)


def restore_backup() -> None:
    """Lose every row of this app, as if yesterday's backup were back; the orders were in it."""
    with connection.cursor() as cursor:
        for table in TABLES.split():
            cursor.execute(f"DELETE FROM shop_payments_{table}")


def lose(storefront, order, stripe, *, paid: bool = False) -> str:
    """Begin a payment, or pay, and lose it with a restore; return the intent's id."""
    intent_id: str = storefront.payment_intent(order).json()["data"]["id"]
    if paid:
        pay(stripe, intent_id)
    restore_backup()
    return intent_id


def make_elsewhere(stripe, order, *, paid: bool = False, **changes: str) -> str:
    """Make an intent as another installation with the same account does; return its id."""
    names = {"order_id": str(order.pk), "order_number": order.number, "attempt_id": str(uuid4())}
    params = {f"metadata[{name}]": value for name, value in {**names, **changes}.items()}
    params |= {"amount": "11200", "currency": "usd", "allowed_payment_method_types[]": "card"}
    intent_id: str = call_stripe(stripe, "POST", "payment_intents", **params)["id"]
    if paid:
        pay(stripe, intent_id)
    return intent_id


def sweep(**options: Any) -> Report:
    return reconcile(since=timezone.now() - timedelta(days=1), **options)


def accept(client, item: ReviewItem, **form: str) -> Any:
    """Accept the payment of an item in the admin."""
    page = reverse("admin:shop_payments_reviewitem_accept", args=[item.pk])
    return client.post(page, {"sure": "on", **form}, follow=True)
