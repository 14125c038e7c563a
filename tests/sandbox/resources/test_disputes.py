"""Disputes: how they begin and end, evidence, and events.

See: https://docs.stripe.com/disputes/how-disputes-work, https://docs.stripe.com/api/disputes and
https://docs.stripe.com/testing#disputes (checked 2026-11)
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import CHARGES, DAY, DISPUTES, REFUNDS, Has

CLOSED = "charge.dispute.closed"
REINSTATED = "charge.dispute.funds_reinstated"
INQUIRY = "pm_card_createDisputeInquiry"


def disputed(api, card="pm_card_createDispute"):
    (found,) = api.get(DISPUTES, {"charge": api.pay(card)["id"]})["data"]
    return api.again(found)


def submit(api, dispute, words, **params):
    path = f"{DISPUTES}/{dispute['id']}"
    return api.post(path, {"evidence[uncategorized_text]": words, **params})


def charge_of(api, dispute):
    return api.get(f"{CHARGES}/{dispute['charge']}")


def net(dispute):
    return [row["net"] for row in dispute["balance_transactions"]]


@pytest.mark.parametrize(
    ("card", "reason", "code", "status", "money"),
    [
        ("", "fraudulent", "10.4", "needs_response", [-12700]),
        ("ProductNotReceived", "product_not_received", "13.1", "needs_response", [-12700]),
        ("Inquiry", "fraudulent", "10", "warning_needs_response", []),
    ],
)
def test_a_test_card_opens_a_dispute(api, card, reason, code, status, money):
    dispute = disputed(api, f"pm_card_createDispute{card}")

    dispute.assert_has(status=status, reason=reason, amount=11200)
    dispute.assert_has(is_charge_refundable=card == "Inquiry")
    details = dispute["payment_method_details"]["card"]
    assert (details["network_reason_code"], net(dispute)) == (code, money)
    charge_of(api, dispute).assert_has(disputed=True, paid=True, amount_refunded=0)
    due_by = dispute["evidence_details"]["due_by"]  # the end of a day, UTC
    assert ((due_by + 1) % DAY, 8 * DAY < due_by - dispute["created"] < 9 * DAY) == (0, True)


def test_evidence_is_submitted_once(api, sandbox):
    dispute = disputed(api)
    number = len(sandbox.events)

    assert api.post(f"{DISPUTES}/{dispute['id']}").json == dispute.json
    sent = submit(api, dispute, "It was delivered.", **{"evidence[customer_name]": "Jenny"})
    submit(api, dispute, "On Monday.").assert_refused(message="already been submitted")

    sent.assert_has(status="under_review", evidence=Has(customer_name="Jenny"))
    assert sent["evidence_details"] == Has(has_evidence=True, submission_count=1)
    assert api.events_after(number) == ["charge.dispute.updated"]
    changed = sandbox.events[-1]["data"]["previous_attributes"]
    assert set(changed) == {"evidence", "evidence_details", "status"}


@pytest.mark.parametrize(
    ("card", "how", "status", "money", "events"),
    [
        ("pm_card_createDispute", "winning_evidence", "won", [-12700, 11200], [REINSTATED, CLOSED]),
        ("pm_card_createDispute", "losing_evidence", "lost", [-12700], [CLOSED]),
        ("pm_card_createDispute", "close", "lost", [-12700], [CLOSED]),
        (INQUIRY, "winning_evidence", "warning_closed", [], [CLOSED]),
        (INQUIRY, "close", "warning_closed", [], [CLOSED]),
    ],
)
def test_evidence_or_closing_ends_a_dispute(api, sandbox, card, how, status, money, events):
    dispute = disputed(api, card)
    path = f"{DISPUTES}/{dispute['id']}"
    if how != "close":
        assert submit(api, dispute, how)["status"].endswith("under_review")
    number = len(sandbox.events)
    if how == "close":
        assert api.post(f"{path}/close")["status"] == status
    sandbox.advance_clock(5)

    ended = api.again(dispute)
    ended.assert_has(status=status, is_charge_refundable=status != "lost")
    assert net(ended) == money  # the fee is not returned
    assert api.events_after(number) == events
    refund = api.post(REFUNDS, {"charge": dispute["charge"]})
    assert refund.json.get("amount") == (None if status == "lost" else 11200)
    for answer in (api.post(path, {"metadata[a]": "b"}), api.post(f"{path}/close")):
        answer.assert_refused(message="This dispute is already closed")


def test_a_dispute_without_evidence_in_time_is_lost(api, sandbox):
    dispute = disputed(api)
    staged = submit(api, dispute, "staged", submit="false")
    assert staged["evidence_details"]["submission_count"] == 0
    number = len(sandbox.events)

    sandbox.advance_clock(dispute["evidence_details"]["due_by"] - sandbox.now)
    assert api.again(dispute)["status"] == "needs_response"
    sandbox.advance_clock(1)

    api.again(dispute).assert_has(status="lost", evidence_details=Has(past_due=True))
    assert api.events_after(number) == [CLOSED]


def test_an_inquiry_may_escalate_with_a_new_deadline(api, sandbox):
    inquiry = disputed(api, INQUIRY)
    api.refund(charge_of(api, inquiry), amount="1200")
    sandbox.advance_clock(5 * DAY)
    submit(api, inquiry, "escalate_inquiry_evidence")
    number = len(sandbox.events)

    sandbox.advance_clock(5)

    escalated = api.again(inquiry)
    escalated.assert_has(status="needs_response", is_charge_refundable=False, amount=10000)
    assert net(escalated) == [-11500]
    types = ["charge.dispute.updated", "charge.dispute.funds_withdrawn"]
    assert api.events_after(number) == types
    sandbox.advance_clock(4 * DAY)
    assert api.again(inquiry)["status"] == "needs_response"
    sandbox.advance_clock(5 * DAY)
    assert api.again(inquiry)["status"] == "lost"


def test_an_inquiry_is_closed_by_a_full_refund_or_after_120_days(api, sandbox):
    refunded, forgotten = disputed(api, INQUIRY), disputed(api, INQUIRY)
    submit(api, refunded, "escalate_inquiry_evidence")

    api.refund(charge_of(api, refunded))
    sandbox.advance_clock(5)
    assert api.again(refunded)["status"] == "warning_closed"

    sandbox.advance_clock(10 * DAY)
    late = submit(api, forgotten, "winning_evidence")
    late.assert_refused(message="The evidence deadline has passed.")
    sandbox.advance_clock(110 * DAY)
    assert api.again(forgotten)["status"] == "warning_closed"


def test_only_captured_money_can_be_disputed(api, sandbox):
    refunded, twice = api.pay(), api.pay("pm_card_pendingRefund")
    api.refund(refunded)
    pending = api.refund(twice, amount="1200")
    assert sandbox.open_dispute(twice["id"])["amount"] == 10000
    reason = "charge_for_pending_refund_disputed"
    api.again(pending).assert_has(status="failed", failure_reason=reason)

    for message, charge in [
        ("No money was taken", api.pay(capture_method="manual")),
        ("has been refunded", refunded),
        ("has a dispute", twice),
        ("cards only", api.debit()),
    ]:
        with pytest.raises(ValueError, match=message):
            sandbox.open_dispute(charge["id"])
