"""The timeline of a payment: what happened, what Stripe sent, and what staff wrote."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from django.contrib.admin import AdminSite
from django.utils import formats
from django.utils.translation import gettext

from shop_payments.admin.base import ROWS_SHOWN, page_url
from shop_payments.admin.history import FactColumns, name_staff
from shop_payments.models import OrderPayment, PaymentHistory, Source, StaffNote, WebhookEvent
from shop_payments.models.words import choice_label, local_time


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the timeline."""

    at: datetime
    text: str
    who: str = ""
    more: str = ""
    """What staff should know about it, such as a notification that failed."""

    url: str = ""
    is_note: bool = False
    is_quiet: bool = False
    """Whether it only shows where another line comes from."""

    @property
    def when(self) -> str:
        """The time with seconds, because much happens in the same minute, and its zone."""
        local = local_time(self.at)
        return f"{formats.date_format(local.date())}, {local:%H:%M:%S} {local.tzname()}"


def timeline_of(payment: OrderPayment, *, site: AdminSite) -> list[Entry]:
    """Return the newest entries, newest first."""
    found = [*_facts(payment, site), *_events(payment, site), *_notes(payment)]
    newest_first = sorted(found, key=lambda entry: entry.at, reverse=True)
    return list(islice(newest_first, ROWS_SHOWN))


def _facts(payment: OrderPayment, site: AdminSite) -> Iterator[Entry]:
    facts: list[Any] = list(PaymentHistory.objects.filter(order_payment=payment)[:ROWS_SHOWN])
    name_staff(facts)
    columns = FactColumns()
    for fact in facts:
        is_waiting = fact.needs_dispatch and fact.dispatched_at is None
        notified = columns.notified(fact) if is_waiting or fact.dispatch_failures else ""
        yield Entry(
            at=fact.created_at,
            text=columns.what_happened(fact),
            who=_name(fact),
            more=gettext("shop notified: %(when)s") % {"when": notified} if notified else "",
            url=page_url(fact, site=site),
        )


def _name(fact: Any) -> str:
    """Return who did it; empty for Stripe, whose messages are in the timeline themselves."""
    is_message = fact.source == Source.WEBHOOK
    return "" if is_message else fact.staff_names.get(fact.actor, fact.actor)


def _events(payment: OrderPayment, site: AdminSite) -> Iterator[Entry]:
    ids = [intent.stripe_id for intent in payment.payment_intents.all()]
    events = WebhookEvent.objects.filter(intent_id__in=ids)
    used = events.exclude(outcome_data__sentence="unused_type")
    for event in used.order_by("-pk")[:ROWS_SHOWN]:
        values = {"type": event.type, "status": choice_label(event, "status")}
        yield Entry(
            at=event.received_at,
            text=gettext("Message from Stripe, %(type)s: %(status)s") % values,
            url=page_url(event, site=site),
            is_quiet=event.status in WebhookEvent.SUCCESSES,
        )


def _notes(payment: OrderPayment) -> Iterator[Entry]:
    notes = StaffNote.objects.filter(order_payment=payment).select_related("created_by")
    for note in notes[:ROWS_SHOWN]:
        name = note.actor if note.created_by is None else note.created_by.get_username()
        yield Entry(at=note.created_at, text=note.text, who=name, is_note=True)
