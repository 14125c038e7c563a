"""What Stripe documents, the sandbox does or refuses by name; see `documented`."""

from __future__ import annotations

import pytest

from tests.sandbox import documented
from tests.sandbox.documented_cards import Row


@pytest.mark.parametrize("section", documented.SECTIONS)
def test_the_sandbox_agrees_with_stripes_page(section):
    results = [*documented.compare(section)]

    assert results
    assert documented.differences(results) == []


@pytest.mark.parametrize(
    ("expected", "identifier", "found"),
    [
        ({"brand": "visa"}, "4242424242424242", "agrees"),
        ({"brand": "amex"}, "4242424242424242", "AssertionError: brand is 'visa', not 'amex'"),
        ({}, "pm_nothing", "AssertionError: No such PaymentMethod: 'pm_nothing'"),
        ({}, "4111111111111111", "AssertionError: Your card was declined."),
        ({"captcha": "asked"}, "4000000000001208", "refused by name"),
        ({"captcha": "asked"}, "tok_visa", "nothing checks captcha=asked"),
    ],
)
def test_a_difference_is_found(expected, identifier, found):
    row = Row((identifier,), expected, uncertain=False)

    assert found in documented.compare_card(row, identifier)
