"""Disputes in the sandbox: how they begin, what evidence does, how they end, what is told."""

from __future__ import annotations

from typing import Any

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import CHARGES, DISPUTES, INTENTS, MANDATE, MONEY, REFUNDS, Answer, Api

DAY = 24 * 60 * 60
WORDS = "evidence[uncategorized_text]"
OPENED = ["charge.dispute.created", "charge.dispute.funds_withdrawn"]
CLOSED_MESSAGE = "This dispute is already closed"


def dispute_of(api: Api, charge: Answer) -> Answer:
    (found,) = api.get(DISPUTES, {"charge": charge["id"]})["data"]
    return api.get(f"{DISPUTES}/{found['id']}")


def disputed(api: Api, card: str = "pm_card_createDispute") -> Answer:
    return dispute_of(api, api.pay(card))


def answer(api: Api, dispute: Answer, words: str, **params: str) -> Answer:
    return api.post(f"{DISPUTES}/{dispute['id']}", {WORDS: words, **params})


def again(api: Api, dispute: Answer) -> Answer:
    return api.get(f"{DISPUTES}/{dispute['id']}")


def charge_of(api: Api, dispute: Answer) -> Answer:
    return api.get(f"{CHARGES}/{dispute['charge']}")


def net(dispute: Answer) -> list[int]:
    return [row["net"] for row in dispute["balance_transactions"]]


# --- how they begin -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "reason", "code", "case_type", "status", "refundable", "moved"),
    [
        (
            "pm_card_createDispute",
            "fraudulent",
            "10.4",
            "chargeback",
            "needs_response",
            False,
            [-12700],
        ),
        (
            "pm_card_createDisputeProductNotReceived",
            "product_not_received",
            "13.1",
            "chargeback",
            "needs_response",
            False,
            [-12700],
        ),
        (
            "pm_card_createDisputeInquiry",
            "fraudulent",
            "10",
            "inquiry",
            "warning_needs_response",
            True,
            [],
        ),
    ],
)
def test_a_test_card_is_disputed(
    api: Api,
    card: str,
    reason: str,
    code: str,
    case_type: str,
    status: str,
    refundable: bool,
    moved: list[int],
) -> None:
    dispute = disputed(api, card)

    assert dispute["id"].startswith("du_")
    assert (dispute["status"], dispute["reason"]) == (status, reason)
    assert (dispute["amount"], dispute["currency"]) == (11200, "usd")
    assert dispute["payment_method_details"]["card"] == {
        "brand": "visa",
        "case_type": case_type,
        "network": "visa",
        "network_reason_code": code,
    }
    assert (dispute["is_charge_refundable"], net(dispute)) == (refundable, moved)
    charge = charge_of(api, dispute)
    assert dispute["payment_intent"] == charge["payment_intent"]
    assert (charge["disputed"], charge["paid"], charge["amount_refunded"]) == (True, True, 0)


def test_it_begins_with_the_charge(api: Api, sandbox: Sandbox) -> None:
    disputed(api)

    assert api.told_after(1) == [
        "charge.succeeded",
        *OPENED,
        "payment_intent.succeeded",
        "charge.updated",
    ]
    created, withdrawn = sandbox.events[2:4]
    assert created["data"]["object"] == withdrawn["data"]["object"]


def test_an_inquiry_moves_no_money(api: Api) -> None:
    disputed(api, "pm_card_createDisputeInquiry")

    assert "charge.dispute.funds_withdrawn" not in api.told_after(0)
    assert [row["reporting_category"] for row in api.get(MONEY)["data"]] == ["charge"]


def test_the_answer_is_due_at_the_end_of_a_day(api: Api, sandbox: Sandbox) -> None:
    dispute = disputed(api)

    due_by = dispute["evidence_details"]["due_by"]
    assert (due_by + 1) % DAY == 0
    assert 8 * DAY < due_by - dispute["created"] < 9 * DAY


