"""System checks. Each message names the exact fix. The ids are stable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS, connections, router
from django.db.models import DateTimeField
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string
from rest_framework.settings import api_settings

from shop_payments.conf import (
    ADDRESS_SCOPES,
    LIVE_KEY_PREFIXES,
    STRIPE_API_BASE,
    TEST_KEY_PREFIXES,
    Config,
    default_stripe_js_url,
    get_config,
    is_this_machine,
    order_model_label,
    order_model_reference,
)
from shop_payments.database_checks import check_adapter, check_order_migration, check_tables
from shop_payments.exceptions import ConfigurationError
from shop_payments.orders import OrderAdapter, get_order_adapter

_Apps = Sequence[AppConfig] | None


@register()
def check_settings(app_configs: _Apps, **kwargs: Any) -> list[CheckMessage]:
    """Check the ``SHOP_PAYMENTS`` setting (E001–E006, E017, E018, E020, W001, W002, W006)."""
    try:
        config = get_config()
    except ConfigurationError as error:
        return [_unusable_setting(str(error))]
    return [
        *_check_imports(config),
        *_check_rest_framework(config),
        *_check_secret_key(config),
        *_check_publishable_key(config),
        *_check_webhook_secrets(config),
        *_check_api_base(config),
        *_check_stripe_js(config),
        *_check_timeouts(config),
    ]


def _unusable_setting(message: str) -> CheckMessage:
    return Error(
        f"{message}.",
        hint=f"Correct SHOP_PAYMENTS. Its keys are {', '.join(f.name for f in fields(Config))}; "
        "shop_payments/conf.py explains each of them.",
        id="shop_payments.E001",
    )


def _check_imports(config: Config) -> list[CheckMessage]:
    """Import the dotted paths now, so that they do not fail in the middle of a payment."""
    return [
        _unusable_setting(f"SHOP_PAYMENTS['{key}'] {problem}")
        for key in ("STRIPE_TRANSPORT", "EVENT_HANDLER")
        if (problem := _problem_of_callable(getattr(config, key)))
    ]


def _problem_of_callable(value: Any) -> str:
    if not value:
        return ""
    if isinstance(value, str):
        try:
            value = import_string(value)
        except ImportError as error:
            return f"cannot be imported: {error}"
    return "" if callable(value) else "is not callable"


def _check_rest_framework(config: Config) -> list[CheckMessage]:
    if apps.is_installed("rest_framework") or not config.BROWSABLE_API:
        return []
    return [
        Error(
            "REST framework is not installed, so the browsable API lacks its templates.",
            hint="Add 'rest_framework' to INSTALLED_APPS, or set "
            "SHOP_PAYMENTS['BROWSABLE_API'] = False.",
            id="shop_payments.E017",
        )
    ]


def _check_secret_key(config: Config) -> list[CheckMessage]:
    if not config.STRIPE_SECRET_KEY.startswith((*TEST_KEY_PREFIXES, *LIVE_KEY_PREFIXES)):
        return [
            Error(
                "The Stripe secret key is missing or not a secret key.",
                hint="Set SHOP_PAYMENTS['STRIPE_SECRET_KEY'] to sk_test_… (or rk_test_…, "
                "sk_live_…, rk_live_…) from dashboard.stripe.com/apikeys. For the sandbox, "
                "use sk_test_sandbox, and set SHOP_PAYMENTS['STRIPE_API_BASE'].",
                id="shop_payments.E002",
            )
        ]
    if config.livemode and settings.DEBUG:
        return [
            Error(
                "A live Stripe key is used with DEBUG = True.",
                hint="Use a test key in SHOP_PAYMENTS['STRIPE_SECRET_KEY'], or set DEBUG = False.",
                id="shop_payments.E003",
            )
        ]
    return []


def _check_publishable_key(config: Config) -> list[CheckMessage]:
    key = config.STRIPE_PUBLISHABLE_KEY
    if not key:
        return []
    if key.startswith((*TEST_KEY_PREFIXES, *LIVE_KEY_PREFIXES)):
        return [
            Error(
                "The publishable key is a secret key, and pages would show it to everybody.",
                hint="Set SHOP_PAYMENTS['STRIPE_PUBLISHABLE_KEY'] to pk_test_… or pk_live_…. If a "
                "page has shown the secret key, replace it at dashboard.stripe.com/apikeys.",
                id="shop_payments.E004",
            )
        ]
    if not key.startswith("pk_live_" if config.livemode else "pk_test_"):
        return [
            Error(
                "The publishable key and the secret key are for different modes (test and live).",
                hint="Take SHOP_PAYMENTS['STRIPE_PUBLISHABLE_KEY'] and ['STRIPE_SECRET_KEY'] from "
                "the same page: both pk_test_/sk_test_, or both pk_live_/sk_live_.",
                id="shop_payments.E004",
            )
        ]
    return []


def _check_webhook_secrets(config: Config) -> list[CheckMessage]:
    if not config.STRIPE_WEBHOOK_SECRETS:
        return [
            Error(
                "There is no webhook secret, so Stripe's events are refused.",
                hint="Set SHOP_PAYMENTS['STRIPE_WEBHOOK_SECRETS'] to the endpoint's whsec_…. For "
                "the sandbox, this is the value of its option --webhook-secret.",
                id="shop_payments.E005",
            )
        ]
    if any(not secret.startswith("whsec_") for secret in config.STRIPE_WEBHOOK_SECRETS):
        return [
            Warning(
                "A webhook secret does not begin with whsec_.",
                hint="Copy the signing secret of the endpoint, not its id (we_…), into "
                "SHOP_PAYMENTS['STRIPE_WEBHOOK_SECRETS'].",
                id="shop_payments.W001",
            )
        ]
    return []


def _check_api_base(config: Config) -> list[CheckMessage]:
    base = config.STRIPE_API_BASE
    if (base != STRIPE_API_BASE or config.STRIPE_TRANSPORT is not None) and config.livemode:
        return [
            Error(
                "A live key would be sent to a server that is not Stripe.",
                hint="Remove SHOP_PAYMENTS['STRIPE_API_BASE'] and ['STRIPE_TRANSPORT'].",
                id="shop_payments.E006",
            )
        ]
    if address := _without_path(base):
        return [
            Error(
                f"STRIPE_API_BASE = {base!r} has a path.",
                hint=f"Set SHOP_PAYMENTS['STRIPE_API_BASE'] = {address!r}. The app adds /v1/….",
                id="shop_payments.E018",
            )
        ]
    if base != STRIPE_API_BASE and not is_this_machine(base):
        return [
            Warning(
                f"STRIPE_API_BASE = {base!r} is neither Stripe nor this machine.",
                hint="Remove SHOP_PAYMENTS['STRIPE_API_BASE']; it is meant for the sandbox, "
                "http://127.0.0.1:12111.",
                id="shop_payments.W002",
            )
        ]
    return []


def _check_stripe_js(config: Config) -> list[CheckMessage]:
    url = config.STRIPE_JS_URL
    if url.startswith("https://js.stripe.com/"):
        return []
    if is_this_machine(url) and not config.livemode:
        return []
    if url == default_stripe_js_url(config.STRIPE_API_BASE):
        return []  # E006 reports it
    return [
        Error(
            f"STRIPE_JS_URL = {url!r} is not Stripe's script, but customers enter their cards in "
            "its form.",
            hint="Remove SHOP_PAYMENTS['STRIPE_JS_URL'], or set it to a release at "
            "https://js.stripe.com/. With a test key, the sandbox's stand-in may be used, too.",
            id="shop_payments.E020",
        )
    ]


_WORKER_SECONDS = 30
"""Gunicorn's default timeout. A worker that takes longer is killed in the middle of its request.

