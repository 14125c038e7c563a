"""Secrets stay where they belong: every secret in play is known, and looked for everywhere.

The real flow runs over HTTP against the sandbox, with everything going wrong that can. Afterwards
no log record, row, page, answer, repr or traceback may hold a secret, or half of one. The one
exception: the two calls that hand a customer the client secret of their order.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pprint import pformat
from types import FrameType
from typing import Any

import pytest
import stripe as stripe_sdk
from django.contrib import admin
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core import checks
from django.db import OperationalError, connection
from django.test import Client, override_settings
from django.views.debug import ExceptionReporter

import shop_payments
from shop_payments import signals
from shop_payments.conf import get_config, parse_config
from shop_payments.exceptions import (
    ConfigurationError,
    GatewayError,
    ShopPaymentsError,
    WebhookError,
)
from shop_payments.gateway import _build_gateway, get_gateway, read_event
from shop_payments.models import (
    APIKey,
    APIKeyScope,
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    WebhookEvent,
)
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault, Sandbox, SandboxResponse, SandboxServer
from shop_payments.secrecy import Secret, sealed
from tests.admin.support import add, change, changelist
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory
from tests.support import BASE, Caller, event_body, pay, post_webhook, sign

STRIPE_KEY = "sk_test_CanaryOfTheStripeKey7aTq2x"
WEBHOOK_SECRETS = ["whsec_CanaryOfTheOldWebhook4kWz9", "whsec_CanaryOfTheNewWebhook8mPv3"]
LOGGERS_OF_HOSTS = ("django.db.backends",)
"""Django's SQL log prints parameters, and whoever turns it on knows."""

BITE = 12
"""So many characters of a secret, from either end, are a leak."""


# --- the detector -------------------------------------------------------------------------------


class Trap(logging.Handler):
    """Hears every record of every logger at DEBUG."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # Formatted now: arguments may be changed later on.
        plain = {key: value for key, value in vars(record).items() if key != "exc_info"}
        self.records.append(record)
        self.texts.append(f"{record.name}: {logging.Formatter().format(record)}\n{plain!r}")

    @contextmanager
    def listening(self) -> Iterator[None]:
        loggers = [logging.root, *logging.root.manager.loggerDict.values()]
        known = [each for each in loggers if isinstance(each, logging.Logger)]
        before = [(each, each.level, each.propagate, each.disabled) for each in known]
        for logger in known:
            logger.disabled = False
            logger.propagate = not logger.name.startswith(LOGGERS_OF_HOSTS)
            logger.setLevel(logging.DEBUG)
        logging.root.addHandler(self)
        try:
            yield
        finally:
            logging.root.removeHandler(self)
            for logger, level, propagate, disabled in before:
                logger.level, logger.propagate, logger.disabled = level, propagate, disabled
            logging.root.manager._clear_cache()  # type: ignore[attr-defined]


class Canary:
    """Knows every secret, and finds it in what it is shown."""

    def __init__(self, stripe: Sandbox) -> None:
        self._stripe = stripe
        self._fixed = {"the Stripe key": STRIPE_KEY.removeprefix("sk_test_")}
        for number, secret in enumerate(WEBHOOK_SECRETS, 1):
            self._fixed[f"webhook secret {number}"] = secret.removeprefix("whsec_")
        self.trap = Trap()
        self.leaks: list[str] = []

    def learn(self, name: str, secret: str) -> str:
        """Remember a secret of this test."""
        assert len(secret) > BITE
        self._fixed[name] = secret
        return secret

    def client_secrets(self, order_id: str = "") -> dict[str, str]:
        """The random part of each client secret at Stripe; of one order's, if it is named."""
        return {
            f"client_secret of {intent['id']}": intent["client_secret"].partition("_secret_")[2]
            for intent in self._stripe._books.payment_intents.values()
            if order_id in {"", intent["metadata"].get("order_id")}
        }

    def find(self, text: str, *, allowed: dict[str, str] | None = None) -> list[str]:
        secrets = {**self._fixed, **self.client_secrets()}
        return [
            name
            for name, secret in secrets.items()
            if name not in (allowed or {}) and (secret[:BITE] in text or secret[-BITE:] in text)
        ]

    def look_at(self, where: str, text: str, *, allowed: dict[str, str] | None = None) -> None:
        for name in self.find(text, allowed=allowed):
            self.leaks.append(f"{name} is in {where}")

    def look_at_answer(self, method: str, path: str, response: Any) -> None:
        handed_out = re.fullmatch(rf"{BASE}/orders/([^/]+)/payment(-intent)?", path)
        allowed = {}
        if method == "POST" and response.status_code == 200 and handed_out:
            allowed = self.client_secrets(order_id=handed_out[1])
        text = response.serialize().decode() + str(response.cookies)
        where = f"the answer {response.status_code} to {method} {path}"
        self.look_at(where, text, allowed=allowed)

    def look_at_the_rest(self) -> None:
        """Look at all that a run has left behind."""
        for text in self.trap.texts:
            self.look_at(f"the log: {text[:100]}", text)
        for where, text in dump():
            self.look_at(where, text)

    def assert_silent(self) -> None:
        self.look_at_the_rest()
        assert not self.leaks, "\n".join(dict.fromkeys(self.leaks))


