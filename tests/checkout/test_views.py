"""The pages over HTTP, and the answers for their scripts."""

from __future__ import annotations

import logging
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.template import RequestContext, Template
from django.test import Client

from shop_payments.checkout.links import page_url
from shop_payments.models import Order, OrderPayment, PaymentHistory, PaymentIntent, Source
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault, Sandbox
from tests.checkout.conftest import Guest
from tests.support import LIVE, call_stripe, debit, pay

pytestmark = pytest.mark.django_db

RETURNED = {"redirect_status": "succeeded", "payment_intent": "pi_1"}


class Adapter(BundledOrderAdapter):
    def continue_url(self, order: Order) -> str:
        if order.number == "broken":
            raise ValueError("no URL")
        return f"/orders/{order.pk}/"


HERE = f"{__name__}.Adapter"


def test_the_script_gets_the_intent_and_what_it_asks_for(guest, stripe):
    answer = guest.ask().json()

    (intent,) = call_stripe(stripe, "GET", "payment_intents")["data"]
    assert answer["client_secret"] == intent["client_secret"]
    assert answer["amount"] == "112.00\N{NO-BREAK SPACE}USD"
    assert answer["return_url"] == f"http://testserver{guest.url('result')}"
    assert guest.begin() == intent["id"]
    history = PaymentHistory.objects.earliest("pk")
    assert (history.source, history.actor) == (Source.SHOP, "checkout, payment link")


def test_a_customer_returns_with_a_token_because_cookies_may_be_missing(order, stripe, state):
    client = Client()
    client.force_login(order.customer)
    answer = client.post(page_url("pay", order.pk)).json()
    pay(stripe, answer["intent"])

    returned = Client().get(answer["return_url"])

    assert state(returned) == "paid"
    assert order.customer.username not in returned.content.decode()


def test_a_post_needs_a_csrf_token(order, stripe):
    guest = Guest(order, checks_csrf=True)
    assert guest.ask().status_code == 403
    assert not OrderPayment.objects.exists()
    token = guest.get().cookies["csrftoken"].value
    answer = guest.client.post(guest.url("pay"), {"csrfmiddlewaretoken": token})
    assert answer.status_code == 200


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_with_atomic_requests(guest, stripe, monkeypatch, state):
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    stripe.pay(guest.begin(), deliver=False)
    assert state(guest.get("status")) == "paid"


# --- the result page ----------------------------------------------------------------------------


def test_with_every_webhook_lost_the_customer_sees_paid_and_the_shop_is_notified_once(
    guest, stripe, state, paid_signals
):
    pay(stripe, guest.begin())

    states = [state(guest.get(name)) for name in ("result", "result", "status")]

    assert states == ["paid"] * 3
    assert len(paid_signals) == 1


def test_the_parameters_of_the_url_are_dropped_and_not_used(guest, stripe, state):
    intent_id = guest.begin()
    secret = call_stripe(stripe, "GET", f"payment_intents/{intent_id}")["client_secret"]
    before = list(OrderPayment.objects.values())

    answer = guest.get("result", **RETURNED, payment_intent_client_secret=secret)

    assert (answer.status_code, answer.url) == (302, guest.url("result"))
    assert state(guest.client.get(answer.url)) == "unpaid"
    assert b"Not paid yet" in guest.client.get(answer.url).content
    assert list(OrderPayment.objects.values()) == before


def test_a_declined_card_is_shown_with_a_way_to_try_again(guest, stripe, state):
    pay(stripe, guest.begin(), "pm_card_chargeDeclined")

    answer = guest.get("result")

    assert state(answer) == "failed"
    assert f'href="{guest.url("pay")}">Try again' in answer.content.decode()


def test_a_declined_card_after_a_deposit_is_not_shown_as_received(open_shop, stripe, state):
    shop = open_shop(300)
    shop.deposit(90)
    guest = Guest(shop.order)
    assert state(guest.get("result")) == "partially_paid"
    pay(stripe, guest.begin(), "pm_card_chargeDeclined")

    answer = guest.get("result")

    assert state(answer) == "failed"
    assert b"was received" not in answer.content
    assert f'href="{guest.url("pay")}">Try again' in answer.content.decode()


