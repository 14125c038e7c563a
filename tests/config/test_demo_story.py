"""The demo's story compares each answer with the contract, and stops at a deviation."""

from __future__ import annotations

import copy
import shlex
from typing import Any

import pytest
from django.core.management import CommandError

from config.demo import contract
from config.demo.contract import AtLeast, deviations
from config.demo.data import make_demo_data
from config.demo.http import Answer, Call
from config.demo.story import Stage, tell
from shop_payments.models import APIKey
from shop_payments.secrecy import Secret

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


# --- the contract -------------------------------------------------------------------------------


def test_the_sample_of_the_contract_fits():
    assert deviations(SAMPLE, SHAPE) == []


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        (["message"], "ok", "answer.message is 'ok'"),
        (["data", "amount"], 112.0, "answer.data.amount is 112.0, not '112.00'"),
        (["data", "id"], "ch_1", "answer.data.id is 'ch_1', not like pi_"),
        (["data", "line_items"], [], "answer.data.line_items is [], not a list"),
        (["data", "line_items", 0, "quantity"], True, "answer.data.line_items[0].quantity"),
        (["data", "more"], 1, "answer.data.more should not be there"),
        (["data", "currency"], None, "answer.data.currency is missing"),
        (["data", "client_secret"], "a secret", "answer.data.client_secret"),
        (["data"], "text", "answer.data is 'text', not an object"),
    ],
)
def test_a_deviation_is_named(path, value, found):
    answer = copy.deepcopy(SAMPLE)
    target: Any = answer
    for key in path[:-1]:
        target = target[key]
    if value is None:
        del target[path[-1]]
    else:
        target[path[-1]] = value

    [deviation] = deviations(answer, SHAPE)

    assert deviation.startswith(found)
    assert "a secret" not in deviation


def test_stripe_may_add_keys():
    assert deviations({"id": 1, "new": 2}, AtLeast(id=int)) == []


@pytest.mark.parametrize(("value", "shape"), [(1, bool), (True, int), (1.0, int), (0, False)])
def test_numbers_and_booleans_differ(value, shape):
    assert deviations(value, shape) != []


# --- the story ----------------------------------------------------------------------------------


@pytest.fixture
def stage(db):
    return Stage(
        shop="http://127.0.0.1:1",
        sandbox="http://127.0.0.1:1",
        data=make_demo_data(),
        stripe_key="sk_test_x",
        say=lambda text: None,
        headline=str,
    )


def test_an_error_stops_it(stage, monkeypatch):
    monkeypatch.setattr(Call, "send", lambda call: Answer(409, {"message": "no", "code": "x"}))

    with pytest.raises(CommandError) as raised:
        tell(stage)

    for words in ("Step 1 did not hold", "the status is 409, not 200", "answer.data is missing"):
        assert words in str(raised.value)


def test_silence_stops_it(stage):
    with pytest.raises(CommandError, match=r"No answer to POST http://127\.0\.0\.1:1/api"):
        tell(stage)


def test_curl_does_what_the_call_does():
    call = Call(
        method="POST",
        url="http://127.0.0.1:1/a?b=c&d=e",
        headers={"X-API-Key": "it's"},
        form={"payment_method": "pm_card_visa"},
    )

    assert shlex.split(str(call).replace("\\\n", "")) == [
        *("curl", "-X", "POST", "http://127.0.0.1:1/a?b=c&d=e"),
        *("-H", "X-API-Key: it's"),
        *("-d", "payment_method=pm_card_visa"),
    ]


def test_each_run_has_its_own_credentials(db):
    first, second = make_demo_data(), make_demo_data()

    assert first.token != second.token
    assert first.staff_password != second.staff_password
    former, latter = (
        APIKey.objects.find_by_secret(Secret(data.storefront_key)) for data in (first, second)
    )
    assert former is not None
    assert former.is_revoked
    assert latter is not None
    assert not latter.is_revoked
