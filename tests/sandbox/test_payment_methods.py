from __future__ import annotations

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import INTENTS, METHODS, PUBLISHABLE_KEY, Api

CARD = {
    "type": "card",
    "card[number]": "4242424242424242",
    "card[exp_month]": "12",
    "card[exp_year]": "2099",
    "card[cvc]": "123",
}
IBAN = {
    "type": "sepa_debit",
    "sepa_debit[iban]": "DE89 3704 0044 0532 0130 00",
    "billing_details[name]": "Jenny Rosen",
    "billing_details[email]": "jenny@example.com",
}


def test_a_card_number_makes_a_payment_method(api: Api) -> None:
    made = api.post(
        METHODS,
        {**CARD, "billing_details[address][city]": "Lyon", "metadata[a]": "b"},
    )

    assert made["id"].startswith("pm_1")
    assert (made["type"], made["customer"], made["metadata"]) == ("card", None, {"a": "b"})
    assert made["billing_details"]["address"]["city"] == "Lyon"
    card = made["card"]
    assert (card["brand"], card["last4"], card["country"]) == ("visa", "4242", "US")
    assert (card["exp_month"], card["exp_year"], card["funding"]) == (12, 2099, "credit")
    assert card["checks"]["cvc_check"] == "unchecked"
    assert api.get(f"{METHODS}/{made['id']}").json == made.json


@pytest.mark.parametrize(
    ("number", "brand", "country", "funding"),
    [
        ("5555555555554444", "mastercard", "US", "credit"),
        ("4000056655665556", "visa", "US", "debit"),
        ("5105105105105100", "mastercard", "US", "prepaid"),
        ("378282246310005", "amex", "US", "credit"),
        ("4000002760000016", "visa", "DE", "credit"),
        ("6200000000000005", "unionpay", "CN", "credit"),
    ],
)
def test_a_number_says_what_card_it_is(
    api: Api, number: str, brand: str, country: str, funding: str
) -> None:
    card = api.post(METHODS, {**CARD, "card[number]": number})["card"]

    assert (card["brand"], card["country"], card["funding"]) == (brand, country, funding)


def test_one_number_has_one_fingerprint(api: Api) -> None:
    first, second = (api.post(METHODS, CARD) for _ in range(2))
    other = api.post(METHODS, {**CARD, "card[number]": "5555555555554444"})

    assert first["id"] != second["id"]
    assert first["card"]["fingerprint"] == second["card"]["fingerprint"]
    assert first["card"]["fingerprint"] != other["card"]["fingerprint"]


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"card[number]": "4242424242424241"}, "incorrect_number", "number"),
        ({"card[number]": "4242 4242 4242 4242"}, "invalid_number", "number"),
        ({"card[number]": "42424242"}, "invalid_number", "number"),
        ({"card[exp_month]": "13"}, "invalid_expiry_month", "exp_month"),
        ({"card[exp_month]": "0"}, "invalid_expiry_month", "exp_month"),
        ({"card[exp_year]": "2095"}, "invalid_expiry_year", "exp_year"),
        ({"card[exp_year]": "34"}, "invalid_expiry_year", "exp_year"),
        ({"card[exp_year]": "2150"}, "invalid_expiry_year", "exp_year"),
        ({"card[exp_month]": "9", "card[exp_year]": "2096"}, "invalid_expiry_month", "exp_month"),
        ({"card[cvc]": "99"}, "invalid_cvc", "cvc"),
        ({"card[cvc]": "abc"}, "invalid_cvc", "cvc"),
    ],
)
def test_a_card_that_cannot_be_one_is_refused(
    api: Api, change: dict[str, str], code: str, param: str
) -> None:
    answer = api.post(METHODS, {**CARD, **change})  # the clock stands in October 2096

    assert (answer.status, answer.error["type"]) == (402, "card_error")
    assert (answer.error["code"], answer.error["param"]) == (code, param)


def test_a_card_holds_to_the_end_of_its_month(api: Api) -> None:
    answer = api.post(METHODS, {**CARD, "card[exp_month]": "10", "card[exp_year]": "2096"})

    assert answer.status == 200


def test_a_number_that_may_be_somebodys_is_declined(api: Api) -> None:
    answer = api.post(METHODS, {**CARD, "card[number]": "4111111111111111"})

    assert (answer.status, answer.error["code"]) == (402, "card_declined")
    assert answer.error["decline_code"] == "test_mode_live_card"


