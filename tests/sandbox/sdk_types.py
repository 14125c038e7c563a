"""Check parameters and answers by the types of stripe-python.

`declared_parameters` returns the parameters of a TypedDict of the SDK. `answer_problems` compares
an answer with the annotations of the SDK's classes. Both use only the installed SDK.

The SDK writes `Optional[...]` for keys that may be null and for keys that may be missing. Stripe's
answers contain nearly all of them, as null. `LEFT_OUT` names those that answers leave out.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Literal, NamedTuple, Union

import stripe
import typing_extensions
from stripe._error_object import ErrorObject
from stripe._object_classes import get_object_class
from stripe._request_options import RequestOptions
from stripe._stripe_object import StripeObject, UntypedStripeObject

_LEFT_OUT_BY_REASON = {
    "charges that somebody called fraudulent": "Charge.FraudDetails.*",
    "Radar for Fraud Teams, and its rules": "Charge.Outcome.risk_score Charge.Outcome.rule",
    "a Radar session": "Charge.RadarOptions.session",
    "on the card's details instead": "Charge.authorization_code Dispute.network_reason_code",
    "level III data": "Charge.level3",
    "Adaptive Pricing": """
        Charge.presentment_details PaymentIntent.presentment_details Refund.presentment_details""",
    "where it is expanded": "Charge.refunds",
    "accounts that are managed by others": """
        Account.company Account.external_accounts Account.future_requirements Account.groups
        Account.individual Account.metadata Account.requirements Account.tos_acceptance
        Account.deleted Account.Controller.*""",
    "features that an account may have": """
        Account.Capabilities.* Account.Settings.* Account.Settings.CardPayments.decline_on
        Account.Settings.Payments.* Account.BusinessProfile.* Balance.connect_reserved
        Balance.instant_available Balance.issuing Balance.refund_and_dispute_prefunding
        Balance.Available.SourceTypes.* Balance.Pending.SourceTypes.*""",
    "Connect": "Charge.transfer Refund.description Event.account Event.context",
    "authorizations": "Charge.PaymentMethodDetails.Card.capture_before",
    "on request at Stripe's support": """
        Charge.PaymentMethodDetails.Card.description Charge.PaymentMethodDetails.Card.iin
        Charge.PaymentMethodDetails.Card.issuer PaymentMethod.Card.description
        PaymentMethod.Card.iin PaymentMethod.Card.issuer""",
    "3D Secure by others, and exemptions": """
        Charge.PaymentMethodDetails.Card.electronic_commerce_indicator
        Charge.PaymentMethodDetails.Card.ThreeDSecure.exemption_indicator_applied""",
    "orders by mail and telephone": "Charge.PaymentMethodDetails.Card.moto",
    "saved cards": """
        Charge.PaymentMethodDetails.Card.setup_credential_usage
        Charge.PaymentMethodDetails.Card.stored_credential_usage""",
    "evidence of that kind": "Dispute.Evidence.EnhancedEvidence.*",
    "an appeal": "Dispute.Evidence.appeal",
    "disputes that are eligible": "Dispute.EvidenceDetails.EnhancedEligibility.*",
    "Smart Disputes": "Dispute.intended_submission_method",
    "refunds whose reference is known": "Refund.DestinationDetails.Card.reference",
    "refunds of cards and bank transfers": "Refund.destination_details",
    "refunds that failed": "Refund.failure_balance_transaction Refund.failure_reason",
    "methods without a way back of their own": "Refund.instructions_email",
    "refunds that wait, or ask the customer": "Refund.next_action Refund.pending_reason",
    "*.updated events, and refunds": "Event.Data.previous_attributes",
    "intents with a linked tax calculation": "PaymentIntent.hooks",
    "industry data": "PaymentIntent.payment_details",
    "intents that belong to a payment record": "PaymentIntent.payment_record",
    "line items, and a tip": "PaymentIntent.AmountDetails.* PaymentIntent.AmountDetails.Tip.amount",
    "the types that the intent takes": "PaymentIntent.PaymentMethodOptions.*",
    "set as an option": """
        PaymentIntent.PaymentMethodOptions.AmazonPay.* PaymentIntent.PaymentMethodOptions.Card.*
        PaymentIntent.PaymentMethodOptions.Link.*
        PaymentIntent.PaymentMethodOptions.SepaDebit.*
        PaymentIntent.PaymentMethodOptions.UsBankAccount.*
        PaymentIntent.PaymentMethodOptions.UsBankAccount.MandateOptions.*""",
    "accounts that a bank has blocked": "PaymentMethod.UsBankAccount.StatusDetails.blocked",
    "an endpoint that was deleted, see DELETED": "WebhookEndpoint.deleted",
    "the answer that created it": "WebhookEndpoint.secret",
    "whatever the error is about": "PaymentIntent.LastPaymentError.*",
}
LEFT_OUT = {key for keys in _LEFT_OUT_BY_REASON.values() for key in keys.split()}
"""Keys that Stripe's answers leave out, but for the objects that have them."""

DELETED = {"id", "object", "deleted"}
"""The keys of a deleted object."""


# Parameters


class Parameter(NamedTuple):
    """A parameter in the SDK."""

    required: bool
    unsettable: bool
    """An empty string clears it."""
    words: set[str]
    """The words that the SDK lists for it."""
    hashes: list[type]
    """The TypedDicts of a hash."""


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
    """Return the differences between an answer and the SDK's classes.

    A partial answer may lack keys, because some are hidden from browsers.
    """
    problems = _walk_error(answer) if "error" in answer else _walk_by_name(answer, "answer")
    return [each for each in problems if not (partial and _MISSING in each)]


_MISSING = ": missing"


def _walk_error(answer: Mapping[str, Any]) -> Iterator[str]:
    """An error object leaves out what it has no value for; `type` is always there."""
    yield from (f"{name}: unknown key" for name in answer if name != "error")
    hints, error = known_keys(ErrorObject), answer["error"]
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
    elif origin in (list, dict, UntypedStripeObject):
        yield from _walk_items(value, list if origin is list else dict, arguments[-1], path)
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
        # The SDK writes `Union[Literal[...], str]` to allow new words. The sandbox has none.
        choices = tuple(choice for choice in choices if choice is not str)
    found = [list(_walk(value, choice, path)) for choice in choices]
    if all(found):  # prefer a problem inside the value
        yield from min(found, key=lambda each: (each[0].startswith(f"{path}: "), len(each)))


def _walk_items(value: Any, kind: type[Any], item: Any, path: str) -> Iterator[str]:
    if not isinstance(value, kind):
        yield f"{path}: {value!r} is no {kind.__name__}"
        return
    pairs: Iterable[tuple[Any, Any]] = value.items() if kind is dict else enumerate(value)
    for name, each in pairs:
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
    names_on_the_wire = getattr(cls, "_field_remappings", {})  # some are no names for Python
    return {
        names_on_the_wire.get(name, name): hint
        for name, hint in hints.items()
        if not name.startswith("_") and typing.get_origin(hint) is not typing.ClassVar
    }


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
