"""Refunds and disputes."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from shop_payments.lifecycle import (
    ANSWERED_DISPUTE_STATUSES,
    RETURNED_REFUND_STATUSES,
    DisputeState,
    RefundStatus,
    dispute_state,
)
from shop_payments.models.payments import STATUS_LENGTH, OrderPayment, PaymentIntent, StripeAttempt
from shop_payments.models.sentences import describe_refusal
from shop_payments.models.words import amount_words, humanize

if TYPE_CHECKING:
    from collections.abc import Iterable


class SeenOutflow(models.Model):
    """The order's state when money leaving a payment was first seen.

    Later changes of the order must not change the meaning of a refund or a dispute.
    """

    total_seen = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        editable=False,
        help_text=_("The order's total at that time. Empty if the payment did not count."),
    )
    waived_seen = models.PositiveBigIntegerField(default=0, editable=False)

    class Meta:
        abstract = True


class RefundQuerySet(models.QuerySet["Refund"]):
    """Finds refunds."""

    def of_intents(self, intents: Iterable[PaymentIntent]) -> RefundQuerySet:
        """Keep the refunds of these intents, oldest first."""
        return self.filter(payment_intent__in=list(intents)).order_by("created_at", "pk")

    def requested(self) -> RefundQuerySet:
        """Keep the refunds that Stripe may not know yet."""
        return self.filter(status=RefundStatus.REQUESTED)


class Refund(SeenOutflow):
    """A Refund at Stripe, or one that was requested here.

    Note [Refund rows]
    ~~~~~~~~~~~~~~~~~~
    A refund that is requested here is committed as ``requested`` before it is sent, and its primary
    key is the idempotency key of that call. From then on it reserves its amount, so concurrent
    refunds can never return more than was received. If the process dies, the same key is sent again
    with the same parameters, and Stripe refunds once.

    A refund that was made elsewhere, for example in Stripe's dashboard, gets its row when it is
    listed. It has no attempt.

    See: https://docs.stripe.com/api/refunds (checked 2026-11)
    """

    class Reason(models.TextChoices):
        """Stripe's reasons for refunds."""

        DUPLICATE = "duplicate", _("duplicate")
        FRAUDULENT = "fraudulent", _("fraudulent")
        REQUESTED_BY_CUSTOMER = "requested_by_customer", _("requested by customer")

    class Kind(models.TextChoices):
        """The purpose of a refund, if the caller or staff gave one."""

        GOODS = "goods", _("returned goods")
        CORRECTION = "correction", _("a correction: the payment, or a part of it, is undone")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    order_payment = models.ForeignKey(
        OrderPayment,
        on_delete=models.PROTECT,
        related_name="refunds",
        verbose_name=_("order payment"),
    )
    payment_intent = models.ForeignKey(
        PaymentIntent,
        on_delete=models.PROTECT,
        related_name="refunds",
        verbose_name=_("payment intent"),
    )
    attempt = models.OneToOneField(
        StripeAttempt,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="refund",
        verbose_name=_("created by the request"),
        help_text=_("Empty for a refund that was made at Stripe."),
    )
    request_key = models.CharField(
        _("idempotency key of the request"), max_length=255, blank=True, editable=False
    )
    requested_amount = models.PositiveBigIntegerField(
        _("amount of the request"),
        null=True,
        blank=True,
        editable=False,
        help_text=_(
            "In minor units, over all intents. Empty if everything that was left was requested."
        ),
    )
    kind = models.CharField(
        _("purpose"),
        max_length=16,
        blank=True,
        choices=Kind.choices,
        help_text=_("If empty, excess is refunded first, and the rest is for goods."),
    )
    stripe_id = models.CharField(_("Stripe id"), max_length=255, blank=True)
    status = models.CharField(_("status"), max_length=STATUS_LENGTH, default=RefundStatus.REQUESTED)
    refund_recorded = models.BooleanField(
        default=False,
        editable=False,
        help_text=_("Whether the history has the entry of this refund. There is at most one."),
    )
    amount = models.PositiveBigIntegerField(_("amount"), help_text=_("In minor units."))
    currency = models.CharField(_("currency"), max_length=3)
    reason = models.CharField(_("reason"), max_length=64, blank=True)
    note = models.CharField(
        _("note"),
        max_length=500,
        blank=True,
        help_text=_("For the shop's staff. It is not sent to Stripe."),
    )
    # Stripe's code or message, ``not_at_stripe``, or ``given_up: `` and what staff wrote.
    failure_reason = models.CharField(_("failure reason"), max_length=255, blank=True)
    livemode = models.BooleanField(_("live mode"))
    stripe_created_at = models.DateTimeField(
        _("created at Stripe"), null=True, blank=True, db_index=True
    )
    created_at = models.DateTimeField(_("first seen at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)
    version = models.PositiveIntegerField(default=0, editable=False)

    objects = RefundQuerySet.as_manager()

    class Meta:
        verbose_name = _("refund")
        verbose_name_plural = _("refunds")
        ordering: ClassVar[list[str]] = ["-created_at", "-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["stripe_id"],
                # Until Stripe has answered, a refund has no id.
                condition=~Q(stripe_id=""),
                name="shop_payments_refund_stripe_id_unique",
            ),
            models.UniqueConstraint(
                # A request has one part for each intent that is needed.
                fields=["order_payment", "request_key", "payment_intent"],
                condition=~Q(request_key=""),
                name="shop_payments_refund_once_per_request_key",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="shop_payments_refund_amount_positive"
            ),
            models.CheckConstraint(
                # Every other status comes from Stripe, with the id.
                condition=~Q(stripe_id="") | Q(status__in=["requested", "refused"]),
                name="shop_payments_refund_mirrored_has_stripe_id",
            ),
        ]
        # For the admin: the list, and the statuses that few refunds have.
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["created_at", "id"], name="shop_payments_refund_by_time"),
            models.Index(
                fields=["status", "created_at"],
                condition=~Q(status="succeeded"),
                name="shop_payments_refund_status",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.stripe_id or self.pk}: {self.amount_display} {humanize(self.status)}"

    @property
    def failure(self) -> str:
        """Why it failed or was not made, as text; empty if it was made."""
        return describe_refusal(self.failure_reason)

    @property
    def is_returned(self) -> bool:
        """Whether the money is (again) with the shop."""
        return self.status in RETURNED_REFUND_STATUSES

    @property
    def amount_display(self) -> str:
        """The amount for display, with its currency."""
        return amount_words(self.amount, self.currency)


