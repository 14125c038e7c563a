"""The OpenAPI schema, for hosts that have drf-spectacular (the extra ``docs``).

The views say with :func:`documented` what they take, give and refuse. Without drf-spectacular that
is a note on a method, and nobody reads it. The words for each error are those of ``ERROR_TABLE``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from django.conf import settings
from rest_framework import serializers
from rest_framework.schemas.inspectors import DefaultSchema, ViewInspector

from shop_payments.api.authentication import API_KEY_HEADER
from shop_payments.api.errors import ERROR_TABLE
from shop_payments.api.serializers import (
    OrderSerializer,
    PageQuerySerializer,
    PaymentIntentSerializer,
    PaymentIntentStateSerializer,
    QuantityField,
    RefundListSerializer,
    RefundPartsSerializer,
    RefundRequestSerializer,
    RefundSerializer,
)
from shop_payments.balance import Refusal

try:
    from drf_spectacular.openapi import AutoSchema
    from drf_spectacular.plumbing import ResolvedComponent
    from drf_spectacular.utils import OpenApiParameter, OpenApiResponse
except ImportError:
    HAS_SPECTACULAR = False
else:
    HAS_SPECTACULAR = True

IDEMPOTENCY_KEY_HEADER = "Idempotency-Key"

_Method = TypeVar("_Method", bound=Callable[..., Any])


# --- shapes that only the schema needs ----------------------------------------------------------


class LinksSerializer(serializers.Serializer[Any]):
    """The routes that can be walked from here."""

    orders = serializers.URLField()


class OrderPageSerializer(serializers.Serializer[Any]):
    """Some of the orders, newest first."""

    results = OrderSerializer(many=True)
    next = serializers.URLField(allow_null=True)
    previous = serializers.URLField(allow_null=True)


class UnsettledPaymentSerializer(PaymentIntentStateSerializer):
    """A payment intent, of an order that still owes something."""

    outstanding = serializers.CharField(
        required=False,
        help_text="What is still to be paid: a decimal string. Absent while no money has come.",
    )
    payment_status = serializers.CharField(
        required=False, help_text="The order's. Absent while no money has come."
    )


class StripeEventSerializer(serializers.Serializer[Any]):
    """An event as Stripe sends it; see https://docs.stripe.com/api/events/object."""

    id = serializers.CharField()
    type = serializers.CharField()
    created = serializers.IntegerField()
    livemode = serializers.BooleanField()
    data = serializers.DictField()  # type: ignore[assignment]


class ReceivedEventSerializer(serializers.Serializer[Any]):
    """The event that was stored."""

    id = serializers.CharField()


# --- who may call -------------------------------------------------------------------------------

_SECURITY_SCHEMES: dict[str, dict[str, str]] = {
    "bearerToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "Who the customer is, by the shop's own authentication.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": API_KEY_HEADER,
        "description": "A program's key with the scope that the route asks for.",
    },
    "staffSession": {
        "type": "apiKey",
        "in": "cookie",
        "name": settings.SESSION_COOKIE_NAME,
        "description": "Staff with the permission, in their admin session; POST with a CSRF token.",
    },
}

_Security = tuple[Mapping[str, list[str]], ...]
_ANYBODY: _Security = ()
_STAFF: Mapping[str, list[str]] = {"staffSession": []}
_CUSTOMER: _Security = ({"bearerToken": []}, _STAFF)
_STOREFRONT: _Security = ({"bearerToken": [], "apiKey": []}, _STAFF)
_PAYMENT_SYSTEM: _Security = ({"apiKey": []}, _STAFF)


# --- the operations -----------------------------------------------------------------------------

_NOTHING = {"application/json": {"type": "object", "additionalProperties": False}}
"""A body that may be left out, and must be empty."""

_ALWAYS = "not_acceptable throttled database_unavailable"
_CUSTOMERS = "not_authenticated invalid_token"
_PROGRAMS = "api_key_missing api_key_invalid insufficient_scope permission_denied"
_BODIES = "parse_error invalid_request payload_too_large unsupported_media_type"
_STRIPE = "payment_intent_in_progress gateway_error gateway_unavailable not_configured"


_Shapes = tuple[type[serializers.Serializer[Any]], ...]
"""One shape, or several of which an answer has one."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What the schema says of one route."""

    id: str
    message: str
    """The one of success."""

    data: _Shapes
    """What stands under ``data`` on success."""

    errors: str
    """Codes of ``ERROR_TABLE``, separated by spaces."""

    security: _Security
    body: Any = None
    query: type[serializers.Serializer[Any]] | None = None
    headers: Mapping[str, str] | None = None
    """Required request headers, with their meaning."""

    optional_headers: Mapping[str, str] | None = None
    """Further request headers; they come back in the answer."""

    details: str = ""
    """What there is to say beyond the method's docstring."""


