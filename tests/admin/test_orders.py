"""The pages of the bundled order, which staff may edit after it was paid."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connections

from shop_payments.models import Order, OrderPayment, PaymentHistory, ReviewItem
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault
from tests.admin.conftest import pay_now
from tests.admin.support import add, change, delete, form_of, make_records, messages_of
from tests.factories import OrderFactory
from tests.support import answer, call_stripe

pytestmark = pytest.mark.django_db
commits = pytest.mark.django_db(transaction=True)
"""For tests of what follows the commit: notifications and calls to Stripe."""


def errors_of(response):
    assert response.status_code == 200
    [formset] = response.context["inline_admin_formsets"]
    return response.context["adminform"].form.errors, formset.formset.errors


def add_order(client, currency, price):
    values = {"currency": currency, "lines_0_name": "Tea", "lines_0_unit_price": price}
    return client.save(Order, **values)


def state() -> tuple[str, int, int]:
    """The status, outstanding amount and excess of the only payment."""
    payment = OrderPayment.objects.get()
    return payment.status, payment.amount_outstanding, payment.amount_excess


def test_the_list_shows_finds_and_filters_orders(paid, staff):
    new = OrderFactory.create(currency="kwd", lines=[{"unit_amount": 5120, "quantity": 2}])
    reviewed = make_records().order_payment
    ReviewItem.objects.update(closed_at=None, closing_data=None)
    OrderPayment.objects.filter(pk=reviewed.pk).update(needs_review=True)
    order = paid.order
    text = staff.read(Order)
    for words in ("112.00 USD", "10.240 KWD", ">paid</span>", ">unpaid</span>"):
        assert words in text
    for words in (order.number.lower(), order.email, order.customer.username):
        assert staff.rows(Order, q=words) == {order}
    assert staff.rows(Order, payment="paid") == {order}
    assert staff.rows(Order, payment="unpaid") == {new, reviewed.order}
    assert staff.rows(Order, payment="review") == {reviewed.order}


def test_a_guest_is_shown_by_the_email_address_and_a_user_by_name(staff, superuser):
    """Found: guests were a dash."""
    OrderFactory.create(customer=None, email="guest@mail.example")
    OrderFactory.create(customer=superuser, email="root@mail.example")
    text = staff.read(Order)
    assert '<td class="field-buyer">guest@mail.example</td>' in text
    assert '<td class="field-buyer">root</td>' in text


def test_staff_add_an_order_and_change_its_lines(staff, superuser):
    customer = {"customer": superuser.pk, "email": "buyer@example.com"}
    line = {"lines_0_name": "Tea", "lines_0_unit_price": "5.50", "lines_0_quantity": "3"}
    staff.save(Order, **customer, **line)
    order = Order.objects.get()
    assert (order.customer, order.currency, order.amount) == (superuser, "usd", 1650)
    staff.save(order, lines_0_quantity="4", lines_1_name="Cup", lines_1_unit_price="1")
    assert [(line.name, line.amount) for line in order.lines.all()] == [("Tea", 2200), ("Cup", 100)]
    staff.save(order)
    assert "No fields changed" in LogEntry.objects.latest("pk").get_change_message()


def test_a_quantity_is_typed_with_digits_only(order, staff, settings):
    """Found: 1.000, meant as a thousand, was stored as 1."""
    settings.USE_THOUSAND_SEPARATOR = True
    page, name = change(order), "lines-0-quantity"
    for language in ("en", "de"):
        settings.LANGUAGE_CODE = language
        form = form_of(staff.get(page))
        for typed in ("1.000", "1,000", "-3", "\u0663", "9" * 30):
            of_order, of_lines = errors_of(staff.post(page, {**form, name: typed}))
            assert (list(of_order), list(of_lines[0])) == ([], ["quantity"])
            assert "1250" in str(of_lines)
    for typed in ("0", ""):
        assert staff.post(page, {**form, name: typed}).status_code == 200
    assert order.lines.get().quantity == 2
    staff.post(page, {**form, name: " 1250 "})
    assert order.lines.get().quantity == 1250
    assert f'name="{name}" value="1250"' in staff.read(order)


def test_an_invalid_price_or_currency_is_an_error_at_its_field(staff):
    prices = [("usd", each) for each in ("56.005", "5,50", "-1", "", "99999999999999.00")]
    for currency, price in (*prices, ("jpy", "5.00")):
        of_order, [of_line] = errors_of(add_order(staff, currency, price))
        assert (list(of_order), list(of_line)) == ([], ["unit_price"])
    for currency in ("us", ""):
        of_order, of_lines = errors_of(add_order(staff, currency, "5.50"))
        assert (list(of_order), of_lines) == (["currency"], [{}])
    assert not Order.objects.exists()
    order = OrderFactory.create(currency="us")
    assert staff.save(order, currency="usd", lines_0_unit_price="7.00").status_code == 302


def test_a_price_stays_what_the_page_shows_when_the_currency_changes(order, staff):
    [of_line, _of_new_line] = errors_of(staff.save(order, currency="jpy"))[1]
    assert list(of_line) == ["unit_price"], "56.00 is no price in that currency"
    staff.save(order, currency="jpy", lines_0_unit_price="56")
    order.refresh_from_db()
    assert (order.currency, order.lines.get().unit_amount) == ("jpy", 56)


def test_a_changed_total_makes_money_outstanding_or_an_excess(paid, staff, superuser, storefront):
    page = change(paid.order)
    staff.save(paid.order, lines_0_unit_price="60.00")
    assert state() == ("partially_paid", 800, 0)
    assert "8.00 USD is outstanding." in messages_of(staff.get(page))
    assert storefront.payment_intent(paid.order).json()["data"]["amount"] == "8.00"
    staff.save(paid.order, lines_0_unit_price="51.00")
    assert state() == ("paid", 0, 1000)
    assert "The excess is 10.00 USD." in messages_of(staff.get(page))
    fact = PaymentHistory.objects.get(kind="review_needed")
    assert (fact.source, fact.actor) == ("admin", f"staff {superuser.pk}")
    staff.save(paid.order, lines_0_unit_price="60.00", lines_0_quantity="0")
    assert state() == ("paid", 0, 1000), "an order with errors is not saved"
    staff.save(paid.order, lines_0_unit_price="56.00")
    assert ReviewItem.objects.get().closed_automatically


class BrokenAdapter(BundledOrderAdapter):
    def total(self, order):
        raise RuntimeError("a bug of the shop")


@pytest.mark.by_hand
def test_an_order_is_saved_even_if_its_payment_cannot_be_evaluated(paid, staff, configure, stripe):
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": f"{__name__}.BrokenAdapter"})
    staff.save(paid.order, lines_0_unit_price="60.00")
    text = " ".join(messages_of(staff.get(change(paid.order))))
    words = "its payment could not be evaluated. The shop's code failed while reading the order ("
    assert words in text
    assert "Adapter" not in text
    paid.refresh_from_db()
    assert (paid.order.amount, paid.status, paid.failed_reads) == (12000, "paid", 1)


def test_the_currency_of_counted_money_cannot_be_changed(paid, staff):
    [error] = errors_of(staff.save(paid.order, currency="eur"))[0]["currency"]
    assert error.startswith("The order was paid in USD, and that money counts")
    Order.objects.update(currency="eur")
    staff.save(paid.order, currency="usd")  # back to what was paid
    assert state() == ("paid", 0, 0)


@commits
def test_the_currency_can_be_changed_while_no_money_counts(late, staff):
    staff.save(late.order, currency="eur")
    assert Order.objects.get().currency == "eur"


@pytest.mark.parametrize(
    ("before", "words", "is_open"),
    [
        ("paid", "112.00 USD was received for this order. The order is paid. If you raise", True),
        ("late", "It counts if you open the order again.", True),
        ("authorized", "Capture or cancel the payment before you change the order.", False),
    ],
)
def test_an_order_can_be_changed_unless_money_is_reserved_and_says_what_that_means(
    before, words, is_open, request, staff
):
    response = staff.get(change(request.getfixturevalue(before).order))
    assert words in (" ".join(response.context["notes"]) if is_open else response.text)
    for field in ('name="_save"', 'name="lines-0-name"'):
        assert (field in response.text) is is_open


def test_an_order_is_not_changed_if_its_money_was_reserved_meanwhile(
    storefront, order, configure, stripe, webhooks, staff
):
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    storefront.payment_intent(order)
    form = form_of(staff.get(change(order)))
    pay_now(OrderPayment.objects.get(), stripe, webhooks)
    response = staff.post(change(order), {**form, "lines-0-quantity": "3"}, follow=True)
    assert "Nothing was saved." in response.text
    assert order.lines.get().quantity == 2
    assert state()[0] == "authorized"


def test_the_permission_to_change_an_order_includes_its_lines(order, staff_with):
    viewer = staff_with("view_order")
    assert 'name="lines-0-name"' not in viewer.read(order)
    for page in (add(Order), change(order)):
        assert viewer.post(page, {"email": "x"}).status_code == 403
    clerk = staff_with("change_order")
    clerk.save(order, lines_0_unit_price="7.00")
    assert order.lines.get().unit_amount == 700


@commits
def test_cancelling_an_order_cancels_its_payment_at_stripe(
    open_payment, storefront, staff, superuser, stripe, monkeypatch
):
    """The gateway refuses to call Stripe in a transaction."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)
    order = open_payment.order
    staff.save(order, email="other@example.com")
    assert open_payment.payment_intents.get().is_open
    staff.save(order, status="cancelled")
    intent = open_payment.payment_intents.get()
    at_stripe = call_stripe(stripe, "GET", f"payment_intents/{intent.stripe_id}")
    assert intent.status == at_stripe["status"] == "canceled"
    fact = PaymentHistory.objects.get(kind="cancel_requested")
    assert (fact.source, fact.actor) == ("admin", f"staff {superuser.pk}")
    assert answer(storefront.payment_intent(order)) == (409, "order_not_payable")
    staff.save(order, status="open")
    assert storefront.payment_intent(order).status_code == 200


