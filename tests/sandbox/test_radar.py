"""Early fraud warnings and reviews in the sandbox."""

from __future__ import annotations

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import INTENTS, Answer, Api

WARNINGS = "/v1/radar/early_fraud_warnings"
REVIEWS = "/v1/reviews"


def warning_of(api: Api, charge: Answer) -> Answer:
    (found,) = api.get(WARNINGS, {"charge": charge["id"]})["data"]
    return api.get(f"{WARNINGS}/{found['id']}")


def reviewed(api: Api, sandbox: Sandbox) -> tuple[Answer, Answer]:
    charge = api.pay()
    review = sandbox.open_review(charge["payment_intent"])
    return charge, api.get(f"{REVIEWS}/{review['id']}")


def test_a_test_card_makes_an_actionable_warning(api: Api) -> None:
    charge = api.pay("pm_card_createIssuerFraudRecord")

    warning = warning_of(api, charge)

    assert (warning["actionable"], warning["fraud_type"]) == (True, "misc")
    assert warning["payment_intent"] == charge["payment_intent"]
    assert "radar.early_fraud_warning.created" in api.told_after(0)
    expanded = api.get(f"{WARNINGS}/{warning['id']}", {"expand[]": "charge"})
    assert expanded["charge"]["id"] == charge["id"]


def test_warnings_are_listed_by_their_intent(api: Api) -> None:
    charge = api.pay("pm_card_createIssuerFraudRecord")
    api.pay("pm_card_createIssuerFraudRecord")

    assert len(api.get(WARNINGS)["data"]) == 2
    found = api.get(WARNINGS, {"payment_intent": charge["payment_intent"]})["data"]
    assert [each["charge"] for each in found] == [charge["id"]]


@pytest.mark.parametrize("amount", ["5000", "11200"])
def test_a_warning_is_actionable_until_all_is_refunded(api: Api, amount: str) -> None:
    charge = api.pay("pm_card_createIssuerFraudRecord")

    api.refund(charge, amount=amount)

    is_left = amount != "11200"
    assert warning_of(api, charge)["actionable"] is is_left
    assert ("radar.early_fraud_warning.updated" in api.told_after(0)) is not is_left


def test_a_dispute_ends_a_warning_and_a_review(api: Api, sandbox: Sandbox) -> None:
    charge, review = reviewed(api, sandbox)
    sandbox.warn_of_fraud(charge["id"])

    sandbox.open_dispute(charge["id"])

    assert warning_of(api, charge)["actionable"] is False
    assert api.get(f"{REVIEWS}/{review['id']}")["closed_reason"] == "disputed"


def test_an_intent_names_its_review(api: Api, sandbox: Sandbox) -> None:
    charge, review = reviewed(api, sandbox)

    assert (review["open"], review["reason"], review["closed_reason"]) == (True, "manual", None)
    intent = api.get(f"{INTENTS}/{charge['payment_intent']}", {"expand[]": "review"})
    assert intent["review"]["id"] == review["id"]
    with pytest.raises(ValueError, match="has a review"):
        sandbox.open_review(charge["payment_intent"])


def test_an_approval_closes_a_review_once(api: Api, sandbox: Sandbox) -> None:
    _charge, review = reviewed(api, sandbox)
    before = len(sandbox.events)

    approved = api.post(f"{REVIEWS}/{review['id']}/approve")

    assert (approved["open"], approved["reason"]) == (False, "approved")
    assert api.told_after(before) == ["review.closed"]
    assert api.get(REVIEWS)["data"] == []  # the list has open ones only
    assert api.post(f"{REVIEWS}/{review['id']}/approve").status == 400


@pytest.mark.parametrize(
    ("reason", "closed"), [("fraudulent", "refunded_as_fraud"), ("duplicate", "refunded")]
)
def test_a_full_refund_closes_a_review(
    api: Api, sandbox: Sandbox, reason: str, closed: str
) -> None:
    charge, review = reviewed(api, sandbox)

    api.refund(charge, reason=reason)

    assert api.get(f"{REVIEWS}/{review['id']}")["closed_reason"] == closed


@pytest.mark.parametrize("path", [f"{WARNINGS}/issfr_1", f"{REVIEWS}/prv_1"])
def test_one_that_is_not_there_is_missing(api: Api, path: str) -> None:
    answer = api.get(path)

    assert (answer.status, answer.error["code"]) == (404, "resource_missing")


def test_the_control_route_has_both_levers(api: Api, sandbox: Sandbox) -> None:
    charge = api.pay()
    json = {"Content-Type": "application/json"}

    for path in (
        f"/_sandbox/charges/{charge['id']}/fraud_warning",
        f"/_sandbox/payment_intents/{charge['payment_intent']}/review",
    ):
        assert sandbox.handle("POST", path, json, None).status == 200

    assert warning_of(api, charge)["actionable"] is True
    assert len(api.get(REVIEWS)["data"]) == 1