ROOT = Operation(
    id="shop_root",
    message="Shop payments",
    data=(LinksSerializer,),
    errors=f"{_ALWAYS} invalid_token not_configured",
    security=_ANYBODY,
)
LIST_ORDERS = Operation(
    id="shop_orders_list",
    message="Orders",
    data=(OrderPageSerializer,),
    errors=f"{_ALWAYS} {_CUSTOMERS} invalid_request order_unreadable not_configured",
    security=_CUSTOMER,
    query=PageQuerySerializer,
)
RETRIEVE_ORDER = Operation(
    id="shop_orders_retrieve",
    message="Order",
    data=(OrderSerializer,),
    errors=f"{_ALWAYS} {_CUSTOMERS} order_not_found order_unreadable not_configured",
    security=_CUSTOMER,
)
CREATE_PAYMENT_INTENT = Operation(
    id="shop_payment_intent_create",
    message="Payment intent created successfully",
    data=(PaymentIntentSerializer,),
    errors=f"{_ALWAYS} {_CUSTOMERS} {_PROGRAMS} {_BODIES} {_STRIPE} order_not_found "
    "order_already_paid order_not_payable payment_processing payment_authorized payment_in_review "
    "order_unreadable amount_not_representable amount_too_small amount_too_large",
    security=_STOREFRONT,
    body=_NOTHING,
    details="It asks for the amount that is outstanding, or for the part of it that the shop wants "
    "now (a deposit). Safe to repeat: an order has one open payment intent. The API key needs the "
    "scope `storefront`.",
)
SETTLE_PAYMENT = Operation(
    id="shop_payment_settle",
    message="Order marked as paid successfully",
    data=(PaymentIntentSerializer,),
    errors=f"{_ALWAYS} {_PROGRAMS} {_BODIES} {_STRIPE} order_not_found payment_intent_missing "
    "payment_not_completed payment_mismatch order_unreadable",
    security=_PAYMENT_SYSTEM,
    body=_NOTHING,
    details="The payment intent is fetched from Stripe; the call itself proves nothing. Of several "
    "payment intents it is the open one, otherwise the newest. Safe to repeat. The API key needs "
    "the scope `payments`.",
)
LIST_REFUNDS = Operation(
    id="shop_refunds_list",
    message="Refunds",
    data=(RefundListSerializer,),
    errors=f"{_ALWAYS} {_PROGRAMS} order_not_found order_unreadable not_configured",
    security=_PAYMENT_SYSTEM,
    details="The API key needs the scope `refunds`.",
)
CREATE_REFUND = Operation(
    id="shop_refund_create",
    message="Refund created successfully",
    data=(RefundSerializer, RefundPartsSerializer),
    errors=f"{_ALWAYS} {_PROGRAMS} {_BODIES} order_not_found order_not_refundable "
    "refund_exceeds_balance payment_disputed refund_in_progress refund_refused "
    "idempotency_key_reused amount_not_representable gateway_error gateway_unavailable "
    "order_unreadable not_configured",
    security=_PAYMENT_SYSTEM,
    body=RefundRequestSerializer,
    optional_headers={
        IDEMPOTENCY_KEY_HEADER: "Names this refund: repeated with the same key, nothing more is "
        "given back. Without it a key is made and returned."
    },
    details="A refund that takes money of several payments, the newest first, is answered as its "
    "parts, one for each payment. The API key needs the scope `refunds`.",
)
RECEIVE_EVENT = Operation(
    id="shop_stripe_webhook",
    message="Event received",
    data=(ReceivedEventSerializer,),
    errors="invalid_signature invalid_payload parse_error payload_too_large event_failed "
    "database_unavailable not_configured",
    security=_ANYBODY,
    body=StripeEventSerializer,
    headers={"Stripe-Signature": "Stripe's signature of the body: the authentication."},
    details="Called by Stripe. Also 200 for repeated, unknown and other systems' events.",
)


def documented(operation: Operation) -> Callable[[_Method], _Method]:
    """Note on a view's method what the schema says of it."""

    def note(method: _Method) -> _Method:
        method.operation = operation  # type: ignore[attr-defined]
        return method

    return note


# --- errors -------------------------------------------------------------------------------------

