"""``manage.py shop_payments_doctor``, and what it and ``check`` say about typical mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
import time_machine
from django.conf import settings as django_settings
from django.core.management import CommandError, call_command
from django.core.management.base import SystemCheckError
from django.db import connection
from django.utils import timezone

from shop_payments.gateway import PERMISSIONS, STRIPE_API_VERSION
from shop_payments.models import Order, SweepState, WebhookEvent
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault, SandboxServer
from shop_payments.signals import order_paid
from shop_payments.sync.registry import LISTED_EVENTS
from shop_payments.testing import StripeSandbox
from tests.commands.support import run
from tests.commands.test_webhook import URL
from tests.generated_docs import ROOT
from tests.support import Caller, call_stripe

pytestmark = pytest.mark.django_db

HERE = __name__
RESTRICTED_KEY = "rk_test_of_the_tests"
ALL_PERMISSIONS = (
    *("rak_payment_intent_write", "rak_refund_write", "rak_charge_read", "rak_dispute_read"),
    *("rak_event_read", "rak_balance_transaction_read", "rak_review_write"),
    *("rak_radar_early_fraud_warning_read", "rak_webhook_read", "rak_accounts_kyc_basic_read"),
)


def check() -> str:
    """What ``manage.py check --database default`` says, whether or not it ends with an error."""
    err = StringIO()
    try:
        call_command("check", databases=["default"], stdout=StringIO(), stderr=err)
    except SystemCheckError as error:
        return str(error)
    return err.getvalue()


def doctor(*arguments: str) -> tuple[list[str], bool]:
    """The doctor's lines, and whether it ended with an error."""
    out, failed = StringIO(), False
    try:
        call_command("shop_payments_doctor", *arguments, stdout=out, no_color=True)
    except CommandError:
        failed = True
    return out.getvalue().splitlines(), failed


@dataclass
class Shop:
    """A shop that is set up correctly, until a mistake is made."""

    stripe: StripeSandbox
    settings: Any
    order: Order
    storefront: Caller

    def configure(self, **values: Any) -> None:
        self.settings.SHOP_PAYMENTS = {**self.settings.SHOP_PAYMENTS, **values}

    def restrict(self, *, without: str) -> None:
        self.configure(STRIPE_SECRET_KEY=RESTRICTED_KEY)
        granted = [each for each in ALL_PERMISSIONS if each not in without.split()]
        self.stripe.restrict_key(RESTRICTED_KEY, *granted)

    def call(self, method: str, path: str, **params: str) -> dict[str, Any]:
        return call_stripe(self.stripe, method, path, **params)

    @property
    def endpoint(self) -> str:
        found: str = self.call("GET", "webhook_endpoints")["data"][0]["id"]
        return f"webhook_endpoints/{found}"

    def register(self, url: str = URL, *, types: tuple[str, ...] = (), **params: str) -> None:
        """Replace the endpoint by another one."""
        self.call("DELETE", self.endpoint)
        for number, name in enumerate(types or LISTED_EVENTS):
            params[f"enabled_events[{number}]"] = name
        self.call(
            "POST", "webhook_endpoints", **{"api_version": STRIPE_API_VERSION, **params, "url": url}
        )

    def create_intent(self) -> str:
        intent: str = self.storefront.payment_intent(self.order).json()["data"]["id"]
        return intent

    def store_event(self, **values: Any) -> None:
        WebhookEvent.objects.create(
            event_id=values.get("status", "evt_1"),
            type="payment_intent.succeeded",
            livemode=False,
            stripe_created_at=timezone.now(),
            **{"payload": {"object": "event", "data": {"object": {"id": "pi_1"}}}, **values},
        )


@pytest.fixture
def shop(stripe, settings, order, storefront) -> Shop:
    run("webhook", "create", "--url", URL)
    run("reconcile")
    return Shop(stripe, settings, order, storefront)


def an_hour_ago() -> time_machine.travel:
    return time_machine.travel(datetime.now(UTC) - timedelta(hours=1), tick=True)


# --- a shop without mistakes --------------------------------------------------------------------


def test_a_shop_without_mistakes_gets_ok_for_everything(shop):
    shop.create_intent()
    writes = len([each for each in shop.stripe.requests if each.method == "POST"])

    assert check() == ""
    lines, failed = doctor()

    assert not failed
    assert [line for line in lines if not line.startswith("ok ")] == []
    text = "\n".join(lines)
    for words in (
        "`manage.py check --database default` finds nothing",
        "for the account acct_1SandboxAccount (Sandbox), in test mode",
        "Clock: it agrees with Stripe's",
        "Publishable key: it belongs to the secret key",
        f"(this shop's): {URL}, 20 types of events, API version {STRIPE_API_VERSION}, payload style"
        " snapshot.",
        "Deliveries: Stripe is still delivering 1 event.",
        "Sweep: it last finished at",
        "Notifications: every signal was delivered",
    ):
        assert words in text
    assert len([each for each in shop.stripe.requests if each.method == "POST"]) == writes


