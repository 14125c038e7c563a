"""Holds answers of the API against docs/openapi.yaml."""

from __future__ import annotations

from functools import cache
from typing import Any

import yaml
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from shop_payments.api.errors import ERROR_TABLE
from tests.generated_docs import OPENAPI
from tests.support import BASE

DOCUMENT = yaml.safe_load(OPENAPI.read_text(encoding="utf-8"))
OPERATIONS: dict[str, Any] = {
    f"{method.upper()} {path.removeprefix(BASE).strip('/')}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
_COMPONENTS = {
    "schemas": {
        name: {"additionalProperties": False, **schema}
        for name, schema in DOCUMENT["components"]["schemas"].items()
    }
}
_OF_ROUTES = {row.code for row in ERROR_TABLE if row.routes}


def check_answer(response: Any) -> None:
    """Fail if an answer has anything that the schema does not name: status, key or header.

    Codes of the host's own classes are not in the schema, and those that belong to no route.
    """
    route = route_of(response.request)
    if route not in OPERATIONS or response.get("Content-Type") != "application/json":
        return
    body = response.json()
    if response.status_code != 200 and body["code"] not in _OF_ROUTES:
        return
    documented = OPERATIONS[route]["responses"]
    status = str(response.status_code)
    assert status in documented, f"{route} does not document {status}: {body}"
    check_body(route, status, body)
    assert "X-Request-ID" in response.headers
    headers = {"WWW-Authenticate", "Retry-After", "X-Request-ID"} & set(response.headers)
    assert headers <= set(documented[status].get("headers", {}))


def check_body(route: str, status: str, body: Any) -> None:
    """Fail if a body is not of the form that the schema says."""
    _validator(route, status).validate(body)


@cache
def _validator(route: str, status: str) -> Draft202012Validator:
    content = OPERATIONS[route]["responses"][status]["content"]
    schema = content["application/json"]["schema"]
    return Draft202012Validator({**schema, "components": _COMPONENTS})


def route_of(request: Any) -> str:
    parts = request["PATH_INFO"].removeprefix(BASE).strip("/").split("/")
    if parts[0] == "orders" and len(parts) > 1:
        parts[1] = "{order_id}"
    return f"{request['REQUEST_METHOD']} {'/'.join(parts)}"
