"""The gateway of a key: which keys it takes, and when another one is built."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway import get_gateway
from shop_payments.sandbox import Sandbox
from tests.gateway.support import create


@pytest.mark.parametrize("key", ["", "pk_test_x", "whsec_x", "sk_test", "none"])
def test_it_takes_secret_keys_only(configure, key):
    configure(STRIPE_SECRET_KEY=key)
    with pytest.raises(ConfigurationError, match="STRIPE_SECRET_KEY"):
        get_gateway()


@pytest.mark.parametrize(
    "key", ["sk_test_hid\n", "sk_test_hid den", "sk_live_hid\r\nX: y", "sk_test_hidé"]
)
def test_a_key_that_cannot_be_a_header_is_refused_and_not_quoted(configure, key):
    """A line break at its end came back in the message of requests, with the key."""
    configure(STRIPE_TRANSPORT=None, STRIPE_SECRET_KEY=key)
    with pytest.raises(ConfigurationError, match="without white space") as refusal:
        get_gateway()
    assert "hid" not in str(refusal.value)


def test_a_transport_does_not_meet_a_live_key(configure):
    configure(STRIPE_SECRET_KEY="sk_live_x", STRIPE_TRANSPORT=Sandbox().handle)
    with pytest.raises(ConfigurationError, match="must not meet a live key"):
        get_gateway()


def test_a_live_key_makes_no_test_payment(configure):
    configure(STRIPE_SECRET_KEY="rk_live_x", STRIPE_TRANSPORT=None)
    gateway = get_gateway()
    assert gateway.livemode
    with pytest.raises(ConfigurationError, match="need a test key"):
        gateway.confirm_payment_intent("pi_1", payment_method="p", idempotency_key="k")


def test_the_same_settings_have_one_gateway(stripe):
    first = get_gateway()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: get_gateway(), range(8))) == {first}


def test_a_forked_process_has_its_own_gateway(stripe, monkeypatch):
    """It must not write to its parent's sockets."""
    first = get_gateway()
    monkeypatch.setattr("os.getpid", lambda: -1)
    assert get_gateway() is not first


def test_a_changed_key_is_used_at_once(configure):
    old, new = Sandbox(secret_keys=["sk_test_old"]), Sandbox(secret_keys=["sk_test_new"])
    configure(STRIPE_SECRET_KEY="sk_test_old", STRIPE_TRANSPORT=old.handle)
    create()
    configure(STRIPE_SECRET_KEY="sk_test_new", STRIPE_TRANSPORT=new.handle)
    create()
    assert (len(old.requests), len(new.requests)) == (1, 1)
