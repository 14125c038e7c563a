"""What Stripe and the customer are shown of an order, whatever the host's adapter returns."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from django.utils.translation import gettext_lazy

from shop_payments.models import Order, OrderPayment, StripeAttempt
from shop_payments.orders import BundledOrderAdapter, LineItem
from shop_payments.sandbox import SandboxResponse
from shop_payments.testing import StripeSandbox
from tests.factories import OrderLineFactory
from tests.support import answer, call_stripe, pay, writes

pytestmark = pytest.mark.django_db


@pytest.fixture
def at_stripe(storefront, order, stripe) -> Callable[[], dict[str, Any]]:
    """Call 1, and return the intent as it is at Stripe then."""

    def ask() -> dict[str, Any]:
        response = storefront.payment_intent(order)
        assert response.status_code == 200, response.content
        return call_stripe(stripe, "GET", f"payment_intents/{response.json()['data']['id']}")

    return ask


def test_the_intent_at_stripe_is_the_contracts(order, at_stripe):
    intent = at_stripe()

    assert (intent["amount"], intent["currency"]) == (11200, "usd")
    assert intent["description"] == f"Payment for Order #{order.number}"
    assert intent["receipt_email"] == order.email
    assert intent["payment_method_types"] == ["card"]
    assert intent["automatic_payment_methods"] is None
    assert intent["metadata"] == {
        "order_id": str(order.pk),
        "order_number": order.number,
        "line_items": '[{"name":"Main product 2","amount":5600,"currency":"usd",'
        '"quantity":2,"description":""}]',
        "attempt_id": str(StripeAttempt.objects.get().pk),
    }


def test_as_many_lines_are_shown_as_fit(storefront, order, at_stripe):
    order.lines.all().delete()
    names = ["Ünïcödé – 漢字 – 😀", *(f"Product {n}" for n in range(58)), "x" * 400]
    for name in names:
        OrderLineFactory(order=order, name=name, unit_amount=100, quantity=1)

    metadata = at_stripe()["metadata"]

    shown = json.loads(metadata["line_items"])
    assert [line["name"] for line in shown] == names[: len(shown)]
    assert int(metadata["line_items_omitted"]) == 60 - len(shown)
    assert len(metadata["line_items"]) <= 500
    data = storefront.payment_intent(order).json()["data"]
    assert [line["name"] for line in data["line_items"]] == names


def test_an_update_removes_what_the_order_no_longer_has(order, at_stripe):
    OrderLineFactory.create_batch(60, order=order, name="One more")
    assert "line_items_omitted" in at_stripe()["metadata"]
    order.lines.filter(name="One more").delete()
    Order.objects.update(email="")

    intent = at_stripe()

    assert intent["receipt_email"] is None
    assert "line_items_omitted" not in intent["metadata"]
    assert len(json.loads(intent["metadata"]["line_items"])) == 1


# --- what adapters may return -------------------------------------------------------------------


class Returns(BundledOrderAdapter):
    """Returns for every order what the test wants."""

    given: ClassVar[dict[str, Any]] = {}
    line: ClassVar[dict[str, Any]] = {}

    def number(self, order: Order) -> Any:
        return self.given.get("number", order.number)

    def receipt_email(self, order: Order) -> Any:
        return self.given.get("receipt_email", order.email)

    def line_items(self, order: Order) -> Any:
        plain = {"name": "Thing", "amount": 5600, "currency": "usd", "quantity": 2}
        return self.given.get("line_items", [LineItem(**{**plain, **self.line})])


@pytest.fixture
def returns(monkeypatch, stripe, configure) -> Callable[..., None]:
    """Let the adapter return these values, and of its only line those."""
    configure(ORDER_ADAPTER=f"{__name__}.Returns")

    def change(line: dict[str, Any] | None = None, **given: Any) -> None:
        monkeypatch.setattr(Returns, "given", given)
        monkeypatch.setattr(Returns, "line", line or {})

    return change


class Words:
    """An object with a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Words({self.text!r})"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(4711, "4711"), (gettext_lazy("Yes"), "Yes"), ("\x00A\ud800", "�A�")],
    ids=repr,
)
def test_a_number_is_shown_as_text(
    returns, storefront, payment_system, order, stripe, webhooks, at_stripe, number, shown
):
    returns(number=number)

    intent = at_stripe()

    assert intent["description"] == f"Payment for Order #{shown}"
    assert intent["metadata"]["order_number"] == shown
    assert storefront.get(f"orders/{order.pk}").json()["data"]["number"] == shown
    assert storefront.payment_intent(order).status_code == 200
    assert len(writes(stripe)) == 1, "the second call finds nothing to update"
    pay(stripe, intent["id"])
    webhooks()
    assert payment_system.payment(order).status_code == 200


@pytest.mark.parametrize("number", [None, ""])
def test_an_order_without_a_number_is_shown_by_its_key(returns, order, at_stripe, number):
    returns(number=number)

    assert at_stripe()["metadata"]["order_number"] == str(order.pk)


