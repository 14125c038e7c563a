"""The app's settings: one ``SHOP_PAYMENTS`` dict, read lazily into a frozen dataclass."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from shop_payments.exceptions import ConfigurationError
from shop_payments.secrecy import Secret, sealed

DEFAULT_ORDER_MODEL = "shop_payments.Order"
CAPTURE_METHODS = ("automatic", "manual")
STRIPE_API_BASE = "https://api.stripe.com"
STRIPE_JS_URL = "https://js.stripe.com/endive/stripe.js"
"""The release of Stripe.js for the app's API version.

See: https://docs.stripe.com/sdks/stripejs-versioning (checked 2026-11)
"""

TEST_KEY_PREFIXES = ("sk_test_", "rk_test_")
LIVE_KEY_PREFIXES = ("sk_live_", "rk_live_")
LONGEST_DAYS = 36_500
"""A hundred years, for hosts that mean "never". A million days ago is not a valid date."""

RETENTION_LIMITS = (31, LONGEST_DAYS)
"""Days. Stripe keeps idempotency keys for 24 hours, redelivers an event for 3 days, and lists it
for 30 days. Until then, the content of an event or a call may be needed.

See: https://docs.stripe.com/api/events (checked 2026-11)
"""

DEFAULT_THROTTLE_RATES: Mapping[str, str | None] = MappingProxyType(
    {
        "failed_authentication": "300/min",
        "payment_intent_user": "60/hour",
        "payment_intent_address": "120/min",
        "payment_key": "600/min",
        "refund_key": "300/min",
        "orders_user": "120/min",
    }
)
"""Rates by scope. ``shop_payments/api/throttling.py`` explains them. None is no limit."""

ADDRESS_SCOPES = frozenset({"failed_authentication", "payment_intent_address"})
"""The scopes that count requests by IP address."""

Transport = Callable[[str, str, Mapping[str, str], str | bytes | None], Any]
"""``(method, url, headers, body) -> object with .status, .headers and .body``."""


def order_model_label() -> str:
    """Return the ``app_label.Model`` that payments belong to (``SHOP_PAYMENTS_ORDER_MODEL``).

    The model and its migration read it at import time, so it is a separate setting.
    """
    return getattr(settings, "SHOP_PAYMENTS_ORDER_MODEL", DEFAULT_ORDER_MODEL)


def order_model_reference() -> str:
    """Return the label of the order model, in a form that a foreign key can refer to.

    With a dotted path such as ``shop.models.Order``, models could not even be imported, and no
    check could name the fix.
    """
    label = order_model_label()
    if label.count(".") <= 1:
        return label
    return ".".join([part for part in label.split(".") if part not in ("", "models")][-2:])


@dataclass(frozen=True, kw_only=True)
class Config:
    """The ``SHOP_PAYMENTS`` setting. All keys except the two secrets are optional."""

    STRIPE_SECRET_KEY: Secret = field(default=Secret(""), repr=False)
    """``sk_test_…``, ``rk_test_…``, ``sk_live_…`` or ``rk_live_…``."""

    STRIPE_PUBLISHABLE_KEY: str = field(default="", repr=False)
    """``pk_…`` of the same account and mode, for pages that load Stripe.js."""

    STRIPE_WEBHOOK_SECRETS: tuple[Secret, ...] = field(default=(), repr=False)
    """``whsec_…``; a string, or a list of several while an endpoint's secret is rotated."""

    STRIPE_API_BASE: str = STRIPE_API_BASE
    """Changed only to use the sandbox."""

    STRIPE_JS_URL: str = STRIPE_JS_URL
    """Where the checkout pages load Stripe.js. If the API base is this machine, the default is the
    sandbox's stand-in."""

    STRIPE_TRANSPORT: str | Transport | None = None
    """For tests and the sandbox: a callable (or its dotted path) that replaces HTTP."""

    CONNECT_TIMEOUT: float = 5.0
    """Connect timeout in seconds, for each of the addresses of Stripe's host name."""

    READ_TIMEOUT: float = 20.0
    """Read timeout in seconds, for a whole call: until the answer's last byte, with the retry."""

    MAX_NETWORK_RETRIES: int = 1
    """1: a call without an answer, or with a 409 or 5xx, is retried once within ``READ_TIMEOUT``,
    with the same idempotency key. 0: it is not retried."""

    ORDER_ADAPTER: str = "shop_payments.orders.BundledOrderAdapter"
    """Dotted path of the :class:`~shop_payments.orders.OrderAdapter` to use."""

    ALLOWED_PAYMENT_METHOD_TYPES: tuple[str, ...] = ("card",)
    """Sent when an intent is created, unless ``AUTOMATIC_PAYMENT_METHODS`` is on."""

    AUTOMATIC_PAYMENT_METHODS: bool = False
    """Let the Stripe dashboard decide which payment methods an intent offers."""

    CAPTURE_METHOD: str = "automatic"
    """``"manual"``: the money is only reserved until it is captured. An adapter may return another
    value for an order."""

    ABANDONED_AFTER_DAYS: int = 30
    """Days without activity after which an unpaid intent is cancelled by the sweep."""

    AUTO_REFUND_EXCESS: bool = False
    """Refund whole payments automatically that came when nothing was owed or wanted: for a
    cancelled order, or a second time. The difference to a lower total is never refunded."""

    INTENT_WAIT_SECONDS: float = 5.0
    """Seconds that a request waits for another one that is writing the same order's intent."""

    WEBHOOK_TOLERANCE: int = 300
    """Seconds by which the time of a webhook's signature may differ from ours."""

    WEBHOOK_MAX_BYTES: int = 262_144
    """Larger webhook bodies are refused before they are parsed."""

    RECONCILE_REQUESTS_PER_SECOND: int = 25
    """The most calls that ``shop_payments_reconcile`` makes in a second. Stripe allows 25 in test
    mode and 100 in live mode, to all processes together."""

    EVENT_HANDLER: str = ""
    """Dotted path of a callable that gets a stored event's primary key and passes it to the host's
    own task queue, which calls ``shop_payments.services.process_event``. If empty, events are
    processed in the request that delivers them."""

    BROWSABLE_API: bool = True
    """Whether browsers get REST framework's browsable API."""

    PAGE_SIZE: int = 50
    """Orders on one page of ``GET orders``."""

    RETENTION_DAYS: int = 180
    """The age in days at which ``shop_payments_purge`` deletes personal data. Card payments can be
    disputed for about 120 days; the rest is time to answer."""

    THROTTLE_RATES: Mapping[str, str | None] = field(
        default_factory=lambda: DEFAULT_THROTTLE_RATES, hash=False
    )
    """Scopes of ``DEFAULT_THROTTLE_RATES`` with other rates (``"20/min"``), or None for no limit.
    None instead of the dict turns all throttles off."""

    THROTTLE_CACHE: str = "default"
    """The alias in ``CACHES`` that counts requests."""

    @property
    def livemode(self) -> bool:
        """Whether the secret key moves real money."""
        return self.STRIPE_SECRET_KEY.startswith(LIVE_KEY_PREFIXES)

    @property
    def uses_sandbox(self) -> bool:
        """Whether calls go to this machine, where only the sandbox can be."""
        return is_this_machine(self.STRIPE_API_BASE)

    @property
    def transport(self) -> Transport | None:
        """The callable behind ``STRIPE_TRANSPORT``."""
        if isinstance(self.STRIPE_TRANSPORT, str):
            transport: Transport = import_string(self.STRIPE_TRANSPORT)
            return transport
        return self.STRIPE_TRANSPORT


