"""API keys: shown once, stored as digests, found in constant time, useless once revoked."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.forms.models import model_to_dict
from django.utils import timezone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shop_payments.models import APIKey, APIKeyScope
from shop_payments.secrecy import Secret

pytestmark = pytest.mark.django_db


def issue(**values) -> tuple[APIKey, str]:
    key, secret = APIKey.objects.issue(**{"label": "shop", "scopes": ["storefront"], **values})
    return key, secret.reveal()


def find(secret: str) -> APIKey | None:
    return APIKey.objects.find_by_secret(Secret(secret))


# --- issue and find -----------------------------------------------------------------------------


def test_an_issued_key_is_found_by_its_secret(django_assert_num_queries):
    key, secret = issue(label="  shop ", scopes=[APIKeyScope.PAYMENTS, APIKeyScope.STOREFRONT])
    with django_assert_num_queries(1):
        found = find(secret)

    assert found == key
    assert found is not None
    assert found.scopes == ["payments", "storefront"]
    assert found.allows("payments")
    assert not found.allows("pay")
    assert re.fullmatch(r"spk_[0-9a-f]{8}_[\w-]{43}", secret, re.ASCII)
    assert secret.startswith(f"spk_{key.prefix}_")
    assert str(key) == f"shop ({key.prefix})"


def test_only_the_digest_is_stored():
    key, secret = issue()
    stored = APIKey.objects.values().get(pk=key.pk)
    random_part = secret.split("_", 2)[2]
    assert stored["digest"] == hashlib.sha256(secret.encode()).hexdigest()
    assert random_part not in f"{stored} {vars(key)} {key!r} {model_to_dict(key)}"


def test_a_client_moves_from_one_key_to_the_next():
    old, old_secret = issue(label="web shop")
    new, new_secret = issue(label="web shop")
    assert (find(old_secret), find(new_secret)) == (old, new)
    old.revoke()
    assert [key.is_revoked for key in APIKey.objects.order_by("pk")] == [True, False]


REFUSED: dict[str, list[Any]] = {
    "label": ["", "   ", "x" * 101],
    "scopes": [[], ["admin"], ["storefront", "storefront"], ["storefront", 1], "storefront", None],
    "expires_at": [timezone.now() - timedelta(seconds=1)],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field in REFUSED for value in REFUSED[field]]
)
def test_a_key_is_not_issued_where(field, value):
    with pytest.raises(ValidationError) as refusal:
        issue(**{field: value})
    assert field in refusal.value.message_dict
    assert not APIKey.objects.exists()


# --- what finds nothing -------------------------------------------------------------------------


def test_a_text_that_only_looks_like_a_key_finds_nothing():
    _key, secret = issue()
    prefix, public, private = secret.split("_", 2)
    flipped = private[:-1] + ("A" if private[-1] != "A" else "B")
    lookalikes = [
        *(f"{prefix}_{public}_{flipped}", f"{prefix}_{public}_", f"{prefix}_{public}", public),
        *(f"{prefix}__{private}", f"sk_{public}_{private}", secret + "\n", " " + secret),
        *(secret[:-1], secret * 2, f"{prefix}_{public[:-1]}_{private}", secret.swapcase()),
        *(f"{prefix}_%_{private}", f"{prefix}_{'9' * 100_000}_{private}", "", "_", "spk__"),
    ]
    assert [each for each in lookalikes if find(each) is not None] == []


any_text = st.text(alphabet=st.characters(exclude_categories=[]))


@given(st.one_of(any_text, st.builds("spk_{}_{}".format, any_text, any_text)))
@example("spk_\x00_x")
@example("spk_a_\udfff")
@example("spk_١٢_x")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nonsense_finds_nothing_and_raises_nothing(secret):
    assert find(secret) is None


def test_digests_are_compared_in_constant_time(monkeypatch):
    compared = []

    def listen(left: str, right: str) -> bool:
        compared.append({left, right})
        return compare_digest(left, right)

    compare_digest = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", listen)
    key, secret = issue()
    assert find(secret) == key
    assert compared == [{key.digest}]


# --- the end of a key ---------------------------------------------------------------------------


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


# --- last use -----------------------------------------------------------------------------------


def test_a_use_is_recorded_at_most_once_a_minute(django_assert_num_queries):
    key, _secret = issue()
    assert key.last_used_at is None
    with time_machine.travel(timezone.now(), tick=False) as clock:
        key.touch()
        first = APIKey.objects.get(pk=key.pk).last_used_at
        clock.shift(60)
        with django_assert_num_queries(0):
            key.touch()
        clock.shift(1)
        key.touch()
        assert first is not None
        assert APIKey.objects.get(pk=key.pk).last_used_at == first + timedelta(seconds=61)


def test_a_use_does_not_undo_a_revocation():
    key, secret = issue()
    in_use = find(secret)
    key.revoke()
    assert in_use is not None
    in_use.touch()
    assert APIKey.objects.get(pk=key.pk).is_revoked


def test_a_key_that_was_deleted_while_in_use_is_no_error():
    """Found: ``save(update_fields=...)`` raised DatabaseError, which was a 500."""
    key, secret = issue()
    in_use = find(secret)
    key.delete()
    assert in_use is not None
    in_use.touch()
    assert not APIKey.objects.exists()
