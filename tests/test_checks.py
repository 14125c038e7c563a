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

from shop_payments.conf import DEFAULT_THROTTLE_RATES
from shop_payments.models.orders import OrderQuerySet
from shop_payments.money import Money
from shop_payments.orders import BundledOrderAdapter, OrderAdapter

HERE = __name__
LIVE = {
    "STRIPE_SECRET_KEY": "sk_live_of_the_tests",
    "STRIPE_PUBLISHABLE_KEY": "pk_live_of_the_tests",
    "STRIPE_TRANSPORT": None,
}
REDIS = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1"}
SHARED = {"default": REDIS}
LOCAL = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
UNLIMITED = dict.fromkeys(DEFAULT_THROTTLE_RATES)
API = "shop_payments.api"
LIMITED = {"THROTTLE_RATES": {**UNLIMITED, "payment_intent_user": "20/min"}}
BY_ADDRESS = {"THROTTLE_RATES": {**UNLIMITED, "payment_intent_address": "20/min"}}
HOST_ADAPTER = "tests.hostshop.adapter.HostOrderAdapter"
HOST_ORDER = {"SHOP_PAYMENTS_ORDER_MODEL": "hostshop.Order"}


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


class CreatedOnADay(BundledOrderAdapter):
    created_field = "currency"


class WithoutThatNumber(BundledOrderAdapter):
    number_field = "customer__username"


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
    ("E002", {"STRIPE_SECRET_KEY": "pk_test_x"}, {}, "['STRIPE_SECRET_KEY'] to sk_test_"),
    ("E002", {"STRIPE_SECRET_KEY": ""}, {}, "For the sandbox, use sk_test_sandbox"),
    ("E003", LIVE, {"DEBUG": True}, "DEBUG = False"),
    ("E004", {"STRIPE_PUBLISHABLE_KEY": "pk_live_x"}, {}, "['STRIPE_PUBLISHABLE_KEY']"),
    ("E005", {"STRIPE_WEBHOOK_SECRETS": []}, {}, "['STRIPE_WEBHOOK_SECRETS'] to"),
    ("E005", {"STRIPE_WEBHOOK_SECRETS": []}, {}, "of its option --webhook-secret"),
    ("E006", {**LIVE, "STRIPE_API_BASE": "http://127.0.0.1:12111"}, {}, "['STRIPE_API_BASE']"),
    ("E006", {**LIVE, "STRIPE_TRANSPORT": handler}, {}, "['STRIPE_TRANSPORT']"),
    ("E020", {"STRIPE_JS_URL": "https://cdn.example/stripe.js"}, {}, "['STRIPE_JS_URL'], or"),
    ("E020", {**LIVE, "STRIPE_JS_URL": "http://127.0.0.1:12111/v3/"}, {}, "is not Stripe's script"),
    ("E007", {"ORDER_ADAPTER": HOST_ADAPTER}, {}, "isn't in an application in INSTALLED_APPS"),
    ("E007", {"ORDER_ADAPTER": f"{HERE}.handler"}, {}, "is not a subclass of shop_payments.orders"),
    ("E007", {"ORDER_ADAPTER": f"{HERE}.HalfAnAdapter"}, {}, "line_items, list_for_user, total"),
    ("E007", {"ORDER_ADAPTER": f"{HERE}.NeedsArguments"}, {}, "missing 1 required positional"),
    ("E008", {}, {"SHOP_PAYMENTS_ORDER_MODEL": "nowhere.Order"}, "INSTALLED_APPS"),
    # Found: `check` ended in the RuntimeError of a model that is in no installed app.
    ("E008", {"ORDER_ADAPTER": HOST_ADAPTER}, HOST_ORDER, "INSTALLED_APPS"),
    ("E009", {}, {"SHOP_PAYMENTS_ORDER_MODEL": "auth.User"}, "SHOP_PAYMENTS['ORDER_ADAPTER']"),
    ("E012", {}, {"DATABASE_ROUTERS": [PaymentsElsewhere()]}, "'payments'"),
    ("E012", {}, {"DATABASE_ROUTERS": [ReadFromAReplica()]}, "'default' for the app_label"),
    ("E012", {"ORDER_ADAPTER": f"{HERE}.OrdersOfAReplica"}, {}, "orders to the database 'replica'"),
    ("E013", {**LIMITED, "THROTTLE_CACHE": "x"}, {"CACHES": SHARED}, "['THROTTLE_CACHE'] to an"),
    ("W001", {"STRIPE_WEBHOOK_SECRETS": ["whsec_a", "we_b"]}, {}, "['STRIPE_WEBHOOK_SECRETS']"),
    ("W002", {"STRIPE_API_BASE": "http://[::1"}, {}, "http://127.0.0.1"),
    ("W004", LIMITED, {"CACHES": LOCAL}, "CACHES['default'] to a cache that all"),
    ("W005", BY_ADDRESS, {"CACHES": SHARED, "REST_FRAMEWORK": {}}, "REST_FRAMEWORK['NUM_PROXIES']"),
    ("W006", {"READ_TIMEOUT": 25.5}, {}, "['READ_TIMEOUT']"),
    ("E021", {"STRIPE_PUBLISHABLE_KEY": ""}, {}, "['STRIPE_PUBLISHABLE_KEY'] to pk_test_"),
    ("E021", {"STRIPE_PUBLISHABLE_KEY": ""}, {}, "For the sandbox, use pk_test_sandbox"),
    ("E022", {"ORDER_ADAPTER": f"{HERE}.CreatedOnADay"}, {}, "a DateTimeField that is never NULL"),
    ("E022", {"ORDER_ADAPTER": f"{HERE}.WithoutThatNumber"}, {}, "the name of a field of shop_pay"),
    ("W008", {"STRIPE_PUBLISHABLE_KEY": ""}, {"ROOT_URLCONF": f"{API}.urls"}, "include("),
    # Nothing to say.
    ("", {"STRIPE_SECRET_KEY": "rk_test_x"}, {"DEBUG": True}, ""),
    ("", {"STRIPE_WEBHOOK_SECRETS": "whsec_x", "STRIPE_API_BASE": "http://localhost:1/"}, {}, ""),
    ("", {"CONNECT_TIMEOUT": 5, "READ_TIMEOUT": 25, "INTENT_WAIT_SECONDS": 0}, {}, ""),
    ("", {"EVENT_HANDLER": f"{HERE}.handler", "STRIPE_TRANSPORT": handler}, {}, ""),
    ("", LIVE, {}, ""),
    ("", {"ORDER_ADAPTER": f"{HERE}.OrdersBeforeMigrating"}, {}, ""),
    ("", {"THROTTLE_RATES": None, "THROTTLE_CACHE": "nowhere"}, {}, ""),
    ("", {"THROTTLE_RATES": {}}, {"CACHES": SHARED, "REST_FRAMEWORK": {"NUM_PROXIES": 0}}, ""),
]


