"""The OpenAPI schema, for hosts that have drf-spectacular (the extra ``docs``).

The decorator :func:`documented` declares what a route answers on success. Its errors are the rows
of ``ERROR_TABLE`` that name the route. Everything else is read from the view. Without
drf-spectacular the declarations have no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from django.conf import settings
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.schemas.inspectors import DefaultSchema, ViewInspector

from shop_payments.api.authentication import (
    API_KEY_HEADER,
    ORDER_TOKEN_HEADER,
    APIKeyAuthentication,
)
from shop_payments.api.errors import ERROR_TABLE, ErrorRow, Route, Shape
from shop_payments.api.serializers import EmptyBodySerializer, RangeEndField
from shop_payments.request_ids import REQUEST_ID_HEADER

try:
    from drf_spectacular.openapi import AutoSchema
    from drf_spectacular.plumbing import ResolvedComponent
    from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
except ImportError:
    HAS_SPECTACULAR = False
else:
    HAS_SPECTACULAR = True

_Method = TypeVar("_Method", bound=Callable[..., Any])


@dataclass(frozen=True)
class Operation:
    """What the schema cannot read from the view of a route."""

    route: Route
    message: str
    """The message on success."""

    data: Shape
    """The shape of ``data`` on success."""

    query: type[serializers.Serializer[Any]] | None = None
    header: tuple[str, str] | None = None
    """The name and the meaning of a required request header."""

    echoed_header: tuple[str, str] | None = None
    """The name and the meaning of an optional request header that the response repeats."""

    @property
    def errors(self) -> dict[int, list[ErrorRow]]:
        """Return the rows of the route's errors, by status."""
        found: dict[int, list[ErrorRow]] = {}
        for row in ERROR_TABLE:
            if self.route in row.routes:
                found.setdefault(row.status, []).append(row)
        return found


def documented(
    route: Route, message: str, data: Shape, **more: Any
) -> Callable[[_Method], _Method]:
    """Declare a view's method for the schema, with the fields of :class:`Operation`."""
    operation = Operation(route, message, data, **more)

    def declare(method: _Method) -> _Method:
        method.operation = operation  # type: ignore[attr-defined]
        return method

    return declare


_SECURITY_SCHEMES: dict[str, dict[str, str]] = {
    "bearerToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "The customer's token, for the authentication of the shop.",
    },
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": API_KEY_HEADER,
        "description": "A program's API key, with the scope that the route requires.",
    },
    "orderToken": {
        "type": "apiKey",
        "in": "header",
        "name": ORDER_TOKEN_HEADER,
        "description": "A guest's token for one order, made by the shop's server.",
    },
    "staffSession": {
        "type": "apiKey",
        "in": "cookie",
        "name": settings.SESSION_COOKIE_NAME,
        "description": "The admin session of staff with the permission. POST needs a CSRF token.",
    },
}

_NO_FIELDS = {"application/json": {"type": "object", "additionalProperties": False}}
"""An optional body without any field."""


def _closed_object(properties: dict[str, Any], *, optional: str = "") -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name != optional],
        "additionalProperties": False,
    }


def _alternatives(schemas: list[Any]) -> Any:
    return schemas[0] if len(schemas) == 1 else {"oneOf": schemas}


PaymentSchema: type[ViewInspector] = DefaultSchema
"""The class of our views' attribute ``schema``."""

