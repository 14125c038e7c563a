"""Stripe's balance transactions, with their fees."""

from __future__ import annotations

from typing import ClassVar, TypedDict

from django.db import models
from django.db.models import Sum
from django.utils.translation import gettext_lazy as _

from shop_payments.models.payments import OrderPayment, PaymentIntent


class Totals(TypedDict):
    """Sums in minor units of one currency."""

    amount: int
    fee: int
    net: int


class BalanceTransactionQuerySet(models.QuerySet["BalanceTransaction"]):
    """Adds up movements."""

    def totals(self) -> dict[str, Totals]:
        """Return the sums by currency, in minor units."""
        rows = self.order_by("currency").values("currency")
        sums = rows.annotate(sum_amount=Sum("amount"), sum_fee=Sum("fee"), sum_net=Sum("net"))
        return {
            row["currency"]: Totals(
                amount=row["sum_amount"], fee=row["sum_fee"], net=row["sum_net"]
            )
            for row in sums
        }


class BalanceTransaction(models.Model):
    """One movement on the Stripe balance, caused by a payment, refund or dispute.

    Amounts are in minor units of the account's settlement currency, which may differ from the
    payment's. ``amount`` and ``net`` are negative if money left the balance.

    See: https://docs.stripe.com/api/balance_transactions (checked 2026-11)
    """

    order_payment = models.ForeignKey(
        OrderPayment,
        on_delete=models.PROTECT,
        related_name="balance_transactions",
        verbose_name=_("order payment"),
    )
    payment_intent = models.ForeignKey(
        PaymentIntent,
        on_delete=models.PROTECT,
        related_name="balance_transactions",
        verbose_name=_("payment intent"),
    )
    stripe_id = models.CharField(_("Stripe id"), max_length=255, unique=True)
    source = models.CharField(
        _("source"), max_length=255, help_text=_("The charge, refund or dispute.")
    )
    reporting_category = models.CharField(_("category"), max_length=64)
    amount = models.BigIntegerField(_("amount"))
    fee = models.BigIntegerField(_("fee"))
    net = models.BigIntegerField(_("net"))
    currency = models.CharField(_("currency"), max_length=3)
    stripe_created_at = models.DateTimeField(_("created at Stripe"), db_index=True)

    objects = BalanceTransactionQuerySet.as_manager()

    class Meta:
        verbose_name = _("balance transaction")
        verbose_name_plural = _("balance transactions")
        ordering: ClassVar[list[str]] = ["-stripe_created_at", "-pk"]
        indexes: ClassVar[list[models.Index]] = [
            # For the admin: almost all movements are charges.
            models.Index(
                fields=["reporting_category", "stripe_created_at"],
                condition=~models.Q(reporting_category="charge"),
                name="shop_payments_movement_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reporting_category} {self.stripe_id}"
