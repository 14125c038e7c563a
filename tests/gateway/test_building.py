"""Build the gateway: which keys it accepts, and when a new one is built."""

from __future__ import annotations

import pytest

from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway import get_gateway
from shop_payments.sandbox import Sandbox
from tests.gateway.support import create
from tests.support import no_stripe


@pytest.mark.parametrize(
    ("key", "transport", "words"),
    [
        ("", None, "missing or not a secret key"),
        ("pk_test_hidden", None, "missing or not a secret key"),
        ("sk_test_hidden\n", None, "without white space"),
        ("sk_test_hiddené", None, "without white space"),
        ("sk_live_hidden", no_stripe, "cannot be used with a live key"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_and_not_quoted(configure, key, transport, words):
    """Found: with a line break at its end, the message of requests quoted the key."""
    configure(STRIPE_SECRET_KEY=key, STRIPE_TRANSPORT=transport)
    with pytest.raises(ConfigurationError, match=words) as refusal:
        get_gateway()
    assert "hidden" not in str(refusal.value)


def test_a_live_key_makes_no_test_payment(configure):
    configure(STRIPE_SECRET_KEY="rk_live_x", STRIPE_TRANSPORT=None)
    gateway = get_gateway()
    assert gateway.livemode
    with pytest.raises(ConfigurationError, match="need a test key"):
        gateway.confirm_payment_intent("pi_1", payment_method="p", idempotency_key="k")


def test_a_changed_key_is_used_at_once_and_a_forked_process_has_its_own_gateway(
    configure, monkeypatch
):
    """A child must not write to its parent's sockets."""
    old, new = Sandbox(secret_keys=["sk_test_old"]), Sandbox(secret_keys=["sk_test_new"])
    for key, sandbox in (("sk_test_old", old), ("sk_test_new", new)):
        configure(STRIPE_SECRET_KEY=key, STRIPE_TRANSPORT=sandbox.handle)
        create()
    assert (len(old.requests), len(new.requests)) == (1, 1)
    parents = get_gateway()
    assert get_gateway() is parents
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert get_gateway() is not parents