@pytest.fixture
def in_bulk(staff):
    """Delete these orders as staff do, from the list."""
    return lambda *orders: staff.choose("delete_selected", *orders, post="yes")


def test_an_order_with_money_cannot_be_deleted(paid, staff, in_bulk):
    other, order = OrderFactory.create(), paid.order
    for response in (
        staff.get(delete(order)),
        staff.post(delete(order), {"post": "yes"}),
        in_bulk(order, other),
    ):
        assert "protected related objects" in response.text
        assert f'<a href="{change(paid)}">{paid}</a>' in response.text
        assert 'type="submit"' not in response.text.partition('<div id="content"')[2]
    assert Order.objects.count() == 2
    assert "deletelink" not in staff.read(order)
    assert "deletelink" in staff.read(other)


@commits
@pytest.mark.parametrize("is_bulk", [False, True])
def test_an_order_that_was_never_paid_is_deleted(open_payment, staff, stripe, in_bulk, is_bulk):
    order, intent_id = open_payment.order, open_payment.payment_intents.get().stripe_id
    assert "Yes, I’m sure" in staff.get(delete(order)).text

    if is_bulk:
        in_bulk(order, OrderFactory.create())
    else:
        staff.post(delete(order), {"post": "yes"})

    assert not Order.objects.exists()
    assert stripe.payment_intent(intent_id)["status"] == "canceled"


@commits
def test_an_order_is_not_deleted_while_stripe_is_away(open_payment, staff, stripe, in_bulk):
    stripe.inject(Fault("drop_before", method="POST", times=None))

    answers = (
        staff.post(delete(open_payment.order), {"post": "yes"}, follow=True),
        in_bulk(open_payment.order),
    )

    assert Order.objects.exists()
    for response in answers:
        (text,) = messages_of(response)
        assert text.startswith(f"Order {open_payment.order.number} was not deleted: ")
