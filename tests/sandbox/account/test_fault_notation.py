from __future__ import annotations

import pytest

from shop_payments.sandbox import Fault, fault_from_words
from shop_payments.sandbox.account.fault_notation import fault_from_json, fault_to_json


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        (
            "webhook_delayed  seconds=1.5 'type=payment_intent.*' times=forever",
            {"kind": "webhook_delayed", "seconds": 1.5, "type": "payment_intent.*", "times": None},
        ),
        ("error status=429 times=3", {"kind": "error", "status": 429, "times": 3}),
        ("drop_before rate=0.1", {"kind": "drop_before", "rate": 0.1, "times": None}),
        ("drop_after", {"kind": "drop_after", "times": 1}),
    ],
)
def test_a_fault_in_words_and_in_json(words, fields):
    fault = Fault(**fields)

    assert fault_from_words(words) == fault_from_json(fields) == fault
    assert fault_to_json(fault) == fields


@pytest.mark.parametrize(
    ("notation", "message"),
    [
        ("drop_after confirm", "A fault has no 'confirm'"),
        ("drop_after rate=1 rate=1", "Write rate=… once, after the kind, instead of 'rate=1'"),
        ("drop_after times=1_0", "times=1_0: '1_0' is not a number"),
        ("drop_after 'path=/v1", "No closing quotation"),
        ({"kind": None}, "A fault is an object with a kind"),
        ({"kind": "drop_after", "times": True}, "times cannot be true"),
    ],
)
def test_a_notation_of_no_fault_is_refused(notation, message):
    read = fault_from_words if isinstance(notation, str) else fault_from_json
    with pytest.raises(ValueError, match=message):
        read(notation)
