from __future__ import annotations

import pytest

from shop_payments.sandbox.wire.errors import InvalidRequest
from shop_payments.sandbox.wire.forms import nest
from tests.sandbox.support import INTENTS, ORDER


@pytest.mark.parametrize(
    "names", ["a]", "[a]", "a[b", "a[b]c", "a a[b]", "a[b] a", "a" + "[b]" * 50]
)
def test_senseless_brackets_are_refused(names):
    with pytest.raises(InvalidRequest):
        nest([(name, "1") for name in names.split()])


@pytest.mark.parametrize(
    ("content_type", "message"),
    [
        ("application/json", "application/x-www-form-urlencoded"),
        ("multipart/form-data; boundary=x", "unsupported Content-Type"),
    ],
)
def test_another_content_type_is_refused(api, content_type, message):
    answer = api.post(INTENTS, '{"amount": 100}', Content_Type=content_type)

    answer.assert_refused(message=message)


@pytest.mark.parametrize("body", ["description=%ff", "description=%ED%A0%80", "description=\ud800"])
def test_a_form_is_utf8(api, body):
    api.post(INTENTS, f"amount=1000&currency=usd&{body}").assert_refused(message="UTF-8")


def test_an_index_need_not_come_in_order(api):
    types = "allowed_payment_method_types"
    params = {**ORDER, f"{types}[1]": "us_bank_account", f"{types}[0]": "card"}
    del params[f"{types}[]"]

    assert api.post(INTENTS, params)["payment_method_types"] == ["card", "us_bank_account"]
    assert api.post(INTENTS, '{"amount":100}').error["code"] == "parameter_unknown"  # no form
