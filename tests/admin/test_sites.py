"""The pages work on any admin site: links, buttons and redirects stay there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client

from shop_payments.admin import MODEL_ADMINS, register
from shop_payments.admin.review import ReviewItemAdmin
from shop_payments.models import APIKey, Order, PaymentIntent, ReviewItem
from tests.admin.support import Staff, change, make_records

pytestmark = pytest.mark.django_db

PAGES: list[Any] = [*MODEL_ADMINS, Order]
PAYMENTS = "/ops/shop_payments/orderpayment/"
ITEMS = "/ops/shop_payments/reviewitem/"


class OnSite(Staff):
    """A browser on the site ``ops``. It records every URL that leads to another site."""

    def __init__(self) -> None:
        super().__init__()
        self.elsewhere: set[str] = set()

    def request(self, **request: Any) -> Any:
        request["PATH_INFO"] = re.sub("^/admin/", "/ops/", request["PATH_INFO"])
        response = super().request(**request)
        found = set(re.findall(r'(?:href|action)="(/[^"]*)"', response.content.decode()))
        found |= {response.headers[name] for name in response.headers if name == "Location"}
        self.elsewhere |= {each for each in found if not each.startswith(("/ops/", "/static/"))}
        return response


@pytest.fixture
def ops(request: pytest.FixtureRequest, settings: Any, superuser: User) -> Iterator[OnSite]:
    """A browser in which a superuser has logged in; the second of two sites by default."""
    settings.ROOT_URLCONF = f"tests.admin.{getattr(request, 'param', 'urls_two_sites')}"
    client = OnSite()
    client.force_login(superuser)
    yield client
    client.elsewhere -= {"/", "/api/v1/shop/"}
    assert not client.elsewhere


def test_every_page_stays_on_its_site(eventful, ops):
    APIKey.objects.issue(label="shop", scopes=["payments"])
    for model in PAGES:
        assert ops.read(model)
        for row in model.objects.all():
            assert ops.get(change(row)).context["original"] == row


@pytest.mark.parametrize("ops", ["urls_other_site"], indirect=True)
def test_staff_refund_what_an_item_suggests(in_review, ops):
    item = ReviewItem.objects.get()
    assert f'href="{ITEMS}{item.pk}/change/"' in ops.read(ReviewItem)
    assert ops.choose("close_selected", item).context["form"]
    close = ops.target(item, "Close")
    response = ops.press(item, "Refund 10.00 USD")
    assert response.redirect_chain == [(f"{PAYMENTS}{in_review.pk}/change/", 302)]
    item.refresh_from_db()
    assert item.closed_automatically
    assert ops.get(close).url == f"{ITEMS}{item.pk}/change/"


def test_an_action_that_is_not_possible_leads_back_within_the_site(paid, ops):
    page = f"{PAYMENTS}{paid.pk}/capture/{PaymentIntent.objects.get().pk}/"
    for response in (ops.get(page), ops.post(page)):
        assert response.url == f"{PAYMENTS}{paid.pk}/change/"
    assert ops.get(f"{PAYMENTS}999/waive/").url == PAYMENTS
    for name in ("close", "skip"):
        assert ops.get(f"{ITEMS}999/{name}/").url == ITEMS
    assert Client().get(page).headers["Location"].startswith("/ops/login/")


def test_a_site_may_have_a_part_of_the_pages_and_pages_of_the_host():
    class OurItems(ReviewItemAdmin):
        """The host's own page."""

    site = admin.AdminSite(name="ours")
    site.register(ReviewItem, OurItems)
    make_records()
    item = ReviewItem.objects.get()
    ours: Any = site.get_model_admin(ReviewItem)
    assert ours.payment_link(item) == item.order_payment.order.number, "it has no page here"
    register(site)
    register(site)
    assert site.get_model_admin(ReviewItem) is ours
    assert set(PAGES) <= set(site._registry)
