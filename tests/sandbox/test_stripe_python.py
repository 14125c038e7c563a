"""The sandbox held against stripe-python: its client, its parameters, its objects."""

from __future__ import annotations

import ast
import inspect
import re
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Unpack

import pytest
import stripe
from stripe import RequestOptions
from stripe.params import _webhook_endpoint_create_params

from shop_payments import sandbox as sandbox_package
from shop_payments.sandbox import Fault, Sandbox
from shop_payments.sandbox.routes import RESOURCES, ROUTES, UNCOVERED_RESOURCES
from shop_payments.sandbox.wire.event_types import EVENT_TYPES
from shop_payments.sandbox.wire.versions import DEFAULT_VERSION, VERSIONS
from tests.sandbox.support import KEY, PUBLISHABLE_KEY, InProcessHTTPClient


@pytest.fixture
def client(sandbox: Sandbox) -> stripe.StripeClient:
    return stripe.StripeClient(KEY, http_client=InProcessHTTPClient(sandbox), max_network_retries=0)


def create(client: stripe.StripeClient, **options: Unpack[RequestOptions]) -> stripe.PaymentIntent:
    return client.v1.payment_intents.create(
        {"amount": 11200, "currency": "usd", "allowed_payment_method_types": ["card"]}, options
    )


def test_the_client_works_in_process(client: stripe.StripeClient) -> None:
    created = create(client)

    updated = client.v1.payment_intents.update(
        created.id, {"amount": 5000, "metadata": {"order_id": "9", "gone": ""}}
    )
    canceled = client.v1.payment_intents.cancel(created.id)

    assert (updated.amount, updated.metadata.to_dict()) == (5000, {"order_id": "9"})
    assert canceled.status == "canceled"
    assert client.v1.events.list().data[0].type == "payment_intent.canceled"


def test_the_client_pays_with_a_number_and_captures(client: stripe.StripeClient) -> None:
    card = client.v1.payment_methods.create(
        {
            "type": "card",
            "card": {"number": "4000002500000003", "exp_month": 12, "exp_year": 2099, "cvc": "123"},
        }
    )

    held = client.v1.payment_intents.create(
        {
            "amount": 11200,
            "currency": "eur",
            "allowed_payment_method_types": ["card"],
            "capture_method": "manual",
            "payment_method": card.id,
            "confirm": True,
        }
    )
    taken = client.v1.payment_intents.capture(
        held.id, {"amount_to_capture": 5000, "expand": ["latest_charge"]}
    )
    (charge,) = client.v1.charges.list({"payment_intent": held.id}).data

    assert (held.status, taken.status, taken.amount_received) == (
        "requires_capture",
        "succeeded",
        5000,
    )
    assert isinstance(taken.latest_charge, stripe.Charge)
    assert taken.latest_charge.id == charge.id
    assert charge.payment_method_details is not None
    assert charge.payment_method_details.card is not None
    assert charge.payment_method_details.card.country == "FR"


def test_the_client_reports_the_request_id(client: stripe.StripeClient, sandbox: Sandbox) -> None:
    created = create(client)

    assert created.last_response is not None
    assert created.last_response.request_id == sandbox.requests[0].request_id


def test_the_client_raises_its_own_errors(client: stripe.StripeClient, sandbox: Sandbox) -> None:
    create(client, idempotency_key="k")

    with pytest.raises(stripe.IdempotencyError):
        client.v1.payment_intents.create({"amount": 1, "currency": "usd"}, {"idempotency_key": "k"})
    with pytest.raises(stripe.InvalidRequestError, match="No such payment_intent"):
        client.v1.payment_intents.retrieve("pi_x")
    with pytest.raises(stripe.AuthenticationError):
        client.v1.payment_intents.retrieve("pi_x", options={"api_key": "sk_live_x"})
    sandbox.inject(Fault("error", status=429))
    with pytest.raises(stripe.RateLimitError):
        create(client)


