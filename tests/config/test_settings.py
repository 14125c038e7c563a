"""The demo project's settings come from the environment; defaults replace secrets in DEBUG only."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

import config
from shop_payments.conf import Config

SECRETS = {
    "DJANGO_SECRET_KEY": "x",
    "STRIPE_SECRET_KEY": "sk_test_x",
    "STRIPE_PUBLISHABLE_KEY": "pk_test_x",
    "STRIPE_WEBHOOK_SECRET": "whsec_x",
    "DATABASE_URL": "postgres://shop:secret@127.0.0.1:5432/shop",
}


@pytest.fixture
def read(monkeypatch) -> Callable[..., dict[str, Any]]:
    """Read the settings with these environment variables, and no others of the project's."""

    def read(**environment: str) -> dict[str, Any]:
        for name in os.environ:
            if name.startswith(("DJANGO_", "STRIPE_", "CACHE_", "DATABASE_")):
                monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(Path(config.__path__[0], "settings.py")))

    return read


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ("http://127.0.0.1:12111", "sk_test_sandbox", ["whsec_sandbox"])),
        ({"STRIPE_SECRET_KEY": "sk_test_mine"}, ("https://api.stripe.com", "sk_test_mine", [""])),
        (
            {"STRIPE_SECRET_KEY": "sk_test_x", "STRIPE_API_BASE": "http://127.0.0.1:9/"},
            ("http://127.0.0.1:9", "sk_test_x", ["whsec_sandbox"]),
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


PRODUCTION = {**SECRETS, "DJANGO_DEBUG": "0"}
POSTGRESQL = SECRETS["DATABASE_URL"]


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("DJANGO_DEBUG", "flase", "1, true, yes or on, or 0, false, no or off"),
        ("DJANGO_SSL_REDIRECT", "2", "1, true, yes or on, or 0, false, no or off"),
        ("DJANGO_HSTS_SUBDOMAINS", "maybe", "1, true, yes or on, or 0, false, no or off"),
        ("DJANGO_HSTS_SECONDS", "1h", "a whole number, 0 or more"),
        ("DJANGO_NUM_PROXIES", "-1", "a whole number, 0 or more"),
        ("DJANGO_NUM_PROXIES", "1_0", "a whole number, 0 or more"),
        ("DJANGO_THREADS", "0", "a whole number, 1 or more"),
        ("DJANGO_LOG_FORMAT", "xml", "text or json"),
        ("DJANGO_LOG_LEVEL", "LOUD", "DEBUG, INFO, WARNING or ERROR"),
        ("DJANGO_PROXY_SSL_HEADER", "1", "X-Forwarded-Proto: https"),
        ("DJANGO_PROXY_SSL_HEADER", "X Forwarded: https", "X-Forwarded-Proto: https"),
        ("DATABASE_URL", "sk_live_secret", "postgres://user:password@host:5432/name"),
        ("DATABASE_URL", "postgres://shop:sk_live_secret@host:port/shop", "postgres://user"),
        ("DATABASE_URL", "mysql://shop:sk_live_secret@127.0.0.1/shop", "postgres://user"),
        ("CACHE_URL", "memcached://sk_live_secret", "redis://…"),
        ("DJANGO_THREADS", "9" * 5000, "a whole number, 1 or more"),
        ("DJANGO_ALLOWED_HOSTS", "https://shop.example", "host names without https://"),
        ("DJANGO_ALLOWED_HOSTS", "a.example, shop.example:443", "host names without https://"),
        ("DJANGO_CSRF_TRUSTED_ORIGINS", "shop.example", "such as https://shop.example"),
        ("DJANGO_LANGUAGE_CODE", "klingon", "en-us or de"),
        ("DJANGO_TIME_ZONE", "Berlin", "such as Europe/Berlin"),
        ("DJANGO_TIME_ZONE", "../etc/passwd", "such as Europe/Berlin"),
    ],
)
def test_a_wrong_value_is_refused_with_the_name_of_its_variable(read, name, value, accepted):
    with pytest.raises(ImproperlyConfigured) as raised:
        read(**{**PRODUCTION, name: value})
    message = str(raised.value)
    assert message.startswith(f"{name} must be ")
    assert accepted in message
    # A secret in the wrong variable is not shown.
    assert "sk_live" not in message
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_hosts_origins_language_and_zone_are_taken_as_they_are(read):
    found = read(
        DJANGO_ALLOWED_HOSTS="shop.example, .shop.example,[::1]",
        DJANGO_CSRF_TRUSTED_ORIGINS="https://*.shop.example",
        DJANGO_LANGUAGE_CODE="de",
        DJANGO_TIME_ZONE="Europe/Berlin",
    )
    assert found["ALLOWED_HOSTS"] == ["shop.example", ".shop.example", "[::1]"]
    assert found["CSRF_TRUSTED_ORIGINS"] == ["https://*.shop.example"]
    assert (found["LANGUAGE_CODE"], found["TIME_ZONE"]) == ("de", "Europe/Berlin")


