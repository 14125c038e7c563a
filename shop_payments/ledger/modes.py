"""Test mode and live mode: which rows the key in use may touch."""

from __future__ import annotations

from shop_payments.conf import get_config
from shop_payments.exceptions import ConfigurationError


def belongs_to_other_mode(livemode: bool) -> bool:
    """Return whether something was created with a test key while the key in use is live.

    Test mode moves no money, so callers may ignore such a row. They may not ignore live rows.

    Raises:
        ConfigurationError: created in live mode, and the key in use is a test key.
    """
    if livemode == get_config().livemode:
        return False
    if livemode:
        raise ConfigurationError(
            "This order has a payment in live mode, "
            "but SHOP_PAYMENTS['STRIPE_SECRET_KEY'] is a test key"
        )
    return True
