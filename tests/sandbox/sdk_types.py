"""What the types of stripe-python say of parameters and answers.

`declared_parameters` returns what a TypedDict of the SDK declares; `answer_problems` walks an
answer along the annotations of the SDK's classes. Neither knows the sandbox: what they say comes
from the SDK that is installed, so tests fail when it moves on.

The SDK writes `Optional[...]` both for what may be null and for what may be missing. Stripe's
answers carry nearly all such keys, as null; those that it leaves out are named in `LEFT_OUT`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Literal, NamedTuple, Union

import stripe
import typing_extensions
from stripe._error_object import ErrorObject
from stripe._object_classes import get_object_class
from stripe._request_options import RequestOptions
from stripe._stripe_object import StripeObject, UntypedStripeObject

LEFT_OUT: Mapping[str, str] = {
    # What only those charges have that it concerns; as in recorded answers of Stripe's.
    "Charge.FraudDetails.*": "charges that somebody called fraudulent",
    "Charge.Outcome.risk_score": "Radar for Fraud Teams",
    "Charge.Outcome.rule": "charges that a rule of Radar's decided",
    "Charge.RadarOptions.session": "a Radar session",
    "Charge.authorization_code": "on the card's details instead",
    "Charge.level3": "level III data",
    "Charge.presentment_details": "Adaptive Pricing",
    "Charge.refunds": "where it is expanded",
    "Charge.transfer": "Connect",
    "Charge.PaymentMethodDetails.Card.capture_before": "authorizations",
    "Charge.PaymentMethodDetails.Card.description": "on request at Stripe's support",
    "Charge.PaymentMethodDetails.Card.electronic_commerce_indicator": "3D Secure by others",
    "Charge.PaymentMethodDetails.Card.iin": "on request at Stripe's support",
    "Charge.PaymentMethodDetails.Card.issuer": "on request at Stripe's support",
    "Charge.PaymentMethodDetails.Card.moto": "orders by mail and telephone",
    "Charge.PaymentMethodDetails.Card.setup_credential_usage": "saved cards",
    "Charge.PaymentMethodDetails.Card.stored_credential_usage": "saved cards",
    "Charge.PaymentMethodDetails.Card.ThreeDSecure.exemption_indicator_applied": "exemptions",
    "Dispute.Evidence.EnhancedEvidence.*": "evidence of that kind",
    "Dispute.Evidence.appeal": "an appeal",
    "Dispute.EvidenceDetails.EnhancedEligibility.*": "disputes that are eligible",
    "Dispute.intended_submission_method": "Smart Disputes",
    "Dispute.network_reason_code": "on the card's details instead",
    "Refund.DestinationDetails.Card.reference": "refunds whose reference is known",
    "Refund.description": "Connect",
    "Refund.destination_details": "refunds of cards and bank transfers",
    "Refund.failure_balance_transaction": "refunds that failed",
    "Refund.failure_reason": "refunds that failed",
    "Refund.instructions_email": "methods without a way back of their own",
    "Refund.next_action": "refunds that ask something of the customer",
    "Refund.pending_reason": "refunds that wait",
    "Refund.presentment_details": "Adaptive Pricing",
    # Connect only.
    "Event.account": "events of connected accounts",
    "Event.context": "events of connected accounts",
    # One kind of event.
    "Event.Data.previous_attributes": "*.updated events, and refunds",
    # What only those see who use it.
    "PaymentIntent.hooks": "intents with a linked tax calculation",
    "PaymentIntent.payment_details": "industry data that the intent was given",
    "PaymentIntent.payment_record": "intents that belong to a payment record",
    "PaymentIntent.presentment_details": "Adaptive Pricing",
    "PaymentIntent.AmountDetails.*": "line items",
    "PaymentIntent.AmountDetails.Tip.amount": "a tip that was given",
    "PaymentIntent.PaymentMethodOptions.*": "the types that the intent takes",
    "PaymentIntent.PaymentMethodOptions.Card.*": "set as an option",
    "PaymentIntent.PaymentMethodOptions.Link.*": "set as an option",
    "PaymentIntent.PaymentMethodOptions.SepaDebit.*": "set as an option",
    "PaymentIntent.PaymentMethodOptions.UsBankAccount.*": "set as an option",
    "PaymentIntent.PaymentMethodOptions.UsBankAccount.MandateOptions.*": "set as an option",
    "PaymentMethod.UsBankAccount.StatusDetails.blocked": "accounts that a bank has blocked",
    "PaymentMethod.Card.description": "on request at Stripe's support",
    "PaymentMethod.Card.iin": "on request at Stripe's support",
    "PaymentMethod.Card.issuer": "on request at Stripe's support",
    "WebhookEndpoint.deleted": "an endpoint that was deleted, see DELETED",
    "WebhookEndpoint.secret": "the answer that created it",
    # Errors have only the keys that have a value.
    "PaymentIntent.LastPaymentError.*": "whatever the error is about",
}
"""Keys that the SDK knows and Stripe's answers leave out, with what brings them out."""

