"""The inbox of Stripe's events."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import ReadOnlyAdmin, outside_of_transactions, stored_text
from shop_payments.exceptions import ShopPaymentsError
from shop_payments.models import WebhookEvent
from shop_payments.services.receive_event import replay_event

_MOST_REPLAYS = 100


class WebhookEventAdmin(ReadOnlyAdmin):
    list_display = ["received_at", "type", "status", "outcome", "event_id"]
    list_filter = ["status", "livemode", "received_at", "type"]
    search_fields = ["event_id", "object_id", "type"]
    search_help_text = _("Search by event id, Stripe object or type.")
    fieldsets = [
        (None, {"fields": ["event_id", "type", "object_id", "mode", "api_version"]}),
        (
            _("What came of it"),
            {
                "description": _(
                    "What has failed comes again by itself. To have an event processed now, tick"
                    " it in the list and choose the action above it."
                ),
                "fields": ["status", "outcome", "attempts", "received_at", "processed_at"],
            },
        ),
        (
            _("What Stripe sent"),
            {
                "description": _(
                    "Without the client secret. Amounts are in the currency's minor units here."
                ),
                "fields": ["stripe_created_at", "payload_text"],
            },
        ),
    ]

    actions = ["replay"]

    @outside_of_transactions
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, extra_context)

    def has_replay_permission(self, request: HttpRequest) -> bool:
        """Whether this person may have events processed again."""
        return request.user.has_perm("shop_payments.change_webhookevent")

    @admin.action(description=_("Process the selected events again"), permissions=["replay"])
    def replay(self, request: HttpRequest, queryset: QuerySet[WebhookEvent]) -> None:
        if queryset.count() > _MOST_REPLAYS:
            # A server ends a request that takes minutes, and each event has a message.
            words = gettext(
                "At most %(most)s events are processed again from here; nothing was done."
                " manage.py shop_payments_events replay takes any number."
            )
            self.message_user(request, words % {"most": _MOST_REPLAYS}, messages.ERROR)
            return
        for event in queryset.defer("payload").order_by("pk"):
            try:
                replayed = replay_event(event)
            except ShopPaymentsError as error:
                self.message_user(request, self._about(event, str(error)), messages.ERROR)
            else:
                is_done = replayed.status in WebhookEvent.SUCCESSES
                level = messages.SUCCESS if is_done else messages.ERROR
                words = f"{replayed.get_status_display()}, {replayed.outcome}"
                self.message_user(request, self._about(event, words), level)

    @staticmethod
    def _about(event: WebhookEvent, words: str) -> str:
        return gettext("Event %(event)s: %(words)s") % {"event": event, "words": words}

    @admin.display(description=_("payload"))
    def payload_text(self, event: WebhookEvent) -> str:
        return stored_text(event.payload, event.purged_at)
