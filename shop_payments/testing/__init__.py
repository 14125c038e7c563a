"""Helpers for the tests of a shop: a sandbox in the process of the test, and signed events.

The pytest fixture ``stripe_sandbox`` is in ``shop_payments.testing.plugin``; nothing else here
needs pytest. See docs/testing-your-shop.md. No production code imports this package.
"""

from .events import SignedEvent, build_event, sign_event, webhook_url
from .stripe_sandbox import StripeSandbox
from .testcase import StripeSandboxMixin

__all__ = [
    "SignedEvent",
    "StripeSandbox",
    "StripeSandboxMixin",
    "build_event",
    "sign_event",
    "webhook_url",
]
