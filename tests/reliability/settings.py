"""The tests' settings for processes of their own: the same database, and Stripe behind a socket."""

import os

from shop_payments.conf import DEFAULT_THROTTLE_RATES
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS, SHOP_PAYMENTS

# Threads keep their connections, as on a real server: a request begins with its work.
DATABASES["default"] |= {"NAME": os.environ["RELIABILITY_DATABASE"], "CONN_MAX_AGE": None}
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # No test crashes this database, and disks differ.
    DATABASES["default"]["OPTIONS"] = {"options": "-c synchronous_commit=off"}

INSTALLED_APPS = [*INSTALLED_APPS, "tests.reliability.ears.Ears"]
SHOP_PAYMENTS = {
    **SHOP_PAYMENTS,
    "STRIPE_API_BASE": os.environ["STRIPE_API_BASE"],
    "STRIPE_TRANSPORT": None,
    "ORDER_ADAPTER": "tests.reliability.parts.PartsAdapter",
    # 64 threads on a busy machine may need more than the default.
    "INTENT_WAIT_SECONDS": 45,
    "READ_TIMEOUT": 60.0,  # the servers of the tests end no worker
    "THROTTLE_RATES": dict.fromkeys(DEFAULT_THROTTLE_RATES),
}

SILENCED_SYSTEM_CHECKS = ["shop_payments.W006"]
