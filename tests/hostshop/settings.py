"""A shop with an order of its own, for tests that run in a process of their own."""

from tests.settings import *  # noqa: F403
from tests.settings import DATABASES, INSTALLED_APPS, SHOP_PAYMENTS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.hostshop"]

if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # The main suite's test database is in use while these tests run. A dict of its own: the main
    # suite reads this module, too.
    _default = DATABASES["default"]
    _test = {"NAME": f"test_{_default['NAME']}_hostshop"}
    DATABASES = {**DATABASES, "default": {**_default, "TEST": _test}}

# SessionAuthentication names no challenge: the payment routes have to answer 401 all the same.
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "rest_framework.authentication.SessionAuthentication",
        "config.authentication.BearerTokenAuthentication",
    ],
}

SHOP_PAYMENTS_ORDER_MODEL = "hostshop.Order"
SHOP_PAYMENTS = {**SHOP_PAYMENTS, "ORDER_ADAPTER": "tests.hostshop.adapter.HostOrderAdapter"}
