"""What a host's adapter may return as number, texts and lines, and what ends in a clear error."""

from __future__ import annotations

import json
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from django.utils.translation import gettext_lazy

from shop_payments.models import Order, StripeAttempt
from shop_payments.orders import BundledOrderAdapter, LineItem
from tests.support import answer, call_stripe, pay

pytestmark = pytest.mark.django_db


class Says(BundledOrderAdapter):
    """Says of every order what the test wants."""

    given: ClassVar[dict[str, Any]] = {}
    line: ClassVar[dict[str, Any]] = {}

    def number(self, order: Order) -> Any:
        return self.given.get("number", order.number)

    def receipt_email(self, order: Order) -> Any:
        return self.given.get("receipt_email", order.email)

    def line_items(self, order: Order) -> Any:
        if "line_items" in self.given:
            lines = self.given["line_items"]
            return lines() if callable(lines) else lines
        plain = {"name": "Thing", "amount": 5600, "currency": "usd", "quantity": 2}
        return [LineItem(**{**plain, **self.line})]


@pytest.fixture
def says(monkeypatch, stripe, configure):
    """Let the adapter return this, and of its line that."""
    configure(ORDER_ADAPTER=f"{__name__}.Says")

    def change(line: dict[str, Any] | None = None, **given: Any) -> None:
        monkeypatch.setattr(Says, "given", given)
        monkeypatch.setattr(Says, "line", line or {})

    return change


class Words:
    """Something that says what it is called."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Words({self.text!r})"


def intent_of(stripe: Any, response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.content
    return call_stripe(stripe, "GET", f"payment_intents/{response.json()['data']['id']}")


# --- the number ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (4711, "4711"),
        (0, "0"),
        (gettext_lazy("Yes"), "Yes"),
        (Words("A-1"), "A-1"),
        (Decimal("10.0"), "10.0"),
        ("\x00A\ud800", "�A�"),
    ],
    ids=repr,
)
def test_a_number_is_what_str_makes_of_it(
    says, storefront, payment_system, order, stripe, webhooks, number, shown
):
    says(number=number)

    intent = intent_of(stripe, storefront.payment_intent(order))

    assert intent["description"] == f"Payment for Order #{shown}"
    assert intent["metadata"]["order_number"] == shown
    assert storefront.get(f"orders/{order.pk}").json()["data"]["number"] == shown
    assert storefront.payment_intent(order).status_code == 200
    pay(stripe, intent["id"])
    webhooks()
    assert payment_system.payment(order).status_code == 200
    assert len([each for each in stripe.requests if each.path == "/v1/payment_intents"]) == 1


@pytest.mark.parametrize("number", [None, ""])
def test_an_order_without_a_number_is_called_by_its_key(says, storefront, order, stripe, number):
    says(number=number)

    intent = intent_of(stripe, storefront.payment_intent(order))

    assert intent["metadata"]["order_number"] == str(order.pk)


def test_a_number_of_a_megabyte_is_cut_for_stripe(says, storefront, order, stripe):
    says(number="9" * 1_000_000)

    intent = intent_of(stripe, storefront.payment_intent(order))

    assert len(intent["metadata"]["order_number"]) == 500
    assert len(intent["description"]) == 1000


# --- texts of lines -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (gettext_lazy("Yes"), "Yes"),
        (Words("Thing"), "Thing"),
        (12, "12"),
        (None, ""),
        ("a\x00b", "a�b"),
        ("\ud800\udfff", "��"),
        ("日本 😀 \x01", "日本 😀 \x01"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("field", ["name", "description"])
def test_a_lines_text_is_what_str_makes_of_it(
    says, storefront, payment_system, order, stripe, field, given, shown
):
    says({field: given})

    response = storefront.payment_intent(order)

    intent = intent_of(stripe, response)
    assert response.json()["data"]["line_items"][0][field] == shown
    assert json.loads(intent["metadata"]["line_items"])[0][field] == shown
    assert storefront.get(f"orders/{order.pk}").json()["data"]["line_items"][0][field] == shown
    assert storefront.payment_intent(order).content == response.content
    pay(stripe, intent["id"])
    assert payment_system.payment(order).json()["data"]["line_items"][0][field] == shown


@pytest.mark.parametrize("letter", ["x", "\x01", "😀", "\x00", '"', "\\", "\ud800"])
def test_a_name_of_a_megabyte_is_cut_for_stripe(says, storefront, order, stripe, letter):
    says({"name": letter * 1_000_000, "description": letter * 1_000_000})

    shown = intent_of(stripe, storefront.payment_intent(order))["metadata"]["line_items"]

    assert 480 < len(shown) <= 500
    assert json.loads(shown)[0]["name"]


def test_a_hundred_thousand_lines(says, storefront, order, stripe):
    line = LineItem(name="Thing", amount=1, currency="usd", quantity=1)
    says(line_items=[line] * 100_000)

    metadata = intent_of(stripe, storefront.payment_intent(order))["metadata"]

    assert len(metadata["line_items"]) <= 500
    assert int(metadata["line_items_omitted"]) > 99_000


def test_lines_may_come_from_a_generator_and_be_of_a_class_of_the_hosts(
    says, storefront, order, stripe
):
    line = SimpleNamespace(
        name="Thing", amount=5600, currency="USD", quantity=2, description=Words("blue")
    )
    says(line_items=lambda: (each for each in [line]))

    (shown,) = storefront.payment_intent(order).json()["data"]["line_items"]

    assert (shown["name"], shown["currency"], shown["description"]) == ("Thing", "usd", "blue")


# --- amounts and quantities ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quantity", "shown"),
    [
        (Decimal("2"), 2),
        (Decimal("2.000"), 2),
        (Decimal("1E+1"), 10),
        (Decimal("-1"), -1),
        (Decimal("0.00"), 0),
        (2.0, 2),
        (True, 1),
        (Decimal("1.5"), "1.5"),
        (Decimal("1.500"), "1.5"),
        (Decimal("0.0000001"), "0.0000001"),
        (0.25, "0.25"),
    ],
    ids=repr,
)
def test_a_quantity_is_an_integer_where_it_is_whole(
    says, storefront, payment_system, order, stripe, quantity, shown
):
    says({"quantity": quantity})

    response = storefront.payment_intent(order)

    intent = intent_of(stripe, response)
    (line,) = response.json()["data"]["line_items"]
    assert (line["quantity"], type(line["quantity"])) == (shown, type(shown))
    assert json.loads(intent["metadata"]["line_items"]) == [line]
    assert storefront.get(f"orders/{order.pk}").json()["data"]["line_items"] == [line]
    pay(stripe, intent["id"])
    assert payment_system.payment(order).json()["data"]["line_items"] == [line]


UNUSABLE: list[Any] = [
    None,
    "2",
    "two",
    [],
    Decimal("NaN"),
    Decimal("Infinity"),
    float("nan"),
    float("inf"),
]
UNUSABLE += [Decimal("1E+999999999"), Decimal("1E-999999999"), 10**5000, -(10**5000)]


@pytest.mark.parametrize("quantity", UNUSABLE, ids=range(len(UNUSABLE)))
def test_a_quantity_that_is_none_is_503(says, storefront, order, stripe, caplog, quantity):
    says({"quantity": quantity})

    response = storefront.payment_intent(order)

    assert answer(response) == (503, "order_unreadable")
    assert "OrderAdapter.line_items raised" in caplog.text
    assert stripe.requests == []
    assert storefront.get(f"orders/{order.pk}").json()["data"]["payable"] is False


@pytest.mark.parametrize("amount", [Decimal("5600"), Decimal("5600.00"), 5600])
def test_an_amount_may_be_a_whole_decimal(says, storefront, order, stripe, amount):
    says({"amount": amount})

    (line,) = storefront.payment_intent(order).json()["data"]["line_items"]

    assert line["amount"] == 5600


AMOUNTS = [56.0, Decimal("56.5"), Decimal("NaN"), Decimal("1E+999999999"), "5600", None, 10**600]


@pytest.mark.parametrize("amount", AMOUNTS, ids=range(len(AMOUNTS)))
def test_an_amount_that_is_no_integer_is_422(says, storefront, order, stripe, amount):
    says({"amount": amount})

    response = storefront.payment_intent(order)

    assert answer(response) == (422, "amount_not_representable")
    assert "is not an integer number of minor units" in response.json()["message"]
    assert len(response.json()["message"]) < 100
    assert stripe.requests == []


CURRENCIES = ["x" * 480, "u" * 1_000_000, "", None, "us", "US$", "us\x00", "\ud800", "\u212awd"]


@pytest.mark.parametrize("currency", CURRENCIES, ids=range(len(CURRENCIES)))
@pytest.mark.parametrize("begun", [False, True], ids=["first call", "later call"])
def test_a_currency_that_is_none_is_422(says, storefront, order, stripe, currency, begun):
    """Found: a currency of 480 characters was a loop without end under the order's lock."""
    if begun:
        storefront.payment_intent(order)
    stripe.requests.clear()
    says({"currency": currency})

    response = storefront.payment_intent(order)

    assert answer(response) == (422, "amount_not_representable")
    assert "is not a three-letter currency code" in response.json()["message"]
    assert len(response.json()["message"]) < 100
    assert stripe.requests == []
    shown = storefront.get(f"orders/{order.pk}")
    assert (shown.status_code, shown.json()["data"]["payable"]) == (200, False)