See: https://docs.gunicorn.org/en/stable/settings.html#timeout (checked 2026-11)
"""


def _check_timeouts(config: Config) -> list[CheckMessage]:
    seconds = config.CONNECT_TIMEOUT + config.READ_TIMEOUT
    if seconds <= _WORKER_SECONDS:
        return []
    return [
        Warning(
            f"A call to Stripe may take {seconds:g} seconds, but gunicorn kills a worker after"
            f" {_WORKER_SECONDS} by default.",
            hint="Lower SHOP_PAYMENTS['READ_TIMEOUT'] or ['CONNECT_TIMEOUT']. Or raise the worker "
            "timeout of your server above that, and silence this check.",
            id="shop_payments.W006",
        )
    ]


def _without_path(url: str) -> str:
    """Return an address without its path; empty if it has none, or is not an address."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    has_more = parts.path or parts.query or parts.fragment
    return f"{parts.scheme}://{parts.netloc}" if has_more and parts.netloc else ""


@register()
def check_throttles(app_configs: _Apps, **kwargs: Any) -> list[CheckMessage]:
    """Check the cache of the throttles, and the proxies (E013, W004–W005)."""
    try:
        config = get_config()
    except ConfigurationError:
        return []  # E001 reports it
    limited = [scope for scope, rate in config.THROTTLE_RATES.items() if rate is not None]
    if not limited:
        return []
    by_address = [scope for scope in limited if scope in ADDRESS_SCOPES]
    return [
        *_check_throttle_cache(config.THROTTLE_CACHE),
        *(_check_proxies() if by_address else []),
    ]


