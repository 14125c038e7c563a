"""Check that the settings of a test cannot reach the real Stripe."""

from __future__ import annotations

from shop_payments.conf import Config, get_config
from shop_payments.exceptions import ConfigurationError


def get_test_config() -> Config:
    """Return the current settings if they cannot move real money.

    Raises:
        ConfigurationError: the secret key is a live key, or a setting is invalid.
    """
    config = get_config()
    if config.livemode:
        raise ConfigurationError(
            "SHOP_PAYMENTS['STRIPE_SECRET_KEY'] is a live key, and tests must not run with one. "
            "In the settings of your tests, remove it or set a test key (sk_test_…)."
        )
    return config


def assert_not_at_stripe(config: Config) -> None:
    """Raise an error if the app would call the real Stripe.

    Raises:
        ConfigurationError: no sandbox is in use.
    """
    if config.transport is None:
        raise ConfigurationError(
            "This project does not talk to the sandbox yet. Use the fixture `stripe_sandbox`, "
            "StripeSandboxMixin, or `with StripeSandbox() as stripe_sandbox:`."
        )
