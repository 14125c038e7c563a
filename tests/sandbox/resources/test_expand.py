"""`expand[]`. See: https://docs.stripe.com/api/expanding_objects (checked 2026-11)"""

from __future__ import annotations

import pytest

from tests.sandbox.support import CHARGES, INTENTS, MONEY, ORDER


@pytest.fixture
def intent(api):
    return api.create(payment_method="pm_card_visa", confirm="true")


def get(api, intent, *paths):
    named = {f"expand[{n}]": path for n, path in enumerate(paths)}
    return api.get(f"{INTENTS}/{intent['id']}", named)


def test_an_object_replaces_its_id_in_the_answer_only(api, sandbox):
    expanded = api.create(payment_method="pm_card_visa", **{"expand[]": "payment_method"})

    again = api.again(expanded)
    assert expanded["payment_method"]["card"]["last4"] == "4242"
    assert again["payment_method"] == expanded["payment_method"]["id"]
    assert sandbox.events[0]["data"]["object"] == again.json


def test_paths_may_overlap_and_have_four_levels(api, intent):
    four = "latest_charge.payment_intent.latest_charge.payment_intent"

    deep = get(api, intent, four, "latest_charge.balance_transaction")

    charge = deep["latest_charge"]
    assert charge["balance_transaction"]["amount"] == 11200
    assert charge["payment_intent"]["latest_charge"]["payment_intent"] == intent.json
    assert get(api, intent, "customer.default_source", "review")["customer"] is None
    too_deep = get(api, intent, f"{four}.payment_method")
    too_deep.assert_refused(message="You cannot expand more than 4 levels")


def test_in_a_list_paths_start_with_data(api, intent):
    api.create()

    newest, oldest = api.get(INTENTS, {"expand[]": "data.payment_method"})["data"]
    refused = api.get(INTENTS, {"expand[]": "payment_method"})

    assert newest["payment_method"] is None
    assert oldest["payment_method"]["object"] == "payment_method"
    refused.assert_refused(message="You may want to try expanding 'data.payment_method' instead.")


def test_an_id_may_belong_to_objects_of_several_kinds(api, intent):
    refund = api.refund(api.charge_of(intent), amount="1")

    paths = {"expand[0]": "data.source", "expand[1]": "data.source.charge"}
    sources = [row["source"] for row in api.get(MONEY, paths)["data"]]

    assert [each["object"] for each in sources] == ["refund", "charge"]
    assert (sources[0]["id"], sources[0]["charge"]["object"]) == (refund["id"], "charge")


def test_a_charge_shows_its_refunds_only_where_they_are_expanded(api, intent):
    charge = api.charge_of(intent)
    made = [api.refund(charge, amount="1").json for _ in range(11)][::-1]
    path = f"{CHARGES}/{charge['id']}"

    shown = api.get(path, {"expand[]": "refunds"})["refunds"]

    assert "refunds" not in api.get(path).json
    assert (shown["data"], shown["has_more"]) == (made[:10], True)
    assert shown["url"] == f"{path}/refunds"


@pytest.mark.parametrize(
    "path", ["metadata", "a..b", "latest_charge.refunds.data", "latest_charge.refunds.charge"]
)
def test_an_invalid_path_is_refused_before_the_operation(api, sandbox, path):
    answer = api.post(INTENTS, {**ORDER, "expand[]": path})

    answer.assert_refused(message=f"This property cannot be expanded ({path}).")
    assert sandbox.events == []
