"""What the errors say of themselves."""

from __future__ import annotations

import pytest

from shop_payments.exceptions import GatewayError


@pytest.mark.parametrize(
    ("details", "text"),
    [
        ({}, "No."),
        ({"http_status": 500}, "No. (status 500)"),
        (
            {"code": "card_declined", "http_status": 402, "request_id": "req_1"},
            "No. (card_declined, status 402, req_1)",
        ),
    ],
)
def test_an_error_of_stripes_is_told_in_full_and_without_gaps(details, text):
    assert GatewayError("No.", **details).in_full == text
