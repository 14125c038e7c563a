"""Staff write notes about a payment."""

from __future__ import annotations

import pytest

from shop_payments.models import StaffNote
from tests.admin.support import change, errors_of, fill_in, messages_of, page_of, send
from tests.support import writes

pytestmark = pytest.mark.django_db


@pytest.fixture
def note_page(open_payment):
    return f"{change(open_payment).removesuffix('change/')}note/"


def test_a_note_is_shown_with_its_author_as_text(open_payment, note_page, staff, superuser, stripe):
    sent = writes(stripe)
    assert f'href="{note_page}"' in staff.read(open_payment)

    response = send(staff, note_page, text="Anna called.\n<script>alert(1)</script>")

    assert messages_of(response) == ["The note was added."]
    assert "Anna called.<br>&lt;script&gt;alert(1)&lt;/script&gt;" in response.text
    assert "by root" in response.text
    note = StaffNote.objects.get()
    assert (note.created_by, note.order_payment) == (superuser, open_payment)
    assert writes(stripe) == sent
    actor = f"staff {superuser.pk}"
    superuser.delete()
    note.refresh_from_db()
    assert (note.created_by, note.actor) == (None, actor)


def test_a_note_that_is_sent_twice_is_written_once(note_page, staff):
    """By a double click, or after Back."""
    form = fill_in(staff, note_page, text="Once.")
    staff.post(note_page, form)
    again = staff.post(note_page, form, follow=True)
    assert "This form was already sent" in messages_of(again)[-1]
    assert StaffNote.objects.get().text == "Once."


@pytest.mark.parametrize("text", ["", "   ", "x" * 2001])
def test_a_note_without_text_or_too_long_is_refused_and_nothing_is_lost(note_page, staff, text):
    response = staff.post(note_page, fill_in(staff, note_page, text=text))
    assert len(errors_of(response)) == 1
    assert text.strip() in response.text
    assert not StaffNote.objects.exists()


def test_only_staff_with_the_permission_write_notes(open_payment, note_page, staff_with):
    viewer = staff_with("view_orderpayment")
    assert note_page not in viewer.read(open_payment)
    assert viewer.get(note_page).status_code == viewer.post(note_page).status_code == 403
    writer = staff_with("view_orderpayment", "add_staffnote")
    assert send(writer, note_page, text="By a clerk.").status_code == 200
    assert StaffNote.objects.get().text == "By a clerk."


def test_a_payment_with_notes_is_not_deleted(open_payment, note_page, staff):
    send(staff, note_page, text="Keep this.")
    page = f"{change(open_payment.order).removesuffix('change/')}delete/"
    response = staff.post(page, {"post": "yes"}, follow=True)
    assert "was not deleted" in messages_of(response)[0]
    assert StaffNote.objects.exists()


def test_the_button_of_a_note_is_not_among_those_that_move_money(paid, staff):
    assert "Add a note" not in staff.buttons(paid)
    assert page_of("waive") not in staff.read(paid)
