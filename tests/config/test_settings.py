"""The demo project's settings come from the environment; defaults replace secrets in DEBUG only."""

from __future__ import annotations

import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

import config

SECRETS = {
    "DJANGO_SECRET_KEY": "x",
    "STRIPE_SECRET_KEY": "sk_test_x",
    "STRIPE_PUBLISHABLE_KEY": "pk_test_x",
    "STRIPE_WEBHOOK_SECRET": "whsec_x",
}

Read = Callable[..., dict[str, Any]]


@pytest.fixture
def read(monkeypatch) -> Read:
    """Read the settings with these environment variables, and no others of the project's."""

    def read(**environment: str) -> dict[str, Any]:
        for name in os.environ:
            if name.startswith(("DJANGO_", "STRIPE_", "CACHE_")):
                monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(Path(config.__path__[0], "settings.py")))

    return read


def test_without_a_key_it_uses_the_sandbox(read):
    values = read()["SHOP_PAYMENTS"]

    assert values["STRIPE_API_BASE"] == "http://127.0.0.1:12111"
    assert values["STRIPE_SECRET_KEY"] == "sk_test_sandbox"
    assert values["STRIPE_WEBHOOK_SECRETS"] == "whsec_sandbox"


def test_a_key_of_an_account_goes_to_stripe_without_known_secrets(read):
    values = read(STRIPE_SECRET_KEY="sk_test_mine")["SHOP_PAYMENTS"]

    del values["THROTTLE_RATES"]
    assert values == {
        "STRIPE_API_BASE": "https://api.stripe.com",
        "STRIPE_SECRET_KEY": "sk_test_mine",
        "STRIPE_PUBLISHABLE_KEY": "",
        "STRIPE_WEBHOOK_SECRETS": "",
    }


def test_a_key_may_be_for_a_sandbox_elsewhere(read):
    values = read(STRIPE_SECRET_KEY="sk_test_x", STRIPE_API_BASE="http://127.0.0.1:9/")

    assert values["SHOP_PAYMENTS"]["STRIPE_API_BASE"] == "http://127.0.0.1:9"
    assert values["SHOP_PAYMENTS"]["STRIPE_WEBHOOK_SECRETS"] == "whsec_sandbox"


@pytest.mark.parametrize("missing", SECRETS)
def test_production_names_the_secret_that_is_missing(read, missing):
    given = {name: value for name, value in SECRETS.items() if name != missing}

    with pytest.raises(ImproperlyConfigured, match=f"Set {missing} "):
        read(DJANGO_DEBUG="0", **given)


def test_production_has_the_default_rates(read):
    assert read(DJANGO_DEBUG="0", **SECRETS)["SHOP_PAYMENTS"]["THROTTLE_RATES"] == {}


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "rediss://cache.example", "unix:///x"])
def test_a_shared_cache_comes_from_the_environment(read, url):
    assert read(CACHE_URL=url)["CACHES"]["default"]["LOCATION"] == url


def test_another_kind_of_cache_is_refused_by_its_name(read):
    with pytest.raises(ImproperlyConfigured, match="CACHE_URL must be redis://"):
        read(CACHE_URL="memcached://127.0.0.1")