def test_a_capture_by_hand_is_disputed_when_it_is_captured(api: Api) -> None:
    charge = api.pay("pm_card_createDispute", capture_method="manual")
    before = api.get(DISPUTES)["data"]

    api.post(f"{INTENTS}/{charge['payment_intent']}/capture", {"amount_to_capture": "5000"})

    assert before == []
    assert dispute_of(api, charge)["amount"] == 5000
    assert api.told_after(3) == ["charge.captured", *OPENED, "payment_intent.succeeded"]


def test_an_off_session_payment_is_disputed(api: Api) -> None:
    charge = api.pay("pm_card_createDispute", off_session="true")

    assert dispute_of(api, charge)["status"] == "needs_response"


@pytest.mark.parametrize("name", ["pm_card_createMultipleDisputes", "4000000404000079"])
def test_several_disputes_are_refused_by_name(api: Api, name: str) -> None:
    refused = api.post(
        "/v1/payment_methods",
        {
            "type": "card",
            "card[number]": name,
            "card[exp_month]": "1",
            "card[exp_year]": "2099",
        },
    )
    if name.startswith("pm_"):
        refused = api.confirm(api.create()["id"], name)

    assert refused.error["code"] == "sandbox_not_covered"


# --- looking at them ------------------------------------------------------------------------------


def test_disputes_are_listed_by_what_they_are_of(api: Api) -> None:
    one, other = disputed(api), disputed(api, "pm_card_createDisputeInquiry")

    def ids(**params: str) -> list[str]:
        return [each["id"] for each in api.get(DISPUTES, params)["data"]]

    assert ids() == [other["id"], one["id"]]
    assert ids(charge=one["charge"]) == [one["id"]]
    assert ids(payment_intent=other["payment_intent"]) == [other["id"]]


def test_a_dispute_expands_what_it_points_at(api: Api) -> None:
    dispute = disputed(api)
    paths = {"expand[0]": "charge.balance_transaction", "expand[1]": "payment_intent"}

    expanded = api.get(f"{DISPUTES}/{dispute['id']}", paths)

    assert expanded["charge"]["balance_transaction"]["amount"] == 11200
    assert expanded["payment_intent"]["id"] == dispute["payment_intent"]


# --- evidence -------------------------------------------------------------------------------------


def test_evidence_is_submitted_at_once(api: Api, sandbox: Sandbox) -> None:
    dispute = disputed(api)
    number = len(sandbox.events)

    sent = answer(api, dispute, "It was delivered.", **{"evidence[customer_name]": "Jenny"})

    assert sent["status"] == "under_review"
    assert (sent["evidence"]["customer_name"], sent["evidence"]["uncategorized_text"]) == (
        "Jenny",
        "It was delivered.",
    )
    details = sent["evidence_details"]
    assert (details["has_evidence"], details["submission_count"]) == (True, 1)
    assert details["submission_method"] == "manual"
    assert api.told_after(number) == ["charge.dispute.updated"]
    event = sandbox.events[-1]
    assert set(event["data"]["previous_attributes"]) == {"evidence", "evidence_details", "status"}
    assert event["request"]["id"] == sent.headers["request-id"]


def test_evidence_may_be_staged_first(api: Api) -> None:
    dispute = disputed(api)

    staged = answer(api, dispute, "It was delivered.", submit="false")
    corrected = answer(api, dispute, "On Monday.", submit="false")
    sent = api.post(f"{DISPUTES}/{dispute['id']}", {"submit": "true"})

    assert (staged["status"], staged["evidence_details"]["has_evidence"]) == (
        "needs_response",
        True,
    )
    assert staged["evidence_details"]["submission_count"] == 0
    assert corrected["evidence"]["uncategorized_text"] == "On Monday."
    assert (sent["status"], sent["evidence"]["uncategorized_text"]) == (
        "under_review",
        "On Monday.",
    )


def test_evidence_is_submitted_once(api: Api) -> None:
    dispute = disputed(api)
    sent = answer(api, dispute, "It was delivered.")

    refused = answer(api, dispute, "On Monday.")

    assert (refused.status, refused.error["type"]) == (400, "invalid_request_error")
    assert again(api, dispute).json == sent.json


