"""The bundled order: edited by staff, also after it was paid."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from shop_payments.models import Order, OrderLine, OrderPayment, PaymentHistory, ReviewItem
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault
from tests.admin.support import (
    add,
    change,
    changelist,
    delete,
    form_of,
    listed,
    make_records,
    messages_of,
    save,
    text_of,
)
from tests.factories import OrderFactory
from tests.support import answer, call_stripe, debit, pay

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


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize(
    "typed", ["1.000", "1,000", "2.0", "1_000", "+3", "-3", "\u0663", "1e1", "9" * 30]
)
def test_a_quantity_is_typed_in_digits_alone(typed, language, order, staff, settings):
    """1.000, meant as a thousand, was stored as 1."""
    settings.LANGUAGE_CODE = language

    response = save(staff, change(order), lines_0_quantity=typed)

    assert response.status_code == 200
    assert "1250" in str(errors_of(response))
    assert order.lines.get().quantity == 2


def test_a_quantity_above_a_thousand_is_shown_as_it_is_typed(order, staff, settings):
    settings.USE_THOUSAND_SEPARATOR = True

    assert save(staff, change(order), lines_0_quantity=" 1250 ").status_code == 302

    assert order.lines.get().quantity == 1250
    page = staff.get(change(order)).content.decode()
    assert re.search('name="lines-0-quantity" value="1250"', page)


@pytest.mark.parametrize("typed", ["0", ""])
def test_a_quantity_out_of_range_is_refused(typed, order, staff):
    assert save(staff, change(order), lines_0_quantity=typed).status_code == 200
    assert order.lines.get().quantity == 2


@pytest.mark.parametrize(
    ("currency", "price", "amount"),
    [
        ("usd", "56.00", 5600),
        ("usd", "56", 5600),
        ("usd", "0", 0),
        ("USD", "0.01", 1),
        ("jpy", "500", 500),
        ("kwd", "5.120", 5120),
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
        ("jpy", "500.00"),
        ("kwd", "5.123"),
        ("kwd", "5.12"),
        ("isk", "500.50"),
        ("usd", "-1"),
        ("usd", "NaN"),
        ("usd", "1e99"),
        ("usd", "9999999999999999"),
        ("usd", "99999999999999.00"),
        ("usd", "5,50"),
        ("usd", "5.5"),
        ("usd", "1.250"),
        ("usd", "1_250"),
        ("usd", "1e3"),
        ("usd", "+1"),
        ("usd", "\u0661\u0662"),
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
    ("currency", "price", "amount"),
    [("eur", "56.00", 5600), ("jpy", "56", 56), ("kwd", "56.000", 56000), ("isk", "56", 5600)],
)
def test_a_price_stays_what_the_page_shows_when_the_currency_changes(
    currency, price, amount, order, staff
):
    save(staff, change(order), currency=currency, lines_0_unit_price=price)

    order.refresh_from_db()
    assert (order.currency, order.lines.get().unit_amount) == (currency, amount)


@pytest.mark.parametrize(
    ("currency", "example"), [("jpy", "1250"), ("kwd", "1250.000"), ("isk", "1250")]
)
def test_a_price_in_the_form_of_another_currency_stops_the_change(currency, example, order, staff):
    response = save(staff, change(order), currency=currency)

    _of_order, [of_line, _of_new_line] = errors_of(response)
    assert of_line == {"unit_price": [f"Write the amount like {example}."]}
    order.refresh_from_db()
    assert (order.currency, order.lines.get().unit_amount) == ("usd", 5600)


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("price", ["1.250", "1,250", "1.250,00", "1,250.00"])
def test_a_price_with_a_separator_of_thousands_is_refused(price, language, staff, settings):
    settings.LANGUAGE_CODE = language
    values = {"currency": "eur", "lines_0_name": "Tea", "lines_0_unit_price": price}

    response = save(staff, add(Order), **values)

    example = {"en": "1250.00", "de": "1250,00"}[language]
    assert errors_of(response)[1] == [{"unit_price": [f"Write the amount like {example}."]}]
    assert not Order.objects.exists()


def test_a_price_is_typed_and_shown_as_the_readers_language_writes_it(staff, settings):
    settings.LANGUAGE_CODE = "de"
    values = {"currency": "eur", "lines_0_name": "Tee", "lines_0_unit_price": "1250,50"}
    save(staff, add(Order), **values)
    order = Order.objects.get()
    assert order.lines.get().unit_amount == 125050

    assert form_of(staff.get(change(order)))["lines-0-unit_price"] == "1250,50"

    save(staff, change(order))
    assert order.lines.get().unit_amount == 125050


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


# --- after money has come -----------------------------------------------------------------------


def notes_of(client, order) -> list[str]:
    """What the order's page says about a change."""
    notes: list[str] = client.get(change(order)).context.get("notes", [])
    return notes


