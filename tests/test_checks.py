"""Each system check reports its problem, names the fix, and is silent otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from django.contrib.auth.models import User
from django.core.checks import CheckMessage, run_checks
from django.db import OperationalError, connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.db.backends.sqlite3.features import DatabaseFeatures

from shop_payments.conf import ADDRESS_SCOPES, DEFAULT_THROTTLE_RATES
from shop_payments.models.orders import OrderQuerySet
from shop_payments.money import Money
from shop_payments.orders import BundledOrderAdapter, OrderAdapter

HERE = "tests.test_checks"
LIVE = {
    "STRIPE_SECRET_KEY": "sk_live_of_the_tests",
    "STRIPE_PUBLISHABLE_KEY": "pk_live_of_the_tests",
    "STRIPE_TRANSPORT": None,
}
REDIS = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1"}
SHARED = {"default": REDIS}
UNLIMITED = dict.fromkeys(DEFAULT_THROTTLE_RATES)
LIMITED = {"THROTTLE_RATES": {**UNLIMITED, "payment_intent_user": "20/min"}}


def found(**kwargs: Any) -> dict[str, CheckMessage]:
    """What our checks say, by id."""
    by_id = {str(message.id): message for message in run_checks(**kwargs)}
    prefix = "shop_payments."
    return {id_.removeprefix(prefix): by_id[id_] for id_ in by_id if id_.startswith(prefix)}


def only(check_id: str, **kwargs: Any) -> str:
    """The text and the hint of the one message, which has this id."""
    messages = found(**kwargs)
    assert list(messages) == [check_id]
    return f"{messages[check_id].msg}\n{messages[check_id].hint}"


def caches(backend: str) -> dict[str, Any]:
    return {"CACHES": {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}}


def handler(event_pk: int) -> None:
    """For EVENT_HANDLER."""


class NeedsArguments(BundledOrderAdapter):
    def __init__(self, shop: str) -> None:
        self.shop = shop


class HalfAnAdapter(OrderAdapter):
    def number(self, order: Any) -> str:
        return ""


class OrdersOfAReplica(BundledOrderAdapter):
    def get_queryset(self) -> OrderQuerySet:
        return super().get_queryset().using("replica")


class OrdersBeforeMigrating(BundledOrderAdapter):
    """Found: migrate runs the check, and ended in a traceback."""

    def get_queryset(self) -> OrderQuerySet:
        raise OperationalError("no such table: django_site")


class PaymentsElsewhere:
    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "payments" if model._meta.app_label == "shop_payments" else None

    db_for_read = db_for_write


class ReadFromAReplica:
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "replica" if model.__name__ == "PaymentIntent" else None


CASES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    # (id, keys of SHOP_PAYMENTS, other settings, words of the message)
    ("E001", {}, {"SHOP_PAYMENTS": ["sk_test_x"]}, "SHOP_PAYMENTS must be a dict."),
    ("E001", {"STRIPE_SECRTE_KEY": "sk_test_x"}, {}, "STRIPE_SECRET_KEY"),
    ("E001", {"EVENT_HANDLER": f"{HERE}.HERE"}, {}, "['EVENT_HANDLER'] is not callable"),
    ("E001", {"EVENT_HANDLER": "nowhere.at_all"}, {}, "cannot be imported: No module named"),
    ("E001", {"STRIPE_TRANSPORT": 5}, {}, "['STRIPE_TRANSPORT'] is not callable"),
    ("E002", {"STRIPE_SECRET_KEY": "pk_test_x"}, {}, "['STRIPE_SECRET_KEY'] to sk_test_"),
    ("E003", LIVE, {"DEBUG": True}, "DEBUG = False"),
    ("E004", {"STRIPE_PUBLISHABLE_KEY": "pk_live_x"}, {}, "['STRIPE_PUBLISHABLE_KEY']"),
    ("E004", {**LIVE, "STRIPE_PUBLISHABLE_KEY": "pk_test_x"}, {}, "['STRIPE_PUBLISHABLE_KEY']"),
    ("E005", {"STRIPE_WEBHOOK_SECRETS": []}, {}, "['STRIPE_WEBHOOK_SECRETS'] to"),
    ("E006", {**LIVE, "STRIPE_API_BASE": "http://127.0.0.1:12111"}, {}, "['STRIPE_API_BASE']"),
    ("E006", {**LIVE, "STRIPE_TRANSPORT": handler}, {}, "['STRIPE_TRANSPORT']"),
    ("E007", {"ORDER_ADAPTER": ""}, {}, "cannot be imported"),
    ("E007", {"ORDER_ADAPTER": f"{HERE}.Nobody"}, {}, "SHOP_PAYMENTS['ORDER_ADAPTER']"),
    (
        "E007",
        {"ORDER_ADAPTER": "tests.hostshop.adapter.HostOrderAdapter"},
        {},
        "isn't in an application in INSTALLED_APPS",
    ),
    ("E007", {"ORDER_ADAPTER": f"{HERE}.handler"}, {}, "is not a subclass of shop_payments.orders"),
    ("E007", {"ORDER_ADAPTER": f"{HERE}.HalfAnAdapter"}, {}, "line_items, list_for_user, total"),
    ("E007", {"ORDER_ADAPTER": f"{HERE}.NeedsArguments"}, {}, "missing 1 required positional"),
    ("E008", {}, {"SHOP_PAYMENTS_ORDER_MODEL": "nowhere.Order"}, "INSTALLED_APPS"),
    ("E008", {}, {"SHOP_PAYMENTS_ORDER_MODEL": "Order"}, "INSTALLED_APPS"),
    (  # Found: `check` ended in the RuntimeError of a model that is in no installed app.
        "E008",
        {"ORDER_ADAPTER": "tests.hostshop.adapter.HostOrderAdapter"},
        {"SHOP_PAYMENTS_ORDER_MODEL": "hostshop.Order"},
        "INSTALLED_APPS",
    ),
    ("E009", {}, {"SHOP_PAYMENTS_ORDER_MODEL": "auth.User"}, "SHOP_PAYMENTS['ORDER_ADAPTER']"),
    ("E012", {}, {"DATABASE_ROUTERS": [PaymentsElsewhere()]}, "'payments'"),
    ("E012", {}, {"DATABASE_ROUTERS": [ReadFromAReplica()]}, "'default' for the app_label"),
    ("E012", {"ORDER_ADAPTER": f"{HERE}.OrdersOfAReplica"}, {}, "orders to the database 'replica'"),
    ("E013", {**LIMITED, "THROTTLE_CACHE": "x"}, {"CACHES": SHARED}, "['THROTTLE_CACHE'] to an"),
    ("W001", {"STRIPE_WEBHOOK_SECRETS": ["whsec_a", "we_b"]}, {}, "['STRIPE_WEBHOOK_SECRETS']"),
    ("W002", {"STRIPE_API_BASE": "127.0.0.1:12111"}, {}, "http://127.0.0.1"),
    ("W002", {"STRIPE_API_BASE": "http://[::1"}, {}, "http://127.0.0.1"),
    ("W004", LIMITED, caches("locmem.LocMemCache"), "CACHES['default'] to a cache that all"),
    ("W004", LIMITED, caches("dummy.DummyCache"), "DummyCache"),
    *(
        (
            "W005",
            {"THROTTLE_RATES": {**UNLIMITED, scope: "20/min"}},
            {"CACHES": SHARED, "REST_FRAMEWORK": {}},
            "REST_FRAMEWORK['NUM_PROXIES']",
        )
        for scope in sorted(ADDRESS_SCOPES)
    ),
    ("W006", {"READ_TIMEOUT": 25.5}, {}, "['READ_TIMEOUT']"),
    # Nothing to say.
    ("", {"STRIPE_SECRET_KEY": "rk_test_x", "STRIPE_PUBLISHABLE_KEY": ""}, {"DEBUG": True}, ""),
    ("", {"STRIPE_WEBHOOK_SECRETS": "whsec_x", "STRIPE_API_BASE": "http://localhost:1/"}, {}, ""),
    ("", {"CONNECT_TIMEOUT": 5, "READ_TIMEOUT": 25, "INTENT_WAIT_SECONDS": 0}, {}, ""),
    ("", {"EVENT_HANDLER": f"{HERE}.handler", "STRIPE_TRANSPORT": handler}, {}, ""),
    ("", LIVE, {}, ""),
    ("", {"ORDER_ADAPTER": f"{HERE}.OrdersBeforeMigrating"}, {}, ""),
    ("", LIMITED, {"CACHES": {"default": {**REDIS, "LOCATION": "redis://127.0.0.1:1"}}}, ""),
    ("", {"THROTTLE_RATES": None, "THROTTLE_CACHE": "nowhere"}, {}, ""),
    ("", {"THROTTLE_RATES": {}}, {"DEBUG": True, "REST_FRAMEWORK": {}}, ""),
    ("", {"THROTTLE_RATES": {}}, {"CACHES": SHARED, "REST_FRAMEWORK": {"NUM_PROXIES": 0}}, ""),
]


@pytest.mark.parametrize(("check_id", "values", "others", "words"), CASES)
def test_a_setting_is_checked(configure, settings, check_id, values, others, words):
    if values:
        configure(**values)
    for name, value in others.items():
        setattr(settings, name, value)

    assert words in only(check_id) if check_id else found() == {}


class OldAdapter(BundledOrderAdapter):
    def amount_due(self, order: Any) -> Money:
        return self.total(order)


class OldAdapterWithoutTotal(HalfAnAdapter):
    def amount_due(self, order: Any) -> Money:
        return Money(11200, "usd")


class OldAdapterOfUsers(OldAdapter):
    serves_model: ClassVar[Any] = User


@pytest.mark.parametrize(
    ("adapter", "others"),
    [("OldAdapter", []), ("OldAdapterWithoutTotal", ["E007"]), ("OldAdapterOfUsers", ["E009"])],
)
def test_an_adapter_that_still_defines_amount_due_is_an_error(configure, adapter, others):
    """It was what is left to pay in some shops; the total is what the order costs in all."""
    configure(ORDER_ADAPTER=f"{HERE}.{adapter}")

    messages = found()

    assert list(messages) == ["E014", *others]
    assert f"{HERE}.{adapter}' still defines amount_due()" in messages["E014"].msg
    assert "Rename amount_due() to total()" in str(messages["E014"].hint)


# --- databases ----------------------------------------------------------------------------------


class OldFeatures(DatabaseFeatures):
    supports_partial_indexes = False  # as in MySQL


class OldDatabase(DatabaseWrapper):
    features_class = OldFeatures


Connect = Callable[..., DatabaseWrapper]
QUEUED = {"transaction_mode": "IMMEDIATE"}


@pytest.fixture
def connect(django_db_blocker: Any, tmp_path: Path) -> Iterator[Connect]:
    """Put a database beside the project's, under the name ``other``.

    In a file: Django does not close a database in memory.
    """
    name = str(tmp_path / "other.sqlite3")

    def connect(kind: type[DatabaseWrapper] = DatabaseWrapper, **options: str) -> DatabaseWrapper:
        values = {"ENGINE": "django.db.backends.sqlite3", "NAME": name, "OPTIONS": options}
        databases = connections.configure_settings({"default": {}, "other": values})
        connections["other"] = connection = kind(databases["other"], "other")
        return connection

    with django_db_blocker.unblock():
        yield connect
        connections["other"].close()
        del connections["other"]


@pytest.mark.django_db
def test_the_projects_own_database_is_fine():
    assert found(databases=["default"]) == {}


class NoPaymentsHere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return app_label != "shop_payments"


def test_a_database_without_partial_indexes_is_an_error_if_it_holds_payments(connect, settings):
    connect(OldDatabase, **QUEUED)
    assert "PostgreSQL" in only("E010", databases=["other"])

    settings.DATABASE_ROUTERS = [f"{HERE}.NoPaymentsHere"]
    assert found(databases=["other"]) == {}


def test_sqlite_that_does_not_queue_its_writers_is_a_warning(connect):
    connect()

    said = only("W003", databases=["other"])
    assert "DATABASES['other']['OPTIONS']" in said
    assert "'IMMEDIATE', 'timeout': 20}" in said


@pytest.mark.parametrize("table", ["shop_payments_order", "hostshop_order"])
def test_an_order_model_changed_after_migrating_is_an_error(connect, table):
    connection = connect(**QUEUED)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (id integer PRIMARY KEY)")
        cursor.execute(
            "CREATE TABLE shop_payments_orderpayment "
            f"(id integer PRIMARY KEY, order_id integer REFERENCES {table} (id))"
        )

    if table == "shop_payments_order":
        assert found(databases=["other"]) == {}
        return
    said = only("E011", databases=["other"])
    assert "'hostshop_order'" in said
    assert "Restore the old value of SHOP_PAYMENTS_ORDER_MODEL" in said
    assert "migrate shop_payments zero" in said


def test_an_order_model_that_is_not_installed_does_not_break_the_other_checks(tmp_path):
    """Found: `check --database` ended in an AttributeError. The model is settled at import."""
    settings = "from tests.settings import *\nSHOP_PAYMENTS_ORDER_MODEL = 'nowhere.Order'\n"
    (tmp_path / "broken.py").write_text(settings)
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[1])])

    run = subprocess.run(
        [sys.executable, "-m", "django", "check", "--database=default", "--settings=broken"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )

    assert "shop_payments.E008" in run.stderr
    assert "Traceback" not in run.stderr