_STATUS_OF = {row.code: row.status for row in ERROR_TABLE}
_FROM_STRIPE = frozenset(
    "amount_too_small amount_too_large gateway_error gateway_unavailable "
    "payment_intent_in_progress".split()
)
_RETRY_AFTER = frozenset(
    "payment_intent_in_progress refund_in_progress throttled gateway_unavailable not_configured "
    "database_unavailable event_failed order_unreadable".split()
)


_STATES: dict[str, _Shapes] = {
    "payment_not_completed": (UnsettledPaymentSerializer,),
    "payment_mismatch": (UnsettledPaymentSerializer,),
    "refund_refused": (RefundSerializer, RefundPartsSerializer),
}
"""What stands under ``data`` of an error, by code."""


def _by_status(operation: Operation) -> dict[int, list[str]]:
    statuses: dict[int, list[str]] = {}
    for code in operation.errors.split():
        statuses.setdefault(_STATUS_OF[code], []).append(code)
    return dict(sorted(statuses.items()))


def _meanings(codes: list[str]) -> str:
    rows = [row for row in ERROR_TABLE if row.code in codes and row.meaning]
    return "\n".join(f"- `{row.code}`: {row.meaning}" for row in rows)


def _error_schema(codes: list[str], states: dict[str, Any]) -> dict[str, Any]:
    """Describe the body of an error with one of ``codes``."""
    required: dict[str, tuple[str, Any]] = {
        "invalid_request": ("errors", _LISTS_OF_STRINGS),
        "refund_exceeds_balance": ("data", _WHAT_IS_LEFT),
        **{code: ("data", state) for code, state in states.items()},
    }
    shapes = [_error_shape([code], required=required[code]) for code in codes if code in required]
    shapes += [
        _error_shape([code], optional=("data", _reason(_REASONS[code])))
        for code in codes
        if code in _REASONS
    ]
    if from_stripe := [code for code in codes if code in _FROM_STRIPE]:
        shapes.append(_error_shape(from_stripe, optional=("data", _STRIPE_REQUEST)))
    if plain := [code for code in codes if code not in {*required, *_REASONS, *_FROM_STRIPE}]:
        shapes.append(_error_shape(plain))
    return shapes[0] if len(shapes) == 1 else {"oneOf": shapes}


_REASONS: dict[str, list[str]] = {
    "order_not_payable": [Refusal.FREE, Refusal.REFUNDED, "negative_total", "currency_changed"],
    "payment_in_review": [Refusal.REFUND_PENDING, Refusal.DISPUTE_OPEN, Refusal.UNKNOWN_INTENT],
}


def _reason(reasons: list[str]) -> dict[str, Any]:
    reason = {
        "type": "string",
        "enum": [str(each) for each in reasons],
        "description": "Why exactly; there may be further reasons one day.",
    }
    return _closed_object({"reason": reason})


_LISTS_OF_STRINGS = {
    "type": "object",
    "description": "What is wrong, by field.",
    "additionalProperties": {"type": "array", "items": {"type": "string"}},
}
_WHAT_IS_LEFT = {
    "type": "object",
    "properties": {
        "refundable": {"type": "string", "description": "Decimal string."},
        "currency": {"type": "string"},
    },
    "required": ["refundable", "currency"],
    "additionalProperties": False,
}
_STRIPE_REQUEST = {
    "type": "object",
    "properties": {"stripe_request_id": {"type": "string"}},
    "required": ["stripe_request_id"],
    "additionalProperties": False,
}


def _error_shape(
    codes: list[str],
    *,
    required: tuple[str, Any] | None = None,
    optional: tuple[str, Any] | None = None,
) -> dict[str, Any]:
    properties = {"message": {"type": "string"}, "code": {"type": "string", "enum": codes}}
    return _closed_object({**properties, **dict(filter(None, [required, optional]))}, optional)


def _closed_object(properties: dict[str, Any], optional: Any = None) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if optional is None or name != optional[0]],
        "additionalProperties": False,
    }


# --- the schema ---------------------------------------------------------------------------------

PaymentSchema: type[ViewInspector] = DefaultSchema
"""What ``schema`` of our views is an instance of."""

