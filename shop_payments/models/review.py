"""What a person has to decide."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from shop_payments.models.payments import OrderPayment, PaymentIntent


class ReviewItemQuerySet(models.QuerySet["ReviewItem"]):
    """Items, found."""

    def open(self) -> ReviewItemQuerySet:
        """Keep what nobody has decided yet."""
        return self.filter(resolved_at=None)


class ReviewItem(models.Model):
    """Something that does not fit, why, and what to do about it."""

    class Reason(models.TextChoices):
        """Why a person is needed."""

        AMOUNT_MISMATCH = "amount_mismatch", _("the amount differs from what is due")
        CURRENCY_MISMATCH = "currency_mismatch", _("the currency differs from the order's")
        WRONG_MODE = "wrong_mode", _("test and live mode are mixed up")
        PAID_TWICE = "paid_twice", _("the order was paid twice")
        ORDER_NOT_PAYABLE = "order_not_payable", _("money came for an order that was not payable")
        INTENT_MISSING = "intent_missing", _("Stripe does not know the payment intent")
        AUTHORIZATION_EXPIRES = "authorization_expires", _("the authorization expires soon")
        REFUND_FAILED = "refund_failed", _("a refund failed")
        DISPUTED = "disputed", _("the customer's bank claims the money back")

    order_payment = models.ForeignKey(
        OrderPayment,
        on_delete=models.PROTECT,
        related_name="review_items",
        verbose_name=_("order payment"),
    )
    payment_intent = models.ForeignKey(
        PaymentIntent,
        on_delete=models.PROTECT,
        related_name="review_items",
        verbose_name=_("payment intent"),
    )
    reason = models.CharField(_("reason"), max_length=32, choices=Reason.choices)
    subject = models.CharField(
        _("Stripe object"),
        max_length=255,
        blank=True,
        help_text=_("The refund or dispute; empty where it is the payment intent itself."),
    )
    detail = models.CharField(_("detail"), max_length=500, blank=True)
    suggested_action = models.CharField(_("suggested action"), max_length=500, blank=True)
    data = models.JSONField(_("figures"), default=dict)
    opened_at = models.DateTimeField(_("opened at"), auto_now_add=True)
    resolved_at = models.DateTimeField(_("resolved at"), null=True, blank=True)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("resolved by"),
    )
    resolution = models.CharField(_("resolution"), max_length=500, blank=True)

    objects = ReviewItemQuerySet.as_manager()

    class Meta:
        verbose_name = _("review item")
        verbose_name_plural = _("review items")
        ordering: ClassVar[list[str]] = ["-opened_at", "-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["payment_intent", "reason", "subject"],
                name="shop_payments_review_once_per_reason",
            ),
            models.CheckConstraint(
                condition=Q(resolved_at__isnull=False) | Q(resolution=""),
                name="shop_payments_review_resolution_has_time",
            ),
        ]

    def __str__(self) -> str:
        return (
            f"{self.get_reason_display()}: {self.detail}"
            if self.detail
            else str(self.get_reason_display())
        )
