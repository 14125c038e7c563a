"""Early fraud warnings and reviews.

See: https://docs.stripe.com/api/radar/early_fraud_warnings and
https://docs.stripe.com/api/radar/reviews (checked 2026-11)
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import INTENTS, REVIEWS, WARNINGS

CARD = "pm_card_createIssuerFraudRecord"


def warning_of(api, charge):
    (found,) = api.get(WARNINGS, {"charge": charge["id"]})["data"]
    return api.again(found)


@pytest.fixture
def charge(api):
    return api.pay()


@pytest.fixture
def review(api, sandbox, charge):
    return api.again(sandbox.open_review(charge["payment_intent"]))


def test_a_test_card_makes_a_warning_that_is_actionable_until_all_is_refunded(api):
    charge, other = api.pay(CARD), api.pay(CARD)

    warning = warning_of(api, charge)

    warning.assert_has(actionable=True, fraud_type="misc", payment_intent=charge["payment_intent"])
    assert "radar.early_fraud_warning.created" in api.events_after()
    expanded = api.get(f"{WARNINGS}/{warning['id']}", {"expand[]": "charge"})
    assert expanded["charge"]["id"] == charge["id"]
    assert [each["charge"] for each in api.get(WARNINGS)["data"]] == [other["id"], charge["id"]]
    found = api.get(WARNINGS, {"payment_intent": charge["payment_intent"]})["data"]
    assert found == [warning.json]
    for amount, is_actionable in (("5000", True), ("6200", False)):
        api.refund(charge, amount=amount)
        assert warning_of(api, charge)["actionable"] is is_actionable
        assert ("radar.early_fraud_warning.updated" not in api.events_after()) is is_actionable
    assert warning_of(api, other)["actionable"] is True


def test_an_intent_names_its_review_which_an_approval_closes(api, sandbox, charge, review):
    review.assert_has(open=True, reason="manual", closed_reason=None)
    intent = api.get(f"{INTENTS}/{charge['payment_intent']}", {"expand[]": "review"})
    assert [intent["review"]] == api.get(REVIEWS)["data"] == [review.json]
    with pytest.raises(ValueError, match="already has a review"):
        sandbox.open_review(intent["id"])
    before = len(sandbox.events)

    approved = api.post(f"{REVIEWS}/{review['id']}/approve")

    approved.assert_has(open=False, reason="approved")
    assert api.events_after(before) == ["review.closed"]
    assert api.get(REVIEWS)["data"] == []  # the list has open ones only
    assert api.post(f"{REVIEWS}/{review['id']}/approve").status == 400
