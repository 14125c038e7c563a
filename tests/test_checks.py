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
from django.core.checks import CheckMessage, Error, run_checks
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
LIMITED = {**dict.fromkeys(DEFAULT_THROTTLE_RATES), "payment_intent_user": "20/min"}


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


def handler(event_pk: int) -> None:
    """For EVENT_HANDLER."""


NOT_CALLABLE = "something else"


# --- SHOP_PAYMENTS ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check_id", "values", "fix"),
    [
        ("E001", {"STRIPE_SECRTE_KEY": "sk_test_x"}, "STRIPE_SECRET_KEY"),
        ("E001", {"EVENT_HANDLER": f"{HERE}.NOT_CALLABLE"}, "['EVENT_HANDLER'] is not callable"),
        ("E001", {"EVENT_HANDLER": "nowhere.at_all"}, "cannot be imported: No module named"),
        ("E001", {"STRIPE_TRANSPORT": 5}, "['STRIPE_TRANSPORT'] is not callable"),
        ("E002", {"STRIPE_SECRET_KEY": "pk_test_x"}, "['STRIPE_SECRET_KEY'] to sk_test_"),
        ("E004", {"STRIPE_PUBLISHABLE_KEY": "pk_live_x"}, "['STRIPE_PUBLISHABLE_KEY']"),
        ("E004", {**LIVE, "STRIPE_PUBLISHABLE_KEY": "pk_test_x"}, "['STRIPE_PUBLISHABLE_KEY']"),
        ("E005", {"STRIPE_WEBHOOK_SECRETS": []}, "['STRIPE_WEBHOOK_SECRETS'] to"),
        ("E006", {**LIVE, "STRIPE_API_BASE": "http://127.0.0.1:12111"}, "['STRIPE_API_BASE']"),
        ("E006", {**LIVE, "STRIPE_TRANSPORT": handler}, "['STRIPE_TRANSPORT']"),
        ("W001", {"STRIPE_WEBHOOK_SECRETS": ["whsec_a", "we_b"]}, "['STRIPE_WEBHOOK_SECRETS']"),
        ("W002", {"STRIPE_API_BASE": "127.0.0.1:12111"}, "http://127.0.0.1"),
        ("W002", {"STRIPE_API_BASE": "http://[::1"}, "http://127.0.0.1"),
        ("W006", {"READ_TIMEOUT": 25.5}, "['READ_TIMEOUT']"),
    ],
)
def test_it_names_the_fix(configure, check_id, values, fix):
    configure(**values)

    assert fix in only(check_id)


@pytest.mark.parametrize(
    "values",
    [
        {"STRIPE_SECRET_KEY": "rk_test_x", "STRIPE_PUBLISHABLE_KEY": ""},
        {"STRIPE_WEBHOOK_SECRETS": "whsec_x", "STRIPE_API_BASE": "http://localhost:12111/"},
        {"CONNECT_TIMEOUT": 5, "READ_TIMEOUT": 25, "INTENT_WAIT_SECONDS": 0},
        {"EVENT_HANDLER": f"{HERE}.handler", "STRIPE_TRANSPORT": handler},
        LIVE,
    ],
)
def test_it_has_nothing_to_say_of_good_settings(configure, values):
    configure(**values)

    assert found() == {}


def test_a_live_key_with_debug_is_an_error(configure, settings):
    settings.DEBUG = True
    assert found() == {}

    configure(**LIVE)

    assert "DEBUG = False" in only("E003")


def test_a_setting_that_is_not_a_dict_is_one_error(settings):
    settings.SHOP_PAYMENTS = ["sk_test_x"]

    assert "SHOP_PAYMENTS must be a dict." in only("E001")


# --- throttles ----------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "dummy.DummyCache"])
def test_throttles_with_a_cache_per_process_are_a_warning(configure, settings, backend):
    settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}
    configure(THROTTLE_RATES=LIMITED)

    said = only("W004")
    assert backend.partition(".")[2] in said
    assert "CACHES['default'] to a cache that all processes share" in said


