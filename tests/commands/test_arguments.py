"""Wrong arguments of any command are refused with what is wanted, and nothing is done."""

from __future__ import annotations

import shlex

import pytest
from django.core.management import CommandError

from shop_payments.models import APIKey
from tests.commands.support import run

WRONG = [
    ("purge --older-than 30", "--older-than: expected a whole number from 31 to 36500"),
    ("purge --batch-size ٣٣", "--batch-size: expected a whole number from 1 to 5000"),
    ("fees --since 2026-02-02 --until 2026-02-01", "comes after"),
    ("fees --since yesterday", "--since: expected a day like 2026-11-24"),
    ("reconcile --since 0", "hours"),
    ("reconcile --since 0001-01-01", "a day like"),
    ("reconcile --since 2098-01-01", "has not begun yet"),
    ("events show evt_x", "no event evt_x"),
    ("order 4711", "Order 4711 does not exist"),
    ("order no-number", "Order no-number does not exist"),
    ("events replay", "Name events"),
    ("events replay evt_x --failed", "Name events"),
    ("events replay evt_x", "no event evt_x"),
    ("api_key create --label x --scope payments --expires-in-days 3651", "from 1 to 3650"),
    ("api_key revoke nothing", "No key has this prefix"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("line", "words"), WRONG, ids=range(len(WRONG)))
def test_wrong_arguments_are_refused(stripe, line, words):
    with pytest.raises(CommandError, match=words):
        run(*shlex.split(line))
    assert stripe.requests == []
    assert not APIKey.objects.exists()
