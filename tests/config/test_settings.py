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


@pytest.fixture
def read(monkeypatch) -> Callable[..., dict[str, Any]]:
    """Read the settings with these environment variables, and no others of the project's."""

    def read(**environment: str) -> dict[str, Any]:
        for name in os.environ:
            if name.startswith(("DJANGO_", "STRIPE_", "CACHE_")):
                monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(Path(config.__path__[0], "settings.py")))

    return read


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("http://127.0.0.1:12111", "sk_test_sandbox", "whsec_sandbox")),
        ({"STRIPE_SECRET_KEY": "sk_test_mine"}, ("https://api.stripe.com", "sk_test_mine", "")),
        (
            {"STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_API_BASE": "http://127.0.0.1:9/"},
            ("http://127.0.0.1:9", "sk_test_x", "whsec_sandbox"),
        ),
    ],
    ids=["the sandbox", "an account, without known secrets", "a sandbox elsewhere"],
)
def test_the_key_decides_where_stripe_is(read, environment, expected):
    values = read(**environment)["SHOP_PAYMENTS"]

    names = ("STRIPE_API_BASE", "STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRETS")
    assert tuple(values[name] for name in names) == expected
    assert {*values} == {*names, "STRIPE_PUBLISHABLE_KEY", "THROTTLE_RATES"}
    if expected[0] == "https://api.stripe.com":
        assert values["STRIPE_PUBLISHABLE_KEY"] == ""


def test_production_names_the_secret_that_is_missing(read):
    for missing in SECRETS:
        given = {name: value for name, value in SECRETS.items() if name != missing}
        with pytest.raises(ImproperlyConfigured, match=f"Set {missing} "):
            read(DJANGO_DEBUG="0", **given)

    assert read(DJANGO_DEBUG="0", **SECRETS)["SHOP_PAYMENTS"]["THROTTLE_RATES"] == {}


def test_a_shared_cache_comes_from_the_environment(read):
    url = "redis://127.0.0.1:1/0"
    assert read(CACHE_URL=url)["CACHES"]["default"]["LOCATION"] == url
    with pytest.raises(ImproperlyConfigured, match="CACHE_URL must be redis://"):
        read(CACHE_URL="memcached://127.0.0.1")