if HAS_SPECTACULAR:

    class _PaymentSchema(AutoSchema):
        """Describes our views, whatever ``DEFAULT_SCHEMA_CLASS`` the host has."""

        view: Any

        @property
        def operation(self) -> Operation:
            # A host's subclass may override the method without declaring it again.
            for each in type(self.view).__mro__:
                found = getattr(getattr(each, self.view.action, None), "operation", None)
                if isinstance(found, Operation):
                    return found
            raise LookupError(f"{type(self.view).__name__}.{self.view.action} is not documented")

        def get_operation_id(self) -> str:
            return f"shop_{cast('str', self.operation.route.name).lower()}"

        def get_tags(self) -> list[str]:
            return list(self.view.schema_tags)

        def get_summary(self) -> str:
            return super().get_description().split("\n")[0].removesuffix(".")

        def get_description(self) -> str:  # type: ignore[override]
            text, caller = super().get_description(), self.view.own_authentication
            if self._takes_key:
                text += f"\n\nThe API key needs the scope `{caller.scope.value}`."
            return text

        @property
        def _takes_key(self) -> bool:
            return issubclass(self.view.own_authentication, APIKeyAuthentication)

        def get_auth(self) -> list[dict[str, Any]]:
            if AllowAny in self.view.permission_classes:
                return []
            key = ["apiKey"] if self._takes_key else []
            if not self.view.host_authentication:
                callers = [key]
            elif "{order_id}" in self.path:
                callers = [["bearerToken", *key], ["orderToken", *key]]
            else:
                callers = [["bearerToken", *key]]
            callers.append(["staffSession"])
            for name in {name for caller in callers for name in caller}:
                self._register(name, ResolvedComponent.SECURITY_SCHEMA, _SECURITY_SCHEMES[name])
            return [{name: [] for name in caller} for caller in callers]

        def _register(self, name: str, kind: Any, schema: dict[str, Any]) -> ResolvedComponent:
            component = ResolvedComponent(name=name, type=kind, object=name, schema=schema)  # type: ignore[no-untyped-call]
            self.registry.register_on_missing(component)
            return component

        def get_serializer_name(self, serializer: Any, direction: Any) -> str:
            # Without a prefix, the name would clash with a serializer of the host, such as Order.
            return f"Shop{super().get_serializer_name(serializer, direction)}"

        def _map_serializer_field(
            self, field: Any, direction: Any, bypass_extensions: bool = False
        ) -> Any:
            if isinstance(field, RangeEndField):
                ends = [{"type": "string", "format": each} for each in ("date", "date-time")]
                # Not oneOf: to a validator that does not check formats, both are any string.
                return {"anyOf": ends, "description": field.help_text}
            schema = super()._map_serializer_field(  # type: ignore[no-untyped-call]
                field, direction, bypass_extensions
            )
            if "enum" not in schema or field.parent is None:
                return schema
            # drf-spectacular names enums after their field only. The host's may have the same name.
            name = f"Shop{field.field_name.title().replace('_', '')}Enum"
            return self._register(name, ResolvedComponent.SCHEMA, schema).ref

        def get_override_parameters(self) -> list[Any]:
            operation, errors = self.operation, self.operation.errors
            parameters: list[Any] = [operation.query] if operation.query else []
            if "{order_id}" in self.path:
                words = "The primary key of the order."
                parameters.append(
                    OpenApiParameter("order_id", str, "path", required=True, description=words)
                )
            words = (
                "The client's id of the request, for the shop's log: 1 to 200 of the characters "
                "`A-Z a-z 0-9 . _ : @ + / = -`. Any other value is replaced by a new one."
            )
            parameters.append(_header(REQUEST_ID_HEADER, words))
            words = "The id of the request in the shop's log: the client's, or a new one."
            parameters.append(_header(REQUEST_ID_HEADER, words, response=[200, *errors]))
            if operation.header:
                parameters.append(_header(*operation.header, required=True))
            if operation.echoed_header:
                name, meaning = operation.echoed_header
                parameters.append(_header(name, meaning))
                parameters.append(_header(name, "The key in use.", response=[200, *errors]))
            retry = [status for status, rows in errors.items() if any(r.retry_after for r in rows)]
            words = "Seconds to wait before the next try."
            parameters.append(_header("Retry-After", words, int, response=retry))
            if 401 in errors:
                words = "The credentials that the route requires."
                parameters.append(_header("WWW-Authenticate", words, response=[401]))
            return parameters

        def get_request_serializer(self) -> Any:
            serializer = super().get_request_serializer()
            return _NO_FIELDS if serializer is EmptyBodySerializer else serializer

        def get_response_serializers(self) -> Any:
            operation = self.operation
            message = {"type": "string", "examples": [operation.message]}
            answer = _closed_object({"message": message, "data": self._schema_of(operation.data)})
            responses = {"200": OpenApiResponse(answer, description=operation.message)}
            for status, rows in operation.errors.items():
                meanings = "\n".join(f"- `{row.code}`: {row.description}" for row in rows)
                responses[str(status)] = OpenApiResponse(
                    self._error_schema(rows),
                    description=meanings,
                    examples=[self._example(row, str(status)) for row in rows],
                )
            return responses

        def _error_schema(self, rows: list[ErrorRow]) -> Any:
            """Return the schema of an error body: one alternative for each code."""
            references = {row.code: self._error_component(row).ref for row in rows}
            if len(rows) == 1:
                return references[rows[0].code]
            mapping = {code: reference["$ref"] for code, reference in references.items()}
            return {
                "oneOf": [*references.values()],
                "discriminator": {"propertyName": "code", "mapping": mapping},
            }

        def _error_component(self, row: ErrorRow) -> ResolvedComponent:
            """Register the error of a row: generated clients have one class for each code."""
            body: dict[str, Any] = {
                "message": {"type": "string"},
                "code": {"type": "string", "const": row.code},
            }
            details = row.details
            if details is not None:
                body[details.key] = self._schema_of(details.shape)
            optional = details.key if details is not None and details.is_optional else ""
            schema = {**_closed_object(body, optional=optional), "description": row.description}
            name = f"Shop{row.code.removesuffix('_error').title().replace('_', '')}Error"
            return self._register(name, ResolvedComponent.SCHEMA, schema)

        def _example(self, row: ErrorRow, status: str) -> OpenApiExample:
            scope = self.view.own_authentication.scope.value if self._takes_key else ""
            body: dict[str, Any] = {
                "message": row.example_message.replace("{scope}", scope),
                "code": row.code,
            }
            if row.details is not None:
                body[row.details.key] = row.details.example_for(self.operation.route)
            return OpenApiExample(row.code, value=body, response_only=True, status_codes=[status])

        def _schema_of(self, shape: Shape) -> Any:
            if isinstance(shape, tuple):
                return _alternatives([self._schema_of(each) for each in shape])
            if isinstance(shape, Mapping):
                return _closed_object({key: self._schema_of(each) for key, each in shape.items()})
            field = shape() if isinstance(shape, type) else shape
            return self._map_serializer_field(field, "response")

        def _is_list_view(self, serializer: Any = None) -> bool:
            return False  # a list is always inside of `data`, with its page

    def _header(name: str, meaning: str, type: Any = str, **more: Any) -> OpenApiParameter:
        return OpenApiParameter(name, type, "header", description=meaning, **more)

    PaymentSchema = _PaymentSchema
