"""Whatever may still become of a payment's money keeps what is known of its customer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.auth.models import User

from shop_payments.ledger.facts import Origin
from shop_payments.ledger.reviews import close_review_item
from shop_payments.maintenance.retention import PurgeReport, purge_personal_data
from shop_payments.models import OrderPayment, Refund, ReviewItem, Source
from tests.after_paid.support import refund_in_dashboard

pytestmark = pytest.mark.django_db(transaction=True)

Later = Callable[[float], None]


@pytest.fixture
def later() -> Iterator[Later]:
    """Let days pass."""
    with time_machine.travel(datetime(2026, 3, 1, 12, tzinfo=UTC), tick=False) as clock:
        yield lambda days: clock.shift(timedelta(days=days))


def kept(report: PurgeReport) -> bool:
    """Whether nothing was dropped, though there was something old enough."""
    old = (report.kept_events, report.kept_attempts)
    return (report.events, report.attempts) == (0, 0) and min(old) > 0


def dropped(report: PurgeReport) -> bool:
    """Whether nothing was kept of what was old enough."""
    done = (report.events, report.attempts)
    return (report.kept_events, report.kept_attempts) == (0, 0) and min(done) > 0


def test_a_refund_in_the_meantime_keeps_everything(later, pay_order, stripe, webhooks):
    pay_order()
    later(150)
    refund_in_dashboard(stripe, amount="500")
    webhooks()

    later(100)
    assert kept(purge_personal_data())

    later(100)
    assert dropped(purge_personal_data())


def test_a_refund_on_its_way_keeps_everything(later, pay_order, office, order, webhooks):
    pay_order("pm_card_pendingRefund")
    assert office.refund(order).json()["data"]["status"] == "pending"

    later(200)
    assert kept(purge_personal_data())

    webhooks()
    assert Refund.objects.get().status == "succeeded"
    later(200)
    assert dropped(purge_personal_data())


@pytest.mark.parametrize("card", ["pm_card_createDispute", "pm_card_createDisputeInquiry"])
def test_a_dispute_keeps_everything_until_the_bank_has_decided(later, pay_order, webhooks, card):
    """Also once staff have done what they could, and nothing of it is open here."""
    pay_order(card)
    staff = User.objects.create_superuser("root")
    for item in ReviewItem.objects.all():
        origin = Origin(source=Source.ADMIN)
        close_review_item(item_pk=item.pk, reason="Evidence sent.", user=staff, origin=origin)
    assert not OrderPayment.objects.get().needs_review

    later(200)
    assert kept(purge_personal_data())

    webhooks()
    assert OrderPayment.objects.get().dispute_state not in {"open", "inquiry"}
    later(200)
    assert dropped(purge_personal_data())