def test_a_number_of_a_megabyte_is_cut(returns, at_stripe):
    returns(number="9" * 1_000_000)

    intent = at_stripe()

    assert len(intent["metadata"]["order_number"]) == 500
    assert len(intent["description"]) == 1000


@pytest.mark.parametrize(
    ("given", "shown"),
    [(Words("Thing"), "Thing"), (12, "12"), (None, ""), ("a\x00b 😀\ud800", "a�b 😀�")],
    ids=repr,
)
def test_the_texts_of_a_line_are_shown_as_text(
    returns, storefront, payment_system, order, stripe, at_stripe, given, shown
):
    returns({"name": given, "description": given})

    intent = at_stripe()

    (line,) = json.loads(intent["metadata"]["line_items"])
    assert (line["name"], line["description"]) == (shown, shown)
    assert storefront.payment_intent(order).json()["data"]["line_items"] == [line]
    assert storefront.get(f"orders/{order.pk}").json()["data"]["line_items"] == [line]
    pay(stripe, intent["id"])
    assert payment_system.payment(order).json()["data"]["line_items"] == [line]


@pytest.mark.parametrize("letter", ["x", "😀", '"', "\\", "\ud800"])
def test_a_name_of_a_megabyte_is_cut(returns, at_stripe, letter):
    returns({"name": letter * 1_000_000, "description": letter * 1_000_000})

    shown = at_stripe()["metadata"]["line_items"]

    assert 480 < len(shown) <= 500
    assert len(json.loads(shown)[0]["name"]) > 150


def test_lines_may_come_from_a_generator_and_be_of_a_class_of_the_host(
    returns, storefront, order, stripe
):
    line = SimpleNamespace(
        name="Thing", amount=5600, currency="USD", quantity=2, description=Words("blue")
    )
    returns(line_items=(each for each in [line]))

    (shown,) = storefront.payment_intent(order).json()["data"]["line_items"]

    assert (shown["name"], shown["currency"], shown["description"]) == ("Thing", "usd", "blue")


@pytest.mark.parametrize(
    ("quantity", "shown"),
    [
        (Decimal("2.000"), 2),
        (Decimal("1E+1"), 10),
        (Decimal("-1"), -1),
        (2.0, 2),
        (True, 1),
        (Decimal("1.500"), "1.5"),
        (Decimal("0.0000001"), "0.0000001"),
        (0.25, "0.25"),
    ],
    ids=repr,
)
def test_a_quantity_is_an_integer_if_it_is_whole(
    returns, storefront, order, stripe, at_stripe, quantity, shown
):
    returns({"quantity": quantity})

    (line,) = json.loads(at_stripe()["metadata"]["line_items"])

    assert (line["quantity"], type(line["quantity"])) == (shown, type(shown))
    assert storefront.payment_intent(order).json()["data"]["line_items"] == [line]
    assert storefront.get(f"orders/{order.pk}").json()["data"]["line_items"] == [line]


BAD_QUANTITIES: list[Any] = [None, "2", Decimal("NaN"), float("inf"), Decimal("1E+999999999")]
BAD_QUANTITIES += [Decimal("1E-999999999"), 10**5000]


@pytest.mark.parametrize("quantity", BAD_QUANTITIES, ids=range(len(BAD_QUANTITIES)))
def test_a_quantity_that_is_no_number_is_503(returns, storefront, order, stripe, caplog, quantity):
    returns({"quantity": quantity})

    assert answer(storefront.payment_intent(order)) == (503, "order_unreadable")
    assert "OrderAdapter.line_items raised" in caplog.text
    assert stripe.requests == []
    assert storefront.get(f"orders/{order.pk}").json()["data"]["payable"] is False


def test_an_amount_may_be_a_whole_decimal(returns, storefront, order, stripe):
    returns({"amount": Decimal("5600.00")})

    (line,) = storefront.payment_intent(order).json()["data"]["line_items"]

    assert line["amount"] == 5600


BAD_AMOUNTS = [56.0, Decimal("56.5"), Decimal("1E+999999999"), "5600", None, 10**600]


@pytest.mark.parametrize("amount", BAD_AMOUNTS, ids=range(len(BAD_AMOUNTS)))
def test_an_amount_that_is_no_integer_is_422(returns, storefront, order, stripe, amount):
    returns({"amount": amount})

    response = storefront.payment_intent(order)

    assert answer(response) == (422, "amount_not_representable")
    assert "is not an integer number of minor units" in response.json()["message"]
    assert len(response.json()["message"]) < 100
    assert stripe.requests == []


BAD_CURRENCIES = ["x" * 480, "", None, "us", "us\x00", "\u212awd"]