def _check_throttle_cache(alias: str) -> list[CheckMessage]:
    try:
        cache = caches[alias]
    except InvalidCacheBackendError as error:
        return [
            Error(
                f"The throttles have no cache: {error}",
                hint="Set SHOP_PAYMENTS['THROTTLE_CACHE'] to an alias of CACHES, or "
                "SHOP_PAYMENTS['THROTTLE_RATES'] to None.",
                id="shop_payments.E013",
            )
        ]
    if isinstance(cache, LocMemCache | DummyCache) and not settings.DEBUG:
        return [
            Warning(
                f"The throttles use the cache {alias!r}, which is a {type(cache).__name__}: "
                "each process counts separately, or not at all.",
                hint=f"Set CACHES[{alias!r}] to a cache that all processes share, e.g. {{'BACKEND':"
                " 'django.core.cache.backends.redis.RedisCache', 'LOCATION': "
                "'redis://127.0.0.1:6379'}, or name one in SHOP_PAYMENTS['THROTTLE_CACHE'].",
                id="shop_payments.W004",
            )
        ]
    return []


def _check_proxies() -> list[CheckMessage]:
    if api_settings.NUM_PROXIES is not None or settings.DEBUG:
        return []
    return [
        Warning(
            "Callers can choose the address that throttles count, because REST framework trusts "
            "X-Forwarded-For.",
            hint="Set REST_FRAMEWORK['NUM_PROXIES'] to the number of proxies in front of Django "
            "that append to X-Forwarded-For, or to 0 if there is none.",
            id="shop_payments.W005",
        )
    ]


@register()
def check_order_model(app_configs: _Apps, **kwargs: Any) -> list[CheckMessage]:
    """Check the order model and its adapter (E007–E009, E014, E022)."""
    try:
        config = get_config()
    except ConfigurationError:
        return []  # E001 reports it
    try:
        model = apps.get_model(order_model_label())  # first, because the adapter needs it
    except (LookupError, ValueError):
        return [
            Error(
                f"SHOP_PAYMENTS_ORDER_MODEL = {order_model_label()!r} is not an installed model.",
                hint=_hint_for_label(),
                id="shop_payments.E008",
            )
        ]
    renamed = _check_renamed_method(config.ORDER_ADAPTER)
    try:
        adapter = get_order_adapter()
    except (ConfigurationError, TypeError) as error:
        return [
            *renamed,
            Error(
                f"{error}.",
                hint="Set SHOP_PAYMENTS['ORDER_ADAPTER'] to the dotted path of a subclass of "
                "shop_payments.orders.OrderAdapter that defines all of its abstract methods "
                "and is built without arguments; see docs/own-order-model.md.",
                id="shop_payments.E007",
            ),
        ]
    expected = getattr(adapter, "serves_model", None)
    if expected is not None and model is not expected:
        return [
            *renamed,
            Error(
                f"{type(adapter).__name__} reads {expected._meta.label}, but "
                f"SHOP_PAYMENTS_ORDER_MODEL is {model._meta.label}.",
                hint="Write an OrderAdapter for your model and name it in "
                "SHOP_PAYMENTS['ORDER_ADAPTER'].",
                id="shop_payments.E009",
            ),
        ]
    return [*renamed, *_check_fields_of_order(adapter)]


