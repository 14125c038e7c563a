"""GET orders: pages that stay right while orders come in, and filters that are never ignored."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.utils.http import urlencode

from shop_payments.models import Order
from tests.factories import OrderFactory
from tests.support import BASE, answer

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def five(order: Order, configure: Any) -> list[str]:
    """The ids of the customer's orders, newest first: the last three of one moment."""
    configure(PAGE_SIZE=2)
    OrderFactory.create()  # of somebody else
    made = [order, *OrderFactory.create_batch(4, customer=order.customer)]
    for number, each in enumerate(made):
        place(each, NOON - timedelta(hours=1 if number < 3 else 0, seconds=-number // 3))
    return [str(each.pk) for each in reversed(made)]


def place(order: Order, moment: datetime) -> None:
    """Change when an order was created, which the model sets by itself."""
    Order.objects.filter(pk=order.pk).update(created_at=moment)


def page(caller: Any, **query: str) -> dict[str, Any]:
    response = caller.get(f"orders?{urlencode(query)}")
    assert response.status_code == 200, response.content
    data: dict[str, Any] = response.json()["data"]
    return data


def ids(data: dict[str, Any]) -> list[str]:
    return [each["id"] for each in data["results"]]


def follow(caller: Any, url: str | None) -> dict[str, Any]:
    """Return the page of a link."""
    assert url is not None
    data: dict[str, Any] = caller.get(url.removeprefix(f"http://testserver{BASE}/")).json()["data"]
    return data


def pages(caller: Any, data: dict[str, Any], link: str) -> Iterator[dict[str, Any]]:
    """Yield a page and all pages behind its links of that name."""
    yield data
    while data[link]:
        data = follow(caller, data[link])
        yield data


def errors(response: Any) -> dict[str, list[str]]:
    assert answer(response) == (400, "invalid_request")
    found: dict[str, list[str]] = response.json()["errors"]
    return found


@pytest.mark.parametrize("adapter", ["shop_payments.orders.BundledOrderAdapter", "OnlyKeys"])
def test_the_pages_lead_through_all_orders_and_back(storefront, five, configure, adapter):
    path = adapter if "." in adapter else f"tests.api.adapters.{adapter}"
    configure(PAGE_SIZE=2, ORDER_ADAPTER=path)

    there = list(pages(storefront, page(storefront), "next"))
    back = list(pages(storefront, there[-1], "previous"))

    assert [ids(each) for each in there] == [five[:2], five[2:4], five[4:]]
    assert [ids(each) for each in back] == [five[4:], five[2:4], five[:2]]
    assert there[0]["previous"] is back[-1]["previous"] is None
    assert there[-1]["next"] is None


def test_an_order_that_comes_in_shifts_no_page(storefront, order, five):
    first = page(storefront)
    newest = OrderFactory.create(customer=order.customer)

    second = follow(storefront, first["next"])
    before = follow(storefront, second["previous"])
    front = follow(storefront, before["previous"])

    assert [ids(second), ids(before), ids(front)] == [five[2:4], five[:2], [str(newest.pk)]]


def test_a_full_page_may_be_the_only_one(storefront, order, configure):
    configure(PAGE_SIZE=1)
    only = page(storefront)
    assert (ids(only), only["next"], only["previous"]) == ([str(order.pk)], None, None)


def test_orders_are_filtered_by_the_status_of_their_payment(storefront, stripe, five, webhooks):
    *untouched, waiting, done = five
    storefront.payment_intent(waiting)
    stripe.pay(storefront.payment_intent(done).json()["data"]["id"])

    found = {each: page(storefront, payment_status=each) for each in ("unpaid", "paid", "refunded")}

    assert ids(found["paid"]) == [done]
    assert found["paid"]["results"][0]["payment_status"] == "paid"
    assert ids(found["refunded"]) == []
    unpaid = [ids(each) for each in pages(storefront, found["unpaid"], "next")]
    assert unpaid == [untouched[:2], [untouched[2], waiting]], "with and without an intent"


def test_an_order_is_found_by_its_whole_number(storefront, order, five):
    stranger = Order.objects.exclude(customer=order.customer).get()
    assert ids(page(storefront, number=order.number)) == [str(order.pk)]
    for number in (order.number[:-1], order.number.lower(), stranger.number, "x" * 200):
        assert ids(page(storefront, number=number)) == []


def test_a_range_contains_its_beginning_and_not_its_end(storefront, order, five):
    place(order, NOON)
    Order.objects.exclude(pk=order.pk).update(created_at=NOON - timedelta(microseconds=1))
    for begin, end, expected in (
        ("2026-11-24T12:00:00Z", "", [str(order.pk)]),
        ("2026-11-24T13:00+01:00", "2026-11-24T13:00:00.000001+01:00", [str(order.pk)]),
        # The largest offset of RFC 3339, which PostgreSQL does not know.
        ("2026-11-25T11:59+23:59", "2026-11-23T12:01:00.000001-23:59", [str(order.pk)]),
        ("", "2026-11-24T12:00:00Z", five[:2]),
        ("2026-11-24T12:00:00.000001Z", "", []),
        ("2026-11-24T12:00:00Z", "2026-11-24T12:00:00Z", []),
    ):
        query = {"created_from": begin, "created_before": end}
        found = page(storefront, **{name: value for name, value in query.items() if value})
        assert ids(found) == expected, query


def test_a_date_is_the_beginning_of_the_day_in_the_projects_zone(storefront, order, settings):
    settings.TIME_ZONE = "Europe/Berlin"
    place(order, datetime(2026, 11, 23, 23, tzinfo=UTC))  # midnight in Berlin
    assert ids(page(storefront, created_from="2026-11-24")) == [str(order.pk)]
    assert ids(page(storefront, created_before="2026-11-24")) == []
    (shown,) = page(storefront)["results"]
    assert shown["created_at"] == "2026-11-23T23:00:00Z"


def test_links_keep_the_filters(storefront, order, five):
    query = {"created_before": "2026-11-25", "payment_status": "unpaid"}
    first = page(storefront, **query)
    second = follow(storefront, first["next"])
    for url in (first["next"], second["next"], second["previous"]):
        assert {name: [value] for name, value in query.items()}.items() <= parse_qs(
            urlsplit(url).query
        ).items()
    Order.objects.exclude(pk=five[4]).update(created_at=NOON + timedelta(days=9))
    assert ids(follow(storefront, first["next"])) == five[4:], "of those, only one is in the range"


def test_staff_filter_all_orders(admin_client, order, five):
    stranger = Order.objects.exclude(customer=order.customer).get()
    response = admin_client.get(f"{BASE}/orders?number={stranger.number}")
    assert ids(response.json()["data"]) == [str(stranger.pk)]


def test_a_query_that_is_not_as_documented_is_refused(storefront):
    for query, name, words in (
        ("payment_stauts=paid", "payment_stauts", "not known"),
        ("page=2", "page", "not known"),
        ("payment_status=payed", "payment_status", "Write one of unpaid, pending, "),
        ("payment_status=", "payment_status", "Write one of"),
        ("payment_status=paid&payment_status=refunded", "payment_status", "more than once"),
        ("number=", "number", "blank"),
        ("number=%00", "number", "Null"),
        ("created_from=yesterday", "created_from", "Write a date like"),
        ("created_from=2026-02-30", "created_from", "Write a date like"),
        ("created_from=2026-11-24T12:00:00", "created_from", "its offset from UTC"),
        ("created_from=2026-11-24T12:00:00+01:00", "created_from", "+ is written %2B"),
        ("created_from=2026-11-24T12:00:60Z", "created_from", "Write a date like"),
        ("created_before=%D9%A2026-11-24", "created_before", "Write a date like"),
        ("created_before=0001-01-01T00:00:00%2B14:00", "created_before", "between 1970 and"),
        ("created_before=9999-12-31", "created_before", "between 1970 and"),
        ("created_from=2026-11-24&created_before=2026-11-23", "created_before", "is before"),
        ("cursor=", "cursor", "blank"),
    ):
        found = errors(storefront.get(f"orders?{query}"))
        assert list(found) == [name], query
        assert words in found[name][0], query
    assert storefront.get("orders?format=json").status_code == 200


def cursor(*values: Any) -> str:
    return urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def test_a_cursor_that_this_shop_has_not_made_is_refused(storefront, order):
    moment = NOON.isoformat()
    assert page(storefront, cursor=cursor(0, moment, str(order.pk)))
    assert page(storefront, cursor=cursor(0, "2026-11-24T12:00:00+23:59", str(order.pk)))
    for text in (
        *("x", "=", "é", "W1tb", cursor(), cursor(0, moment)),
        cursor(2, moment, "1"),
        cursor([], moment, "1"),
        cursor(0, moment, 1),
        cursor(0, moment, "one"),
        cursor(0, moment, "1" * 30),
        cursor(0, moment, "\x00"),
        cursor(0, moment, "\ud800"),
        cursor(0, "", "1"),
        cursor(0, 5, "1"),
        cursor(0, "yesterday", "1"),
        cursor(0, "2026-11-24T12:00:00", "1"),
        cursor(0, "9999-12-31T23:59:59-14:00", "1"),
        urlsafe_b64encode(b"[" * 700).decode(),
    ):
        found = errors(storefront.get(f"orders?{urlencode({'cursor': text})}"))
        assert "Begin again at the first page" in found["cursor"][0], text


def test_a_shop_without_such_columns_says_that_it_cannot_filter(storefront, order, configure):
    configure(ORDER_ADAPTER="tests.api.adapters.OnlyKeys")
    found = errors(
        storefront.get("orders?number=1&created_from=2026-11-24&created_before=2027-01-01")
    )
    assert list(found) == ["number", "created_from", "created_before"]
    assert "cannot be filtered by this" in found["number"][0]
    (shown,) = page(storefront, payment_status="unpaid")["results"]
    assert shown["created_at"] is None


def test_a_project_without_time_zones_is_asked_in_its_own_time(
    storefront, order, five, settings, configure
):
    configure(PAGE_SIZE=1)
    settings.USE_TZ, settings.TIME_ZONE = False, "America/Los_Angeles"
    Order.objects.update(created_at=datetime(2026, 11, 24, 4))  # noqa: DTZ001 - as it is stored
    query = {"created_from": "2026-11-24T12:00:00Z", "created_before": "2026-11-25"}
    found = [ids(each) for each in pages(storefront, page(storefront, **query), "next")]
    assert found == [[each] for each in five]
    assert ids(page(storefront, created_from="2026-11-24T12:00:01Z")) == []
    assert ids(page(storefront, created_before="2026-11-24")) == []
