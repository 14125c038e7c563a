"""What staff write about a payment: entries about money that Stripe does not know, and notes."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from shop_payments.models.payments import OrderPayment, PaymentIntent, StripeAttempt
from shop_payments.models.sentences import describe_reason
from shop_payments.models.words import amount_words, choice_label


class StaffEntry(models.Model):
    """A waiver, or a settlement outside Stripe.

    Entries are never changed or deleted, only revoked. The balance is derived from those that are
    not revoked (``balance.py``).

    A waiver that was recorded with a partial capture belongs to that capture, and counts only if
    exactly that amount was captured.
    """

    class Kind(models.TextChoices):
        """The kinds of entries."""

        WAIVER = "waiver", _("waived")
        SETTLEMENT = "settlement", _("settled outside Stripe")

    order_payment = models.ForeignKey(
        OrderPayment,
        on_delete=models.PROTECT,
        related_name="staff_entries",
        verbose_name=_("order payment"),
    )
    payment_intent = models.ForeignKey(
        PaymentIntent,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="staff_entries",
        verbose_name=_("payment intent"),
        help_text=_("The payment that was settled outside Stripe, or captured in part."),
    )
    capture = models.OneToOneField(
        StripeAttempt,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="waiver",
        editable=False,
        verbose_name=_("capture"),
    )
    kind = models.CharField(_("kind"), max_length=16, choices=Kind.choices)
    amount = models.PositiveBigIntegerField(_("amount"), help_text=_("In minor units."))
    currency = models.CharField(_("currency"), max_length=3)
    reason = models.CharField(_("reason"), max_length=500)
    total_seen = models.PositiveBigIntegerField(null=True, blank=True, editable=False)
    request_key = models.CharField(max_length=255, editable=False)
    # The text stays if the user in ``created_by`` is deleted.
    actor = models.CharField(_("by"), max_length=255, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("recorded by"),
    )
    created_at = models.DateTimeField(_("recorded at"), auto_now_add=True)
    revoked_at = models.DateTimeField(_("revoked at"), null=True, blank=True)
    revoked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("revoked by"),
    )
    revocation_reason = models.CharField(_("reason for revoking"), max_length=500, blank=True)

    class Meta:
        verbose_name = _("staff entry")
        verbose_name_plural = _("staff entries")
        ordering: ClassVar[list[str]] = ["-pk"]
        permissions: ClassVar[Any] = [
            ("waive_amount", "Can waive what an order owes"),
            ("settle_outside_stripe", "Can record that a payment was settled outside Stripe"),
        ]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="shop_payments_entry_amount_positive"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="shop_payments_entry_has_reason"),
            models.CheckConstraint(
                condition=~Q(kind="settlement") | Q(payment_intent__isnull=False),
                name="shop_payments_entry_settles_an_intent",
            ),
            models.CheckConstraint(
                condition=Q(revoked_at__isnull=False) | Q(revocation_reason=""),
                name="shop_payments_entry_revoked_has_time",
            ),
            models.UniqueConstraint(
                fields=["order_payment", "request_key"],
                name="shop_payments_entry_once_per_request_key",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.amount_display} {choice_label(self, 'kind')}"

    @property
    def reason_text(self) -> str:
        """The reason for display: what staff wrote, or the app's reason."""
        return describe_reason(self.reason)

    @property
    def revocation_text(self) -> str:
        """The reason for revoking for display."""
        return describe_reason(self.revocation_reason)

    @property
    def is_revoked(self) -> bool:
        """Whether it was revoked."""
        return self.revoked_at is not None

    @property
    def amount_display(self) -> str:
        """The amount for display, with its currency."""
        return amount_words(self.amount, self.currency)


class StaffNote(models.Model):
    """A note about a payment, for the other staff. Notes are never changed or deleted."""

    order_payment = models.ForeignKey(
        OrderPayment,
        on_delete=models.PROTECT,
        related_name="staff_notes",
        verbose_name=_("order payment"),
    )
    text = models.CharField(_("note"), max_length=2000)
    request_key = models.CharField(max_length=255, editable=False)
    # The text stays if the user in ``created_by`` is deleted.
    actor = models.CharField(_("by"), max_length=255, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("written by"),
    )
    created_at = models.DateTimeField(_("written at"), auto_now_add=True)

    class Meta:
        verbose_name = _("staff note")
        verbose_name_plural = _("staff notes")
        ordering: ClassVar[list[str]] = ["-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(condition=~Q(text=""), name="shop_payments_note_has_text"),
            models.UniqueConstraint(
                fields=["order_payment", "request_key"],
                name="shop_payments_note_once_per_request_key",
            ),
        ]

    def __str__(self) -> str:
        return self.text