def _check_fields_of_order(adapter: OrderAdapter) -> list[CheckMessage]:
    """Check the fields by which ``GET orders`` sorts and filters."""
    name = adapter.created_field
    created, number = (
        _field_of_order(adapter, each) if each else None for each in (name, adapter.number_field)
    )
    is_time = isinstance(created, DateTimeField) and not created.null
    wrong = {
        "created_field": "a DateTimeField that is never NULL" if name and not is_time else "",
        "number_field": "a field" if adapter.number_field and number is None else "",
    }
    return [
        Error(
            f"{type(adapter).__name__}.{attribute} = {getattr(adapter, attribute)!r} is not the "
            f"name of {words} of {adapter.model._meta.label}.",
            hint="Name such a field, or leave the attribute empty; see docs/own-order-model.md.",
            id="shop_payments.E022",
        )
        for attribute, words in wrong.items()
        if words
    ]


def _field_of_order(adapter: OrderAdapter, name: str) -> Any:
    """Return a column of the order's model; None if there is no such column."""
    return next((each for each in adapter.model._meta.concrete_fields if each.name == name), None)


def _hint_for_label() -> str:
    if order_model_label().count(".") > 1:
        return (
            f"Write SHOP_PAYMENTS_ORDER_MODEL = {order_model_reference()!r}: the label of the app, "
            "a dot, and the name of the model."
        )
    return "Write SHOP_PAYMENTS_ORDER_MODEL as 'app_label.Model' and add the app to INSTALLED_APPS."


def _check_renamed_method(path: str) -> list[CheckMessage]:
    """Look for the former name of ``total()``, even if the class lacks other methods."""
    try:
        adapter_class = import_string(path)
    except (ImportError, RuntimeError):
        return []  # E007 reports it
    if not hasattr(adapter_class, "amount_due"):
        return []
    return [
        Error(
            f"SHOP_PAYMENTS['ORDER_ADAPTER'] = {path!r} still defines amount_due().",
            hint="Rename amount_due() to total(), and return what the order costs in all. Do not "
            "return what is left to pay: that is computed from the total and the payments.",
            id="shop_payments.E014",
        )
    ]


@register()
def check_routes(app_configs: _Apps, **kwargs: Any) -> list[CheckMessage]:
    """Check that the routes are in the project's URLs (W008).

    A warning, because a process without web pages may have no routes.
    """
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    try:
        reverse("shop_payments:stripe-webhook")
    except NoReverseMatch:
        return [
            Warning(
                "The routes of shop_payments are not in ROOT_URLCONF, so Stripe's events cannot "
                "arrive.",
                hint='Add path("api/v1/shop/", include("shop_payments.api.urls")) to urlpatterns '
                f"in {settings.ROOT_URLCONF}.",
                id="shop_payments.W008",
            )
        ]
    except Exception:  # the URLs cannot be imported: Django's own check reports it
        return []
    return []


@register()
def check_routers(app_configs: _Apps, **kwargs: Any) -> list[CheckMessage]:
    """Check that payments and orders are in the default database (E012)."""
    used = {
        alias: model._meta.label
        for model in apps.get_app_config("shop_payments").get_models()
        for alias in (router.db_for_read(model), router.db_for_write(model))
    }
    used.setdefault(_alias_of_orders(), "orders")
    return [
        Error(
            f"DATABASE_ROUTERS send {label} to the database {alias!r}, but payments are written in "
            f"transactions of {DEFAULT_DB_ALIAS!r}.",
            hint="Make db_for_read() and db_for_write() of your router return 'default' for the "
            "app_label 'shop_payments' and for your order model, or let OrderAdapter.get_queryset()"
            " end in .using('default'). A replica may lag behind, and rows of another database are "
            "not locked.",
            id="shop_payments.E012",
        )
        for alias, label in used.items()
        if alias != DEFAULT_DB_ALIAS
    ]


