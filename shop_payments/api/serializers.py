"""Serializers of requests and responses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeVar

from django.urls import reverse
from django.utils import timezone
from rest_framework import serializers

from shop_payments.api.renderers import OWN_SETTINGS
from shop_payments.days import as_stored, midnight
from shop_payments.lifecycle import PaymentStatus
from shop_payments.models import Refund
from shop_payments.money import format_amount
from shop_payments.orders import LineItem, get_order_adapter
from shop_payments.services.create_payment_intent import IntentView
from shop_payments.services.order_pages import OrderCursor, parse_cursor

_Value = TypeVar("_Value")


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
        required=False, help_text="The payment status of the order. Absent until money is received."
    )


class PaymentIntentSerializer(PaymentIntentStateSerializer):
    """A payment intent with its client secret, for the customer who pays it."""

    client_secret = serializers.CharField(source="intent.client_secret.reveal")

    class Meta:
        """Fields in the order of docs/api.md. Clients may compare responses byte for byte."""

        fields = ("id", "client_secret", "amount", "currency", "status", "line_items")

    def get_fields(self) -> dict[str, Any]:
        fields = super().get_fields()
        return {name: fields[name] for name in self.Meta.fields}


# Built once: REST framework copies the fields for each serializer, which takes most of the time.
_PAYMENT_INTENT = PaymentIntentSerializer()


def payment_intent_data(view: IntentView) -> dict[str, Any]:
    """Return a payment intent with its client secret, as responses contain it."""
    data: dict[str, Any] = _PAYMENT_INTENT.to_representation(view)
    return data


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
    counts = serializers.BooleanField(help_text="Whether the payment counts for the order.")
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
    created_at = MomentField(
        allow_null=True, help_text="Null if the shop does not say when an order was created."
    )
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
        help_text=(
            "Decimal string in the payment's currency, with a point and at most the currency's "
            'decimals, e.g. "12.50". Without `amount`, everything that is left is refunded.'
        ),
        error_messages={"invalid": 'Write the amount as a decimal string, e.g. "12.50".'},
    )
    reason = serializers.ChoiceField(Refund.Reason.choices, required=False)
    kind = serializers.ChoiceField(
        Refund.Kind.choices,
        required=False,
        help_text=(
            "`goods` for returned goods, `correction` to undo a payment or a part of it. Without "
            "`kind`, excess is refunded first, and the rest is for goods."
        ),
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


class RangeEndField(serializers.Field[Any, Any, Any, Any]):
    """One end of a range of time: a date, or a time with its offset from UTC.

    A date is the beginning of that day in the project's time zone (``TIME_ZONE``).
    """

    default_error_messages = {
        "invalid": "Write a date like 2026-11-30, or a time with its offset from UTC like "
        "2026-11-30T09:00:00Z or 2026-11-30T10:00:00+01:00. In a URL, + is written %2B.",
        "too_far": "Write a year between 1970 and 9000.",
    }

    def to_internal_value(self, data: Any) -> datetime:
        day, moment = None, None
        try:
            if re.fullmatch(_DATE, data, re.ASCII):
                day = date.fromisoformat(data)
            elif re.fullmatch(_DATE + _TIME, data, re.ASCII):
                moment = datetime.fromisoformat(data)
        except ValueError:  # such as 2026-02-30
            self.fail("invalid")
        found = moment or day or self.fail("invalid")
        # Near the first and the last year, a time cannot be converted to another time zone.
        if not 1970 <= found.year <= 9000:
            self.fail("too_far")
        return as_stored(moment) if moment else midnight(found, timezone.get_default_timezone())


_DATE = r"\d{4}-\d{2}-\d{2}"
_TIME = r"T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})"
"""As in RFC 3339; the seconds may be left out."""


_STATUSES = [status.value for status in PaymentStatus]


class OrderQuerySerializer(serializers.Serializer[Any]):
    """The query of ``GET orders``. Unknown parameters are refused.

    With a misspelled filter that is ignored, a client would take all orders for the paid ones.
    """

    payment_status = serializers.ChoiceField(
        _STATUSES,
        required=False,
        help_text="Only orders with this `payment_status`.",
        error_messages={"invalid_choice": f"Write one of {', '.join(_STATUSES)}."},
    )
    number = serializers.CharField(
        required=False, max_length=255, help_text="Only the order with exactly this `number`."
    )
    created_from = RangeEndField(
        required=False,
        help_text="Only orders that were created at this time or later. A date is the beginning "
        "of that day in the shop's time zone.",
    )
    created_before = RangeEndField(
        required=False,
        help_text="Only orders that were created before this time. A date is the beginning of "
        "that day in the shop's time zone, so the day itself is not included.",
    )
    cursor = serializers.CharField(
        required=False,
        max_length=1000,
        help_text="Where the page begins: part of the URLs in `next` and `previous`.",
    )

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        # The browsable API's links to the JSON have the parameter `format`.
        known = {*self.fields, OWN_SETTINGS.URL_FORMAT_OVERRIDE}
        errors = {
            name: ["This parameter is not known. Remove it."] for name in data if name not in known
        }
        for name in known & set(data):
            if len(data.getlist(name)) > 1:
                errors[name] = ["This parameter is given more than once. Send it once."]
        if errors:
            raise serializers.ValidationError(errors)
        # As a plain dict. REST framework takes an empty value of a form for a missing one.
        values: dict[str, Any] = super().to_internal_value(data.dict())
        return values

    def validate_number(self, value: str) -> str:
        return self._if_named("number_field", value)

    def validate_created_from(self, value: datetime) -> datetime:
        return self._if_named("created_field", value)

    def validate_created_before(self, value: datetime) -> datetime:
        return self._if_named("created_field", value)

    def validate_cursor(self, value: str) -> OrderCursor:
        cursor = parse_cursor(value)
        if cursor is None:
            words = "The cursor is not valid. Begin again at the first page, without a cursor."
            raise serializers.ValidationError(words)
        return cursor

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        begin, end = attrs.get("created_from"), attrs.get("created_before")
        if begin and end and end < begin:
            words = "created_before is before created_from, so no order can match."
            raise serializers.ValidationError({"created_before": [words]})
        return attrs

    def _if_named(self, attribute: str, value: _Value) -> _Value:
        """Return the value if the shop's adapter names the field for the filter."""
        if not getattr(get_order_adapter(), attribute):
            words = "The orders of this shop cannot be filtered by this parameter. Remove it."
            raise serializers.ValidationError(words)
        return value


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
