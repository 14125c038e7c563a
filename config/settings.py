"""Settings of the project: embedded defaults, everything else from the environment.

docs/operations.md lists the variables. Without a ``STRIPE_SECRET_KEY`` the project talks to the
sandbox (``manage.py shop_payments_sandbox``) and needs neither an account nor the internet.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from config import environment
from config.logs import logging_config

BASE_DIR = Path(__file__).resolve().parent.parent


def _secret(name: str, development_value: str) -> str:
    """A secret from the environment; the development value only ever with DEBUG."""
    value = environment.text(name)
    if value:
        return value
    if not DEBUG:
        raise ImproperlyConfigured(f"Set {name} (it has a default only with DJANGO_DEBUG=1)")
    return development_value


# --- Django -------------------------------------------------------------------------------------

DEBUG = environment.flag("DJANGO_DEBUG", default=True)
SECRET_KEY = _secret("DJANGO_SECRET_KEY", "development-only-" + "x" * 50)
SECRET_KEY_FALLBACKS = environment.words("DJANGO_SECRET_KEY_FALLBACKS")
ALLOWED_HOSTS = environment.hosts("DJANGO_ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = environment.origins("DJANGO_CSRF_TRUSTED_ORIGINS")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework.authtoken",
    "shop_payments",
    "config",
]

MIDDLEWARE = [
    # First: a load balancer asks in plain HTTP, and by address instead of host name.
    "config.health.HealthMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

_database_url = _secret("DATABASE_URL", f"sqlite:///{BASE_DIR / 'db.sqlite3'}")
try:
    _database: dict[str, Any] = {**dj_database_url.parse(_database_url, conn_health_checks=True)}
    if not _database["ENGINE"].endswith((".postgresql", ".sqlite3")):
        raise ValueError("a database that the app does not support")
except ValueError:  # the address is not shown, because it may contain a password
    raise ImproperlyConfigured(
        "DATABASE_URL must be postgres://user:password@host:5432/name or sqlite:////path/to/file."
    ) from None

if _database["ENGINE"] == "django.db.backends.sqlite3":
    # SQLite has no row locks: writers queue at BEGIN instead of failing half-way, and readers
    # do not wait for them.
    _database["CONN_MAX_AGE"] = 60
    _database["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
elif DEBUG:
    _database["CONN_MAX_AGE"] = 60
elif _database["ENGINE"] == "django.db.backends.postgresql":
    _is_prepared = environment.flag("DATABASE_PREPARED_STATEMENTS", default=True)
    _database["OPTIONS"] = {
        "connect_timeout": 5,
        # One connection for each thread, so that no thread waits for another one. A request waits
        # for a connection for 5 seconds, for example while PostgreSQL restarts. The pool gives up
        # trying to connect after as long, and the next request tries again at once: otherwise, the
        # pauses between the tries would grow to minutes.
        "pool": {
            "min_size": 1,
            "max_size": environment.threads(),
            "timeout": 5,
            "reconnect_timeout": 5,
        },
        # Statements that are sent often are parsed and planned once for each connection, not each
        # time. Django's default is to write the values into the statement, and prepare nothing.
        "server_side_binding": _is_prepared,
        "prepare_threshold": 5 if _is_prepared else None,
        **_database.get("OPTIONS", {}),  # those of the address
    }
DATABASES = {"default": _database}

_cache_url = environment.text("CACHE_URL")
if _cache_url and not _cache_url.startswith(("redis://", "rediss://", "unix://")):
    raise ImproperlyConfigured("CACHE_URL must be redis://…, rediss://… or unix://…")
if _cache_url:  # shared by all processes; without it, each counts its throttles for itself
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": _cache_url,
            # Seconds. No payment should wait for a cache.
            "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 1},
        }
    }

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE = environment.choice("DJANGO_LANGUAGE_CODE", ("en-us", "de"), default="en-us")
TIME_ZONE = environment.time_zone("DJANGO_TIME_ZONE", "UTC")
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = environment.text("DJANGO_STATIC_ROOT", str(BASE_DIR / "staticfiles"))
if not DEBUG:  # `collectstatic` adds a hash to each name, so that browsers may keep the files
    STORAGES = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
    }

# Behind TLS everywhere but on a developer's machine.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SECURE_SSL_REDIRECT = environment.flag("DJANGO_SSL_REDIRECT", default=not DEBUG)
SECURE_PROXY_SSL_HEADER = environment.header("DJANGO_PROXY_SSL_HEADER")
SECURE_HSTS_SECONDS = environment.number("DJANGO_HSTS_SECONDS", default=0 if DEBUG else 31_536_000)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = environment.flag(
    "DJANGO_HSTS_SUBDOMAINS", default=not DEBUG
)

LOGGING = logging_config(development=DEBUG)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["config.authentication.BearerTokenAuthentication"],
    # Proxies in front that append to X-Forwarded-For. Unset, callers would choose their address.
    "NUM_PROXIES": environment.number("DJANGO_NUM_PROXIES", default=0),
}

if find_spec("drf_spectacular"):  # the extra `docs`: the schema at /api/schema/ and /api/docs/
    INSTALLED_APPS += ["drf_spectacular", "drf_spectacular_sidecar"]
    SPECTACULAR_SETTINGS = {
        "TITLE": "Shop payments",
        "DESCRIPTION": (
            "Takes a shop's orders to paid through Stripe. Success is `{message, data}`, failure "
            "`{message, code}`, with `errors` (by field) or `data` where that helps. Codes are "
            "stable; messages are for people."
        ),
        "VERSION": "1",
        "OAS_VERSION": "3.1.0",
        "SWAGGER_UI_DIST": "SIDECAR",
        "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    }

# --- shop_payments ------------------------------------------------------------------------------

_STRIPE, _SANDBOX = "https://api.stripe.com", "http://127.0.0.1:12111"
_api_base = environment.text("STRIPE_API_BASE").rstrip("/") or (
    _STRIPE if environment.text("STRIPE_SECRET_KEY") else _SANDBOX
)


def _stripe_secret(name: str, sandbox_value: str) -> str:
    """From the environment. What stands in this file is no secret, so Stripe never gets it."""
    return _secret(name, "" if _api_base == _STRIPE else sandbox_value)


SHOP_PAYMENTS: dict[str, object] = {
    "STRIPE_SECRET_KEY": _stripe_secret("STRIPE_SECRET_KEY", "sk_test_sandbox"),
    "STRIPE_PUBLISHABLE_KEY": _stripe_secret("STRIPE_PUBLISHABLE_KEY", "pk_test_sandbox"),
    # Several while one is being rotated, separated by commas.
    "STRIPE_WEBHOOK_SECRETS": [
        each.strip() for each in _stripe_secret("STRIPE_WEBHOOK_SECRET", "whsec_sandbox").split(",")
    ],
    "STRIPE_API_BASE": _api_base,
    # Developers ask for one order's intent more often than any customer does.
    "THROTTLE_RATES": {"payment_intent_user": "60/min"} if DEBUG else {},
}
