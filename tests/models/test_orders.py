"""The bundled order: its number, its amount and its currency."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import time_machine
from django.core.exceptions import ValidationError
from django.db import IntegrityError

from shop_payments.models import Order
from shop_payments.models.orders import NUMBER_ALPHABET, draw_order_number
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db


@time_machine.travel("2025-03-31 23:30:00Z")
def test_an_order_number_has_the_shops_date_and_four_characters(settings):
    number = Order.objects.create_numbered().number
    date, suffix = number[:13], number[13:]
    assert date == "ORD-20250331-"
    assert len(suffix) == 4
    assert set(suffix) <= set(NUMBER_ALPHABET)

    settings.TIME_ZONE = "Pacific/Auckland"
    assert draw_order_number().startswith("ORD-20250401-")


def test_an_order_number_can_be_read_over_the_telephone():
    assert not set("01OI") & set(NUMBER_ALPHABET)
    assert NUMBER_ALPHABET.isupper()
    drawn = {character for _draw in range(200) for character in draw_order_number(12)[13:]}
    assert drawn == set(NUMBER_ALPHABET)


def drawing(*numbers: str) -> tuple[Callable[[int], str], list[int]]:
    """A draw that gives these numbers, and the lengths that were asked for."""
    lengths: list[int] = []

    def draw(length: int) -> str:
        lengths.append(length)
        return numbers[len(lengths) - 1]

    return draw, lengths


def test_a_number_that_is_taken_is_drawn_again_and_longer_on_a_busy_day(order):
    draw, lengths = drawing(*[order.number] * 5, "ORD-20250331-FREE")
    another = Order()
    another.save_numbered(draw=draw)
    assert Order.objects.get(pk=another.pk).number == "ORD-20250331-FREE"
    assert lengths == [4, 4, 4, 6, 8, 12]
    Order(number=draw_order_number(12)).full_clean(exclude=["customer"])


def test_it_gives_up_when_no_number_is_free(order):
    draw, _lengths = drawing(*[order.number] * 6)
    with pytest.raises(IntegrityError, match="no free order number"):
        Order().save_numbered(draw=draw)
    assert Order.objects.count() == 1


def test_an_error_of_the_order_itself_is_raised_at_once():
    draw, lengths = drawing("ORD-20250331-FREE")
    with pytest.raises(IntegrityError, match="currency_lower"):
        Order(currency="USD").save_numbered(draw=draw)
    assert lengths == [4]


def test_an_order_costs_what_its_lines_cost():
    order = OrderFactory.create(lines=[{}, {"unit_amount": 99, "quantity": 3}])
    assert order.amount == 11200 + 297
    assert OrderFactory.create(lines=[]).amount == 0


@pytest.mark.parametrize("currency", ["USD", "us", "usd\n", "u$d", "", "\u0131sk"])
def test_a_form_refuses_a_wrong_currency(order, currency):
    order.currency = currency
    with pytest.raises(ValidationError) as refusal:
        order.full_clean()
    assert "currency" in refusal.value.message_dict
