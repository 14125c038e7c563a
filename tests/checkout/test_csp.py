"""The sources that are added to the host's content security policy."""

from __future__ import annotations

import subprocess
import sys

from shop_payments.checkout.csp import STRIPE_SOURCES, add_stripe_sources, stripe_sources

SELF = "'self'"
SANDBOX = {"STRIPE_API_BASE": "http://127.0.0.1:12111/"}


def test_a_policy_gets_the_sources_of_stripe():
    policy = {"default-src": [SELF], "script-src": [SELF, "https://cdn.example"], "img-src": "*"}

    merged = add_stripe_sources(policy)

    assert merged == {
        "default-src": [SELF],
        "script-src": [SELF, "https://cdn.example", *STRIPE_SOURCES["script-src"]],
        "frame-src": [SELF, *STRIPE_SOURCES["frame-src"]],
        "connect-src": [SELF, *STRIPE_SOURCES["connect-src"]],
        "style-src": [SELF],
        "img-src": "*",
    }
    assert policy["script-src"] == [SELF, "https://cdn.example"]
    assert add_stripe_sources(merged) == merged


def test_nothing_and_everything_allowed():
    closed = add_stripe_sources({"default-src": ["'none'"], "frame-src": None})
    assert closed["frame-src"] == [*STRIPE_SOURCES["frame-src"]]
    assert closed["script-src"] == [SELF, *STRIPE_SOURCES["script-src"]]
    assert "'none'" not in closed["style-src"]
    # Browsers allow all sources where no directive applies.
    assert add_stripe_sources({"img-src": [SELF]}) == {"img-src": [SELF]}
    assert add_stripe_sources({"child-src": "x", "img-src": [SELF]})["frame-src"][0] == "x"


def test_the_sandbox_has_one_origin():
    assert stripe_sources(SANDBOX) == {key: ["http://127.0.0.1:12111"] for key in STRIPE_SOURCES}
    own = {**SANDBOX, "STRIPE_JS_URL": "https://js.stripe.com/v3/"}
    assert stripe_sources(own)["script-src"] == [*STRIPE_SOURCES["script-src"]]
    assert stripe_sources({}) == stripe_sources()


def test_a_settings_module_may_import_it():
    code = "import shop_payments.checkout.csp as csp; print(csp.add_stripe_sources({}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "{}\n"
