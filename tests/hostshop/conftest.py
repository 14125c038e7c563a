"""Fixtures of a shop with an order of its own.

The order model is settled at import. So these tests run in a process of their own, which
``tests/test_host_settings.py`` starts. Every other process skips them without importing the models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.conf import settings

from tests.admin.conftest import staff, staff_with, superuser
from tests.support import Caller

__all__ = ["staff", "staff_with", "superuser"]

if TYPE_CHECKING:
    from tests.hostshop.models import Order

collect_ignore_glob = [] if settings.SETTINGS_MODULE == "tests.hostshop.settings" else ["*"]


@pytest.fixture
def order(db: None) -> Order:
    """An open order, 112.000 USD."""
    from tests.hostshop.factories import HostOrderFactory

    return HostOrderFactory.create()


@pytest.fixture
def storefront(order: Order) -> Caller:
    from tests.hostshop.factories import customer_of

    return customer_of(order)
