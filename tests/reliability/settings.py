"""The tests' settings in a process of its own: the same database, and Stripe behind a socket."""

import os

from shop_payments.conf import DEFAULT_THROTTLE_RATES
from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, SHOP_PAYMENTS

# As with a real server, threads keep their connections: a request begins with its work.
DATABASES["default"] |= {"NAME": os.environ["RELIABILITY_DATABASE"], "CONN_MAX_AGE": None}
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # What a crash of the database would lose is not asked here, and disks differ.
    DATABASES["default"]["OPTIONS"] = {"options": "-c synchronous_commit=off"}

SHOP_PAYMENTS = {
    **SHOP_PAYMENTS,
    "STRIPE_API_BASE": os.environ["STRIPE_API_BASE"],
    "STRIPE_TRANSPORT": None,
    "ORDER_ADAPTER": "tests.reliability.parts.PartsAdapter",
    # 64 threads on a busy machine may need more than the default; impatience has its own test.
    "INTENT_WAIT_SECONDS": 45,
    "READ_TIMEOUT": 60.0,  # no server of the tests ends a worker
    # A crew asks for one order more often than any customer does.
    "THROTTLE_RATES": dict.fromkeys(DEFAULT_THROTTLE_RATES),
}

SILENCED_SYSTEM_CHECKS = ["shop_payments.W006"]
