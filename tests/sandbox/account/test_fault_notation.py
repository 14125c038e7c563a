from __future__ import annotations

import pytest

from shop_payments.sandbox import Fault, fault_from_words
from shop_payments.sandbox.account.fault_notation import fault_from_json, fault_to_json


@pytest.mark.parametrize(
    ("words", "json", "fault"),
    [
        (
            "drop_after path=/v1/*/confirm rate=0.1",
            {"kind": "drop_after", "path": "/v1/*/confirm", "rate": 0.1, "times": None},
            Fault("drop_after", path="/v1/*/confirm", rate=0.1),
        ),
        (
            "error status=429 code=lock_timeout method=POST times=3",
            {"kind": "error", "status": 429, "code": "lock_timeout", "method": "POST", "times": 3},
            Fault("error", status=429, code="lock_timeout", method="POST", times=3),
        ),
        (
            "webhook_delayed  seconds=1.5 'type=payment_intent.*' times=forever",
            {"kind": "webhook_delayed", "seconds": 1.5, "type": "payment_intent.*", "times": None},
            Fault("webhook_delayed", seconds=1.5, type="payment_intent.*", times=None),
        ),
        ("drop_before", {"kind": "drop_before", "times": 1}, Fault("drop_before")),
    ],
)
def test_a_fault_in_words_and_in_json(words, json, fault):
    assert fault_from_words(words) == fault
    assert fault_from_json(json) == fault
    assert fault_to_json(fault) == json


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "the kinds are latency"),
        ("drop_after confirm", "A fault has no 'confirm'"),
        ("drop_after rate", "'rate' is not one rate="),
        ("drop_after rate=1 rate=1", "'rate=1' is not one rate="),
        ("drop_after kind=drop_before", "'kind=drop_before' is not one kind="),
        ("drop_after times=1_0", "times=1_0: '1_0' is not a number"),
        ("drop_after 'path=/v1", "No closing quotation"),
    ],
)
def test_words_that_are_no_fault_are_named(words, message):
    with pytest.raises(ValueError, match=message):
        fault_from_words(words)


@pytest.mark.parametrize(
    ("json", "message"),
    [
        ([], "A fault is an object with a kind"),
        ({"kind": None}, "A fault is an object with a kind"),
        ({"kind": "drop_after", "rate": "0.1"}, "rate cannot be '0.1'"),
        ({"kind": "drop_after", "times": True}, "times cannot be True"),
        ({"kind": "drop_after", "chance": 1}, "A fault has no 'chance'"),
    ],
)
def test_json_that_is_no_fault_is_named(json, message):
    with pytest.raises(ValueError, match=message):
        fault_from_json(json)
