"""The files of the stand-in for Stripe.js. What it does is in `tests/e2e/test_stripe_js.py`."""

from __future__ import annotations

import re

import pytest

SCRIPT = "/js.stripe.com/v3/"
FRAME = "/js.stripe.com/sandbox/payment_element"


@pytest.mark.parametrize("path", [SCRIPT, "/js.stripe.com/endive/stripe.js"])
def test_the_script_has_stripes_addresses(sandbox, path):
    answer = sandbox.handle("GET", path, {})

    assert (answer.status, b"window.Stripe = Stripe" in answer.body) == (200, True)
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert sandbox.requests == []


@pytest.mark.parametrize("ending", ["html", "css", "js"])
def test_the_frame_has_a_strict_policy(sandbox, ending):
    answer = sandbox.handle("GET", f"{FRAME}.{ending}", {})

    assert answer.status == 200
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_the_frame_has_no_inline_code_and_loads_nothing_from_elsewhere(sandbox):
    page = sandbox.handle("GET", f"{FRAME}.html", {}).body.decode()

    assert not re.search(r"<style|<script>|\sstyle=|\son\w+=|https?:", page)
    loaded = re.findall(r'(?:src|href)="(.*?)"', page)
    assert loaded == ["payment_element.css", "../v3/", "payment_element.js"]


@pytest.mark.parametrize("path", [f"{FRAME}.py", "/js.stripe.com/sandbox/../stripe_js.py"])
def test_nothing_else_is_served(sandbox, path):
    assert sandbox.handle("GET", path, {}).status in (401, 404)
