from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/nonsense"),
        ("GET", "/v1/payment_intents/"),
        ("GET", "/v1/charges/"),
        ("DELETE", "/v1/payment_intents/pi_1"),
        ("POST", "/v1/payment_intents/pi_1/hug"),
        ("GET", "/"),
        ("GET", "/v2"),
    ],
)
def test_an_address_that_stripe_does_not_have_is_404(api, method, path):
    answer = api.call(method, path)

    assert answer.status == 404
    assert answer.error["message"].startswith(f"Unrecognized request URL ({method}: {path})")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/customers"),
        ("POST", "/v1/charges"),
        ("GET", "/v1/charges/search"),
        ("POST", "/v1/checkout/sessions"),
        ("POST", "/v1/payment_intents/pi_1/increment_authorization"),
        ("GET", "/v1/payment_intents/search"),
        ("GET", "/v2/core/events"),
    ],
)
def test_an_address_that_only_stripe_has_is_named_as_not_covered(api, method, path):
    answer = api.call(method, path)

    assert (answer.status, answer.error["type"]) == (501, "api_error")
    assert f"The sandbox does not cover {method} {path}" in answer.error["message"]
    assert answer.headers["stripe-should-retry"] == "false"