def dump() -> Iterator[tuple[str, str]]:
    """Every column of every row that the app, the sessions and the admin's log have."""
    with connection.cursor() as cursor:
        tables = connection.introspection.table_names(cursor)
        shown = [each for each in tables if each.startswith("shop_payments_")]
        for table in [*shown, "django_session", "django_admin_log"]:
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            for row in cursor.fetchall():
                assert cursor.description is not None
                for column, value in zip(cursor.description, row, strict=True):
                    yield f"the column {table}.{column[0]}", f"{value!r}"
    for session in Session.objects.all():
        yield "a session", repr(session.get_decoded())


class Witness(Client):
    """A client that shows the canary every answer."""

    def __init__(self, canary: Canary, **kwargs: Any) -> None:
        super().__init__(raise_request_exception=False, **kwargs)
        self._canary = canary

    def request(self, **request: Any) -> Any:
        response = super().request(**request)
        self._canary.look_at_answer(request["REQUEST_METHOD"], request["PATH_INFO"], response)
        return response


# --- the scene ----------------------------------------------------------------------------------


class Scene:
    """A shop whose secrets are all known, and everybody who calls it."""

    def __init__(self, canary: Canary, stripe: Sandbox) -> None:
        self.canary, self.stripe = canary, stripe
        self.order: Order = OrderFactory.create()
        token = TokenFactory.create(user=self.order.customer).key
        storefront_key = issue_key(APIKeyScope.STOREFRONT)
        payments_key = issue_key(APIKeyScope.PAYMENTS)
        canary.learn("the customer's token", token)
        canary.learn("the storefront's key", storefront_key.split("_", 2)[2])
        canary.learn("the payment system's key", payments_key.split("_", 2)[2])
        self.storefront = Caller(token=token, key=storefront_key, client=Witness(canary))
        self.payment_system = Caller(key=payments_key, client=Witness(canary))
        self.staff = Witness(canary)
        self.staff.force_login(User.objects.create_superuser("root"))

    def new_order(self) -> None:
        self.order = OrderFactory.create(customer=self.order.customer)

    def ask(self, quantity: int | None = None) -> Any:
        if quantity is not None:
            self.order.lines.update(quantity=quantity)
        return self.storefront.payment_intent(self.order)

    def settle(self) -> Any:
        return self.payment_system.payment(self.order)

    def pay(self, payment_method: str = "pm_card_visa") -> None:
        for intent in list(self.stripe._books.payment_intents.values()):
            if intent["metadata"].get("order_id") == str(self.order.pk):
                pay(self.stripe, intent["id"], payment_method)

    def deliver(self) -> list[int]:
        """Send all of Stripe's events, which hold client secrets, signed by each secret in turn."""
        bodies = [json.dumps(event).encode() for event in self.stripe.events]
        return [
            self.send(body, secret=WEBHOOK_SECRETS[number % 2]).status_code
            for number, body in enumerate(bodies)
        ]

    def send(self, body: bytes, secret: str = WEBHOOK_SECRETS[1]) -> Any:
        return post_webhook(body, sign(body, secret=secret), client=Witness(self.canary))

    def walk_the_api(self) -> None:
        """Get all that can be got, as JSON and as pages."""
        for accept in ("application/json", "text/html"):
            for caller in (self.storefront, self.payment_system):
                for path in ("", "orders", f"orders/{self.order.pk}"):
                    caller.get(path, Accept=accept)
                for path in ("payment-intent", "payment"):
                    caller.get(f"orders/{self.order.pk}/{path}", Accept=accept)

    def walk_the_admin(self) -> set[type]:
        """Look at every page of every model that the admin has; return the models that had rows."""
        staff = self.staff
        shown = set()
        assert staff.get("/admin/").status_code == 200
        for model in admin.site._registry:
            if model._meta.app_label != "shop_payments":
                continue
            assert staff.get(changelist(model)).status_code == 200
            staff.get(add(model))
            for row in model._default_manager.all():
                assert staff.get(change(row)).status_code == 200
                shown.add(model)
        return shown


@pytest.fixture
def stripe() -> Sandbox:
    return Sandbox()


