"""The bundled order: its number, its amount and its currency."""

from __future__ import annotations

import re

import pytest
import time_machine

from shop_payments.models import Order
from shop_payments.models.orders import NUMBER_ALPHABET, draw_order_number

pytestmark = pytest.mark.django_db


@time_machine.travel("2025-03-31 23:30:00Z")
def test_an_order_number_has_the_shops_date_and_four_characters(settings):
    """They are read out over the telephone."""
    assert re.fullmatch("ORD-20250331-[2-9A-HJ-NP-Z]{4}", Order.objects.create_numbered().number)
    assert not set("01OI") & set(NUMBER_ALPHABET)
    settings.TIME_ZONE = "Pacific/Auckland"
    assert draw_order_number().startswith("ORD-20250401-")


def test_a_number_that_is_taken_is_drawn_again_and_longer_on_a_busy_day(order):
    numbers, lengths = [*[order.number] * 5, "ORD-20250331-FREE"], []

    def draw(length):
        lengths.append(length)
        return numbers[len(lengths) - 1]

    another = Order()
    another.save_numbered(draw=draw)

    assert Order.objects.get(pk=another.pk).number == "ORD-20250331-FREE"
    assert lengths == [4, 4, 4, 6, 8, 12]
    Order(number=draw_order_number(12)).full_clean(exclude=["customer"])
