"""The sandbox compared with stripe-python: parameters, keys and words.

The SDK's annotations are generated from Stripe's description of its API, so a new SDK can make
these tests fail. `Api` checks every answer of the other tests by the same annotations.
"""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import stripe
import stripe.params.radar
from stripe.params import _payment_intent_create_params, _webhook_endpoint_create_params

import shop_payments
from shop_payments.sandbox.resources.base import Route
from shop_payments.sandbox.resources.payment_method_types import ALLOWABLE, EXCLUDABLE
from shop_payments.sandbox.routes import RESOURCES, ROUTES
from shop_payments.sandbox.wire.errors import InvalidRequest
from shop_payments.sandbox.wire.event_types import EVENT_TYPES
from shop_payments.sandbox.wire.params import Hash, Param, Schema
from shop_payments.sandbox.wire.versions import DEFAULT_VERSION, VERSIONS
from tests.sandbox.sdk_types import declared_parameters

# Parameters

DIFFERENT = {
    "payment_method_types: not the SDK's": "gone since 2026-09-30; older versions have it",
    "payment_method_data[card]: not the SDK's": "what Stripe.js sends",
    "mandate_data[customer_acceptance]: required": "a mandate is nothing without it",
    "mandate_data[customer_acceptance][online][infer_from_client]: not the SDK's": "for browsers",
    "type: required": "a payment method that is copied from a customer's needs none",
    "type: ['interac_present']": "made by terminals only, and so not covered",
    "payment_method_data[type]: ['card', 'custom', 'interac_present']": "see the two above",
}
"""Intended differences, with the reasons."""


def differences(schema: Schema, typed_dict: type, within: str = "") -> Iterator[str]:
    """Compare what is known, required, cleared by an empty string, and its words; within hashes."""
    declared = declared_parameters(typed_dict)
    for name in declared.keys() | schema.keys():
        full_name = f"{within}[{name}]" if within else name
        if name not in schema:
            yield f"{full_name}: unknown here"
            continue
        if name not in declared:
            yield f"{full_name}: not the SDK's"
            continue
        param, theirs = schema[name], declared[name]
        if param.covered and param.required != theirs.required:
            yield f"{full_name}: {'required' if param.required else 'not required'}"
        if param.covered and param.unsettable != theirs.unsettable:
            yield f"{full_name}: {'unsettable' if param.unsettable else 'not unsettable'}"
        if theirs.words and choices(param) and choices(param) != theirs.words:
            yield f"{full_name}: {sorted(choices(param) ^ theirs.words)}"
        if isinstance(param.parse, Hash):
            (hash_of_theirs,) = theirs.hashes
            yield from differences(param.parse.schema, hash_of_theirs, full_name)


def choices(param: Param) -> set[str]:
    """Return the words that a parameter may be, as its error message lists them."""
    try:
        param.parse("?", "")
    except InvalidRequest as error:
        listed = error.message.partition(": must be one of ")[2]
        return set(filter(None, re.split(", or |, ", listed)))
    return set()


def differences_of(route: Route) -> set[str]:
    """Compare a route with the SDK's TypedDict for it, e.g. PaymentIntentCreateParams."""
    path = route.path.removeprefix("/v1/")
    kind = camel(path.removeprefix("radar/").partition("/")[0].removesuffix("s"))
    handler = route.handler.__name__
    operation = {"list_all": "List", "list_of_charge": "ListRefunds"}.get(handler, handler.title())
    module = stripe.params.radar if path.startswith("radar/") else stripe.params
    return {*differences(route.schema, getattr(module, f"{kind}{operation}Params"))}


def camel(name: str) -> str:
    return name.title().replace("_", "")


def test_the_parameters_are_those_of_the_sdk():
    assert set.union(*map(differences_of, ROUTES)) == DIFFERENT.keys()


# Words


def test_versions_and_event_types_are_those_of_the_sdk():
    assert stripe.api_version == DEFAULT_VERSION
    assert literals(_webhook_endpoint_create_params, r"\d{4}-\d\d-\d\d.*") == VERSIONS
    assert literals(_webhook_endpoint_create_params, r"[a-z]\w*\.[\w.]+") == EVENT_TYPES


def literals(module: ModuleType, pattern: str) -> set[str]:
    """Return the strings in a module's annotations that the pattern matches whole."""
    tree = ast.parse(Path(inspect.getfile(module)).read_text())
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {text for text in strings if isinstance(text, str) and re.fullmatch(pattern, text)}


def test_the_types_of_payment_methods_are_those_of_the_sdk():
    source = inspect.getsource(_payment_intent_create_params)
    for name, here in (("allowed", ALLOWABLE), ("excluded", EXCLUDABLE)):
        pattern = rf'    {name}_payment_method_types: NotRequired(.*?)\n    """'
        found = re.search(pattern, source, re.DOTALL)
        assert found
        assert set(re.findall(r"['\"]([a-z0-9_]+)['\"]", found[1])) == here


# Keys


def class_of(kind: str) -> Any:
    """Return the SDK's class of an object, e.g. stripe.radar.EarlyFraudWarning."""
    module, _, name = kind.rpartition(".")
    return getattr(attrgetter(module)(stripe) if module else stripe, camel(name))


@pytest.mark.parametrize("kind", RESOURCES)
def test_the_keys_that_are_expanded_or_shown_to_browsers_are_stripes(kind):
    field = re.compile(
        r"^    (\w+): Optional\[ListObject|^    (\w+): (?:Optional\[\s*)?ExpandableField\[",
        re.MULTILINE,
    )
    found = field.findall(inspect.getsource(class_of(kind)))
    declared = set(inspect.get_annotations(class_of(kind)))

    here = RESOURCES[kind]
    assert {name for name in here.expandable if "." not in name} == {
        listed or single for listed, single in found
    }
    assert {name.partition(".")[0] for name in (*here.expandable, *here.browser_keys)} <= declared


def test_the_sandbox_imports_the_standard_library_only(tmp_path):
    # A link, because an installed package has the others beside it.
    (tmp_path / "shop_payments").symlink_to(Path(shop_payments.__file__).parent)
    code = "import sys; sys.path.append(sys.argv[1]); import shop_payments.sandbox"
    command = [sys.executable, "-I", "-S", "-c", code, str(tmp_path)]

    done = subprocess.run(command, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
