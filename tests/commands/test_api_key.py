"""``manage.py shop_payments_api_key``."""

from __future__ import annotations

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from shop_payments.models import APIKey
from shop_payments.secrecy import Secret
from tests.commands.support import run

pytestmark = pytest.mark.django_db


def create(*arguments: str) -> str:
    out, _ = run("api_key", "create", "--label", "Web shop", "--scope", "storefront", *arguments)
    return out.strip()


def test_create_writes_the_secret_alone_to_stdout():
    scopes = ["--scope", "storefront", "--scope", "payments", "--scope", "payments"]
    out, err = run("api_key", "create", "--label", "Web shop", *scopes)
    key = APIKey.objects.find_by_secret(Secret(out.removesuffix("\n")))
    assert key is not None
    assert (key.label, key.scopes) == ("Web shop", ["storefront", "payments"])
    assert key.expires_at is None
    assert err == (
        f"Key {key.prefix} for Web shop (storefront, payments), expires: never. "
        "Its secret went to standard output; it is not shown again.\n"
    )


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_the_secret_follows_the_remark():
    screen = Terminal()
    arguments = ("create", "--label", "Web shop", "--scope", "storefront")
    call_command("shop_payments_api_key", *arguments, stdout=screen, stderr=screen, no_color=True)
    remark, secret = screen.getvalue().splitlines()
    assert remark.endswith("Store the secret; it is not shown again:")
    assert APIKey.objects.find_by_secret(Secret(secret)) is not None


def test_list_shows_states_and_no_secret():
    assert run("api_key", "list") == ("", "There are no API keys.\n")
    secret = create()
    create("--expires-in-days", "30")
    create()
    old, expired, live = APIKey.objects.order_by("pk")
    assert expired.expires_at is not None
    assert abs(expired.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    old.revoke()
    APIKey.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - timedelta(days=1))
    out, _ = run("api_key", "list")
    head, *rows = out.splitlines()
    states = {row[:8]: row[head.index("STATE") :].split()[0] for row in rows}
    assert states == {old.prefix: "revoked", expired.prefix: "expired", live.prefix: "live"}
    assert secret not in out
    assert old.digest not in out


def test_revoke_by_prefix_changes_nothing_the_second_time():
    secret = create()
    key = APIKey.objects.get()
    with pytest.raises(CommandError) as raised:
        run("api_key", "revoke", secret)
    assert secret not in str(raised.value)
    _, err = run("api_key", "revoke", key.prefix)
    key.refresh_from_db()
    assert key.is_revoked
    assert err == f"Key Web shop ({key.prefix}) is revoked.\n"
    assert "was already revoked" in run("api_key", "revoke", key.prefix)[1]
    assert APIKey.objects.get().revoked_at == key.revoked_at
