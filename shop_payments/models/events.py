"""The inbox of Stripe's events, and how far the sweep has read Stripe's list of events."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from shop_payments.models.sentences import render_stored


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

    WAITING = (Status.RECEIVED, Status.FAILED)
    """Events with these statuses are tried again."""

    FAILURES = (Status.FAILED, Status.SET_ASIDE)
    """Events with these statuses are shown to staff, who may skip them."""

    DONE = (*SUCCESSES, Status.SET_ASIDE)
    """Events with these statuses are only processed again if staff replay them."""

    FIRST_PAUSE = timedelta(minutes=2)
    """The pause before the sweep tries a failed event again. It doubles with each failure."""

    LONGEST_PAUSE = timedelta(hours=12)

    event_id = models.CharField(_("event id"), max_length=255)
    type = models.CharField(_("type"), max_length=255)
    livemode = models.BooleanField(_("live mode"))
    api_version = models.CharField(_("API version"), max_length=64, blank=True)
    object_id = models.CharField(_("object"), max_length=255, blank=True)
    intent_id = models.CharField(
        _("payment intent"),
        max_length=255,
        blank=True,
        help_text=_("The event's object, or the intent of its charge, refund or dispute."),
    )
    stripe_created_at = models.DateTimeField(_("created at Stripe"))
    payload = models.JSONField(_("payload"))
    status = models.CharField(
        _("status"), max_length=16, choices=Status.choices, default=Status.RECEIVED
    )
    outcome_data = models.JSONField(_("outcome"), default=dict, blank=True)
    attempts = models.PositiveIntegerField(_("tries"), default=0)
    received_at = models.DateTimeField(_("received at"), auto_now_add=True)
    processed_at = models.DateTimeField(_("processed at"), null=True, blank=True)
    purged_at = models.DateTimeField(_("purged at"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("Stripe event")
        verbose_name_plural = _("Stripe events")
        ordering: ClassVar[list[str]] = ["-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            # With unique=True on the field, PostgreSQL gets a second index, for LIKE.
            models.UniqueConstraint(fields=["event_id"], name="shop_payments_event_id_unique"),
            models.CheckConstraint(condition=~Q(event_id=""), name="shop_payments_event_has_id"),
            models.CheckConstraint(
                condition=Q(purged_at=None) | Q(status__in=["processed", "ignored"]),
                name="shop_payments_event_purged_when_done",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["object_id"], name="shop_payments_event_by_object"),
            models.Index(fields=["intent_id"], name="shop_payments_event_by_intent"),
            # For the sweep, which processes what is waiting, and for the admin.
            models.Index(
                fields=["status", "id"],
                condition=~Q(status="processed"),
                name="shop_payments_event_status",
            ),
            # For the purge: it shrinks with each batch, and starts with the oldest events.
            models.Index(
                fields=["received_at", "id"],
                condition=Q(purged_at=None),
                name="shop_payments_event_unpurged",
            ),
            # For the admin. Without the events of almost every payment, so that these stay fast.
            models.Index(
                fields=["type", "id"],
                condition=~Q(type__in=["payment_intent.created", "payment_intent.succeeded"]),
                name="shop_payments_event_by_type",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"

    @property
    def outcome(self) -> str:
        """What came of it, as text for staff."""
        return render_stored(self.outcome_data)

    @property
    def error_text(self) -> str:
        """The type of the error with its message, for developers; empty if there is none."""
        words = [self.outcome_data.get(name, "") for name in ("error", "message")]
        return ": ".join(filter(None, words))

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


class SweepState(models.Model):
    """The progress of the sweeps in one mode, test or live, and whether one is running."""

    LEASE = timedelta(minutes=5)
    """A sweep that has not shown for this long that it is alive has ended. While it runs, it shows
    that every half minute; the longest single request to Stripe takes less."""

    livemode = models.BooleanField(_("live mode"), unique=True)
    acquired_at = models.DateTimeField(
        _("running"), null=True, help_text=_("The last sign of life of the running sweep.")
    )
    finished_at = models.DateTimeField(_("last finished at"), null=True)
    compared_at = models.DateTimeField(
        _("lists compared at"),
        null=True,
        help_text=_("The start of the last sweep that compared Stripe's lists without a problem."),
    )
    newest_event = models.CharField(
        _("newest event"),
        max_length=255,
        blank=True,
        help_text=_("The next sweep asks Stripe for the events after this one."),
    )

    class Meta:
        verbose_name = _("state of the sweep")
        verbose_name_plural = _("states of the sweep")

    def __str__(self) -> str:
        return "live mode" if self.livemode else "test mode"

    def acquire(self, now: datetime) -> bool:
        """Acquire this for a sweep, or show that the sweep is alive; False if another has it."""
        rows = type(self).objects.filter(pk=self.pk, acquired_at=self.acquired_at)
        if not rows.update(acquired_at=now):
            return False
        self.acquired_at = now
        return True

    def is_acquired(self, now: datetime) -> bool:
        """Return whether a sweep is running.

        The clocks of two machines may differ. A time in the future counts for no longer than the
        lease.
        """
        return self.acquired_at is not None and abs(now - self.acquired_at) < self.LEASE