def test_a_delayed_payment_offers_no_pay_button(open_shop, stripe, state):
    shop = open_shop(112, ALLOWED_PAYMENT_METHOD_TYPES=["us_bank_account"])
    guest = Guest(shop.order)
    debit(stripe, guest.begin(), "pm_usBankAccount_success")

    answer = guest.get("result")

    assert state(answer) == "pending"
    assert b"several business days" in answer.content
    assert b"<button" not in answer.content
    assert b'class="button"' not in answer.content
    assert b'"isChanging": true' in answer.content
    assert guest.get("pay").url == guest.url("result")
    assert state(guest.ask()) == "pending"
    assert b"client_secret" not in guest.ask().content


def test_money_that_is_only_reserved(configure, guest, stripe, state):
    configure(CAPTURE_METHOD="manual")
    pay(stripe, guest.begin())
    assert state(guest.get("result")) == "authorized"


def test_a_paid_order_shows_no_form_with_stripe_unreachable(guest, stripe, state):
    stripe.pay(guest.begin())
    guest.get("result")
    stripe.inject(Fault("drop_before", rate=1))

    assert guest.get("pay").url == guest.url("result")
    for answer in (guest.get("result"), guest.get("status"), guest.ask()):
        assert state(answer) == "paid"


def test_an_order_that_is_cancelled_meanwhile(guest, stripe, state):
    guest.begin()
    Order.objects.update(status=Order.Status.CANCELLED)

    assert state(guest.ask()) == "cancelled"
    answer = guest.get("result")
    assert state(answer) == "cancelled"
    assert b"can no longer be paid. Nothing was charged" in answer.content


def test_money_for_a_cancelled_order_is_not_thanked_for(guest, stripe, state):
    intent_id = guest.begin()
    Order.objects.update(status=Order.Status.CANCELLED)
    pay(stripe, intent_id)

    answer = guest.get("result")

    assert state(answer) == "in_review"
    assert b"was received. The shop will contact you" in answer.content
    assert b"Thank" not in answer.content


def test_it_is_not_known_that_nothing_was_charged_while_stripe_cannot_be_reached(
    guest, stripe, state
):
    intent_id = guest.begin()
    Order.objects.update(status=Order.Status.CANCELLED)
    pay(stripe, intent_id)
    stripe.inject(Fault("drop_before", rate=1))

    answer = guest.get("result")

    assert state(answer) == "unavailable"
    assert b"can no longer be paid. Nothing was charged" not in answer.content
    assert state(guest.get("status")) == "unavailable"
    stripe.clear_faults()
    assert state(guest.get("result")) == "in_review"


def test_money_under_way_for_a_cancelled_order(open_shop, stripe, state):
    shop = open_shop(112, ALLOWED_PAYMENT_METHOD_TYPES=["us_bank_account"])
    guest = Guest(shop.order)
    debit(stripe, guest.begin(), "pm_usBankAccount_success")
    Order.objects.update(status=Order.Status.CANCELLED)
    assert state(guest.get("result")) == "in_review"


def test_refunds_and_parts(open_shop, state):
    shop = open_shop(112)
    guest = Guest(shop.order)
    shop.pay(112)
    shop.costs(120)
    answer = guest.get("result")
    assert state(answer) == "partially_paid"
    assert "Pay 8.00" in answer.content.decode()

    shop.costs(112)
    assert state(guest.get("result")) == "paid"
    for amount, expected in (("12.00", "partially_refunded"), ("100.00", "refunded")):
        shop.office.refund(shop.order, {"amount": amount, "kind": "goods"})
        assert state(guest.get("result")) == expected


def test_a_free_order(order, state):
    order.lines.update(unit_amount=0)
    guest = Guest(order)
    answer = guest.client.get(guest.get("pay").url)
    assert state(answer) == "unpaid"
    assert b"Nothing to pay" in answer.content
    assert b'class="button"' not in answer.content


def test_the_customer_goes_on_in_the_shop(configure, guest, stripe):
    configure(ORDER_ADAPTER=HERE)
    stripe.pay(guest.begin())
    assert f'href="/orders/{guest.order.pk}/"' in guest.get("result").content.decode()

    Order.objects.update(number="broken")
    answer = guest.get("result")
    assert (answer.status_code, b"/orders/" in answer.content) == (200, False)


# --- what does not work -------------------------------------------------------------------------


