"""For the tests of a shop: a Stripe in the test's own process, and signed events.

pytest finds the fixture ``stripe_sandbox`` in ``shop_payments.testing.plugin``; nothing else here
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