@pytest.fixture
def canary(stripe: Sandbox) -> Iterator[Canary]:
    canary = Canary(stripe)
    with canary.trap.listening():
        yield canary


@pytest.fixture
def scene(
    db: None, canary: Canary, stripe: Sandbox, configure: Callable[..., None]
) -> Iterator[Scene]:
    """The app talks to Stripe over a socket."""
    with SandboxServer(stripe) as server:
        configure(**reachable(server.url))
        yield Scene(canary, stripe)


def reachable(url: str) -> dict[str, Any]:
    return {
        "STRIPE_SECRET_KEY": STRIPE_KEY,
        "STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRETS,
        "STRIPE_API_BASE": url,
        "STRIPE_TRANSPORT": None,
        "INTENT_WAIT_SECONDS": 0.05,
    }


def run_the_flow(scene: Scene, before_each: Callable[[], object] = lambda: None) -> list[int]:
    """All calls to Stripe that there are; each is made twice, the first time after a trouble.

    What is in no row and in no answer here is on no page of the admin either.
    """
    steps: list[Callable[[], Any]] = [
        scene.ask,
        scene.ask,
        lambda: scene.ask(quantity=3),
        scene.settle,
    ]
    statuses = []
    for step in steps:
        before_each()
        statuses += [step().status_code, step().status_code]
    scene.pay("pm_card_chargeDeclined")
    before_each()
    statuses += scene.deliver()
    scene.pay()
    before_each()
    statuses += [scene.settle().status_code, *scene.deliver(), scene.settle().status_code]
    scene.walk_the_api()
    return statuses


# --- it can fail --------------------------------------------------------------------------------


@pytest.mark.parametrize("logger", ["tests.careless", "stripe_clone", "urllib3"])
def test_a_planted_leak_is_found(scene, canary, logger):
    def careless(*, payment_intent, **kwargs):
        fetched = get_gateway().retrieve_payment_intent(payment_intent.stripe_id)
        logging.getLogger(logger).debug("to ship: %s", {"s": fetched.client_secret.reveal()})

    signals.order_paid.connect(careless)
    try:
        run_the_flow(scene)
    finally:
        signals.order_paid.disconnect(careless)

    canary.look_at_the_rest()

    assert [leak for leak in canary.leaks if f"the log: {logger}: to ship" in leak]


@pytest.mark.parametrize("half", [slice(BITE), slice(-BITE, None)])
def test_half_of_a_secret_in_a_row_is_found(scene, canary, half):
    scene.ask()
    (secret,) = canary.client_secrets().values()
    PaymentHistory.objects.create(
        order_payment=OrderPayment.objects.get(), kind="intent_created", actor=secret[half]
    )

    canary.look_at_the_rest()

    assert any("shop_payments_paymenthistory.actor" in leak for leak in canary.leaks)


def test_an_answer_to_somebody_else_is_found(scene, canary):
    scene.ask()
    first = scene.order
    scene.new_order()
    response = scene.ask()

    canary.look_at_answer("POST", f"{BASE}/orders/{first.pk}/payment", response)
    canary.look_at_answer("GET", f"{BASE}/orders/{scene.order.pk}/payment", response)

    assert len(canary.leaks) == 2


def test_secrets_in_sessions_and_traceback_variables_are_found(scene, canary):
    client = Client()
    session = client.session
    session["key"] = STRIPE_KEY
    session.save()
    try:
        secret = STRIPE_KEY
        raise RuntimeError(len(secret))
    except RuntimeError:
        logging.getLogger("django.request").exception("oops")

    canary.look_at_the_rest()
    reports_of(canary)

    assert "the Stripe key is in a session" in canary.leaks
    assert any("variables" in leak for leak in canary.leaks)


# --- the flow -----------------------------------------------------------------------------------


def test_the_flow_leaves_no_secret_anywhere(scene, canary):
    statuses = run_the_flow(scene)
    scene.walk_the_admin()

    assert set(statuses) == {200, 409}
    assert OrderPayment.objects.get().is_paid
    assert len(canary.client_secrets()) == 1
    names = {record.name.partition(".")[0] for record in canary.trap.records}
    assert {"stripe", "urllib3", "django"} <= names
    assert any("API response body" in text for text in canary.trap.texts)
    canary.assert_silent()


def test_every_page_has_been_looked_at(scene, canary):
    scene.ask()
    scene.ask(quantity=3)
    scene.pay()
    scene.order.lines.update(quantity=4)
    scene.deliver()

    shown = scene.walk_the_admin()
    for row in (APIKey.objects.all()[0], scene.order):
        scene.staff.get(change(row).replace("/change/", "/history/"))

    models = {model for model in admin.site._registry if model._meta.app_label == "shop_payments"}
    assert shown == models
    assert {WebhookEvent, PaymentHistory, PaymentIntent, APIKey} < shown
    canary.assert_silent()


