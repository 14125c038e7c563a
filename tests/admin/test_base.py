"""Rules that hold for every page, and texts for amounts and links."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shop_payments.admin.base import amount_text, page_link
from shop_payments.models import APIKey, Order, OrderLine
from tests.admin.support import RECORDS, add, change, changelist, delete, make_records
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db

PAGES = [*RECORDS, Order]

TIME_WITHOUT_ZONE = re.compile(r"\w+\.? \d+, 20\d\d, (?:\d[\d:]* [ap]\.m\.|noon|midnight)(?! UTC)")


def test_every_model_has_pages_to_look_at_with_permission(eventful, staff, staff_with):
    pages = {model for model in admin.site._registry if model._meta.app_label == "shop_payments"}
    assert pages == {*RECORDS, Order, APIKey}
    nobody = staff_with()
    viewer = staff_with(*(f"view_{model._meta.model_name}" for model in PAGES))
    for model in PAGES:
        row, count = model.objects.first(), model.objects.count()
        for page in (changelist(model), *map(change, model.objects.all())):
            assert nobody.get(page).status_code == 403
            text = viewer.read(page)
            assert "_secret_" not in text
            assert "client_secret" not in text
            if model in RECORDS:
                assert [each[0] for each in TIME_WITHOUT_ZONE.finditer(text)] == []
                assert "deletelink" not in text
        if model in RECORDS:
            for page in (add(model), change(row), delete(row)):
                assert staff.post(page, {"post": "yes"}).status_code == 403
            staff.choose("delete_selected", row, post="yes")
            assert model.objects.count() == count


def test_the_number_of_queries_of_a_list_does_not_grow_with_its_rows(staff):
    def queries() -> dict[type, int]:
        found: dict[type, int] = {}
        for model in PAGES:
            with CaptureQueriesContext(connection) as captured:
                staff.read(model)
            found[model] = len(captured)
        return found

    make_records()
    make_records()
    queries()  # fills caches
    before = queries()
    for _row in range(5):
        make_records()
    assert queries() == before


def test_a_row_or_amount_that_cannot_be_shown_does_not_break_a_page(order, staff):
    assert page_link(OrderLine.objects.get(), site=admin.site) == "2 × Main product 2"
    assert page_link(None, site=admin.site) == amount_text(100, "us") == "–"
    assert amount_text(5120, "kwd") == "5.120 KWD"
    order = OrderFactory.create(currency="us")
    assert order.number in staff.read(Order)
    assert "cannot be read" in staff.read(make_records(order).order_payment)
