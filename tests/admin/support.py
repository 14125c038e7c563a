"""Helpers for the tests of the admin."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from uuid import uuid4

from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst

from shop_payments.ledger.evaluation import derive
from shop_payments.ledger.payments import read_rows
from shop_payments.models import (
    BalanceTransaction,
    Dispute,
    FactKind,
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    Refund,
    ReviewItem,
    Source,
    StaffEntry,
    StripeAttempt,
    WebhookEvent,
)
from tests.factories import OrderFactory

RECORDS = [
    BalanceTransaction,
    Dispute,
    Refund,
    OrderPayment,
    PaymentIntent,
    StripeAttempt,
    WebhookEvent,
    PaymentHistory,
    ReviewItem,
    StaffEntry,
]
"""What nobody edits."""


def changelist(model: Any) -> str:
    return reverse(f"admin:shop_payments_{model._meta.model_name}_changelist")


def add(model: Any) -> str:
    return reverse(f"admin:shop_payments_{model._meta.model_name}_add")


def change(row: Any) -> str:
    return reverse(f"admin:shop_payments_{row._meta.model_name}_change", args=[row.pk])


def delete(row: Any) -> str:
    return reverse(f"admin:shop_payments_{row._meta.model_name}_delete", args=[row.pk])


def listed(response: Any) -> set[Any]:
    """The rows of a changelist."""
    assert response.status_code == 200
    return set(response.context["cl"].result_list)


def text_of(response: Any) -> str:
    assert response.status_code == 200
    content: str = response.content.decode()
    return content


def form_of(response: Any) -> dict[str, str]:
    """What a browser would send back, as it stands on the page."""
    forms = [response.context["adminform"].form]
    for formset in response.context["inline_admin_formsets"]:
        forms += [formset.formset.management_form, *formset.formset.forms]
    values = {bound.html_name: bound.value() for form in forms for bound in form}
    return {name: "" if value is None else str(value) for name, value in values.items()}


def save(client: Any, page: str, **changes: str) -> Any:
    """Fill in some fields (``lines_0_name`` for ``lines-0-name``) and save."""
    fields = {re.sub(r"^lines_(\d+)_", r"lines-\1-", name): changes[name] for name in changes}
    return client.post(page, {**form_of(client.get(page)), **fields})


def fill_in(client: Any, page: str, **changes: str) -> dict[str, str]:
    """What a browser sends after somebody has filled in some fields and ticked the box.

    Where an amount is typed, the box comes with the answer to the form without it.
    """
    response = client.get(page)
    values = {**values_of(response), **changes}
    if "confirmed" in values:
        shown = client.post(page, {**values, "sure": ""})
        if shown.status_code == 200:
            values |= {"confirmed": values_of(shown)["confirmed"]}
    return {**values, "sure": "on", **changes}


def values_of(response: Any) -> dict[str, str]:
    """What stands in the form of a page."""
    form = response.context["form"]
    values = {bound.html_name: str(bound.value() or "") for bound in form if bound.name != "sure"}
    return {**values, "key": str(response.context["key"])}


def page_of(action: str, *, intent: PaymentIntent | None = None) -> str:
    """The page of an action, on the only intent, staff entry or refund if none is named."""
    args: list[Any] = [OrderPayment.objects.get().pk]
    if action == "revoke":
        args.append(StaffEntry.objects.get().pk)
    elif action == "give_up":
        args.append(Refund.objects.get().pk)
    elif action != "waive":
        args.append((intent or PaymentIntent.objects.get()).pk)
    return reverse(f"admin:shop_payments_orderpayment_{action}", args=args)


def act(client: Any, action: str, *, intent: PaymentIntent | None = None, **changes: Any) -> Any:
    """Fill in an action's form, send it, and follow to where it leads."""
    return send(client, page_of(action, intent=intent), **changes)


def send(client: Any, page: str, **changes: str) -> Any:
    """Fill in the form of a page, send it, and follow to where it leads."""
    return client.post(page, fill_in(client, page, **changes), follow=True)


def messages_of(response: Any) -> list[str]:
    """What the page says about what was done."""
    return [str(message) for message in response.context["messages"]]


def errors_of(response: Any) -> list[str]:
    """What the page says about its form."""
    assert response.status_code == 200
    return [error for errors in response.context["form"].errors.values() for error in errors]


def links_of(client: Any, row: Any) -> list[str]:
    """The labels of the buttons on the page of a row."""
    links = client.get(change(row)).context.get("action_links") or []
    return [link.label for link in links]


def follow(client: Any, row: Any, label: str) -> str:
    """The address of a button on the page of a row."""
    links = client.get(change(row)).context["action_links"]
    return next(str(link.url) for link in links if link.label == label)


def money_of(client: Any, payment: OrderPayment) -> dict[str, str]:
    """What the payment's page says, by label."""
    form = client.get(change(payment)).context["adminform"]
    return {
        capfirst(field.field["label"]): unescape(field.contents())
        for fieldset in form
        for line in fieldset
        for field in line
    }


def make_records(order: Order | None = None) -> PaymentIntent:
    """One row of each kind, beside an order, without asking Stripe."""
    payment = OrderPayment.objects.create(order=order or OrderFactory.create())
    attempt = StripeAttempt.objects.create(
        order_payment=payment,
        operation="create_intent",
        params={"amount": 11200, "currency": "usd"},
        livemode=False,
        outcome="succeeded",
        finished_at=timezone.now(),
    )
    stripe_id = f"pi_{uuid4().hex}"
    intent = PaymentIntent.objects.create(
        order_payment=payment,
        stripe_id=stripe_id,
        attempt=attempt,
        status="requires_payment_method",
        amount=11200,
        currency="usd",
        livemode=False,
        stripe_created_at=timezone.now(),
    )
    PaymentHistory.objects.create(
        order_payment=payment,
        payment_intent=intent,
        kind=FactKind.PAYMENT_FAILED,
        source=Source.WEBHOOK,
        needs_dispatch=True,
    )
    ReviewItem.objects.create(
        order_payment=payment,
        payment_intent=intent,
        reason="intent_missing",
        detail="detail",
        closed_at=timezone.now(),
        closing_note="closed",
    )
    of_intent = {"order_payment": payment, "payment_intent": intent}
    Refund.objects.create(**of_intent, amount=1200, currency="usd", livemode=False)
    Dispute.objects.create(
        **of_intent,
        stripe_id=f"du_{uuid4().hex}",
        status="warning_closed",
        amount=11200,
        currency="usd",
        livemode=False,
        stripe_created_at=timezone.now(),
    )
    BalanceTransaction.objects.create(
        **of_intent,
        stripe_id=f"txn_{uuid4().hex}",
        source=f"ch_{uuid4().hex}",
        reporting_category="charge",
        amount=11200,
        fee=355,
        net=10845,
        currency="usd",
        stripe_created_at=timezone.now(),
    )
    WebhookEvent.objects.create(
        event_id=f"evt_{uuid4().hex}",
        type="payment_intent.created",
        livemode=False,
        object_id=stripe_id,
        stripe_created_at=timezone.now(),
        payload={"id": "evt"},
    )
    StaffEntry.objects.create(
        order_payment=payment,
        kind=StaffEntry.Kind.WAIVER,
        amount=1200,
        currency="usd",
        reason="Goodwill",
        request_key="k",
        revoked_at=timezone.now(),
    )
    locked = read_rows(payment)
    derive(locked)
    locked.flush()
    return intent
