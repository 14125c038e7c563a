from __future__ import annotations

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import INTENTS, ORDER, Api


def test_an_object_takes_the_place_of_its_id(api: Api) -> None:
    intent = api.create(payment_method="pm_card_visa")

    answer = api.get(f"{INTENTS}/{intent['id']}", {"expand[]": "payment_method"})

    assert answer["payment_method"]["id"] == intent["payment_method"]
    assert answer["payment_method"]["card"]["last4"] == "4242"


def test_expanding_changes_the_answer_only(api: Api, sandbox: Sandbox) -> None:
    intent = api.create(payment_method="pm_card_visa", **{"expand[]": "payment_method"})

    assert intent["payment_method"]["object"] == "payment_method"
    again = api.get(f"{INTENTS}/{intent['id']}")
    assert again["payment_method"] == intent["payment_method"]["id"]
    assert sandbox.events[0]["data"]["object"] == again.json


@pytest.mark.parametrize("name", ["customer", "review", "source", "transfer_data.destination"])
def test_what_is_null_stays_null(api: Api, name: str) -> None:
    intent = api.create(**{"expand[]": name})

    assert intent[name.partition(".")[0]] is None


def test_several_paths_may_meet(api: Api) -> None:
    paths = {"expand[0]": "payment_method", "expand[1]": "payment_method.customer"}

    intent = api.create(payment_method="pm_card_visa", **paths)

    assert intent["payment_method"]["customer"] is None


def test_a_charge_leads_back_to_its_intent(api: Api) -> None:
    intent = api.create(payment_method="pm_card_visa", confirm="true")
    path = "latest_charge.payment_intent.payment_method"

    answer = api.get(f"{INTENTS}/{intent['id']}", {"expand[]": path})

    charge = answer["latest_charge"]
    assert (charge["id"], charge["object"]) == (intent["latest_charge"], "charge")
    assert charge["payment_intent"]["id"] == intent["id"]
    assert charge["payment_intent"]["payment_method"]["object"] == "payment_method"
    assert charge["payment_intent"]["latest_charge"] == charge["id"]


def test_charges_expand_their_intents(api: Api) -> None:
    intent = api.create(payment_method="pm_card_visa", confirm="true")

    answer = api.get("/v1/charges", {"expand[]": "data.payment_intent"})

    assert [charge["payment_intent"]["id"] for charge in answer["data"]] == [intent["id"]]


def test_an_id_may_be_of_several_kinds(api: Api) -> None:
    intent = api.create(payment_method="pm_card_visa", confirm="true")
    refund = api.post("/v1/refunds", {"payment_intent": str(intent["id"])})

    answer = api.get(
        "/v1/balance_transactions", {"expand[0]": "data.source", "expand[1]": "data.source.charge"}
    )

    of_refund, of_charge = (transaction["source"] for transaction in answer["data"])
    assert (of_refund["object"], of_refund["id"]) == ("refund", refund["id"])
    assert of_refund["charge"]["id"] == of_charge["id"] == intent["latest_charge"]
    assert of_charge["object"] == "charge"  # which has no key `charge` to expand


def test_an_id_of_several_kinds_does_not_lead_anywhere(api: Api) -> None:
    answer = api.get("/v1/balance_transactions", {"expand[]": "data.source.amount"})

    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")


def test_in_a_list_paths_start_with_data(api: Api) -> None:
    bare, with_card = api.create()["id"], api.create(payment_method="pm_card_visa")["id"]

    answer = api.get(INTENTS, {"expand[]": "data.payment_method"})

    newest, oldest = answer["data"]
    assert (newest["id"], oldest["id"]) == (with_card, bare)
    assert newest["payment_method"]["object"] == "payment_method"
    assert oldest["payment_method"] is None


@pytest.mark.parametrize(
    "path", ["metadata", "amount", "nonsense", "payment_method.card", "a..b", "."]
)
def test_what_cannot_be_expanded_is_refused_before_anything_happens(
    api: Api, sandbox: Sandbox, path: str
) -> None:
    answer = api.post(INTENTS, {**ORDER, "expand[]": path})

    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert answer.error["message"] == f"This property cannot be expanded ({path})."
    assert sandbox.events == []


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("payment_method", " You may want to try expanding 'data.payment_method' instead."),
        ("data", ""),
        ("data.metadata", ""),
    ],
)
def test_a_list_says_how_its_paths_begin(api: Api, path: str, hint: str) -> None:
    answer = api.get(INTENTS, {"expand[]": path})

    assert answer.status == 400
    assert answer.error["message"] == f"This property cannot be expanded ({path}).{hint}"


@pytest.mark.parametrize("path", ["customer.default_source", "payment_method.customer.cards"])
def test_what_is_behind_null_is_not_asked_for(api: Api, path: str) -> None:
    answer = api.post(INTENTS, {**ORDER, "payment_method": "pm_card_visa", "expand[]": path})

    assert (answer.status, answer["customer"]) == (200, None)


def test_four_levels_are_the_most(api: Api) -> None:
    intent = api.create(payment_method="pm_card_visa", confirm="true")
    four = "latest_charge.payment_intent.latest_charge.payment_intent"

    deep = api.get(f"{INTENTS}/{intent['id']}", {"expand[]": four})
    too_deep = api.get(f"{INTENTS}/{intent['id']}", {"expand[]": f"{four}.payment_method"})
    in_a_list = api.get(INTENTS, {"expand[]": f"data.{four}"})

    innermost = deep["latest_charge"]["payment_intent"]["latest_charge"]["payment_intent"]
    assert innermost == intent.json
    for refused in (too_deep, in_a_list):
        assert refused.status == 400
        assert refused.error["message"].startswith("You cannot expand more than 4 levels")
        assert four in refused.error["message"]


def test_expand_is_a_list(api: Api) -> None:
    answer = api.get(INTENTS, {"expand": "data.payment_method"})

    assert (answer.status, answer.error["message"]) == (400, "Invalid array")
    assert answer.error["param"] == "expand"


def test_an_id_of_nothing_cannot_be_expanded(api: Api, sandbox: Sandbox) -> None:
    intent_id = api.create()["id"]
    sandbox.advance(intent_id, "succeeded", payment_method="pm_forged")

    answer = api.get(f"{INTENTS}/{intent_id}", {"expand[]": "payment_method"})

    assert (answer.status, answer.error["code"]) == (400, "sandbox_not_covered")