@pytest.mark.parametrize(("check_id", "values", "others", "words"), CASES)
def test_a_setting_is_checked(configure, settings, check_id, values, others, words):
    if values:
        configure(**values)
    for name, value in others.items():
        setattr(settings, name, value)

    assert words in only(check_id) if check_id else found() == {}


class WholeAdapter(HalfAnAdapter):
    line_items = list_for_user = total = HalfAnAdapter.number  # type: ignore[assignment]


@pytest.mark.django_db
@pytest.mark.parametrize("label", ["nowhere.Order", "shop_payments.models.Order"])
def test_the_adapter_is_not_blamed_for_a_model_that_is_not_found(configure, settings, label):
    configure(ORDER_ADAPTER=f"{HERE}.WholeAdapter")
    settings.SHOP_PAYMENTS_ORDER_MODEL = label
    assert "Write SHOP_PAYMENTS_ORDER_MODEL" in only("E008", databases=["default"])


class OldAdapter(HalfAnAdapter):
    def amount_due(self, order: Any) -> Money:
        return Money(11200, "usd")


class OldAdapterOfUsers(BundledOrderAdapter):
    serves_model: ClassVar[Any] = User
    amount_due = OldAdapter.amount_due


def test_an_adapter_that_still_defines_amount_due_is_an_error(configure):
    """It was what is left to pay in some shops; the total is what the order costs in all."""
    for adapter, other in (("OldAdapter", "E007"), ("OldAdapterOfUsers", "E009")):
        configure(ORDER_ADAPTER=f"{HERE}.{adapter}")
        messages = found()
        assert list(messages) == ["E014", other]
        assert f"{HERE}.{adapter}' still defines amount_due()" in messages["E014"].msg
        assert "Rename amount_due() to total()" in str(messages["E014"].hint)


# --- databases ----------------------------------------------------------------------------------


