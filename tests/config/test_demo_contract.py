"""The demo's checks accept what payment-api.txt shows and see every deviation from it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from config.demo import contract
from config.demo.contract import AtLeast, deviations

SHAPE = contract.payment_intent_answer(
    message="Payment intent created successfully", status="requires_payment_method"
)
SAMPLE: dict[str, Any] = {
    "message": "Payment intent created successfully",
    "data": {
        "id": "pi_3R8f5yQ9LjHruSyq1ofjdVY5",
        "client_secret": "pi_3R8f5yQ9LjHruSyq1ofjdVY5_secret_wWSgKgsyjo6WRpCf1aXJN3zRw",
        "amount": "112.00",
        "currency": "usd",
        "status": "requires_payment_method",
        "line_items": [
            {
                "name": "Main product 2",
                "amount": 5600,
                "currency": "usd",
                "quantity": 2,
                "description": "",
            }
        ],
    },
}


def test_the_sample_of_the_contract_fits():
    assert deviations(SAMPLE, SHAPE) == []


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (["message"], "ok", "answer.message is 'ok'"),
        (["data", "amount"], 112.0, "answer.data.amount is 112.0, not '112.00'"),
        (["data", "id"], "ch_1", "answer.data.id is 'ch_1', not like pi_"),
        (["data", "line_items"], [], "answer.data.line_items is [], not a list"),
        (["data", "line_items", 0, "amount"], "5600", "answer.data.line_items[0].amount"),
        (["data", "line_items", 0, "quantity"], True, "answer.data.line_items[0].quantity"),
        (["data", "more"], 1, "answer.data.more should not be there"),
        (["data"], "text", "answer.data is 'text', not an object"),
    ],
)
def test_a_deviation_is_named(path, value, found):
    answer = copy.deepcopy(SAMPLE)
    target: Any = answer
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value

    [deviation] = deviations(answer, SHAPE)

    assert deviation.startswith(found)


def test_a_missing_key_is_named():
    answer = copy.deepcopy(SAMPLE)
    del answer["data"]["currency"]

    assert deviations(answer, SHAPE) == ["answer.data.currency is missing"]


def test_a_client_secret_is_not_quoted():
    answer = copy.deepcopy(SAMPLE)
    answer["data"]["client_secret"] = "a secret"

    [deviation] = deviations(answer, SHAPE)

    assert "a secret" not in deviation


def test_stripe_may_add_keys():
    assert deviations({"id": 1, "new": 2}, AtLeast(id=int)) == []


@pytest.mark.parametrize(("value", "shape"), [(1, bool), (True, int), (1.0, int), (0, False)])
def test_numbers_and_booleans_are_told_apart(value, shape):
    assert deviations(value, shape) != []