def test_booleans_have_several_words_and_an_empty_variable_is_not_set(read):
    for value in ("1", "true", "Yes", " on "):
        assert read(DJANGO_DEBUG=value)["DEBUG"] is True
    for value in ("0", "FALSE", "no", "off"):
        assert read(**SECRETS, DJANGO_DEBUG=value)["DEBUG"] is False
    assert read(DJANGO_DEBUG="", DATABASE_URL="", DJANGO_NUM_PROXIES=" ")["DEBUG"] is True


def test_production_is_secure_unless_it_says_otherwise(read):
    found = read(**PRODUCTION)
    secure = {name: found[name] for name in found if name.startswith("SECURE_")}
    assert secure == {
        "SECURE_SSL_REDIRECT": True,
        "SECURE_PROXY_SSL_HEADER": None,
        "SECURE_HSTS_SECONDS": 31_536_000,
        "SECURE_HSTS_INCLUDE_SUBDOMAINS": True,
        "SECURE_HSTS_PRELOAD": True,
    }
    assert found["SESSION_COOKIE_SECURE"] is found["CSRF_COOKIE_SECURE"] is True
    assert found["ALLOWED_HOSTS"] == []
    assert "Manifest" in found["STORAGES"]["staticfiles"]["BACKEND"]

    first_days = {"DJANGO_HSTS_SECONDS": "3600", "DJANGO_HSTS_SUBDOMAINS": "0"}
    found = read(**PRODUCTION, **first_days, DJANGO_PROXY_SSL_HEADER="X-Forwarded-Proto: https")
    assert (found["SECURE_HSTS_SECONDS"], found["SECURE_HSTS_PRELOAD"]) == (3600, False)
    assert found["SECURE_PROXY_SSL_HEADER"] == ("HTTP_X_FORWARDED_PROTO", "https")


def test_development_needs_neither_tls_nor_collected_files(read):
    found = read()
    assert not any(found[name] for name in found if name.startswith("SECURE_"))
    assert not found["SESSION_COOKIE_SECURE"]
    assert "STORAGES" not in found


def test_postgresql_has_a_pool_in_production_that_fits_the_threads(read):
    database = read(**PRODUCTION, DJANGO_THREADS="3")["DATABASES"]["default"]
    assert database["OPTIONS"]["pool"]["max_size"] == 3
    # Django refuses a pool of kept connections.
    assert (database["CONN_MAX_AGE"], database["CONN_HEALTH_CHECKS"]) == (0, True)

    own = f"{POSTGRESQL}?connect_timeout=2&options=-c%20statement_timeout%3D30s"
    options = read(**{**PRODUCTION, "DATABASE_URL": own})["DATABASES"]["default"]["OPTIONS"]
    assert (options["connect_timeout"], options["pool"]["max_size"]) == (2, 8)
    assert options["options"] == "-c statement_timeout=30s"

    sqlite = read(**{**PRODUCTION, "DATABASE_URL": "sqlite:////tmp/shop.sqlite3"})
    assert "pool" not in sqlite["DATABASES"]["default"]["OPTIONS"]
    database = read(DATABASE_URL=POSTGRESQL)["DATABASES"]["default"]  # development
    assert "pool" not in database.get("OPTIONS", {})


def test_postgresql_prepares_statements_in_production_unless_told_otherwise(read):
    def options(**environ: str) -> dict[str, Any]:
        settings = read(**PRODUCTION, **environ)
        found: dict[str, Any] = settings["DATABASES"]["default"]["OPTIONS"]
        return found

    assert options()["server_side_binding"] is True
    assert options()["prepare_threshold"] == 5
    off = options(DATABASE_PREPARED_STATEMENTS="off")
    assert (off["server_side_binding"], off["prepare_threshold"]) == (False, None)


def test_secrets_can_be_rotated(read):
    found = read(**{**PRODUCTION, "STRIPE_WEBHOOK_SECRET": "whsec_new, whsec_old"})
    assert found["SHOP_PAYMENTS"]["STRIPE_WEBHOOK_SECRETS"] == ["whsec_new", "whsec_old"]
    found = read(**PRODUCTION, DJANGO_SECRET_KEY_FALLBACKS="old,older")
    assert found["SECRET_KEY_FALLBACKS"] == ["old", "older"]


def test_gunicorn_waits_for_stripe_and_has_the_threads_of_the_pool(monkeypatch):
    monkeypatch.setenv("DJANGO_THREADS", "5")
    found = runpy.run_path(str(Path(config.__path__[0], "gunicorn.py")))
    seconds = Config().CONNECT_TIMEOUT + Config().READ_TIMEOUT
    assert found["timeout"] > seconds
    assert found["graceful_timeout"] > seconds + Config().INTENT_WAIT_SECONDS
    assert (found["worker_class"], found["threads"]) == ("gthread", 5)


@pytest.mark.parametrize("empty", [{}, {"DJANGO_DEBUG": ""}, {"DJANGO_DEBUG": " "}])
@pytest.mark.parametrize("server", ["wsgi", "asgi"])
def test_a_web_server_does_not_run_in_debug_mode_by_accident(server, empty):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    kept |= empty
    command = [sys.executable, "-c", f"import config.{server}"]
    root = Path(config.__path__[0]).parent
    found = subprocess.run(command, cwd=root, env=kept, capture_output=True, text=True)
    assert "ImproperlyConfigured: Set DJANGO_SECRET_KEY" in found.stderr
