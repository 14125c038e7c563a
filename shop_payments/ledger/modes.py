"""Test mode and live mode: which rows the key in use may touch."""

from __future__ import annotations

from shop_payments.conf import get_config
from shop_payments.exceptions import ConfigurationError


def belongs_to_other_mode(livemode: bool) -> bool:
    """Tell whether something was begun with a test key and the key in use is live.

    There is no money in test mode, so it may be left behind. The reverse may not.

    Raises:
        ConfigurationError: begun in live mode, and the key in use is a test key.
    """
    if livemode == get_config().livemode:
        return False
    if livemode:
        raise ConfigurationError(
            "This order has a payment in live mode, "
            "but SHOP_PAYMENTS['STRIPE_SECRET_KEY'] is a test key"
        )
    return True