@pytest.mark.django_db(transaction=True)
def test_it_owes_the_difference_after_it_became_dearer(paid, staff, superuser, storefront):
    response = save(staff, change(paid.order), lines_0_unit_price="60.00")

    payment = OrderPayment.objects.get()
    assert response.status_code == 302
    assert (payment.status, payment.amount_outstanding) == ("partially_paid", 800)
    assert "8.00 USD is outstanding." in messages_of(staff.get(change(paid.order)))
    assert storefront.payment_intent(paid.order).json()["data"]["amount"] == "8.00"


@pytest.mark.django_db(transaction=True)
def test_it_has_an_excess_after_it_became_cheaper(paid, staff, superuser):
    save(staff, change(paid.order), lines_0_unit_price="51.00")

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_excess) == ("paid", 1000)
    assert "10.00 USD was received too much." in messages_of(staff.get(change(paid.order)))
    item = ReviewItem.objects.get()
    assert (item.reason, item.data["amount"]) == ("excess", 1000)
    fact = PaymentHistory.objects.get(kind="review_needed")
    assert (fact.source, fact.actor) == ("admin", f"staff {superuser.pk}")


@pytest.mark.django_db(transaction=True)
def test_an_order_in_review_is_edited_and_its_item_closes(in_review, staff):
    save(staff, change(in_review.order), lines_0_unit_price="56.00")

    item = ReviewItem.objects.get()
    assert item.closed_itself
    assert not OrderPayment.objects.get().needs_review


@pytest.mark.django_db(transaction=True)
def test_it_counts_late_money_after_it_was_opened_again(late, staff, paid_signals):
    assert any(
        "It counts if you open the order again." in each for each in notes_of(staff, late.order)
    )

    save(staff, change(late.order), status="open")

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.needs_review) == ("paid", False)
    assert len(paid_signals) == 1


@pytest.mark.django_db(transaction=True)
def test_it_lowers_the_open_payment_of_an_order_that_became_cheaper(open_payment, staff, stripe):
    save(staff, change(open_payment.order), lines_0_unit_price="50.00")

    intent = open_payment.payment_intents.get()
    at_stripe = call_stripe(stripe, "GET", f"payment_intents/{intent.stripe_id}")
    assert (intent.amount, at_stripe["amount"]) == (10000, 10000)


@pytest.mark.django_db(transaction=True)
def test_it_is_saved_while_stripe_is_away(open_payment, staff, stripe):
    stripe.inject(Fault("drop_before", path="/v1/payment_intents/*", method="POST"))

    response = save(staff, change(open_payment.order), lines_0_unit_price="50.00")

    assert response.status_code == 302
    payment = OrderPayment.objects.get()
    assert (payment.total, payment.amount_outstanding) == (10000, 10000)