def test_what_cannot_be_known_is_not_an_error(shop):
    shop.restrict(without="rak_accounts_kyc_basic_read")
    shop.stripe.inject(Fault("error", status=503, path="/v1/disputes"))

    lines, failed = doctor()

    text = "\n".join(lines)
    assert not failed
    assert "it works, in test mode. It may not read its account" in text
    assert "because there is no payment intent to try it with" in text
    assert "Permissions: it is not known whether the key may read disputes." in text
    assert "Permissions: the key may write payment intents, write refunds, read charges" in text


def test_the_permissions_are_tried_and_nothing_is_written(shop, caplog):
    shop.restrict(without="rak_refund_write")
    before = shop.stripe.events

    doctor()

    tried = {each.path for each in shop.stripe.requests if "shop_payments_doctor" in each.path}
    assert tried == {each.path for each in PERMISSIONS}
    assert shop.stripe.events == before
    assert caplog.text == ""  # the findings say it


def test_the_permissions_and_events_are_documented():
    page = (ROOT / "docs/doctor.md").read_text(encoding="utf-8")
    events = page.partition("<!-- events -->\n```none\n")[2].partition("\n```")[0]

    assert [each.name for each in PERMISSIONS if f"| {each.name} |" not in page] == []
    assert events.splitlines() == [*LISTED_EVENTS]


def test_without_stripe_nothing_is_sent(shop):
    asked = len(shop.stripe.requests)

    lines, failed = doctor("--no-stripe")

    assert not failed
    assert len(shop.stripe.requests) == asked
    assert "Key:" not in "\n".join(lines)


def test_no_log_holds_the_client_secret(shop, caplog):
    """It is in the address of a request."""
    intent_id = shop.create_intent()
    caplog.set_level("DEBUG")
    with SandboxServer(shop.stripe) as server:
        shop.configure(STRIPE_TRANSPORT=None, STRIPE_API_BASE=server.url)
        lines, _failed = doctor()

    assert "Publishable key: it belongs to the secret key." in "\n".join(lines)
    assert (
        f"GET /v1/payment_intents/{intent_id}?client_secret={intent_id}_secret_*** " in caplog.text
    )
    assert caplog.text.count("_secret_") == caplog.text.count("_secret_***")


def test_the_client_secret_is_not_sent_while_the_sdk_prints_addresses(shop, monkeypatch):
    shop.create_intent()
    monkeypatch.setenv("STRIPE_LOG", "info")

    assert "Publishable key: it is not known whether it works. STRIPE_LOG is set" in "\n".join(
        doctor()[0]
    )


def test_an_endpoint_of_another_deployment_is_not_this_shops(shop):
    """A shop for tests may use the same account."""
    other = "https://staging.example/api/v1/shop/webhooks/stripe"
    shop.stripe.add_webhook(other, "whsec_x", deliver=lambda *_: 200)

    lines, failed = doctor()

    assert not failed
    assert f"(not this shop's): {other}" in "\n".join(lines)
    assert not any(line.startswith("warning") for line in lines)


def test_events_on_their_way_are_counted_and_become_a_warning(shop):
    """Found: "all events" were delivered while the sandbox still had some."""
    shop.create_intent()
    (line,) = [line for line in doctor()[0] if "Deliveries:" in line]
    assert line.startswith("ok       Deliveries: Stripe is still delivering 1 event. It delivered")

    later = datetime.now(UTC) + timedelta(minutes=3)
    shop.stripe.advance_clock(180)
    with time_machine.travel(later, tick=True):
        lines, failed = doctor()
    (line,) = [line for line in lines if "Deliveries:" in line]
    assert not failed
    assert line.startswith(
        "warning  Deliveries: Stripe has not delivered 1 event yet. The oldest is payment_int"
    )
    assert "copy the endpoint's signing secret (the sandbox's --webhook-secret) to" in line


def test_the_sandboxs_own_endpoint_is_set_up_correctly(shop):
    """Found: the doctor wanted it deleted in Stripe's dashboard, for its API version."""
    shop.call("DELETE", shop.endpoint)
    shop.stripe.add_webhook(URL, "whsec_x", deliver=lambda *_: 200)

    lines, failed = doctor()

    assert not failed
    assert [line for line in lines if line.startswith("warning")] == []
    text = "\n".join(lines)
    assert f"{URL}, all events, API version {STRIPE_API_VERSION}" in text
    assert "Deliveries: Stripe delivered all events of the last three days." in text


