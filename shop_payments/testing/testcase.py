"""The sandbox for tests that are classes: unittest's, Django's, REST framework's."""

from __future__ import annotations

import unittest

from .stripe_sandbox import StripeSandbox


class StripeSandboxMixin(unittest.TestCase):
    """Gives each test a :class:`StripeSandbox` as ``self.stripe_sandbox``.

    ::

        class CheckoutTests(StripeSandboxMixin, TestCase):
            ...

    A ``setUp`` of the class's own calls ``super().setUp()`` first.
    """

    stripe_sandbox: StripeSandbox

    def setUp(self) -> None:
        super().setUp()
        self.stripe_sandbox = self.enterContext(StripeSandbox())
