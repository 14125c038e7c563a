"""Where the demo project's settings come from, and which secrets stand in for missing ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SHOW = """
import json
from config import settings
print(json.dumps(settings.SHOP_PAYMENTS))
"""


def read_settings(show: str = SHOW, /, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_", "STRIPE_", "CACHE_"))
    }
    return subprocess.run(
        [sys.executable, "-c", show],
        cwd=ROOT,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def shop_payments(**environment: str) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(read_settings(**environment).stdout)
    return values


def test_without_a_key_it_is_the_sandbox():
    values = shop_payments()

    assert values["STRIPE_API_BASE"] == "http://127.0.0.1:12111"
    assert values["STRIPE_SECRET_KEY"] == "sk_test_sandbox"
    assert values["STRIPE_WEBHOOK_SECRETS"] == "whsec_sandbox"


def test_a_key_of_an_account_goes_to_stripe_without_known_secrets():
    values = shop_payments(STRIPE_SECRET_KEY="sk_test_mine")

    del values["THROTTLE_RATES"]
    assert values == {
        "STRIPE_API_BASE": "https://api.stripe.com",
        "STRIPE_SECRET_KEY": "sk_test_mine",
        "STRIPE_PUBLISHABLE_KEY": "",
        "STRIPE_WEBHOOK_SECRETS": "",
    }


def test_a_key_may_be_for_a_sandbox_elsewhere():
    values = shop_payments(STRIPE_SECRET_KEY="sk_test_x", STRIPE_API_BASE="http://127.0.0.1:9/")

    assert values["STRIPE_API_BASE"] == "http://127.0.0.1:9"
    assert values["STRIPE_WEBHOOK_SECRETS"] == "whsec_sandbox"


@pytest.mark.parametrize(
    "missing",
    [
        "DJANGO_SECRET_KEY",
        "STRIPE_SECRET_KEY",
        "STRIPE_PUBLISHABLE_KEY",
        "STRIPE_WEBHOOK_SECRET",
    ],
)
def test_production_names_the_secret_that_is_missing(missing):
    secrets = {
        "DJANGO_SECRET_KEY": "x",
        "STRIPE_SECRET_KEY": "sk_test_x",
        "STRIPE_PUBLISHABLE_KEY": "pk_test_x",
        "STRIPE_WEBHOOK_SECRET": "whsec_x",
    }
    secrets.pop(missing)

    finished = read_settings(DJANGO_DEBUG="0", **secrets)

    assert finished.returncode == 1
    assert f"Set {missing} " in finished.stderr


def test_production_has_the_default_rates():
    secrets = dict.fromkeys(
        ["DJANGO_SECRET_KEY", "STRIPE_SECRET_KEY", "STRIPE_PUBLISHABLE_KEY"], "x"
    )

    values = shop_payments(DJANGO_DEBUG="0", STRIPE_WEBHOOK_SECRET="x", **secrets)

    assert values["THROTTLE_RATES"] == {}


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "rediss://cache.example", "unix:///x"])
def test_a_shared_cache_comes_from_the_environment(url):
    show = "from config import settings; print(settings.CACHES['default']['LOCATION'])"

    finished = read_settings(show, CACHE_URL=url)

    assert finished.stdout.strip() == url


def test_another_kind_of_cache_is_refused_by_its_name():
    finished = read_settings(CACHE_URL="memcached://127.0.0.1")

    assert finished.returncode == 1
    assert "CACHE_URL must be redis://" in finished.stderr
