"""Staff entries: staff waive, settle outside Stripe, and revoke; the pages of entries."""

from __future__ import annotations

import pytest

from shop_payments.models import Order, StaffEntry
from tests.admin.support import change, errors_of, messages_of, page_of

pytestmark = pytest.mark.django_db

WHY = "Agreed by telephone."


def test_a_payment_shows_its_entries_and_who_made_and_revoked_them(waived, staff, superuser):
    entry = StaffEntry.objects.get()
    for words in (change(entry), "8.00 USD", superuser.username, "in force"):
        assert words in staff.read(waived)
    staff.press(entry, "Revoke: 8.00 USD waived", reason="They pay after all.")
    entry.refresh_from_db()
    assert (entry.created_by, entry.revoked_by) == (superuser, superuser)
    assert (entry.reason, entry.revocation_reason) == (WHY, "They pay after all.")
    assert staff.buttons(entry) == []
    for shown in (waived, entry):
        assert f"revoked by {superuser.username}" in staff.read(shown)
    assert staff.rows(StaffEntry, state="revoked") == {entry}
    assert not staff.rows(StaffEntry, state="not_revoked")


def test_no_more_is_waived_than_is_owed_by_now(partly_paid, staff):
    form = staff.fill(page_of("waive"), reason=WHY)
    partly_paid.order.lines.update(unit_amount=5700)
    [error] = errors_of(staff.post(page_of("waive"), form))
    assert "2.00 USD" in error
    assert not StaffEntry.objects.exists()


def test_a_waiver_of_a_cancelled_order_is_not_revoked(waived, staff):
    form = staff.fill(page_of("revoke"), reason=WHY)
    Order.objects.update(status="cancelled")
    assert errors_of(staff.post(page_of("revoke"), form))
    assert not StaffEntry.objects.get().is_revoked


def test_staff_revoke_a_settlement_with_the_permission_to_settle(paid, staff, staff_with):
    staff.act("settle", reason=WHY)
    page = page_of("revoke")
    waiver = staff_with("view_orderpayment", "waive_amount")
    assert waiver.get(page).status_code == waiver.post(page, {"reason": WHY}).status_code == 403
    assert not any(label.startswith("Revoke") for label in waiver.buttons(paid))
    settler = staff_with("view_orderpayment", "settle_outside_stripe")
    assert "The order is paid." in messages_of(settler.act("revoke", reason="A mistake."))[-1]