@pytest.mark.parametrize("line_items", [None, 5, [None], [{"name": "Thing"}], ["Thing"]], ids=repr)
def test_lines_that_are_none_are_503(says, storefront, order, stripe, line_items):
    says(line_items=line_items)

    assert answer(storefront.payment_intent(order)) == (503, "order_unreadable")
    assert storefront.get(f"orders/{order.pk}").status_code == 200


def test_text_that_cannot_be_made_is_503(says, storefront, order, stripe):
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("the shop's own")

    for given in ({"number": Broken()}, {"receipt_email": Broken()}, {"line": {"name": Broken()}}):
        says(**given)
        assert answer(storefront.payment_intent(order)) == (503, "order_unreadable")


# --- the receipt --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "sent"),
    [(None, None), ("", None), (Words("ada@example.com"), "ada@example.com")],
    ids=repr,
)
def test_where_the_receipt_goes(says, storefront, order, stripe, address, sent):
    says(receipt_email=address)

    assert intent_of(stripe, storefront.payment_intent(order))["receipt_email"] == sent
    assert StripeAttempt.objects.get().params.get("receipt_email") == sent


@pytest.mark.parametrize("address", ["\x00@example.com", "\ud800@example.com", "a" * 1_000_000])
def test_an_address_that_stripe_refuses_does_not_keep_the_customer_from_paying(
    says, storefront, order, stripe, address
):
    says(receipt_email=address)

    assert answer(storefront.payment_intent(order)) == (200, None)
