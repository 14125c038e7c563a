"""Disputes: how they begin, what evidence does, how they end, their events.

See: https://docs.stripe.com/disputes/how-disputes-work, https://docs.stripe.com/api/disputes and
https://docs.stripe.com/testing#disputes (checked 2026-11). What is refused is in `refusals`.
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import DAY, DISPUTES, REFUNDS

WORDS = "evidence[uncategorized_text]"
OPENED = ["charge.dispute.created", "charge.dispute.funds_withdrawn"]


def disputed(api, card="pm_card_createDispute", **params):
    (found,) = api.get(DISPUTES, {"charge": api.pay(card, **params)["id"]})["data"]
    return api.again(found)


def inquired(api):
    return disputed(api, "pm_card_createDisputeInquiry")


def submit(api, dispute, words, **params):
    return api.post(f"{DISPUTES}/{dispute['id']}", {WORDS: words, **params})


def charge_of(api, dispute):
    return api.get(f"/v1/charges/{dispute['charge']}")


def net(dispute):
    return [row["net"] for row in dispute["balance_transactions"]]


# How they begin


@pytest.mark.parametrize(
    ("card", "reason", "code", "status", "money"),
    [
        ("", "fraudulent", "10.4", "needs_response", [-12700]),
        ("ProductNotReceived", "product_not_received", "13.1", "needs_response", [-12700]),
        ("Inquiry", "fraudulent", "10", "warning_needs_response", []),
    ],
)
def test_a_test_card_is_disputed(api, card, reason, code, status, money):
    inquiry = card == "Inquiry"

    dispute = disputed(api, f"pm_card_createDispute{card}")

    assert dispute["id"].startswith("du_")
    dispute.assert_has(status=status, reason=reason, amount=11200, currency="usd")
    assert dispute["payment_method_details"]["card"] == {
        "brand": "visa",
        "case_type": "inquiry" if inquiry else "chargeback",
        "network": "visa",
        "network_reason_code": code,
    }
    assert (dispute["is_charge_refundable"], net(dispute)) == (inquiry, money)
    charge = charge_of(api, dispute)
    assert dispute["payment_intent"] == charge["payment_intent"]
    charge.assert_has(disputed=True, paid=True, amount_refunded=0)
    due_by = dispute["evidence_details"]["due_by"]  # the end of a day
    assert ((due_by + 1) % DAY, 8 * DAY < due_by - dispute["created"] < 9 * DAY) == (0, True)
    assert api.events_after(2)[:-2] == (OPENED[:1] if inquiry else OPENED)
    refund = api.post(REFUNDS, {"charge": charge["id"]})
    assert inquiry or refund.error["code"] == "charge_disputed"


def test_a_manual_capture_is_disputed_when_it_is_captured(api):
    charge = api.pay("pm_card_createDispute", capture_method="manual")
    before = api.get(DISPUTES)["data"]

    path = f"/v1/payment_intents/{charge['payment_intent']}/capture"
    api.post(path, {"amount_to_capture": "5000"})

    assert (before, [each["amount"] for each in api.get(DISPUTES)["data"]]) == ([], [5000])
    assert api.events_after(3) == ["charge.captured", *OPENED, "payment_intent.succeeded"]


# Evidence


def test_evidence_is_submitted_at_once_and_once(api, sandbox):
    dispute = disputed(api)
    number = len(sandbox.events)

    sent = submit(api, dispute, "It was delivered.", **{"evidence[customer_name]": "Jenny"})
    refused = submit(api, dispute, "On Monday.")

    assert (sent["status"], sent["evidence"]["customer_name"]) == ("under_review", "Jenny")
    details = sent["evidence_details"]
    assert (details["has_evidence"], details["submission_count"]) == (True, 1)
    assert details["submission_method"] == "manual"
    assert api.events_after(number) == ["charge.dispute.updated"]
    event = sandbox.events[-1]
    assert set(event["data"]["previous_attributes"]) == {"evidence", "evidence_details", "status"}
    assert event["request"]["id"] == sent.headers["request-id"]
    assert "already been submitted" in refused.error["message"]
    assert api.again(dispute).json == sent.json


def test_evidence_may_be_staged_first(api):
    dispute = disputed(api)

    submit(api, dispute, "It was delivered.", submit="false")
    staged = submit(api, dispute, "On Monday.", submit="false")
    sent = api.post(f"{DISPUTES}/{dispute['id']}", {"submit": "true"})

    details = staged["evidence_details"]
    assert (staged["status"], details["has_evidence"]) == ("needs_response", True)
    assert details["submission_count"] == 0
    assert sent["status"] == "under_review"
    assert sent["evidence"]["uncategorized_text"] == "On Monday."


def test_metadata_alone_submits_nothing_and_an_empty_update_has_no_event(api, sandbox):
    dispute = disputed(api)
    number = len(sandbox.events)

    same = api.post(f"{DISPUTES}/{dispute['id']}")
    updated = api.post(f"{DISPUTES}/{dispute['id']}", {"metadata[a]": "b"})

    assert same.json == dispute.json
    assert updated.json == {**dispute.json, "metadata": {"a": "b"}}
    assert api.events_after(number) == ["charge.dispute.updated"]
    assert sandbox.events[-1]["data"]["previous_attributes"] == {"metadata": {}}


def test_evidence_has_a_length_in_total(api):
    dispute = disputed(api)
    names = """access_activity_log billing_address cancellation_rebuttal customer_name service_date
        product_description refund_policy_disclosure shipping_address"""

    refused = api.post(
        f"{DISPUTES}/{dispute['id']}", {f"evidence[{name}]": "x" * 19000 for name in names.split()}
    )

    assert (refused.status, refused.error["param"]) == (400, "evidence")
    assert api.again(dispute).json == dispute.json


# How they end

CLOSED = "charge.dispute.closed"
REINSTATED = "charge.dispute.funds_reinstated"


@pytest.mark.parametrize(
    ("inquiry", "how", "status", "money", "events"),
    [
        (False, "winning_evidence", "won", [-12700, 11200], [REINSTATED, CLOSED]),
        (False, "losing_evidence", "lost", [-12700], [CLOSED]),
        (False, "close", "lost", [-12700], [CLOSED]),
        (False, "It was delivered.", "under_review", [-12700], []),
        (True, "winning_evidence", "warning_closed", [], [CLOSED]),
        (True, "losing_evidence", "warning_closed", [], [CLOSED]),
        (True, "close", "warning_closed", [], [CLOSED]),
    ],
)
def test_evidence_or_closing_ends_a_dispute(api, sandbox, inquiry, how, status, money, events):
    dispute = inquired(api) if inquiry else disputed(api)
    if how == "close":
        number = len(sandbox.events)
        assert api.post(f"{DISPUTES}/{dispute['id']}/close")["status"] == status
    else:
        assert submit(api, dispute, how)["status"].endswith("under_review")
        number = len(sandbox.events)
    sandbox.advance_clock(5)

    ended = api.again(dispute)
    refundable = inquiry or status == "won"
    ended.assert_has(status=status, is_charge_refundable=refundable)
    assert net(ended) == money  # the fee stays with Stripe
    assert api.events_after(number) == events
    if how != "close":
        assert sandbox.events[-1]["request"]["id"] is None or not events
    refund = api.post(REFUNDS, {"charge": dispute["charge"]})
    assert refund.json.get("amount") == (11200 if refundable else None)
    if status != "under_review":
        closed_for_good(api, ended)


def closed_for_good(api, dispute):
    before = api.again(dispute).json, api.sandbox.events
    for operation, params in [
        ("", {WORDS: "more"}),
        ("", {"metadata[a]": "b"}),
        ("", {"submit": "true"}),
        ("/close", {}),
    ]:
        refused = api.post(f"{DISPUTES}/{dispute['id']}{operation}", params)
        assert refused.error["message"] == "This dispute is already closed"
    assert (api.again(dispute).json, api.sandbox.events) == before


def test_a_dispute_without_an_answer_in_time_is_lost(api, sandbox):
    dispute = disputed(api)
    submit(api, dispute, "staged", submit="false")
    number = len(sandbox.events)

    sandbox.advance_clock(dispute["evidence_details"]["due_by"] - sandbox.now)
    in_time = api.again(dispute)["status"]
    sandbox.advance_clock(1)

    late = api.again(dispute)
    assert (in_time, late["status"]) == ("needs_response", "lost")
    assert late["evidence_details"]["past_due"] is True
    assert api.events_after(number) == ["charge.dispute.closed"]


def test_an_inquiry_may_escalate_with_another_deadline(api, sandbox):
    inquiry = inquired(api)
    api.refund(charge_of(api, inquiry), amount="1200")
    sandbox.advance_clock(5 * DAY)
    submit(api, inquiry, "escalate_inquiry_evidence")
    number = len(sandbox.events)

    sandbox.advance_clock(5)

    escalated = api.again(inquiry)
    escalated.assert_has(status="needs_response", is_charge_refundable=False)
    assert (escalated["amount"], net(escalated)) == (10000, [-11500])
    assert escalated["payment_method_details"]["card"]["case_type"] == "chargeback"
    assert api.events_after(number) == ["charge.dispute.updated", OPENED[1]]
    due_by = inquiry["evidence_details"]["due_by"] + 5 * DAY
    assert escalated["evidence_details"]["due_by"] == due_by
    sandbox.advance_clock(4 * DAY)
    assert api.again(inquiry)["status"] == "needs_response"
    sandbox.advance_clock(5 * DAY)
    assert api.again(inquiry)["status"] == "lost"


def test_an_inquiry_without_an_answer_is_closed_in_the_end(api, sandbox):
    dispute = inquired(api)

    sandbox.advance_clock(10 * DAY)
    late = api.again(dispute)
    refused = submit(api, dispute, "winning_evidence")
    sandbox.advance_clock(110 * DAY)

    assert late["status"] == "warning_needs_response"
    assert late["evidence_details"]["past_due"]
    assert refused.error["message"] == "The evidence deadline has passed."
    assert api.again(dispute)["status"] == "warning_closed"


def test_a_full_refund_closes_an_inquiry_for_good(api, sandbox):
    dispute = inquired(api)
    charge = charge_of(api, dispute)
    submit(api, dispute, "escalate_inquiry_evidence")

    api.refund(charge, amount="200")
    meanwhile = api.again(dispute)["status"]
    number = len(sandbox.events)
    api.refund(charge)
    sandbox.advance_clock(5)

    assert (meanwhile, api.again(dispute)["status"]) == ("warning_under_review", "warning_closed")
    assert api.events_after(number + 2) == ["charge.dispute.closed"]


def test_a_pending_refund_fails_when_the_bank_takes_the_money(api, sandbox):
    charge = api.pay("pm_card_pendingRefund")
    refund = api.refund(charge, amount="1200")

    sandbox.open_dispute(charge["id"])

    reason = "charge_for_pending_refund_disputed"
    api.again(refund).assert_has(status="failed", failure_reason=reason)


# The lever


def test_a_test_may_dispute_what_is_left_of_any_charge(api, sandbox):
    charge = api.pay()
    api.refund(charge, amount="1200")
    number = len(sandbox.events)

    dispute = sandbox.open_dispute(charge["id"], "duplicate")
    inquiry = sandbox.open_dispute(api.pay()["id"], inquiry=True)

    assert (dispute["reason"], dispute["amount"]) == ("duplicate", 10000)
    assert api.events_after(number)[:2] == OPENED
    assert api.again(dispute).json == dispute
    assert (inquiry["status"], net(inquiry)) == ("warning_needs_response", [])


def test_only_money_that_was_taken_is_disputed(api, sandbox):
    paid, refunded, twice = api.pay(), api.pay(), api.pay()
    api.refund(refunded)
    sandbox.open_dispute(twice["id"])

    for message, charge, reason in [
        ("No money was taken", api.pay(capture_method="manual"), "general"),
        ("has been refunded", refunded, "general"),
        ("has its dispute", twice, "general"),
        ("cards only", api.debit(), "general"),
        ("not disputed for 'regret'", paid, "regret"),
    ]:
        number = len(sandbox.events)
        with pytest.raises(ValueError, match=message):
            sandbox.open_dispute(charge["id"], reason)
        assert api.events_after(number) == []
