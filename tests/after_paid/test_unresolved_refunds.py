"""A refund whose outcome nobody knows keeps its amount and its key until that is known."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.utils import timezone

from shop_payments.exceptions import RefundInProgress
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.reconcile import Report, reconcile
from shop_payments.models import Refund, Source, StripeAttempt
from shop_payments.sandbox import Fault
from shop_payments.services.give_up_refund import give_up_refund
from tests.after_paid.support import refunds_at_stripe
from tests.support import answer

pytestmark = pytest.mark.django_db(transaction=True)

STAFF = Origin(source=Source.ADMIN, actor="staff 3")
REFUND = {"amount": "40.00"}
SECONDS = 300


@pytest.fixture
def rolled_forward(office, order, paid, stripe) -> Any:
    """Stripe answers a refund of 40.00 with a 500, and finishes it five minutes later."""
    stripe.inject(Fault("effect_later", method="POST", path="/v1/refunds", seconds=SECONDS))
    assert answer(office.refund(order, REFUND, key="a")) == (503, "gateway_unavailable")
    return stripe


def at(hours: float) -> Any:
    return time_machine.travel(timezone.now() + timedelta(hours=hours), tick=True)


def sweep() -> Report:
    return reconcile(since=timezone.now() - timedelta(days=3))


def test_it_is_found_when_stripe_has_finished_it(rolled_forward, office, order, webhooks):
    again = office.refund(order, REFUND, key="a")
    assert answer(again) == (409, "refund_in_progress")
    assert "The outcome of this refund of 40.00 USD is not known yet" in again.json()["message"]
    assert again.headers["Retry-After"]

    rolled_forward.advance_clock(SECONDS)
    webhooks()

    done = office.refund(order, REFUND, key="a")
    assert (done.status_code, done.json()["data"]["status"]) == (200, "succeeded")
    assert [each["amount"] for each in refunds_at_stripe(rolled_forward)] == [4000]


def test_its_amount_stays_reserved(rolled_forward, office, order):
    office.refund(order, REFUND, key="a")

    refused = office.refund(order, {"amount": "80.00"}, key="b")

    assert answer(refused) == (409, "refund_exceeds_balance")
    assert refused.json()["data"]["refundable"] == "72.00"


def test_a_sweep_that_does_not_find_it_gives_nothing_up(rolled_forward):
    with at(2 / 60):
        report = sweep()

    assert (report.attempts, report.problems) == (0, [])
    assert Refund.objects.get().status == "requested"


def test_it_is_given_up_when_two_looks_after_the_keys_life_agree(office, order, paid, stripe):
    stripe.inject(Fault("error", method="POST", path="/v1/refunds", status=500))
    office.refund(order, REFUND, key="a")

    statuses = []
    for hours in (22, 24, 24.5, 25.5):
        with at(hours):
            sweep()
        statuses.append(Refund.objects.get().status)

    assert statuses == ["requested", "requested", "requested", "refused"]
    assert Refund.objects.get().failure_reason.startswith("Stripe had no such refund a day after")
    assert StripeAttempt.objects.get(operation="create_refund").outcome == "abandoned"
    assert answer(office.refund(order, REFUND, key="a")) == (409, "refund_refused")


def test_one_that_comes_even_later_is_mirrored(office, order, paid, stripe, webhooks):
    seconds = 3 * 24 * 3600
    stripe.inject(Fault("effect_later", method="POST", path="/v1/refunds", seconds=seconds))
    office.refund(order, REFUND, key="a")
    for hours in (24, 26):
        with at(hours):
            sweep()
    assert Refund.objects.get().status == "refused"

    stripe.advance_clock(seconds)
    webhooks()

    assert Refund.objects.get().status == "succeeded"


def test_a_refund_that_lists_do_not_show_yet_is_not_given_up(office, order, paid, stripe):
    stripe.inject(Fault("unlisted", method="POST", path="/v1/refunds", seconds=SECONDS))
    stripe.inject(Fault("error_after", method="POST", path="/v1/refunds"))
    assert answer(office.refund(order, REFUND, key="a")) == (503, "gateway_unavailable")

    assert answer(office.refund(order, REFUND, key="a")) == (409, "refund_in_progress")
    stripe.advance_clock(SECONDS)

    assert office.refund(order, REFUND, key="a").json()["data"]["status"] == "succeeded"
    assert len(refunds_at_stripe(stripe)) == 1


def test_staff_give_it_up(office, order, paid, stripe):
    stripe.inject(Fault("error", method="POST", path="/v1/refunds", status=500))
    office.refund(order, REFUND, key="a")
    refund = Refund.objects.get()

    given_up = give_up_refund(refund_pk=refund.pk, reason="Not in the dashboard.", origin=STAFF)

    assert (given_up.status, given_up.failure_reason) == (
        "refused",
        "given up by staff: Not in the dashboard.",
    )
    assert office.refund(order, key="b").json()["data"]["amount"] == "112.00"


def test_staff_cannot_give_up_what_is_known_or_without_a_reason(office, order, paid, stripe):
    office.refund(order, REFUND, key="a")
    refund = Refund.objects.get()

    with pytest.raises(RefundInProgress, match="succeeded"):
        give_up_refund(refund_pk=refund.pk, reason="No.", origin=STAFF)
    with pytest.raises(ValueError, match="reason"):
        give_up_refund(refund_pk=refund.pk, reason=" ", origin=STAFF)
