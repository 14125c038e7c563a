"""What one writes by hand after Stripe's sample: no locks, no retries, no look at the outcome."""

import hashlib
from typing import Any

import stripe
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.authentication import TokenAuthentication
from rest_framework.permissions import BasePermission, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tests.benchmarks.minimum.models import APIKey, Order, Payment

_settings: Any = settings
stripe.api_key, stripe.api_base = _settings.STRIPE_KEY, _settings.STRIPE_BASE


class BearerToken(TokenAuthentication):
    """REST framework's tokens."""

    keyword = "Bearer"


class HasKey(BasePermission):
    """The storefront's key."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        digest = hashlib.sha256(request.headers.get("X-API-Key", "").encode()).hexdigest()
        return bool(APIKey._default_manager.filter(digest=digest).exists())


class PaymentIntentView(APIView):
    """Create an order's payment intent."""

    authentication_classes = (BearerToken,)
    permission_classes = (IsAuthenticated, HasKey)

    def post(self, request: Request, pk: int) -> Response:
        """Create it at Stripe and save it; the idempotency key makes a repetition safe."""
        order = get_object_or_404(Order, pk=pk, customer=request.user)
        intent = stripe.PaymentIntent.create(
            amount=order.total,
            currency="usd",
            metadata={"order_id": str(order.pk)},
            idempotency_key=f"order-{order.pk}",
        )
        values = {"intent_id": intent.id, "status": intent.status}
        Payment._default_manager.update_or_create(order=order, defaults=values)
        return Response({"data": {"id": intent.id, "client_secret": intent.client_secret}})


@csrf_exempt
def webhook(request: HttpRequest) -> HttpResponse:
    """Verify an event and save the intent's status."""
    event: Any = stripe.Webhook.construct_event(
        request.body, request.headers["Stripe-Signature"], _settings.WEBHOOK_SECRET
    )
    about = event.data.object
    is_charge = event.type.startswith("charge.")
    payment = get_object_or_404(Payment, intent_id=about.payment_intent if is_charge else about.id)
    payment.status = "refunded" if is_charge else about.status
    payment.save(update_fields=["status"])
    return HttpResponse()


urlpatterns = [
    path("orders/<int:pk>/payment-intent", PaymentIntentView.as_view()),
    path("webhook", webhook),
]
