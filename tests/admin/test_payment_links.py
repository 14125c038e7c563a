"""Staff copy a payment link from the page of an order or payment, to send it to a customer."""

from __future__ import annotations

import re

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


def link_on(page):
    found = re.search(r'<a href="([^"]+)" data-copied="[^"]+">Copy payment link</a>', page)
    return found and found.group(1)


def test_the_link_asks_for_what_is_outstanding(order, open_payment, staff):
    order.lines.update(quantity=3)

    for row in (order, open_payment):
        link = link_on(staff.read(row))
        assert "168.00" in Client().get(link).content.decode()


def test_an_order_that_nobody_has_begun_to_pay_has_a_link(order, staff, stripe):
    assert link_on(staff.read(order)).startswith(f"http://testserver/checkout/{order.pk}/?token=")


def test_there_is_no_link_if_nothing_is_asked_for(paid, staff):
    for row in (paid, paid.order):
        assert link_on(staff.read(row)) is None


def test_there_is_no_link_if_the_pages_are_not_mounted(order, staff, settings, stripe):
    settings.ROOT_URLCONF = "tests.admin.urls_without_checkout"
    assert link_on(staff.read(order)) is None
