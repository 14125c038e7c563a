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


def test_a_test_card_makes_an_actionable_warning(api):
    charge, other = api.pay(CARD), api.pay(CARD)

    warning = warning_of(api, charge)

    warning.assert_has(actionable=True, fraud_type="misc", payment_intent=charge["payment_intent"])
    assert "radar.early_fraud_warning.created" in api.events_after()
    expanded = api.get(f"{WARNINGS}/{warning['id']}", {"expand[]": "charge"})
    assert expanded["charge"]["id"] == charge["id"]
    assert [each["charge"] for each in api.get(WARNINGS)["data"]] == [other["id"], charge["id"]]
    found = api.get(WARNINGS, {"payment_intent": charge["payment_intent"]})["data"]
    assert found == [warning.json]


@pytest.mark.parametrize("amount", ["5000", "11200"])
def test_a_warning_is_actionable_until_all_is_refunded(api, amount):
    charge = api.pay(CARD)

    api.refund(charge, amount=amount)

    is_left = amount != "11200"
    assert warning_of(api, charge)["actionable"] is is_left
    assert ("radar.early_fraud_warning.updated" in api.events_after()) is not is_left


def test_a_dispute_ends_a_warning_and_a_review(api, sandbox, charge, review):
    sandbox.warn_of_fraud(charge["id"])

    sandbox.open_dispute(charge["id"])

    assert warning_of(api, charge)["actionable"] is False
    assert api.again(review)["closed_reason"] == "disputed"


def test_an_intent_names_its_review(api, sandbox, charge, review):
    review.assert_has(open=True, reason="manual", closed_reason=None)
    intent = api.get(f"{INTENTS}/{charge['payment_intent']}", {"expand[]": "review"})
    assert intent["review"] == review.json
    with pytest.raises(ValueError, match="has a review"):
        sandbox.open_review(intent["id"])


def test_an_approval_closes_a_review_once(api, sandbox, review):
    assert api.get(REVIEWS)["data"] == [review.json]
    before = len(sandbox.events)

    approved = api.post(f"{REVIEWS}/{review['id']}/approve")

    approved.assert_has(open=False, reason="approved")
    assert api.events_after(before) == ["review.closed"]
    assert api.get(REVIEWS)["data"] == []  # the list has open ones only
    assert api.post(f"{REVIEWS}/{review['id']}/approve").status == 400


@pytest.mark.parametrize(
    ("reason", "closed"), [("fraudulent", "refunded_as_fraud"), ("duplicate", "refunded")]
)
def test_a_full_refund_closes_a_review(api, charge, review, reason, closed):
    api.refund(charge, reason=reason)

    assert api.again(review)["closed_reason"] == closed


def test_the_control_route_has_both_levers(api, sandbox, charge):
    for path in (
        f"charges/{charge['id']}/fraud_warning",
        f"payment_intents/{charge['payment_intent']}/review",
    ):
        headers = {"Content-Type": "application/json"}
        assert sandbox.handle("POST", f"/_sandbox/{path}", headers).status == 200

    assert warning_of(api, charge)["actionable"] is True
    assert len(api.get(REVIEWS)["data"]) == 1
