"""Payment links: who may open them, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.contrib.sessions.models import Session
from django.core import signing
from django.test import Client
from django.utils import timezone

from shop_payments.checkout.links import Link, checkout_url, page_url, read_link, sign
from shop_payments.models import Order, OrderPayment
from tests.books import at
from tests.checkout.conftest import Guest
from tests.factories import OrderFactory, UserFactory

pytestmark = pytest.mark.django_db

EXPIRED = timedelta(seconds=-1)


def link_for(order: Order, expires_in: timedelta) -> Link:
    link = read_link(sign(order.pk, expires_in), order.pk)
    assert link is not None
    return link


def test_a_link_is_absolute_with_a_request_and_opens_its_order_only(order, rf):
    with time_machine.travel(datetime.now(UTC), tick=False):  # the link says until when it is valid
        assert checkout_url(order, rf.get("/")) == f"http://testserver{checkout_url(order)}"
    assert link_for(order, timedelta(days=1)).has_expired is False
    assert read_link(sign("another", timedelta(days=1)), order.pk) is None
    assert link_for(order, timedelta.max).has_expired is False


def test_a_link_without_time_zones(order, settings):
    settings.USE_TZ = False
    assert not link_for(order, timedelta(minutes=1)).has_expired
    assert link_for(order, EXPIRED).has_expired


@pytest.mark.parametrize("zone", ["America/Los_Angeles", "Asia/Tokyo"])
def test_a_link_does_not_depend_on_the_visitors_time_zone(order, settings, zone):
    settings.USE_TZ = False
    with timezone.override(zone):
        assert not link_for(order, timedelta(minutes=1)).has_expired
        assert link_for(order, EXPIRED).has_expired


@pytest.mark.parametrize("name", ["pay", "result", "status"])
def test_a_tampered_link_and_an_unknown_order_get_the_same_404(guest, name):
    other = OrderFactory.create()
    token = guest.token
    urls = [
        page_url(name, guest.order.pk, token[:-1] + ("A" if token[-1] != "A" else "B")),
        page_url(name, guest.order.pk, signing.dumps([str(guest.order.pk), 2**40])),
        page_url(name, guest.order.pk),
        page_url(name, other.pk, token),
        page_url(name, 999_999, sign(999_999, timedelta(days=1))),
        page_url(name, 999_999),
        page_url(name, "no-id", token),
    ]
    answers = [Client().get(url) for url in urls]

    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1


def test_an_expired_link_says_so_and_only_if_it_is_genuine(order, state):
    link = checkout_url(order, expires_in=EXPIRED)
    guest = Guest(order, link=link)

    for name in ("pay", "result"):
        answer = guest.get(name)
        assert (answer.status_code, state(answer)) == (410, "expired")
        assert b"ask the shop for another link" in answer.content
        assert b"Main product 2" not in answer.content
    assert (guest.ask().status_code, state(guest.ask())) == (410, "expired")
    assert Client().get(link.replace(f"/{order.pk}/", "/999999/")).status_code == 404
    assert not OrderPayment.objects.exists()


def test_after_the_link_has_expired_the_result_is_still_shown(order, stripe, state):
    guest = Guest(order)
    stripe.pay(guest.begin(), deliver=False)

    with at(8 * 24):
        assert guest.get("pay").status_code == 410
        assert state(guest.get("result")) == "paid"


def test_an_expired_link_offers_no_new_payment(order, stripe, state):
    guest = Guest(order)
    guest.begin()

    with at(8 * 24):
        answer = guest.get("result")

    assert state(answer) == "unpaid"
    assert b'class="button"' not in answer.content


def test_the_customer_of_the_order_needs_no_signature(order):
    client = Client()
    assert client.get(page_url("pay", order.pk)).status_code == 404
    client.force_login(UserFactory.create())
    assert client.get(page_url("pay", order.pk)).status_code == 404
    client.force_login(order.customer)
    assert client.get(page_url("pay", order.pk)).status_code == 200
    assert client.get(checkout_url(order, expires_in=EXPIRED)).status_code == 200


def test_another_customer_may_open_a_link(order):
    client = Client()
    client.force_login(UserFactory.create())
    assert client.get(checkout_url(order)).status_code == 200


def test_a_link_needs_no_login_where_all_other_pages_do(guest, stripe, settings):
    middleware = "django.contrib.auth.middleware.LoginRequiredMiddleware"
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, middleware]
    assert guest.client.get("/admin/password_change/").status_code == 302
    assert guest.ask().status_code == 200
    assert [guest.get(name).status_code for name in ("pay", "result", "status")] == [200] * 3
    assert Client().get(page_url("pay", guest.order.pk)).status_code == 404


def test_a_link_shows_what_is_due_and_no_personal_data(guest, stripe):
    Order.objects.update(email="buyer@example.com")
    guest.begin()
    for name in ("pay", "result", "status"):
        shown = guest.get(name).content.decode()
        assert "@" not in shown
        assert guest.order.customer.username not in shown
    assert "112.00\N{NO-BREAK SPACE}USD" in guest.get("pay").content.decode()


def test_looking_creates_nothing_and_uses_nothing_up(guest, stripe):
    for name in ("pay", "result", "status"):
        for _time in range(3):
            assert guest.client.head(guest.url(name)).status_code == 200
            assert guest.get(name).status_code == 200
    assert not OrderPayment.objects.exists()
    assert stripe.requests == []
    assert not Session.objects.exists()
    assert guest.ask().status_code == 200