def test_metadata_alone_submits_nothing(api: Api, sandbox: Sandbox) -> None:
    dispute = disputed(api)

    updated = api.post(f"{DISPUTES}/{dispute['id']}", {"metadata[a]": "b"})

    assert (updated["status"], updated["metadata"]) == ("needs_response", {"a": "b"})
    assert sandbox.events[-1]["data"]["previous_attributes"] == {"metadata": {}}


def test_an_update_of_nothing_is_not_told(api: Api, sandbox: Sandbox) -> None:
    dispute = disputed(api)
    number = len(sandbox.events)

    assert api.post(f"{DISPUTES}/{dispute['id']}").json == dispute.json
    assert api.told_after(number) == []


def test_evidence_has_a_length_in_total(api: Api) -> None:
    dispute = disputed(api)
    names = [
        "access_activity_log",
        "billing_address",
        "cancellation_rebuttal",
        "customer_name",
        "product_description",
        "refund_policy_disclosure",
        "service_date",
        "shipping_address",
    ]

    refused = api.post(
        f"{DISPUTES}/{dispute['id']}", {f"evidence[{name}]": "x" * 19000 for name in names}
    )

    assert (refused.status, refused.error["param"]) == (400, "evidence")
    assert again(api, dispute).json == dispute.json


# --- how they end ---------------------------------------------------------------------------------


def test_winning_evidence_brings_the_money_back(api: Api, sandbox: Sandbox) -> None:
    dispute = disputed(api)
    answer(api, dispute, "winning_evidence")
    number = len(sandbox.events)

    sandbox.advance_clock(5)

    won = again(api, dispute)
    assert (won["status"], won["is_charge_refundable"]) == ("won", True)
    assert net(won) == [-12700, 11200]  # the fee stays with Stripe
    assert [row["reporting_category"] for row in won["balance_transactions"]] == [
        "dispute",
        "dispute_reversal",
    ]
    assert api.told_after(number) == [
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
    ]
    assert sandbox.events[-1]["request"]["id"] is None
    charge = charge_of(api, dispute)
    assert charge["disputed"] is True
    assert api.refund(charge)["amount"] == 11200


@pytest.mark.parametrize("how", ["evidence", "close"])
def test_a_lost_dispute_keeps_the_money(api: Api, sandbox: Sandbox, how: str) -> None:
    dispute = disputed(api)
    number = len(sandbox.events)

    if how == "close":
        closed = api.post(f"{DISPUTES}/{dispute['id']}/close")
        assert closed["status"] == "lost"
    else:
        answer(api, dispute, "losing_evidence")
        number += 1
        sandbox.advance_clock(5)

    lost = again(api, dispute)
    assert (lost["status"], lost["is_charge_refundable"], net(lost)) == ("lost", False, [-12700])
    assert api.told_after(number) == ["charge.dispute.closed"]
    refused = api.post(REFUNDS, {"charge": dispute["charge"]})
    assert refused.error["code"] == "charge_disputed"


def test_other_evidence_stays_under_review(api: Api, sandbox: Sandbox) -> None:
    dispute = disputed(api)
    answer(api, dispute, "It was delivered.")

    sandbox.advance_clock(90 * DAY)

    assert again(api, dispute)["status"] == "under_review"


def test_who_does_not_answer_in_time_has_lost(api: Api, sandbox: Sandbox) -> None:
    dispute = disputed(api)
    answer(api, dispute, "staged", submit="false")
    number = len(sandbox.events)
    left = dispute["evidence_details"]["due_by"] - sandbox.now

    sandbox.advance_clock(left)
    in_time = again(api, dispute)["status"]
    sandbox.advance_clock(1)

    late = again(api, dispute)
    assert (in_time, late["status"]) == ("needs_response", "lost")
    assert late["evidence_details"]["past_due"] is True
    assert api.told_after(number) == ["charge.dispute.closed"]


