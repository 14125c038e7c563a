"""The inbox of Stripe's events."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _


class WebhookEvent(models.Model):
    """An event that Stripe has signed, with its outcome.

    ``payload`` is the event without client secrets. It is empty after the purge.
    """

    class Status(models.TextChoices):
        """The processing status of an event."""

        RECEIVED = "received", _("received")
        PROCESSED = "processed", _("processed")
        IGNORED = "ignored", _("not ours or not needed")
        FAILED = "failed", _("failed, will be tried again")
        SET_ASIDE = "set_aside", _("set aside for staff")

    MAX_ATTEMPTS = 20
    """After this many failures, an event is set aside instead of being tried again."""

    SUCCESSES = (Status.PROCESSED, Status.IGNORED)
    """Events with these statuses are never processed again, so their payloads may be purged."""

    DONE = (*SUCCESSES, Status.SET_ASIDE)
    """Events with these statuses are only processed again if staff replay them."""

    FIRST_PAUSE = timedelta(minutes=2)
    """The pause before the sweep tries a failed event again. It doubles with each failure."""

    LONGEST_PAUSE = timedelta(hours=12)

    event_id = models.CharField(_("event id"), max_length=255, unique=True)
    type = models.CharField(_("type"), max_length=255, db_index=True)
    livemode = models.BooleanField(_("live mode"))
    api_version = models.CharField(_("API version"), max_length=64, blank=True)
    object_id = models.CharField(_("object"), max_length=255, blank=True, db_index=True)
    intent_id = models.CharField(
        _("payment intent"),
        max_length=255,
        blank=True,
        db_index=True,
        help_text=_("The event's object, or the intent of its charge, refund or dispute."),
    )
    stripe_created_at = models.DateTimeField(_("created at Stripe"))
    payload = models.JSONField(_("payload"))
    status = models.CharField(
        _("status"), max_length=16, choices=Status.choices, default=Status.RECEIVED, db_index=True
    )
    outcome = models.CharField(_("outcome"), max_length=500, blank=True)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    received_at = models.DateTimeField(_("received at"), auto_now_add=True)
    processed_at = models.DateTimeField(_("processed at"), null=True, blank=True)
    purged_at = models.DateTimeField(_("purged at"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("webhook event")
        verbose_name_plural = _("webhook events")
        ordering: ClassVar[list[str]] = ["-received_at", "-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=~models.Q(event_id=""), name="shop_payments_event_has_id"
            ),
            models.CheckConstraint(
                condition=models.Q(purged_at=None) | models.Q(status__in=["processed", "ignored"]),
                name="shop_payments_event_purged_when_done",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            # For the purge: it shrinks with each batch, and starts with the oldest events.
            models.Index(
                fields=["received_at", "id"],
                condition=models.Q(purged_at=None),
                name="shop_payments_event_unpurged",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"

    @property
    def is_done(self) -> bool:
        """Whether it is processed again only if staff replay it."""
        return self.status in self.DONE

    def is_due(self, now: datetime) -> bool:
        """Return whether it is time to process an event that failed or was never processed."""
        tried_at = self.processed_at or self.received_at
        doublings: int = max(min(self.attempts, self.MAX_ATTEMPTS) - 1, 0)
        # abs(), because a process whose clock is ahead may have written a time in the future.
        return bool(abs(now - tried_at) > min(self.FIRST_PAUSE * 2**doublings, self.LONGEST_PAUSE))
