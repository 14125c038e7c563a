"""The inbox of Stripe's events."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import ReadOnlyAdmin, stored_text
from shop_payments.models import WebhookEvent


@admin.register(WebhookEvent)
class WebhookEventAdmin(ReadOnlyAdmin):
    list_display = ["received_at", "type", "status", "outcome", "event_id"]
    list_filter = ["status", "livemode", "received_at", "type"]
    search_fields = ["event_id", "object_id", "type"]
    search_help_text = _("Search by event id, Stripe object or type.")
    fieldsets = [
        (None, {"fields": ["event_id", "type", "object_id", "mode", "api_version"]}),
        (
            _("What came of it"),
            {"fields": ["status", "outcome", "attempts", "received_at", "processed_at"]},
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

    @admin.display(description=_("payload"))
    def payload_text(self, event: WebhookEvent) -> str:
        return stored_text(event.payload, event.purged_at)
