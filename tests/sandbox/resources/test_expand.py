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


def test_an_object_takes_the_place_of_its_id_in_the_answer_only(api, sandbox):
    expanded = api.create(payment_method="pm_card_visa", **{"expand[]": "payment_method"})

    again = api.again(expanded)
    assert expanded["payment_method"]["card"]["last4"] == "4242"
    assert again["payment_method"] == expanded["payment_method"]["id"]
    assert sandbox.events[0]["data"]["object"] == again.json


@pytest.mark.parametrize(
    "path", ["customer", "transfer_data.destination", "customer.default_source", "review"]
)
def test_null_stays_null(api, intent, path):
    assert get(api, intent, path)[path.partition(".")[0]] is None


def test_several_paths_may_meet_and_lead_four_levels_deep(api, intent):
    four = "latest_charge.payment_intent.latest_charge.payment_intent"

    deep = get(api, intent, four, "latest_charge.balance_transaction")

    charge = deep["latest_charge"]
    assert charge["balance_transaction"]["amount"] == 11200
    assert charge["payment_intent"]["latest_charge"]["payment_intent"] == intent.json
    for refused in (
        get(api, intent, f"{four}.payment_method"),
        api.get(INTENTS, {"expand[]": f"data.{four}"}),
    ):
        assert refused.status == 400
        assert refused.error["message"].startswith("You cannot expand more than 4 levels")


def test_in_a_list_paths_start_with_data(api, intent):
    api.create()

    answer = api.get(INTENTS, {"expand[]": "data.payment_method"})
    refused = api.get(INTENTS, {"expand[]": "payment_method"})

    newest, oldest = answer["data"]
    assert newest["payment_method"] is None
    assert oldest["payment_method"]["object"] == "payment_method"
    assert refused.error["message"] == (
        "This property cannot be expanded (payment_method). You may want to try expanding"
        " 'data.payment_method' instead."
    )


def test_an_id_may_be_of_several_kinds(api, sandbox, intent):
    charge = api.charge_of(intent)
    refund = api.refund(charge, amount="1")
    sandbox.open_dispute(charge["id"])

    paths = {"expand[0]": "data.source", "expand[1]": "data.source.charge"}
    sources = [row["source"] for row in api.get(MONEY, paths)["data"]]

    assert [each["object"] for each in sources] == ["dispute", "refund", "charge"]
    assert (sources[1]["id"], sources[1]["charge"]["id"]) == (refund["id"], charge["id"])


def test_a_charge_shows_its_refunds_only_where_they_are_expanded(api, intent):
    charge = api.charge_of(intent)
    made = [api.refund(charge, amount="1").json for _ in range(11)][::-1]
    path = f"{CHARGES}/{charge['id']}"

    plain, shown = api.get(path), api.get(path, {"expand[]": "refunds"})["refunds"]
    deep = get(api, intent, "latest_charge.refunds.data.charge")

    assert "refunds" not in plain.json
    assert (shown["data"], shown["has_more"]) == (made[:10], True)
    assert shown["url"] == f"{path}/refunds"
    first = deep["latest_charge"]["refunds"]["data"][0]
    assert (first["id"], first["charge"]["id"]) == (made[0]["id"], charge["id"])


@pytest.mark.parametrize(
    ("path", "expand"),
    [
        (INTENTS, "metadata"),
        (INTENTS, "payment_method.card"),
        (INTENTS, "a..b"),
        (INTENTS, "latest_charge.refunds.data"),
        (INTENTS, "latest_charge.refunds.charge"),
        (MONEY, "data.source.colour"),
        (INTENTS, "data"),
    ],
)
def test_what_cannot_be_expanded_is_refused_before_anything_happens(api, sandbox, path, expand):
    method = "GET" if expand.startswith("data") else "POST"

    answer = api.call(method, path, {**(ORDER if method == "POST" else {}), "expand[]": expand})

    assert (answer.status, answer.error["type"]) == (400, "invalid_request_error")
    assert answer.error["message"] == f"This property cannot be expanded ({expand})."
    assert sandbox.events == []
