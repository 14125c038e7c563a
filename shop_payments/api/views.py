"""The viewsets: parse, permit, one service call, serialize."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast
from uuid import uuid4

from django.core.exceptions import RequestDataTooBig
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponseBase
from django.http.request import UnreadablePostError
from django.urls import reverse
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import ParseError, UnsupportedMediaType, ValidationError
from rest_framework.metadata import SimpleMetadata
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings
from rest_framework.viewsets import ViewSet

from shop_payments.api.authentication import (
    PaymentSystemAuthentication,
    RefundAuthentication,
    StaffSessionAuthentication,
    StorefrontAuthentication,
    actor_of,
    acts_as_staff,
)
from shop_payments.api.errors import Route
from shop_payments.api.exception_handler import handle_exception
from shop_payments.api.parsers import UTF8JSONParser, check_body_size, is_empty_form, is_form
from shop_payments.api.permissions import IsKnownUser, IsProgramOrStaff
from shop_payments.api.renderers import (
    OWN_SETTINGS,
    BrowsableRenderer,
    JSONAlways,
    Negotiation,
    PlainJSONRenderer,
)
from shop_payments.api.schema import PaymentSchema, documented
from shop_payments.api.serializers import (
    EmptyBodySerializer,
    LinksSerializer,
    OrderPageSerializer,
    OrderSerializer,
    PageQuerySerializer,
    PaymentIntentSerializer,
    ReceivedEventSerializer,
    RefundListSerializer,
    RefundPartsSerializer,
    RefundRequestSerializer,
    RefundSerializer,
    StripeEventSerializer,
    refund_data,
)
from shop_payments.api.throttling import FAILED_AUTHENTICATION, ScopedThrottling
from shop_payments.conf import get_config
from shop_payments.exceptions import ConfigurationError, WebhookPayloadTooLarge
from shop_payments.gateway import read_event
from shop_payments.ledger.facts import Origin
from shop_payments.models import Source
from shop_payments.services.create_payment_intent import create_payment_intent
from shop_payments.services.queries import get_order, list_orders, list_refunds
from shop_payments.services.receive_event import receive_event
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from shop_payments.services.settle_payment import settle_payment

IDEMPOTENCY_KEY_HEADER = "Idempotency-Key"


class PaymentViewSet(ScopedThrottling, ViewSet):
    """What all routes share: JSON, our errors, no transaction around the view.

    Everything that REST framework takes from the host's settings and that shows in an answer is
    set here. The host's authentication and throttles stay.
    """

    settings = OWN_SETTINGS
    parser_classes = (UTF8JSONParser,)
    renderer_classes = (PlainJSONRenderer,)
    content_negotiation_class: type[Negotiation] = Negotiation
    metadata_class = SimpleMetadata
    versioning_class = None  # the prefix of the routes is the host's; its versions are not ours
    schema = PaymentSchema()
    schema_tags = ("payments",)
    throttle_scopes: tuple[str, ...] = (FAILED_AUTHENTICATION,)
    own_authentication: type[BaseAuthentication] = StaffSessionAuthentication
    host_authentication = True
    """Whether the host's own authentication classes say who the user is."""

    @classmethod
    def as_view(  # type: ignore[override]
        cls, actions: dict[str, Any], **initkwargs: Any
    ) -> Callable[..., HttpResponseBase]:
        # ATOMIC_REQUESTS, of whichever database, would keep a transaction open while Stripe is
        # called.
        view = super().as_view(actions, **initkwargs)
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        # Django would decode even the query by the charset of the body's type, and "base64" is one.
        request.encoding = "utf-8"
        return super().initialize_request(request, *args, **kwargs)

    def get_authenticators(self) -> list[BaseAuthentication]:
        # Read per request: see Note [401 whatever the host does] in authentication.py.
        host = api_settings.DEFAULT_AUTHENTICATION_CLASSES if self.host_authentication else ()
        return [self.own_authentication(), *(each() for each in cast("Any", host))]

    def get_renderers(self) -> list[BaseRenderer]:
        try:
            browsable = get_config().BROWSABLE_API
        except ConfigurationError:
            browsable = False  # the view itself meets the error, and answers in JSON
        return [PlainJSONRenderer(), *([BrowsableRenderer()] if browsable else [])]

    def get_exception_handler(self) -> Callable[..., Response | None]:
        return handle_exception

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.check_size(request)
        super().initial(request, *args, **kwargs)

    def check_size(self, request: Request) -> None:
        """Refuse a body that is too large, before anything else."""
        check_body_size(request._request)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        response["Cache-Control"] = "no-store"
        # Django's cache middleware does not look at that, and tells no tokens apart.
        request._request._cache_update_cache = False  # type: ignore[attr-defined]
        return super().finalize_response(request, response, *args, **kwargs)

    def check_body(self, request: Request) -> None:
        """Refuse any field: these calls take none."""
        if is_form(request) and is_empty_form(request._request):
            return
        EmptyBodySerializer(data=self.body_of(request)).is_valid(raise_exception=True)

    def body_of(self, request: Request) -> Any:
        """Return what the body says.

        Raises:
            UnsupportedMediaType: it is a form. Where Django or a middleware has looked into it
                before, REST framework would take it for nothing.
        """
        if is_form(request):
            raise UnsupportedMediaType(request.content_type)
        return request.data


