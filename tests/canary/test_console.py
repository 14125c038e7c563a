"""What stripe-python prints past the loggers."""

from __future__ import annotations

import pytest
import stripe as stripe_sdk

from shop_payments.gateway.building import _build_gateway
from tests.canary.mangled import MANGLED, Mangler
from tests.canary.scene import reachable_through, run_the_flow


@pytest.mark.parametrize("level", ["debug", "info"])
def test_stripes_console_log_does_not(scene, canary, monkeypatch, capfd, level):
    monkeypatch.setattr(stripe_sdk, "log", level)
    _build_gateway.cache_clear()

    run_the_flow(scene)

    output, errors = capfd.readouterr()
    assert "Request to Stripe api" in errors
    canary.look_at("the console", output + errors)
    canary.assert_silent()


def test_stripes_console_log_does_not_if_it_is_turned_on_later(scene, canary, monkeypatch, capfd):
    scene.ask()
    monkeypatch.setattr(stripe_sdk, "log", "debug")

    run_the_flow(scene)

    canary.look_at("the console", "".join(capfd.readouterr()))
    canary.assert_silent()


def test_stripes_console_log_does_not_quote_stripe(
    scene, canary, stripe, configure, monkeypatch, capfd
):
    monkeypatch.setattr(stripe_sdk, "log", "info")
    mangler = Mangler(stripe, MANGLED["a bad request"])
    configure(**reachable_through(mangler))

    run_the_flow(scene, mangler.arm)

    canary.look_at("the console", "".join(capfd.readouterr()))
    canary.assert_silent()
