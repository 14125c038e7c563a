"""API keys: shown once, stored as digests, found in constant time, useless once revoked."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import timedelta

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.forms.models import model_to_dict
from django.utils import timezone

from shop_payments.models import APIKey, APIKeyScope
from shop_payments.secrecy import Secret

pytestmark = pytest.mark.django_db


def issue(**values) -> tuple[APIKey, str]:
    key, secret = APIKey.objects.issue(**{"label": "shop", "scopes": ["storefront"], **values})
    return key, secret.reveal()


def find(secret: str) -> APIKey | None:
    return APIKey.objects.find_by_secret(Secret(secret))


def test_an_issued_key_is_found_by_its_secret_and_only_the_digest_is_stored(
    django_assert_num_queries,
):
    key, secret = issue(label="  shop ", scopes=[APIKeyScope.PAYMENTS, APIKeyScope.STOREFRONT])
    new, new_secret = issue(label="shop")
    with django_assert_num_queries(1):
        found = find(secret)
    assert (found, find(new_secret)) == (key, new)
    assert found is not None
    assert found.scopes == ["payments", "storefront"]
    assert (found.allows("payments"), found.allows("pay")) == (True, False)
    assert re.fullmatch(rf"spk_{key.prefix}_[\w-]{{43}}", secret, re.ASCII)
    assert re.fullmatch("[0-9a-f]{8}", key.prefix)
    assert str(key) == f"shop ({key.prefix})"
    stored = APIKey.objects.values().get(pk=key.pk)
    random_part = secret.split("_", 2)[2]
    assert stored["digest"] == hashlib.sha256(secret.encode()).hexdigest()
    assert random_part not in f"{stored} {vars(key)} {key!r} {model_to_dict(key)}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label", "   "),
        ("scopes", []),
        ("scopes", ["admin"]),
        ("scopes", "storefront"),
        ("expires_at", timezone.now() - timedelta(seconds=1)),
    ],
)
def test_a_key_is_not_issued_where(field, value):
    with pytest.raises(ValidationError) as refusal:
        issue(**{field: value})
    assert field in refusal.value.message_dict
    assert not APIKey.objects.exists()


def test_a_text_that_only_looks_like_a_key_finds_nothing():
    _key, secret = issue()
    prefix, public, private = secret.split("_", 2)
    flipped = private[:-1] + ("A" if private[-1] != "A" else "B")
    lookalikes = [
        *(f"{prefix}_{public}_{flipped}", f"{prefix}_{public}_", f"{prefix}__{private}", public),
        *(f"sk_{public}_{private}", secret + "\n", " " + secret, secret[:-1], secret.swapcase()),
        *(f"{prefix}_%_{private}", f"{prefix}_{'9' * 100_000}_{private}", ""),
        *("spk_\x00_x", "spk_a_\udfff", "spk_١٢_x"),
    ]
    assert [each for each in lookalikes if find(each) is not None] == []


def test_digests_are_compared_in_constant_time(monkeypatch):
    _key, secret = issue()
    monkeypatch.setattr(hmac, "compare_digest", lambda left, right: False)
    assert find(secret) is None


def test_a_key_ends_at_its_very_moment():
    moment = timezone.now() + timedelta(hours=1)
    key, secret = issue(expires_at=moment)
    assert not key.is_expired
    with time_machine.travel(moment, tick=False):
        found = find(secret)
        assert found is not None
        assert (found.is_expired, found.is_revoked) == (True, False)


def test_a_revoked_key_stays_revoked_since_the_first_time():
    """Found: a second writer, who had read the key before, moved the time."""
    key, _secret = issue()
    stale = APIKey.objects.get(pk=key.pk)
    key.revoke()
    first = key.revoked_at
    with time_machine.travel(timezone.now() + timedelta(days=1)):
        key.revoke()
        stale.revoke()
    found = APIKey.objects.get()
    assert (found.is_revoked, found.revoked_at) == (True, first)


def test_a_use_does_not_undo_a_revocation_or_a_deletion():
    """Found: ``save(update_fields=...)`` raised DatabaseError, which was a 500."""
    key, secret = issue()
    in_use = find(secret)
    assert in_use is not None
    key.revoke()
    in_use.touch()
    assert APIKey.objects.get(pk=key.pk).is_revoked
    key.delete()
    in_use.last_used_at = None
    in_use.touch()
    assert not APIKey.objects.exists()
