"""The gateway of the configured key: one client and one pool, however often it is asked for."""

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
"""Pinned: what an answer looks like must not change with the SDK's release."""


def get_gateway() -> Gateway:
    """Return the gateway of the configured secret key: one client and one pool for each.

    Raises:
        ConfigurationError: no secret key, or not one that a server may use.
    """
    # With the process id, so that a forked child does not write to its parent's sockets.
    return _build_gateway(get_config(), os.getpid())


_PRINTABLE = re.compile(r"[!-~]+")


@lru_cache(maxsize=1)  # Threads that are the first ones at the same moment may build one each.
def _build_gateway(config: Config, process_id: int) -> Gateway:
    return Gateway(_client(config, build_http_client(config)), livemode=config.livemode)


@sealed
def _client(config: Config, http_client: stripe.HTTPClient) -> stripe.StripeClient:
    key = config.STRIPE_SECRET_KEY.reveal()
    # White space, say from a file's last line, would be refused as a header: with the key quoted.
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
