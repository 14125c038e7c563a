"""The admin's first page: what waits for staff, and the pages that they work with."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin

from shop_payments.admin import queue, register
from shop_payments.models import OrderPayment, ReviewItem, StripeAttempt
from tests.admin.support import changelist, make_records

pytestmark = pytest.mark.django_db


def names(response, app: str = "shop_payments") -> list[str]:
    """The entries of an app on a page."""
    for each in response.context["app_list"]:
        if each["app_label"] == app:
            return [str(entry["name"]) for entry in each["models"]]
    return []


def test_the_queue_comes_first_with_its_number_and_records_are_behind_a_link(in_review, staff):
    response = staff.get("/admin/")

    desk = ["To review (1)", "Payments", "Orders", "Refunds", "Disputes", "Overview"]
    desk += ["API keys", "Records"]
    assert names(response) == names(staff.get("/admin/shop_payments/")) == desk
    page = staff.get("/admin/shop_payments/orderpayment/records/")
    assert names(page) == [
        "Balance transactions",
        "Payment history entries",
        "Payment intents",
        "Requests to Stripe",
        "Staff entries",
        "Stripe events",
    ]
    for url in re.findall(r'<a href="(/admin/shop_payments/\w+/)">', page.text):
        assert staff.get(url).status_code == 200


def test_what_waits_is_counted_by_kind_with_the_nearest_deadline_first(open_shop, staff):
    for total in (112, 102):
        shop = open_shop(112)
        shop.pay(112)
        shop.costs(total)
    shop.stripe.dispute(open_shop(112).pay(112))
    response = staff.get("/admin/")

    first, second = names(response, "shop_payments_to_review")
    assert re.fullmatch(r"1: the customer's bank disputes the payment \(until .* UTC\)", first)
    assert second == "1: more was received than the order costs"
    (link,) = re.findall(r'<a href="([^"]+)">1: more was', response.text)
    (item,) = staff.get(link).context["cl"].result_list
    assert item.reason == "excess"
    assert names(staff.get(changelist(OrderPayment)), "shop_payments_to_review") == []


def test_staff_see_what_they_may(in_review, staff_with):
    assert names(staff_with().get("/admin/")) == []
    reviewer = staff_with("view_reviewitem").get("/admin/")
    assert names(reviewer) == ["To review (1)"]
    assert len(names(reviewer, "shop_payments_to_review")) == 1
    clerk = staff_with("view_orderpayment", "view_stripeattempt")
    assert names(clerk.get("/admin/")) == ["Payments", "Overview", "Records"]
    assert names(clerk.get("/admin/"), "shop_payments_to_review") == []
    records = "/admin/shop_payments/orderpayment/records/"
    assert names(clerk.get(records)) == ["Requests to Stripe"]
    developer = staff_with("view_stripeattempt")
    assert developer.get(records).status_code == 403
    # Found: nothing led to the records of those who may not view payments.
    assert names(developer.get("/admin/")) == ["Requests to Stripe"]
    assert developer.get(changelist(StripeAttempt)).status_code == 200


def test_more_items_than_anybody_works_through_are_not_counted(staff, monkeypatch):
    monkeypatch.setattr(queue, "_MANY", 1)
    for _number in range(3):
        make_records()
    ReviewItem.objects.update(closed_at=None, closing_data=None)

    assert names(staff.get("/admin/"))[0] == "To review (1+)"


def test_a_site_is_arranged_once(rf, superuser):
    site = admin.AdminSite(name="other")
    register(site)
    arranged = site.get_app_list
    register(site)
    assert site.get_app_list is arranged


def test_a_site_that_takes_no_label_is_arranged_as_well(rf, superuser):
    class OldSite(admin.AdminSite):
        def get_app_list(self, request):  # type: ignore[override]
            return super().get_app_list(request)

    site = OldSite(name="admin")
    register(site)
    request = rf.get("/")
    request.user = superuser
    (app,) = (each for each in site.get_app_list(request) if each["app_label"] == "shop_payments")
    assert app["models"][0]["name"] == "To review (0)"