class RootViewSet(PaymentViewSet):
    """Where to start."""

    permission_classes = (AllowAny,)

    @documented(Route.ROOT, "Shop payments", LinksSerializer)
    def list(self, request: Request) -> Response:
        """Name the routes that can be walked from here."""
        orders = request.build_absolute_uri(reverse("shop_payments:orders"))
        return Response({"message": "Shop payments", "data": {"orders": orders}})


class OrderViewSet(PaymentViewSet):
    """The caller's orders and how far their payment is."""

    permission_classes = (IsKnownUser,)
    throttle_scopes = (FAILED_AUTHENTICATION, "orders_user")

    @documented(Route.ORDERS_LIST, "Orders", OrderPageSerializer, query=PageQuerySerializer)
    def list(self, request: Request) -> Response:
        """List the caller's orders, newest first; for staff in their session, all orders."""
        query = PageQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        number = query.validated_data["page"]
        page = list_orders(user=request.user, any_order=acts_as_staff(request), page=number)
        shown = {
            "results": page.orders,
            "next": _page_url(request, number + 1) if page.has_next else None,
            "previous": _page_url(request, number - 1) if number > 1 else None,
        }
        data = OrderPageSerializer(shown, context={"request": request}).data
        return Response({"message": "Orders", "data": data})

    @documented(Route.ORDERS_RETRIEVE, "Order", OrderSerializer)
    def retrieve(self, request: Request, order_id: str) -> Response:
        """Return one order: what a client polls while a payment is on its way."""
        order = get_order(order_id=order_id, user=request.user, any_order=acts_as_staff(request))
        return Response(
            {"message": "Order", "data": OrderSerializer(order, context={"request": request}).data}
        )


class PaymentIntentViewSet(PaymentViewSet):
    """The order's payment intent."""

    own_authentication = StorefrontAuthentication
    permission_classes = (IsKnownUser,)
    throttle_scopes = (FAILED_AUTHENTICATION, "payment_intent_user", "payment_intent_address")
    serializer_class = EmptyBodySerializer

    @documented(
        Route.PAYMENT_INTENT_CREATE,
        "Payment intent created successfully",
        PaymentIntentSerializer,
    )
    def create(self, request: Request, order_id: str) -> Response:
        """Create the order's payment intent, or return the open one, brought up to date.

        It asks for the amount that is outstanding, or for the part of it that the shop wants now
        (a deposit). Safe to repeat: an order has one open payment intent.
        """
        self.check_body(request)
        view = create_payment_intent(
            order_id=order_id,
            user=request.user,
            any_order=acts_as_staff(request),
            origin=Origin(source=Source.API, actor=actor_of(request)),
        )
        return Response(
            {
                "message": "Payment intent created successfully",
                "data": PaymentIntentSerializer(view).data,
            }
        )


class OrderPaymentViewSet(PaymentViewSet):
    """The order's payment, settled on proof from Stripe."""

    own_authentication = PaymentSystemAuthentication
    host_authentication = False
    permission_classes = (IsProgramOrStaff,)
    throttle_scopes = (FAILED_AUTHENTICATION, "payment_key")
    serializer_class = EmptyBodySerializer

    @documented(Route.PAYMENT_SETTLE, "Order marked as paid successfully", PaymentIntentSerializer)
    def create(self, request: Request, order_id: str) -> Response:
        """Mark the order as paid, if its payment intent proves it.

        The payment intent is fetched from Stripe; the call itself proves nothing. Of several
        payment intents it is the open one, otherwise the newest. Safe to repeat.
        """
        self.check_body(request)
        view = settle_payment(
            order_id=order_id, origin=Origin(source=Source.API, actor=actor_of(request))
        )
        return Response(
            {
                "message": "Order marked as paid successfully",
                "data": PaymentIntentSerializer(view).data,
            }
        )