@cache
def get_config() -> Config:
    """Return the current settings.

    Raises:
        ConfigurationError: see :func:`parse_config`.
    """
    return parse_config(getattr(settings, "SHOP_PAYMENTS", {}))


@sealed
def parse_config(raw: object) -> Config:
    """Convert the ``SHOP_PAYMENTS`` setting to a :class:`Config`.

    Raises:
        ConfigurationError: the message names the wrong key and says what its value must be.
    """
    if not isinstance(raw, Mapping):
        raise ConfigurationError("SHOP_PAYMENTS must be a dict")
    known = {item.name for item in fields(Config)}
    if unknown := sorted(str(key) for key in raw if key not in known):
        named = ", ".join(map(_with_suggestion, unknown))
        raise ConfigurationError(f"SHOP_PAYMENTS has unknown keys: {named}")
    values = dict(raw)
    for key in ("STRIPE_WEBHOOK_SECRETS", "ALLOWED_PAYMENT_METHOD_TYPES"):
        if key in values:
            values[key] = _as_strings(key, values[key])
    for item in fields(Config):
        if item.name in values and (problem := _problem_of(item, values[item.name])):
            raise ConfigurationError(f"SHOP_PAYMENTS['{item.name}'] must be {problem}")
    values["THROTTLE_RATES"] = _merge_rates(values.get("THROTTLE_RATES", {}))
    if "STRIPE_API_BASE" in values:
        values["STRIPE_API_BASE"] = values["STRIPE_API_BASE"].rstrip("/") or STRIPE_API_BASE
    values["STRIPE_JS_URL"] = values.get("STRIPE_JS_URL") or default_stripe_js_url(
        values.get("STRIPE_API_BASE", STRIPE_API_BASE)
    )
    # Until here the secrets are plain text, so the function is sealed.
    values["STRIPE_SECRET_KEY"] = Secret(values.get("STRIPE_SECRET_KEY", ""))
    values["STRIPE_WEBHOOK_SECRETS"] = tuple(map(Secret, values.get("STRIPE_WEBHOOK_SECRETS", ())))
    return Config(**values)


