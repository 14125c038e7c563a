"""Parameters of intents that only say something, and what they do not go with."""

from __future__ import annotations

import inspect
import re

import pytest
from stripe import params
from stripe.params import _payment_intent_create_params, _payment_method_create_params

from shop_payments.sandbox.resources.payment_method_types import ALLOWABLE, CREATABLE, EXCLUDABLE
from tests.sandbox.support import INTENTS, ORDER, Api

SHIPPING = {
    "shipping[name]": "Jenny Rosen",
    "shipping[address][line1]": "510 Townsend St",
    "shipping[address][country]": "US",
}


def test_shipping_has_all_its_keys(api: Api) -> None:
    assert api.create(**SHIPPING)["shipping"] == {
        "address": {
            "city": None,
            "country": "US",
            "line1": "510 Townsend St",
            "line2": None,
            "postal_code": None,
            "state": None,
        },
        "carrier": None,
        "name": "Jenny Rosen",
        "phone": None,
        "tracking_number": None,
    }


def test_update_and_confirm_unset_what_create_set(api: Api) -> None:
    created = api.create(setup_future_usage="off_session", **SHIPPING)

    updated = api.post(f"{INTENTS}/{created['id']}", {"setup_future_usage": ""})
    confirmed = api.confirm(created["id"], "pm_card_visa", shipping="")

    assert created["setup_future_usage"] == "off_session"
    assert (updated["setup_future_usage"], updated["shipping"]) == (None, created["shipping"])
    assert confirmed["shipping"] is None


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({"shipping[name]": "Jenny"}, "parameter_missing", "shipping[address]"),
        ({"shipping[address][line1]": "x"}, "parameter_missing", "shipping[name]"),
        ({"shipping": ""}, "parameter_invalid_empty", "shipping"),
        ({**SHIPPING, "shipping[planet]": "Mars"}, "parameter_unknown", "shipping[planet]"),
        ({"setup_future_usage": "perhaps"}, None, "setup_future_usage"),
        ({"statement_descriptor_suffix": "x" * 23}, None, "statement_descriptor_suffix"),
        ({"statement_descriptor_suffix": "A*B"}, None, "statement_descriptor_suffix"),
        ({"statement_descriptor_suffix": "123"}, None, "statement_descriptor_suffix"),
        ({"return_url": "nowhere", "confirm": "true"}, "url_invalid", "return_url"),
        ({"off_session": "true"}, None, "off_session"),
        ({"off_session": "later", "confirm": "true"}, None, "off_session"),
        ({"error_on_requires_action": "true"}, None, "error_on_requires_action"),
        ({"mandate_data[customer_acceptance][type]": "online"}, None, "mandate_data"),
        (
            {"excluded_payment_method_types[]": "card"},
            None,
            "allowed_payment_method_types",
        ),
        (
            {"currency": "eur", "allowed_payment_method_types[]": "us_bank_account"},
            None,
            "currency",
        ),
        ({"allowed_payment_method_types[]": "sepa_debit"}, None, "currency"),
        (
            {"allowed_payment_method_types[]": "barter"},
            None,
            "allowed_payment_method_types[0]",
        ),
        (
            {"allowed_payment_method_types[]": "klarna"},
            "sandbox_not_covered",
            "allowed_payment_method_types[0]",
        ),
    ],
)
def test_create_refuses(api: Api, params: dict[str, str], code: str | None, param: str) -> None:
    answer = api.post(INTENTS, {**ORDER, **params})

    assert answer.status == 400
    assert (answer.error.get("code"), answer.error.get("param")) == (code, param)
    assert api.get(INTENTS)["data"] == []


def test_automatic_methods_may_leave_some_out(api: Api) -> None:
    intent = api.post(
        INTENTS,
        {"amount": "1000", "currency": "usd", "excluded_payment_method_types[]": "card"},
    )

    put_back = api.post(f"{INTENTS}/{intent['id']}", {"excluded_payment_method_types": ""})

    assert (intent["payment_method_types"], intent["excluded_payment_method_types"]) == (
        ["link"],
        ["card"],
    )
    assert put_back["payment_method_types"] == ["card", "link"]
    assert put_back["excluded_payment_method_types"] is None
    assert put_back["automatic_payment_methods"] == intent["automatic_payment_methods"]


def test_only_automatic_methods_leave_some_out(api: Api) -> None:
    intent_id = api.create()["id"]

    answer = api.post(f"{INTENTS}/{intent_id}", {"excluded_payment_method_types[]": "card"})

    assert (answer.status, answer.error["param"]) == (400, "excluded_payment_method_types")


def test_new_types_must_take_what_is_attached(api: Api) -> None:
    intent_id = api.create(payment_method="pm_card_visa")["id"]

    answer = api.post(
        f"{INTENTS}/{intent_id}", {"allowed_payment_method_types[]": "us_bank_account"}
    )

    assert (answer.status, answer.error["param"]) == (400, "payment_method")
    assert api.get(f"{INTENTS}/{intent_id}")["payment_method_types"] == ["card"]


def test_a_new_currency_must_fit_the_types(api: Api) -> None:
    intent_id = api.create(**{"allowed_payment_method_types[]": "us_bank_account"})["id"]

    answer = api.post(f"{INTENTS}/{intent_id}", {"currency": "eur"})

    assert (answer.status, answer.error["param"]) == (400, "currency")


def test_the_types_are_those_of_the_sdk() -> None:
    intents = inspect.getsource(_payment_intent_create_params)
    methods = inspect.getsource(_payment_method_create_params)

    assert words(intents, "allowed_payment_method_types") == ALLOWABLE
    assert words(intents, "excluded_payment_method_types") == EXCLUDABLE
    assert words(methods, "type") == CREATABLE - {"interac_present"} | {"custom"}


def words(source: str, parameter: str) -> set[str]:
    found = re.search(rf'    {parameter}: NotRequired(.*?)\n    """', source, re.DOTALL)
    assert found
    return set(re.findall(r"'([a-z0-9_]+)'", found[1].replace('"', "'")))


NESTED = [
    ("payment_method_data", params.PaymentIntentCreateParamsPaymentMethodData),
    ("shipping", params.PaymentIntentCreateParamsShipping),
    ("shipping[address]", params.PaymentIntentCreateParamsShippingAddress),
    ("mandate_data", params.PaymentIntentCreateParamsMandateData),
    (
        "mandate_data[customer_acceptance]",
        params.PaymentIntentCreateParamsMandateDataCustomerAcceptance,
    ),
    (
        "mandate_data[customer_acceptance][online]",
        params.PaymentIntentCreateParamsMandateDataCustomerAcceptanceOnline,
    ),
    (
        "automatic_payment_methods",
        params.PaymentIntentCreateParamsAutomaticPaymentMethods,
    ),
]


@pytest.mark.parametrize(("within", "typed_dict"), NESTED)
def test_every_nested_parameter_of_stripes_is_known(
    api: Api, within: str, typed_dict: type
) -> None:
    names = list(typed_dict.__annotations__)

    answers = [api.post(INTENTS, {**ORDER, f"{within}[{name}]": "x"}) for name in names]

    assert names
    assert [answer.status for answer in answers] == [400] * len(names)
    assert [
        name
        for name, answer in zip(names, answers, strict=True)
        if answer.error.get("code") == "parameter_unknown"
    ] == []
