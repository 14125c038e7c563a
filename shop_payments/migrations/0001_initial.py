"""All tables of the first release."""

import uuid
from typing import Any

import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models

import shop_payments.models.api_keys
from shop_payments.conf import order_model_reference


def index_beginning_of_email(apps: Any, schema_editor: Any) -> None:
    """Index the beginning of an order's e-mail address in any case, as ``istartswith`` asks for it.

    ``models.Index`` takes no operator class for an expression, unless ``django.contrib.postgres``
    is installed.
    """
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "CREATE INDEX shop_payments_order_by_email"
            " ON shop_payments_order (UPPER(email::text) text_pattern_ops)"
        )


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        # The shop's own order, where there is one; see docs/own-order-model.md.
        migrations.swappable_dependency(order_model_reference()),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="APIKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "prefix",
                    models.CharField(
                        help_text="Identifies the key in lists and logs.",
                        max_length=16,
                        unique=True,
                        verbose_name="prefix",
                    ),
                ),
                ("digest", models.CharField(editable=False, max_length=64)),
                ("label", models.CharField(max_length=100, verbose_name="client")),
                (
                    "scopes",
                    models.JSONField(
                        default=list,
                        validators=[shop_payments.models.api_keys.validate_scopes],
                        verbose_name="scopes",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                (
                    "expires_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="expires at"),
                ),
                (
                    "revoked_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="revoked at"),
                ),
                (
                    "last_used_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="last used at"),
                ),
            ],
            options={
                "verbose_name": "API key",
                "verbose_name_plural": "API keys",
                "ordering": ["label", "-created_at"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("label", ""), _negated=True),
                        name="shop_payments_apikey_has_label",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "number",
                    models.CharField(
                        error_messages={"unique": "Another order has this number."},
                        max_length=32,
                        unique=True,
                        verbose_name="number",
                    ),
                ),
                (
                    "email",
                    models.EmailField(blank=True, max_length=254, verbose_name="receipt e-mail"),
                ),
                (
                    "currency",
                    models.CharField(
                        default="usd",
                        max_length=3,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A[a-z]{3}\\Z", "Three lower-case letters, e.g. usd."
                            )
                        ],
                        verbose_name="currency",
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[("open", "open"), ("cancelled", "cancelled")],
                        default="open",
                        max_length=16,
                        verbose_name="status",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
                (
                    "customer",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="customer",
                    ),
                ),
            ],
            options={
                "verbose_name": "order",
                "verbose_name_plural": "orders",
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="OrderLine",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "name",
                    models.CharField(
                        max_length=500,
                        validators=[django.core.validators.MinLengthValidator(1)],
                        verbose_name="name",
                    ),
                ),
                ("description", models.TextField(blank=True, verbose_name="description")),
                (
                    "unit_amount",
                    models.PositiveBigIntegerField(
                        help_text="In minor units: 5600 is 56.00 usd.", verbose_name="unit price"
                    ),
                ),
                (
                    "quantity",
                    models.PositiveIntegerField(
                        default=1,
                        validators=[django.core.validators.MinValueValidator(1)],
                        verbose_name="quantity",
                    ),
                ),
                (
                    "order",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="lines",
                        to="shop_payments.order",
                        verbose_name="order",
                    ),
                ),
            ],
            options={
                "verbose_name": "order line",
                "verbose_name_plural": "order lines",
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="OrderPayment",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("unpaid", "unpaid"),
                            ("pending", "pending"),
                            ("authorized", "authorized"),
                            ("partially_paid", "partially paid"),
                            ("paid", "paid"),
                            ("partially_refunded", "partially refunded"),
                            ("refunded", "refunded"),
                        ],
                        default="unpaid",
                        max_length=32,
                        verbose_name="payment status",
                    ),
                ),
                (
                    "dispute_state",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("inquiry", "inquiry"),
                            ("open", "open"),
                            ("won", "won"),
                            ("lost", "lost"),
                        ],
                        default="",
                        max_length=16,
                        verbose_name="dispute",
                    ),
                ),
                ("needs_review", models.BooleanField(default=False, verbose_name="needs review")),
                (
                    "total",
                    models.PositiveBigIntegerField(
                        blank=True,
                        help_text="As last seen. All amounts are in minor units.",
                        null=True,
                        verbose_name="order total",
                    ),
                ),
                ("currency", models.CharField(blank=True, max_length=3, verbose_name="currency")),
                (
                    "is_payable",
                    models.BooleanField(
                        default=False,
                        help_text="As last seen: whether the shop wants money.",
                        verbose_name="payable",
                    ),
                ),
                (
                    "failed_reads",
                    models.PositiveIntegerField(
                        default=0,
                        help_text=(
                            "Consecutive failures. While this is above 0, the balance is not "
                            "updated."
                        ),
                        verbose_name="failed tries to read the order",
                    ),
                ),
                (
                    "amount_received",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="Money that counts for the order.",
                        verbose_name="amount received",
                    ),
                ),
                (
                    "amount_refunded",
                    models.PositiveBigIntegerField(default=0, verbose_name="amount refunded"),
                ),
                (
                    "amount_lost",
                    models.PositiveBigIntegerField(
                        default=0, verbose_name="amount lost in disputes"
                    ),
                ),
                (
                    "amount_waived",
                    models.PositiveBigIntegerField(default=0, verbose_name="amount waived"),
                ),
                (
                    "amount_owed",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="Even if the shop wants no more money.",
                        verbose_name="amount owed",
                    ),
                ),
                (
                    "amount_outstanding",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="What the customer may be asked for.",
                        verbose_name="amount outstanding",
                    ),
                ),
                (
                    "amount_excess",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="Counted money beyond what the order costs.",
                        verbose_name="excess",
                    ),
                ),
                (
                    "amount_uncounted",
                    models.PositiveBigIntegerField(
                        default=0,
                        help_text="Money that does not count for the order.",
                        verbose_name="amount uncounted",
                    ),
                ),
                ("has_refunds_or_disputes", models.BooleanField(default=False, editable=False)),
                ("has_staff_entries", models.BooleanField(default=False, editable=False)),
                (
                    "has_unknown_intent",
                    models.BooleanField(
                        default=False,
                        editable=False,
                        help_text="Whether staff are asked about an intent at Stripe that has no row here.",
                    ),
                ),
                (
                    "refused_receipt",
                    models.CharField(
                        blank=True,
                        editable=False,
                        help_text="SHA-256 of the receipt address that Stripe has refused.",
                        max_length=64,
                    ),
                ),
                (
                    "paid_recorded",
                    models.BooleanField(
                        default=False,
                        editable=False,
                        help_text=(
                            "Whether the history has the entry that the order was paid. Each "
                            "order has at most one."
                        ),
                    ),
                ),
                (
                    "paid_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="When the order was first covered: Stripe's time of the charge.",
                        null=True,
                        verbose_name="paid at",
                    ),
                ),
                (
                    "cancel_requested_at",
                    models.DateTimeField(
                        blank=True,
                        help_text="Cleared when the open payment intent is closed at Stripe.",
                        null=True,
                        verbose_name="cancellation requested at",
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
                (
                    "order",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=order_model_reference(),
                        verbose_name="order",
                    ),
                ),
            ],
            options={
                "verbose_name": "payment",
                "verbose_name_plural": "payments",
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="PaymentIntent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "stripe_id",
                    models.CharField(max_length=255, verbose_name="Stripe id"),
                ),
                ("status", models.CharField(max_length=64, verbose_name="status")),
                (
                    "wanted",
                    models.BooleanField(
                        default=False,
                        help_text="Whether the order was payable at some time after the payment succeeded.",
                        verbose_name="wanted",
                    ),
                ),
                (
                    "total_seen",
                    models.PositiveBigIntegerField(
                        blank=True,
                        editable=False,
                        help_text="What the order cost when the success was first seen.",
                        null=True,
                    ),
                ),
                ("waived_seen", models.PositiveBigIntegerField(default=0, editable=False)),
                (
                    "received_recorded",
                    models.BooleanField(
                        default=False,
                        editable=False,
                        help_text=(
                            "Whether the history has the entry that this money was received. "
                            "There is at most one."
                        ),
                    ),
                ),
                (
                    "amount",
                    models.PositiveBigIntegerField(
                        help_text="In minor units.", verbose_name="amount"
                    ),
                ),
                (
                    "amount_received",
                    models.PositiveBigIntegerField(default=0, verbose_name="amount received"),
                ),
                (
                    "amount_capturable",
                    models.PositiveBigIntegerField(default=0, verbose_name="amount capturable"),
                ),
                ("currency", models.CharField(max_length=3, verbose_name="currency")),
                ("livemode", models.BooleanField(verbose_name="live mode")),
                (
                    "fingerprint",
                    models.CharField(
                        blank=True,
                        help_text="SHA-256 of the parameters last sent, to detect changes of the order.",
                        max_length=64,
                        verbose_name="fingerprint",
                    ),
                ),
                (
                    "uses_automatic_methods",
                    models.BooleanField(
                        default=False,
                        editable=False,
                        help_text="Created with automatic_payment_methods, which cannot be updated.",
                    ),
                ),
                (
                    "payment_method",
                    models.CharField(blank=True, max_length=255, verbose_name="payment method"),
                ),
                (
                    "latest_charge",
                    models.CharField(blank=True, max_length=255, verbose_name="latest charge"),
                ),
                (
                    "method_type",
                    models.CharField(
                        blank=True, max_length=32, verbose_name="type of payment method"
                    ),
                ),
                (
                    "card_brand",
                    models.CharField(blank=True, max_length=32, verbose_name="card brand"),
                ),
                (
                    "last4",
                    models.CharField(blank=True, max_length=4, verbose_name="last four digits"),
                ),
                ("wallet", models.CharField(blank=True, max_length=32, verbose_name="wallet")),
                (
                    "capture_before",
                    models.DateTimeField(
                        blank=True,
                        help_text="When the latest authorization expires, if Stripe says so.",
                        null=True,
                        verbose_name="capture before",
                    ),
                ),
                (
                    "charged_at",
                    models.DateTimeField(
                        blank=True,
                        help_text=(
                            "Stripe's time of the charge, or of the event if the charge was not "
                            "fetched."
                        ),
                        null=True,
                        verbose_name="charged at",
                    ),
                ),
                ("charged_at_is_exact", models.BooleanField(default=False, editable=False)),
                (
                    "last_error_code",
                    models.CharField(blank=True, max_length=255, verbose_name="last error"),
                ),
                (
                    "last_decline_code",
                    models.CharField(blank=True, max_length=255, verbose_name="last decline code"),
                ),
                ("last_error_key", models.CharField(blank=True, editable=False, max_length=255)),
                (
                    "cancellation_reason",
                    models.CharField(
                        blank=True, max_length=255, verbose_name="cancellation reason"
                    ),
                ),
                (
                    "stripe_created_at",
                    models.DateTimeField(db_index=True, verbose_name="created at Stripe"),
                ),
                (
                    "asked_at",
                    models.DateTimeField(
                        default=django.utils.timezone.now,
                        help_text=(
                            "When the customer last asked for it. Updated at most once an hour."
                        ),
                        verbose_name="last asked for at",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="first seen at"),
                ),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
                (
                    "as_of",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="The time of the newest message applied, by Stripe's clock, if known.",
                        null=True,
                    ),
                ),
                (
                    "version",
                    models.PositiveIntegerField(
                        default=0,
                        editable=False,
                        help_text="Incremented with each change. Fetched data is written to the same version.",
                    ),
                ),
                (
                    "order_payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="payment_intents",
                        to="shop_payments.orderpayment",
                        verbose_name="order payment",
                    ),
                ),
            ],
            options={
                "verbose_name": "payment intent",
                "verbose_name_plural": "payment intents",
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="PaymentHistory",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "fact_id",
                    models.UUIDField(
                        default=uuid.uuid4,
                        editable=False,
                        unique=True,
                        verbose_name="notification id",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("intent_created", "payment intent created"),
                            ("intent_updated", "payment intent updated"),
                            ("status_changed", "status changed"),
                            ("intent_missing", "payment intent missing at Stripe"),
                            ("payment_failed", "payment failed"),
                            ("payment_processing", "payment processing"),
                            ("payment_authorized", "payment authorized"),
                            ("payment_received", "payment received"),
                            ("order_paid", "order paid"),
                            ("capture_requested", "capture requested"),
                            ("cancel_requested", "cancellation requested"),
                            ("refund_requested", "refund requested"),
                            ("refund_changed", "refund changed"),
                            ("order_refunded", "order refunded"),
                            ("refund_failed", "refund failed"),
                            ("dispute_opened", "dispute opened"),
                            ("dispute_changed", "dispute changed"),
                            ("dispute_closed", "dispute closed"),
                            ("review_needed", "needs review"),
                            ("review_closed", "review item closed"),
                            ("amount_waived", "amount waived"),
                            ("settled_outside_stripe", "settled outside Stripe"),
                            ("notification_skipped", "notification skipped"),
                            ("staff_entry_revoked", "staff entry revoked"),
                        ],
                        max_length=32,
                        verbose_name="kind",
                    ),
                ),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("api", "API"),
                            ("webhook", "message from Stripe"),
                            ("admin", "admin"),
                            ("command", "command"),
                            ("reconcile", "automatic check"),
                            ("shop", "the shop's own code"),
                        ],
                        max_length=16,
                        verbose_name="source",
                    ),
                ),
                ("actor", models.CharField(blank=True, max_length=255, verbose_name="by")),
                (
                    "request_id",
                    models.CharField(blank=True, max_length=255, verbose_name="Stripe request id"),
                ),
                ("data", models.JSONField(default=dict, verbose_name="figures")),
                (
                    "needs_dispatch",
                    models.BooleanField(default=False, verbose_name="notifies the shop"),
                ),
                (
                    "dispatched_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="shop notified at"),
                ),
                (
                    "dispatch_acquired_at",
                    models.DateTimeField(blank=True, editable=False, null=True),
                ),
                (
                    "dispatch_failures",
                    models.PositiveIntegerField(
                        default=0, editable=False, verbose_name="failed notifications"
                    ),
                ),
                (
                    "skipped_at",
                    models.DateTimeField(
                        blank=True, editable=False, null=True, verbose_name="skipped at"
                    ),
                ),
                (
                    "skipped_by",
                    models.CharField(
                        blank=True, editable=False, max_length=255, verbose_name="skipped by"
                    ),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="when")),
                (
                    "order_payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="history",
                        to="shop_payments.orderpayment",
                        verbose_name="order payment",
                    ),
                ),
                (
                    "payment_intent",
                    models.ForeignKey(
                        blank=True,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="history",
                        to="shop_payments.paymentintent",
                        verbose_name="payment intent",
                    ),
                ),
            ],
            options={
                "verbose_name": "payment history entry",
                "verbose_name_plural": "payment history entries",
                "ordering": ["-pk"],
                "base_manager_name": "objects",
            },
        ),
        migrations.CreateModel(
            name="EarlyFraudWarning",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "stripe_id",
                    models.CharField(max_length=255, unique=True, verbose_name="Stripe id"),
                ),
                ("livemode", models.BooleanField(verbose_name="live mode")),
                (
                    "stripe_created_at",
                    models.DateTimeField(db_index=True, verbose_name="created at Stripe"),
                ),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="first seen at"),
                ),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
                ("version", models.PositiveIntegerField(default=0, editable=False)),
                (
                    "actionable",
                    models.BooleanField(
                        help_text="Not disputed and not fully refunded.", verbose_name="actionable"
                    ),
                ),
                (
                    "fraud_type",
                    models.CharField(blank=True, max_length=64, verbose_name="fraud type"),
                ),
                (
                    "order_payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="shop_payments.orderpayment",
                        verbose_name="order payment",
                    ),
                ),
                (
                    "payment_intent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="shop_payments.paymentintent",
                        verbose_name="payment intent",
                    ),
                ),
            ],
            options={
                "verbose_name": "early fraud warning",
                "verbose_name_plural": "early fraud warnings",
                "ordering": ["-created_at", "-pk"],
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Dispute",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "total_seen",
                    models.PositiveBigIntegerField(
                        blank=True,
                        editable=False,
                        help_text="The order's total at that time. Empty if the payment did not count.",
                        null=True,
                    ),
                ),
                ("waived_seen", models.PositiveBigIntegerField(default=0, editable=False)),
                (
                    "stripe_id",
                    models.CharField(max_length=255, unique=True, verbose_name="Stripe id"),
                ),
                ("status", models.CharField(max_length=64, verbose_name="status")),
                (
                    "amount",
                    models.PositiveBigIntegerField(
                        help_text="In minor units.", verbose_name="amount"
                    ),
                ),
                ("currency", models.CharField(max_length=3, verbose_name="currency")),
                ("reason", models.CharField(blank=True, max_length=64, verbose_name="reason")),
                (
                    "evidence_due_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="evidence due at"),
                ),
                ("livemode", models.BooleanField(verbose_name="live mode")),
                (
                    "stripe_created_at",
                    models.DateTimeField(db_index=True, verbose_name="created at Stripe"),
                ),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="first seen at"),
                ),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
                ("version", models.PositiveIntegerField(default=0, editable=False)),
                (
                    "order_payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="disputes",
                        to="shop_payments.orderpayment",
                        verbose_name="order payment",
                    ),
                ),
                (
                    "payment_intent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="disputes",
                        to="shop_payments.paymentintent",
                        verbose_name="payment intent",
                    ),
                ),
            ],
            options={
                "verbose_name": "dispute",
                "verbose_name_plural": "disputes",
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="BalanceTransaction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "stripe_id",
                    models.CharField(max_length=255, unique=True, verbose_name="Stripe id"),
                ),
                (
                    "source",
                    models.CharField(
                        help_text="The charge, refund or dispute.",
                        max_length=255,
                        verbose_name="source",
                    ),
                ),
                ("reporting_category", models.CharField(max_length=64, verbose_name="category")),
                ("amount", models.BigIntegerField(verbose_name="amount")),
                ("fee", models.BigIntegerField(verbose_name="fee")),
                ("net", models.BigIntegerField(verbose_name="net")),
                ("currency", models.CharField(max_length=3, verbose_name="currency")),
                (
                    "stripe_created_at",
                    models.DateTimeField(db_index=True, verbose_name="created at Stripe"),
                ),
                (
                    "order_payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="balance_transactions",
                        to="shop_payments.orderpayment",
                        verbose_name="order payment",
                    ),
                ),
                (
                    "payment_intent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="balance_transactions",
                        to="shop_payments.paymentintent",
                        verbose_name="payment intent",
                    ),
                ),
            ],
            options={
                "verbose_name": "balance transaction",
                "verbose_name_plural": "balance transactions",
                "ordering": ["-stripe_created_at", "-pk"],
            },
        ),
        migrations.CreateModel(
            name="RadarReview",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "stripe_id",
                    models.CharField(max_length=255, unique=True, verbose_name="Stripe id"),
                ),
                ("livemode", models.BooleanField(verbose_name="live mode")),
                (
                    "stripe_created_at",
                    models.DateTimeField(db_index=True, verbose_name="created at Stripe"),
                ),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="first seen at"),
                ),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
                ("version", models.PositiveIntegerField(default=0, editable=False)),
                ("is_open", models.BooleanField(verbose_name="open")),
                (
                    "reason",
                    models.CharField(
                        blank=True,
                        help_text="Why the review is open, or why it was closed.",
                        max_length=64,
                        verbose_name="reason",
                    ),
                ),
                (
                    "order_payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="shop_payments.orderpayment",
                        verbose_name="order payment",
                    ),
                ),
                (
                    "payment_intent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="shop_payments.paymentintent",
                        verbose_name="payment intent",
                    ),
                ),
            ],
            options={
                "verbose_name": "Radar review",
                "verbose_name_plural": "Radar reviews",
                "ordering": ["-created_at", "-pk"],
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="ReviewItem",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("excess", "more was received than the order costs"),
                            ("uncounted", "money was received that does not count for the order"),
                            ("rest_owed", "a rest is owed, but the shop does not want more money"),
                            ("rest_too_small", "the rest is below Stripe's minimum"),
                            ("waived_received", "a waived amount was paid"),
                            ("order_unreadable", "the order could not be read"),
                            (
                                "notification_failed",
                                ("the shop's code does not accept a notification"),
                            ),
                            ("unknown_intent", "Stripe has a payment that is unknown here"),
                            ("intent_missing", "Stripe does not know the payment intent"),
                            ("authorization_expires", "the authorization expires soon"),
                            ("refund_failed", "a refund failed"),
                            ("fraud_warning", "the card's issuer suspects fraud"),
                            ("radar_review", "Stripe Radar asks for a review"),
                            ("disputed", "the customer's bank disputes the payment"),
                        ],
                        max_length=32,
                        verbose_name="reason",
                    ),
                ),
                (
                    "subject",
                    models.CharField(
                        blank=True,
                        help_text="The refund, dispute or unknown intent. Empty if it is the payment intent.",
                        max_length=255,
                        verbose_name="Stripe object",
                    ),
                ),
                ("data", models.JSONField(default=dict, verbose_name="figures")),
                ("opened_at", models.DateTimeField(auto_now_add=True, verbose_name="opened at")),
                (
                    "closed_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="closed at"),
                ),
                (
                    "closed_automatically",
                    models.BooleanField(
                        default=False,
                        editable=False,
                        help_text=(
                            "Whether the app closed the item because its cause no longer existed."
                        ),
                    ),
                ),
                (
                    "closing_data",
                    models.JSONField(blank=True, null=True, verbose_name="reason for closing"),
                ),
                (
                    "closed_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="closed by",
                    ),
                ),
                (
                    "order_payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="review_items",
                        to="shop_payments.orderpayment",
                        verbose_name="order payment",
                    ),
                ),
                (
                    "payment_intent",
                    models.ForeignKey(
                        blank=True,
                        help_text="Empty if the payment intent has no row here.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="review_items",
                        to="shop_payments.paymentintent",
                        verbose_name="payment intent",
                    ),
                ),
            ],
            options={
                "verbose_name": "review item",
                "verbose_name_plural": "review items",
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="StripeAttempt",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "operation",
                    models.CharField(
                        choices=[
                            ("create_intent", "create payment intent"),
                            ("update_intent", "update payment intent"),
                            ("capture_intent", "capture payment intent"),
                            ("cancel_intent", "cancel payment intent"),
                            ("create_refund", "create refund"),
                            ("approve_review", "approve Radar review"),
                        ],
                        max_length=32,
                        verbose_name="operation",
                    ),
                ),
                (
                    "target",
                    models.CharField(
                        blank=True,
                        help_text="The object to change.",
                        max_length=255,
                        verbose_name="target",
                    ),
                ),
                (
                    "target_version",
                    models.PositiveIntegerField(
                        default=0,
                        editable=False,
                        help_text="The version of the object's row when the request was planned.",
                    ),
                ),
                ("params", models.JSONField(verbose_name="parameters as sent")),
                ("livemode", models.BooleanField(verbose_name="live mode")),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("pending", "not known yet"),
                            ("succeeded", "succeeded"),
                            ("failed", "refused by Stripe"),
                            ("abandoned", "had no effect"),
                        ],
                        default="pending",
                        max_length=16,
                        verbose_name="outcome",
                    ),
                ),
                (
                    "stripe_object_id",
                    models.CharField(blank=True, max_length=255, verbose_name="Stripe object"),
                ),
                (
                    "request_id",
                    models.CharField(blank=True, max_length=255, verbose_name="Stripe request id"),
                ),
                (
                    "error_code",
                    models.CharField(blank=True, max_length=255, verbose_name="error code"),
                ),
                ("http_status", models.PositiveIntegerField(default=0, verbose_name="HTTP status")),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                (
                    "acquired_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="acquired at"),
                ),
                (
                    "last_sent_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="last sent at"),
                ),
                (
                    "missed_at",
                    models.DateTimeField(
                        blank=True,
                        editable=False,
                        help_text="The first look-up without a result after the key expired.",
                        null=True,
                        verbose_name="first missed at",
                    ),
                ),
                (
                    "finished_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="finished at"),
                ),
                (
                    "purged_at",
                    models.DateTimeField(
                        blank=True, editable=False, null=True, verbose_name="purged at"
                    ),
                ),
                (
                    "order_payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="attempts",
                        to="shop_payments.orderpayment",
                        verbose_name="order payment",
                    ),
                ),
            ],
            options={
                "verbose_name": "request to Stripe",
                "verbose_name_plural": "requests to Stripe",
                "ordering": ["-created_at", "-pk"],
            },
        ),
        migrations.CreateModel(
            name="StaffEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("waiver", "waived"), ("settlement", "settled outside Stripe")],
                        max_length=16,
                        verbose_name="kind",
                    ),
                ),
                (
                    "amount",
                    models.PositiveBigIntegerField(
                        help_text="In minor units.", verbose_name="amount"
                    ),
                ),
                ("currency", models.CharField(max_length=3, verbose_name="currency")),
                ("reason", models.CharField(max_length=500, verbose_name="reason")),
                (
                    "total_seen",
                    models.PositiveBigIntegerField(blank=True, editable=False, null=True),
                ),
                ("request_key", models.CharField(editable=False, max_length=255)),
                ("actor", models.CharField(blank=True, max_length=255, verbose_name="by")),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="recorded at")),
                (
                    "revoked_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="revoked at"),
                ),
                (
                    "revocation_reason",
                    models.CharField(
                        blank=True, max_length=500, verbose_name="reason for revoking"
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="recorded by",
                    ),
                ),
                (
                    "order_payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="staff_entries",
                        to="shop_payments.orderpayment",
                        verbose_name="order payment",
                    ),
                ),
                (
                    "payment_intent",
                    models.ForeignKey(
                        blank=True,
                        help_text="The payment that was settled outside Stripe, or captured in part.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="staff_entries",
                        to="shop_payments.paymentintent",
                        verbose_name="payment intent",
                    ),
                ),
                (
                    "revoked_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="revoked by",
                    ),
                ),
                (
                    "capture",
                    models.OneToOneField(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="waiver",
                        to="shop_payments.stripeattempt",
                        verbose_name="capture",
                    ),
                ),
            ],
            options={
                "verbose_name": "staff entry",
                "verbose_name_plural": "staff entries",
                "ordering": ["-pk"],
                "permissions": [
                    ("waive_amount", "Can waive what an order owes"),
                    (
                        "settle_outside_stripe",
                        "Can record that a payment was settled outside Stripe",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="StaffNote",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("text", models.CharField(max_length=2000, verbose_name="note")),
                ("request_key", models.CharField(editable=False, max_length=255)),
                ("actor", models.CharField(blank=True, max_length=255, verbose_name="by")),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="written at"),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="written by",
                    ),
                ),
                (
                    "order_payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="staff_notes",
                        to="shop_payments.orderpayment",
                        verbose_name="order payment",
                    ),
                ),
            ],
            options={
                "verbose_name": "staff note",
                "verbose_name_plural": "staff notes",
                "ordering": ["-pk"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("text", ""), _negated=True),
                        name="shop_payments_note_has_text",
                    ),
                    models.UniqueConstraint(
                        fields=("order_payment", "request_key"),
                        name="shop_payments_note_once_per_request_key",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Refund",
            fields=[
                (
                    "total_seen",
                    models.PositiveBigIntegerField(
                        blank=True,
                        editable=False,
                        help_text="The order's total at that time. Empty if the payment did not count.",
                        null=True,
                    ),
                ),
                ("waived_seen", models.PositiveBigIntegerField(default=0, editable=False)),
                (
                    "id",
                    models.UUIDField(
                        default=uuid.uuid4, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "request_key",
                    models.CharField(
                        blank=True,
                        editable=False,
                        max_length=255,
                        verbose_name="idempotency key of the request",
                    ),
                ),
                (
                    "requested_amount",
                    models.PositiveBigIntegerField(
                        blank=True,
                        editable=False,
                        help_text="In minor units, over all intents. Empty if everything that was left was requested.",
                        null=True,
                        verbose_name="amount of the request",
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("goods", "returned goods"),
                            ("correction", "a correction: the payment, or a part of it, is undone"),
                        ],
                        help_text="If empty, excess is refunded first, and the rest is for goods.",
                        max_length=16,
                        verbose_name="purpose",
                    ),
                ),
                (
                    "stripe_id",
                    models.CharField(blank=True, max_length=255, verbose_name="Stripe id"),
                ),
                (
                    "status",
                    models.CharField(
                        default="requested",
                        max_length=64,
                        verbose_name="status",
                    ),
                ),
                (
                    "refund_recorded",
                    models.BooleanField(
                        default=False,
                        editable=False,
                        help_text=(
                            "Whether the history has the entry of this refund. There is at most "
                            "one."
                        ),
                    ),
                ),
                (
                    "amount",
                    models.PositiveBigIntegerField(
                        help_text="In minor units.", verbose_name="amount"
                    ),
                ),
                ("currency", models.CharField(max_length=3, verbose_name="currency")),
                ("reason", models.CharField(blank=True, max_length=64, verbose_name="reason")),
                (
                    "note",
                    models.CharField(
                        blank=True,
                        help_text="For the shop's staff. It is not sent to Stripe.",
                        max_length=500,
                        verbose_name="note",
                    ),
                ),
                (
                    "failure_reason",
                    models.CharField(blank=True, max_length=255, verbose_name="failure reason"),
                ),
                ("livemode", models.BooleanField(verbose_name="live mode")),
                (
                    "stripe_created_at",
                    models.DateTimeField(
                        blank=True, db_index=True, null=True, verbose_name="created at Stripe"
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="first seen at"),
                ),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
                ("version", models.PositiveIntegerField(default=0, editable=False)),
                (
                    "order_payment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="refunds",
                        to="shop_payments.orderpayment",
                        verbose_name="order payment",
                    ),
                ),
                (
                    "payment_intent",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="refunds",
                        to="shop_payments.paymentintent",
                        verbose_name="payment intent",
                    ),
                ),
                (
                    "attempt",
                    models.OneToOneField(
                        blank=True,
                        help_text="Empty for a refund that was made at Stripe.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="refund",
                        to="shop_payments.stripeattempt",
                        verbose_name="created by the request",
                    ),
                ),
            ],
            options={
                "verbose_name": "refund",
                "verbose_name_plural": "refunds",
                "ordering": ["-created_at", "-pk"],
            },
        ),
        migrations.AddField(
            model_name="paymentintent",
            name="attempt",
            field=models.OneToOneField(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="created_intent",
                to="shop_payments.stripeattempt",
                verbose_name="created by the request",
            ),
        ),
        migrations.CreateModel(
            name="SweepState",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("livemode", models.BooleanField(unique=True, verbose_name="live mode")),
                (
                    "acquired_at",
                    models.DateTimeField(
                        help_text="The last sign of life of the running sweep.",
                        null=True,
                        verbose_name="running",
                    ),
                ),
                ("finished_at", models.DateTimeField(null=True, verbose_name="last finished at")),
                (
                    "compared_at",
                    models.DateTimeField(
                        help_text=(
                            "The start of the last sweep that compared Stripe's lists without a "
                            "problem."
                        ),
                        null=True,
                        verbose_name="lists compared at",
                    ),
                ),
                (
                    "newest_event",
                    models.CharField(
                        blank=True,
                        help_text="The next sweep asks Stripe for the events after this one.",
                        max_length=255,
                        verbose_name="newest event",
                    ),
                ),
            ],
            options={
                "verbose_name": "state of the sweep",
                "verbose_name_plural": "states of the sweep",
            },
        ),
        migrations.CreateModel(
            name="WebhookEvent",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("event_id", models.CharField(max_length=255, verbose_name="event id")),
                ("type", models.CharField(max_length=255, verbose_name="type")),
                ("livemode", models.BooleanField(verbose_name="live mode")),
                (
                    "api_version",
                    models.CharField(blank=True, max_length=64, verbose_name="API version"),
                ),
                ("object_id", models.CharField(blank=True, max_length=255, verbose_name="object")),
                (
                    "intent_id",
                    models.CharField(
                        blank=True,
                        help_text="The event's object, or the intent of its charge, refund or dispute.",
                        max_length=255,
                        verbose_name="payment intent",
                    ),
                ),
                ("stripe_created_at", models.DateTimeField(verbose_name="created at Stripe")),
                ("payload", models.JSONField(verbose_name="payload")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("received", "received"),
                            ("processed", "processed"),
                            ("ignored", "not ours or not needed"),
                            ("failed", "failed, will be tried again"),
                            ("set_aside", "set aside for staff"),
                        ],
                        default="received",
                        max_length=16,
                        verbose_name="status",
                    ),
                ),
                (
                    "outcome_data",
                    models.JSONField(blank=True, default=dict, verbose_name="outcome"),
                ),
                ("attempts", models.PositiveIntegerField(default=0, verbose_name="tries")),
                (
                    "received_at",
                    models.DateTimeField(auto_now_add=True, verbose_name="received at"),
                ),
                (
                    "processed_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="processed at"),
                ),
                (
                    "purged_at",
                    models.DateTimeField(
                        blank=True, editable=False, null=True, verbose_name="purged at"
                    ),
                ),
            ],
            options={
                "verbose_name": "Stripe event",
                "verbose_name_plural": "Stripe events",
                "ordering": ["-pk"],
                "indexes": [
                    models.Index(fields=["object_id"], name="shop_payments_event_by_object"),
                    models.Index(fields=["intent_id"], name="shop_payments_event_by_intent"),
                    models.Index(
                        condition=models.Q(("status", "processed"), _negated=True),
                        fields=["status", "id"],
                        name="shop_payments_event_status",
                    ),
                    models.Index(
                        condition=models.Q(("purged_at", None)),
                        fields=["received_at", "id"],
                        name="shop_payments_event_unpurged",
                    ),
                    models.Index(
                        condition=models.Q(
                            (
                                "type__in",
                                ["payment_intent.created", "payment_intent.succeeded"],
                            ),
                            _negated=True,
                        ),
                        fields=["type", "id"],
                        name="shop_payments_event_by_type",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("event_id",), name="shop_payments_event_id_unique"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("event_id", ""), _negated=True),
                        name="shop_payments_event_has_id",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("purged_at", None),
                            ("status__in", ["processed", "ignored"]),
                            _connector="OR",
                        ),
                        name="shop_payments_event_purged_when_done",
                    ),
                ],
            },
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("currency", django.db.models.functions.text.Lower("currency"))),
                name="shop_payments_order_currency_lower",
            ),
        ),
        migrations.AddConstraint(
            model_name="order",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["open", "cancelled"])),
                name="shop_payments_order_status_known",
            ),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                fields=["customer", "created_at", "id"], name="shop_payments_order_customer"
            ),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(fields=["created_at", "id"], name="shop_payments_order_created"),
        ),
        migrations.AddIndex(
            model_name="order",
            index=models.Index(
                condition=models.Q(("status", "cancelled")),
                fields=["id"],
                name="shop_payments_order_cancelled",
            ),
        ),
        migrations.RunPython(index_beginning_of_email, migrations.RunPython.noop, elidable=False),
        migrations.AddConstraint(
            model_name="orderline",
            constraint=models.CheckConstraint(
                condition=models.Q(("quantity__gte", 1)),
                name="shop_payments_orderline_quantity_positive",
            ),
        ),
        migrations.AddIndex(
            model_name="orderpayment",
            index=models.Index(fields=["status", "id"], name="shop_payments_payment_status"),
        ),
        migrations.AddIndex(
            model_name="orderpayment",
            index=models.Index(
                condition=models.Q(("needs_review", True)),
                fields=["id"],
                name="shop_payments_payment_review",
            ),
        ),
        migrations.AddIndex(
            model_name="orderpayment",
            index=models.Index(
                condition=models.Q(("dispute_state", ""), _negated=True),
                fields=["dispute_state", "id"],
                name="shop_payments_payment_disputed",
            ),
        ),
        migrations.AddIndex(
            model_name="orderpayment",
            index=models.Index(
                condition=models.Q(("failed_reads__gt", 0)),
                fields=["failed_reads"],
                name="shop_payments_payment_unread",
            ),
        ),
        migrations.AddIndex(
            model_name="orderpayment",
            index=models.Index(
                condition=models.Q(("cancel_requested_at__isnull", False)),
                fields=["cancel_requested_at"],
                name="shop_payments_payment_cancel",
            ),
        ),
        migrations.AddConstraint(
            model_name="orderpayment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        [
                            "unpaid",
                            "pending",
                            "authorized",
                            "partially_paid",
                            "paid",
                            "partially_refunded",
                            "refunded",
                        ],
                    )
                ),
                name="shop_payments_orderpayment_status_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="orderpayment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("paid_at__isnull", False),
                    (
                        "status__in",
                        [
                            "unpaid",
                            "pending",
                            "authorized",
                            "partially_paid",
                        ],
                    ),
                    _connector="OR",
                ),
                name="shop_payments_orderpayment_paid_has_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="orderpayment",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("total__isnull", True),
                    models.Q(("currency", ""), _negated=True),
                    _connector="OR",
                ),
                name="shop_payments_orderpayment_total_has_currency",
            ),
        ),
        migrations.AddIndex(
            model_name="paymenthistory",
            index=models.Index(
                condition=models.Q(
                    ("dispatched_at", None), ("needs_dispatch", True), ("skipped_at", None)
                ),
                fields=["order_payment", "id"],
                name="shop_payments_undispatched",
            ),
        ),
        migrations.AddIndex(
            model_name="paymenthistory",
            index=models.Index(
                condition=models.Q(
                    (
                        "kind__in",
                        ["intent_created", "payment_received", "order_paid"],
                    ),
                    _negated=True,
                ),
                fields=["kind", "id"],
                name="shop_payments_history_kind",
            ),
        ),
        migrations.AddIndex(
            model_name="paymenthistory",
            index=models.Index(
                condition=models.Q(("source__in", ["api", "webhook"]), _negated=True),
                fields=["source", "id"],
                name="shop_payments_history_source",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymenthistory",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "order_paid")),
                fields=("order_payment",),
                name="shop_payments_order_paid_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymenthistory",
            constraint=models.UniqueConstraint(
                condition=models.Q(("kind", "payment_received")),
                fields=("payment_intent",),
                name="shop_payments_payment_received_once",
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewitem",
            constraint=models.UniqueConstraint(
                fields=("payment_intent", "reason", "subject"),
                name="shop_payments_review_once_per_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewitem",
            constraint=models.UniqueConstraint(
                condition=models.Q(("payment_intent", None)),
                fields=("order_payment", "reason", "subject"),
                name="shop_payments_review_once_without_intent",
            ),
        ),
        migrations.AddConstraint(
            model_name="reviewitem",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("closed_at__isnull", False), ("closing_data__isnull", True), _connector="OR"
                ),
                name="shop_payments_review_closing_has_time",
            ),
        ),
        migrations.AddIndex(
            model_name="reviewitem",
            index=models.Index(
                condition=models.Q(("closed_at", None)),
                fields=["id"],
                name="shop_payments_review_open",
            ),
        ),
        migrations.AddIndex(
            model_name="balancetransaction",
            index=models.Index(
                condition=models.Q(("reporting_category", "charge"), _negated=True),
                fields=["reporting_category", "stripe_created_at"],
                name="shop_payments_movement_kind",
            ),
        ),
        migrations.AddIndex(
            model_name="stripeattempt",
            index=models.Index(
                condition=models.Q(("purged_at", None)),
                fields=["created_at", "id"],
                name="shop_payments_attempt_unpurged",
            ),
        ),
        migrations.AddIndex(
            model_name="stripeattempt",
            index=models.Index(fields=["created_at", "id"], name="shop_payments_attempt_by_time"),
        ),
        migrations.AddIndex(
            model_name="stripeattempt",
            index=models.Index(
                condition=models.Q(("outcome", "succeeded"), _negated=True),
                fields=["outcome", "created_at"],
                name="shop_payments_attempt_outcome",
            ),
        ),
        migrations.AddIndex(
            model_name="stripeattempt",
            index=models.Index(
                condition=models.Q(("operation", "create_intent"), _negated=True),
                fields=["operation", "created_at"],
                name="shop_payments_attempt_kind",
            ),
        ),
        migrations.AddConstraint(
            model_name="stripeattempt",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    (
                        "operation__in",
                        ["create_intent", "update_intent", "capture_intent", "cancel_intent"],
                    ),
                    ("outcome", "pending"),
                ),
                fields=("order_payment",),
                name="shop_payments_one_pending_intent_attempt",
            ),
        ),
        migrations.AddConstraint(
            model_name="stripeattempt",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finished_at__isnull", True), ("outcome", "pending")),
                    models.Q(
                        models.Q(("outcome", "pending"), _negated=True),
                        ("finished_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="shop_payments_attempt_finished_has_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="stripeattempt",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("purged_at", None),
                    models.Q(("outcome", "pending"), _negated=True),
                    _connector="OR",
                ),
                name="shop_payments_attempt_purged_when_finished",
            ),
        ),
        migrations.AddConstraint(
            model_name="staffentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0)), name="shop_payments_entry_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="staffentry",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason", ""), _negated=True),
                name="shop_payments_entry_has_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="staffentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("kind", "settlement"), _negated=True),
                    ("payment_intent__isnull", False),
                    _connector="OR",
                ),
                name="shop_payments_entry_settles_an_intent",
            ),
        ),
        migrations.AddConstraint(
            model_name="staffentry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("revoked_at__isnull", False), ("revocation_reason", ""), _connector="OR"
                ),
                name="shop_payments_entry_revoked_has_time",
            ),
        ),
        migrations.AddConstraint(
            model_name="staffentry",
            constraint=models.UniqueConstraint(
                fields=("order_payment", "request_key"),
                name="shop_payments_entry_once_per_request_key",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.UniqueConstraint(
                condition=models.Q(("stripe_id", ""), _negated=True),
                fields=("stripe_id",),
                name="shop_payments_refund_stripe_id_unique",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.UniqueConstraint(
                condition=models.Q(("request_key", ""), _negated=True),
                fields=("order_payment", "request_key", "payment_intent"),
                name="shop_payments_refund_once_per_request_key",
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(("amount__gt", 0)), name="shop_payments_refund_amount_positive"
            ),
        ),
        migrations.AddConstraint(
            model_name="refund",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("stripe_id", ""), _negated=True),
                    ("status__in", ["requested", "refused"]),
                    _connector="OR",
                ),
                name="shop_payments_refund_mirrored_has_stripe_id",
            ),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(fields=["created_at", "id"], name="shop_payments_refund_by_time"),
        ),
        migrations.AddIndex(
            model_name="refund",
            index=models.Index(
                condition=models.Q(("status", "succeeded"), _negated=True),
                fields=["status", "created_at"],
                name="shop_payments_refund_status",
            ),
        ),
        migrations.AddIndex(
            model_name="paymentintent",
            index=models.Index(fields=["latest_charge"], name="shop_payments_intent_by_charge"),
        ),
        migrations.AddIndex(
            model_name="paymentintent",
            index=models.Index(
                condition=models.Q(
                    (
                        "status__in",
                        [
                            "canceled",
                            "missing",
                            "succeeded",
                        ],
                    ),
                    _negated=True,
                ),
                fields=["stripe_created_at", "id"],
                name="shop_payments_intent_open",
            ),
        ),
        migrations.AddIndex(
            model_name="paymentintent",
            index=models.Index(
                condition=models.Q(("status", "succeeded")),
                fields=["charged_at"],
                name="shop_payments_intent_charged",
            ),
        ),
        migrations.AddIndex(
            model_name="paymentintent",
            index=models.Index(
                condition=models.Q(("status__in", ["canceled", "missing"])),
                fields=["status", "id"],
                name="shop_payments_intent_ended",
            ),
        ),
        migrations.AddIndex(
            model_name="orderpayment",
            index=models.Index(fields=["created_at"], name="shop_payments_payment_created"),
        ),
        migrations.AddIndex(
            model_name="orderpayment",
            index=models.Index(fields=["currency", "total"], name="shop_payments_payment_total"),
        ),
        migrations.AddIndex(
            model_name="paymentintent",
            index=models.Index(
                condition=models.Q(("last4", ""), _negated=True),
                fields=["last4", "card_brand", "order_payment"],
                name="shop_payments_intent_by_card",
            ),
        ),
        migrations.AddIndex(
            model_name="paymentintent",
            index=models.Index(
                condition=models.Q(("method_type__in", ["", "card"]), _negated=True),
                fields=["method_type", "order_payment"],
                name="shop_payments_intent_by_method",
            ),
        ),
        migrations.AddIndex(
            model_name="paymentintent",
            index=models.Index(
                condition=models.Q(("card_brand__in", ["", "visa", "mastercard"]), _negated=True),
                fields=["card_brand", "order_payment"],
                name="shop_payments_intent_by_brand",
            ),
        ),
        migrations.AddIndex(
            model_name="paymentintent",
            index=models.Index(
                fields=["livemode", "order_payment"], name="shop_payments_intent_by_mode"
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentintent",
            constraint=models.UniqueConstraint(
                fields=("stripe_id",), name="shop_payments_intent_stripe_id_unique"
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentintent",
            constraint=models.UniqueConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        [
                            "canceled",
                            "missing",
                            "succeeded",
                        ],
                    ),
                    _negated=True,
                ),
                fields=("order_payment",),
                name="shop_payments_one_open_intent_per_order",
            ),
        ),
        migrations.AddConstraint(
            model_name="paymentintent",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("wanted", False),
                    ("status", "succeeded"),
                    _connector="OR",
                ),
                name="shop_payments_intent_wanted_only_when_succeeded",
            ),
        ),
    ]