@pytest.mark.django_db(transaction=True)
def test_stripe_is_called_after_the_hosts_transaction(open_payment, staff, stripe, monkeypatch):
    """The gateway itself refuses to call Stripe where one is open."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)

    save(staff, change(open_payment.order), lines_0_unit_price="50.00")

    assert open_payment.payment_intents.get().amount == 10000


@pytest.mark.django_db(transaction=True)
def test_what_is_not_saved_is_not_evaluated(paid, staff):
    response = save(staff, change(paid.order), lines_0_unit_price="60.00", lines_0_quantity="0")

    assert response.status_code == 200
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.total) == ("paid", 11200)


@pytest.mark.django_db(transaction=True)
def test_it_is_saved_where_its_payment_cannot_be_evaluated(paid, staff, configure, stripe):
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": f"{__name__}.BrokenAdapter"})

    save(staff, change(paid.order), lines_0_unit_price="60.00")

    [message] = [text for text in messages_of(staff.get(change(paid.order))) if "evaluated" in text]
    assert message.startswith("The order is saved, but its payment could not be evaluated:")
    paid.refresh_from_db()
    assert (paid.order.amount, paid.status, paid.failed_reads) == (12000, "paid", 1)
    paid.failed_reads = 0
    paid.save()


class BrokenAdapter(BundledOrderAdapter):
    def total(self, order):
        raise RuntimeError("a bug of the shop")


@pytest.mark.parametrize("state", ["paid", "in_review"])
def test_the_currency_of_money_that_counts_stays(state, request, staff):
    order = request.getfixturevalue(state).order

    response = save(staff, change(order), currency="eur")

    of_order, _of_lines = errors_of(response)
    assert of_order == {
        "currency": [
            "The order was paid in USD, and that money counts, so its currency cannot be changed."
        ]
    }
    order.refresh_from_db()
    assert order.currency == "usd"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("state", ["open_payment", "late"])
def test_the_currency_changes_while_no_money_counts(state, request, staff):
    order = request.getfixturevalue(state).order

    assert save(staff, change(order), currency="eur").status_code == 302

    order.refresh_from_db()
    assert order.currency == "eur"


@pytest.mark.django_db(transaction=True)
def test_a_currency_that_was_changed_behind_the_page_is_set_back(paid, staff):
    Order.objects.update(currency="eur")

    save(staff, change(paid.order), currency="usd")

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.failed_reads) == ("paid", 0)


def test_staff_learn_what_a_change_of_a_paid_order_means(paid, staff):
    [note] = notes_of(staff, paid.order)

    assert note.startswith("112.00 USD was received for this order. The order is paid.")
    for words in ("what is missing is outstanding", "with a button that refunds it"):
        assert words in note


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("partly_paid", "8.00 USD is outstanding."),
        ("in_review", "10.00 USD was received too much."),
    ],
)
def test_staff_learn_how_the_payment_stands(state, words, request, staff):
    payment = request.getfixturevalue(state)

    assert words in notes_of(staff, payment.order)[0]


def test_staff_learn_that_the_customer_has_been_asked(open_payment, staff):
    [note] = notes_of(staff, open_payment.order)

    assert note.startswith("The customer has been asked for 112.00 USD.")


def test_staff_who_may_only_look_read_no_advice(paid, staff_with):
    assert notes_of(staff_with("view_order"), paid.order) == []


# --- what closes it -----------------------------------------------------------------------------


def test_an_order_whose_money_is_reserved_is_closed(authorized, staff):
    text = text_of(staff.get(change(authorized.order)))

    assert "Capture or cancel the payment before you change the order." in text
    assert ">Cancel payment</a>" in text
    assert 'name="_save"' not in text


def test_an_order_whose_payment_is_processing_is_closed(
    storefront, order, configure, stripe, webhooks, staff
):
    methods = ["card", "us_bank_account"]
    configure(**{**stripe.shop_payments(), "ALLOWED_PAYMENT_METHOD_TYPES": methods})
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    debited = debit(stripe, intent_id, "pm_usBankAccount_success")
    assert debited["status"] == "processing"
    webhooks()

    text = text_of(staff.get(change(order)))

    assert "being processed by the customer&#x27;s bank" in text
    assert 'name="_save"' not in text
    assert 'name="lines-0-name"' not in text


def test_an_order_whose_money_was_reserved_while_its_page_was_open_is_not_changed(
    storefront, order, configure, stripe, webhooks, staff
):
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    intent_id = storefront.payment_intent(order).json()["data"]["id"]
    form = form_of(staff.get(change(order)))
    pay(stripe, intent_id)
    webhooks()

    response = staff.post(
        change(order), {**form, "email": "x@example.com", "lines-0-quantity": "9"}, follow=True
    )

    assert "Nothing was saved." in text_of(response)
    order.refresh_from_db()
    assert order.email != "x@example.com"
    assert order.lines.get().quantity == 2


def test_an_order_paid_while_its_page_was_open_is_changed_and_evaluated(
    open_payment, stripe, webhooks, staff
):
    order = open_payment.order
    form = form_of(staff.get(change(order)))
    pay(stripe, open_payment.payment_intents.get().stripe_id)
    webhooks()

    staff.post(change(order), {**form, "lines-0-quantity": "3"})

    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_outstanding) == ("partially_paid", 5600)


@pytest.mark.parametrize(
    "state", ["paid", "late", "in_review", "partly_paid", "disputed", "waived"]
)
def test_an_order_is_open_where_no_money_is_on_its_way_in(state, request, staff):
    order = request.getfixturevalue(state).order

    text = text_of(staff.get(change(order)))

    assert 'name="_save"' in text
    assert 'name="lines-0-name"' in text


def test_staff_who_may_only_look_change_nothing(order, staff_with):
    clerk = staff_with("view_order")

    text = text_of(clerk.get(change(order)))
    answers = [clerk.post(page, {"email": "x"}) for page in (add(Order), change(order))]

    assert "56.00" in text
    assert 'name="lines-0-name"' not in text
    assert [answer.status_code for answer in answers] == [403, 403]


def test_staff_who_may_change_orders_may_change_their_lines(order, staff_with):
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
