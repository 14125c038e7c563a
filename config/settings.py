"""Settings of the demo project: embedded defaults, everything else from the environment.

Without a ``STRIPE_SECRET_KEY`` the project talks to the sandbox (``manage.py
shop_payments_sandbox``) and needs neither an account nor the internet.
"""

import os
from importlib.util import find_spec
from pathlib import Path

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

BASE_DIR = Path(__file__).resolve().parent.parent


def _flag(name: str, default: str) -> bool:
    return os.environ.get(name, default).strip().lower() in {"1", "true", "yes", "on"}


def _list(name: str) -> list[str]:
    return [item.strip() for item in os.environ.get(name, "").split(",") if item.strip()]


def _secret(name: str, development_value: str) -> str:
    """A secret from the environment; the development value only ever with DEBUG."""
    value = os.environ.get(name, "")
    if value:
        return value
    if not DEBUG:
        raise ImproperlyConfigured(f"Set {name} (it has a default only with DJANGO_DEBUG=1)")
    return development_value


# --- Django -------------------------------------------------------------------------------------

DEBUG = _flag("DJANGO_DEBUG", "1")
SECRET_KEY = _secret("DJANGO_SECRET_KEY", "development-only-" + "x" * 50)
ALLOWED_HOSTS = _list("DJANGO_ALLOWED_HOSTS")
CSRF_TRUSTED_ORIGINS = _list("DJANGO_CSRF_TRUSTED_ORIGINS")

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

DATABASES = {
    "default": dj_database_url.config(
        default=f"sqlite:///{BASE_DIR / 'db.sqlite3'}", conn_max_age=60, conn_health_checks=True
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # SQLite has no row locks: writers queue at BEGIN instead of failing half-way, and readers
    # do not wait for them.
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }

_cache_url = os.environ.get("CACHE_URL", "")
if _cache_url and not _cache_url.startswith(("redis://", "rediss://", "unix://")):
    raise ImproperlyConfigured("CACHE_URL must be redis://…, rediss://… or unix://…")
if _cache_url:  # shared by all processes; without it, each counts its throttles for itself
    CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": _cache_url,
            # Seconds. Nobody's payment shall wait for a cache.
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

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"

# Behind TLS everywhere but on a developer's machine.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = not DEBUG
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEBUG
if _flag("DJANGO_BEHIND_TLS_PROXY", "0"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    # Django's own handlers would say everything a second time.
    "loggers": {"django": {"handlers": [], "level": "WARNING"}},
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["config.authentication.BearerTokenAuthentication"],
    # Proxies in front that append to X-Forwarded-For. Unset, callers would choose their address.
    "NUM_PROXIES": int(os.environ.get("DJANGO_NUM_PROXIES", "0")),
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
_api_base = os.environ.get("STRIPE_API_BASE", "").rstrip("/") or (
    _STRIPE if os.environ.get("STRIPE_SECRET_KEY") else _SANDBOX
)


def _stripe_secret(name: str, sandbox_value: str) -> str:
    """From the environment. What stands in this file is no secret, so Stripe never gets it."""
    return _secret(name, "" if _api_base == _STRIPE else sandbox_value)


SHOP_PAYMENTS: dict[str, object] = {
    "STRIPE_SECRET_KEY": _stripe_secret("STRIPE_SECRET_KEY", "sk_test_sandbox"),
    "STRIPE_PUBLISHABLE_KEY": _stripe_secret("STRIPE_PUBLISHABLE_KEY", "pk_test_sandbox"),
    "STRIPE_WEBHOOK_SECRETS": _stripe_secret("STRIPE_WEBHOOK_SECRET", "whsec_sandbox"),
    "STRIPE_API_BASE": _api_base,
    # Who tries the API out asks for one order's intent more often than any customer.
    "THROTTLE_RATES": {"payment_intent_user": "60/min"} if DEBUG else {},
}
