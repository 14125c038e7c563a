"""``manage.py shop_payments_pay``: pay an order with a test card, as its customer would."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any
from uuid import uuid4

from django.core.management.base import CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from shop_payments.exceptions import CardDeclined, ConfigurationError, GatewayError
from shop_payments.gateway import Gateway, PaymentIntentResult, get_gateway
from shop_payments.management.base import PaymentsCommand
from shop_payments.models import Order, OrderPayment, PaymentIntent
from shop_payments.orders import OrderAdapter, get_order_adapter


class Command(PaymentsCommand):
    help = (
        "Attach a test card to an order's payment intent, and confirm it with --confirm. Works "
        "only with test keys. The order itself changes when Stripe's webhook arrives."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "order",
            metavar="ORDER",
            help="the order's id, such as 9; the bundled order's number, such as "
            "ORD-20260131-7K2M, is also accepted",
        )
        parser.add_argument(
            "--payment-method",
            default="pm_card_visa",
            metavar="PM",
            help="one of Stripe's test payment methods (pm_card_visa)",
        )
        parser.add_argument("--confirm", action="store_true", help="pay with the card")

    def handle(
        self, *args: Any, order: str, payment_method: str, confirm: bool, **options: Any
    ) -> None:
        gateway = _test_gateway()
        intent = _open_intent(_find_order(order))
        result = _send(gateway, intent.stripe_id, payment_method=payment_method, confirm=confirm)
        self.stdout.write(_as_json(result))


def _test_gateway() -> Gateway:
    try:
        gateway = get_gateway()
    except ConfigurationError as error:
        raise CommandError(str(error)) from error
    if gateway.livemode:
        raise CommandError(
            "SHOP_PAYMENTS['STRIPE_SECRET_KEY'] is a live key. Test cards need sk_test_… "
            "or rk_test_…."
        )
    return gateway


def _find_order(name: str) -> Any:
    """Return the order with this id. The bundled order is also found by its number."""
    adapter = get_order_adapter()
    order = adapter.find(name) or _find_by_number(adapter, name)
    if order is None:
        accepted = "id (such as 9) or number (such as ORD-20260131-7K2M)"
        if adapter.model is not Order:
            accepted = "id (such as 9)"
        raise CommandError(f"There is no order {name!r}. Name it by its {accepted}.")
    return order


def _find_by_number(adapter: OrderAdapter, number: str) -> Any | None:
    if adapter.model is not Order or "\x00" in number:  # PostgreSQL does not accept NUL in text
        return None
    return adapter.get_queryset().filter(number=number).first()


def _open_intent(order: Any) -> PaymentIntent:
    payment = OrderPayment.objects.of_order(order.pk).first()
    intent = payment.payment_intents.all().open().first() if payment else None
    if intent is not None:
        return intent
    if payment is not None and payment.is_paid:
        raise CommandError(f"Order {order.pk} is paid.")
    raise CommandError(
        f"Order {order.pk} has no open payment intent. "
        f"Create one first: POST orders/{order.pk}/payment-intent."
    )


def _send(
    gateway: Gateway, intent_id: str, *, payment_method: str, confirm: bool
) -> PaymentIntentResult:
    key = str(uuid4())
    try:
        if confirm:
            return gateway.confirm_payment_intent(
                intent_id, payment_method=payment_method, idempotency_key=key
            )
        return gateway.update_payment_intent(
            intent_id, {"payment_method": payment_method}, idempotency_key=key
        )
    except CardDeclined as error:
        raise CommandError(f"Declined: {_reason(gateway, intent_id, error)}") from error
    except GatewayError as error:
        raise CommandError(_gateway_message(error)) from error


def _reason(gateway: Gateway, intent_id: str, declined: CardDeclined) -> str:
    """Return why the card was declined, with Stripe's decline code, which the intent has."""
    try:
        last = gateway.retrieve_payment_intent(intent_id).last_payment_error
    except GatewayError:
        last = None
    codes = [declined.code, last.decline_code if last else ""]
    return f"{declined} ({', '.join(filter(None, codes))})"


def _gateway_message(error: GatewayError) -> str:
    if error.retryable:
        return f"Stripe could not be reached or is busy: {error}"
    return f"Stripe refused: {error.in_full}"


def _as_json(result: PaymentIntentResult) -> str:
    """Return the intent as JSON, without its client secret and personal data."""
    left_out = {"absent", "allowed_payment_method_types", "client_secret", "receipt_email"}
    values = {
        item.name: getattr(result, item.name)
        for item in fields(result)
        if item.name not in left_out
    }
    error = result.last_payment_error
    values["last_payment_error"] = asdict(error) if error else None
    return json.dumps(values, indent=2, ensure_ascii=False, cls=DjangoJSONEncoder)