@pytest.mark.parametrize(
    ("params", "code", "param"),
    [
        ({}, "parameter_missing", "type"),
        ({"type": "card"}, "parameter_missing", "card"),
        ({"type": "card", "card[cvc]": "123"}, "parameter_missing", "card[number]"),
        ({**CARD, "card[color]": "red"}, "parameter_unknown", "card[color]"),
        ({**CARD, "customer": "cus_1"}, "sandbox_not_covered", "customer"),
        ({"type": "klarna"}, "sandbox_not_covered", "type"),
        ({"type": "cash"}, None, "type"),
        ({"type": "card", "card[token]": "tok_nobody"}, "resource_missing", "card[token]"),
        (
            {"type": "card", "card[token]": "tok_cvcCheckFail"},
            "sandbox_not_covered",
            "card[token]",
        ),
        ({**CARD, "card[number]": "4000000000000101"}, "sandbox_not_covered", "card[number]"),
        (
            {**IBAN, "billing_details[name]": ""},
            "parameter_missing",
            "billing_details[name]",
        ),
        ({**IBAN, "sepa_debit[iban]": "DE1"}, "sandbox_not_covered", "sepa_debit[iban]"),
    ],
)
def test_other_parameters_are_refused(
    api: Api, params: dict[str, str], code: str | None, param: str
) -> None:
    answer = api.post(METHODS, params)

    assert answer.status == 400
    assert (answer.error.get("code"), answer.error["param"]) == (code, param)


def test_a_token_stands_for_a_card(api: Api) -> None:
    made = api.post(METHODS, {"type": "card", "card[token]": "tok_visa"})

    assert made["card"]["last4"] == "4242"
    assert (made["card"]["exp_month"], made["card"]["exp_year"]) == (10, 2097)


def test_an_iban_makes_a_payment_method(api: Api) -> None:
    made = api.post(METHODS, IBAN)

    assert (made["type"], made["sepa_debit"]["last4"]) == ("sepa_debit", "3000")
    assert (made["sepa_debit"]["country"], made["sepa_debit"]["bank_code"]) == ("DE", "37040044")


def test_an_unknown_payment_method_is_404(api: Api) -> None:
    answer = api.get(f"{METHODS}/pm_x")

    assert (answer.status, answer.error["message"]) == (404, "No such PaymentMethod: 'pm_x'")


def test_browsers_may_make_them_and_not_read_them(api: Api) -> None:
    made = api.post(METHODS, CARD, key=PUBLISHABLE_KEY)

    assert (made.status, "fingerprint" in made["card"]) == (200, False)
    assert api.get(f"{METHODS}/{made['id']}", key=PUBLISHABLE_KEY).status == 403


def test_an_intent_takes_the_data_itself(api: Api) -> None:
    data = {f"payment_method_data[{name.replace('[', '][', 1)}": CARD[name] for name in CARD}
    data = {name if name.endswith("]") else f"{name}]": data[name] for name in data}

    intent = api.create(confirm="true", **data)

    assert intent["status"] == "succeeded"
    assert api.get(f"{METHODS}/{intent['payment_method']}")["card"]["exp_year"] == 2099


def test_a_payment_method_is_given_in_one_way(api: Api) -> None:
    answer = api.post(
        INTENTS,
        {
            "amount": "1000",
            "currency": "usd",
            "payment_method": "pm_card_visa",
            "payment_method_data[type]": "card",
            "payment_method_data[card][token]": "tok_visa",
        },
    )

    assert (answer.status, answer.error["param"]) == (400, "payment_method_data")


@pytest.mark.parametrize("number", ["4242424242424242", "4000000000000002"])
def test_without_a_customer_it_pays_once(api: Api, number: str) -> None:
    made = api.post(METHODS, {**CARD, "card[number]": number})
    api.confirm(api.create()["id"], made["id"])
    second = api.create()["id"]

    refused = api.confirm(second, made["id"])

    assert refused.status == 400
    assert "It may not be used again" in refused.error["message"]
    assert api.get(f"{INTENTS}/{second}")["payment_method"] is None


def test_it_pays_once_also_where_it_was_attached_before(api: Api) -> None:
    made = api.post(METHODS, CARD)
    attached = api.create(payment_method=made["id"])["id"]
    api.confirm(api.create()["id"], made["id"])

    assert api.post(f"{INTENTS}/{attached}/confirm").status == 400


@pytest.mark.parametrize(
    ("name", "check"),
    [("pm_card_visa", "pass"), ("pm_card_chargeDeclinedIncorrectCvc", "fail")],
)
def test_a_charge_checks_the_cvc(api: Api, sandbox: Sandbox, name: str, check: str) -> None:
    attached = api.create(payment_method=name)
    before = api.get(f"{METHODS}/{attached['payment_method']}")["card"]["checks"]

    api.post(f"{INTENTS}/{attached['id']}/confirm")

    after = api.get(f"{METHODS}/{attached['payment_method']}")["card"]["checks"]
    assert (before["cvc_check"], after["cvc_check"]) == ("unchecked", check)