def test_throttles_with_a_shared_cache_are_fine_and_it_is_not_contacted(configure, settings):
    """Nothing listens on port 1."""
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "shared": {**REDIS, "LOCATION": "redis://127.0.0.1:1"},
    }
    configure(THROTTLE_RATES=LIMITED, THROTTLE_CACHE="shared")

    assert found() == {}


def test_without_throttles_the_cache_does_not_matter(configure):
    configure(THROTTLE_RATES=None, THROTTLE_CACHE="nowhere")

    assert found() == {}


def test_a_developer_may_count_in_one_process(configure, settings):
    settings.DEBUG = True
    settings.REST_FRAMEWORK = {}
    configure(THROTTLE_RATES={})

    assert found() == {}


def test_throttles_without_a_cache_are_an_error(configure, settings):
    settings.CACHES = {"default": REDIS}
    configure(THROTTLE_RATES=LIMITED, THROTTLE_CACHE="shared")

    said = only("E013")
    assert "'shared' doesn't exist" in said
    assert "SHOP_PAYMENTS['THROTTLE_CACHE'] to an alias of CACHES" in said


@pytest.mark.parametrize("scope", sorted(ADDRESS_SCOPES))
def test_addresses_that_callers_choose_are_a_warning(configure, settings, scope):
    settings.CACHES = {"default": REDIS}
    settings.REST_FRAMEWORK = {}
    configure(THROTTLE_RATES={**dict.fromkeys(DEFAULT_THROTTLE_RATES), scope: "20/min"})
    assert "REST_FRAMEWORK['NUM_PROXIES']" in only("W005")

    settings.REST_FRAMEWORK = {"NUM_PROXIES": 0}

    assert found() == {}


# --- the order model ----------------------------------------------------------------------------


class NeedsArguments(BundledOrderAdapter):
    def __init__(self, shop: str) -> None:
        self.shop = shop


class HalfAnAdapter(OrderAdapter):
    def number(self, order: Any) -> str:
        return ""


class OldAdapter(BundledOrderAdapter):
    def amount_due(self, order: Any) -> Money:
        return self.total(order)


class OldAdapterWithoutTotal(HalfAnAdapter):
    def amount_due(self, order: Any) -> Money:
        return Money(11200, "usd")


class OldAdapterOfUsers(OldAdapter):
    serves_model: ClassVar[Any] = User


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "cannot be imported"),
        (f"{HERE}.Nobody", "cannot be imported"),
        ("tests.hostshop.adapter.HostOrderAdapter", "isn't in an application in INSTALLED_APPS"),
        (f"{HERE}.handler", "is not a subclass of shop_payments.orders.OrderAdapter"),
        (f"{HERE}.HalfAnAdapter", "does not define line_items, list_for_user, total"),
        (f"{HERE}.NeedsArguments", "missing 1 required positional argument"),
    ],
)
def test_an_adapter_that_does_not_work_is_an_error(configure, path, problem):
    configure(ORDER_ADAPTER=path)

    said = only("E007")
    assert problem in said
    assert "SHOP_PAYMENTS['ORDER_ADAPTER']" in said


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
    assert "return what the order costs in all" in str(messages["E014"].hint)


@pytest.mark.parametrize("label", ["nowhere.Order", "shop_payments.Nothing", "Order"])
def test_an_order_model_that_is_not_installed_is_an_error(settings, label):
    settings.SHOP_PAYMENTS_ORDER_MODEL = label

    assert "INSTALLED_APPS" in only("E008")


def test_an_order_model_that_is_not_installed_is_reported_whatever_its_adapter_imports(
    configure, settings
):
    """Found: `check` ended in the RuntimeError of a model that is in no installed app."""
    configure(ORDER_ADAPTER="tests.hostshop.adapter.HostOrderAdapter")
    settings.SHOP_PAYMENTS_ORDER_MODEL = "hostshop.Order"

    assert only("E008")