def test_a_key_is_shown_once(scene, canary):
    browser = Client()
    browser.force_login(User.objects.get(username="root"))
    form = {"label": "Mobile app", "scopes": ["storefront"], "expires_at_0": "", "expires_at_1": ""}
    page = browser.post(add(APIKey), form).content.decode()
    (secret,) = set(re.findall(r"spk_[0-9a-f]{8}_([\w-]{43})", page))
    canary.learn("the new key", secret)
    canary.look_at("the page that shows it", page)
    assert canary.leaks == ["the new key is in the page that shows it"]
    canary.leaks.clear()

    browser.post(add(APIKey), {**form, "label": ""})
    scene.walk_the_admin()

    canary.assert_silent()


def test_staff_who_pay_in_the_browsable_api_see_it_and_no_log_does(scene, canary):
    staff = Caller(client=scene.staff)
    path = f"orders/{scene.order.pk}"

    pages = [staff.post(f"{path}/payment-intent", Accept="text/html")]
    scene.pay()
    pages += [staff.post(f"{path}/payment", Accept="text/html")]
    for page in ("", "/payment-intent", "/payment"):
        staff.get(f"{path}{page}", Accept="text/html")

    (secret,) = canary.client_secrets().values()
    assert [secret in page.content.decode() for page in pages] == [True, True]
    canary.assert_silent()


EVERY_FAULT = [
    Fault("latency", seconds=0.01),
    Fault("drop_before"),
    Fault("drop_after"),
    *(Fault("error", status=status) for status in (409, 429, 500, 503)),
]


@pytest.mark.parametrize("fault", EVERY_FAULT, ids=lambda each: f"{each.kind} {each.status or ''}")
def test_no_fault_of_stripes_brings_a_secret_to_light(scene, canary, stripe, fault):
    statuses = run_the_flow(scene, lambda: stripe.inject(fault))
    scene.walk_the_admin()

    assert 500 not in statuses
    assert fault.kind == "latency" or {503, 409} & {*statuses}
    canary.assert_silent()


@pytest.mark.parametrize(
    "card", ["chargeDeclined", "chargeDeclinedExpiredCard", "authenticationRequired"]
)
def test_no_declined_card_does(scene, canary, card):
    scene.ask()
    scene.pay(f"pm_card_{card}")
    scene.deliver()
    assert scene.settle().status_code == 409
    scene.walk_the_api()
    scene.walk_the_admin()

    canary.assert_silent()


def test_money_in_review_does_not(scene, canary):
    scene.ask()
    scene.pay()
    scene.order.lines.update(quantity=7)
    scene.deliver()
    assert scene.settle().status_code == 409
    assert OrderPayment.objects.get().needs_review
    scene.walk_the_api()
    scene.walk_the_admin()

    canary.assert_silent()


# --- answers that are not as they should be -----------------------------------------------------


class Mangler:
    """Stripe, whose next answer is not what it should be."""

    def __init__(self, stripe: Sandbox, mangle: Callable[[dict[str, Any]], Any]) -> None:
        self._stripe, self._mangle, self._armed = stripe, mangle, False

    def arm(self) -> None:
        self._armed = True

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> SandboxResponse:
        answer = self._stripe.handle(method, url, headers, body)
        if not self._armed:
            return answer
        self._armed = False
        mangled = self._mangle(json.loads(answer.body))
        status, content = mangled if isinstance(mangled, tuple) else (answer.status, mangled)
        text = content if isinstance(content, str) else json.dumps(content)
        spilled = json.loads(answer.body).get("client_secret", "")
        return SandboxResponse(status, {**answer.headers, "request-id": spilled}, text.encode())


def spill(values: dict[str, Any]) -> str:
    """What a proxy or a careless Stripe could say: every secret there is."""
    return f"{values.get('client_secret')} {STRIPE_KEY} {' '.join(WEBHOOK_SECRETS)}"


def nested(values: dict[str, Any], *, depth: int) -> dict[str, Any]:
    for _level in range(depth):
        values = {"in": values}
    return values


def refusal(status: int, type_: str, **more: str) -> Callable[[dict[str, Any]], Any]:
    def mangle(values: dict[str, Any]) -> Any:
        error = {"type": type_, "message": spill(values), "payment_intent": values, **more}
        return status, {"error": {**error, "param": spill(values), "charge": spill(values)}}

    return mangle