DELETED = {"id", "object", "deleted"}
"""What is left of an object in the answer that deletes it."""


# Parameters


class Parameter(NamedTuple):
    """What the SDK says of one parameter."""

    required: bool
    unsettable: bool
    """An empty string clears it."""
    words: set[str]
    """The words that it may be, as far as the SDK lists them."""
    hashes: list[type]
    """The TypedDicts of its own parameters, if it has some."""


def declared_parameters(typed_dict: type) -> dict[str, Parameter]:
    """Return the parameters of a TypedDict of the SDK's by name, without its client's options."""
    names = {**_names(RequestOptions.__module__), **_names(typed_dict.__module__)}
    hints = typing.get_type_hints(typed_dict, globalns=names, include_extras=True)
    return {
        name: _parameter(hint)
        for name, hint in hints.items()
        if name not in RequestOptions.__annotations__
    }


def _parameter(hint: Any) -> Parameter:
    required = typing.get_origin(hint) is not typing_extensions.NotRequired
    choices = list(_leaves(hint if required else typing.get_args(hint)[0]))
    literals = [typing.get_args(each) for each in choices if typing.get_origin(each) is Literal]
    words = {str(word) for each in literals for word in each}
    hashes = [each for each in choices if typing_extensions.is_typeddict(each)]
    return Parameter(required, "" in words, words - {""}, hashes)


# Answers


def answer_problems(answer: Mapping[str, Any], *, partial: bool = False) -> list[str]:
    """Say what the SDK's classes have against an answer: an object, a list or an error.

    A partial one may lack keys: a browser does not get to see all.
    """
    problems = _answer_problems(answer)
    return [each for each in problems if not (partial and _MISSING in each)]


_MISSING = ": missing"


def _answer_problems(answer: Mapping[str, Any]) -> list[str]:
    if "error" in answer:
        extra = [f"{name}: unknown key" for name in answer if name != "error"]
        return [*extra, *_walk_error(answer["error"])]
    return list(_walk_by_name(answer, "answer"))


def _walk_error(error: Mapping[str, Any]) -> Iterator[str]:
    """An error object leaves out what it has no value for; `type` is always there."""
    hints = known_keys(ErrorObject)
    for name, value in error.items():
        if name not in hints:
            yield f"error.{name}: unknown key"
        elif value is None:
            yield f"error.{name}: null, where Stripe leaves the key out"
        else:
            yield from _walk(value, hints[name], f"error.{name}")
    for name in ("type", "message"):
        if name not in error:
            yield f"error.{name}{_MISSING}"


def _walk_by_name(value: Any, path: str) -> Iterator[str]:
    """Walk an object by the class that its key `object` names."""
    name = value.get("object") if isinstance(value, dict) else None
    if name == "list":
        yield from _walk_list(value, None, path)
        return
    cls = get_object_class("V1", str(name))
    if cls is StripeObject:
        yield f"{path}.object: the SDK has no class for {name!r}"
        return
    yield from _walk_object(value, cls, path)


def _walk(value: Any, annotation: Any, path: str) -> Iterator[str]:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if annotation is Any:
        return
    if origin in (Union, types.UnionType):
        yield from _walk_union(value, arguments, path)
    elif origin is Literal:
        if value not in arguments:
            yield f"{path}: {value!r} is none of the words the SDK knows"
    elif origin is list:
        yield from _walk_items(value, arguments[0], path)
    elif origin is dict or origin is UntypedStripeObject:
        yield from _walk_values(value, arguments[-1], path)
    elif origin is stripe.ListObject:
        yield from _walk_list(value, arguments[0], path)
    elif isinstance(annotation, type) and issubclass(annotation, StripeObject):
        yield from _walk_object(value, annotation, path)
    elif not _is_a(value, annotation):
        yield f"{path}: {value!r} is no {getattr(annotation, '__name__', annotation)}"