def _with_suggestion(key: str) -> str:
    names = get_close_matches(key.upper(), [item.name for item in fields(Config)], n=1)
    return f"{key} (did you mean {names[0]}?)" if names else key


def default_stripe_js_url(api_base: str) -> str:
    """Return where to load Stripe.js: from Stripe, or from the sandbox if it is in use."""
    if not is_this_machine(api_base):
        return STRIPE_JS_URL
    return f"{api_base}/{STRIPE_JS_URL.removeprefix('https://')}"


def is_this_machine(url: str) -> bool:
    """Return whether the host of a URL is this machine, as the sandbox's is."""
    try:
        return urlsplit(url).hostname in {"127.0.0.1", "::1", "localhost"}
    except ValueError:  # not a URL
        return False


def _problem_of(item: Field[Any], value: object) -> str:
    """Return what a value must be; empty if it is valid. The value itself may be a secret."""
    default = item.default
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "True or False"
    if isinstance(default, int | float):
        return _problem_of_number(item.name, value, whole=isinstance(default, int))
    if isinstance(default, str | Secret):
        return _problem_of_text(item.name, value)
    return ""


def _problem_of_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        return "a string"
    if name == "STRIPE_API_BASE" and "@" in value:
        return "an address without a user's name or password"  # it is shown in checks and logs
    if name == "CAPTURE_METHOD" and value not in CAPTURE_METHODS:
        return " or ".join(repr(method) for method in CAPTURE_METHODS)
    return ""


def _problem_of_number(name: str, value: object, *, whole: bool) -> str:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        return f"a {'whole ' if whole else ''}number"
    if name == "MAX_NETWORK_RETRIES":
        return "" if value in (0, 1) else "0 or 1"
    if name == "RETENTION_DAYS":
        return problem_of_retention(value)
    if name == "ABANDONED_AFTER_DAYS" and not 1 <= value <= LONGEST_DAYS:
        return f"from 1 to {LONGEST_DAYS}"
    may_be_zero = name == "INTENT_WAIT_SECONDS"
    if not (0 if may_be_zero else 1e-9) <= value < math.inf:
        return "0 or more" if may_be_zero else "more than 0"
    return ""


def problem_of_retention(days: float) -> str:
    """Return what the number of days to keep personal data must be; empty if it is valid."""
    shortest, longest = RETENTION_LIMITS
    if shortest <= days <= longest:
        return ""
    return f"from {shortest} to {longest}, because Stripe lists an event for 30 days"


def _as_strings(key: str, value: object) -> tuple[str, ...]:
    items = (value,) if isinstance(value, str) else value
    if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) for item in items):
        raise ConfigurationError(f"SHOP_PAYMENTS['{key}'] must be a string or a list of strings")
    return tuple(item for item in items if item)


_RATE = re.compile(r"[1-9][0-9]*/(s|sec|second|m|min|minute|h|hour|d|day)", re.ASCII)
"""REST framework only reads the first letter of the period, so a "month" would be a minute."""


def _merge_rates(value: object) -> Mapping[str, str | None]:
    if value is None:
        return MappingProxyType(dict.fromkeys(DEFAULT_THROTTLE_RATES))
    if not isinstance(value, Mapping):
        raise ConfigurationError("SHOP_PAYMENTS['THROTTLE_RATES'] must be a dict or None")
    if unknown := sorted(str(scope) for scope in value if scope not in DEFAULT_THROTTLE_RATES):
        raise ConfigurationError(
            f"SHOP_PAYMENTS['THROTTLE_RATES'] has unknown scopes: {', '.join(unknown)}; "
            f"there are {', '.join(DEFAULT_THROTTLE_RATES)}"
        )
    for scope, rate in value.items():
        if rate is not None and not (isinstance(rate, str) and _RATE.fullmatch(rate)):
            raise ConfigurationError(
                f"SHOP_PAYMENTS['THROTTLE_RATES']['{scope}'] must be a number per second, min, "
                "hour or day, like '20/min', or None"
            )
    return MappingProxyType({**DEFAULT_THROTTLE_RATES, **value})


def _reload(*, setting: str, **kwargs: object) -> None:
    if setting == "SHOP_PAYMENTS":
        get_config.cache_clear()


setting_changed.connect(_reload, dispatch_uid="shop_payments.conf")
