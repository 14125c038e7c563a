"""What holds for every page."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shop_payments.admin.base import amount_text, order_is_bundled, page_link
from shop_payments.models import APIKey, Order, OrderLine
from tests.admin.support import RECORDS, add, change, changelist, delete, make_records, text_of
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db

PAGES = [*RECORDS, Order]


@pytest.mark.parametrize("model", PAGES)
def test_the_pages_show_what_real_payments_left(model, eventful, staff):
    rows = list(model.objects.all())
    assert rows

    pages = [changelist(model), *map(change, rows)]

    for page in pages:
        text = text_of(staff.get(page))
        assert "_secret_" not in text
        assert "client_secret" not in text


@pytest.mark.parametrize("model", RECORDS)
def test_a_record_is_not_added_changed_or_deleted_by_anybody(model, eventful, staff):
    row = model.objects.first()

    answers = [staff.post(page, {"post": "yes"}) for page in (add(model), change(row), delete(row))]

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert model.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize("model", RECORDS)
def test_records_cannot_be_deleted_in_bulk(model, eventful, staff):
    count = model.objects.count()
    selected = {"action": "delete_selected", "_selected_action": [model.objects.first().pk]}

    staff.post(changelist(model), {**selected, "post": "yes"})

    assert model.objects.count() == count


@pytest.mark.parametrize("model", PAGES)
def test_staff_without_the_permission_sees_nothing(model, eventful, staff_with):
    clerk = staff_with()

    answers = [clerk.get(changelist(model)), clerk.get(change(model.objects.first()))]

    assert [answer.status_code for answer in answers] == [403, 403]


@pytest.mark.parametrize("model", PAGES)
def test_staff_with_the_permission_may_look(model, eventful, staff_with):
    clerk = staff_with(f"view_{model._meta.model_name}")

    answers = [clerk.get(changelist(model)), clerk.get(change(model.objects.first()))]

    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize("model", PAGES)
def test_a_list_asks_as_often_for_fifty_rows_as_for_five(model, staff):
    for _row in range(5):
        make_records()
    staff.get(changelist(model))
    with CaptureQueriesContext(
        connection,
    ) as few:
        staff.get(changelist(model))
    for _row in range(45):
        make_records()

    with CaptureQueriesContext(connection) as many:
        response = staff.get(changelist(model))

    assert len(response.context["cl"].result_list) == 50
    assert len(many) == len(few)


def test_every_model_has_a_page():
    pages = {model for model in admin.site._registry if model._meta.app_label == "shop_payments"}

    assert pages == {*RECORDS, Order, APIKey}


@pytest.mark.parametrize(
    ("label", "bundled"),
    [("shop_payments.Order", True), ("shop_payments.order", True), ("shop.Order", False)],
)
def test_the_bundled_order_is_known_in_any_case(settings, label, bundled):
    settings.SHOP_PAYMENTS_ORDER_MODEL = label

    assert order_is_bundled() is bundled


def test_what_has_no_page_is_only_named(order):
    assert page_link(OrderLine.objects.get(), site=admin.site) == "2 × Main product 2"
    assert page_link(None, site=admin.site) == "–"


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (11200, "usd", "112.00 USD"),
        (500, "jpy", "500 JPY"),
        (5120, "kwd", "5.120 KWD"),
        (50000, "isk", "500 ISK"),
        (100, "us", "–"),
    ],
)
def test_amounts_are_written_in_the_currencys_own_digits(amount, currency, text):
    assert amount_text(amount, currency) == text


def test_an_order_in_no_currency_does_not_break_the_list(staff):
    order = OrderFactory.create(currency="us")

    assert order.number in text_of(staff.get(changelist(Order)))
