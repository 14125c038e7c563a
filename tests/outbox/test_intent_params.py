"""What Stripe and the customer are shown of an order, whatever the host's adapter returns."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from django.utils.translation import gettext_lazy

from shop_payments.models import Order, OrderLine, OrderPayment, StripeAttempt
from shop_payments.orders import BundledOrderAdapter, LineItem
from tests.factories import OrderLineFactory
from tests.support import answer, call_stripe, writes

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
    """Found: it was quadratic, under the order's lock: 13 s for 4,000 lines."""
    order.lines.all().delete()
    names = ["Ünïcödé – 漢字 – 😀", *(f"Product {n}" for n in range(998)), "x" * 400]
    lines = OrderLineFactory.build_batch(len(names), order=order, unit_amount=100, quantity=1)
    for line, name in zip(lines, names, strict=True):
        line.name = name
    OrderLine.objects.bulk_create(lines)

    metadata = at_stripe()["metadata"]

    shown = json.loads(metadata["line_items"])
    assert [line["name"] for line in shown] == names[: len(shown)]
    assert int(metadata["line_items_omitted"]) == len(names) - len(shown)
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
        if not self.text:
            raise RuntimeError("the shop's own")
        return self.text


@pytest.mark.parametrize(
    ("number", "shown"),
    [(4711, "4711"), (gettext_lazy("Yes"), "Yes"), ("\x00A\ud800", "�A�"), ("9" * 1000, "9" * 500)],
)
def test_a_number_is_shown_as_text(returns, stripe, at_stripe, number, shown):
    returns(number=number)

    intent = at_stripe()

    assert intent["description"].startswith(f"Payment for Order #{shown}")
    assert intent["metadata"]["order_number"] == shown
    sent = len(writes(stripe))
    assert at_stripe() == intent
    assert len(writes(stripe)) == sent, "the second call finds nothing to update"


@pytest.mark.parametrize(
    ("field", "given", "shown"),
    [
        ("name", Words("Thing"), "Thing"),
        ("description", None, ""),
        ("name", "a\x00b 😀\ud800", "a�b 😀�"),
        ("quantity", Decimal("2.000"), 2),
        ("quantity", Decimal("1E+1"), 10),
        ("quantity", 2.0, 2),
        ("quantity", Decimal("0.0000001"), "0.0000001"),
    ],
)
def test_a_line_is_shown_as_text_and_whole_quantities(
    returns, storefront, order, at_stripe, field, given, shown
):
    returns({field: given})

    (line,) = json.loads(at_stripe()["metadata"]["line_items"])

    assert (line[field], type(line[field])) == (shown, type(shown))
    assert storefront.payment_intent(order).json()["data"]["line_items"] == [line]
    assert storefront.get(f"orders/{order.pk}").json()["data"]["line_items"] == [line]


def test_the_text_of_a_line_that_does_not_fit_is_cut(returns, at_stripe):
    returns({"name": "\\" * 1_000_000, "description": "😀" * 1_000_000})

    shown = at_stripe()["metadata"]["line_items"]

    assert 480 < len(shown) <= 500
    assert len(json.loads(shown)[0]["name"]) > 150


def test_what_cannot_be_read_is_503(returns, storefront, order, stripe, caplog):
    unreadable: list[dict[str, Any]] = [
        *({"line": {"quantity": each}} for each in (None, "2", Decimal("NaN"), 10**5000)),
        {"line": {"quantity": Decimal("1E+999999999")}},
        {"line": {"name": Words("")}},
        {"line_items": [{"name": "Thing"}]},
        {"number": Words("")},
    ]
    for given in unreadable:
        returns(**given)
        assert answer(storefront.payment_intent(order)) == (503, "order_unreadable"), given
        assert storefront.get(f"orders/{order.pk}").status_code == 200

    assert "OrderAdapter.line_items raised" in caplog.text
    assert stripe.requests == []


def test_a_line_in_money_that_does_not_exist_is_422(returns, storefront, order, stripe):
    """Found: a currency of 480 characters was an endless loop under the order's lock."""
    for field, words, wrong in (
        ("amount", "is not an integer number of minor units", Decimal("56.5")),
        ("amount", "is not an integer number of minor units", Decimal("1E+999999999")),
        ("currency", "is not a three-letter currency code", "x" * 480),
        ("currency", "is not a three-letter currency code", None),
    ):
        returns({field: wrong})
        response = storefront.payment_intent(order)
        assert answer(response) == (422, "amount_not_representable")
        assert words in response.json()["message"]
        assert len(response.json()["message"]) < 100
    assert stripe.requests == []


# --- the receipt --------------------------------------------------------------------------------


def test_an_address_that_stripe_refuses_is_sent_once(returns, stripe, at_stripe):
    returns(receipt_email="nobody@nowhere")

    for _reload in range(3):
        assert at_stripe()["receipt_email"] is None

    assert len(writes(stripe)) == 2
    assert "nobody" not in OrderPayment.objects.get().refused_receipt


# --- what others have changed at Stripe ---------------------------------------------------------


TYPES = "allowed_payment_method_types"
CHANGED = [
    ("capture_method", {"capture_method": "manual"}),
    ("receipt_email", {"receipt_email": "other@example.com"}),
    ("receipt_email", {"receipt_email": ""}),
    (TYPES, {f"{TYPES}[0]": "card", f"{TYPES}[1]": "us_bank_account"}),
]


def test_changes_at_stripe_are_undone_in_the_same_request(storefront, order, stripe, at_stripe):
    """They may come from a restored backup, which knows the intent but not its last update."""
    before = at_stripe()
    for field, changed in CHANGED:
        call_stripe(stripe, "POST", f"payment_intents/{before['id']}", **changed)
        assert stripe.payment_intent(before["id"])[field] != before[field]
        sent = len(stripe.requests)

        for _call in range(2):
            assert storefront.payment_intent(order).json()["data"]["id"] == before["id"]

        assert [call.method for call in stripe.requests[sent:]] == ["GET", "POST", "GET"]
        assert stripe.payment_intent(before["id"])[field] == before[field]


@pytest.mark.parametrize(
    ("field", "value", "writes_expected"),
    [
        *((field, None, 1) for field in ("capture_method", "receipt_email", TYPES)),
        ("receipt_email", "JANE.doe@example.com", 1),
        ("capture_method", "manual", 2),  # Stripe does not accept the update
    ],
)
def test_an_absent_field_is_unknown_and_a_lasting_difference_is_no_endless_loop(
    storefront, order, stripe, alter, field, value, writes_expected
):
    """Older API versions do not have some of the fields."""

    def change(values: dict[str, Any]) -> dict[str, Any]:
        changed = {**values, field: value}
        return {name: each for name, each in changed.items() if (name, each) != (field, None)}

    Order.objects.update(email="Jane.Doe@example.com")
    alter("/v1/payment_intents", change)

    first, second = (storefront.payment_intent(order).json()["data"]["id"] for _ in range(2))

    assert first == second
    assert len(writes(stripe)) == writes_expected