def _is_a(value: Any, annotation: Any) -> bool:
    if annotation is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, str if annotation is Decimal else annotation)  # JSON has no decimals


def _walk_union(value: Any, choices: tuple[Any, ...], path: str) -> Iterator[str]:
    if any(typing.get_origin(choice) is Literal for choice in choices):
        # `Union[Literal[...], str]` is the SDK's way to be ready for new words. The sandbox has
        # only those of today.
        choices = tuple(choice for choice in choices if choice is not str)
    found = [list(_walk(value, choice, path)) for choice in choices]
    if all(found):  # say what is wrong inside the value, if that is all
        yield from min(found, key=lambda each: (each[0].startswith(f"{path}: "), len(each)))


def _walk_items(value: Any, item: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: {value!r} is no list"
        return
    for index, each in enumerate(value):
        yield from _walk(each, item, f"{path}[{index}]")


def _walk_values(value: Any, item: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no hash"
        return
    for name, each in value.items():
        yield from _walk(each, item, f"{path}[{name}]")


def _walk_list(value: Any, item: Any, path: str) -> Iterator[str]:
    if not isinstance(value, dict) or value.get("object") != "list":
        yield f"{path}: {value!r} is no list object"
        return
    hints = {**known_keys(stripe.ListObject), "object": str, "data": list[Any]}
    yield from _walk_keys(value, hints, "ListObject", path)
    for index, each in enumerate(value.get("data", ())):
        if item is None:
            yield from _walk_by_name(each, f"{path}.data[{index}]")
        else:
            yield from _walk(each, item, f"{path}.data[{index}]")


def _walk_object(value: Any, cls: type, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no {cls.__qualname__}"
        return
    hints = known_keys(cls)
    if value.get("deleted") is True:
        hints = {name: hint for name, hint in hints.items() if name in DELETED}
    yield from _walk_keys(value, hints, cls.__qualname__, path)
    if cls is stripe.Event and isinstance(value.get("data"), dict):
        yield from _walk_by_name(value["data"].get("object"), f"{path}.data.object")


def _walk_keys(
    value: Mapping[str, Any], hints: Mapping[str, Any], owner: str, path: str
) -> Iterator[str]:
    for name, each in value.items():
        if name in hints:
            yield from _walk(each, hints[name], f"{path}.{name}")
        else:
            yield f"{path}.{name}: unknown key"
    for name, hint in hints.items():
        if name in value or _may_be_left_out(f"{owner}.{name}", hint, hints, value.get("type")):
            continue
        yield f"{path}.{name}{_MISSING} ({owner}.{name})"


def _may_be_left_out(key: str, hint: Any, siblings: Mapping[str, Any], of_type: Any) -> bool:
    if type(None) not in typing.get_args(hint):
        return False
    if key in LEFT_OUT or f"{key.rpartition('.')[0]}.*" in LEFT_OUT:
        return True
    # A payment method of type card has the key `card` and none of `link`, `klarna`, ...
    return of_type in siblings and key.rpartition(".")[2] != of_type and _is_hash(hint)


def _is_hash(hint: Any) -> bool:
    kinds = (typing.get_origin(each) or each for each in _leaves(hint))
    return any(isinstance(each, type) and issubclass(each, StripeObject) for each in kinds)


def _leaves(hint: Any) -> Iterator[Any]:
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (Union, types.UnionType):
        for each in arguments:
            yield from _leaves(each)
    else:
        yield hint


@cache
def known_keys(cls: type) -> dict[str, Any]:
    """Return the keys that an object of a class has, with their types."""
    hints = typing.get_type_hints(cls, localns=_names(cls.__module__))
    return {
        _key(cls, name): hint
        for name, hint in hints.items()
        if not name.startswith("_") and typing.get_origin(hint) is not typing.ClassVar
    }


def _key(cls: Any, attribute: str) -> str:
    """Return the key on the wire; some are no names for Python."""
    return str(cls._field_remappings.get(attribute, attribute))


@cache
def _names(module_name: str) -> dict[str, Any]:
    """Return what the annotations of a module may name, its type-checking imports included."""
    module = sys.modules[module_name]
    names = dict(vars(module))
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("stripe"):
            source = importlib.import_module(str(node.module))
            names |= {each.asname or each.name: getattr(source, each.name) for each in node.names}
    return names