if HAS_SPECTACULAR:

    class _PaymentSchema(AutoSchema):
        """Reads the operations above, whatever ``DEFAULT_SCHEMA_CLASS`` the host has."""

        @property
        def operation(self) -> Operation:
            # A host's subclass that overrides the method says the same, unless it says otherwise.
            view, action = type(self.view), cast("Any", self.view).action
            for each in view.__mro__:
                found = getattr(getattr(each, action, None), "operation", None)
                if isinstance(found, Operation):
                    return found
            raise LookupError(f"{view.__name__}.{action} is not documented")

        def get_operation_id(self) -> str:
            return self.operation.id

        def get_tags(self) -> list[str]:
            return list(cast("Any", self.view).schema_tags)

        def get_summary(self) -> str:
            return super().get_description().split("\n")[0].removesuffix(".")

        def get_description(self) -> str:  # type: ignore[override]
            return f"{super().get_description()}\n\n{self.operation.details}".strip()

        def get_auth(self) -> list[dict[str, Any]]:
            for name in {name for each in self.operation.security for name in each}:
                scheme = ResolvedComponent(  # type: ignore[no-untyped-call]
                    name=name,
                    type=ResolvedComponent.SECURITY_SCHEMA,
                    object=name,
                    schema=_SECURITY_SCHEMES[name],
                )
                self.registry.register_on_missing(scheme)
            return [dict(each) for each in self.operation.security]

        def get_serializer_name(self, serializer: Any, direction: Any) -> str:
            # The host may have an Order of its own.
            return f"Shop{super().get_serializer_name(serializer, direction)}"

        def _map_serializer_field(
            self, field: Any, direction: Any, bypass_extensions: bool = False
        ) -> Any:
            if isinstance(field, QuantityField):
                types = [{"type": "integer"}, {"type": "string"}]
                return {"oneOf": types, "description": field.help_text}
            schema = super()._map_serializer_field(  # type: ignore[no-untyped-call]
                field, direction, bypass_extensions
            )
            if "enum" not in schema:
                return schema
            # drf-spectacular would name them after their field alone, as it does the host's own.
            name = f"Shop{field.field_name.title().replace('_', '')}Enum"
            component = ResolvedComponent(  # type: ignore[no-untyped-call]
                name=name, type=ResolvedComponent.SCHEMA, object=name, schema=schema
            )
            self.registry.register_on_missing(component)
            return component.ref

        def get_override_parameters(self) -> list[Any]:
            parameters: list[Any] = [self.operation.query] if self.operation.query else []
            if "{order_id}" in self.path:
                parameters.append(_parameter("order_id", "path", "The order's primary key."))
            for name, meaning in (self.operation.headers or {}).items():
                parameters.append(_parameter(name, "header", meaning))
            for name, meaning in (self.operation.optional_headers or {}).items():
                parameters.append(_parameter(name, "header", meaning, required=False))
                every = [200, *_by_status(self.operation)]
                parameters.append(_parameter(name, "header", "The refund's.", response=every))
            return [*parameters, *self._response_headers()]

        def _response_headers(self) -> list[Any]:
            statuses = _by_status(self.operation)
            retry = [each for each, codes in statuses.items() if _RETRY_AFTER & set(codes)]
            headers = [_parameter("Retry-After", "header", "Seconds.", response=retry, type=int)]
            if 401 in statuses:
                name, meaning = "WWW-Authenticate", "What the route asks for."
                headers.append(_parameter(name, "header", meaning, response=[401]))
            return headers

        def get_request_serializer(self) -> Any:
            return self.operation.body

        def get_response_serializers(self) -> Any:
            data = self._one_of(self.operation.data)
            message = {"type": "string", "examples": [self.operation.message]}
            answer = _closed_object({"message": message, "data": data})
            responses = {"200": OpenApiResponse(answer, description=self.operation.message)}
            for status, codes in _by_status(self.operation).items():
                schema = _error_schema(codes, self._states(codes))
                responses[str(status)] = OpenApiResponse(schema, description=_meanings(codes))
            return responses

        def _states(self, codes: list[str]) -> dict[str, Any]:
            """What the answer describes beside its error, by code."""
            return {code: self._one_of(shapes) for code, shapes in _STATES.items() if code in codes}

        def _one_of(self, shapes: _Shapes) -> dict[str, Any]:
            refs = [self.resolve_serializer(each, "response").ref for each in shapes]
            return refs[0] if len(refs) == 1 else {"oneOf": refs}

        def _is_list_view(self, serializer: Any = None) -> bool:
            return False  # lists stand inside of `data`

    def _parameter(
        name: str,
        location: Any,
        meaning: str,
        *,
        response: Any = False,
        type: Any = str,
        required: bool = True,
    ) -> OpenApiParameter:
        return OpenApiParameter(
            name,
            type,
            location,
            required=required and not response,
            description=meaning,
            response=response,
        )

    PaymentSchema = _PaymentSchema
