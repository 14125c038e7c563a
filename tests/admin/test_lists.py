"""Lists of large tables: how far they count, what they sort by, and how a page leads to them."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shop_payments.admin import lists
from shop_payments.models import (
    APIKey,
    Order,
    OrderPayment,
    PaymentHistory,
    ReviewItem,
    WebhookEvent,
)
from tests.admin.support import RECORDS, change, changelist, make_records
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db

LISTS = [*RECORDS, Order]


@pytest.fixture
def short_pages(monkeypatch):
    """Pages of two rows, with one more page counted."""
    monkeypatch.setattr(lists, "_PAGES_AHEAD", 1)
    monkeypatch.setattr(lists.LargeListMixin, "list_per_page", 2)


def test_a_list_counts_the_next_pages_only_and_leads_to_all(short_pages, staff):
    orders = [OrderFactory.create() for _number in range(7)][::-1]
    assert "more than 4 orders" in staff.read(Order)
    shown = []
    for page, more in ((1, True), (2, True), (3, False), (4, False)):
        response = staff.get(changelist(Order), {"p": page})
        shown += response.context["cl"].result_list
        assert ("more than" in response.text) is more
        assert ('class="question' in response.text) is not more
    assert shown == orders
    assert "7 orders" in staff.read(Order, p=4)
    for number in ("5", "9" * 30, "x", "-1"):
        assert staff.get(changelist(Order), {"p": number}).status_code in {200, 302}


def test_every_list_shows_its_search_field(staff):
    """Found: the orders could be searched, but nothing showed it."""
    for model in LISTS:
        assert 'id="searchbar"' in staff.read(model), model


def test_no_list_counts_or_compares_all_rows(eventful, staff):
    for model in LISTS:
        with CaptureQueriesContext(connection) as captured:
            staff.read(model)
        for query in captured.captured_queries:
            assert "DISTINCT" not in query["sql"]
            assert "COUNT(" not in query["sql"] or "LIMIT " in query["sql"]


def test_any_id_finds_the_rows_of_its_payment(eventful, staff):
    make_records()
    intent = eventful.payment_intents.get()
    event = WebhookEvent.objects.filter(intent_id=intent.stripe_id)[0]
    ids = [intent.stripe_id, intent.latest_charge, eventful.refunds.get().stripe_id]
    ids += [event.event_id, eventful.balance_transactions.first().stripe_id]
    for text in (*ids, eventful.order.number.lower()):
        assert staff.rows(OrderPayment, q=f" {text} ") == {eventful}
        assert staff.rows(PaymentHistory, q=text) == set(eventful.history.all())
        assert staff.rows(Order, q=text) == {eventful.order}
    for text in (ids[0][:-1], "a " * 5000, "9" * 40, "\u0661", "'\"%", "a" * 5000):
        assert not staff.rows(OrderPayment, q=text)
    attempt = eventful.attempts.first()
    assert staff.rows(type(attempt), q=str(attempt.pk)) == {attempt}


def test_orders_are_found_by_the_beginning_of_a_number(staff):
    orders = {OrderFactory.create(number=f"ORD-20250331-{end}") for end in ("AA22", "AB22")}
    OrderFactory.create(number="ORD-20250401-AA22")
    assert staff.rows(Order, q="ord-20250331") == orders
    assert staff.rows(Order, q="ORD-20250331-AA22") == {min(orders, key=str)}


UNUSABLE = {
    "": "9" * 20,
    "__exact": "\x00",
    "__gte": "garbage",
    "__lt": "0001-01-01 00:00+05:00",
    "__in": "9" * 20,
    "__range": "1",
    "__regex": "(",
    "__year": "-1",
    "__foo": "1",
}
"""A value that some columns cannot be compared with, by the lookup in the URL."""


def model_admin_of(model):
    return admin.site.get_model_admin(model)


# An error of PostgreSQL would end the transaction of the test.
@pytest.mark.django_db(transaction=True)
def test_no_list_fails_for_what_its_url_asks(staff):
    make_records()
    for model in (*LISTS, APIKey):
        # A field of each type: a key of another table, a text, a time.
        fields = {type(field): field.name for field in model._meta.concrete_fields}
        asked = {f"{name}{each}": UNUSABLE[each] for name in fields.values() for each in UNUSABLE}
        for name in ("q", "o", "p", "currency", "method", "payment", "state", "created_from"):
            asked[name] = "\x00"
        for name, value in asked.items():
            status = staff.get(changelist(model), {name: value}).status_code
            assert status < 500, (model, name)
        assert staff.get(changelist(model), {"pk__regex": "1"}).status_code == 400
        for action in model_admin_of(model).actions or ():
            name = getattr(action, "__name__", action)
            for key in ("garbage", "9" * 20):
                sent = {"action": name, "_selected_action": key}
                assert staff.post(changelist(model), sent).status_code == 400, (model, name)
        if row := model.objects.first():
            assert staff.get(change(row), {"_to_field": ""}).status_code == 200


def test_an_action_that_staff_may_not_run_is_refused(staff_with):
    """Found: only the capture answered so, the others with the list, as if nothing was chosen."""
    make_records()
    for model, name in (
        (OrderPayment, "capture_selected"),
        (ReviewItem, "close_selected"),
        (WebhookEvent, "replay"),
        (WebhookEvent, "skip"),
        (APIKey, "revoke"),
        (Order, "delete_selected"),
        (OrderPayment, "delete_selected"),
    ):
        viewer = staff_with(f"view_{model._meta.model_name}")
        sent = {"action": name, "_selected_action": "1", "sure": "on", "confirmed": "yes"}
        assert viewer.post(changelist(model), sent).status_code == 403, (model, name)
