"""The control route: the levers of the sandbox over HTTP, for people and for other languages.

    GET    /_sandbox                                        the time, faults, deliveries
    POST   /_sandbox/clock                                  {"advance"}, in seconds
    POST   /_sandbox/faults                                 a fault, see fault_notation
    DELETE /_sandbox/faults
    DELETE /_sandbox/idempotency_keys
    POST   /_sandbox/payment_intents/{id}                   {"status", "fields"}
    POST   /_sandbox/payment_intents/{id}/authentication    {"succeed"}
    POST   /_sandbox/refunds/{id}                           {"status", "failure_reason"}
    POST   /_sandbox/charges/{id}/dispute                   {"reason", "inquiry"}
    POST   /_sandbox/charges/{id}/fraud_warning
    POST   /_sandbox/payment_intents/{id}/review
    POST   /_sandbox/webhook_endpoints/{id}/secret          {"secret", "expires_in"}

It takes and returns JSON, and needs no API key. Stripe has no such route. Requests from pages of
other origins and for other host names are refused, because any website can make a browser on this
machine send requests here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .account.fault_notation import fault_from_json, fault_to_json
from .levers import Levers
from .wire.browsers import cors_headers, is_loopback_origin, preflight_headers
from .wire.errors import StripeError
from .wire.loopback import is_loopback
from .wire.messages import Exchange, SandboxResponse, json_response

ROOT = "/_sandbox"

_JSON_NAMES = {bool: "true or false", str: "a string", dict: "an object", float: "a number"}


class ControlError(Exception):
    """A request that the control route refuses."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class _Lever:
    """One operation of the control route."""

    method: str
    path: str
    pull: Callable[[Levers, str, Mapping[str, Any]], Any]
    """A function of the levers, the id in the path and the checked fields."""
    takes: Mapping[str, type] | None = field(default_factory=dict)
    """The fields of the body with their types; with None, `pull` checks the body."""
    requires: tuple[str, ...] = ()

    def match(self, path: str) -> str | None:
        """Return the id in the path ("" if it has none), or None if the path does not match."""
        pattern = re.escape(ROOT + self.path).replace(r"\{id\}", "(?P<id>[^/]+)")
        found = re.fullmatch(pattern, path)
        return found.groupdict().get("id", "") if found else None


def is_for_control(path: str) -> bool:
    """Return whether a request is for the control route."""
    return path == ROOT or path.startswith(f"{ROOT}/")


def answer(levers: Levers, exchange: Exchange) -> SandboxResponse:
    """Pull the lever that the request asks for."""
    if exchange.method == "OPTIONS":
        return SandboxResponse(200, preflight_headers(exchange.headers), b"")
    try:
        _check_origin(exchange)
        lever, object_id = _find(exchange.method, exchange.path)
        body, status = lever.pull(levers, object_id, _fields(lever, exchange)), 200
    except ControlError as error:
        body, status = _error(str(error)), error.status
    except StripeError as error:
        body, status = _error(error.message), error.status
    except ValueError as error:
        body, status = _error(str(error)), 400
    return json_response(body, status=status, headers=cors_headers(exchange.headers))


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message}}


def _check_origin(exchange: Exchange) -> None:
    origin = exchange.headers.get("origin")
    if origin is not None and not is_loopback_origin(origin):
        raise ControlError(
            f"Pages of {origin[:100]} cannot control the sandbox. Use a page of 127.0.0.1.",
            status=403,
        )
    host = exchange.headers.get("host")  # another host name may resolve to this machine
    if host is not None and not is_loopback(urlsplit(f"//{host}").hostname):
        raise ControlError(
            f"The sandbox does not answer for {host[:100]}. Use 127.0.0.1.", status=403
        )


def _find(method: str, path: str) -> tuple[_Lever, str]:
    found = [(lever, lever.match(path)) for lever in _LEVERS]
    matches = [(lever, object_id) for lever, object_id in found if object_id is not None]
    for lever, object_id in matches:
        if lever.method == method:
            return lever, object_id
    if matches:
        methods = " or ".join(lever.method for lever, _ in matches)
        raise ControlError(f"{path[:200]} takes {methods}, not {method}.", status=405)
    paths = ", ".join(dict.fromkeys(f"{ROOT}{lever.path}" for lever in _LEVERS))
    raise ControlError(f"There is no {path[:200]}; there is {paths}.", status=404)


def _fields(lever: _Lever, exchange: Exchange) -> Mapping[str, Any]:
    if not exchange.body:
        fields: Any = {}
    elif exchange.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ControlError("Send the body as JSON, with Content-Type: application/json.")
    else:
        fields = _read(exchange.body)
    if lever.takes is not None:
        _check(lever, lever.takes, fields)
    return dict(fields)


