"""Serializers of requests and responses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.urls import reverse
from django.utils import timezone
from rest_framework import serializers

from shop_payments.models import Refund
from shop_payments.money import format_amount
from shop_payments.orders import LineItem


class MomentField(serializers.DateTimeField):
    """A time in UTC, in ISO 8601 format, whatever the host's formats and time zone are."""

    def to_representation(self, value: datetime) -> str:
        if timezone.is_naive(value):  # with USE_TZ = False, times are in the default time zone
            value = timezone.make_aware(value, timezone.get_default_timezone())
        return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


class EmptyBodySerializer(serializers.Serializer[Any]):
    """An empty body or ``{}``.

    Other bodies are refused: a client that sends an amount must learn that it cannot choose one.
    """

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError(
                {"non_field_errors": ["The body must be empty or {}."]}
            )
        if data:
            raise serializers.ValidationError(
                {str(key): ["This field is not known. Remove it."] for key in data}
            )
        return {}


class LineItemSerializer(serializers.Serializer[Any]):
    """A line of an order."""

    name = serializers.CharField()
    amount = serializers.IntegerField(help_text="Unit price in minor units.")
    currency = serializers.CharField()
    quantity = serializers.SerializerMethodField(
        help_text='An integer, or a decimal string ("1.5") if the quantity is not whole.'
    )
    description = serializers.CharField()

    def get_quantity(self, line: LineItem) -> int | str:
        return line.shown_quantity


class PaymentIntentStateSerializer(serializers.Serializer[Any]):
    """A payment intent without its client secret."""

    id = serializers.CharField(source="intent.id")
    amount = serializers.CharField(
        source="amount_decimal",
        help_text="Decimal string with the decimals of the currency.",
    )
    currency = serializers.CharField(source="intent.currency")
    status = serializers.CharField(source="intent.status")
    line_items = LineItemSerializer(many=True)


class UnsettledPaymentSerializer(PaymentIntentStateSerializer):
    """A payment intent of an order that is not fully paid."""

    outstanding = serializers.CharField(
        required=False,
        help_text="What is still owed, as a decimal string. Absent until money is received.",
    )
    payment_status = serializers.CharField(
        required=False, help_text="Of the order. Absent until money is received."
    )


class PaymentIntentSerializer(PaymentIntentStateSerializer):
    """A payment intent with its client secret, for the customer who pays it."""

    client_secret = serializers.CharField(source="intent.client_secret.reveal")

    class Meta:
        """Fields in the order of payment-api.txt. Clients may compare responses byte for byte."""

        fields = ("id", "client_secret", "amount", "currency", "status", "line_items")

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        return {name: fields[name] for name in self.Meta.fields}


class MirroredIntentSerializer(serializers.Serializer[Any]):
    """The stored state of an order's payment intent. Stripe is not called."""

    id = serializers.CharField(source="stripe_id")
    status = serializers.CharField()
    amount = serializers.IntegerField(help_text="Minor units.")
    currency = serializers.CharField()


class OrderedPaymentSerializer(serializers.Serializer[Any]):
    """Money that was received for an order."""

    id = serializers.CharField(help_text="The payment intent.")
    amount_received = serializers.CharField(
        source="amount_received_decimal", help_text="Decimal string."
    )
    currency = serializers.CharField()
    counts = serializers.BooleanField(help_text="Whether it counts for the order.")
    charged_at = MomentField(allow_null=True)


class OrderLinksSerializer(serializers.Serializer[Any]):
    """The URLs of an order's routes."""

    order = serializers.SerializerMethodField()
    payment_intent = serializers.SerializerMethodField()
    payment = serializers.SerializerMethodField()
    refunds = serializers.SerializerMethodField()

    def get_order(self, order: Any) -> str:
        return self._url("order", order)

    def get_payment_intent(self, order: Any) -> str:
        return self._url("payment-intent", order)

    def get_payment(self, order: Any) -> str:
        return self._url("payment", order)

    def get_refunds(self, order: Any) -> str:
        return self._url("refunds", order)

    def _url(self, name: str, order: Any) -> str:
        url = reverse(f"shop_payments:{name}", args=[order.id])
        absolute: str = self.context["request"].build_absolute_uri(url)
        return absolute


class OrderSerializer(serializers.Serializer[Any]):
    """An order, its lines and the state of its payment."""

    id = serializers.CharField()
    number = serializers.CharField()
    amount = serializers.CharField(
        source="total_decimal",
        allow_null=True,
        help_text="The same as `total`.",
    )
    total = serializers.CharField(
        source="total_decimal",
        allow_null=True,
        help_text="What the order costs in all, as a decimal string. Null if it cannot be read.",
    )
    outstanding = serializers.CharField(
        source="outstanding_decimal",
        allow_null=True,
        help_text="What is still owed, as a decimal string. Null if it cannot be computed.",
    )
    waived = serializers.CharField(
        source="waived_decimal",
        help_text="What staff decided need not be paid, as a decimal string.",
    )
    currency = serializers.CharField(allow_null=True)
    payable = serializers.BooleanField(
        help_text="Whether the customer can get a payment intent now."
    )
    payment_status = serializers.CharField()
    amount_refunded = serializers.CharField(
        source="amount_refunded_decimal", help_text="Decimal string."
    )
    dispute = serializers.CharField(
        source="dispute_state",
        allow_blank=True,
        help_text="`inquiry`, `open`, `won`, `lost`, or empty.",
    )
    needs_review = serializers.BooleanField()
    paid_at = MomentField(allow_null=True)
    line_items = LineItemSerializer(many=True)
    payment_intent = MirroredIntentSerializer(allow_null=True)
    payments = OrderedPaymentSerializer(many=True)
    links = OrderLinksSerializer(source="*")


