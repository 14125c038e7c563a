"""Each system check speaks up for its reason, names the fix, and is silent otherwise."""

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

LIVE = {
    "STRIPE_SECRET_KEY": "sk_live_of_the_tests",
    "STRIPE_PUBLISHABLE_KEY": "pk_live_of_the_tests",
    "STRIPE_TRANSPORT": None,
}


def found(**kwargs: Any) -> dict[str, CheckMessage]:
    """What our checks say, by id."""
    messages = [message for message in run_checks(**kwargs) if message.id is not None]
    return {
        message.id.removeprefix("shop_payments."): message
        for message in messages
        if message.id is not None and message.id.startswith("shop_payments.")
    }


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


def handler(event_pk: int) -> None:
    """For EVENT_HANDLER."""


NOT_CALLABLE = "something else"
HERE = "tests.test_checks"


# --- SHOP_PAYMENTS ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check_id", "values", "fix"),
    [
        ("E001", {"STRIPE_SECRTE_KEY": "sk_test_x"}, "STRIPE_SECRET_KEY"),
        ("E002", {"STRIPE_SECRET_KEY": ""}, "['STRIPE_SECRET_KEY'] to sk_test_"),
        ("E002", {"STRIPE_SECRET_KEY": "pk_test_x"}, "['STRIPE_SECRET_KEY'] to sk_test_"),
        ("E004", {"STRIPE_PUBLISHABLE_KEY": "pk_live_x"}, "['STRIPE_PUBLISHABLE_KEY']"),
        ("E004", {**LIVE, "STRIPE_PUBLISHABLE_KEY": "pk_test_x"}, "['STRIPE_PUBLISHABLE_KEY']"),
        ("E005", {"STRIPE_WEBHOOK_SECRETS": []}, "['STRIPE_WEBHOOK_SECRETS'] to"),
        ("E006", {**LIVE, "STRIPE_API_BASE": "http://127.0.0.1:12111"}, "['STRIPE_API_BASE']"),
        ("E006", {**LIVE, "STRIPE_TRANSPORT": handler}, "['STRIPE_TRANSPORT']"),
        ("W001", {"STRIPE_WEBHOOK_SECRETS": ["whsec_a", "we_b"]}, "['STRIPE_WEBHOOK_SECRETS']"),
        ("W002", {"STRIPE_API_BASE": "https://stripe.example"}, "['STRIPE_API_BASE']"),
        ("W002", {"STRIPE_API_BASE": "127.0.0.1:12111"}, "http://127.0.0.1"),
        ("W002", {"STRIPE_API_BASE": "http://[::1"}, "http://127.0.0.1"),
        ("W006", {"READ_TIMEOUT": 25.5}, "['READ_TIMEOUT']"),
        ("W006", {"CONNECT_TIMEOUT": 12, "READ_TIMEOUT": 20}, "silence this check"),
    ],
)
def test_it_names_the_fix(configure, check_id, values, fix):
    configure(**values)

    messages = found()

    assert list(messages) == [check_id]
    assert fix in str(messages[check_id].hint)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"STRIPE_SECRET_KEY": "rk_test_x", "STRIPE_PUBLISHABLE_KEY": ""},
        {"STRIPE_WEBHOOK_SECRETS": "whsec_x", "STRIPE_API_BASE": "http://localhost:12111/"},
        {"CONNECT_TIMEOUT": 3, "INTENT_WAIT_SECONDS": 0, "MAX_NETWORK_RETRIES": 0},
        {"CONNECT_TIMEOUT": 5, "READ_TIMEOUT": 25, "MAX_NETWORK_RETRIES": 1},
        {"EVENT_HANDLER": f"{HERE}.handler", "STRIPE_TRANSPORT": handler},
        LIVE,
    ],
)
def test_it_has_nothing_to_say_of_good_settings(configure, values):
    configure(**values)

    assert found() == {}


def test_a_live_key_with_debug_is_an_error(configure, settings):
    configure(**LIVE)
    settings.DEBUG = True

    messages = found()

    assert list(messages) == ["E003"]
    assert "DEBUG = False" in str(messages["E003"].hint)


def test_a_test_key_with_debug_is_not(settings):
    settings.DEBUG = True

    assert found() == {}