MANGLED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "half": lambda values: json.dumps(values)[: json.dumps(values).find("_secret_") + 25],
    "a page": lambda values: (200, f"<html>{spill(values)}</html>"),
    "a proxy's page": lambda values: (502, f"<html>{spill(values)}</html>"),
    "a list": lambda values: [values],
    "a text": lambda values: json.dumps(spill(values)),
    "an error that is a text": lambda values: (400, {"error": spill(values)}),
    "another object": lambda values: {**values, "object": spill(values)},
    "no id": lambda values: {**values, "id": None},
    "a secret as id": lambda values: {**values, "id": values.get("client_secret")},
    "a secret as status": lambda values: {**values, "status": values.get("client_secret")},
    "a secret as amount": lambda values: {**values, "amount": spill(values)},
    "a secret as currency": lambda values: {**values, "currency": spill(values)},
    "a secret as time": lambda values: {**values, "created": spill(values)},
    "a secret in a secret": lambda values: {**values, "client_secret": {"a": spill(values)}},
    "secrets everywhere": lambda values: {
        **values,
        "metadata": {**values.get("metadata", {}), "x": spill(values), spill(values)[:60]: "y"},
        "description": spill(values),
        "payment_method": spill(values),
        "latest_charge": {"id": spill(values)},
        "cancellation_reason": spill(values),
        "last_payment_error": {
            name: spill(values) for name in ("code", "decline_code", "message", "charge", "type")
        },
    },
    "a deep object": lambda values: {**values, "review": nested(values, depth=400)},
    "a declined card": refusal(402, "card_error", code="card_declined"),
    "a bad request": refusal(400, "invalid_request_error", code="parameter_unknown"),
    "a secret as code": lambda values: refusal(400, "invalid_request_error", code=spill(values))(
        values
    ),
    "an unexpected state": refusal(
        400, "invalid_request_error", code="payment_intent_unexpected_state"
    ),
    "a missing object": refusal(404, "invalid_request_error", code="resource_missing"),
    "a bad key": refusal(401, "invalid_request_error"),
    "no permission": refusal(403, "invalid_request_error"),
    "a conflict": refusal(409, "idempotency_error"),
    "a key in use": refusal(409, "invalid_request_error", code="idempotency_key_in_use"),
    "too many": refusal(429, "invalid_request_error", code="rate_limit"),
    "an outage": refusal(500, "api_error"),
}


@pytest.mark.parametrize("name", MANGLED)
def test_no_answer_of_stripes_does(scene, canary, stripe, configure, name):
    mangler = Mangler(stripe, MANGLED[name])
    configure(
        **{**reachable(""), "STRIPE_API_BASE": "http://127.0.0.1", "STRIPE_TRANSPORT": mangler}
    )

    statuses = run_the_flow(scene, mangler.arm)

    if name == "secrets everywhere":
        scene.walk_the_admin()
    assert 500 not in statuses
    reports_of(canary)
    canary.assert_silent()


@pytest.mark.parametrize("name", MANGLED)
def test_no_event_of_stripes_does(scene, canary, stripe, name):
    scene.ask()
    (intent,) = stripe._books.payment_intents.values()
    mangled = MANGLED[name](intent)
    content = mangled[1] if isinstance(mangled, tuple) else mangled
    bodies = [
        event_body({}, type="payment_intent.succeeded", data={"object": content}),
        event_body({}, type=spill(intent), data={"object": content}),
        event_body(intent, api_version=spill(intent), request={"id": spill(intent)}),
        event_body({**intent, "status": "succeeded"}, id=spill(intent)),
        event_body(intent, created=spill(intent)),
        json.dumps(content).encode(),
    ]

    statuses = {scene.send(body).status_code for body in bodies}
    unsigned = post_webhook(bodies[0], f"t=1,v1={spill(intent)}", client=Witness(canary))

    assert statuses <= {200, 400, 503}
    assert unsigned.status_code == 400
    if name == "secrets everywhere":
        scene.walk_the_admin()
    reports_of(canary)
    canary.assert_silent()


# --- bad keys and settings ----------------------------------------------------------------------


def test_no_refused_key_does(scene, canary, configure):
    with SandboxServer(Sandbox(secret_keys=["sk_test_other"])) as server:
        configure(**reachable(server.url))
        assert scene.ask().status_code == 502
    scene.walk_the_admin()

    canary.assert_silent()


