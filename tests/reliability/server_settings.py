"""The demo project's settings for production, as the tests need them."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS, SHOP_PAYMENTS

SECURE_SSL_REDIRECT = False  # there is no proxy that speaks TLS
INSTALLED_APPS = [*INSTALLED_APPS, "tests.reliability.ears.Ears"]
# All customers have one address, and each does in a second what others do in an hour.
SHOP_PAYMENTS = {
    **SHOP_PAYMENTS,
    "THROTTLE_RATES": None,
    "ORDER_ADAPTER": "tests.reliability.parts.PartsAdapter",
}