@pytest.mark.parametrize("value", [None, "sk_test_x", ["sk_test_x"]])
def test_a_setting_that_is_not_a_dict_is_one_error(settings, value):
    settings.SHOP_PAYMENTS = value

    assert {check_id: message.msg for check_id, message in found().items()} == {
        "E001": "SHOP_PAYMENTS must be a dict."
    }


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("STRIPE_SECRET_KEY", 1, "must be a string"),
        ("STRIPE_WEBHOOK_SECRETS", {"whsec_x"}, "must be a string or a list of strings"),
        ("CONNECT_TIMEOUT", "5", "must be a number"),
        ("READ_TIMEOUT", 0, "must be more than 0"),
        ("READ_TIMEOUT", float("nan"), "must be more than 0"),
        ("READ_TIMEOUT", True, "must be a number"),
        ("MAX_NETWORK_RETRIES", 1.5, "must be a whole number"),
        ("MAX_NETWORK_RETRIES", -1, "must be 0 or 1"),
        ("MAX_NETWORK_RETRIES", 2, "must be 0 or 1"),
        ("INTENT_WAIT_SECONDS", -1, "must be 0 or more"),
        ("WEBHOOK_TOLERANCE", 0, "must be more than 0"),
        ("PAGE_SIZE", None, "must be a whole number"),
        ("ABANDONED_AFTER_DAYS", 0, "must be from 1 to 36500"),
        ("ABANDONED_AFTER_DAYS", 1_000_000, "must be from 1 to 36500"),
        ("BROWSABLE_API", "false", "must be True or False"),
        ("EVENT_HANDLER", handler, "must be a string"),
        ("EVENT_HANDLER", f"{HERE}.NOT_CALLABLE", "is not callable"),
        ("EVENT_HANDLER", "nowhere.at_all", "cannot be imported: No module named 'nowhere'"),
        ("STRIPE_TRANSPORT", "nowhere.at_all", "cannot be imported: No module named 'nowhere'"),
        ("STRIPE_TRANSPORT", 5, "is not callable"),
        ("THROTTLE_RATES", "20/min", "must be a dict or None"),
        ("THROTTLE_CACHE", None, "must be a string"),
    ],
)
def test_a_value_of_the_wrong_kind_is_an_error_that_names_the_key(configure, key, value, problem):
    configure(**{key: value})

    messages = found()

    assert list(messages) == ["E001"]
    assert messages["E001"].msg == f"SHOP_PAYMENTS['{key}'] {problem}."
    assert key in str(messages["E001"].hint)


# --- throttles ----------------------------------------------------------------------------------

REDIS = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1"}
LIMITED = {**dict.fromkeys(DEFAULT_THROTTLE_RATES), "payment_intent_user": "20/min"}


RATES = ["", "20", "20/", "/min", "20/month", "20/minutes", "0/min", "-1/min", "1.5/min", "1/min\n"]


@pytest.mark.parametrize("rate", [*RATES, " 1/min", "٣/min", 5, True, ["20/min"]], ids=repr)
def test_a_malformed_rate_is_an_error_that_names_the_scope(configure, rate):
    configure(THROTTLE_RATES={"orders_user": rate})

    messages = found()

    assert list(messages) == ["E001"]
    assert "['THROTTLE_RATES']['orders_user'] must be a number per second" in messages["E001"].msg
    assert "like '20/min', or None" in messages["E001"].msg


def test_an_unknown_scope_is_an_error_that_names_those_that_there_are(configure):
    configure(THROTTLE_RATES={"payment_intent_usr": None, 5: "1/min"})

    messages = found()

    assert list(messages) == ["E001"]
    assert "unknown scopes: 5, payment_intent_usr; there are failed_authentication," in (
        messages["E001"].msg
    )


@pytest.mark.parametrize("backend", ["locmem.LocMemCache", "dummy.DummyCache"])
def test_throttles_with_a_cache_per_process_are_a_warning(configure, settings, backend):
    settings.CACHES = {"default": {"BACKEND": f"django.core.cache.backends.{backend}"}}
    configure(THROTTLE_RATES=LIMITED)

    messages = found()

    assert list(messages) == ["W004"]
    assert backend.partition(".")[2] in messages["W004"].msg
    assert "CACHES['default'] to a cache that all processes share" in str(messages["W004"].hint)


def test_throttles_with_a_shared_cache_are_fine_and_nobody_asks_it(configure, settings):
    """Nothing listens at port 1."""
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

    messages = found()

    assert list(messages) == ["E013"]
    assert "'shared' doesn't exist" in messages["E013"].msg
    assert "SHOP_PAYMENTS['THROTTLE_CACHE'] to an alias of CACHES" in str(messages["E013"].hint)


@pytest.mark.parametrize("scope", sorted(ADDRESS_SCOPES))
def test_addresses_that_callers_choose_are_a_warning(configure, settings, scope):
    settings.CACHES = {"default": REDIS}
    settings.REST_FRAMEWORK = {}
    configure(THROTTLE_RATES={**dict.fromkeys(DEFAULT_THROTTLE_RATES), scope: "20/min"})

    messages = found()

    assert list(messages) == ["W005"]
    assert "REST_FRAMEWORK['NUM_PROXIES']" in str(messages["W005"].hint)