BAD_SETTINGS: dict[str, dict[str, Any]] = {
    "a line's end": {"STRIPE_SECRET_KEY": f"{STRIPE_KEY}\n"},
    "no secret key": {"STRIPE_SECRET_KEY": STRIPE_KEY.removeprefix("sk_test_")},
    "swapped": {"STRIPE_SECRET_KEY": WEBHOOK_SECRETS[0], "STRIPE_WEBHOOK_SECRETS": [STRIPE_KEY]},
    "a list of keys": {"STRIPE_SECRET_KEY": [STRIPE_KEY]},
    "a dict of secrets": {"STRIPE_WEBHOOK_SECRETS": {"new": WEBHOOK_SECRETS[1]}},
    "bytes": {"STRIPE_SECRET_KEY": STRIPE_KEY.encode()},
    "in the address": {"STRIPE_API_BASE": f"https://{STRIPE_KEY}@127.0.0.1:9"},
}


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_no_bad_setting_does(scene, canary, configure, name):
    configure(**{**reachable("http://127.0.0.1:9"), **BAD_SETTINGS[name]})

    scene.ask()
    scene.settle()
    post_webhook(b"{}", sign(b"{}"), client=Witness(canary))

    scene.staff.get(changelist(OrderPayment))
    scene.staff.get(change(OrderPayment.objects.get_or_create(order=scene.order)[0]))

    for message in checks.run_checks(include_deployment_checks=True):
        canary.look_at(f"the check {message.id}", f"{message} {message!r}")
    reports_of(canary)
    canary.assert_silent()


def test_no_bad_key_or_token_of_a_caller_does(scene, canary):
    key = canary.learn("a key that was mistyped", f"x{scene.storefront.headers['X-API-Key']}")
    callers = [
        {"Authorization": f"Bearer {key}"},
        {"X-API-Key": key},
        {"X-API-Key": key.replace("xspk", "spk") + "x"},
        {"X-API-Key": scene.storefront.headers["Authorization"]},
        {"Authorization": f"Bearer {scene.storefront.headers['X-API-Key']}"},
    ]

    for headers in callers:
        assert scene.storefront.get("orders", **headers).status_code in {200, 401}
        response = scene.storefront.post(f"orders/{scene.order.pk}/payment-intent", **headers)
        assert response.status_code == 401

    canary.assert_silent()


def test_a_secret_in_a_body_is_not_repeated(scene, canary):
    scene.ask()
    (secret,) = canary.client_secrets().values()

    for body in ({"client_secret": secret}, [secret], secret):
        assert scene.storefront.payment_intent(scene.order, body).status_code == 400

    canary.assert_silent()


# --- the host's code raises ---------------------------------------------------------------------


class Careless(BundledOrderAdapter):
    """A host's adapter that raises in one of its hooks."""

    broken = ""

    def line_items(self, order):
        return self._do("line_items", order)

    def amount_due(self, order):
        return self._do("amount_due", order)

    def is_payable(self, order):
        return self._do("is_payable", order)

    def receipt_email(self, order):
        return self._do("receipt_email", order)

    def find(self, pk):
        return self._do("find", pk)

    def on_paid(self, order, **kwargs):
        if self.broken == "on_paid":
            raise RuntimeError("the host's own")

    def _do(self, name, *args):
        if self.broken == name:
            raise RuntimeError("the host's own")
        return getattr(super(), name)(*args)


@pytest.mark.parametrize(
    "hook", ["line_items", "amount_due", "is_payable", "receipt_email", "find", "on_paid"]
)
def test_no_adapter_that_raises_does(scene, canary, configure, monkeypatch, hook):
    configure(ORDER_ADAPTER=f"{__name__}.Careless")
    for broken in ("", hook):
        monkeypatch.setattr(Careless, "broken", broken)
        scene.ask(quantity=3)
        scene.ask(quantity=2)
        scene.settle()
    scene.pay()
    scene.deliver()
    scene.settle()

    assert any(record.exc_info for record in canary.trap.records)
    reports_of(canary)
    canary.assert_silent()


def test_no_receiver_and_no_queue_that_raises_does(scene, canary, configure):
    def raising(*, payment_intent, **kwargs):
        get_gateway().retrieve_payment_intent(payment_intent.stripe_id)
        raise RuntimeError("the host's own")

    signals.order_paid.connect(raising)
    try:
        run_the_flow(scene)
    finally:
        signals.order_paid.disconnect(raising)
    configure(EVENT_HANDLER=f"{__name__}.no_queue")
    (intent,) = scene.stripe._books.payment_intents.values()
    assert scene.send(event_body(intent)).status_code == 503

    assert len([record for record in canary.trap.records if record.exc_info]) >= 2
    reports_of(canary)
    canary.assert_silent()


def no_queue(event_pk: int) -> None:
    raise ConnectionError("the broker is away")


# --- reprs and exceptions -----------------------------------------------------------------------


def test_nothing_shows_itself(scene, canary):
    scene.ask()
    (intent,) = scene.stripe._books.payment_intents.values()
    result = get_gateway().retrieve_payment_intent(intent["id"])
    body = event_body(intent)
    event = read_event(body, sign(body, secret=WEBHOOK_SECRETS[0]))
    rows = [*APIKey.objects.all(), *PaymentIntent.objects.all(), *WebhookEvent.objects.all()]

    for each in (result, event, get_config(), get_gateway(), result.client_secret, *rows):
        for text in (repr(each), str(each), f"{each}", pformat(each), pformat([each])):
            canary.look_at(f"the repr of a {type(each).__name__}", text)
    for shown in (vars(result), dataclasses.asdict(result), vars(event), vars(get_gateway())):
        canary.look_at("the fields of a result", repr(shown))
    with pytest.raises(TypeError):
        json.dumps(result.client_secret)

    canary.assert_silent()