def test_an_adapter_of_another_model_is_an_error(settings):
    settings.SHOP_PAYMENTS_ORDER_MODEL = "auth.User"

    assert "SHOP_PAYMENTS['ORDER_ADAPTER']" in only("E009")


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


def test_a_database_without_partial_indexes_is_an_error(connect):
    connect(OldDatabase, **QUEUED)

    assert "PostgreSQL" in only("E010", databases=["other"])
    assert isinstance(found(databases=["other"])["E010"], Error)


class NoPaymentsHere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return app_label != "shop_payments"


def test_a_database_that_holds_no_payments_may_be_of_any_kind(connect, settings):
    connect(OldDatabase)
    settings.DATABASE_ROUTERS = [f"{HERE}.NoPaymentsHere"]

    assert found(databases=["other"]) == {}


class PaymentsElsewhere:
    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "payments" if model._meta.app_label == "shop_payments" else None

    db_for_read = db_for_write


class ReadFromAReplica:
    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "replica" if model.__name__ == "PaymentIntent" else None


class OthersElsewhere:
    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default" if model._meta.app_label == "shop_payments" else "legacy"

    db_for_read = db_for_write


@pytest.mark.parametrize(
    ("router", "alias"), [(PaymentsElsewhere, "payments"), (ReadFromAReplica, "replica")]
)
def test_payments_that_are_read_or_written_elsewhere_are_an_error(settings, router, alias):
    settings.DATABASE_ROUTERS = [router()]

    said = only("E012")
    assert repr(alias) in said
    assert "'default' for the app_label 'shop_payments'" in said


def test_a_router_that_leaves_payments_in_the_default_database_is_fine(settings):
    settings.DATABASE_ROUTERS = [OthersElsewhere()]

    assert found() == {}


class OrdersOfAReplica(BundledOrderAdapter):
    def get_queryset(self) -> OrderQuerySet:
        return super().get_queryset().using("replica")


def test_orders_that_are_read_from_a_replica_are_an_error(configure):
    configure(ORDER_ADAPTER=f"{HERE}.OrdersOfAReplica")

    said = only("E012")
    assert "send orders to the database 'replica'" in said
    assert ".using('default')" in said


class OrdersThatCannotBeAskedForYet(BundledOrderAdapter):
    def get_queryset(self) -> OrderQuerySet:
        raise OperationalError("no such table: django_site")


def test_an_adapter_that_needs_its_tables_does_not_keep_them_from_being_made(configure):
    """Found: migrate runs the check, and ended in a traceback."""
    configure(ORDER_ADAPTER=f"{HERE}.OrdersThatCannotBeAskedForYet")

    assert found() == {}


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

    assert found(databases=["other"]) == {}


def migrate_by_hand(connection: DatabaseWrapper, order_table: str) -> None:
    for statement in (
        f"CREATE TABLE {order_table} (id integer PRIMARY KEY)",
        "CREATE TABLE shop_payments_orderpayment "
        f"(id integer PRIMARY KEY, order_id integer REFERENCES {order_table} (id))",
    ):
        with connection.cursor() as cursor:
            cursor.execute(statement)


def test_an_order_model_changed_after_migrating_is_an_error(connect):
    migrate_by_hand(connect(**QUEUED), "hostshop_order")

    messages = found(databases=["other"])

    assert list(messages) == ["E011"]
    assert "'hostshop_order'" in messages["E011"].msg
    assert "Restore the old value of SHOP_PAYMENTS_ORDER_MODEL" in str(messages["E011"].hint)
    assert "migrate shop_payments zero" in str(messages["E011"].hint)


def test_an_order_model_as_migrated_is_fine(connect):
    migrate_by_hand(connect(**QUEUED), "shop_payments_order")

    assert found(databases=["other"]) == {}


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