def test_a_check_that_the_project_silences_is_no_finding(shop):
    shop.settings.ROOT_URLCONF = "django.contrib.auth.urls"
    shop.settings.SILENCED_SYSTEM_CHECKS = ["shop_payments.W008"]

    assert "W008" not in "\n".join(doctor("--no-stripe")[0])


# --- mistakes -----------------------------------------------------------------------------------


class DecimalTotal(BundledOrderAdapter):
    def total(self, order: Any) -> Any:
        return Decimal("112.00")


class ListOfOrders(BundledOrderAdapter):
    def list_for_user(self, user: Any) -> Any:
        return [*super().list_for_user(user)]


class MisspelledField(BundledOrderAdapter):
    def number(self, order: Any) -> Any:
        return order.refrence


def remove_the_app(shop: Shop) -> None:
    shop.settings.INSTALLED_APPS = [
        each for each in django_settings.INSTALLED_APPS if each != "rest_framework"
    ]


def fail_deliveries(shop: Shop) -> None:
    with an_hour_ago():
        shop.create_intent()


def raise_in_a_receiver(shop: Shop) -> None:
    def receiver(**kwargs: Any) -> None:
        raise LookupError("the printer is out of paper")

    order_paid.connect(receiver)
    try:
        with an_hour_ago():
            shop.stripe.connect_webhooks()
            shop.stripe.pay(shop.order)
            shop.stripe.disconnect_webhooks()
    finally:
        order_paid.disconnect(receiver)


def forget_the_sweep(shop: Shop) -> None:
    SweepState.objects.update(finished_at=timezone.now() - timedelta(hours=3))


def never_sweep(shop: Shop) -> None:
    SweepState.objects.all().delete()


def use_a_publishable_key_of_another_account(shop: Shop) -> None:
    path = f"/v1/payment_intents/{shop.create_intent()}"
    shop.stripe.inject(Fault("another_account", path=path))


def misspell_the_publishable_key(shop: Shop) -> None:
    shop.create_intent()
    shop.configure(STRIPE_PUBLISHABLE_KEY="pk_test_a-b")


def throttle_with(backend: str, **options: str) -> Callable[[Shop], None]:
    def throttle(shop: Shop) -> None:
        cache = {"BACKEND": f"django.core.cache.backends.{backend}", **options}
        shop.configure(THROTTLE_RATES={"payment_intent_user": "20/min"})
        shop.settings.CACHES = {"default": cache}

    return throttle


def delete_the_endpoint(shop: Shop) -> None:
    shop.call("DELETE", shop.endpoint)


def disable_the_endpoint(shop: Shop) -> None:
    shop.call("POST", shop.endpoint, disabled="true")


def add_a_second_endpoint(shop: Shop) -> None:
    shop.stripe.add_webhook(URL, "whsec_x")


def set_the_clock_wrong(shop: Shop) -> None:
    shop.stripe.advance_clock(3600)


def receive_a_thin_event(shop: Shop) -> None:
    shop.store_event(payload={"object": "v2.core.event"})


def fail_an_event(shop: Shop) -> None:
    shop.store_event(status="failed")


def restricted(*, without: str) -> Callable[[Shop], None]:
    return lambda shop: shop.restrict(without=without)


def setting(**values: Any) -> Callable[[Shop], None]:
    return lambda shop: shop.configure(**values)


def adapter(name: str) -> Callable[[Shop], None]:
    return setting(ORDER_ADAPTER=f"{HERE}.{name}")


def project(name: str, value: Any) -> Callable[[Shop], None]:
    return lambda shop: setattr(shop.settings, name, value)


def endpoint(**params: Any) -> Callable[[Shop], None]:
    return lambda shop: shop.register(**params)


NOT_THERE = "http://127.0.0.1:1"
CORE = tuple(name for name in LISTED_EVENTS if name.startswith("payment_intent."))


SAID_BY_CHECK: list[tuple[Callable[[Shop], object], str]] = [
    # (the mistake, what `check` says); tests/test_checks.py has more settings.
    (setting(STRIPE_PUBLISHABLE_KEY="sk_test_x"), "pages would show it to everybody"),
    (
        setting(STRIPE_API_BASE="http://127.0.0.1:12111/v1/"),
        "Set SHOP_PAYMENTS['STRIPE_API_BASE'] = 'http://127.0.0.1:12111'",
    ),
    (remove_the_app, "Add 'rest_framework' to INSTALLED_APPS"),
    (throttle_with("locmem.LocMemCache"), "to a cache that all processes share"),
    (adapter("DecimalTotal"), "DecimalTotal.total() returned a Decimal, not Money"),
    (adapter("ListOfOrders"), "returned a list of Order, not a QuerySet of orders"),
    (adapter("MisspelledField"), "number() failed for the newest order: AttributeError: 'Order' "),
]