def test_no_exception_of_the_tree_does(scene, canary):
    scene.ask()
    (intent,) = scene.stripe._books.payment_intents.values()
    no_event = json.dumps([intent]).encode()
    calls: list[Callable[[], object]] = [
        lambda: get_gateway().retrieve_payment_intent("pi_missing"),
        lambda: get_gateway().create_payment_intent({"amount": 1}, idempotency_key="k"),
        lambda: get_gateway().confirm_payment_intent(
            intent["id"], payment_method="pm_card_chargeDeclined", idempotency_key="l"
        ),
        lambda: read_event(event_body(intent), "t=1,v1=00"),
        lambda: read_event(no_event, sign(no_event, secret=WEBHOOK_SECRETS[0])),
        lambda: parse_config({"STRIPE_SECRET_KEY": [STRIPE_KEY]}),
    ]
    for call in calls:
        with pytest.raises(ShopPaymentsError) as caught:
            call()
        error = caught.value
        assert isinstance(error, (GatewayError, WebhookError, ConfigurationError))
        text = "".join(traceback.format_exception(error))
        canary.look_at(f"{type(error).__name__}", f"{error!r} {vars(error)!r} {text}")
        assert caught.tb.tb_next is not None
        assert caught.tb.tb_next.tb_next is not None
        with logging_off():  # without the frames of this test
            report(canary, (type(error), error, caught.tb.tb_next.tb_next))

    canary.assert_silent()


# --- tracebacks with the variables of their frames ----------------------------------------------


def reports_of(canary: Canary) -> None:
    """Look at what Django's error page, and its e-mail, would show of each logged exception."""
    for record in distinct_failures(canary.trap.records):
        with logging_off():
            report(canary, record.exc_info, request=getattr(record, "request", None))


def report(canary: Canary, exc_info: Any, *, request: Any = None) -> None:
    for debug in (True, False):
        with override_settings(DEBUG=debug):
            reporter = ExceptionReporter(request, *exc_info)
            shown = {
                "text": reporter.get_traceback_text(),
                "page": reporter.get_traceback_html(),
            }
        frames = reporter.get_traceback_data()["frames"]
        # The host's own authentication has the customer's token in its hands, and so may show it.
        allowed = {"the customer's token": ""} if in_host_authentication(frames) else {}
        culprits = {
            f"{frame['function']}.{name}"
            for frame in frames
            for name, value in frame.get("vars", ())
            if canary.find(value, allowed=allowed)
        }
        for kind, text in shown.items():
            where = f"the {kind} with DEBUG={debug}, variables {sorted(culprits)}"
            canary.look_at(where, text, allowed=allowed)


def distinct_failures(records: list[logging.LogRecord]) -> list[logging.LogRecord]:
    """One record for each way through the code that an exception took."""
    distinct: dict[Any, logging.LogRecord] = {}
    for record in records:
        if record.levelno >= logging.WARNING and record.exc_info and record.exc_info[0]:
            kind, _error, trace = record.exc_info
            way = [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)]
            distinct[kind, *way] = record
    return list(distinct.values())


def in_host_authentication(frames: list[Any]) -> bool:
    return any(frame["function"] == "authenticate_credentials" for frame in frames)


@contextmanager
def logging_off() -> Iterator[None]:
    """The templates of the reports log what they do not find in themselves."""
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


class DatabaseGone:
    """The database goes away at the n-th statement."""

    def __init__(self, at: int) -> None:
        self._left = at
        self.happened = False

    def __call__(self, execute: Any, sql: Any, params: Any, many: Any, context: Any) -> Any:
        if sql.startswith("ROLLBACK"):
            return execute(sql, params, many, context)
        self._left -= 1
        if self._left != 0:
            return execute(sql, params, many, context)
        self.happened = True
        raise OperationalError("the database is gone")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("call", ["first", "again", "changed", "settle", "webhook"])
def test_no_database_that_goes_away_does(scene, canary, call):
    statements = 0
    for at in range(1, 60):
        scene.new_order()
        if call != "first":
            assert scene.ask().status_code == 200
        if call in {"settle", "webhook"}:
            scene.pay()
        if call == "changed":
            scene.order.lines.update(quantity=3)
        event = json.dumps(scene.stripe.events[-1]).encode() if scene.stripe.events else b""
        gone = DatabaseGone(at)
        with connection.execute_wrapper(gone):
            if call == "settle":
                scene.settle()
            elif call == "webhook":
                scene.send(event)
            else:
                scene.ask()
        if not gone.happened:
            break
        statements = at

    assert 3 < statements < 59
    assert any(record.exc_info for record in canary.trap.records)
    reports_of(canary)
    canary.assert_silent()


