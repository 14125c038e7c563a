"""The payment of an order, its payment intents, and the attempts to write to Stripe."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.conf import order_model_reference
from shop_payments.lifecycle import (
    CLOSED_STATUSES,
    FINAL_STATUSES,
    DisputeState,
    IntentStatus,
    PaymentStatus,
    holds_money,
    is_open,
)
from shop_payments.models.words import (
    amount_words,
    choice_label,
    describe_method,
    describe_payment,
    moment_words,
)
from shop_payments.prepared import update_row

if TYPE_CHECKING:
    from collections.abc import Iterable

STATUS_LENGTH = 64
"""Long enough for statuses that Stripe may add."""


STATUS_LABELS = {
    PaymentStatus.UNPAID: _("unpaid"),
    PaymentStatus.PENDING: _("pending"),
    PaymentStatus.AUTHORIZED: _("authorized"),
    PaymentStatus.PARTIALLY_PAID: _("partially paid"),
    PaymentStatus.PAID: _("paid"),
    PaymentStatus.PARTIALLY_REFUNDED: _("partially refunded"),
    PaymentStatus.REFUNDED: _("refunded"),
}

DISPUTE_LABELS = {
    DisputeState.INQUIRY: _("inquiry"),
    DisputeState.OPEN: _("open"),
    DisputeState.WON: _("won"),
    DisputeState.LOST: _("lost"),
}


class OrderPaymentQuerySet(models.QuerySet["OrderPayment"]):
    """Finds and locks payments."""

    def of_order(self, order_id: Any) -> OrderPaymentQuerySet:
        """Keep the payment of the order with this primary key."""
        return self.filter(order_id=order_id)

    def locked(self) -> OrderPaymentQuerySet:
        """Lock the rows until the transaction ends.

        See Note [Lock order] in ``ledger/payments.py``. SQLite has no row locks; IMMEDIATE
        transactions and the constraints replace them.
        """
        # Only this table, even if the query joins others: see Note [Lock order].
        return self.select_for_update(of=("self",))


class OrderPayment(models.Model):
    """The payment of an order: one row for each order, in a separate table.

    Note [Seen and derived]
    ~~~~~~~~~~~~~~~~~~~~~~~
    ``total``, ``currency`` and ``is_payable`` are the terms that the adapter last returned. Status,
    dispute and the other amounts are derived from them and from the other rows (``balance.py``),
    and stored for lists, filters and reports. They are never set from anything else.

    ``has_refunds_or_disputes`` and ``has_staff_entries`` show whether there are such rows to read.
    Most orders have none, which saves three queries under the lock.
    """

    # PROTECT, here and in the other tables: rows about money are never deleted with an order.
    # No reverse name, because the model may be the shop's own.
    order = models.OneToOneField(
        order_model_reference(),
        on_delete=models.PROTECT,
        related_name="+",
        verbose_name=_("order"),
    )
    status = models.CharField(
        _("payment status"),
        max_length=32,
        choices=[(status.value, label) for status, label in STATUS_LABELS.items()],
        default=PaymentStatus.UNPAID,
    )
    dispute_state = models.CharField(
        _("dispute"),
        max_length=16,
        blank=True,
        default=DisputeState.NONE,
        choices=[(state.value, label) for state, label in DISPUTE_LABELS.items()],
    )
    needs_review = models.BooleanField(_("needs review"), default=False)
    total = models.PositiveBigIntegerField(
        _("order total"),
        null=True,
        blank=True,
        help_text=_("As last seen. All amounts are in minor units."),
    )
    currency = models.CharField(_("currency"), max_length=3, blank=True)
    is_payable = models.BooleanField(
        _("payable"), default=False, help_text=_("As last seen: whether the shop wants money.")
    )
    failed_reads = models.PositiveIntegerField(
        _("failed tries to read the order"),
        default=0,
        help_text=_("Consecutive failures. While this is above 0, the balance is not updated."),
    )
    amount_received = models.PositiveBigIntegerField(
        _("amount received"), default=0, help_text=_("Money that counts for the order.")
    )
    amount_refunded = models.PositiveBigIntegerField(_("amount refunded"), default=0)
    amount_lost = models.PositiveBigIntegerField(_("amount lost in disputes"), default=0)
    amount_waived = models.PositiveBigIntegerField(_("amount waived"), default=0)
    amount_owed = models.PositiveBigIntegerField(
        _("amount owed"), default=0, help_text=_("Even if the shop wants no more money.")
    )
    amount_outstanding = models.PositiveBigIntegerField(
        _("amount outstanding"), default=0, help_text=_("What the customer may be asked for.")
    )
    amount_excess = models.PositiveBigIntegerField(
        _("excess"), default=0, help_text=_("Counted money beyond what the order costs.")
    )
    amount_uncounted = models.PositiveBigIntegerField(
        _("amount uncounted"), default=0, help_text=_("Money that does not count for the order.")
    )
    has_refunds_or_disputes = models.BooleanField(default=False, editable=False)
    has_staff_entries = models.BooleanField(default=False, editable=False)
    has_unknown_intent = models.BooleanField(
        default=False,
        editable=False,
        help_text=_("Whether staff are asked about an intent at Stripe that has no row here."),
    )
    refused_receipt = models.CharField(
        max_length=64,
        blank=True,
        editable=False,
        help_text=_("SHA-256 of the receipt address that Stripe has refused."),
    )
    paid_recorded = models.BooleanField(
        default=False,
        editable=False,
        help_text=_(
            "Whether the history has the entry that the order was paid. Each order has at most one."
        ),
    )
    paid_at = models.DateTimeField(
        _("paid at"),
        null=True,
        blank=True,
        help_text=_("When the order was first covered: Stripe's time of the charge."),
    )
    cancel_requested_at = models.DateTimeField(
        _("cancellation requested at"),
        null=True,
        blank=True,
        help_text=_("Cleared when the open payment intent is closed at Stripe."),
    )
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)

    objects = OrderPaymentQuerySet.as_manager()

    class Meta:
        verbose_name = _("payment")
        verbose_name_plural = _("payments")
        ordering: ClassVar[list[str]] = ["-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.CheckConstraint(
                condition=Q(status__in=[status.value for status in PaymentStatus]),
                name="shop_payments_orderpayment_status_known",
            ),
            models.CheckConstraint(
                condition=Q(paid_at__isnull=False)
                | Q(
                    status__in=[
                        PaymentStatus.UNPAID,
                        PaymentStatus.PENDING,
                        PaymentStatus.AUTHORIZED,
                        PaymentStatus.PARTIALLY_PAID,
                    ]
                ),
                name="shop_payments_orderpayment_paid_has_time",
            ),
            models.CheckConstraint(
                condition=Q(total__isnull=True) | ~Q(currency=""),
                name="shop_payments_orderpayment_total_has_currency",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["status", "id"], name="shop_payments_payment_status"),
            # For the admin: the filters by date, currency and amount.
            models.Index(fields=["created_at"], name="shop_payments_payment_created"),
            models.Index(fields=["currency", "total"], name="shop_payments_payment_total"),
            # Few payments are in these states, so the indexes stay small.
            models.Index(
                fields=["id"], condition=Q(needs_review=True), name="shop_payments_payment_review"
            ),
            models.Index(
                fields=["dispute_state", "id"],
                condition=~Q(dispute_state=""),
                name="shop_payments_payment_disputed",
            ),
            models.Index(
                fields=["failed_reads"],
                condition=Q(failed_reads__gt=0),
                name="shop_payments_payment_unread",
            ),
            models.Index(
                fields=["cancel_requested_at"],
                condition=Q(cancel_requested_at__isnull=False),
                name="shop_payments_payment_cancel",
            ),
        ]

    def __str__(self) -> str:
        values = {"order": self.order_id, "status": choice_label(self, "status")}
        return gettext("payment of order %(order)s: %(status)s") % values

    @property
    def is_paid(self) -> bool:
        """Whether the order is covered and nothing was refunded. See ``services.may_release``."""
        return self.status == PaymentStatus.PAID

    @property
    def can_be_deleted(self) -> bool:
        """Whether it never held money, as far as this row says. See ``services.delete_payment``."""
        has_money = self.amount_received or self.amount_uncounted or self.has_refunds_or_disputes
        is_noted = self.needs_review or self.has_staff_entries
        return self.status == PaymentStatus.UNPAID and not has_money and not is_noted


class PaymentIntentQuerySet(models.QuerySet["PaymentIntent"]):
    """Finds intents."""

    def open(self) -> PaymentIntentQuerySet:
        """Keep the intents that may still take money, including those of unknown status."""
        # Written as the partial indexes are, so that they are used.
        return self.exclude(status__in=sorted(CLOSED_STATUSES))

    def of_payments(self, payments: Iterable[OrderPayment]) -> PaymentIntentQuerySet:
        """Keep the intents of these payments, oldest first."""
        return self.filter(order_payment__in=list(payments)).order_by("pk")


class PaymentIntent(models.Model):
    """A PaymentIntent at Stripe. Its client secret is never stored."""

    order_payment = models.ForeignKey(
        OrderPayment,
        on_delete=models.PROTECT,
        related_name="payment_intents",
        verbose_name=_("order payment"),
    )
    stripe_id = models.CharField(_("Stripe id"), max_length=255)
    attempt = models.OneToOneField(
        "StripeAttempt",
        on_delete=models.PROTECT,
        related_name="created_intent",
        verbose_name=_("created by the request"),
    )
    # Without choices: a status that Stripe adds is stored, and counts as open.
    status = models.CharField(_("status"), max_length=STATUS_LENGTH)
    wanted = models.BooleanField(
        _("wanted"),
        default=False,
        help_text=_("Whether the order was payable at some time after the payment succeeded."),
    )
    total_seen = models.PositiveBigIntegerField(
        null=True,
        blank=True,
        editable=False,
        help_text=_("What the order cost when the success was first seen."),
    )
    waived_seen = models.PositiveBigIntegerField(default=0, editable=False)
    received_recorded = models.BooleanField(
        default=False,
        editable=False,
        help_text=_(
            "Whether the history has the entry that this money was received. There is at most one."
        ),
    )
    amount = models.PositiveBigIntegerField(_("amount"), help_text=_("In minor units."))
    amount_received = models.PositiveBigIntegerField(_("amount received"), default=0)
    amount_capturable = models.PositiveBigIntegerField(_("amount capturable"), default=0)
    currency = models.CharField(_("currency"), max_length=3)
    livemode = models.BooleanField(_("live mode"))
    fingerprint = models.CharField(
        _("fingerprint"),
        max_length=64,
        blank=True,
        help_text=_("SHA-256 of the parameters last sent, to detect changes of the order."),
    )
    uses_automatic_methods = models.BooleanField(
        default=False,
        editable=False,
        help_text=_("Created with automatic_payment_methods, which cannot be updated."),
    )
    payment_method = models.CharField(_("payment method"), max_length=255, blank=True)
    latest_charge = models.CharField(_("latest charge"), max_length=255, blank=True)
    # Of the latest charge. Events do not have them, so they are filled in by the next fetch, which
    # is at the latest that of the sweep. Longer values than Stripe has today are cut.
    method_type = models.CharField(_("type of payment method"), max_length=32, blank=True)
    card_brand = models.CharField(_("card brand"), max_length=32, blank=True)
    last4 = models.CharField(_("last four digits"), max_length=4, blank=True)
    wallet = models.CharField(_("wallet"), max_length=32, blank=True)
    capture_before = models.DateTimeField(
        _("capture before"),
        null=True,
        blank=True,
        help_text=_("When the latest authorization expires, if Stripe says so."),
    )
    charged_at = models.DateTimeField(
        _("charged at"),
        null=True,
        blank=True,
        help_text=_("Stripe's time of the charge, or of the event if the charge was not fetched."),
    )
    charged_at_is_exact = models.BooleanField(default=False, editable=False)
    last_error_code = models.CharField(_("last error"), max_length=255, blank=True)
    last_decline_code = models.CharField(_("last decline code"), max_length=255, blank=True)
    # Tells a new payment error from one that Stripe repeats in later messages.
    last_error_key = models.CharField(max_length=255, blank=True, editable=False)
    cancellation_reason = models.CharField(_("cancellation reason"), max_length=255, blank=True)
    stripe_created_at = models.DateTimeField(_("created at Stripe"), db_index=True)
    asked_at = models.DateTimeField(
        _("last asked for at"),
        default=timezone.now,
        help_text=_("When the customer last asked for it. Updated at most once an hour."),
    )
    created_at = models.DateTimeField(_("first seen at"), auto_now_add=True)
    updated_at = models.DateTimeField(_("updated at"), auto_now=True)
    as_of = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text=_("The time of the newest message applied, by Stripe's clock, if known."),
    )
    version = models.PositiveIntegerField(
        default=0,
        editable=False,
        help_text=_("Incremented with each change. Fetched data is written to the same version."),
    )

    objects = PaymentIntentQuerySet.as_manager()

    class Meta:
        verbose_name = _("payment intent")
        verbose_name_plural = _("payment intents")
        ordering: ClassVar[list[str]] = ["-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            # With unique=True on the field, PostgreSQL gets a second index, for LIKE.
            models.UniqueConstraint(
                fields=["stripe_id"], name="shop_payments_intent_stripe_id_unique"
            ),
            models.UniqueConstraint(
                fields=["order_payment"],
                # A customer could pay both of two open intents.
                condition=~Q(status__in=sorted(CLOSED_STATUSES)),  # sorted, for a stable migration
                name="shop_payments_one_open_intent_per_order",
            ),
            models.CheckConstraint(
                condition=Q(wanted=False) | Q(status=IntentStatus.SUCCEEDED),
                name="shop_payments_intent_wanted_only_when_succeeded",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            # Some events of refunds and disputes, and fees, only name the charge.
            models.Index(fields=["latest_charge"], name="shop_payments_intent_by_charge"),
            # For the sweep: open intents by age.
            models.Index(
                fields=["stripe_created_at", "id"],
                condition=~Q(status__in=sorted(CLOSED_STATUSES)),
                name="shop_payments_intent_open",
            ),
            # For the admin: searches for "4242" and "visa 4242".
            models.Index(
                fields=["last4", "card_brand", "order_payment"],
                condition=~Q(last4=""),
                name="shop_payments_intent_by_card",
            ),
            # For the admin: the methods and cards that fewer payments use.
            models.Index(
                fields=["method_type", "order_payment"],
                condition=~Q(method_type__in=["", "card"]),
                name="shop_payments_intent_by_method",
            ),
            models.Index(
                fields=["card_brand", "order_payment"],
                condition=~Q(card_brand__in=["", "visa", "mastercard"]),
                name="shop_payments_intent_by_brand",
            ),
            # For the admin: the filter by mode.
            models.Index(fields=["livemode", "order_payment"], name="shop_payments_intent_by_mode"),
            # For the overview and the report: the money of some days.
            models.Index(
                fields=["charged_at"],
                condition=Q(status=IntentStatus.SUCCEEDED),
                name="shop_payments_intent_charged",
            ),
            # For the admin: the other statuses that few intents have.
            models.Index(
                fields=["status", "id"],
                condition=Q(status__in=["canceled", "missing"]),
                name="shop_payments_intent_ended",
            ),
        ]

    def __str__(self) -> str:
        return self.stripe_id

    @property
    def title(self) -> str:
        """The payment for display, by its amount, method and day; its id is beside it."""
        return describe_payment(
            self.amount, self.currency, self.method_display, self.charged_at, self.stripe_created_at
        )

    @property
    def is_open(self) -> bool:
        """Whether it may still take money."""
        return is_open(self.status)

    @property
    def is_final(self) -> bool:
        """Whether its status is final at Stripe."""
        return self.status in FINAL_STATUSES

    @property
    def has_succeeded(self) -> bool:
        """Whether Stripe says that it succeeded. Only such money can count for the order."""
        return self.status == IntentStatus.SUCCEEDED

    @property
    def holds_money(self) -> bool:
        """Whether it ended with money: succeeded, or cancelled after a partial capture."""
        return holds_money(self.status, self.amount_received)

    @property
    def amount_display(self) -> str:
        """The amount for display, with its currency."""
        return amount_words(self.amount, self.currency)

    @property
    def method_display(self) -> str:
        """How it was paid, for example ``Visa •4242, Apple Pay``; empty if that is not known."""
        return describe_method(self.method_type, self.card_brand, self.last4, self.wallet)


class StripeAttemptQuerySet(models.QuerySet["StripeAttempt"]):
    """Finds and acquires attempts."""

    def pending(self) -> StripeAttemptQuerySet:
        """Keep the attempts whose outcome is not known."""
        return self.filter(outcome=StripeAttempt.Outcome.PENDING)

    def intent_writes(self) -> StripeAttemptQuerySet:
        """Keep the attempts that write an intent of the order."""
        return self.filter(operation__in=StripeAttempt.INTENT_WRITES)

    def acquire(self, attempt: StripeAttempt, *, now: datetime) -> bool:
        """Acquire ``attempt`` for this process; False if another process was faster."""
        # An expired key is never sent again, so the time of the last sending stays.
        last_sent_at = attempt.last_sent_at if attempt.key_expired else now
        # Of several processes that read the old ``acquired_at``, only one changes it.
        acquired = (
            self.pending()
            .filter(pk=attempt.pk, acquired_at=attempt.acquired_at)
            .update(acquired_at=now, last_sent_at=last_sent_at)
        )
        if acquired:
            attempt.acquired_at, attempt.last_sent_at = now, last_sent_at
        return bool(acquired)


class StripeAttempt(models.Model):
    """A write to Stripe, committed before it is sent.

    Note [Attempt rows]
    ~~~~~~~~~~~~~~~~~~~
    The primary key is the idempotency key, and ``params`` is exactly what is sent. If the process
    dies after the commit, the next call or the sweep sends the same key with the same parameters,
    even if the order has changed meanwhile, and Stripe gives the same answer. The partial unique
    constraint allows one unfinished attempt for each order, so two processes never create an intent
    at the same time.

    Acquiring an attempt only saves calls: it keeps a second process from sending the same request
    while the first one waits for the answer. If both send it, Stripe executes it once.

    After an attempt is old and its outcome is known, the purge deletes the personal data in
    ``params`` (``maintenance/retention.py``).

    See: https://docs.stripe.com/api/idempotent_requests (checked 2026-11)
    """

    class Operation(models.TextChoices):
        """The kinds of writes to Stripe."""

        CREATE_INTENT = "create_intent", _("create payment intent")
        UPDATE_INTENT = "update_intent", _("update payment intent")
        CAPTURE_INTENT = "capture_intent", _("capture payment intent")
        CANCEL_INTENT = "cancel_intent", _("cancel payment intent")
        CREATE_REFUND = "create_refund", _("create refund")
        APPROVE_REVIEW = "approve_review", _("approve Radar review")

    INTENT_WRITES: ClassVar[tuple[str, ...]] = (
        "create_intent",
        "update_intent",
        "capture_intent",
        "cancel_intent",
    )
    """The operations that write an intent of the order: one at a time."""

    class Outcome(models.TextChoices):
        """The outcome of an attempt."""

        PENDING = "pending", _("not known yet")
        SUCCEEDED = "succeeded", _("succeeded")
        FAILED = "failed", _("refused by Stripe")
        ABANDONED = "abandoned", _("had no effect")

    KEY_LIFETIME = timedelta(hours=23)
    """Stripe keeps an idempotency key for 24 h. After 23 h, the object is looked up instead."""

    SECOND_LOOK = timedelta(hours=1)
    """An effect that is missing from a list may still come, so it is looked up again after this."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    order_payment = models.ForeignKey(
        OrderPayment,
        on_delete=models.PROTECT,
        related_name="attempts",
        verbose_name=_("order payment"),
    )
    operation = models.CharField(_("operation"), max_length=32, choices=Operation.choices)
    target = models.CharField(
        _("target"), max_length=255, blank=True, help_text=_("The object to change.")
    )
    target_version = models.PositiveIntegerField(
        default=0,
        editable=False,
        help_text=_("The version of the object's row when the request was planned."),
    )
    params = models.JSONField(_("parameters as sent"))
    livemode = models.BooleanField(_("live mode"))
    outcome = models.CharField(
        _("outcome"), max_length=16, choices=Outcome.choices, default=Outcome.PENDING
    )
    stripe_object_id = models.CharField(_("Stripe object"), max_length=255, blank=True)
    request_id = models.CharField(_("Stripe request id"), max_length=255, blank=True)
    error_code = models.CharField(_("error code"), max_length=255, blank=True)
    http_status = models.PositiveIntegerField(_("HTTP status"), default=0)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)
    acquired_at = models.DateTimeField(_("acquired at"), null=True, blank=True)
    last_sent_at = models.DateTimeField(_("last sent at"), null=True, blank=True)
    missed_at = models.DateTimeField(
        _("first missed at"),
        null=True,
        blank=True,
        editable=False,
        help_text=_("The first look-up without a result after the key expired."),
    )
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    purged_at = models.DateTimeField(_("purged at"), null=True, blank=True, editable=False)

    objects = StripeAttemptQuerySet.as_manager()

    class Meta:
        verbose_name = _("request to Stripe")
        verbose_name_plural = _("requests to Stripe")
        ordering: ClassVar[list[str]] = ["-created_at", "-pk"]
        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(
                fields=["order_payment"],
                # INTENT_WRITES written out, because Meta cannot refer to it.
                condition=Q(
                    outcome="pending",
                    operation__in=[
                        "create_intent",
                        "update_intent",
                        "capture_intent",
                        "cancel_intent",
                    ],
                ),
                name="shop_payments_one_pending_intent_attempt",
            ),
            models.CheckConstraint(
                condition=Q(outcome="pending", finished_at__isnull=True)
                | (~Q(outcome="pending") & Q(finished_at__isnull=False)),
                name="shop_payments_attempt_finished_has_time",
            ),
            models.CheckConstraint(
                condition=Q(purged_at=None) | ~Q(outcome="pending"),
                name="shop_payments_attempt_purged_when_finished",
            ),
        ]
        indexes: ClassVar[list[models.Index]] = [
            # For the purge: it shrinks with each batch, and starts with the oldest attempts.
            models.Index(
                fields=["created_at", "id"],
                condition=Q(purged_at=None),
                name="shop_payments_attempt_unpurged",
            ),
            models.Index(fields=["created_at", "id"], name="shop_payments_attempt_by_time"),
            # For the sweep, which finishes what is pending, and for the admin.
            models.Index(
                fields=["outcome", "created_at"],
                condition=~Q(outcome="succeeded"),
                name="shop_payments_attempt_outcome",
            ),
            models.Index(
                fields=["operation", "created_at"],
                condition=~Q(operation="create_intent"),
                name="shop_payments_attempt_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{choice_label(self, 'operation')} {self.id}"

    @property
    def title(self) -> str:
        """The request for display; its id is its idempotency key."""
        return f"{choice_label(self, 'operation')}, {moment_words(self.created_at)}"

    @property
    def key_expired(self) -> bool:
        """Whether Stripe may have forgotten the idempotency key."""
        return timezone.now() - self.created_at > self.KEY_LIFETIME

    def is_acquired(self, *, within: timedelta, now: datetime) -> bool:
        """Return whether a process acquired this recently and may still wait for the answer.

        The clocks of two processes may differ. A time in the future counts for no longer than
        ``within``.
        """
        return self.acquired_at is not None and abs(now - self.acquired_at) < within

    def finish(self, outcome: str, *, if_pending: bool = True, **figures: Any) -> bool:
        """Write the outcome with its figures; False if the outcome was known before.

        ``if_pending=False`` overwrites it: the attempt seemed to have no effect, but had one.
        """
        # Not save(): another process may have finished it meanwhile.
        self.outcome, self.finished_at = outcome, timezone.now()
        for name, value in figures.items():
            setattr(self, name, value)
        only_if = {"outcome": self.Outcome.PENDING} if if_pending else {}
        return update_row(self, {"outcome", "finished_at", *figures}, **only_if)

    def release(self, **figures: Any) -> None:
        """Let the next caller acquire this at once, because its outcome is unknown."""
        self.acquired_at = None
        for name, value in figures.items():
            setattr(self, name, value)
        type(self).objects.pending().filter(pk=self.pk).update(acquired_at=None, **figures)
