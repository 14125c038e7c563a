from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404

from shop_payments.models import OrderPayment, PaymentIntent

from .models import Order

WHY_DECLINED = {"insufficient_funds": "Your card has insufficient funds."}


def order_page(request: HttpRequest, pk: UUID) -> HttpResponse:
    """What a customer sees of an order, and of how far its payment is."""
    order = get_object_or_404(Order, pk=pk)
    payment = OrderPayment.objects.of_order(order.pk).first()
    if payment is not None and payment.is_paid:
        return HttpResponse(f"Thank you! {order.reference} is on its way.")
    intent = PaymentIntent.objects.filter(order_payment=payment).first()
    if intent is not None and intent.last_error_code:
        why = WHY_DECLINED.get(intent.last_decline_code, "Your card was declined.")
        return HttpResponse(f"{why} Please try another one.")
    return HttpResponse(f"{order.reference} waits for your payment.")
