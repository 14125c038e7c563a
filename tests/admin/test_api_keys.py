"""The pages of API keys."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session

from shop_payments.models import APIKey
from shop_payments.secrecy import Secret
from tests.admin.support import add, change, changelist, delete, text_of

pytestmark = pytest.mark.django_db

SECRET = re.compile(r"spk_[0-9a-f]+_[\w-]+")


@pytest.fixture
def key(db):
    key, _secret = APIKey.objects.issue(label="Web shop", scopes=["storefront"])
    return key


def issue(client, **changes):
    once = client.get(add(APIKey)).context["adminform"].form["once"].value()
    values = {"label": "Mobile app", "scopes": ["storefront"], "once": once, **changes}
    return client.post(add(APIKey), values)


def test_a_new_key_is_shown_once_and_its_secret_is_stored_nowhere(staff):
    scopes = ["storefront", "payments"]
    response = issue(staff, scopes=scopes, expires_at_0="2999-12-31", expires_at_1="23:59")
    [secret] = SECRET.findall(text_of(response))
    key = APIKey.objects.find_by_secret(Secret(secret))
    assert key is not None
    assert (key.label, key.scopes) == ("Mobile app", scopes)
    assert not key.is_revoked
    assert APIKey.objects.filter(expires_at__year=2999).exists()
    tail = secret.rsplit("_", 1)[1]
    assert "no-store" in response["Cache-Control"]
    assert not any(tail in cookie.value for cookie in staff.cookies.values())
    assert not any(tail in str(session.get_decoded()) for session in Session.objects.all())
    entry = LogEntry.objects.get()
    assert entry.object_repr == str(key)
    assert tail not in str(entry.__dict__)
    for page in (APIKey, key, add(APIKey), "/admin/"):
        text = staff.read(page)
        assert secret not in text
        assert key.digest not in text


def test_a_reload_or_an_error_issues_no_key(staff):
    once = staff.get(add(APIKey)).context["adminform"].form["once"].value()
    issue(staff, once=once)
    response = issue(staff, once=once)
    assert response["Location"] == changelist(APIKey)
    assert APIKey.objects.count() == 1
    APIKey.objects.all().delete()
    past = {"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}
    for changes in ({"label": "  "}, {"scopes": ["everything"]}, past):
        [field] = issue(staff, **changes).context["adminform"].form.errors
        assert next(iter(changes)).startswith(field)
    assert not APIKey.objects.exists()


def test_keys_are_revoked_together_and_once(key, staff):
    other, _secret = APIKey.objects.issue(label="Old shop", scopes=["payments"])
    other.revoke()
    revoked_at = APIKey.objects.get(pk=other.pk).revoked_at
    page = text_of(staff.choose("revoke", key, other))
    assert all(words in page for words in ("cannot be used again", str(key), "Revoke these keys"))
    assert str(other) not in page, "it is revoked already"
    assert not APIKey.objects.get(pk=key.pk).is_revoked
    response = staff.choose("revoke", key, other, sure="yes")
    assert all(key.is_revoked for key in APIKey.objects.all())
    assert "1 key was revoked." in text_of(response)
    assert LogEntry.objects.count() == 1
    assert APIKey.objects.get(pk=other.pk).revoked_at == revoked_at


def test_keys_are_issued_and_revoked_with_permission_and_never_edited(key, staff, staff_with):
    for page in (change(key), delete(key)):
        assert staff.post(page, {"post": "yes", "label": "x"}).status_code == 403
    clerk = staff_with("view_apikey")
    assert clerk.get(add(APIKey)).status_code == 403
    assert clerk.post(add(APIKey), {"label": "x", "scopes": ["payments"]}).status_code == 403
    clerk.choose("revoke", key, sure="yes")
    assert not APIKey.objects.get().is_revoked
    assert SECRET.search(text_of(issue(staff_with("add_apikey"))))
