"""The settings: read when they are first needed, read again when they change."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from django.test import override_settings

from shop_payments.conf import (
    DEFAULT_THROTTLE_RATES,
    STRIPE_API_BASE,
    get_config,
    order_model_label,
    parse_config,
)
from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway import get_gateway
from shop_payments.orders import get_order_adapter
from tests.support import no_stripe


def test_it_is_read_when_it_is_needed(settings):
    settings.SHOP_PAYMENTS = "not a dict"

    with pytest.raises(ConfigurationError, match="SHOP_PAYMENTS must be a dict"):
        get_config()


def test_it_is_read_again_when_the_setting_changes():
    before = get_config()
    assert get_config() is before
    with override_settings(SHOP_PAYMENTS={}):
        assert get_config() != before

    assert get_config() == before


def test_what_is_built_from_it_changes_with_it(configure):
    adapter, gateway = get_order_adapter(), get_gateway()
    configure(STRIPE_SECRET_KEY="sk_test_another")

    assert get_order_adapter() is not adapter
    assert get_gateway() is not gateway


def test_without_the_setting_everything_has_a_default(settings):
    settings.SHOP_PAYMENTS = {}  # the end of a change is announced, that of a deletion is not
    del settings.SHOP_PAYMENTS

    config = get_config()

    assert config.STRIPE_API_BASE == STRIPE_API_BASE
    assert not config.STRIPE_SECRET_KEY
    assert config.STRIPE_WEBHOOK_SECRETS == ()
    assert config.transport is None


def test_the_order_model_is_the_bundled_one_unless_the_host_says_otherwise(settings):
    assert order_model_label() == "shop_payments.Order"

    settings.SHOP_PAYMENTS_ORDER_MODEL = "auth.User"

    assert order_model_label() == "auth.User"


def test_it_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        get_config().PAGE_SIZE = 1  # type: ignore[misc]


def test_an_unknown_key_is_refused_by_its_name():
    with pytest.raises(ConfigurationError, match="unknown keys: PAGE_SZIE, STRIPE_KEY"):
        parse_config({"STRIPE_KEY": "sk_test_hidden", "PAGE_SZIE": 1, "PAGE_SIZE": 1})


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("STRIPE_SECRET_KEY", ["sk_test_hidden"], "must be a string"),
        ("STRIPE_WEBHOOK_SECRETS", {"whsec_hidden"}, "must be a string or a list of strings"),
        ("STRIPE_WEBHOOK_SECRETS", [b"whsec_hidden"], "must be a string or a list of strings"),
        ("STRIPE_API_BASE", "https://hidden@stripe.example", "must be an address without a user"),
        ("CONNECT_TIMEOUT", "5", "must be a number"),
        ("READ_TIMEOUT", 0, "must be more than 0"),
        ("READ_TIMEOUT", float("nan"), "must be more than 0"),
        ("READ_TIMEOUT", True, "must be a number"),
        ("MAX_NETWORK_RETRIES", 1.5, "must be a whole number"),
        ("MAX_NETWORK_RETRIES", -1, "must be 0 or 1"),
        ("CAPTURE_METHOD", "by hand", "must be 'automatic' or 'manual'"),
        ("ABANDONED_AFTER_DAYS", 0, "must be from 1 to 36500"),
        ("ABANDONED_AFTER_DAYS", 36_501, "must be from 1 to 36500"),
        ("RETENTION_DAYS", 30, "must be from 31 to 36500: "),
        ("RETENTION_DAYS", 36_501, "must be from 31 to 36500: "),
        ("RETENTION_DAYS", 180.0, "must be a whole number"),
        ("BROWSABLE_API", "false", "must be True or False"),
        ("THROTTLE_RATES", "20/min", "must be a dict or None"),
        ("THROTTLE_CACHE", None, "must be a string"),
    ],
)
def test_a_wrong_value_is_refused_without_being_shown(key, value, problem):
    with pytest.raises(ConfigurationError) as caught:
        parse_config({key: value})

    assert str(caught.value).startswith(f"SHOP_PAYMENTS['{key}'] {problem}")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("days", [31, 36_500])
def test_the_bounds_of_the_retention_are_allowed(days):
    assert days == parse_config({"RETENTION_DAYS": days}).RETENTION_DAYS


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ("whsec_a", ("whsec_a",)),
        (["whsec_a", "whsec_b"], ("whsec_a", "whsec_b")),
        (("", "whsec_a"), ("whsec_a",)),
        ("", ()),
    ],
)
def test_webhook_secrets_are_a_string_or_a_list(value, secrets):
    found = parse_config({"STRIPE_WEBHOOK_SECRETS": value}).STRIPE_WEBHOOK_SECRETS

    assert tuple(each.reveal() for each in found) == secrets


@pytest.mark.parametrize("value", ["https://api.stripe.com", "https://api.stripe.com/", ""])
def test_the_api_base_is_stripes_however_it_is_written(value):
    assert parse_config({"STRIPE_API_BASE": value}).STRIPE_API_BASE == STRIPE_API_BASE


@pytest.mark.parametrize(
    ("key", "livemode"),
    [("sk_live_x", True), ("rk_live_x", True), ("sk_test_x", False), ("rk_test_x", False)],
)
def test_the_mode_is_the_keys(key, livemode):
    assert parse_config({"STRIPE_SECRET_KEY": key}).livemode is livemode


@pytest.mark.parametrize("value", ["tests.support.no_stripe", no_stripe])
def test_a_transport_is_a_callable_or_its_path(value):
    assert parse_config({"STRIPE_TRANSPORT": value}).transport is no_stripe


# --- throttle rates -----------------------------------------------------------------------------


def test_rates_are_merged_with_the_defaults():
    rates = parse_config({"THROTTLE_RATES": {"orders_user": "5/day", "payment_key": None}})

    changed = {"orders_user": "5/day", "payment_key": None}
    assert {**DEFAULT_THROTTLE_RATES, **changed} == rates.THROTTLE_RATES
    assert set(parse_config({"THROTTLE_RATES": None}).THROTTLE_RATES.values()) == {None}


@pytest.mark.parametrize(
    "rate", ["20", "20/month", "0/min", "1.5/min", "1/min\n", " 1/min", "٣/min", 5, ["20/min"]]
)
def test_a_malformed_rate_is_refused_by_its_scope(rate):
    words = r"\['THROTTLE_RATES'\]\['orders_user'\] must be a number per second, .* or None"
    with pytest.raises(ConfigurationError, match=words):
        parse_config({"THROTTLE_RATES": {"orders_user": rate}})


def test_an_unknown_scope_is_refused_with_those_that_there_are():
    words = "unknown scopes: 5, payment_intent_usr; there are failed_authentication,"
    with pytest.raises(ConfigurationError, match=words):
        parse_config({"THROTTLE_RATES": {"payment_intent_usr": None, 5: "1/min"}})
