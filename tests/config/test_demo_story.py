"""The story stops, and says where, when an answer is not what it has to be."""

from __future__ import annotations

import shlex

import pytest
from django.core.management import CommandError

from config.demo.data import make_demo_data
from config.demo.http import Answer, Call
from config.demo.story import Stage, tell
from shop_payments.models import APIKey
from shop_payments.secrecy import Secret


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

    assert "Step 1 did not hold" in str(raised.value)
    assert "the status is 409, not 200" in str(raised.value)
    assert "answer.data is missing" in str(raised.value)


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
