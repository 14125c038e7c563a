"""The settings: read when they are first needed, read again when they change, and never shown."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from django.test import override_settings

from shop_payments.conf import STRIPE_API_BASE, get_config, order_model_label, parse_config
from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway import get_gateway
from shop_payments.orders import get_order_adapter
from tests.support import no_stripe

SECRETS = {
    "STRIPE_SECRET_KEY": "sk_test_hidden",
    "STRIPE_PUBLISHABLE_KEY": "pk_test_hidden",
    "STRIPE_WEBHOOK_SECRETS": ["whsec_hidden", "whsec_hidden_too"],
}


def test_it_is_read_when_it_is_needed(settings):
    settings.SHOP_PAYMENTS = "not a dict"  # nobody minds yet

    with pytest.raises(ConfigurationError, match="SHOP_PAYMENTS must be a dict"):
        get_config()


def test_it_is_read_once():
    assert get_config() is get_config()


def test_it_is_read_again_when_the_setting_changes(configure):
    before = get_config().PAGE_SIZE
    configure(PAGE_SIZE=before + 1)
    after = get_config().PAGE_SIZE

    assert after == before + 1


def test_it_is_read_again_when_the_change_is_over():
    before = get_config()
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


def test_the_order_model_is_the_bundled_one_unless_the_host_says_otherwise(settings):
    assert order_model_label() == "shop_payments.Order"

    settings.SHOP_PAYMENTS_ORDER_MODEL = "auth.User"

    assert order_model_label() == "auth.User"


def test_secrets_are_not_in_its_repr():
    assert "hidden" not in repr(parse_config(SECRETS))


def test_it_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        get_config().PAGE_SIZE = 1  # type: ignore[misc]


def test_an_unknown_key_is_refused_by_its_name():
    with pytest.raises(ConfigurationError, match="unknown keys: PAGE_SZIE, STRIPE_KEY"):
        parse_config({"STRIPE_KEY": "sk_test_hidden", "PAGE_SZIE": 1, "PAGE_SIZE": 1})


def test_a_value_of_the_wrong_type_is_refused_without_being_shown():
    with pytest.raises(ConfigurationError) as caught:
        parse_config({"STRIPE_SECRET_KEY": ["sk_test_hidden"]})

    assert str(caught.value) == "SHOP_PAYMENTS['STRIPE_SECRET_KEY'] must be a string"


@pytest.mark.parametrize(
    ("value", "secrets"),
    [
        ("whsec_a", ("whsec_a",)),
        (["whsec_a", "whsec_b"], ("whsec_a", "whsec_b")),
        (("whsec_a",), ("whsec_a",)),
        ("", ()),
        (["", "whsec_a"], ("whsec_a",)),
        ([], ()),
    ],
)
def test_webhook_secrets_are_a_string_or_a_list(value, secrets):
    found = parse_config({"STRIPE_WEBHOOK_SECRETS": value}).STRIPE_WEBHOOK_SECRETS

    assert tuple(each.reveal() for each in found) == secrets


@pytest.mark.parametrize("value", [None, 5, {"whsec_a": 1}, [b"whsec_a"], [None]])
def test_webhook_secrets_are_nothing_else(value):
    with pytest.raises(ConfigurationError, match="must be a string or a list of strings"):
        parse_config({"STRIPE_WEBHOOK_SECRETS": value})


@pytest.mark.parametrize("value", [30, 0, -1, 36_501])
def test_personal_data_is_kept_for_as_long_as_stripe_may_speak_of_it(value):
    with pytest.raises(
        ConfigurationError, match=r"SHOP_PAYMENTS\['RETENTION_DAYS'\] must be from 31 to 36500: "
    ):
        parse_config({"RETENTION_DAYS": value})


@pytest.mark.parametrize("value", ["180", 180.0, True, None])
def test_a_retention_is_a_whole_number(value):
    with pytest.raises(ConfigurationError, match="must be a whole number"):
        parse_config({"RETENTION_DAYS": value})


@pytest.mark.parametrize("value", [31, 36_500])
def test_the_bounds_of_the_retention_are_within(value):
    assert value == parse_config({"RETENTION_DAYS": value}).RETENTION_DAYS


@pytest.mark.parametrize("value", ["https://api.stripe.com", "https://api.stripe.com/", ""])
def test_the_api_base_is_stripes_however_it_is_written(value):
    assert parse_config({"STRIPE_API_BASE": value}).STRIPE_API_BASE == STRIPE_API_BASE


@pytest.mark.parametrize(
    ("key", "livemode"),
    [
        ("sk_live_x", True),
        ("rk_live_x", True),
        ("sk_test_x", False),
        ("rk_test_x", False),
        ("", False),
    ],
)
def test_the_mode_is_the_keys(key, livemode):
    assert parse_config({"STRIPE_SECRET_KEY": key}).livemode is livemode


@pytest.mark.parametrize("value", ["tests.support.no_stripe", no_stripe])
def test_a_transport_is_a_callable_or_its_path(value):
    assert parse_config({"STRIPE_TRANSPORT": value}).transport is no_stripe


def test_there_is_no_transport_by_default():
    assert parse_config({}).transport is None
