"""The viewsets. Each method parses the request, calls one service and serializes the result."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any, cast
from uuid import uuid4

from django.contrib.auth import SESSION_KEY
from django.core.exceptions import RequestDataTooBig
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponseBase, JsonResponse
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
    CustomerAuthentication,
    PaymentSystemAuthentication,
    RefundAuthentication,
    StorefrontAuthentication,
    actor_of,
    acts_as_staff,
    opens_order,
)
from shop_payments.api.errors import Route
from shop_payments.api.exception_handler import handle_exception
from shop_payments.api.parsers import UTF8JSONParser, check_body_size, is_empty_form, is_form
from shop_payments.api.permissions import IsCustomerOrStaff, IsProgramOrStaff
from shop_payments.api.renderers import (
    OWN_SETTINGS,
    BrowsableRenderer,
    JSONAlways,
    Negotiation,
    PlainJSONRenderer,
    PostForm,
)
from shop_payments.api.schema import PaymentSchema, documented
from shop_payments.api.serializers import (
    EmptyBodySerializer,
    LinksSerializer,
    OrderPageSerializer,
    OrderQuerySerializer,
    OrderSerializer,
    PaymentIntentSerializer,
    ReceivedEventSerializer,
    RefundListSerializer,
    RefundPartsSerializer,
    RefundRequestSerializer,
    RefundSerializer,
    StripeEventSerializer,
    payment_intent_data,
    refund_data,
)
from shop_payments.api.throttling import FAILED_AUTHENTICATION, ScopedThrottling, ThrottleCache
from shop_payments.conf import get_config
from shop_payments.exceptions import ConfigurationError, InvalidSignature, WebhookPayloadTooLarge
from shop_payments.gateway import read_event
from shop_payments.ledger.facts import Origin
from shop_payments.lifecycle import PaymentStatus
from shop_payments.models import Source, WebhookEvent
from shop_payments.request_ids import REQUEST_ID_HEADER, request_id_of
from shop_payments.services.create_payment_intent import create_payment_intent
from shop_payments.services.order_pages import OrderCursor, OrderFilters
from shop_payments.services.queries import get_order, list_orders, list_refunds
from shop_payments.services.receive_event import receive_event
from shop_payments.services.refund_payment import RefundRequest, refund_payment
from shop_payments.services.settle_payment import settle_payment

logger = logging.getLogger("shop_payments")

IDEMPOTENCY_KEY_HEADER = "Idempotency-Key"

_WARNED_OF_SIGNATURE = "shop_payments:invalid_signature"
"""The cache has this key while the next warning must wait."""


class PaymentViewSet(ScopedThrottling, ViewSet):
    """The base of all routes: JSON, our error responses, no transaction around the view.

    Sets everything that REST framework would read from the host's settings and that changes a
    response. The host's authentication and throttles stay in use.
    """

    settings = OWN_SETTINGS
    parser_classes = (UTF8JSONParser,)
    renderer_classes = (PlainJSONRenderer,)
    content_negotiation_class: type[Negotiation] = Negotiation
    metadata_class = SimpleMetadata
    versioning_class = None  # the host chooses the prefix; its versions are not ours
    schema = PaymentSchema()
    schema_tags = ("payments",)
    throttle_scopes: tuple[str, ...] = (FAILED_AUTHENTICATION,)
    own_authentication: type[BaseAuthentication] = CustomerAuthentication
    host_authentication = True
    """Whether the host's authentication classes authenticate the user."""

    post_form: PostForm | None = None
    """The form in the browsable API."""

    statuses: tuple[PaymentStatus, ...] = ()
    """The filters that the browsable API links to."""

    @classmethod
    def as_view(  # type: ignore[override]
        cls, actions: dict[str, Any], **initkwargs: Any
    ) -> Callable[..., HttpResponseBase]:
        # With ATOMIC_REQUESTS of any database, a transaction would be open while Stripe is called.
        view = super().as_view(actions, **initkwargs)
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        with request_id_of(request) as request_id:
            response = self.answer(request, *args, **kwargs)
        response[REQUEST_ID_HEADER] = request_id
        return response

    @property
    def has_no_login(self) -> bool:
        """Whether nobody is logged in to the admin, for the browsable API.

        REST framework replaces staff who lack a permission by an anonymous user, so only the
        session shows them.
        """
        return SESSION_KEY not in getattr(self.request, "session", {})

    def answer(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer a request, whose id is known by now."""
        return super().dispatch(request, *args, **kwargs)

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        # Django decodes the query with the charset of the body's content type. A caller could send
        # the name of a codec that does not decode text, such as "base64", and cause a 500.
        request.encoding = "utf-8"
        return super().initialize_request(request, *args, **kwargs)

    def get_authenticators(self) -> list[BaseAuthentication]:
        # See Note [401 whatever the host does] in authentication.py. The settings are read for each
        # request, because hosts override them in tests.
        host = api_settings.DEFAULT_AUTHENTICATION_CLASSES if self.host_authentication else ()
        return [self.own_authentication(), *(each() for each in cast("Any", host))]

    def get_renderers(self) -> list[BaseRenderer]:
        try:
            browsable = get_config().BROWSABLE_API
        except ConfigurationError:
            browsable = False  # the view raises the same error and answers it in JSON
        return [PlainJSONRenderer(), *([BrowsableRenderer()] if browsable else [])]

    @property
    def pages(self) -> dict[str, str]:
        """The URLs of the pages of the order, for the browsable API."""
        if "order_id" not in self.kwargs:
            return {}
        names = {"Order": "order", "Payment intent": "payment-intent"}
        names |= {"Payment": "payment", "Refunds": "refunds"}
        order = [self.kwargs["order_id"]]
        return {
            title: reverse(f"shop_payments:{name}", args=order) for title, name in names.items()
        }

    def get_exception_handler(self) -> Callable[..., Response | None]:
        return handle_exception

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.check_size(request)
        super().initial(request, *args, **kwargs)

    def check_size(self, request: Request) -> None:
        """Refuse a body that is too large, before any other check."""
        check_body_size(request._request)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        response["Cache-Control"] = "no-store"
        # Older releases of Django's cache middleware ignore "no-store". They would also send this
        # response to callers with other tokens.
        request._request._cache_update_cache = False  # type: ignore[attr-defined]
        return super().finalize_response(request, response, *args, **kwargs)

    def check_body(self, request: Request) -> None:
        """Refuse a body with fields. An empty form counts as no body."""
        if is_form(request) and is_empty_form(request._request):
            return
        EmptyBodySerializer(data=self.body_of(request)).is_valid(raise_exception=True)

    def body_of(self, request: Request) -> Any:
        """Return the parsed body.

        Raises:
            UnsupportedMediaType: the body is a form. If a middleware has read the form before, REST
                framework would return an empty body, which is a refund of everything.
        """
        if is_form(request):
            raise UnsupportedMediaType(request.content_type)
        return request.data


def _needs_no_customer(request: Request, order_id: str) -> bool:
    """Return whether the caller may use the order without being its customer."""
    return acts_as_staff(request) or opens_order(request, order_id)


class RootViewSet(PaymentViewSet):
    """The entry point of the API."""

    permission_classes = (AllowAny,)

    @documented(Route.ROOT, "Shop payments", LinksSerializer)
    def list(self, request: Request) -> Response:
        """List the routes to start from."""
        orders = request.build_absolute_uri(reverse("shop_payments:orders"))
        return Response({"message": "Shop payments", "data": {"orders": orders}})


class OrderViewSet(PaymentViewSet):
    """The caller's orders and the state of their payments."""

    statuses = tuple(PaymentStatus)
    permission_classes = (IsCustomerOrStaff,)
    throttle_scopes = (FAILED_AUTHENTICATION, "orders_user")

    @documented(Route.ORDERS_LIST, "Orders", OrderPageSerializer, query=OrderQuerySerializer)
    def list(self, request: Request) -> Response:
        """List the caller's orders, newest first.

        Staff in their session get all orders. Filters can be combined. `next` and `previous` are
        the URLs of the pages beside this one, with the same filters.
        """
        query = OrderQuerySerializer(data=request.query_params)
        query.is_valid(raise_exception=True)
        values = dict(query.validated_data)
        cursor = values.pop("cursor", None)
        page = list_orders(
            user=request.user,
            any_order=acts_as_staff(request),
            filters=OrderFilters(**values),
            cursor=cursor,
        )
        shown = {
            "results": page.orders,
            "next": _page_url(request, page.next),
            "previous": _page_url(request, page.previous),
        }
        data = OrderPageSerializer(shown, context={"request": request}).data
        return Response({"message": "Orders", "data": data})

    @documented(Route.ORDERS_RETRIEVE, "Order", OrderSerializer)
    def retrieve(self, request: Request, order_id: str) -> Response:
        """Return one order.

        Clients poll this route while a payment is pending.
        """
        order = get_order(
            order_id=order_id, user=request.user, any_order=_needs_no_customer(request, order_id)
        )
        return Response(
            {"message": "Order", "data": OrderSerializer(order, context={"request": request}).data}
        )


class PaymentIntentViewSet(PaymentViewSet):
    """The order's payment intent."""

    own_authentication = StorefrontAuthentication
    permission_classes = (IsCustomerOrStaff,)
    throttle_scopes = (FAILED_AUTHENTICATION, "payment_intent_user", "payment_intent_address")
    serializer_class = EmptyBodySerializer
    post_form = PostForm(
        button="Create the payment intent",
        help=(
            "Creates the order's payment intent at Stripe, or updates and returns the open one. "
            "Nothing is charged: the customer pays it afterwards.",
            "To pay it with a test key: manage.py shop_payments_pay ORDER --confirm",
        ),
    )

    @documented(
        Route.PAYMENT_INTENT_CREATE,
        "Payment intent created successfully",
        PaymentIntentSerializer,
    )
    def create(self, request: Request, order_id: str) -> Response:
        """Create the order's payment intent, or update and return the open one.

        Its amount is what is outstanding, or the part of it that the shop asks for now (a deposit).
        Safe to repeat: an order has at most one open payment intent.
        """
        self.check_body(request)
        view = create_payment_intent(
            order_id=order_id,
            user=request.user,
            any_order=_needs_no_customer(request, order_id),
            origin=Origin(source=Source.API, actor=actor_of(request)),
        )
        return Response(
            {
                "message": "Payment intent created successfully",
                "data": payment_intent_data(view),
            }
        )


class OrderPaymentViewSet(PaymentViewSet):
    """The order's payment, settled only on proof from Stripe."""

    own_authentication = PaymentSystemAuthentication
    host_authentication = False
    permission_classes = (IsProgramOrStaff,)
    throttle_scopes = (FAILED_AUTHENTICATION, "payment_key")
    serializer_class = EmptyBodySerializer
    post_form = PostForm(
        button="Mark the order as paid",
        help=(
            "Fetches the payment intent from Stripe. The order becomes paid only if Stripe says "
            "that the money was received. Before that, the answer is 409.",
        ),
    )

    @documented(Route.PAYMENT_SETTLE, "Order marked as paid successfully", PaymentIntentSerializer)
    def create(self, request: Request, order_id: str) -> Response:
        """Mark the order as paid, if its payment intent proves the payment.

        The payment intent is fetched from Stripe: the open one, otherwise the newest. The call
        itself proves nothing. Safe to repeat.
        """
        self.check_body(request)
        view = settle_payment(
            order_id=order_id, origin=Origin(source=Source.API, actor=actor_of(request))
        )
        return Response(
            {
                "message": "Order marked as paid successfully",
                "data": payment_intent_data(view),
            }
        )


class RefundViewSet(PaymentViewSet):
    """The order's refunds."""

    own_authentication = RefundAuthentication
    host_authentication = False
    permission_classes = (IsProgramOrStaff,)
    throttle_scopes = (FAILED_AUTHENTICATION, "refund_key")
    serializer_class = RefundRequestSerializer
    post_form = PostForm(
        button="Refund",
        help=(
            "Sends money back to the customer at once. Write the amount between the quotes, with "
            'a point: "12.50". To refund everything that is left, remove the line of the amount.',
            "reason is duplicate, fraudulent or requested_by_customer. kind is goods (for "
            "returned goods) or correction (the order owes the money again). Both may be left "
            "out.",
        ),
        body='{\n    "amount": "",\n    "reason": "requested_by_customer",\n    "kind": "goods"\n}',
    )
    idempotency_key = ""

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        # Before authentication, so that a refusal returns the key, too.
        if self.action == "create":
            self.idempotency_key = _given_key(request) or str(uuid4())
        super().initial(request, *args, **kwargs)

    def finalize_response(
        self, request: Request, response: Response, *args: Any, **kwargs: Any
    ) -> Response:
        # Also on failure: a caller that sent no key needs this one to repeat the refund.
        if _IDEMPOTENCY_KEY.fullmatch(self.idempotency_key):
            response[IDEMPOTENCY_KEY_HEADER] = self.idempotency_key
        return super().finalize_response(request, response, *args, **kwargs)

    @documented(Route.REFUNDS_LIST, "Refunds", RefundListSerializer)
    def list(self, request: Request, order_id: str) -> Response:
        """List the order's refunds, oldest first.

        The list includes refunds that were made in Stripe's dashboard.
        """
        data = RefundListSerializer({"results": list_refunds(order_id=order_id)}).data
        return Response({"message": "Refunds", "data": data})

    @documented(
        Route.REFUND_CREATE,
        "Refund created successfully",
        (RefundSerializer, RefundPartsSerializer),
        echoed_header=(
            IDEMPOTENCY_KEY_HEADER,
            "Identifies this refund. A repeated call with the same key refunds nothing more. "
            "Without this header, a key is created and returned.",
        ),
    )
    def create(self, request: Request, order_id: str) -> Response:
        """Refund a paid order, in full or in part.

        The newest payment is refunded first. If a refund needs several payments, the response lists
        its parts, one for each payment.
        """
        if not _IDEMPOTENCY_KEY.fullmatch(self.idempotency_key):
            words = "The key must be 1 to 255 visible ASCII characters."
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


# At most 255 characters, as for Stripe's own keys. A key must also be valid as a response header.
_IDEMPOTENCY_KEY = re.compile(r"[!-~]{1,255}")


def _given_key(request: Request) -> str:
    key: str = request.META.get("HTTP_IDEMPOTENCY_KEY", "")
    return key


class StripeWebhookViewSet(PaymentViewSet):
    """Stripe's signed events. The signature is the authentication."""

    permission_classes = (AllowAny,)
    throttle_classes = ()  # a host's throttle would count all of Stripe's events as one caller's
    throttle_scopes = ()
    content_negotiation_class = JSONAlways
    serializer_class = StripeEventSerializer
    failure: Exception

    def get_authenticators(self) -> list[BaseAuthentication]:
        # The host's classes could refuse Stripe, or read the body before its signature is checked.
        return []

    def answer(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        # An event needs nothing of REST framework, which would take as long as the rest. It only
        # explains what is wrong.
        if request.method == "POST":
            try:
                return _received(_receive(request))
            except Exception as error:
                self.failure = error
                if isinstance(error, InvalidSignature):
                    _warn_of_signature(request, error)
        return super().answer(request, *args, **kwargs)

    def check_size(self, request: Request) -> None:
        """Do nothing: :func:`_raw_body` checks the size, with the limit ``WEBHOOK_MAX_BYTES``."""

    @documented(
        Route.STRIPE_WEBHOOK,
        "Event received",
        ReceivedEventSerializer,
        header=(
            "Stripe-Signature",
            ("Stripe's signature of the body, which authenticates the request."),
        ),
    )
    def create(self, request: Request) -> Response:
        """Store a signed event and process it.

        Called by Stripe. The answer is also 200 for events that are repeated, unknown or about
        other systems.
        """
        raise self.failure


def _receive(request: HttpRequest) -> WebhookEvent:
    signature = request.META.get("HTTP_STRIPE_SIGNATURE", "")
    return receive_event(read_event(_raw_body(request), signature))


def _warn_of_signature(request: HttpRequest, error: InvalidSignature) -> None:
    """Log the likely cause: a wrong secret or clock. Nothing else in the shop shows it.

    Anyone can send such a request, so it is logged once a minute at most, and only if it has the
    header that Stripe sends. The body and the header are never logged.
    """
    if not request.META.get("HTTP_STRIPE_SIGNATURE"):
        return
    cache = ThrottleCache()
    if not cache.get(_WARNED_OF_SIGNATURE, False):
        cache.set(_WARNED_OF_SIGNATURE, True, timeout=60)
        logger.warning(
            "webhook refused: error=invalid_signature reason='%s'. If Stripe or the sandbox sent "
            "it, compare SHOP_PAYMENTS['STRIPE_WEBHOOK_SECRETS'] with the endpoint's signing "
            "secret, and check the clock (manage.py shop_payments_doctor)",
            error,
        )


def _received(event: WebhookEvent) -> JsonResponse:
    body = {"message": "Event received", "data": {"id": event.event_id}}
    return JsonResponse(body, headers={"Cache-Control": "no-store"})


def _raw_body(request: HttpRequest) -> bytes:
    """Return the bytes that Stripe signed.

    Raises:
        WebhookPayloadTooLarge: the body is larger than the limit. It was not read.
        ParseError: the Content-Length is malformed, or the body could not be read.
    """
    # Ignore the content type: Django would parse a form, and show its fields on error pages.
    request.content_type = "application/json"
    limit = get_config().WEBHOOK_MAX_BYTES
    try:
        declared = int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:
        raise ParseError("The Content-Length header is not a number.") from None
    # Refuse it by the declared size, so that a large body is never in memory.
    if declared > limit:
        raise WebhookPayloadTooLarge("The body is too large.")
    try:
        return request.body
    except RequestDataTooBig:
        raise WebhookPayloadTooLarge("The body is too large.") from None
    except UnreadablePostError:
        raise ParseError("The body could not be read.") from None


def _page_url(request: Request, cursor: OrderCursor | None) -> str | None:
    """Return the URL of another page with the same filters."""
    if cursor is None:
        return None
    query = request.query_params.copy()
    query["cursor"] = str(cursor)
    return request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
