"""A browser of staff, and helpers to read and fill in the pages of the admin."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from uuid import uuid4

from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst

from shop_payments import models
from shop_payments.ledger.evaluation import derive
from shop_payments.ledger.payments import read_rows
from tests.factories import OrderFactory
from tests.models import support as rows
from tests.support import writes

RECORDS: list[Any] = [
    *(models.BalanceTransaction, models.Dispute, models.Refund, models.OrderPayment),
    *(models.PaymentIntent, models.StripeAttempt, models.WebhookEvent, models.PaymentHistory),
    *(models.ReviewItem, models.StaffEntry),
]
"""The models whose rows nobody edits."""


def _url(model: Any, page: str, *args: Any) -> str:
    meta = model._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{page}", args=args)


def changelist(model: Any) -> str:
    return _url(model, "changelist")


def add(model: Any) -> str:
    return _url(model, "add")


def change(row: Any) -> str:
    return _url(row, "change", row.pk)


def delete(row: Any) -> str:
    return _url(row, "delete", row.pk)


def url_of(where: Any) -> str:
    if isinstance(where, str):
        return where
    return changelist(where) if isinstance(where, type) else change(where)


def text_of(response: Any) -> str:
    assert response.status_code == 200
    content: str = response.content.decode()
    return content


def form_of(response: Any) -> dict[str, str]:
    """The data that a browser would send back from a page of the admin."""
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
    """The data that a browser sends after staff have filled in some fields and ticked the checkbox.

    A form with an amount is sent once without the checkbox first, as its page requires.
    """
    values = {**values_of(client.get(page)), **changes}
    if "confirmed" in values:
        shown = client.post(page, {**values, "sure": ""})
        if shown.status_code == 200:
            values |= {"confirmed": values_of(shown)["confirmed"]}
    return {**values, "sure": "on", **changes}


def values_of(response: Any) -> dict[str, str]:
    """The data of the form of an action's page."""
    form = response.context["form"]
    values = {bound.html_name: str(bound.value() or "") for bound in form if bound.name != "sure"}
    return {**values, "key": str(response.context["key"])}


def page_of(action: str) -> str:
    """The page of an action on the only payment, and on its only intent, staff entry or refund."""
    args: list[Any] = [models.OrderPayment.objects.get().pk]
    of_action: dict[str, Any] = {"revoke": models.StaffEntry, "give_up": models.Refund}
    if action not in {"waive", "evaluate", "refresh"}:
        args.append(of_action.get(action, models.PaymentIntent).objects.get().pk)
    return reverse(f"admin:shop_payments_orderpayment_{action}", args=args)


def send(client: Any, page: str, **changes: str) -> Any:
    """Fill in the form of a page, send it, and follow the redirect."""
    return client.post(page, fill_in(client, page, **changes), follow=True)


def messages_of(response: Any) -> list[str]:
    """The messages on a page."""
    return [str(message) for message in response.context["messages"]]


def errors_of(response: Any) -> list[str]:
    """The errors of the form of a page."""
    assert response.status_code == 200
    return [error for errors in response.context["form"].errors.values() for error in errors]


def links_of(client: Any, row: Any) -> list[str]:
    """The labels of the buttons on the page of a row."""
    links = client.get(change(row)).context.get("action_links") or []
    return [link.label for link in links]


def effect_of(response: Any) -> str:
    """The effect that the page of an action announces; empty if it shows none."""
    found = re.search(r'<div class="description">(.*?)</div>', text_of(response), re.S)
    return "" if found is None else found[1].strip()


def facts_of(response: Any) -> dict[str, str]:
    """The facts on the page of an action, by label."""
    assert response.status_code == 200
    return {str(label): str(value) for label, value in response.context["facts"]}


def has_happened(stripe: Any) -> bool:
    """Whether staff have captured, refunded, waived or settled anything."""
    is_captured = any(path.endswith("/capture") for path in writes(stripe))
    return is_captured or models.Refund.objects.exists() or models.StaffEntry.objects.exists()


def money_of(client: Any, payment: models.OrderPayment) -> dict[str, str]:
    """The values on the page of a payment, by label."""
    form = client.get(change(payment)).context["adminform"]
    return {
        capfirst(field.field["label"]): unescape(field.contents())
        for fieldset in form
        for line in fieldset
        for field in line
    }


class Staff(Client):
    """A browser of staff. ``where`` is a model (its list), a row (its page) or a URL."""

    buttons, fill, submit = links_of, fill_in, send

    def read(self, where: Any, **query: Any) -> str:
        """The text of a page."""
        return text_of(self.get(url_of(where), query))

    def rows(self, model: Any, **filters: Any) -> set[Any]:
        """The rows of a list."""
        response = self.get(changelist(model), filters)
        assert response.status_code == 200
        return set(response.context["cl"].result_list)

    def choose(self, action: str, *rows: Any, **more: Any) -> Any:
        """Select rows of a list, and run one of its actions."""
        selected = {"action": action, "_selected_action": [row.pk for row in rows], **more}
        return self.post(changelist(type(rows[0])), selected, follow=True)

    def target(self, row: Any, label: str) -> str:
        """The URL of a button on the page of a row."""
        links = self.get(change(row)).context["action_links"]
        return next(str(link.url) for link in links if link.label == label)

    def press(self, row: Any, label: str, **changes: str) -> Any:
        """Follow a button on the page of a row, and send the form that it leads to."""
        return self.submit(self.target(row, label), **changes)

    def save(self, where: Any, **changes: str) -> Any:
        """Fill in the page that adds a row of a model or changes a row, and save."""
        return save(self, add(where) if isinstance(where, type) else change(where), **changes)

    def act(self, action: str, **changes: Any) -> Any:
        """Fill in the form of an action, send it, and follow the redirect."""
        return self.submit(page_of(action), **changes)


def make_records(order: models.Order | None = None) -> models.PaymentIntent:
    """Create one row of each kind for an order, without asking Stripe."""
    payment = models.OrderPayment.objects.create(order=order or OrderFactory.create())
    now, intent, mark = timezone.now(), rows.make_intent(payment, amount=11200), uuid4().hex
    of_intent: dict[str, Any] = {"order_payment": payment, "payment_intent": intent}
    money: dict[str, Any] = {"amount": 11200, "currency": "usd", "stripe_created_at": now}
    failed = {"kind": "payment_failed", "source": "webhook", "needs_dispatch": True}
    rows.make_fact(payment, payment_intent=intent, **failed)
    note = {"sentence": "closed_by_staff", "note": "closed"}
    rows.make_review(intent, reason="intent_missing", closing_data=note, closed_at=now)
    rows.make_refund(intent, amount=1200)
    rows.make_event(f"evt_{mark}")
    rows.make_entry(payment, reason="Goodwill", request_key="k", amount=11200, revoked_at=now)
    dispute = {"stripe_id": f"du_{mark}", "status": "warning_closed", "livemode": False}
    models.Dispute.objects.create(**of_intent, **money, **dispute)
    moved = {"stripe_id": f"txn_{mark}", "source": f"ch_{mark}", "reporting_category": "charge"}
    models.BalanceTransaction.objects.create(**of_intent, **money, **moved, fee=355, net=10845)
    locked = read_rows(payment)
    derive(locked)
    locked.flush()
    return intent