class OldDatabase(DatabaseWrapper):
    class features_class(DatabaseFeatures):
        supports_partial_indexes = False  # as in MySQL


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


class NoPaymentsHere:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return app_label != "shop_payments"


def test_a_database_without_partial_indexes_is_an_error_if_it_holds_payments(connect, settings):
    connect(OldDatabase, **QUEUED)
    assert "PostgreSQL" in only("E010", databases=["other"])

    settings.DATABASE_ROUTERS = [f"{HERE}.NoPaymentsHere"]
    assert found(databases=["other"]) == {}


@pytest.mark.django_db
def test_sqlite_that_does_not_queue_its_writers_is_a_warning(connect):
    connect()

    assert found(databases=["default"]) == {}
    said = only("W003", databases=["other"])
    assert "DATABASES['other']['OPTIONS']" in said
    assert "'IMMEDIATE', 'timeout': 20}" in said


@pytest.mark.parametrize("table", ["shop_payments_order", "hostshop_order"])
def test_an_order_model_changed_after_migrating_is_an_error(connect, table):
    column = f"order_id integer REFERENCES {table} (id)"
    with connect(**QUEUED).cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (id integer PRIMARY KEY)")
        cursor.execute(f"CREATE TABLE shop_payments_orderpayment (id integer, {column})")

    if table == "shop_payments_order":
        assert found(databases=["other"]) == {}
        return
    said = only("E011", databases=["other"])
    assert "'hostshop_order'" in said
    assert "Restore the old value of SHOP_PAYMENTS_ORDER_MODEL" in said
    assert "migrate shop_payments zero" in said


# --- projects of their own ------------------------------------------------------------------------

APP = {
    "shop/__init__.py": "",
    "shop/models.py": """
from django.db import models

class Order(models.Model):
    total = models.IntegerField()
""",
}
MIGRATIONS = {
    "shop/migrations/__init__.py": "",
    "shop/migrations/0001_initial.py": """
from django.db import migrations

class Migration(migrations.Migration):
    initial = True
""",
    "shop/migrations/0002_order.py": """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("shop", "0001_initial")]
    operations = [
        migrations.CreateModel("Purchase", [("id", models.BigAutoField(primary_key=True))]),
        migrations.RenameModel("Purchase", "Order"),
    ]
""",
}


def say(directory: Path, label: str, files: dict[str, str], *command: str) -> str:
    """Run a command in a project with this order model; return what it writes.

    In a process of its own, because the order model is settled at import.
    """
    apps = "INSTALLED_APPS = [*INSTALLED_APPS, 'shop']\n" if files else ""
    settings = f"from tests.settings import *\n{apps}SHOP_PAYMENTS_ORDER_MODEL = {label!r}\n"
    for name, text in {**files, "broken.py": settings}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    path = os.pathsep.join([str(directory), str(Path(__file__).parents[1])])
    run = subprocess.run(
        [sys.executable, "-m", "django", *command, "--settings=broken"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in run.stderr, run.stderr
    return run.stdout + run.stderr


CHECK = ("check", "--database=default")


def test_an_order_model_that_is_not_installed_does_not_break_the_other_checks(tmp_path):
    """Found: `check --database` ended in an AttributeError."""
    assert "shop_payments.E008" in say(tmp_path, "nowhere.Order", {}, *CHECK)


def test_an_order_model_with_two_dots_does_not_keep_django_from_starting(tmp_path):
    """Found: each command ended in a ValueError of Django's, which names no setting."""
    said = say(tmp_path, "shop.models.Order", {**APP, **MIGRATIONS}, "migrate")

    assert "Write SHOP_PAYMENTS_ORDER_MODEL = 'shop.Order'" in said


def test_a_later_migration_of_the_order_needs_run_before(tmp_path):
    said = say(tmp_path, "shop.Order", {**APP, **MIGRATIONS}, *CHECK)

    file = tmp_path / "shop/migrations/0002_order.py"
    assert "(shop_payments.E015) The migration '0002_order' of 'shop', which creates" in said
    assert "Add run_before = [('shop_payments', '0001_initial')] to the class Migration" in said
    assert f"in {file}, below line 4" in said


def test_the_order_needs_migrations(tmp_path):
    said = say(tmp_path, "shop.Order", APP, *CHECK)

    assert "Run 'manage.py makemigrations shop', then 'manage.py migrate'." in said
