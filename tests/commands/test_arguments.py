"""Wrong arguments of any command are refused with what is wanted, and nothing is done."""

from __future__ import annotations

import pytest
from django.core.management import CommandError

from shop_payments.models import APIKey
from tests.commands.support import run

MONTHS = "--older-than: expected a whole number from 31 to 36500"
BATCH = "--batch-size: expected a whole number from 1 to 5000"
DAYS = "a whole number from 1 to 36500"
KEY = ["--label", "x", "--scope"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("purge", ["--older-than", "30"], MONTHS),
        ("purge", ["--older-than", "9" * 5000], MONTHS),
        ("purge", ["--older-than", "٣٣"], MONTHS),
        ("purge", ["--batch-size", "0"], BATCH),
        ("purge", ["--batch-size", "5001"], BATCH),
        ("purge", ["evt_1"], "unrecognized arguments: evt_1"),
        ("cancel_abandoned", ["--older-than", "0"], DAYS),
        ("cancel_abandoned", ["--older-than", "36501"], DAYS),
        ("fees", ["--since", "2026-02-02", "--until", "2026-02-01"], "comes after"),
        ("fees", ["--since", "yesterday"], "--since: expected a day like 2026-11-24"),
        ("reconcile", ["--since", "yesterday"], "a day like"),
        ("reconcile", ["--since", "0"], "hours"),
        ("reconcile", ["--since", "9" * 12], "hours"),
        ("reconcile", ["--since", "²"], "a day"),
        ("reconcile", ["--since", "0001-01-01"], "a day like"),
        ("reconcile", ["--since", "2098-01-01"], "has not begun yet"),
        ("events", ["list", "--status", "x"], "invalid choice"),
        ("events", ["list", "--since", "x"], "--since"),
        ("events", ["list", "--limit", "0"], "--limit"),
        ("events", ["show", "evt_x"], "no event evt_x"),
        ("events", ["replay"], "Give either events"),
        ("events", ["replay", "evt_x", "--failed"], "Give either events"),
        ("events", ["replay", "evt_x"], "no event evt_x"),
        ("api_key", [], "ACTION"),
        ("api_key", ["create", "--label", "x"], "--scope"),
        ("api_key", ["create", "--scope", "payments"], "--label"),
        ("api_key", ["create", "--label", " ", "--scope", "payments"], "label: This field cannot"),
        ("api_key", ["create", *KEY, "everything"], "invalid choice: 'everything'"),
        ("api_key", ["create", *KEY, "payments", "--expires-in-days", "0"], "from 1 to 3650"),
        ("api_key", ["create", *KEY, "payments", "--expires-in-days", "3651"], "from 1 to 3650"),
        ("api_key", ["revoke", "nothing"], "No key has this prefix"),
    ],
)
def test_wrong_arguments_are_refused(stripe, name, arguments, words):
    with pytest.raises(CommandError, match=words):
        run(name, *arguments)

    assert stripe.requests == []
    assert not APIKey.objects.exists()