def _alias_of_orders() -> str:
    """Return the database that the adapter reads orders from."""
    try:
        return get_order_adapter().get_queryset().db
    except Exception:  # E001, E007 or E008 reports it, or the host's tables do not exist yet
        return DEFAULT_DB_ALIAS


@register(Tags.urls)
def check_checkout(app_configs: _Apps, **kwargs: Any) -> list[CheckMessage]:
    """Check that the checkout pages have a publishable key, if they are mounted (E021)."""
    try:
        config = get_config()
        reverse("shop_payments_checkout:pay", args=["1"])
    except (ConfigurationError, NoReverseMatch):
        return []  # E001 reports the former
    if config.STRIPE_PUBLISHABLE_KEY:
        return []
    return [
        Error(
            "The checkout pages need Stripe's publishable key.",
            hint="Set SHOP_PAYMENTS['STRIPE_PUBLISHABLE_KEY'] to pk_test_… (or pk_live_…) from the "
            "page of the secret key, dashboard.stripe.com/apikeys. For the sandbox, use "
            "pk_test_sandbox.",
            id="shop_payments.E021",
        )
    ]


@register(Tags.database)
def check_databases(
    app_configs: _Apps, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check the databases (E010, E011, E015, E016, E019, W003, W007, W009)."""
    from shop_payments.models import OrderPayment

    messages: list[CheckMessage] = []
    for alias in databases or []:
        if not router.allow_migrate_model(alias, OrderPayment):
            continue
        messages += _check_features(alias)
        messages += _check_order_table(alias, OrderPayment)
        if alias == DEFAULT_DB_ALIAS:
            unmigrated = check_tables()
            messages += [*unmigrated, *check_order_migration()]
            messages += [] if unmigrated else check_adapter()
    return messages


def _check_features(alias: str) -> list[CheckMessage]:
    connection = connections[alias]
    if not connection.features.supports_partial_indexes:
        return [
            Error(
                f"The database {alias!r} ({connection.vendor}) has no partial unique indexes, so "
                "an order could get two open payment intents.",
                hint=f"Set DATABASES[{alias!r}] to PostgreSQL (or SQLite for development), or keep "
                "shop_payments off this database with a router's allow_migrate().",
                id="shop_payments.E010",
            )
        ]
    mode = connection.settings_dict.get("OPTIONS", {}).get("transaction_mode")
    if connection.vendor == "sqlite" and mode != "IMMEDIATE":
        return [
            Warning(
                f"The SQLite database {alias!r} begins transactions without a lock, so concurrent "
                "requests may fail with 'database is locked'.",
                hint=f"Set DATABASES[{alias!r}]['OPTIONS'] = {{'transaction_mode': 'IMMEDIATE', "
                "'timeout': 20}.",
                id="shop_payments.W003",
            )
        ]
    return []


def _check_order_table(alias: str, order_payment: Any) -> list[CheckMessage]:
    """Compare the foreign key in the database with the setting, which is used by migrations."""
    connection = connections[alias]
    table = order_payment._meta.db_table
    order_model = order_payment._meta.get_field("order").related_model
    if isinstance(order_model, str):
        return []  # not installed: E008 reports it
    wanted = order_model._meta.db_table
    with connection.cursor() as cursor:
        if table not in connection.introspection.table_names(cursor):
            return []
        relations = connection.introspection.get_relations(cursor, table)
    found = relations.get("order_id", ("", wanted))[1]
    if found == wanted:
        return []
    return [
        Error(
            f"The payments in the database refer to the table {found!r}, but "
            f"SHOP_PAYMENTS_ORDER_MODEL refers to {wanted!r}.",
            hint="Restore the old value of SHOP_PAYMENTS_ORDER_MODEL. To change it (which drops all"
            " payments), run 'manage.py migrate shop_payments zero' with the old value, then set "
            "the new one and migrate.",
            id="shop_payments.E011",
        )
    ]