def test_stripe_cannot_be_reached(guest, stripe, state, caplog):
    guest.begin()
    stripe.inject(Fault("drop_before", rate=1))

    assert guest.get("pay").status_code == 200
    answers = [guest.ask(), guest.get("status")]
    page = guest.get("result")

    assert [(each.status_code, state(each), each["Retry-After"]) for each in answers] == [
        (503, "unavailable", "5")
    ] * 2
    assert (page.status_code, state(page)) == (200, "unavailable")
    assert b"do not pay again" in page.content
    assert f"checkout unavailable: order={guest.order.pk} error=GatewayUnavailable" in caplog.text


def test_a_key_of_another_account(guest, stripe, configure, state, caplog):
    guest.begin()
    configure(STRIPE_TRANSPORT=Sandbox().handle)

    assert state(guest.get("result")) == "unavailable"
    assert "checkout unavailable: order=" in caplog.text


def test_a_key_of_the_other_mode(guest, stripe, configure, state):
    guest.begin()
    configure(**LIVE, STRIPE_PUBLISHABLE_KEY="pk_live_x")
    assert (guest.ask().status_code, state(guest.ask())) == (503, "unavailable")


def test_an_order_that_cannot_be_read(guest, state, monkeypatch):
    def fail(*args: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(BundledOrderAdapter, "total", fail)
    assert state(guest.client.get(guest.url("pay"), follow=True)) == "unavailable"
    monkeypatch.setattr(BundledOrderAdapter, "find", fail)
    for name in ("pay", "result", "status"):
        answer = guest.get(name)
        assert (answer.status_code, state(answer)) == (503, "unavailable")
    assert state(guest.ask()) == "unavailable"


def test_the_script_reports_a_problem_for_the_log(guest, caplog):
    url = guest.url("status")
    for problem in ("not_loaded", "not_set_up", "x\ny", ""):
        assert guest.client.post(url, {"problem": problem}).status_code == 200

    lines = [record.getMessage() for record in caplog.records if "problem" in record.getMessage()]
    expected = [
        f"checkout problem: order={guest.order.pk} problem={problem}"
        for problem in ("not_loaded", "not_set_up")
    ]
    assert lines == expected


def test_test_mode_shows_a_banner_and_live_mode_does_not(guest, configure):
    assert b"Test mode:" in guest.get().content
    configure(**LIVE, STRIPE_PUBLISHABLE_KEY="pk_live_x")
    assert b"Test mode:" not in guest.get().content


def test_without_javascript_there_is_a_notice_and_pay_is_off(guest):
    page = guest.get().content.decode()
    assert "<noscript>" in page
    assert "This page needs JavaScript" in page
    assert '<button type="submit" data-checkout-pay disabled>' in page
    assert 'role="alert" tabindex="-1" data-checkout-message></div>' in page
    assert " style=" not in page
    assert page.count("<script") == 2  # the module, and its data


def test_no_log_line_holds_a_secret_or_a_token(guest, stripe, caplog):
    caplog.set_level(logging.DEBUG)
    answer = guest.ask().json()
    secret = answer["client_secret"]
    returned = {**RETURNED, "payment_intent_client_secret": secret}
    guest.get("result", **returned)
    query = urlencode(returned)
    guest.client.put(f"{guest.url('result')}&{query}")
    Client().get(f"{page_url('result', 999_999, guest.token)}&{query}")
    stripe.inject(Fault("drop_before", rate=1))
    guest.get("status")
    guest.ask()

    lines = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith(("shop_payments", "django.request", "django.security"))
    ]
    assert any("Method Not Allowed" in line for line in lines)
    assert any("Service Unavailable" in line for line in lines)
    assert [line for line in lines if secret in line or guest.token in line] == []
    assert PaymentIntent.objects.count() == 1


# --- the template tag ---------------------------------------------------------------------------


def embedded(order: Order, request: object) -> str:
    template = Template("{% load shop_payments %}{% shop_payments_checkout order %}")
    return template.render(RequestContext(request, {"order": order}))  # type: ignore[arg-type]


def test_the_form_on_the_shops_own_page(order, rf, stripe, webhooks):
    request = rf.get("/")
    shown = embedded(order, request)
    assert 'data-payment-state="unpaid"' in shown
    assert "csrfmiddlewaretoken" in shown
    assert f'"payUrl": "/checkout/{order.pk}/?token=' in shown

    request.user = order.customer
    assert f'"payUrl": "/checkout/{order.pk}/"' in embedded(order, request)

    stripe.pay(order)
    webhooks()
    shown = embedded(order, request)
    assert 'data-payment-state="paid"' in shown
    assert "<form" not in shown
