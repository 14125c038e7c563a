"""The pages work on any admin site: links, buttons and redirects stay there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from shop_payments.admin import MODEL_ADMINS, register
from shop_payments.admin.payments import OrderPaymentAdmin
from shop_payments.models import (
    APIKey,
    Dispute,
    Order,
    OrderPayment,
    PaymentIntent,
    Refund,
    ReviewItem,
    StaffEntry,
    WebhookEvent,
)
from tests.admin.support import (
    add,
    change,
    changelist,
    fill_in,
    make_records,
    messages_of,
    save,
    values_of,
)

pytestmark = pytest.mark.django_db(transaction=True)

SITES = ["tests.admin.urls_two_sites", "tests.admin.urls_other_site"]
PAGES = [*MODEL_ADMINS, Order]


class OnSite(Client):
    """A browser that never leaves the second site, and notes every address that would."""

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


@pytest.fixture(params=SITES, ids=["second", "only"])
def ops(request: pytest.FixtureRequest, settings: Any, superuser: User) -> Iterator[OnSite]:
    """A browser in which a superuser has logged in to the site."""
    settings.ROOT_URLCONF = request.param
    client = OnSite()
    client.force_login(superuser)
    yield client
    client.elsewhere -= {"/", "/api/v1/shop/"}
    assert not client.elsewhere


@pytest.mark.parametrize("model", PAGES)
def test_every_page_of_a_second_site_stays_there(model, eventful, ops):
    if model is APIKey:
        APIKey.objects.issue(label="shop", scopes=["payments"])
    assert ops.get(changelist(model)).status_code == 200

    for row in model.objects.all():
        response = ops.get(change(row))
        assert response.status_code == 200
        assert response.context["original"] == row


def test_staff_walk_from_the_list_to_a_refund(paid, ops):
    shown = ops.get(changelist(OrderPayment)).content.decode()
    assert f'href="/ops/shop_payments/orderpayment/{paid.pk}/change/"' in shown
    [refund, *_others] = ops.get(change(paid)).context["action_links"]
    assert refund.url.startswith("/ops/")

    response = ops.post(refund.url, fill_in(ops, refund.url, amount="12.50"), follow=True)

    assert response.redirect_chain == [(f"/ops/shop_payments/orderpayment/{paid.pk}/change/", 302)]
    assert "12.50 USD goes back to the customer." in messages_of(response)[0]
    assert Refund.objects.get().amount == 1250


def test_staff_walk_from_the_review_to_what_it_suggests(in_review, ops):
    item = ReviewItem.objects.get()
    [suggested, *_others] = ops.get(change(item)).context["action_links"]
    assert (suggested.label, suggested.url[:5]) == ("Refund 10.00 USD", "/ops/")

    ops.post(suggested.url, fill_in(ops, suggested.url), follow=True)

    item.refresh_from_db()
    assert item.closed_itself


def test_staff_close_an_item(in_review, ops):
    item = ReviewItem.objects.get()
    close = ops.get(change(item)).context["action_links"][-1]

    form = {**values_of(ops.get(close.url)), "closing_note": "Agreed."}
    response = ops.post(close.url, form, follow=True)

    assert response.redirect_chain == [(f"/ops/shop_payments/reviewitem/{item.pk}/change/", 302)]
    again = ops.post(close.url, form, follow=True)
    assert again.redirect_chain == response.redirect_chain


def test_staff_close_several_items(in_review, ops):
    item = ReviewItem.objects.get()
    selected = {"action": "close_selected", "_selected_action": [item.pk]}
    page = ops.post(changelist(ReviewItem), selected)
    assert page.status_code == 200

    shown = page.context["form"]["shown"].value()
    sent = {**selected, "shown": shown, "closing_note": "Agreed."}
    response = ops.post(changelist(ReviewItem), sent, follow=True)

    assert response.redirect_chain == [("/ops/shop_payments/reviewitem/", 302)]
    item.refresh_from_db()
    assert item.closing_note == "Agreed."


def test_staff_waive_and_revoke(partly_paid, ops):
    links = ops.get(change(partly_paid)).context["action_links"]
    [waive] = [link.url for link in links if link.label == "Waive"]
    ops.post(waive, fill_in(ops, waive, reason="Goodwill."), follow=True)
    entry = StaffEntry.objects.get()
    [revoke] = ops.get(change(entry)).context["action_links"]

    response = ops.post(revoke.url, {**fill_in(ops, revoke.url), "reason": "No."}, follow=True)

    change_page = f"/ops/shop_payments/orderpayment/{partly_paid.pk}/change/"
    assert response.redirect_chain == [(change_page, 302)]
    entry.refresh_from_db()
    assert entry.is_revoked


@pytest.mark.parametrize("action", ["capture", "cancel"])
def test_what_is_past_leads_back_within_the_site(action, paid, ops):
    intent = PaymentIntent.objects.get()
    page = f"/ops/shop_payments/orderpayment/{paid.pk}/{action}/{intent.pk}/"

    for response in (ops.get(page), ops.post(page)):
        assert response.url == f"/ops/shop_payments/orderpayment/{paid.pk}/change/"


@pytest.mark.parametrize(
    ("page", "model"),
    [
        ("/ops/shop_payments/orderpayment/999/waive/", OrderPayment),
        ("/ops/shop_payments/reviewitem/999/close/", ReviewItem),
        ("/ops/shop_payments/reviewitem/999/skip/", ReviewItem),
    ],
)
def test_what_is_not_there_leads_to_the_list_of_the_site(page, model, ops):
    assert ops.get(page).url == f"/ops/shop_payments/{model._meta.model_name}/"


def test_staff_edit_an_order(paid, ops):
    save(ops, change(paid.order), lines_0_unit_price="60.00")

    response = ops.get(change(paid.order))

    assert "8.00 USD is outstanding." in messages_of(response)
    assert all(link.url.startswith("/ops/") for link in response.context["action_links"])


def test_staff_issue_an_api_key(ops):
    form = {"label": "shop", "scopes": "payments"}
    form["once"] = str(ops.get(add(APIKey)).context["adminform"].form["once"].value())

    shown = ops.post(add(APIKey), form)

    assert "Copy it now" in shown.content.decode()
    assert ops.post(add(APIKey), form).url == "/ops/shop_payments/apikey/"


def test_staff_process_events_again(paid, ops):
    event = WebhookEvent.objects.earliest("pk")
    selected = {"action": "replay", "_selected_action": [event.pk]}

    response = ops.post(changelist(WebhookEvent), selected, follow=True)

    assert response.redirect_chain == [("/ops/shop_payments/webhookevent/", 302)]


def test_whoever_is_not_logged_in_is_led_to_the_sites_own_login(paid, settings):
    settings.ROOT_URLCONF = SITES[0]

    response = Client().get(f"/ops/shop_payments/orderpayment/{paid.pk}/waive/")

    assert response.headers["Location"].startswith("/ops/login/")


def test_what_a_site_does_not_have_is_only_named():
    site = admin.AdminSite(name="little")
    site.register(ReviewItem, MODEL_ADMINS[ReviewItem])
    make_records()
    item = ReviewItem.objects.get()
    ReviewItem.objects.update(closed_at=None, closing_note="")

    shown = site.get_model_admin(ReviewItem).payment_link(item)  # type: ignore[attr-defined]

    assert shown == item.order_payment.order.number


def test_a_page_of_the_host_is_not_replaced():
    class OurPayments(OrderPaymentAdmin):
        """The host's own page."""

    site = admin.AdminSite(name="ours")
    site.register(OrderPayment, OurPayments)

    register(site)
    register(site)

    assert isinstance(site.get_model_admin(OrderPayment), OurPayments)
    assert set(PAGES) <= set(site._registry)


def test_a_dispute_is_the_same_on_every_site(disputed, ops):
    Dispute.objects.update(evidence_due_at=timezone.now() + timedelta(days=3))
    item = ReviewItem.objects.get()

    [answer, *_others] = ops.get(change(item)).context["action_links"]

    assert answer.url.startswith("https://dashboard.stripe.com/test/disputes/")
