"""The review queue of staff."""

from __future__ import annotations

import hashlib
import json
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from shop_payments.models.payments import OrderPayment, PaymentIntent


class ReviewItemQuerySet(models.QuerySet["ReviewItem"]):
    """Finds items."""

    def open(self) -> ReviewItemQuerySet:
        """Keep the items that are not closed."""
        return self.filter(closed_at=None)


class ReviewItem(models.Model):
    """Something that needs the attention of staff, with a reason and a suggestion.

    An item is closed by the app when its cause is gone. Staff may close an item and give a reason.
    It opens again if its amount changes.
    """

    class Reason(models.TextChoices):
        """Why staff are needed."""

        EXCESS = "excess", _("more was received than the order costs")
        UNCOUNTED = "uncounted", _("money came that does not count for the order")
        REST_OWED = "rest_owed", _("a rest is owed, but the shop wants no more money")
        REST_TOO_SMALL = "rest_too_small", _("the rest is below Stripe's minimum")
        WAIVED_RECEIVED = "waived_received", _("money came that had been waived")
        ORDER_UNREADABLE = "order_unreadable", _("the order could not be read")
        NOTIFICATION_FAILED = "notification_failed", _("the shop's code accepts no notification")
        UNKNOWN_INTENT = "unknown_intent", _("Stripe has a payment that is unknown here")
        INTENT_MISSING = "intent_missing", _("Stripe does not know the payment intent")
        AUTHORIZATION_EXPIRES = "authorization_expires", _("the authorization expires soon")
        REFUND_FAILED = "refund_failed", _("a refund failed")
        FRAUD_WARNING = "fraud_warning", _("the card's issuer suspects fraud")
        RADAR_REVIEW = "radar_review", _("Stripe Radar asks for a review")
        DISPUTED = "disputed", _("the customer's bank disputes the payment")

    order_payment = models.ForeignKey(
        OrderPayment,
        on_delete=models.PROTECT,
        related_name="review_items",
        verbose_name=_("order payment"),
    )
    payment_intent = models.ForeignKey(
        PaymentIntent,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="review_items",
        verbose_name=_("payment intent"),
        help_text=_("Empty if it has no row here."),
    )
    reason = models.CharField(_("reason"), max_length=32, choices=Reason.choices)
    subject = models.CharField(
        _("Stripe object"),
        max_length=255,
        blank=True,
        help_text=_("The refund, dispute or unknown intent. Empty if it is the payment intent."),
    )
    detail = models.CharField(_("detail"), max_length=500, blank=True)
    suggested_action = models.CharField(_("suggested action"), max_length=500, blank=True)
    data = models.JSONField(_("figures"), default=dict)
    opened_at = models.DateTimeField(_("opened at"), auto_now_add=True)
    closed_at = models.DateTimeField(_("closed at"), null=True, blank=True)
    closed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("closed by"),
    )
    closed_itself = models.BooleanField(
        default=False, editable=False, help_text=_("Because its cause was gone.")
    )
    closing_note = models.CharField(_("reason for closing"), max_length=500, blank=True)

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
            models.UniqueConstraint(
                fields=["order_payment", "reason", "subject"],
                condition=Q(payment_intent=None),
                name="shop_payments_review_once_without_intent",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=False) | Q(closing_note=""),
                name="shop_payments_review_closing_has_time",
            ),
        ]

    def __str__(self) -> str:
        return (
            f"{self.get_reason_display()}: {self.detail}"
            if self.detail
            else str(self.get_reason_display())
        )

    @property
    def shown_key(self) -> str:
        """A digest of the item's content, so that staff close only the version they have read."""
        says = [self.pk, self.detail, self.suggested_action, self.data]
        return hashlib.sha256(json.dumps(says, sort_keys=True).encode()).hexdigest()[:16]


SUGGESTIONS: dict[str, str] = {
    ReviewItem.Reason.EXCESS: "Refund the excess.",
    ReviewItem.Reason.UNCOUNTED: ("Refund the payment, or open the order again: then it counts."),
    ReviewItem.Reason.REST_OWED: ("Refund what was received, or waive what is owed."),
    ReviewItem.Reason.REST_TOO_SMALL: "Waive the rest: Stripe does not charge so little.",
    ReviewItem.Reason.WAIVED_RECEIVED: (
        "The money is kept. Revoke the waiver, or refund what the customer paid too much."
    ),
    ReviewItem.Reason.ORDER_UNREADABLE: (
        "Correct the order or the shop's OrderAdapter. The next sweep evaluates the payment again."
    ),
    ReviewItem.Reason.NOTIFICATION_FAILED: (
        "Later notifications wait for this one. Correct the shop's receiver: the next sweep"
        " notifies it again. Or do by hand what it would have done, and skip this notification."
    ),
    ReviewItem.Reason.UNKNOWN_INTENT: (
        "Accept the payment if this shop took it from the order's customer, for example before a"
        " backup was restored. Dismiss it if another installation with the same Stripe account"
        " created it. Until then, the customer is not asked for money."
    ),
    ReviewItem.Reason.INTENT_MISSING: (
        "Check that STRIPE_SECRET_KEY belongs to the account that took the payment. Close this"
        " only if it does, or if that account takes no more money: the order then gets a new"
        " payment."
    ),
    ReviewItem.Reason.AUTHORIZATION_EXPIRES: "Capture the payment now, or cancel it.",
    ReviewItem.Reason.REFUND_FAILED: (
        "The money is back in the Stripe balance. Agree with the customer on another way to return"
        " it, then close this item."
    ),
    ReviewItem.Reason.FRAUD_WARNING: (
        "Refund the payment as fraudulent before it is disputed, and do not ship the goods. Close"
        " this if you know the customer."
    ),
    ReviewItem.Reason.RADAR_REVIEW: (
        "Approve the payment, or refund it as fraudulent. Do not ship the goods before that."
    ),
    ReviewItem.Reason.DISPUTED: (
        "Answer with evidence in Stripe's dashboard before it is due, or accept the loss there."
    ),
}
"""What staff can do, by the reason of the item."""