def test_the_client_gets_objects_for_what_it_expands(client: stripe.StripeClient) -> None:
    created = client.v1.payment_intents.create(
        {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa"}
    )

    (listed,) = client.v1.payment_intents.list({"expand": ["data.payment_method"]}).data
    retrieved = client.v1.payment_intents.retrieve(created.id, {"expand": ["payment_method"]})

    for intent in (listed, retrieved):
        assert isinstance(intent.payment_method, stripe.PaymentMethod)
        assert intent.payment_method.id == created.payment_method


def test_the_client_may_have_a_publishable_key(client: stripe.StripeClient) -> None:
    created = create(client)
    options: RequestOptions = {"api_key": PUBLISHABLE_KEY}
    secret = created.client_secret
    assert secret is not None

    seen = client.v1.payment_intents.retrieve(created.id, {"client_secret": secret}, options)

    assert (seen.id, seen.status) == (created.id, "requires_payment_method")
    with pytest.raises(stripe.PermissionError, match="publishable API key"):
        client.v1.payment_intents.cancel(created.id, options=options)
    with pytest.raises(stripe.InvalidRequestError, match="does not match the client_secret"):
        client.v1.payment_intents.retrieve(created.id, {"client_secret": "x"}, options)


@pytest.mark.parametrize(("code", "requests"), [("lock_timeout", 2), ("rate_limit", 1)])
def test_the_client_retries_a_lock_timeout_and_no_rate_limit(
    sandbox: Sandbox, code: str, requests: int
) -> None:
    patient = stripe.StripeClient(
        KEY, http_client=InProcessHTTPClient(sandbox), max_network_retries=1
    )
    sandbox.inject(Fault("error", status=429, code=code))

    with suppress(stripe.RateLimitError):
        create(patient)

    assert len(sandbox.requests) == requests
    assert len(sandbox.events) == requests - 1


def test_the_client_speaks_the_version_of_the_sandbox() -> None:
    assert stripe.api_version == DEFAULT_VERSION


def test_the_versions_are_those_of_the_sdk() -> None:
    assert literals(_webhook_endpoint_create_params, r"\d{4}-\d\d-\d\d.*") == VERSIONS


def test_the_types_of_events_are_those_of_the_sdk() -> None:
    assert literals(_webhook_endpoint_create_params, r"[a-z]\w*\.[\w.]+") == EVENT_TYPES


def literals(module: ModuleType, pattern: str) -> set[str]:
    """Return the strings in a module's annotations that the pattern matches whole."""
    tree = ast.parse(Path(inspect.getfile(module)).read_text())
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    return {text for text in strings if isinstance(text, str) and re.fullmatch(pattern, text)}


def class_of(kind: str) -> type:
    """Return the SDK's class of an object, such as ``stripe.radar.EarlyFraudWarning``."""
    module, _dot, name = kind.rpartition(".")
    home = getattr(stripe, module) if module else stripe
    found: type = getattr(home, "".join(part.title() for part in name.split("_")))
    return found


@pytest.mark.parametrize("kind", RESOURCES)
def test_the_keys_that_can_be_expanded_are_stripes(kind: str) -> None:
    stripe_class = class_of(kind)
    field = re.compile(
        r"^    (\w+): Optional\[ListObject|^    (\w+): (?:Optional\[\s*)?ExpandableField\[",
        re.MULTILINE,
    )

    found = field.findall(inspect.getsource(stripe_class))
    of_stripe = {listed or single for listed, single in found}

    here = RESOURCES[kind].expandable
    assert {name for name in here if "." not in name} == of_stripe
    assert {name.partition(".")[0] for name in here} <= declared_keys(stripe_class)


@pytest.mark.parametrize("kind", RESOURCES)
def test_the_keys_that_a_browser_sees_are_stripes(kind: str) -> None:
    stripe_class = class_of(kind)

    names = {name.partition(".")[0] for name in RESOURCES[kind].browser_keys}

    assert names <= declared_keys(stripe_class)


def test_the_keys_of_a_webhook_endpoint_are_stripes(client: stripe.StripeClient) -> None:
    endpoint = client.v1.webhook_endpoints.create(
        {"url": "http://127.0.0.1:8000/webhooks", "enabled_events": ["payment_intent.succeeded"]}
    )

    assert set(endpoint.to_dict()) <= declared_keys(stripe.WebhookEndpoint)
    assert endpoint.secret
    assert client.v1.webhook_endpoints.delete(endpoint.id).deleted is True


def declared_keys(stripe_class: type) -> set[str]:
    return set(inspect.get_annotations(stripe_class))


def test_every_route_is_addressed_in_one_way() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
    assert {route.path.split("/")[2] for route in ROUTES}.isdisjoint(UNCOVERED_RESOURCES)


def test_the_sandbox_imports_the_standard_library_only() -> None:
    folder = Path(inspect.getfile(sandbox_package)).parent

    imported = {name for path in folder.glob("*.py") for name in imports(path)}

    assert imported & {"stripe", "django", "rest_framework", "requests", "shop_payments"} == set()
    assert "threading" in imported


def imports(path: Path) -> set[str]:
    """Return the first parts of the absolute imports of a file."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add((node.module or "").partition(".")[0])
    return names
