"""System checks: each names the exact fix. The ids are stable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connections, router

from shop_payments.conf import (
    LIVE_KEY_PREFIXES,
    STRIPE_API_BASE,
    TEST_KEY_PREFIXES,
    Config,
    get_config,
    order_model_label,
)
from shop_payments.exceptions import ConfigurationError
from shop_payments.orders import get_order_adapter

_Apps = Sequence[AppConfig] | None


@register()
def check_settings(app_configs: _Apps, **kwargs: Any) -> list[CheckMessage]:
    """Check the ``SHOP_PAYMENTS`` setting (E001–E008, W001–W002)."""
    try:
        config = get_config()
    except (ConfigurationError, TypeError) as error:
        return [Error(str(error), id="shop_payments.E001")]
    return [
        *_check_secret_key(config),
        *_check_publishable_key(config),
        *_check_webhook_secrets(config),
        *_check_api_base(config),
    ]


def _check_secret_key(config: Config) -> list[CheckMessage]:
    if not config.STRIPE_SECRET_KEY.startswith((*TEST_KEY_PREFIXES, *LIVE_KEY_PREFIXES)):
        return [
            Error(
                "There is no usable Stripe secret key.",
                hint="Set SHOP_PAYMENTS['STRIPE_SECRET_KEY'] to sk_test_… (or rk_test_…, "
                "sk_live_…, rk_live_…) from dashboard.stripe.com/apikeys.",
                id="shop_payments.E002",
            )
        ]
    if config.livemode and settings.DEBUG:
        return [
            Error(
                "A live Stripe key is used with DEBUG = True.",
                hint="Use a test key, or set DEBUG = False.",
                id="shop_payments.E003",
            )
        ]
    return []


def _check_publishable_key(config: Config) -> list[CheckMessage]:
    key = config.STRIPE_PUBLISHABLE_KEY
    if not key:
        return []
    if not key.startswith("pk_live_" if config.livemode else "pk_test_"):
        return [
            Error(
                "The publishable key does not fit the secret key's mode.",
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
                "There is no webhook secret; Stripe's events would be refused.",
                hint="Set SHOP_PAYMENTS['STRIPE_WEBHOOK_SECRETS'] to the endpoint's whsec_….",
                id="shop_payments.E005",
            )
        ]
    if any(not secret.startswith("whsec_") for secret in config.STRIPE_WEBHOOK_SECRETS):
        return [
            Warning(
                "A webhook secret does not begin with whsec_.",
                hint="Copy the signing secret of the endpoint, not its id (we_…).",
                id="shop_payments.W001",
            )
        ]
    return []


def _check_api_base(config: Config) -> list[CheckMessage]:
    base = config.STRIPE_API_BASE
    if (base != STRIPE_API_BASE or config.STRIPE_TRANSPORT is not None) and config.livemode:
        return [
            Error(
                "A live key would be sent to something that is not Stripe.",
                hint="Remove SHOP_PAYMENTS['STRIPE_API_BASE'] and ['STRIPE_TRANSPORT'].",
                id="shop_payments.E006",
            )
        ]
    host = urlsplit(base).hostname or ""
    if base != STRIPE_API_BASE and host not in {"127.0.0.1", "::1", "localhost"}:
        return [
            Warning(
                f"STRIPE_API_BASE is {host}, which is neither Stripe nor this machine.",
                hint="It is meant for the sandbox on 127.0.0.1.",
                id="shop_payments.W002",
            )
        ]
    return []


@register()
def check_order_model(app_configs: _Apps, **kwargs: Any) -> list[CheckMessage]:
    """Check the order model and its adapter (E007–E009)."""
    try:
        adapter = get_order_adapter()
        model = adapter.model
    except (ConfigurationError, TypeError) as error:
        return [Error(str(error), id="shop_payments.E007")]
    except (LookupError, ValueError):
        return [
            Error(
                f"SHOP_PAYMENTS_ORDER_MODEL = {order_model_label()!r} is not an installed model.",
                hint="Write it as 'app_label.Model' and add the app to INSTALLED_APPS.",
                id="shop_payments.E008",
            )
        ]
    expected = getattr(adapter, "serves_model", None)
    if expected is not None and model is not expected:
        return [
            Error(
                f"{type(adapter).__name__} reads {expected._meta.label}, but "
                f"SHOP_PAYMENTS_ORDER_MODEL is {model._meta.label}.",
                hint="Write an OrderAdapter for your model and name it in "
                "SHOP_PAYMENTS['ORDER_ADAPTER'].",
                id="shop_payments.E009",
            )
        ]
    return []


@register(Tags.database)
def check_databases(
    app_configs: _Apps, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Check what only a database can tell (E010, E011, W003)."""
    from shop_payments.models import OrderPayment

    messages: list[CheckMessage] = []
    for alias in databases or []:
        if not router.allow_migrate_model(alias, OrderPayment):
            continue
        messages += _check_features(alias)
        messages += _check_order_table(alias, OrderPayment)
    return messages


def _check_features(alias: str) -> list[CheckMessage]:
    connection = connections[alias]
    if not connection.features.supports_partial_indexes:
        return [
            Error(
                f"The database {alias!r} ({connection.vendor}) has no partial unique indexes, so "
                "nothing would keep an order from having two open payment intents.",
                hint="Use PostgreSQL (or SQLite for development).",
                id="shop_payments.E010",
            )
        ]
    mode = connection.settings_dict.get("OPTIONS", {}).get("transaction_mode")
    if connection.vendor == "sqlite" and mode != "IMMEDIATE":
        return [
            Warning(
                f"The SQLite database {alias!r} begins transactions without a lock; requests at "
                "the same time may fail with 'database is locked'.",
                hint="Set DATABASES['default']['OPTIONS'] = {'transaction_mode': 'IMMEDIATE', "
                "'timeout': 20}.",
                id="shop_payments.W003",
            )
        ]
    return []


def _check_order_table(alias: str, order_payment: Any) -> list[CheckMessage]:
    """Compare the migrated foreign key with the setting: it is read when migrating."""
    connection = connections[alias]
    table = order_payment._meta.db_table
    wanted = order_payment._meta.get_field("order").remote_field.model._meta.db_table
    with connection.cursor() as cursor:
        if table not in connection.introspection.table_names(cursor):
            return []
        relations = connection.introspection.get_relations(cursor, table)
    found = relations.get("order_id", ("", wanted))[1]
    if found == wanted:
        return []
    return [
        Error(
            f"Payments were migrated to point at the table {found!r}, but "
            f"SHOP_PAYMENTS_ORDER_MODEL means {wanted!r}.",
            hint="Set SHOP_PAYMENTS_ORDER_MODEL back, or (without payments) migrate "
            "shop_payments to zero and again.",
            id="shop_payments.E011",
        )
    ]