@pytest.mark.parametrize(("make", "words"), SAID_BY_CHECK)
def test_check_names_the_fix(shop, make, words):
    make(shop)

    assert words in check()


ERRORS: list[tuple[Callable[[Shop], object], str]] = [
    # (the mistake, what the doctor says)
    (setting(STRIPE_WEBHOOK_SECRETS=""), "events are refused. (shop_payments.E005) Set SHOP_PAY"),
    (setting(STRIPE_SECRET_KEY="sk_test_a-b"), "API Key provided: sk_test_***. Copy a test key"),
    (
        setting(STRIPE_TRANSPORT=None, STRIPE_API_BASE=NOT_THERE),
        f"could not be reached at {NOT_THERE} (APIConnectionError). Start the sandbox",
    ),
    (
        use_a_publishable_key_of_another_account,
        "it belongs to another account than the secret key. Take SHOP_PAYMENTS",
    ),
    (misspell_the_publishable_key, "does not accept it: Invalid API Key provided: pk_test_***."),
    (
        restricted(without="rak_refund_write"),
        "may not write refunds (rak_refund_write), so nothing can be refunded. Edit the",
    ),
    (delete_the_endpoint, "create --url https://YOUR.SHOP/api/v1/shop/webhooks/stripe`"),
    (
        endpoint(url=f"{URL}/"),
        "Stripe has no endpoint for this shop (path /api/v1/shop/webhooks/stripe)",
    ),
    (disable_the_endpoint, "is disabled. Enable it at dashboard.stripe.com/webhooks"),
    (endpoint(types=CORE), "does not send charge.dispute.closed, charge.dispute.created,"),
    (fail_deliveries, "this shop did not accept 1 event of the last three days. The newest is pay"),
    (set_the_clock_wrong, "Webhooks are refused as too old or too new. Synchronize the clock"),
    (
        throttle_with("redis.RedisCache", LOCATION="redis://127.0.0.1:1"),
        "does not work, so the throttles count nothing: ConnectionError.",
    ),
    (throttle_with("dummy.DummyCache"), "does not store values"),
]
WARNINGS: list[tuple[Callable[[Shop], object], str]] = [
    (restricted(without="rak_webhook_read"), "The key in STRIPE_SECRET_KEY lacks the permission"),
    (
        restricted(without="rak_balance_transaction_read"),
        "balance transactions (rak_balance_transaction_read), so shop_payments_fees",
    ),
    (
        endpoint(api_version="2022-08-01"),
        f"sends events in the API version 2022-08-01, and not in {STRIPE_API_VERSION}",
    ),
    (receive_a_thin_event, "Create an endpoint whose payload style is snapshot"),
    (project("ALLOWED_HOSTS", ["shop.example"]), "Add '127.0.0.1' to ALLOWED_HOSTS"),
    (add_a_second_endpoint, f"several endpoints send the same events to {URL}. Delete all but one"),
    (
        never_sweep,
        "no run has finished yet. Run `manage.py shop_payments_reconcile` every half hour",
    ),
    (forget_the_sweep, "more than 2 hours ago. Run `manage.py shop_payments_reconcile`"),
    (fail_an_event, "1 event failing; each is tried again. `manage.py shop_payments_events list"),
    (raise_in_a_receiver, "1 signal not delivered to your receivers, the oldest (order_paid)"),
]
FOUND = [
    *((make, "error", words) for make, words in ERRORS),
    *((make, "warning", words) for make, words in WARNINGS),
]


@pytest.mark.parametrize(("make", "level", "words"), FOUND)
def test_the_doctor_names_the_fix(shop, make, level, words):
    make(shop)

    lines, failed = doctor()

    assert [line.split()[0] for line in lines if words in line] == [level], "\n".join(lines)
    assert failed == any(line.startswith("error") for line in lines)


def test_the_doctor_goes_on_as_far_as_it_can(shop):
    """With unusable settings, or without tables, the rest is examined all the same."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE shop_payments_sweepstate RENAME TO elsewhere")
    lines, failed = doctor()
    text = "\n".join(lines)
    assert failed
    assert "(shop_payments.W007) Run 'manage.py migrate'. If it is running" in text
    assert "Key: it works" in text
    assert "Sweep" not in text

    shop.configure(PAGE_SIZE="x")
    lines, failed = doctor()
    assert failed
    assert "(shop_payments.E001)" in "\n".join(lines)
    assert "Key:" not in "\n".join(lines)
