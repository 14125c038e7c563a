"""Fixtures of the rooms' tests: an order that was paid, and the API of the accounting office."""

from tests.after_paid.conftest import office, paid, pay_order, told  # noqa: F401