def _read(body: bytes) -> Any:
    try:
        fields = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ControlError("The body is not JSON.") from None
    if not isinstance(fields, dict):
        raise ControlError("The body is not a JSON object.")
    return fields


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON.")  # Python would read NaN and Infinity


def _check(lever: _Lever, takes: Mapping[str, type], fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        if name not in takes:
            raise ControlError(
                f"There is no field '{name}' here; there is {', '.join(takes) or 'none'}."
            )
        number = takes[name] is float and isinstance(value, int) and not isinstance(value, bool)
        if not number and not isinstance(value, takes[name]):
            raise ControlError(f"{name} is {_JSON_NAMES[takes[name]]}, not {json.dumps(value)}.")
    for name in lever.requires:
        if name not in fields:
            raise ControlError(f"The field '{name}' is missing.")


# Levers


def _show(levers: Levers, _: str, fields: Mapping[str, Any]) -> Any:
    return {
        "now": levers.now,
        "faults": [fault_to_json(fault) for fault in levers.faults],
        "pending_deliveries": len(levers.pending_deliveries),
        "lost_deliveries": len(levers.lost_deliveries),
    }


def _advance_clock(levers: Levers, _: str, fields: Mapping[str, Any]) -> Any:
    levers.advance_clock(fields["advance"])
    return {"now": levers.now}


def _inject(levers: Levers, _: str, fields: Mapping[str, Any]) -> Any:
    levers.inject(fault_from_json(fields))
    return {"faults": [fault_to_json(fault) for fault in levers.faults]}


def _clear_faults(levers: Levers, _: str, fields: Mapping[str, Any]) -> Any:
    levers.clear_faults()
    return {"faults": []}


def _forget_idempotency_keys(levers: Levers, _: str, fields: Mapping[str, Any]) -> Any:
    return {"forgotten": levers.forget_idempotency_keys()}


def _advance(levers: Levers, intent_id: str, fields: Mapping[str, Any]) -> Any:
    overridden = fields.get("fields", {})
    if "status" in overridden:
        raise ControlError("'fields' cannot contain the status. Send it as 'status'.")
    return levers.advance(intent_id, fields["status"], **overridden)


def _authenticate(levers: Levers, intent_id: str, fields: Mapping[str, Any]) -> Any:
    return levers.complete_authentication(intent_id, fields.get("succeed", True))


def _advance_refund(levers: Levers, refund_id: str, fields: Mapping[str, Any]) -> Any:
    return levers.advance_refund(refund_id, **fields)


def _open_dispute(levers: Levers, charge_id: str, fields: Mapping[str, Any]) -> Any:
    return levers.open_dispute(charge_id, **fields)


def _warn(levers: Levers, charge_id: str, fields: Mapping[str, Any]) -> Any:
    return levers.warn_of_fraud(charge_id)


def _open_review(levers: Levers, intent_id: str, fields: Mapping[str, Any]) -> Any:
    return levers.open_review(intent_id)


def _roll_secret(levers: Levers, endpoint_id: str, fields: Mapping[str, Any]) -> Any:
    secret = levers.roll_webhook_secret(
        endpoint_id, fields.get("secret"), expires_in=fields.get("expires_in", 0.0)
    )
    return {"secret": secret}


_LEVERS = (
    _Lever(method="GET", path="", pull=_show),
    _Lever(
        method="POST",
        path="/clock",
        pull=_advance_clock,
        takes={"advance": float},
        requires=("advance",),
    ),
    _Lever(method="POST", path="/faults", pull=_inject, takes=None),
    _Lever(method="DELETE", path="/faults", pull=_clear_faults),
    _Lever(method="DELETE", path="/idempotency_keys", pull=_forget_idempotency_keys),
    _Lever(
        method="POST",
        path="/payment_intents/{id}",
        pull=_advance,
        takes={"status": str, "fields": dict},
        requires=("status",),
    ),
    _Lever(
        method="POST",
        path="/payment_intents/{id}/authentication",
        pull=_authenticate,
        takes={"succeed": bool},
    ),
    _Lever(
        method="POST",
        path="/refunds/{id}",
        pull=_advance_refund,
        takes={"status": str, "failure_reason": str},
        requires=("status",),
    ),
    _Lever(
        method="POST",
        path="/charges/{id}/dispute",
        pull=_open_dispute,
        takes={"reason": str, "inquiry": bool},
    ),
    _Lever(method="POST", path="/charges/{id}/fraud_warning", pull=_warn),
    _Lever(method="POST", path="/payment_intents/{id}/review", pull=_open_review),
    _Lever(
        method="POST",
        path="/webhook_endpoints/{id}/secret",
        pull=_roll_secret,
        takes={"secret": str, "expires_in": float},
    ),
)