@pytest.mark.parametrize("proxies", [0, 2])
def test_a_known_number_of_proxies_is_fine(configure, settings, proxies):
    settings.CACHES = {"default": REDIS}
    settings.REST_FRAMEWORK = {"NUM_PROXIES": proxies}
    configure(THROTTLE_RATES={})

    assert found() == {}


# --- the order model ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("", "cannot be imported"),
        ("nowhere.Adapter", "cannot be imported"),
        (f"{HERE}.Nobody", "cannot be imported"),
        ("tests.hostshop.adapter.HostOrderAdapter", "isn't in an application in INSTALLED_APPS"),
        (f"{HERE}.handler", "is not a subclass of shop_payments.orders.OrderAdapter"),
        ("shop_payments.models.Order", "is not a subclass of shop_payments.orders.OrderAdapter"),
        (f"{HERE}.HalfAnAdapter", "does not define line_items, list_for_user, total"),
        (f"{HERE}.NeedsArguments", "missing 1 required positional argument"),
    ],
)
def test_an_adapter_that_does_not_work_is_an_error(configure, path, problem):
    configure(ORDER_ADAPTER=path)

    messages = found()

    assert list(messages) == ["E007"]
    assert problem in messages["E007"].msg
    assert "SHOP_PAYMENTS['ORDER_ADAPTER']" in str(messages["E007"].hint)


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
    assert "what the order costs in all, not what is left to pay" in str(messages["E014"].hint)


@pytest.mark.parametrize("label", ["nowhere.Order", "shop_payments.Nothing", "Order"])
def test_an_order_model_that_is_not_installed_is_an_error(settings, label):
    settings.SHOP_PAYMENTS_ORDER_MODEL = label

    messages = found()

    assert list(messages) == ["E008"]
    assert "INSTALLED_APPS" in str(messages["E008"].hint)


def test_an_order_model_that_is_not_installed_is_an_error_whatever_its_adapter_imports(
    configure, settings
):
    """Found: `check` ended in the RuntimeError of a model that is in no installed app."""
    configure(ORDER_ADAPTER="tests.hostshop.adapter.HostOrderAdapter")
    settings.SHOP_PAYMENTS_ORDER_MODEL = "hostshop.Order"

    assert list(found()) == ["E008"]


def test_an_adapter_of_another_model_is_an_error(settings):
    settings.SHOP_PAYMENTS_ORDER_MODEL = "auth.User"

    messages = found()

    assert list(messages) == ["E009"]
    assert "SHOP_PAYMENTS['ORDER_ADAPTER']" in str(messages["E009"].hint)


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

    messages = found(databases=["other"])

    assert list(messages) == ["E010"]
    assert isinstance(messages["E010"], Error)
    assert "PostgreSQL" in str(messages["E010"].hint)


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

    messages = found()

    assert list(messages) == ["E012"]
    assert repr(alias) in messages["E012"].msg
    assert "'default' for the app_label 'shop_payments'" in str(messages["E012"].hint)


class OrdersOfAReplica(BundledOrderAdapter):
    def get_queryset(self) -> OrderQuerySet:
        return super().get_queryset().using("replica")


def test_orders_that_are_read_from_a_replica_are_an_error(configure):
    """Found: who had sent payments to the right database was left to read old orders."""
    configure(ORDER_ADAPTER=f"{HERE}.OrdersOfAReplica")

    messages = found()

    assert list(messages) == ["E012"]
    assert "send orders to the database 'replica'" in messages["E012"].msg
    assert ".using('default')" in str(messages["E012"].hint)


class OrdersThatCannotBeAskedForYet(BundledOrderAdapter):
    def get_queryset(self) -> OrderQuerySet:
        raise OperationalError("no such table: django_site")


def test_an_adapter_that_needs_its_tables_does_not_keep_them_from_being_made(configure):
    """migrate ran the check, and died of it."""
    configure(ORDER_ADAPTER=f"{HERE}.OrdersThatCannotBeAskedForYet")

    assert found() == {}


def test_a_router_that_leaves_payments_in_the_default_database_is_fine(settings):
    settings.DATABASE_ROUTERS = [OthersElsewhere()]

    assert found() == {}


def test_sqlite_that_does_not_queue_its_writers_is_a_warning(connect):
    connect()

    messages = found(databases=["other"])

    assert list(messages) == ["W003"]
    assert "DATABASES['other']['OPTIONS']" in str(messages["W003"].hint)
    assert "'IMMEDIATE', 'timeout': 20}" in str(messages["W003"].hint)


def test_sqlite_that_queues_its_writers_is_fine(connect):
    connect(**QUEUED)

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
    assert "SHOP_PAYMENTS_ORDER_MODEL back" in str(messages["E011"].hint)
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
