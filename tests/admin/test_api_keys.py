"""Keys of the API: issued, shown once, revoked."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.utils import timezone

from shop_payments.models import APIKey
from shop_payments.secrecy import Secret
from tests.admin.support import add, change, changelist, delete, listed, text_of

pytestmark = pytest.mark.django_db

SECRET = re.compile(r"spk_[0-9a-f]+_[\w-]+")


@pytest.fixture
def key(db):
    key, _secret = APIKey.objects.issue(label="Web shop", scopes=["storefront"])
    return key


def send_form(client, **changes):
    once = client.get(add(APIKey)).context["adminform"].form["once"].value()
    values = {"label": "Mobile app", "scopes": ["storefront"], "once": once, **changes}
    return client.post(add(APIKey), values)


def test_a_new_key_is_shown_and_opens_the_api(staff):
    response = send_form(staff, scopes=["storefront", "payments"])

    [secret] = SECRET.findall(text_of(response))
    key = APIKey.objects.find_by_secret(Secret(secret))
    assert key is not None
    assert not key.is_revoked
    assert (key.label, key.scopes) == ("Mobile app", ["storefront", "payments"])


def test_the_secret_is_kept_nowhere(staff):
    response = send_form(staff)

    [secret] = SECRET.findall(text_of(response))
    tail = secret.rsplit("_", 1)[1]
    assert "no-store" in response["Cache-Control"]
    assert not any(tail in cookie.value for cookie in staff.cookies.values())
    assert not any(tail in str(session.get_decoded()) for session in Session.objects.all())
    entry = LogEntry.objects.get()
    assert entry.object_repr == str(APIKey.objects.get())
    assert tail not in str(entry.__dict__)


def test_the_secret_is_gone_on_the_next_page(staff):
    [secret] = SECRET.findall(text_of(send_form(staff)))
    key = APIKey.objects.get()

    for page in (changelist(APIKey), change(key), add(APIKey), "/admin/"):
        text = text_of(staff.get(page))
        assert secret not in text
        assert key.digest not in text


def test_a_reload_issues_no_second_key(staff):
    once = staff.get(add(APIKey)).context["adminform"].form["once"].value()
    send_form(staff, once=once)

    response = send_form(staff, once=once)

    assert response.status_code == 302
    assert response["Location"] == changelist(APIKey)
    assert APIKey.objects.count() == 1


def test_two_keys_may_have_the_same_label(staff):
    send_form(staff)
    send_form(staff)

    assert APIKey.objects.filter(label="Mobile app").count() == 2


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("label", {"label": "  "}),
        ("scopes", {"scopes": []}),
        ("scopes", {"scopes": ["everything"]}),
        ("expires_at", {"expires_at_0": "2020-01-01", "expires_at_1": "00:00"}),
    ],
)
def test_a_key_that_cannot_be_is_an_error_at_its_field(field, changes, staff):
    response = send_form(staff, **changes)

    assert list(response.context["errors"]) == [response.context["adminform"].form.errors[field]]
    assert not APIKey.objects.exists()


def test_a_key_may_expire(staff):
    send_form(staff, expires_at_0="2999-12-31", expires_at_1="23:59")

    assert APIKey.objects.filter(expires_at__year=2999).exists()


def test_keys_are_revoked_together(key, staff):
    other, _secret = APIKey.objects.issue(label="Old shop", scopes=["payments"])

    response = staff.post(
        changelist(APIKey),
        {"action": "revoke", "_selected_action": [key.pk, other.pk]},
        follow=True,
    )

    assert all(key.is_revoked for key in APIKey.objects.all())
    assert "2 keys were revoked." in text_of(response)
    assert LogEntry.objects.count() == 2


def test_a_revoked_key_stays_as_it_was(key, staff):
    key.revoke()
    revoked_at = APIKey.objects.get().revoked_at

    staff.post(changelist(APIKey), {"action": "revoke", "_selected_action": [key.pk]})

    assert APIKey.objects.get().revoked_at == revoked_at
    assert not LogEntry.objects.exists()


def test_revoking_takes_the_permission_to_change(key, staff_with):
    clerk = staff_with("view_apikey")

    clerk.post(changelist(APIKey), {"action": "revoke", "_selected_action": [key.pk]})

    assert not APIKey.objects.get().is_revoked


def test_issuing_takes_the_permission_to_add(staff_with):
    clerk = staff_with("view_apikey", "change_apikey")

    assert clerk.get(add(APIKey)).status_code == 403
    assert clerk.post(add(APIKey), {"label": "x", "scopes": ["payments"]}).status_code == 403
    assert not APIKey.objects.exists()


def test_staff_who_may_only_add_get_the_secret_too(staff_with):
    clerk = staff_with("add_apikey")

    assert SECRET.search(text_of(send_form(clerk)))


def test_a_key_is_not_edited_or_deleted(key, staff):
    answers = [
        staff.post(page, {"post": "yes", "label": "x"}) for page in (change(key), delete(key))
    ]

    assert [answer.status_code for answer in answers] == [403, 403]
    assert APIKey.objects.get().label == "Web shop"


def test_keys_are_found_by_state_label_and_prefix(key, staff):
    expired, _secret = APIKey.objects.issue(label="Trial", scopes=["payments"])
    APIKey.objects.filter(pk=expired.pk).update(expires_at=timezone.now() - timedelta(days=1))
    revoked, _secret = APIKey.objects.issue(label="Stolen", scopes=["payments"])
    revoked.revoke()

    for state, of_state in (("live", key), ("expired", expired), ("revoked", revoked)):
        assert listed(staff.get(changelist(APIKey), {"state": state})) == {of_state}
        assert state in text_of(staff.get(change(of_state)))
    assert listed(staff.get(changelist(APIKey), {"q": "web"})) == {key}
    assert listed(staff.get(changelist(APIKey), {"q": key.prefix})) == {key}
