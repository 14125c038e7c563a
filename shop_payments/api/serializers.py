"""The shapes of what goes in and out."""

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
    """A moment in UTC, as ISO 8601 has it, whatever the host's formats and time zone are."""

    def to_representation(self, value: datetime) -> str:
        if timezone.is_naive(value):  # the host has USE_TZ = False
            value = timezone.make_aware(value, timezone.get_default_timezone())
        return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


class EmptyBodySerializer(serializers.Serializer[Any]):
    """A body of nothing or ``{}``. Anything else is refused: a client that sends an amount has to
    learn that it cannot choose it."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError({"non_field_errors": ["Send an empty body or {}."]})
        if data:
            raise serializers.ValidationError(
                {str(key): ["This field is not known."] for key in data}
            )
        return {}


class LineItemSerializer(serializers.Serializer[Any]):
    """A line of an order."""

    name = serializers.CharField()
    amount = serializers.IntegerField(help_text="Unit price in minor units.")
    currency = serializers.CharField()
    quantity = serializers.SerializerMethodField(
        help_text='An integer; a decimal string ("1.5") where it is none.'
    )
    description = serializers.CharField()

    def get_quantity(self, line: LineItem) -> int | str:
        return line.shown_quantity


class PaymentIntentStateSerializer(serializers.Serializer[Any]):
    """A payment intent without its client secret."""

    id = serializers.CharField(source="intent.id")
    amount = serializers.CharField(
        source="amount_decimal", help_text="Decimal string in the currency's own digits."
    )
    currency = serializers.CharField(source="intent.currency")
    status = serializers.CharField(source="intent.status")
    line_items = LineItemSerializer(many=True)


class UnsettledPaymentSerializer(PaymentIntentStateSerializer):
    """A payment intent, of an order that still owes something."""

    outstanding = serializers.CharField(
        required=False,
        help_text="What is still to be paid: a decimal string. Absent while no money has come.",
    )
    payment_status = serializers.CharField(
        required=False, help_text="The order's. Absent while no money has come."
    )


class PaymentIntentSerializer(PaymentIntentStateSerializer):
    """A payment intent, for the customer who pays it."""

    client_secret = serializers.CharField(source="intent.client_secret.reveal")

    class Meta:
        """The order of payment-api.txt."""

        fields = ("id", "client_secret", "amount", "currency", "status", "line_items")

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        return {name: fields[name] for name in self.Meta.fields}


class MirroredIntentSerializer(serializers.Serializer[Any]):
    """What is known of an order's payment intent without asking Stripe."""

    id = serializers.CharField(source="stripe_id")
    status = serializers.CharField()
    amount = serializers.IntegerField(help_text="Minor units.")
    currency = serializers.CharField()


class OrderedPaymentSerializer(serializers.Serializer[Any]):
    """Money that came for an order."""

    id = serializers.CharField(help_text="The payment intent.")
    amount_received = serializers.CharField(
        source="amount_received_decimal", help_text="Decimal string."
    )
    currency = serializers.CharField()
    counts = serializers.BooleanField(help_text="Whether it counts for the order.")
    charged_at = MomentField(allow_null=True)


class OrderLinksSerializer(serializers.Serializer[Any]):
    """Where to go from an order."""

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
        help_text="What the order costs in all: a decimal string, null where it cannot be read.",
    )
    outstanding = serializers.CharField(
        source="outstanding_decimal",
        allow_null=True,
        help_text="What is still to be paid: a decimal string, null where it cannot be computed.",
    )
    waived = serializers.CharField(
        source="waived_decimal", help_text="What need not be paid any more: a decimal string."
    )
    currency = serializers.CharField(allow_null=True)
    payable = serializers.BooleanField(
        help_text="Whether the customer would be given a payment intent now."
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
    """Some of the orders, newest first."""

    results = OrderSerializer(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class LinksSerializer(serializers.Serializer[Any]):
    """The routes that can be walked from here."""

    orders = serializers.URLField()


class RefundRequestSerializer(serializers.Serializer[Any]):
    """How much to give back, and why. Nothing else is taken."""

    amount = serializers.RegexField(
        r"\A[0-9]{1,15}(\.[0-9]{1,6})?\Z",
        required=False,
        trim_whitespace=False,
        help_text="Decimal string in the payment's currency, with a point and at most the "
        'currency\'s decimals, e.g. "12.50"; all that is left if it is missing.',
        error_messages={"invalid": 'Write the amount as a decimal string, e.g. "12.50".'},
    )
    reason = serializers.ChoiceField(Refund.Reason.choices, required=False)
    kind = serializers.ChoiceField(
        Refund.Kind.choices,
        required=False,
        help_text="`goods` for returned goods, `correction` to undo a payment or a part of it. "
        "Without it excess goes back first, and the rest is for goods.",
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError({"non_field_errors": ["Send a JSON object."]})
        if unknown := [key for key in data if key not in self.fields]:
            raise serializers.ValidationError(
                {str(key): ["This field is not known."] for key in unknown}
            )
        amount = data.get("amount", "")
        if not isinstance(amount, str):  # a number would have been a float on its way
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
        allow_null=True, help_text="`re_…`; null until Stripe has answered."
    )
    payment_intent = serializers.CharField(source="payment_intent.stripe_id")
    amount = serializers.SerializerMethodField(
        help_text="Decimal string in the currency's own digits."
    )
    currency = serializers.CharField()
    status = serializers.CharField()
    reason = serializers.CharField(allow_null=True)
    failure_reason = serializers.CharField(allow_null=True)
    created_at = MomentField()

    def get_amount(self, refund: Refund) -> str:
        return format_amount(refund.amount, refund.currency)

    def to_representation(self, instance: Any) -> Any:
        values = super().to_representation(instance)
        optional = ("stripe_id", "reason", "failure_reason")
        return {**values, **{name: values[name] or None for name in optional}}


class RefundPartsSerializer(serializers.Serializer[Any]):
    """A refund that takes several payments."""

    amount = serializers.CharField(help_text="Of all parts: a decimal string.")
    currency = serializers.CharField()
    status = serializers.CharField(help_text="The parts' status; `mixed` where they differ.")
    parts = RefundSerializer(many=True)


def refund_data(parts: Sequence[Refund]) -> dict[str, Any]:
    """Describe a refund: as one, or as its parts where it took several payments."""
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
    """A number in digits 0-9 alone: no sign, space, underscore or point."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, str) and not re.fullmatch("[0-9]+", data):
            self.fail("invalid")
        number: int = super().to_internal_value(data)
        return number


class PageQuerySerializer(serializers.Serializer[Any]):
    """The query of ``GET orders``."""

    page = WholeNumberField(min_value=1, max_value=1_000_000, default=1)


class StripeEventSerializer(serializers.Serializer[Any]):
    """An event as Stripe sends it; see https://docs.stripe.com/api/events/object."""

    id = serializers.CharField()
    type = serializers.CharField()
    created = serializers.IntegerField()
    livemode = serializers.BooleanField()
    data = serializers.DictField()  # type: ignore[assignment]


class ReceivedEventSerializer(serializers.Serializer[Any]):
    """The event that was stored."""

    id = serializers.CharField(source="event_id")
