"""The gateway of a key: which keys it takes, and its one pool of connections."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from shop_payments.exceptions import (
    AmountTooSmall,
    ConfigurationError,
    GatewayUnavailable,
)
from shop_payments.gateway import get_gateway
from shop_payments.sandbox import Sandbox
from tests.gateway.support import (
    create,
    refusal,
)


@pytest.mark.parametrize("key", ["", "pk_test_x", "whsec_x", "sk_test", "none"])
def test_it_takes_secret_keys_only(configure, key):
    configure(STRIPE_SECRET_KEY=key)
    with pytest.raises(ConfigurationError, match="STRIPE_SECRET_KEY"):
        get_gateway()


@pytest.mark.parametrize(
    "key", ["sk_test_hid\n", "sk_test_hid den", "sk_live_hid\r\nX: y", "sk_test_hidé"]
)
def test_a_key_that_is_no_header_is_refused_without_quoting_it(configure, key):
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


def test_the_same_settings_have_one_gateway(stripe, configure):
    first = get_gateway()
    assert get_gateway() is first
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: get_gateway(), range(8))) == {first}

    configure(STRIPE_SECRET_KEY="sk_test_another")
    assert get_gateway() is not first


def test_a_changed_key_is_used_at_once(configure):
    """And the sandbox of the old one does not hear of it."""
    old, new = Sandbox(secret_keys=["sk_test_old"]), Sandbox(secret_keys=["sk_test_new"])
    configure(STRIPE_SECRET_KEY="sk_test_old", STRIPE_TRANSPORT=old.handle)
    create()
    configure(STRIPE_SECRET_KEY="sk_test_new", STRIPE_TRANSPORT=new.handle)
    create()
    assert (len(old.requests), len(new.requests)) == (1, 1)


PROXY_VARIABLES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy")


def test_the_sandbox_is_reached_past_a_proxy(stripe_server, monkeypatch):
    """Found: on a machine with HTTP_PROXY, the demo could not reach the sandbox beside it."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name in PROXY_VARIABLES:
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    create()

    assert len(stripe_server.requests) == 1


def test_stripe_is_reached_through_the_proxy(configure, monkeypatch):
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as proxy, ThreadPoolExecutor(1) as pool:
        proxy.settimeout(10)
        for name in PROXY_VARIABLES:
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        configure(STRIPE_TRANSPORT=None, MAX_NETWORK_RETRIES=0)
        asked = pool.submit(first_line_sent_to, proxy)

        refusal(GatewayUnavailable, create)

        assert asked.result(10).startswith(b"CONNECT api.stripe.com:443 ")


def first_line_sent_to(server: socket.socket) -> bytes:
    connection, _ = server.accept()
    with connection, connection.makefile("rb") as sent:
        return sent.readline()


def test_connections_are_used_again(over_http):
    connections = over_http(Sandbox().handle)
    for _call in range(5):
        create()
    assert len(connections) == 1


def test_connections_are_used_again_after_an_error(over_http):
    connections = over_http(Sandbox().handle)
    for _call in range(3):
        refusal(AmountTooSmall, lambda: create(amount=1))
    assert len(connections) == 1


def test_threads_share_the_pool(over_http):
    connections = over_http(Sandbox().handle)
    with ThreadPoolExecutor(4) as pool:
        for _burst in range(10):
            assert len({intent.id for intent in pool.map(lambda _: create(), range(4))}) == 4
    for _call in range(5):
        create()
    assert 1 <= len(connections) <= 4
