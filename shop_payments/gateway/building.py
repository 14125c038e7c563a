"""Build the gateway for the configured secret key: one client and one connection pool."""

from __future__ import annotations

import os
import re
from functools import lru_cache

import stripe

from shop_payments.conf import LIVE_KEY_PREFIXES, TEST_KEY_PREFIXES, Config, get_config
from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway.client import Gateway
from shop_payments.gateway.http_clients import build_http_client
from shop_payments.secrecy import sealed

STRIPE_API_VERSION = "2026-10-28.endive"
"""Pinned, because a new release of the SDK must not change the answers."""


def get_gateway() -> Gateway:
    """Return the gateway for the configured secret key. The same settings give the same gateway.

    Raises:
        ConfigurationError: the secret key is missing, or it is not a key for servers.
    """
    # The process id is part of the cache key: a forked child must not use its parent's sockets.
    return _build_gateway(get_config(), os.getpid())


_PRINTABLE = re.compile(r"[!-~]+")


@lru_cache(maxsize=1)  # Threads that call it for the first time concurrently may build one each.
def _build_gateway(config: Config, process_id: int) -> Gateway:
    return Gateway(_client(config, build_http_client(config)), livemode=config.livemode)


@sealed
def _client(config: Config, http_client: stripe.HTTPClient) -> stripe.StripeClient:
    key = config.STRIPE_SECRET_KEY.reveal()
    # `requests` refuses a header with a line break, and its message quotes the key.
    if not key.startswith((*TEST_KEY_PREFIXES, *LIVE_KEY_PREFIXES)) or not _PRINTABLE.fullmatch(
        key
    ):
        raise ConfigurationError(
            "SHOP_PAYMENTS['STRIPE_SECRET_KEY'] is missing or not a secret key "
            "(sk_test_…, rk_test_…, sk_live_… or rk_live_…, without white space)"
        )
    return stripe.StripeClient(
        key,
        stripe_version=STRIPE_API_VERSION,
        base_addresses={"api": config.STRIPE_API_BASE},
        max_network_retries=0,  # See Note [One retry] in http_clients.py.
        http_client=http_client,
    )
