"""The review queue of staff."""

from __future__ import annotations

import hashlib
import json
from typing import ClassVar, TypeAlias

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.models.codes import ReviewReason
from shop_payments.models.payments import OrderPayment, PaymentIntent
from shop_payments.models.sentences import render, render_stored, suggest
from shop_payments.models.words import choice_label


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

    Reason: TypeAlias = ReviewReason

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
        help_text=_("Empty if the payment intent has no row here."),
    )
    reason = models.CharField(_("reason"), max_length=32, choices=Reason.choices)
    subject = models.CharField(
        _("Stripe object"),
        max_length=255,
        blank=True,
        help_text=_("The refund, dispute or unknown intent. Empty if it is the payment intent."),
    )
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
    # An item that the app has closed opens again even with the same amount.
    closed_automatically = models.BooleanField(
        default=False,
        editable=False,
        help_text=_("Whether the app closed the item because its cause no longer existed."),
    )
    closing_data = models.JSONField(_("reason for closing"), null=True, blank=True)

    objects = ReviewItemQuerySet.as_manager()

    class Meta:
        verbose_name = _("review item")
        verbose_name_plural = _("review items")
        ordering: ClassVar[list[str]] = ["-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["payment_intent", "reason", "subject"],
                name="shop_payments_review_once_per_reason",
            ),
            models.UniqueConstraint(
                # In SQL, NULL does not equal NULL, so the constraint above does not cover these.
                fields=["order_payment", "reason", "subject"],
                condition=Q(payment_intent=None),
                name="shop_payments_review_once_without_intent",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=False) | Q(closing_data__isnull=True),
                name="shop_payments_review_closing_has_time",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            # For the sweep and the admin: closed items pile up, open ones do not.
            models.Index(
                fields=["id"], condition=Q(closed_at=None), name="shop_payments_review_open"
            ),
        ]

    def __str__(self) -> str:
        values = {"reason": choice_label(self, "reason"), "detail": self.detail}
        return gettext("%(reason)s: %(detail)s") % values

    @property
    def _sentence(self) -> str:
        # A reason with several causes stores the code of one.
        return str(self.data.get("sentence", self.reason))

    @property
    def detail(self) -> str:
        """What happened, as text for staff."""
        return render(self._sentence, self.data)

    @property
    def suggested_action(self) -> str:
        """What staff can do, as text."""
        return suggest(self._sentence, self.data)

    @property
    def closing_note(self) -> str:
        """Why it was closed: what staff wrote, or the app's reason. Empty while it is open."""
        return render_stored(self.closing_data or {})

    @property
    def shown_key(self) -> str:
        """A digest of the item's content, so that staff close only the version they have read."""
        says = [self.pk, self.data]
        return hashlib.sha256(json.dumps(says, sort_keys=True).encode()).hexdigest()[:16]
