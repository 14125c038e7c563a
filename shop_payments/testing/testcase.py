"""A mixin for test cases of unittest, Django and REST framework."""

from __future__ import annotations

import unittest

from .stripe_sandbox import StripeSandbox


class StripeSandboxMixin(unittest.TestCase):
    """Gives each test a :class:`StripeSandbox` as ``self.stripe_sandbox``.

    ::

        class CheckoutTests(StripeSandboxMixin, TestCase):
            ...

    If the class has its own ``setUp``, it must call ``super().setUp()`` first.
    """

    stripe_sandbox: StripeSandbox

    def setUp(self) -> None:
        super().setUp()
        self.stripe_sandbox = self.enterContext(StripeSandbox())
