"""The settings: read when they are first needed, read again when they change."""

from __future__ import annotations

import pytest
from django.test import override_settings

from shop_payments.conf import (
    DEFAULT_THROTTLE_RATES,
    STRIPE_API_BASE,
    STRIPE_JS_URL,
    get_config,
    parse_config,
)
from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway import get_gateway
from shop_payments.orders import get_order_adapter
from tests.support import no_stripe


def test_it_is_read_when_it_is_needed_and_again_when_it_changes(settings):
    before, adapter, gateway = get_config(), get_order_adapter(), get_gateway()
    assert get_config() is before
    with override_settings(SHOP_PAYMENTS={"STRIPE_SECRET_KEY": "sk_test_another"}):
        assert get_config() != before
        assert get_order_adapter() is not adapter
        assert get_gateway() is not gateway
    assert get_config() == before

    settings.SHOP_PAYMENTS = "not a dict"
    with pytest.raises(ConfigurationError, match="SHOP_PAYMENTS must be a dict"):
        get_config()


def test_without_the_setting_everything_has_a_default(settings):
    settings.SHOP_PAYMENTS = {}  # the end of a change is announced, that of a deletion is not
    del settings.SHOP_PAYMENTS

    config = get_config()

    assert config.STRIPE_API_BASE == STRIPE_API_BASE
    assert (bool(config.STRIPE_SECRET_KEY), config.STRIPE_WEBHOOK_SECRETS) == (False, ())
    assert config.transport is None


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("STRIPE_SECRET_KEY", ["sk_test_hidden"], "must be a string"),
        ("STRIPE_WEBHOOK_SECRETS", {"whsec_hidden"}, "must be a string or a list of strings"),
        ("STRIPE_API_BASE", "https://hidden@stripe.example", "must be an address without a user"),
        ("CONNECT_TIMEOUT", "5", "must be a number"),
        ("READ_TIMEOUT", float("nan"), "must be more than 0"),
        ("READ_TIMEOUT", True, "must be a number"),
        ("MAX_NETWORK_RETRIES", 1.5, "must be a whole number"),
        ("MAX_NETWORK_RETRIES", -1, "must be 0 or 1"),
        ("CAPTURE_METHOD", "by hand", "must be 'automatic' or 'manual'"),
        *(("ABANDONED_AFTER_DAYS", days, "must be from 1 to 36500") for days in (0, 36_501)),
        *(("RETENTION_DAYS", days, "must be from 31 to 36500, because ") for days in (30, 36_501)),
        ("INTENT_WAIT_SECONDS", -1, "must be 0 or more"),
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
    with pytest.raises(ConfigurationError, match=r"unknown keys: PAGE_SZIE \(.*PAGE_SIZE\?\), X$"):
        parse_config({"X": value, "PAGE_SZIE": 1, "PAGE_SIZE": 1})


@pytest.mark.parametrize(
    ("base", "url", "expected"),
    [
        ("", "", STRIPE_JS_URL),
        ("https://stripe.example", "", STRIPE_JS_URL),
        ("http://localhost:1/", "", "http://localhost:1/js.stripe.com/endive/stripe.js"),
        ("http://[::1]:1", "https://js.stripe.com/v3/", "https://js.stripe.com/v3/"),
    ],
)
def test_the_sandbox_brings_its_own_stripe_js(base, url, expected):
    assert expected == parse_config({"STRIPE_API_BASE": base, "STRIPE_JS_URL": url}).STRIPE_JS_URL
    assert parse_config({}).STRIPE_JS_URL == STRIPE_JS_URL


def test_what_may_be_written_in_several_ways():
    for days in (31, 36_500):
        assert days == parse_config({"RETENTION_DAYS": days}).RETENTION_DAYS
    both = ["whsec_a", "whsec_b"]
    for value, secrets in (
        ("whsec_a", both[:1]),
        (both, both),
        (("", "whsec_a"), both[:1]),
        ("", []),
    ):
        found = parse_config({"STRIPE_WEBHOOK_SECRETS": value}).STRIPE_WEBHOOK_SECRETS
        assert [each.reveal() for each in found] == secrets
    for value in ("https://api.stripe.com", "https://api.stripe.com/", ""):
        assert parse_config({"STRIPE_API_BASE": value}).STRIPE_API_BASE == STRIPE_API_BASE
    for transport in ("tests.support.no_stripe", no_stripe):
        assert parse_config({"STRIPE_TRANSPORT": transport}).transport is no_stripe
    for mode in ("live", "test"):
        for kind in ("sk", "rk"):
            config = parse_config({"STRIPE_SECRET_KEY": f"{kind}_{mode}_x"})
            assert config.livemode is (mode == "live")


# --- throttle rates -----------------------------------------------------------------------------


def test_rates_are_merged_with_the_defaults():
    changed = {"orders_user": "5/day", "payment_key": None}
    rates = parse_config({"THROTTLE_RATES": changed}).THROTTLE_RATES

    assert {**DEFAULT_THROTTLE_RATES, **changed} == rates
    assert set(parse_config({"THROTTLE_RATES": None}).THROTTLE_RATES.values()) == {None}


@pytest.mark.parametrize("rate", ["20", "20/month", "0/min", "1.5/min", "1/min\n", "٣/min", 5])
def test_a_malformed_rate_is_refused_by_its_scope(rate):
    words = r"\['THROTTLE_RATES'\]\['orders_user'\] must be a number per second, .* or None"
    with pytest.raises(ConfigurationError, match=words):
        parse_config({"THROTTLE_RATES": {"orders_user": rate}})
    words = "unknown scopes: 5, payment_intent_usr; there are failed_authentication,"
    with pytest.raises(ConfigurationError, match=words):
        parse_config({"THROTTLE_RATES": {"payment_intent_usr": None, 5: rate}})
