"""The bundled order: written by staff until money is involved."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from shop_payments.admin.orders import why_closed
from shop_payments.lifecycle import PaymentStatus
from shop_payments.models import Order, OrderLine, OrderPayment, PaymentHistory, ReviewItem
from shop_payments.sandbox import Fault
from tests.admin.support import (
    add,
    change,
    changelist,
    delete,
    form_of,
    listed,
    make_records,
    save,
    text_of,
)
from tests.factories import OrderFactory
from tests.support import answer, call_stripe, pay

pytestmark = pytest.mark.django_db


def errors_of(response):
    assert response.status_code == 200
    [formset] = response.context["inline_admin_formsets"]
    return response.context["adminform"].form.errors, formset.formset.errors


# --- the list -----------------------------------------------------------------------------------


def test_the_list_shows_totals_and_payments(paid, staff):
    OrderFactory.create(currency="kwd", lines=[{"unit_amount": 5120, "quantity": 2}])

    text = text_of(staff.get(changelist(Order)))

    assert "112.00 USD" in text
    assert "10.240 KWD" in text
    assert '<td class="field-payment_status">paid</td>' in text
    assert '<td class="field-payment_status">unpaid</td>' in text


def test_orders_are_found_by_number_email_and_customer(order, staff):
    OrderFactory.create()

    for text in (order.number.lower(), order.email, order.customer.username):
        assert listed(staff.get(changelist(Order), {"q": text})) == {order}


def test_orders_are_filtered_by_their_payment(paid, staff):
    new, reviewed = OrderFactory.create(), make_records().order_payment
    ReviewItem.objects.update(closed_at=None, closing_note="")
    reviewed.needs_review = True
    reviewed.save()

    for choice, orders in (
        ("paid", {paid.order}),
        ("unpaid", {new, reviewed.order}),
        ("review", {reviewed.order}),
        ("refunded", set()),
    ):
        assert listed(staff.get(changelist(Order), {"payment": choice})) == orders


# --- writing ------------------------------------------------------------------------------------


def test_staff_add_an_order(staff, superuser):
    response = save(
        staff,
        add(Order),
        customer=superuser.pk,
        email="buyer@example.com",
        lines_0_name="Tea",
        lines_0_unit_price="5.50",
        lines_0_quantity="3",
    )

    assert response.status_code == 302
    order = Order.objects.get()
    assert re.fullmatch(r"ORD-\d{8}-[2-9A-Z]{4}", order.number)
    assert (order.customer, order.currency, order.amount) == (superuser, "usd", 1650)
    assert LogEntry.objects.get().object_repr == order.number


@pytest.mark.parametrize(
    ("currency", "price", "amount"),
    [
        ("usd", "56.00", 5600),
        ("usd", "56", 5600),
        ("usd", "0", 0),
        ("USD", "0.01", 1),
        ("jpy", "500", 500),
        ("jpy", "500.00", 500),
        ("kwd", "5.120", 5120),
        ("kwd", "5.12", 5120),
        ("isk", "500", 50000),
    ],
)
def test_a_price_is_stored_in_the_minor_units_of_the_typed_currency(currency, price, amount, staff):
    save(staff, add(Order), currency=currency, lines_0_name="Tea", lines_0_unit_price=price)

    line = OrderLine.objects.get()
    assert line.unit_amount == amount
    assert line.order.currency == currency.lower()


@pytest.mark.parametrize(
    ("currency", "price"),
    [
        ("usd", "56.005"),
        ("jpy", "500.5"),
        ("kwd", "5.123"),
        ("isk", "500.50"),
        ("usd", "-1"),
        ("usd", "NaN"),
        ("usd", "1e99"),
        ("usd", "9999999999999999"),
        ("usd", "5,50"),
        ("usd", ""),
    ],
)
def test_a_price_that_cannot_be_is_an_error_at_its_field(currency, price, staff):
    values = {"currency": currency, "lines_0_name": "Tea", "lines_0_unit_price": price}

    response = save(staff, add(Order), **values)

    of_order, [of_line] = errors_of(response)
    assert not of_order
    assert list(of_line) == ["unit_price"]
    assert not Order.objects.exists()


@pytest.mark.parametrize("currency", ["us", "u$d", "ÄÖÜ", ""])
def test_a_currency_that_cannot_be_is_an_error_at_its_field(currency, staff):
    response = save(
        staff, add(Order), currency=currency, lines_0_name="Tea", lines_0_unit_price="5.50"
    )

    of_order, of_lines = errors_of(response)
    assert list(of_order) == ["currency"]
    assert of_lines == [{}]
    assert not Order.objects.exists()


@pytest.mark.parametrize(
    ("currency", "amount", "price"),
    [("usd", 5600, "56.00"), ("jpy", 500, "500"), ("kwd", 5120, "5.120"), ("isk", 50000, "500")],
)
def test_a_stored_price_is_shown_as_a_decimal(currency, amount, price, staff):
    order = OrderFactory.create(currency=currency, lines=[{"unit_amount": amount}])

    response = staff.get(change(order))

    assert form_of(response)["lines-0-unit_price"] == price
    assert str(amount) == price or str(amount) not in text_of(response)


def test_staff_edit_lines_while_nothing_has_been_paid(open_payment, staff):
    order = open_payment.order

    response = save(
        staff, change(order), lines_0_quantity="3", lines_1_name="Tea", lines_1_unit_price="1"
    )

    assert response.status_code == 302
    assert [(line.name, line.amount) for line in order.lines.all()] == [
        ("Main product 2", 16800),
        ("Tea", 100),
    ]


def test_staff_delete_a_line(order, staff):
    save(staff, change(order), **{"lines-0-DELETE": "on"})

    assert not order.lines.exists()


def test_saving_what_stands_there_changes_nothing(order, staff):
    save(staff, change(order))

    assert order.lines.get().unit_amount == 5600
    assert "No fields changed" in LogEntry.objects.get().get_change_message()


@pytest.mark.parametrize(
    ("currency", "amount"), [("eur", 5600), ("jpy", 56), ("kwd", 56000), ("isk", 5600)]
)
def test_a_price_stays_what_the_page_shows_when_the_currency_changes(
    currency, amount, order, staff
):
    save(staff, change(order), currency=currency)

    order.refresh_from_db()
    assert (order.currency, order.lines.get().unit_amount) == (currency, amount)


def test_a_price_that_the_new_currency_cannot_have_stops_the_change(order, staff):
    order.lines.update(unit_amount=5650)

    response = save(staff, change(order), currency="jpy")

    _of_order, [of_line, _of_new_line] = errors_of(response)
    assert list(of_line) == ["unit_price"]
    order.refresh_from_db()
    assert (order.currency, order.lines.get().unit_amount) == ("usd", 5650)


def test_an_order_in_no_currency_can_be_repaired(staff):
    order = OrderFactory.create(currency="us")

    save(staff, change(order), currency="usd", lines_0_unit_price="7.00")

    order.refresh_from_db()
    assert (order.currency, order.lines.get().unit_amount) == ("usd", 700)


def test_a_page_of_an_order_asks_as_often_for_fifty_lines_as_for_two(staff):
    short = OrderFactory.create(lines=[{}] * 2)
    long = OrderFactory.create(lines=[{}] * 50)
    staff.get(change(short))
    with CaptureQueriesContext(connection) as few:
        staff.get(change(short))

    with CaptureQueriesContext(connection) as many:
        staff.get(change(long))

    assert len(many) == len(few)


# --- what stops it ------------------------------------------------------------------------------


def test_a_paid_order_is_shown_and_says_why_it_is_closed(paid, staff):
    text = text_of(staff.get(change(paid.order)))

    assert "This order has been paid, so it can no longer be changed." in text
    assert 'name="_save"' not in text
    assert 'name="lines-0-name"' not in text
    assert "56.00" in text


def test_an_order_paid_while_its_page_was_open_is_not_changed(
    open_payment, stripe, webhooks, staff
):
    order = open_payment.order
    form = form_of(staff.get(change(order)))
    pay(stripe, open_payment.payment_intents.get().stripe_id)
    webhooks()

    response = staff.post(
        change(order), {**form, "email": "x@example.com", "lines-0-quantity": "9"}, follow=True
    )

    assert "Nothing was saved." in text_of(response)
    order.refresh_from_db()
    assert order.email != "x@example.com"
    assert order.lines.get().quantity == 2


def test_an_order_in_review_is_closed(in_review, staff):
    text = text_of(staff.get(change(in_review.order)))

    assert "needs review" in text
    assert 'name="_save"' not in text


@pytest.mark.parametrize("status", PaymentStatus)
@pytest.mark.parametrize("needs_review", [False, True])
def test_only_an_unpaid_order_without_review_is_open(status, needs_review):
    payment = OrderPayment(status=status, needs_review=needs_review)

    is_open = not why_closed(payment)

    assert is_open is (status == "unpaid" and not needs_review)


def test_staff_learn_that_the_customer_is_paying(open_payment, staff):
    text = text_of(staff.get(change(open_payment.order)))

    assert "The customer has been asked for 112.00 USD." in text


def test_whoever_may_only_look_changes_nothing(order, staff_with):
    clerk = staff_with("view_order")

    text = text_of(clerk.get(change(order)))
    answers = [clerk.post(page, {"email": "x"}) for page in (add(Order), change(order))]

    assert "56.00" in text
    assert 'name="lines-0-name"' not in text
    assert [answer.status_code for answer in answers] == [403, 403]


def test_whoever_may_change_orders_may_change_their_lines(order, staff_with):
    clerk = staff_with("change_order")

    save(clerk, change(order), lines_0_unit_price="7.00")

    assert order.lines.get().unit_amount == 700


def test_an_order_that_is_not_there_leads_back(staff):
    for pk in ("999", "x"):
        page = changelist(Order) + f"{pk}/change/"
        assert staff.get(page).status_code == 302
        assert staff.post(page).status_code == 302


# --- cancelling ---------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_cancelling_an_order_closes_its_payment_at_stripe(open_payment, staff, superuser, stripe):
    save(staff, change(open_payment.order), status="cancelled")

    intent = open_payment.payment_intents.get()
    assert call_stripe(stripe, "GET", f"payment_intents/{intent.stripe_id}")["status"] == "canceled"
    assert intent.status == "canceled"
    fact = PaymentHistory.objects.get(kind="cancel_requested")
    assert (fact.source, fact.actor) == ("admin", f"staff {superuser.pk}")


@pytest.mark.django_db(transaction=True)
def test_an_order_is_cancelled_while_stripe_is_away_and_the_wish_is_kept(
    open_payment, staff, stripe
):
    stripe.inject(Fault("drop_before", path="/v1/payment_intents/*/cancel"))

    save(staff, change(open_payment.order), status="cancelled")

    open_payment.refresh_from_db()
    assert open_payment.order.status == "cancelled"
    assert open_payment.cancel_requested_at is not None
    assert "Cancellation requested at" in text_of(staff.get(change(open_payment)))


@pytest.mark.django_db(transaction=True)
def test_an_order_that_is_taken_up_again_can_be_paid(
    open_payment, storefront, staff, stripe, webhooks
):
    order = open_payment.order
    save(staff, change(order), status="cancelled")
    assert answer(storefront.payment_intent(order)) == (409, "order_not_payable")

    save(staff, change(order), status="open")

    data = storefront.payment_intent(order).json()["data"]
    pay(stripe, data["id"])
    webhooks()
    open_payment.refresh_from_db()
    assert open_payment.is_paid


@pytest.mark.django_db(transaction=True)
def test_another_change_cancels_nothing(open_payment, staff, stripe):
    save(staff, change(open_payment.order), email="other@example.com")

    assert open_payment.payment_intents.get().is_open
    assert not PaymentHistory.objects.filter(kind="cancel_requested").exists()


def test_reserved_money_is_let_go_before_its_order_is_changed(authorized, staff):
    text = text_of(staff.get(change(authorized.order)))

    assert "The money for this order is reserved" in text
    assert ">Cancel payment</a>" in text


# --- deleting -----------------------------------------------------------------------------------


def test_an_order_without_a_payment_can_be_deleted(order, staff):
    assert staff.post(delete(order), {"post": "yes"}).status_code == 302

    assert not Order.objects.exists()


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_order_with_a_payment_is_protected(method, open_payment, staff):
    response = getattr(staff, method)(delete(open_payment.order), {"post": "yes"})

    text = text_of(response)
    assert "would require deleting the following protected related objects" in text
    assert f'<a href="{change(open_payment)}">{open_payment}</a>' in text
    assert 'type="submit"' not in text.partition('<div id="content"')[2]
    assert Order.objects.exists()


def test_a_customer_with_a_paid_order_can_be_deleted_and_the_order_stays(
    paid, staff, payment_system
):
    order = paid.order
    user_page = reverse("admin:auth_user_delete", args=[order.customer.pk])

    assert staff.post(user_page, {"post": "yes"}).status_code == 302

    order.refresh_from_db()
    assert order.customer is None
    assert payment_system.payment(order).status_code == 200
    assert "112.00 USD received" in text_of(staff.get(change(paid)))


def test_orders_with_a_payment_are_protected_in_bulk(open_payment, staff):
    other = OrderFactory.create()
    selected = {
        "action": "delete_selected",
        "_selected_action": [open_payment.order_id, other.pk],
        "post": "yes",
    }

    response = staff.post(changelist(Order), selected)

    assert "protected related objects" in text_of(response)
    assert Order.objects.count() == 2
