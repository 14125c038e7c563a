"""Early fraud warnings and reviews of Stripe Radar. Neither moves money."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy as _

from shop_payments.models.payments import OrderPayment, PaymentIntent


class RadarRecord(models.Model):
    """The common fields of Radar's objects."""

    order_payment = models.ForeignKey(
        OrderPayment,
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name=_("order payment"),
    )
    payment_intent = models.ForeignKey(
        PaymentIntent,
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name=_("payment intent"),
    )
    stripe_id = models.CharField(_("Stripe id"), max_length=255, unique=True)
    livemode = models.BooleanField(_("live mode"))
    stripe_created_at = models.DateTimeField(_("created at Stripe"), db_index=True)
    created_at = models.DateTimeField(_("first seen at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)
    version = models.PositiveIntegerField(default=0, editable=False)

    class Meta:
        abstract = True
        ordering: ClassVar[list[str]] = ["-created_at", "-pk"]


class EarlyFraudWarning(RadarRecord):
    """The card's issuer suspects fraud: a dispute is likely.

    See: https://docs.stripe.com/api/radar/early_fraud_warnings/object (checked 2026-11)
    """

    actionable = models.BooleanField(
        _("actionable"), help_text=_("Not disputed and not fully refunded.")
    )
    fraud_type = models.CharField(_("fraud type"), max_length=64, blank=True)

    class Meta(RadarRecord.Meta):
        verbose_name = _("early fraud warning")
        verbose_name_plural = _("early fraud warnings")

    def __str__(self) -> str:
        return f"{self.stripe_id}: {self.fraud_type}"


class RadarReview(RadarRecord):
    """A review of a payment that Radar, a rule or staff have asked for.

    See: https://docs.stripe.com/api/radar/reviews/object (checked 2026-11)
    """

    is_open = models.BooleanField(_("open"))
    reason = models.CharField(
        _("reason"),
        max_length=64,
        blank=True,
        help_text=_("Why the review is open, or why it was closed."),
    )

    class Meta(RadarRecord.Meta):
        verbose_name = _("Radar review")
        verbose_name_plural = _("Radar reviews")

    def __str__(self) -> str:
        return f"{self.stripe_id}: {self.reason}"