@pytest.mark.parametrize("currency", BAD_CURRENCIES, ids=range(len(BAD_CURRENCIES)))
def test_a_malformed_currency_is_422(returns, storefront, order, stripe, currency):
    """Found: a currency of 480 characters was an endless loop under the order's lock."""
    returns({"currency": currency})

    response = storefront.payment_intent(order)

    assert answer(response) == (422, "amount_not_representable")
    assert "is not a three-letter currency code" in response.json()["message"]
    assert len(response.json()["message"]) < 100
    assert stripe.requests == []
    shown = storefront.get(f"orders/{order.pk}")
    assert (shown.status_code, shown.json()["data"]["payable"]) == (200, False)


class WithoutText:
    def __str__(self) -> str:
        raise RuntimeError("the shop's own")


@pytest.mark.parametrize(
    "given",
    [
        {"line_items": None},
        {"line_items": [None]},
        {"line_items": [{"name": "Thing"}]},
        {"number": WithoutText()},
        {"receipt_email": WithoutText()},
        {"line": {"name": WithoutText()}},
    ],
    ids=["no lines", "None", "a dict", "number", "receipt", "name"],
)
def test_what_cannot_be_read_is_503(returns, storefront, order, stripe, given):
    returns(**given)

    assert answer(storefront.payment_intent(order)) == (503, "order_unreadable")
    assert storefront.get(f"orders/{order.pk}").status_code == 200


# --- the receipt --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "sent"),
    [(None, None), ("", None), (Words("ada@example.com"), "ada@example.com")],
    ids=repr,
)
def test_an_order_names_the_address_of_the_receipt(returns, at_stripe, address, sent):
    returns(receipt_email=address)

    assert at_stripe()["receipt_email"] == sent
    assert StripeAttempt.objects.get().params.get("receipt_email") == sent


@pytest.mark.parametrize("address", ["nobody@nowhere", "nobody" * 100_000])
def test_an_address_that_stripe_refuses_is_sent_once(returns, stripe, at_stripe, address):
    returns(receipt_email=address)

    for _reload in range(3):
        assert at_stripe()["receipt_email"] is None

    assert len(writes(stripe)) == 2
    assert "nobody" not in OrderPayment.objects.get().refused_receipt
    returns(receipt_email="ada@example.com")
    assert at_stripe()["receipt_email"] == "ada@example.com"


# --- what others have changed at Stripe ---------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("capture_method", {"capture_method": "manual"}),
        ("receipt_email", {"receipt_email": "other@example.com"}),
        ("receipt_email", {"receipt_email": ""}),
        (
            "allowed_payment_method_types",
            {
                "allowed_payment_method_types[0]": "card",
                "allowed_payment_method_types[1]": "us_bank_account",
            },
        ),
    ],
)
def test_changes_at_stripe_are_undone_in_the_same_request(
    storefront, order, stripe, at_stripe, field, changed
):
    """They may come from a restored backup, which knows the intent but not its last update."""
    before = at_stripe()
    call_stripe(stripe, "POST", f"payment_intents/{before['id']}", **changed)
    assert stripe.payment_intent(before["id"])[field] != before[field]
    sent = len(stripe.requests)

    for _call in range(2):
        assert storefront.payment_intent(order).json()["data"]["id"] == before["id"]

    assert [call.method for call in stripe.requests[sent:]] == ["GET", "POST", "GET"]
    assert stripe.payment_intent(before["id"])[field] == before[field]


ABSENT = object()
"""A field that an older API version does not have."""


class Answers:
    """A Stripe whose answers have other values in some fields."""

    def __init__(self, stripe: StripeSandbox, **values: Any) -> None:
        self._stripe, self._values = stripe, values

    def __call__(self, method: str, url: str, headers: Any, body: Any = None) -> SandboxResponse:
        answer = self._stripe.handle(method, url, headers, body)
        values = {**json.loads(answer.body), **self._values}
        kept = {name: value for name, value in values.items() if value is not ABSENT}
        return replace(answer, body=json.dumps(kept).encode())


@pytest.mark.parametrize(
    ("values", "writes_expected"),
    [
        ({"capture_method": ABSENT}, 1),
        ({"receipt_email": ABSENT}, 1),
        ({"allowed_payment_method_types": ABSENT}, 1),
        ({"receipt_email": "JANE.doe@example.com"}, 1),
        ({"capture_method": "manual"}, 2),
    ],
    ids=["capture", "receipt", "types", "another case", "not accepted"],
)
def test_an_absent_field_is_unknown_and_a_lasting_difference_is_no_endless_loop(
    configure, storefront, order, stripe, values, writes_expected
):
    Order.objects.update(email="Jane.Doe@example.com")
    configure(STRIPE_TRANSPORT=Answers(stripe, **values))

    first, second = (storefront.payment_intent(order).json()["data"]["id"] for _ in range(2))

    assert first == second
    assert len(writes(stripe)) == writes_expected


def test_money_that_is_under_way_is_not_updated_to_the_settings(storefront, order, stripe):
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    call_stripe(stripe, "POST", f"payment_intents/{intent_id}", capture_method="manual")
    pay(stripe, intent_id)

    assert answer(storefront.payment_intent(order)) == (409, "payment_authorized")
