"""The demo project's settings, fit for tests.

SQLite lives in a file and not in memory: tests with threads need a database that can be shared.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

os.environ.setdefault("DJANGO_DEBUG", "1")

from config.settings import *  # noqa: F403
from config.settings import DATABASES, INSTALLED_APPS
from shop_payments.conf import DEFAULT_THROTTLE_RATES

DEBUG = False
ALLOWED_HOSTS = ["testserver", "127.0.0.1", "localhost"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = False
INSTALLED_APPS = [app for app in INSTALLED_APPS if not app.startswith("whitenoise")]
INSTALLED_APPS += ["tests.database"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

DATABASES["default"]["CONN_MAX_AGE"] = 0
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    _folder = Path(tempfile.mkdtemp(prefix="shop_payments-tests-"))
    atexit.register(shutil.rmtree, _folder, ignore_errors=True)
    DATABASES["default"]["NAME"] = str(_folder / "db.sqlite3")
    DATABASES["default"]["TEST"] = {"NAME": str(_folder / "test.sqlite3")}
elif os.environ.get("DATABASE_PREPARED_STATEMENTS") == "1":
    # As in the demo project without DEBUG. Otherwise Django's default, which most projects have.
    _options = {"server_side_binding": True, "prepare_threshold": 5}
    DATABASES["default"]["OPTIONS"] = DATABASES["default"].get("OPTIONS", {}) | _options

MAILERS = {"default": {"BACKEND": "django.core.mail.backends.locmem.EmailBackend"}}
"""Django 6.1 and later want one; earlier versions do not know the setting."""

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

SHOP_PAYMENTS = {
    "STRIPE_SECRET_KEY": "sk_test_of_the_tests",
    "STRIPE_PUBLISHABLE_KEY": "pk_test_of_the_tests",
    "STRIPE_WEBHOOK_SECRETS": ["whsec_of_the_tests"],
    # Every test that reaches Stripe brings a sandbox (fixture `stripe`); the others must not.
    "STRIPE_TRANSPORT": "tests.support.no_stripe",
    "MAX_NETWORK_RETRIES": 0,
    "RECONCILE_REQUESTS_PER_SECOND": 100_000,  # tests do not sleep
    # Tests that want a limit say which.
    "THROTTLE_RATES": dict.fromkeys(DEFAULT_THROTTLE_RATES),
}