@pytest.mark.parametrize("words", ["winning_evidence", "losing_evidence"])
def test_an_inquiry_that_is_answered_is_closed(api: Api, sandbox: Sandbox, words: str) -> None:
    dispute = disputed(api, "pm_card_createDisputeInquiry")
    sent = answer(api, dispute, words)
    number = len(sandbox.events)

    sandbox.advance_clock(5)

    closed = again(api, dispute)
    assert (sent["status"], closed["status"]) == ("warning_under_review", "warning_closed")
    assert (net(closed), closed["is_charge_refundable"]) == ([], True)
    assert api.told_after(number) == ["charge.dispute.closed"]


def test_an_inquiry_may_escalate(api: Api, sandbox: Sandbox) -> None:
    dispute = disputed(api, "pm_card_createDisputeInquiry")
    api.refund(charge_of(api, dispute), amount="1200")
    answer(api, dispute, "escalate_inquiry_evidence")
    number = len(sandbox.events)

    sandbox.advance_clock(5)

    escalated = again(api, dispute)
    assert (escalated["status"], escalated["is_charge_refundable"]) == ("needs_response", False)
    assert (escalated["amount"], net(escalated)) == (10000, [-11500])
    assert escalated["payment_method_details"]["card"]["case_type"] == "chargeback"
    assert api.told_after(number) == ["charge.dispute.updated", "charge.dispute.funds_withdrawn"]
    assert answer(api, dispute, "winning_evidence")["evidence_details"]["submission_count"] == 2


def test_an_inquiry_that_nobody_answers_rests_in_the_end(api: Api, sandbox: Sandbox) -> None:
    dispute = disputed(api, "pm_card_createDisputeInquiry")

    sandbox.advance_clock(10 * DAY)
    late = again(api, dispute)
    refused = answer(api, dispute, "winning_evidence")
    sandbox.advance_clock(110 * DAY)

    assert (late["status"], late["evidence_details"]["past_due"]) == (
        "warning_needs_response",
        True,
    )
    assert refused.error["message"] == "The evidence deadline has passed."
    assert again(api, dispute)["status"] == "warning_closed"


def test_giving_all_back_closes_an_inquiry(api: Api, sandbox: Sandbox) -> None:
    dispute = disputed(api, "pm_card_createDisputeInquiry")
    charge = charge_of(api, dispute)

    api.refund(charge, amount="200")
    meanwhile = again(api, dispute)["status"]
    number = len(sandbox.events)
    api.refund(charge)

    assert (meanwhile, again(api, dispute)["status"]) == (
        "warning_needs_response",
        "warning_closed",
    )
    assert api.told_after(number) == ["refund.created", "charge.refunded", "charge.dispute.closed"]


def test_a_chargeback_has_a_deadline_of_its_own(api: Api, sandbox: Sandbox) -> None:
    inquiry = disputed(api, "pm_card_createDisputeInquiry")
    sandbox.advance_clock(5 * DAY)
    answer(api, inquiry, "escalate_inquiry_evidence")
    sandbox.advance_clock(5)

    sandbox.advance_clock(4 * DAY)
    before = again(api, inquiry)
    sandbox.advance_clock(5 * DAY)

    due_by = inquiry["evidence_details"]["due_by"]
    assert before["evidence_details"]["due_by"] == due_by + 5 * DAY
    assert (before["status"], again(api, inquiry)["status"]) == ("needs_response", "lost")


def test_what_is_closed_meanwhile_is_not_decided(api: Api, sandbox: Sandbox) -> None:
    dispute = disputed(api, "pm_card_createDisputeInquiry")
    answer(api, dispute, "escalate_inquiry_evidence")
    api.refund(charge_of(api, dispute))
    number = len(sandbox.events)

    sandbox.advance_clock(5)

    assert again(api, dispute)["status"] == "warning_closed"
    assert api.told_after(number) == []