class OrderPageSerializer(serializers.Serializer[Any]):
    """A page of orders, newest first."""

    results = OrderSerializer(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class LinksSerializer(serializers.Serializer[Any]):
    """The routes to start from."""

    orders = serializers.URLField()


class RefundRequestSerializer(serializers.Serializer[Any]):
    """How much to refund, and why. Unknown fields are refused."""

    amount = serializers.RegexField(
        r"\A[0-9]{1,15}(\.[0-9]{1,6})?\Z",
        required=False,
        trim_whitespace=False,
        help_text="Decimal string in the payment's currency, with a point and at most the "
        'currency\'s decimals, e.g. "12.50". Without it, everything that is left is refunded.',
        error_messages={"invalid": 'Write the amount as a decimal string, e.g. "12.50".'},
    )
    reason = serializers.ChoiceField(Refund.Reason.choices, required=False)
    kind = serializers.ChoiceField(
        Refund.Kind.choices,
        required=False,
        help_text="`goods` for returned goods, `correction` to undo a payment or a part of it. "
        "Without it, excess is refunded first, and the rest is for goods.",
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError(
                {"non_field_errors": ["The body must be a JSON object."]}
            )
        if unknown := [key for key in data if key not in self.fields]:
            raise serializers.ValidationError(
                {str(key): ["This field is not known. Remove it."] for key in unknown}
            )
        amount = data.get("amount", "")
        # Refuse JSON numbers: many JSON libraries turn them into floats, which are not exact.
        if not isinstance(amount, str):
            raise serializers.ValidationError(
                {"amount": [self.fields["amount"].error_messages["invalid"]]}
            )
        values: dict[str, Any] = super().to_internal_value(data)
        return values

    def validate_amount(self, value: str) -> Decimal:
        amount = Decimal(value)
        if not amount:
            raise serializers.ValidationError("The amount must be more than 0.")
        return amount


class RefundSerializer(serializers.Serializer[Any]):
    """A refund of an order's payment."""

    id = serializers.UUIDField()
    stripe_id = serializers.CharField(
        allow_null=True, help_text="`re_…`, or null until Stripe has answered."
    )
    payment_intent = serializers.CharField(source="payment_intent.stripe_id")
    amount = serializers.SerializerMethodField(
        help_text="Decimal string with the decimals of the currency."
    )
    currency = serializers.CharField()
    status = serializers.CharField()
    reason = serializers.CharField(allow_null=True)
    failure_reason = serializers.CharField(
        allow_null=True,
        help_text="Stripe's code or message, `not_at_stripe`, or `given_up:` and the reason.",
    )
    created_at = MomentField()

    def get_amount(self, refund: Refund) -> str:
        return format_amount(refund.amount, refund.currency)

    def to_representation(self, instance: Any) -> Any:
        values = super().to_representation(instance)
        # The rows store an empty string for a missing value. Clients get null.
        optional = ("stripe_id", "reason", "failure_reason")
        return {**values, **{name: values[name] or None for name in optional}}


class RefundPartsSerializer(serializers.Serializer[Any]):
    """A refund of several payments, in one part for each payment."""

    amount = serializers.CharField(help_text="The sum of all parts, as a decimal string.")
    currency = serializers.CharField()
    status = serializers.CharField(help_text="The status of all parts, or `mixed` if they differ.")
    parts = RefundSerializer(many=True)


def refund_data(parts: Sequence[Refund]) -> dict[str, Any]:
    """Return the data of a refund, or of its parts if it is of several payments."""
    if len(parts) == 1:
        return dict(RefundSerializer(parts[0]).data)
    statuses = {part.status for part in parts}
    currency = parts[0].currency
    whole = {
        "amount": format_amount(sum(part.amount for part in parts), currency),
        "currency": currency,
        "status": statuses.pop() if len(statuses) == 1 else "mixed",
        "parts": parts,
    }
    return dict(RefundPartsSerializer(whole).data)


class RefundListSerializer(serializers.Serializer[Any]):
    """An order's refunds, oldest first."""

    results = RefundSerializer(many=True)


class WholeNumberField(serializers.IntegerField):
    """A number in the digits 0-9 only: no sign, space, underscore or point."""

    def to_internal_value(self, data: Any) -> int:
        # int() accepts more, such as " 1", "1_0" and digits of other scripts.
        if isinstance(data, str) and not re.fullmatch("[0-9]+", data):
            self.fail("invalid")
        number: int = super().to_internal_value(data)
        return number


class PageQuerySerializer(serializers.Serializer[Any]):
    """The query of ``GET orders``."""

    # Without a maximum, the offset could be too large for the database, and cause a 500.
    page = WholeNumberField(min_value=1, max_value=1_000_000, default=1)


class StripeEventSerializer(serializers.Serializer[Any]):
    """An event as Stripe sends it.

    See: https://docs.stripe.com/api/events/object
    """

    id = serializers.CharField()
    type = serializers.CharField()
    created = serializers.IntegerField()
    livemode = serializers.BooleanField()
    data = serializers.DictField()  # type: ignore[assignment]


class ReceivedEventSerializer(serializers.Serializer[Any]):
    """The event that was stored."""

    id = serializers.CharField(source="event_id")
