"""pytest's fixture, for projects that use pytest-django.

In the topmost ``conftest.py``::

pytest_plugins = ["shop_payments.testing.plugin"]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from . import StripeSandbox


@pytest.fixture
def stripe_sandbox(settings: Any) -> Iterator[StripeSandbox]:
    """A Stripe in this process, which the project talks to during the test."""
    sandbox = StripeSandbox()
    # Not by `with`: `settings` of pytest-django takes back what it has set when the test is over,
    # and two who take back settings in the wrong order leave one of them behind.
    settings.SHOP_PAYMENTS = sandbox.shop_payments()
    sandbox.connect_webhooks()
    yield sandbox
    sandbox.disconnect_webhooks()
