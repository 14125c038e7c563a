"""The settings of a project that takes payments by hand, in the lines of Stripe's sample."""

import os

import dj_database_url

SECRET_KEY = "of-the-benchmarks" * 4
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "rest_framework",
    "rest_framework.authtoken",
    "tests.benchmarks.minimum",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
]
ROOT_URLCONF = "tests.benchmarks.minimum.urls"
DATABASES = {"default": dj_database_url.config(conn_max_age=None)}
if os.environ["DATABASE_PREPARED_STATEMENTS"] == "1":
    DATABASES["default"]["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 5}
MIGRATION_MODULES = dict.fromkeys(("auth", "contenttypes", "authtoken"))  # tables, no history
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STRIPE_KEY = os.environ["STRIPE_SECRET_KEY"]
STRIPE_BASE = os.environ["STRIPE_API_BASE"]
WEBHOOK_SECRET = os.environ["STRIPE_WEBHOOK_SECRET"]
