"""The pages of Stripe's events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.actions import origin_of
from shop_payments.admin.base import (
    NOTHING,
    in_words,
    moment_text,
    stored_text,
    without_transaction,
)
from shop_payments.admin.confirm_many import ManyRow, confirm_page
from shop_payments.admin.forms import EventsForm
from shop_payments.admin.lists import known_values, time_column
from shop_payments.admin.records import RecordAdmin
from shop_payments.exceptions import EventFailed, ShopPaymentsError
from shop_payments.models import WebhookEvent
from shop_payments.models.words import choice_label
from shop_payments.services.receive_event import replay_event, skip_event

_MAX_REPLAYS = 100

TYPES = (
    "payment_intent.created",
    "payment_intent.requires_action",
    "payment_intent.processing",
    "payment_intent.amount_capturable_updated",
    "payment_intent.payment_failed",
    "payment_intent.succeeded",
    "payment_intent.canceled",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refunded",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "charge.dispute.closed",
    "radar.early_fraud_warning.created",
    "radar.early_fraud_warning.updated",
    "review.opened",
    "review.closed",
)
"""The types of the events that docs/doctor.md asks Stripe to send."""


def _result(event: WebhookEvent) -> str:
    return f"{choice_label(event, 'status')}, {event.outcome}"


class WebhookEventAdmin(RecordAdmin):
    received = time_column("received_at", _("received at"))
    list_display = ["received", "type", "status", "outcome", "event_id"]
    list_filter = ["status", known_values("type", TYPES)]
    sortable_by = ["received"]
    search_fields = ["event_id", "intent_id", "object_id"]
    search_help_text = _("Search by the id of the event, or of its payment intent or object.")
    fieldsets = [
        (None, {"fields": ["event_id", "type", "object_id", "intent_id", "mode", "api_version"]}),
        (
            _("Outcome"),
            {
                "description": _(
                    "Failed events are retried automatically. To process or skip an event now,"
                    " select it in the list and choose the action above the list."
                ),
                "fields": [
                    "status",
                    "outcome",
                    "error_text",
                    "attempts",
                    "received_at",
                    "processed_at",
                ],
            },
        ),
        (
            _("Received from Stripe"),
            {
                "description": _(
                    "Without the client secret. Amounts are in minor units of the currency."
                ),
                "fields": ["stripe_created_at", "payload_text"],
            },
        ),
    ]

    actions = ["replay", "skip"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Payloads are large, and the list does not show them.
        return super().get_queryset(request).defer("payload")

    # The action processes each event in its own transaction, and may call Stripe.
    @without_transaction
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, extra_context)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Return whether this member of staff may process events again."""
        return request.user.has_perm("shop_payments.change_webhookevent")

    @admin.action(description=_("Process the selected events again"), permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[WebhookEvent]) -> HttpResponse | None:
        """Show what will happen; after a confirmation, process one event after another."""
        if queryset[: _MAX_REPLAYS + 1].count() > _MAX_REPLAYS:
            # A server kills a request that takes minutes, and each event adds a message.
            words = gettext(
                "Select at most %(maximum)s events. Nothing was done. The shop's operator can "
                "process any number with the command manage.py shop_payments_events replay."
            )
            self.message_user(request, words % {"maximum": _MAX_REPLAYS}, messages.ERROR)
            return None
        # Payloads are large. Each is loaded when its event is processed.
        events = list(queryset.defer("payload").order_by("pk"))
        form = EventsForm(request.POST if "confirmed" in request.POST else None)
        if form.is_valid():
            self._replay_all(request, events)
            return None
        heading = ngettext(
            "%(count)d event will be processed again",
            "%(count)d events will be processed again",
            len(events),
        )
        effect = gettext(
            "Each event is processed as if Stripe had just sent it. Stripe may be asked for the "
            "current state. Facts that are already known are not recorded a second time."
        )
        return self._confirm_page(
            request,
            form,
            events,
            action="replay",
            title=gettext("Process several events again"),
            heading=heading,
            effect=effect,
            button=gettext("Process again"),
        )

    def _confirm_page(
        self,
        request: HttpRequest,
        form: EventsForm,
        events: Sequence[WebhookEvent],
        *,
        heading: str,
        **texts: str,
    ) -> HttpResponse:
        return confirm_page(
            self,
            request,
            form,
            heading=heading % {"count": len(events)},
            rows=[
                ManyRow(
                    row=event,
                    name=event.event_id,
                    details=[event.type, choice_label(event, "status"), event.outcome],
                )
                for event in events
            ],
            **texts,
        )

    def _replay_all(self, request: HttpRequest, events: Sequence[WebhookEvent]) -> None:
        for event in events:
            try:
                replayed = replay_event(event)
            except EventFailed:
                event.refresh_from_db(fields=["status", "outcome_data"])
                self._report(request, event, _result(event))
            except ShopPaymentsError as error:
                self._report(request, event, in_words(error))
            else:
                is_done = replayed.status in WebhookEvent.SUCCESSES
                level = messages.SUCCESS if is_done else messages.ERROR
                self._report(request, event, _result(replayed), level)

    def _report(
        self, request: HttpRequest, event: WebhookEvent, words: str, level: int = messages.ERROR
    ) -> None:
        values = {"type": event.type, "when": moment_text(event.received_at), "words": words}
        text = gettext("Event %(type)s, received %(when)s: %(words)s")
        self.message_user(request, text % values, level)

    @admin.action(description=_("Skip the selected events"), permissions=["replay"])
    def skip(self, request: HttpRequest, queryset: QuerySet[WebhookEvent]) -> HttpResponse | None:
        """Show what will happen; after a confirmation, skip the events that have failed."""
        failed = queryset.filter(status__in=WebhookEvent.FAILURES).order_by("pk")
        events = list(failed.defer("payload")[:_MAX_REPLAYS])
        form = EventsForm(request.POST if "confirmed" in request.POST else None)
        if events and not form.is_valid():
            return self._confirm_page(
                request,
                form,
                events,
                action="skip",
                title=gettext("Skip several events"),
                heading=ngettext(
                    "%(count)d event will be skipped",
                    "%(count)d events will be skipped",
                    len(events),
                ),
                effect=gettext(
                    "These events will not be processed, and staff are not asked about them any "
                    "more. Each event shows who skipped it. No money moves. Skip an event only "
                    "if you know what it reported, because it may be about money."
                ),
                button=gettext("Skip"),
            )
        origin = origin_of(request)
        skipped = sum(skip_event(event, origin=origin) for event in events)
        words = ngettext(
            "%(count)d event was skipped. Events that have not failed were not changed.",
            "%(count)d events were skipped. Events that have not failed were not changed.",
            skipped,
        )
        self.message_user(request, words % {"count": skipped})
        return None

    @admin.display(description=_("outcome"))
    def outcome(self, event: WebhookEvent) -> str:
        return event.outcome

    @admin.display(description=_("for the shop's developers"))
    def error_text(self, event: WebhookEvent) -> str:
        return event.error_text or NOTHING

    @admin.display(description=_("payload"))
    def payload_text(self, event: WebhookEvent) -> str:
        return stored_text(event.payload, event.purged_at)
