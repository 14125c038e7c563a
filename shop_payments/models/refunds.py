"""Money given back, and money that customers' banks ask back."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from shop_payments.lifecycle import (
    RETURNED_REFUND_STATUSES,
    DisputeFacts,
    DisputeState,
    RefundFacts,
    RefundStatus,
    dispute_state,
)
from shop_payments.models.payments import (
    STATUS_LENGTH,
    OrderPayment,
    PaymentIntent,
    StripeAttempt,
)
from shop_payments.money import display_amount

if TYPE_CHECKING:
    from collections.abc import Iterable


class RefundQuerySet(models.QuerySet["Refund"]):
    """Refunds, found."""

    def of_intents(self, intents: Iterable[PaymentIntent]) -> RefundQuerySet:
        """Keep the refunds of these intents, oldest first."""
        return self.filter(payment_intent__in=list(intents)).order_by("created_at", "pk")

    def requested(self) -> RefundQuerySet:
        """Keep what Stripe may not have heard of yet."""
        return self.filter(status=RefundStatus.REQUESTED)


class Refund(models.Model):
    """A mirror of one Refund at Stripe; or what is to become one.

    Note [Refund rows]
    ~~~~~~~~~~~~~~~~~~
    A refund that is asked for here is committed as ``requested`` before Stripe hears of it, and
    its primary key is the idempotency key of that call. From then on it reserves its amount, so
    that two refunds at once can never give back more than came. Whatever kills the process, the
    same key with the same parameters is sent again, and Stripe refunds once.

    A refund that was made elsewhere, say in Stripe's dashboard, gets its row when it is listed; it
    has no attempt.

    See: https://docs.stripe.com/api/refunds (checked 2026-11)
    """

    class Reason(models.TextChoices):
        """Why, in Stripe's words."""

        DUPLICATE = "duplicate", _("duplicate")
        FRAUDULENT = "fraudulent", _("fraudulent")
        REQUESTED_BY_CUSTOMER = "requested_by_customer", _("requested by customer")

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
        verbose_name=_("created by attempt"),
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
        help_text=_("In minor units. Empty where all that was left was asked for."),
    )
    stripe_id = models.CharField(_("Stripe id"), max_length=255, blank=True)
    status = models.CharField(_("status"), max_length=STATUS_LENGTH, default=RefundStatus.REQUESTED)
    amount = models.PositiveBigIntegerField(_("amount"), help_text=_("In minor units."))
    currency = models.CharField(_("currency"), max_length=3)
    reason = models.CharField(_("reason"), max_length=64, blank=True)
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
                condition=~Q(stripe_id=""),
                name="shop_payments_refund_stripe_id_unique",
            ),
            models.UniqueConstraint(
                fields=["order_payment", "request_key"],
                condition=~Q(request_key=""),
                name="shop_payments_refund_once_per_request_key",
            ),
            models.CheckConstraint(
                condition=Q(amount__gt=0), name="shop_payments_refund_amount_positive"
            ),
            models.CheckConstraint(
                condition=~Q(stripe_id="") | Q(status__in=["requested", "refused"]),
                name="shop_payments_refund_mirrored_has_stripe_id",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.stripe_id or self.pk}: {self.amount_display} {self.status}"

    @property
    def facts(self) -> RefundFacts:
        """What the payment status is derived from."""
        return RefundFacts(status=self.status, amount=self.amount)

    @property
    def is_returned(self) -> bool:
        """Whether the money is (again) with the shop."""
        return self.status in RETURNED_REFUND_STATUSES

    @property
    def amount_display(self) -> str:
        """The amount as a person writes it, with its currency."""
        return display_amount(self.amount, self.currency)


class DisputeQuerySet(models.QuerySet["Dispute"]):
    """Disputes, found."""

    def of_intents(self, intents: Iterable[PaymentIntent]) -> DisputeQuerySet:
        """Keep the disputes of these intents, oldest first."""
        return self.filter(payment_intent__in=list(intents)).order_by("created_at", "pk")


class Dispute(models.Model):
    """A mirror of one Dispute at Stripe.

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
        ordering: ClassVar[list[str]] = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.stripe_id}: {self.amount_display} {self.status}"

    def facts_of(self, intent: PaymentIntent) -> DisputeFacts:
        """Return what the payment status is derived from; ``intent`` is the disputed one.

        A bank may dispute in a currency of its own. What that is in the intent's is not known, so
        it counts as all that was received.
        """
        is_comparable = self.currency == intent.currency
        amount = self.amount if is_comparable else intent.amount_received
        return DisputeFacts(status=self.status, amount=amount)

    @property
    def state(self) -> DisputeState:
        """What the status means."""
        return dispute_state(self.status)

    @property
    def amount_display(self) -> str:
        """The amount as a person writes it, with its currency."""
        return display_amount(self.amount, self.currency)