def test_an_inquiry_that_is_closed_by_the_api_moves_no_money(api: Api) -> None:
    dispute = disputed(api, "pm_card_createDisputeInquiry")

    closed = api.post(f"{DISPUTES}/{dispute['id']}/close")

    assert (closed["status"], net(closed)) == ("warning_closed", [])
    assert api.told_after(0)[-1] == "charge.dispute.closed"
    assert api.refund(charge_of(api, dispute))["amount"] == 11200


@pytest.mark.parametrize("end", ["won", "lost", "warning_closed"])
@pytest.mark.parametrize(
    ("operation", "params"),
    [("", {WORDS: "more"}), ("", {"metadata[a]": "b"}), ("", {"submit": "true"}), ("/close", {})],
)
def test_a_closed_dispute_takes_nothing_more(
    api: Api, sandbox: Sandbox, end: str, operation: str, params: dict[str, str]
) -> None:
    inquiry = end == "warning_closed"
    dispute = disputed(api, f"pm_card_createDispute{'Inquiry' if inquiry else ''}")
    answer(api, dispute, "losing_evidence" if end == "lost" else "winning_evidence")
    sandbox.advance_clock(5)
    before: Any = again(api, dispute).json, sandbox.events

    refused = api.post(f"{DISPUTES}/{dispute['id']}{operation}", params)

    assert before[0]["status"] == end
    assert (refused.status, refused.error["message"]) == (400, CLOSED_MESSAGE)
    assert (again(api, dispute).json, sandbox.events) == before


def test_a_refund_on_its_way_fails_when_the_bank_takes_the_money(
    api: Api, sandbox: Sandbox
) -> None:
    charge = api.pay("pm_card_pendingRefund")
    refund = api.refund(charge, amount="1200")

    sandbox.open_dispute(charge["id"])

    failed = api.get(f"{REFUNDS}/{refund['id']}")
    assert (failed["status"], failed["failure_reason"]) == (
        "failed",
        "charge_for_pending_refund_disputed",
    )


# --- the lever ------------------------------------------------------------------------------------


def test_a_test_may_dispute_any_charge(api: Api, sandbox: Sandbox) -> None:
    charge = api.pay()
    api.refund(charge, amount="1200")
    number = len(sandbox.events)

    dispute = sandbox.open_dispute(charge["id"], "duplicate")

    assert (dispute["reason"], dispute["amount"]) == ("duplicate", 10000)
    assert api.told_after(number) == OPENED
    assert dispute_of(api, charge).json == dispute
    refused = api.post(REFUNDS, {"charge": charge["id"]})
    assert refused.error["code"] == "charge_disputed"


def test_a_test_may_inquire(api: Api, sandbox: Sandbox) -> None:
    dispute = sandbox.open_dispute(api.pay()["id"], inquiry=True)

    assert (dispute["status"], dispute["balance_transactions"]) == ("warning_needs_response", [])


def test_only_money_that_was_taken_is_disputed(api: Api, sandbox: Sandbox) -> None:
    refunded, twice = api.pay(), api.pay()
    api.refund(refunded)
    sandbox.open_dispute(twice["id"])
    charges = {
        "No money was taken": api.pay(capture_method="manual"),
        "has been refunded": refunded,
        "has its dispute": twice,
        "cards only": api.debit(),
    }

    for message, charge in charges.items():
        number = len(sandbox.events)
        with pytest.raises(ValueError, match=message):
            sandbox.open_dispute(charge["id"])
        assert api.told_after(number) == []


def test_a_reason_that_stripe_does_not_have_is_refused(api: Api, sandbox: Sandbox) -> None:
    charge = api.pay()

    with pytest.raises(ValueError, match="not disputed for 'regret'"):
        sandbox.open_dispute(charge["id"], "regret")

    assert api.get(DISPUTES)["data"] == []


def test_an_intent_that_is_forced_to_succeed_twice_is_disputed_once(
    api: Api, sandbox: Sandbox
) -> None:
    charge = api.pay("pm_card_createDispute", **MANDATE)

    sandbox.advance(charge["payment_intent"], "succeeded")

    assert len(api.get(DISPUTES)["data"]) == 1
