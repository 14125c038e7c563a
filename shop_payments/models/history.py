"""The append-only history of a payment: what happened, when, from which source, and by whom."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, ClassVar, NoReturn

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.models.codes import FactKind, Source
from shop_payments.models.payments import OrderPayment, PaymentIntent
from shop_payments.models.sentences import render
from shop_payments.models.words import choice_label

INSERTED_LEASE = timedelta(minutes=1)
"""The time that the process that inserted a fact has to notify the host of it."""

DISPATCH_LEASE = timedelta(minutes=10)
"""The time that a process has after it has acquired a fact."""


class PaymentHistoryQuerySet(models.QuerySet["PaymentHistory"]):
    """Facts, which are added and read, but never changed."""

    def undispatched(self) -> PaymentHistoryQuerySet:
        """Keep the facts that the host has not been notified of, oldest first."""
        return self.filter(needs_dispatch=True, dispatched_at=None, skipped_at=None).order_by("pk")

    def mark_dispatched(self, facts: Iterable[PaymentHistory]) -> None:
        """Record that every receiver of these facts has returned."""
        now, done = timezone.now(), list(facts)
        if done:
            super().filter(pk__in=[fact.pk for fact in done]).update_dispatched_at(now)
        for fact in done:
            fact.dispatched_at = now

    def update_dispatched_at(self, moment: Any) -> int:
        """Set ``dispatched_at``, which changes after the insert."""
        return super().update(dispatched_at=moment)

    def acquire_dispatch(self, fact: PaymentHistory) -> bool:
        """Acquire a fact for this process; False if another one is handling it.

        The process that inserts a fact has acquired it for a minute, without a further statement.
        """
        now = timezone.now()
        is_left = Q(dispatch_acquired_at=None, created_at__lt=now - INSERTED_LEASE)
        is_old = Q(dispatch_acquired_at__lt=now - DISPATCH_LEASE)
        # Written by a process whose clock is ahead: it must not block others for longer.
        is_ahead = Q(dispatch_acquired_at__gt=now + DISPATCH_LEASE)
        is_ahead |= Q(dispatch_acquired_at=None, created_at__gt=now + INSERTED_LEASE)
        free = is_left | is_old | is_ahead
        rows = self.undispatched().filter(free, pk=fact.pk).order_by()
        return bool(super(PaymentHistoryQuerySet, rows).update(dispatch_acquired_at=now))

    def release_dispatch(self, facts: Iterable[PaymentHistory]) -> None:
        """Let the next process acquire these facts at once."""
        rows = self.filter(pk__in=[fact.pk for fact in facts])
        long_ago = timezone.now() - 2 * DISPATCH_LEASE  # as if the lease had expired
        super(PaymentHistoryQuerySet, rows).update(dispatch_acquired_at=long_ago)

    def record_failed_dispatch(self, fact: PaymentHistory) -> None:
        """Count a notification that a receiver did not accept."""
        fact.dispatch_failures += 1
        rows = self.filter(pk=fact.pk)
        failures = models.F("dispatch_failures") + 1
        super(PaymentHistoryQuerySet, rows).update(dispatch_failures=failures)

    def skip_dispatch(self, fact: PaymentHistory, *, by: str) -> bool:
        """Skip a notification; False if the host was notified of it, or it was skipped before."""
        rows = self.undispatched().filter(pk=fact.pk).order_by()
        moment = timezone.now()
        return bool(
            super(PaymentHistoryQuerySet, rows).update(skipped_at=moment, skipped_by=by[:255])
        )

    def delete_with(self, payment: OrderPayment) -> None:
        """Delete the facts of a payment that is deleted as a whole."""
        rows = self.filter(order_payment=payment)
        super(PaymentHistoryQuerySet, rows).delete()

    def update(self, **kwargs: Any) -> NoReturn:
        raise TypeError("the payment history is append-only")

    def delete(self) -> NoReturn:
        raise TypeError("the payment history is append-only")


class PaymentHistory(models.Model):
    """One fact. By its ``fact_id``, a receiver recognises a repetition."""

    fact_id = models.UUIDField(
        _("notification id"), unique=True, default=uuid.uuid4, editable=False
    )
    order_payment = models.ForeignKey(
        OrderPayment,
        on_delete=models.PROTECT,
        related_name="history",
        verbose_name=_("order payment"),
    )
    payment_intent = models.ForeignKey(
        PaymentIntent,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        # Facts are read by their payment, and intents are never deleted: no index is needed.
        db_index=False,
        related_name="history",
        verbose_name=_("payment intent"),
    )
    kind = models.CharField(_("kind"), max_length=32, choices=FactKind.choices)
    source = models.CharField(_("source"), max_length=16, choices=Source.choices)
    actor = models.CharField(_("by"), max_length=255, blank=True)
    request_id = models.CharField(_("Stripe request id"), max_length=255, blank=True)
    data = models.JSONField(_("figures"), default=dict)
    needs_dispatch = models.BooleanField(_("notifies the shop"), default=False)
    dispatched_at = models.DateTimeField(_("shop notified at"), null=True, blank=True)
    dispatch_acquired_at = models.DateTimeField(null=True, blank=True, editable=False)
    dispatch_failures = models.PositiveIntegerField(
        _("failed notifications"), default=0, editable=False
    )
    skipped_at = models.DateTimeField(_("skipped at"), null=True, blank=True, editable=False)
    skipped_by = models.CharField(_("skipped by"), max_length=255, blank=True, editable=False)
    created_at = models.DateTimeField(_("when"), auto_now_add=True)

    objects = PaymentHistoryQuerySet.as_manager()

    class Meta:
        # Related managers use it, too, so that they cannot change facts either.
        base_manager_name = "objects"
        verbose_name = _("payment history entry")
        verbose_name_plural = _("payment history entries")
        ordering: ClassVar[list[str]] = ["-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                # The guard against a second fact. ``paid_recorded`` only saves the try.
                fields=["order_payment"],
                condition=Q(kind="order_paid"),
                name="shop_payments_order_paid_once",
            ),
            models.UniqueConstraint(
                fields=["payment_intent"],
                condition=Q(kind="payment_received"),
                name="shop_payments_payment_received_once",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(
                fields=["order_payment", "id"],
                condition=Q(needs_dispatch=True, dispatched_at=None, skipped_at=None),
                name="shop_payments_undispatched",
            ),
            # For the admin. Without what almost every payment writes, so that payments stay fast.
            models.Index(
                fields=["kind", "id"],
                condition=~Q(kind__in=["intent_created", "payment_received", "order_paid"]),
                name="shop_payments_history_kind",
            ),
            models.Index(
                fields=["source", "id"],
                condition=~Q(source__in=["api", "webhook"]),
                name="shop_payments_history_source",
            ),
        ]

    def __str__(self) -> str:
        return self.sentence

    def save(
        self,
        *,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        if not self._state.adding:
            raise TypeError("the payment history is append-only")
        super().save(force_insert=True, using=using)

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("the payment history is append-only")

    @property
    def sentence(self) -> str:
        """The fact as text for staff."""
        values = {
            "kind": choice_label(self, "kind"),
            "detail": self.detail,
            "source": self._source_words,
        }
        if not self.detail:
            return gettext("%(kind)s (%(source)s)") % values
        return gettext("%(kind)s: %(detail)s (%(source)s)") % values

    @property
    def _source_words(self) -> str:
        # The pages ask Stripe. What they learn is proof from Stripe, not the word of a customer.
        if self.source == Source.SHOP and self.actor.startswith("checkout"):
            return gettext("Stripe's answer to the pay page")
        return choice_label(self, "source")

    @property
    def detail(self) -> str:
        """The figures as text for staff. A kind with several sentences stores the code of one."""
        return render(self.data.get("sentence", self.kind), self.data) if self.data else ""