class DisputeQuerySet(models.QuerySet["Dispute"]):
    """Finds disputes."""

    def of_intents(self, intents: Iterable[PaymentIntent]) -> DisputeQuerySet:
        """Keep the disputes of these intents, oldest first."""
        return self.filter(payment_intent__in=list(intents)).order_by("created_at", "pk")


class Dispute(SeenOutflow):
    """A Dispute at Stripe.

    See: https://docs.stripe.com/disputes/how-disputes-work (checked 2026-11)
    """

    order_payment = models.ForeignKey(
        OrderPayment,
        on_delete=models.PROTECT,
        related_name="disputes",
        verbose_name=_("order payment"),
    )
    payment_intent = models.ForeignKey(
        PaymentIntent,
        on_delete=models.PROTECT,
        related_name="disputes",
        verbose_name=_("payment intent"),
    )
    stripe_id = models.CharField(_("Stripe id"), max_length=255, unique=True)
    status = models.CharField(_("status"), max_length=STATUS_LENGTH)
    amount = models.PositiveBigIntegerField(_("amount"), help_text=_("In minor units."))
    currency = models.CharField(_("currency"), max_length=3)
    reason = models.CharField(_("reason"), max_length=64, blank=True)
    evidence_due_at = models.DateTimeField(_("evidence due at"), null=True, blank=True)
    livemode = models.BooleanField(_("live mode"))
    stripe_created_at = models.DateTimeField(_("created at Stripe"), db_index=True)
    created_at = models.DateTimeField(_("first seen at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)
    version = models.PositiveIntegerField(default=0, editable=False)

    objects = DisputeQuerySet.as_manager()

    class Meta:
        verbose_name = _("dispute")
        verbose_name_plural = _("disputes")
        ordering: ClassVar[list[str]] = ["-pk"]

    def __str__(self) -> str:
        return f"{self.stripe_id}: {self.amount_display} {humanize(self.status)}"

    def amount_of(self, intent: PaymentIntent) -> int:
        """Return the disputed amount in the currency of ``intent``, the disputed one.

        A bank may dispute in another currency. Then the amount in the intent's currency is not
        known, and everything that was received counts as disputed.
        """
        return self.amount if self.currency == intent.currency else intent.amount_received

    @property
    def needs_answer(self) -> bool:
        """Whether staff must answer it. An unknown status counts as one that needs an answer."""
        return self.status not in ANSWERED_DISPUTE_STATUSES

    @property
    def state(self) -> DisputeState:
        """What the status means."""
        return dispute_state(self.status)

    @property
    def amount_display(self) -> str:
        """The amount for display, with its currency."""
        return amount_words(self.amount, self.currency)