# --- the variables of every frame ---------------------------------------------------------------


SEAL = sealed(lambda: None).__code__
"""The frame of every sealed function's wrapper."""


class FrameAudit:
    """Looks at the variables of the app's functions whenever one of them calls something.

    An exception could come out of that call, and an error reporter shows these variables. But for
    what is sealed: no exception brings those frames to light. There, the database must not be
    asked, nor the host.
    """

    def __init__(self, canary: Canary) -> None:
        self._canary = canary
        self._home = str(Path(shop_payments.__file__).parent)
        self.found: set[str] = set()
        self.seen: set[str] = set()
        self.sealed: set[str] = set()

    @contextmanager
    def watching(self) -> Iterator[None]:
        sys.setprofile(self._profile)
        try:
            yield
        finally:
            sys.setprofile(None)

    def _profile(self, callee: FrameType, event: str, argument: object) -> None:
        if event != "call" or callee.f_back is None:
            return
        if callee.f_back.f_code.co_filename.startswith(self._home):
            sys.setprofile(None)
            try:
                self._look(callee.f_back, callee)
            finally:
                sys.setprofile(self._profile)

    def _look(self, frame: FrameType, callee: FrameType) -> None:
        path = Path(frame.f_code.co_filename)
        if path.parent.name == "sandbox":  # a Stripe of its own, where the secrets come from
            return
        where = f"{path.name}: {frame.f_code.co_qualname}"
        if is_sealed(frame):
            self.sealed.add(where)
            if re.search("/django/(db|template)/|/tests/", callee.f_code.co_filename):
                self.found.add(f"{where} calls {callee.f_code.co_filename}")
            return
        self.seen.add(path.name)
        for name, value in frame.f_locals.items():
            if self._canary.find(shown(value)):
                self.found.add(f"{where}.{name}")


def is_sealed(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code is SEAL:
            return True
        frame = frame.f_back
    return False


def shown(value: object) -> str:
    """The repr of what is surely not lazy: a queryset would ask the database."""
    if isinstance(value, (str, bytes, dict, list, tuple, set, Secret)):
        if isinstance(value, dict):
            return " ".join(f"{key!r} {shown(item)}" for key, item in list(value.items())[:200])
        if isinstance(value, (list, tuple, set)):
            return " ".join(map(shown, list(value)[:50]))
        return repr(value)
    if isinstance(value, stripe_sdk.StripeObject) or dataclasses.is_dataclass(value):
        return repr(value)
    return ""


def test_no_frame_of_the_app_shows_a_secret(scene, canary):
    audit = FrameAudit(canary)

    with audit.watching():
        scene.ask()
        scene.ask()
        scene.ask(quantity=3)
        scene.pay("pm_card_chargeDeclined")
        scene.deliver()
        scene.settle()
        scene.pay()
        scene.deliver()
        scene.settle()
        scene.walk_the_api()

    assert {"gateway.py", "views.py", "webhooks.py", "api_keys.py"} <= audit.seen
    assert not audit.found, "\n".join(sorted(audit.found))


# --- the console --------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["debug", "info"])
def test_stripes_console_log_does_not(scene, canary, monkeypatch, capfd, level):
    monkeypatch.setattr(stripe_sdk, "log", level)
    _build_gateway.cache_clear()

    run_the_flow(scene)

    output, errors = capfd.readouterr()
    assert "Request to Stripe api" in errors
    canary.look_at("the console", output + errors)
    canary.assert_silent()


def test_stripes_console_log_does_not_if_it_is_turned_on_later(scene, canary, monkeypatch, capfd):
    scene.ask()
    monkeypatch.setattr(stripe_sdk, "log", "debug")

    run_the_flow(scene)

    canary.look_at("the console", "".join(capfd.readouterr()))
    canary.assert_silent()


def test_stripes_console_log_does_not_quote_stripe(
    scene, canary, stripe, configure, monkeypatch, capfd
):
    monkeypatch.setattr(stripe_sdk, "log", "info")
    mangler = Mangler(stripe, MANGLED["a bad request"])
    configure(
        **{**reachable(""), "STRIPE_API_BASE": "http://127.0.0.1", "STRIPE_TRANSPORT": mangler}
    )

    run_the_flow(scene, mangler.arm)

    canary.look_at("the console", "".join(capfd.readouterr()))
    canary.assert_silent()
