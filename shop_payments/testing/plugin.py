"""A pytest plugin with the fixture ``stripe_sandbox``. It needs pytest-django.

Add it to the ``conftest.py`` of your rootdir::

pytest_plugins = ["shop_payments.testing.plugin"]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from . import StripeSandbox


@pytest.fixture
def stripe_sandbox(settings: Any) -> Iterator[StripeSandbox]:
    """A sandbox in this process, which answers the project's calls to Stripe during the test."""
    sandbox = StripeSandbox()
    # Without `with`, which would use a second override of the settings. pytest-django restores
    # `settings` after the test, and two overrides restored in the wrong order would leave one.
    settings.SHOP_PAYMENTS = sandbox.shop_payments()
    sandbox.connect_webhooks()
    yield sandbox
    sandbox.disconnect_webhooks()