class RefundViewSet(PaymentViewSet):
    """Money given back."""

    own_authentication = RefundAuthentication
    host_authentication = False
    permission_classes = (IsProgramOrStaff,)
    throttle_scopes = (FAILED_AUTHENTICATION, "refund_key")
    serializer_class = RefundRequestSerializer
    idempotency_key = ""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if self.action == "create":
            self.idempotency_key = _given_key(request) or str(uuid4())
        super().initial(request, *args, **kwargs)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        # Also on failure: a caller that sent none needs it to ask again.
        if _IDEMPOTENCY_KEY.fullmatch(self.idempotency_key):
            response[IDEMPOTENCY_KEY_HEADER] = self.idempotency_key
        return super().finalize_response(request, response, *args, **kwargs)

    @documented(Route.REFUNDS_LIST, "Refunds", RefundListSerializer)
    def list(self, request: Request, order_id: str) -> Response:
        """List the order's refunds, wherever they were made, oldest first."""
        data = RefundListSerializer({"results": list_refunds(order_id=order_id)}).data
        return Response({"message": "Refunds", "data": data})

    @documented(
        Route.REFUND_CREATE,
        "Refund created successfully",
        (RefundSerializer, RefundPartsSerializer),
        echoed_header=(
            IDEMPOTENCY_KEY_HEADER,
            "Names this refund: repeated with the same key, nothing more is given back. Without it "
            "a key is made and returned.",
        ),
    )
    def create(self, request: Request, order_id: str) -> Response:
        """Give money of a paid order back, in full or in part.

        A refund that takes money of several payments, the newest first, is answered as its parts,
        one for each payment.
        """
        if not _IDEMPOTENCY_KEY.fullmatch(self.idempotency_key):
            words = "Send at most 255 visible ASCII characters."
            raise ValidationError({IDEMPOTENCY_KEY_HEADER: [words]})
        body = RefundRequestSerializer(data=self.body_of(request))
        body.is_valid(raise_exception=True)
        refunds = refund_payment(
            order_id=order_id,
            request=RefundRequest(
                amount_decimal=body.validated_data.get("amount"),
                is_typed=True,
                reason=body.validated_data.get("reason", ""),
                kind=body.validated_data.get("kind", ""),
                key=self.idempotency_key,
            ),
            origin=Origin(source=Source.API, actor=actor_of(request)),
        )
        return Response({"message": "Refund created successfully", "data": refund_data(refunds)})


_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")


def _given_key(request: Request) -> str:
    key: str = request.META.get("HTTP_IDEMPOTENCY_KEY", "")
    return key


class StripeWebhookViewSet(PaymentViewSet):
    """Stripe's signed events. The signature is the authentication."""

    permission_classes = (AllowAny,)
    throttle_classes = ()  # a host's default would have Stripe's bursts refused as one caller's
    throttle_scopes = ()
    content_negotiation_class = JSONAlways
    serializer_class = StripeEventSerializer

    def get_authenticators(self) -> list[BaseAuthentication]:
        return []

    def check_size(self, request: Request) -> None:
        """Leave that to :func:`_raw_body`, which has a limit of its own."""

    @documented(
        Route.STRIPE_WEBHOOK,
        "Event received",
        ReceivedEventSerializer,
        header=("Stripe-Signature", "Stripe's signature of the body: the authentication."),
    )
    def create(self, request: Request) -> Response:
        """Store a signed event and act on it.

        Called by Stripe. Also 200 for repeated, unknown and other systems' events.
        """
        signature = request.META.get("HTTP_STRIPE_SIGNATURE", "")
        event = receive_event(read_event(_raw_body(request), signature))
        data = ReceivedEventSerializer(event).data
        return Response({"message": "Event received", "data": data})


def _raw_body(request: Request) -> bytes:
    """Read the body as it was signed, and no more of it than is allowed."""
    # Whatever it calls itself: Django would take a form apart, and show it on error pages.
    request._request.content_type = "application/json"
    limit = get_config().WEBHOOK_MAX_BYTES
    try:
        declared = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise ParseError("The Content-Length is not a number.") from None
    if declared > limit:
        raise WebhookPayloadTooLarge("The body is too large.")
    try:
        return request._request.body
    except RequestDataTooBig:
        raise WebhookPayloadTooLarge("The body is too large.") from None
    except UnreadablePostError:
        raise ParseError("The body could not be read.") from None


def _page_url(request: Request, page: int) -> str:
    return request.build_absolute_uri(f"{request.path}?page={page}")
