from __future__ import annotations

from typing import Any

import pytest

from shop_payments.sandbox import Fault, fault_from_words
from shop_payments.sandbox.account.fault_notation import fault_from_json, fault_to_json

SAID_THRICE = [
    (
        "drop_after path=/v1/payment_intents/*/confirm rate=0.1",
        {"kind": "drop_after", "path": "/v1/payment_intents/*/confirm", "rate": 0.1, "times": None},
        Fault("drop_after", path="/v1/payment_intents/*/confirm", rate=0.1),
    ),
    (
        "error status=429 code=lock_timeout method=POST times=3",
        {"kind": "error", "status": 429, "code": "lock_timeout", "method": "POST", "times": 3},
        Fault("error", status=429, code="lock_timeout", method="POST", times=3),
    ),
    (
        "webhook_delayed  seconds=1.5 type=payment_intent.* times=forever",
        {"kind": "webhook_delayed", "seconds": 1.5, "type": "payment_intent.*", "times": None},
        Fault("webhook_delayed", seconds=1.5, type="payment_intent.*", times=None),
    ),
    (
        "refused param=currency method=POST",
        {"kind": "refused", "param": "currency", "method": "POST", "times": 1},
        Fault("refused", param="currency", method="POST"),
    ),
    ("drop_before", {"kind": "drop_before", "times": 1}, Fault("drop_before")),
]


@pytest.mark.parametrize(("words", "json", "fault"), SAID_THRICE)
def test_a_fault_is_said_in_words_and_in_json(
    words: str, json: dict[str, Any], fault: Fault
) -> None:
    assert fault_from_words(words) == fault
    assert fault_from_json(json) == fault
    assert fault_to_json(fault) == json


def test_words_may_be_quoted() -> None:
    assert fault_from_words("drop_after 'path=/v1/a b'") == Fault("drop_after", path="/v1/a b")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "the kinds are latency"),
        ("gremlin", "the kinds are latency"),
        ("rate=0.1 drop_after", "the kinds are latency|A fault has no"),
        ("drop_after confirm", "A fault has no 'confirm'"),
        ("drop_after rate", "'rate' is not one rate="),
        ("drop_after rate=", "'rate=' is not one rate="),
        ("drop_after rate=1 rate=1", "'rate=1' is not one rate="),
        ("drop_after kind=drop_before", "'kind=drop_before' is not one kind="),
        ("drop_after rate=10%", "rate=10%: '10%' is not a number"),
        ("drop_after times=-1", "times is 1 or more, or without end, not -1"),
        ("webhook_lost type=paid", "there is no event of the type 'paid'"),
        ("drop_after times=twice", "times=twice: 'twice' is not a number"),
        ("drop_after rate=2", "rate is above 0 and at most 1, not 2.0"),
        ("error status=200", "it takes status 409"),
        ("drop_after times=1_0", "times=1_0: '1_0' is not a number"),
        ("drop_after times=+1", r"times=\+1: '\+1' is not a number"),
        ("drop_after rate=1e-1", "rate=1e-1: '1e-1' is not a number"),
        ("error status=500 param=currency", "param is for the kind refused"),
        ("latency", "seconds are above 0"),
        ("drop_after 'path=/v1", "No closing quotation"),
    ],
)
def test_words_that_say_no_fault_are_named(words: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fault_from_words(words)


@pytest.mark.parametrize(
    ("json", "message"),
    [
        ([], "A fault is an object with a kind"),
        ({}, "A fault is an object with a kind"),
        ({"kind": None}, "A fault is an object with a kind"),
        ({"kind": "drop_after", "rate": "0.1"}, "rate cannot be '0.1'"),
        ({"kind": "drop_after", "times": True}, "times cannot be True"),
        ({"kind": "drop_after", "times": 1.5}, "times cannot be 1.5"),
        ({"kind": "drop_after", "path": None}, "path cannot be None"),
        ({"kind": "drop_after", "chance": 1}, "A fault has no 'chance'"),
        ({"kind": "error", "status": 418}, "it takes status 409"),
    ],
)
def test_json_that_says_no_fault_is_named(json: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fault_from_json(json)
