"""The demo project's settings for production, served as the tests need it."""

from config.settings import *  # noqa: F403
from config.settings import INSTALLED_APPS, SHOP_PAYMENTS

SECURE_SSL_REDIRECT = False  # nobody in front speaks TLS
INSTALLED_APPS = [*INSTALLED_APPS, "tests.reliability.ears.Ears"]
# All customers have one address, and each does in a second what others do in an hour.
SHOP_PAYMENTS = {
    **SHOP_PAYMENTS,
    "THROTTLE_RATES": None,
    "ORDER_ADAPTER": "tests.reliability.parts.PartsAdapter",
}
