"""``manage.py shop_payments_api_key``."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from shop_payments.models import APIKey
from shop_payments.secrecy import Secret

pytestmark = pytest.mark.django_db


def api_key(*arguments: str) -> tuple[str, str]:
    """Run the command; return what it wrote to stdout and to stderr."""
    out, err = StringIO(), StringIO()
    call_command("shop_payments_api_key", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def create(*arguments: str) -> str:
    out, _ = api_key("create", "--label", "Web shop", "--scope", "storefront", *arguments)
    return out.strip()


def test_create_writes_the_secret_alone_to_stdout():
    out, err = api_key(
        "create", "--label", "Web shop", "--scope", "storefront", "--scope", "payments"
    )

    key = APIKey.objects.find_by_secret(Secret(out.removesuffix("\n")))
    assert key is not None
    assert (key.label, key.scopes) == ("Web shop", ["storefront", "payments"])
    assert key.expires_at is None
    assert f"Key {key.prefix} for Web shop (storefront, payments), expires: never." in err
    assert out.strip() not in err


def test_a_scope_counts_once():
    create("--scope", "storefront")
    assert APIKey.objects.get().scopes == ["storefront"]


def test_a_key_may_expire():
    create("--expires-in-days", "30")

    expires_at = APIKey.objects.get().expires_at
    assert expires_at is not None
    assert abs(expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["create", "--label", "x"], "--scope"),
        (["create", "--scope", "storefront"], "--label"),
        (["create", "--label", " ", "--scope", "storefront"], "label: This field cannot be blank"),
        (["create", "--label", "x" * 101, "--scope", "storefront"], "label: Ensure"),
        (["create", "--label", "x", "--scope", "everything"], "invalid choice: 'everything'"),
        *(
            (
                ["create", "--label", "x", "--scope", "payments", "--expires-in-days", days],
                "whole number from 1 to 3650",
            )
            for days in ("0", "-1", "1.5", "3651", "²")
        ),
        (["revoke", "nothing"], "No key has this prefix"),
        ([], "ACTION"),
    ],
)
def test_it_says_what_is_wrong(arguments, message):
    with pytest.raises(CommandError, match=message):
        api_key(*arguments)

    assert not APIKey.objects.exists()


def test_list_is_aligned_and_shows_no_secret():
    secret = create()
    create("--expires-in-days", "30")
    old = APIKey.objects.earliest("pk")
    old.revoke()

    out, _ = api_key("list")

    head, *rows = out.splitlines()
    assert head.split() == "PREFIX CLIENT SCOPES STATE CREATED EXPIRES LAST USED".split()
    assert len(rows) == 2
    assert all(row[head.index("SCOPES") :].startswith("storefront ") for row in rows)
    states = {row[:8]: row[head.index("STATE") :].split()[0] for row in rows}
    assert states[old.prefix] == "revoked"
    assert set(states.values()) == {"live", "revoked"}
    assert secret not in out
    assert old.digest not in out


def test_list_shows_an_expired_key_as_such():
    create()
    APIKey.objects.update(expires_at=timezone.now() - timedelta(days=1))
    assert "  expired  " in api_key("list")[0]


def test_list_of_nothing_writes_nothing_to_stdout():
    assert api_key("list") == ("", "There are no API keys.\n")


def test_revoke_by_prefix():
    create()
    key = APIKey.objects.get()

    _, err = api_key("revoke", key.prefix)

    key.refresh_from_db()
    assert key.is_revoked
    assert err == f"Key Web shop ({key.prefix}) is revoked.\n"


def test_revoking_again_changes_nothing():
    create()
    key = APIKey.objects.get()
    key.revoke()

    _, err = api_key("revoke", key.prefix)

    assert "was revoked before" in err
    assert APIKey.objects.get().revoked_at == key.revoked_at


def test_a_secret_given_as_prefix_is_not_repeated():
    secret = create()

    with pytest.raises(CommandError) as raised:
        api_key("revoke", secret)

    assert secret not in str(raised.value)
