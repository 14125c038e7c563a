"""Staff refund an amount or lines of the order, with a note for the shop."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from shop_payments.models import Order, Refund
from shop_payments.orders import BundledOrderAdapter, LineItem
from shop_payments.sandbox import Fault
from tests.admin.support import effect_of, errors_of, messages_of, page_of, values_of
from tests.books import refund_in_dashboard, refunds_at_stripe

pytestmark = pytest.mark.django_db

ONE = {"line_0": "1"}


class MarketAdapter(BundledOrderAdapter):
    """An order with fractions, a discount, a gift and a line in another currency."""

    def line_items(self, order: Order) -> list[LineItem]:
        def line(name: str, amount: int, quantity: Any, currency: str = "usd") -> LineItem:
            return LineItem(name=name, amount=amount, currency=currency, quantity=quantity)

        return [
            line("Cheese <b>old</b>", 1990, Decimal("1.5")),
            line("Saffron", 333, Decimal("0.5")),
            line("Discount", -500, 1),
            line("Gift", 0, 1),
            line("Import", 700, 1, "eur"),
            line("Kettle", 5600, 2),
        ]


class BrokenLinesAdapter(BundledOrderAdapter):
    def line_items(self, order: Order) -> list[LineItem]:
        raise KeyError("lines")


@pytest.fixture
def adapt(configure, stripe):
    return lambda name: configure(
        **{**stripe.shop_payments(), "ORDER_ADAPTER": f"{__name__}.{name}"}
    )


def labels_of(response: Any) -> list[str]:
    return [bound.label for bound in response.context["form"] if bound.name.startswith("line_")]


def test_staff_refund_a_line_of_the_order(paid, staff, stripe):
    page = page_of("refund")
    first = staff.get(page)
    assert "Quantity, up to 2 at 56.00 USD each." in first.text
    assert 'value="112.00"' in first.text
    assert "In USD, for example 112.00." in first.text
    shown = staff.post(page, {**values_of(first), **ONE, "note": "Broken handle"})
    expected = (
        "56.00 of 112.00 USD will be refunded to the customer, for 1 × Main product 2. After"
        " this, nothing is owed."
    )
    assert effect_of(shown) == expected
    assert values_of(shown)["amount"] == ""
    assert not Refund.objects.exists()
    form = {**values_of(shown), "sure": "on"}
    for _try in range(2):
        done = staff.post(page, form, follow=True)
        assert messages_of(done)[-1].startswith("56.00 USD is refunded to the customer.")
    refund = Refund.objects.get()
    assert (refund.amount, refund.note) == (5600, "1 × Main product 2; Broken handle")
    [at_stripe] = refunds_at_stripe(stripe)
    assert at_stripe["amount"] == 5600
    assert "Broken handle" not in str(at_stripe)


def test_the_chosen_lines_are_confirmed_again_if_they_change(paid, staff):
    page = page_of("refund")
    shown = staff.post(page, {**values_of(staff.get(page)), **ONE})
    changed = staff.post(page, {**values_of(shown), "line_0": "2", "sure": "on"})
    assert effect_of(changed).startswith("112.00 USD will be refunded to the customer, for 2 × ")
    paid.order.lines.update(name="Another product")
    renamed = staff.post(page, {**values_of(shown), "sure": "on"})
    assert "for 1 × Another product" in effect_of(renamed)
    assert not Refund.objects.exists()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (
            {**ONE, "amount": "12.00"},
            "You have chosen lines for 56.00 USD and entered another amount. Clear the amount to"
            " refund the lines, or clear the lines to refund the amount.",
        ),
        ({"line_0": "3"}, "The order has only 2 of this."),
        ({"line_0": "0.5"}, "Enter a whole number like 1250."),
        ({"amount": ""}, "Enter an amount, or choose lines."),
        ({"amount": "112.01"}, "At most 112.00 USD of this payment can be refunded."),
        ({"note": "x" * 501}, "Ensure this value has at most 500 characters (it has 501)."),
    ],
)
def test_bad_input_is_an_error_and_nothing_is_lost(changes, error, paid, staff):
    page = page_of("refund")
    response = staff.post(page, {**values_of(staff.get(page)), "note": "Kept", **changes})
    assert errors_of(response) == [error]
    assert values_of(response).items() >= changes.items()
    assert not Refund.objects.exists()


def test_lines_that_cost_more_than_is_left_are_refused(paid, staff, stripe, webhooks):
    page = page_of("refund")
    refund_in_dashboard(stripe, amount="8000")
    webhooks()
    form = values_of(staff.get(page))
    assert form["amount"] == "32.00"
    assert errors_of(staff.post(page, {**form, **ONE})) == [
        "The chosen lines cost 56.00 USD. At most 32.00 USD of this payment can be refunded."
    ]


def test_fractions_are_refunded_exactly_and_discounts_are_not_offered(paid, staff, adapt):
    adapt("MarketAdapter")
    page = page_of("refund")
    first = staff.get(page)
    assert labels_of(first) == ["Cheese <b>old</b>", "Kettle"]
    assert "Cheese &lt;b&gt;old" in first.text
    assert "The whole line: 1.5 at 19.90 USD each." in first.text
    shown = staff.post(page, {**values_of(first), "line_0": "on", "line_5": "1"})
    assert effect_of(shown).startswith("85.85 of 112.00 USD will be refunded")
    assert "<b>old" not in shown.text
    staff.post(page, {**values_of(shown), "sure": "on"})
    assert Refund.objects.get().note == "1.5 × Cheese <b>old</b>, 1 × Kettle"


def test_an_order_without_readable_lines_offers_the_amount_only(paid, staff, adapt):
    adapt("BrokenLinesAdapter")
    page = page_of("refund")
    first = staff.get(page)
    assert labels_of(first) == []
    assert "choose lines" not in first.text
    assert errors_of(staff.post(page, {**values_of(first), "amount": ""})) == [
        "This field is required."
    ]


def test_money_in_another_currency_than_the_lines_is_refunded_by_amount(paid, staff):
    Order.objects.update(currency="eur")
    assert labels_of(staff.get(page_of("refund"))) == []


def test_a_note_is_shown_with_the_refund_and_repeats_nothing(paid, staff, stripe):
    page = page_of("refund")
    form = staff.fill(page, amount="12.50", note="Arrived late <i>again</i>")
    stripe.inject(Fault("drop_before", path="/v1/refunds"))
    assert "Send this form again" in errors_of(staff.post(page, form))[0]
    staff.post(page, {**form, "note": "Another note"})
    refund = Refund.objects.get()
    assert (refund.status, refund.note) == ("succeeded", "Arrived late <i>again</i>")
    for where in (refund, Refund, paid):
        assert "Arrived late &lt;i&gt;again" in staff.read(where)
    assert len(refunds_at_stripe(stripe)) == 1
