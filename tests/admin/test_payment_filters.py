"""The list of payments: how staff filter it and search it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from shop_payments.models import Order, OrderPayment, PaymentIntent
from tests.admin.support import changelist, messages_of
from tests.factories import OrderFactory, OrderLineFactory, UserFactory
from tests.models.support import make_intent

pytestmark = [pytest.mark.django_db, pytest.mark.by_hand]


def make_payment(total=11200, currency="usd", order=None, **values):
    order = order or OrderFactory.create(currency=currency)
    payment = OrderPayment.objects.create(order=order, total=total, currency=currency)
    if values:
        make_intent(payment, **{"amount": total, "currency": currency, **values})
    return payment


@pytest.fixture
def found(staff):
    """The payments on the list with these filters."""

    def look(**query):
        return staff.rows(OrderPayment, **query)

    return look


def test_by_mode_method_and_money_to_capture(found):
    visa = make_payment(status="succeeded", livemode=True, method_type="card", card_brand="visa")
    debit = make_payment(status="requires_capture", livemode=False, method_type="sepa_debit")
    none = make_payment()
    assert found(mode="live") == {visa}
    assert found(mode="test") == {debit}
    assert found(method="visa") == {visa}
    assert found(method="sepa_debit") == {debit}
    assert found(method="unionpay") == set()
    assert found(capture="open") == {debit}
    # What nobody offers is no filter, except a method that Stripe may have added.
    assert found(mode="x", capture="x") == {visa, debit, none}


def test_by_currency_only_if_there_are_several(found, staff):
    dollars = make_payment()
    assert "By currency" not in staff.read(OrderPayment)
    yen = make_payment(12, "jpy")
    assert "By currency" in staff.read(OrderPayment)
    assert found(currency="jpy") == {yen}
    assert found(currency="usd") == {dollars}


def test_by_what_the_order_costs(found):
    cheap, dear = make_payment(999), make_payment(250_000)
    yen, dinars = make_payment(1000, "jpy"), make_payment(12_500, "kwd")
    assert found(total_from="10.00") == {dear}, "yen and dinars have no such amounts"
    assert found(total_until="9.99") == {cheap}
    assert found(total_from="12.500") == {dinars}
    assert found(total_from="1000") == {dear, yen}
    assert found(total_from="1000", currency="jpy") == {yen}
    assert found(total_from="10.00", total_until="3000.00") == {dear}
    assert found(total_from="3000.00", total_until="10.00") == set()


@pytest.mark.parametrize("text", ["ten", "1.000,50", "-5", "10.001", "9" * 40, "١٢"])
def test_an_amount_that_cannot_be_read_is_an_error(staff, text):
    make_payment()
    response = staff.get(changelist(OrderPayment), {"total_from": text})
    assert messages_of(response) == ["order total: Enter the amount like 1250.00."]
    assert [*response.context["cl"].result_list] == []
    assert f'value="{text}"' in response.text, "what was typed is still there"


def test_an_amount_is_typed_as_the_language_writes_it(found, settings):
    settings.LANGUAGE_CODE = "de"
    payment = make_payment(1250, "eur")
    assert found(total_from="12,50") == {payment}
    assert found(total_from="12.50") == set()


@pytest.fixture
def payments_of_three_days(settings):
    settings.TIME_ZONE = "Pacific/Auckland"
    rows = {}
    # Midnight in Auckland is at 11:00 UTC in the southern summer.
    for day, moment in {
        "28": datetime(2026, 11, 28, 10, 59, tzinfo=UTC),
        "29": datetime(2026, 11, 28, 11, 0, tzinfo=UTC),
        "30": datetime(2026, 11, 30, 10, 59, tzinfo=UTC),
    }.items():
        rows[day] = make_payment()
        OrderPayment.objects.filter(pk=rows[day].pk).update(created_at=moment)
    return rows


def test_by_days_of_the_shops_time_zone(found, payments_of_three_days):
    rows = payments_of_three_days
    assert found(created_from="2026-11-29") == {rows["29"], rows["30"]}
    assert found(created_until="2026-11-29") == {rows["28"], rows["29"]}
    assert found(created_from="2026-11-30", created_until="2026-11-30") == {rows["30"]}


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", "0001-01-01", "9999-12-31", "\x00"])
def test_a_day_that_cannot_be_read_is_an_error(staff, text):
    make_payment()
    response = staff.get(changelist(OrderPayment), {"created_until": text})
    (message,) = messages_of(response)
    assert message.startswith("created: Enter ")
    assert [*response.context["cl"].result_list] == []


def test_payments_of_a_day_are_sorted_as_all_are(staff, payments_of_three_days):
    def shown(**query):
        return [*staff.get(changelist(OrderPayment), query).context["cl"].result_list]

    day = {"created_from": "2020-01-01"}
    newest_first = shown()
    assert shown(**day) == newest_first
    assert shown(**day, o="1") == shown(o="1") == newest_first[::-1]


def test_ranges_of_days_are_offered_as_links(staff, settings):
    settings.TIME_ZONE = "UTC"
    now = timezone.now().date()
    text = staff.read(OrderPayment, status="unpaid")
    assert f"?created_from={now}&amp;created_until={now}&amp;status=unpaid" in text
    week = f"created_from={now - timedelta(days=6)}&amp;created_until={now}"
    assert f"?{week}&amp;status=unpaid" in text
    # The form of another range keeps the other filters.
    assert '<input type="hidden" name="status" value="unpaid">' in text


def test_filters_are_those_of_the_csv_file(staff):
    make_payment(999)
    dear = make_payment(250_000)
    url = f"{changelist(OrderPayment)}export.csv"
    lines = staff.get(url, {"total_from": "10.00"}).getvalue().decode().splitlines()
    assert len(lines) == 2
    assert dear.order.number in lines[1]


# --- searching ----------------------------------------------------------------------------------


@pytest.fixture
def anna():
    user = UserFactory.create(
        username="aschmidt", first_name="Anna", last_name="Schmidt", email="Office@Schmidt.example"
    )
    order = OrderFactory.create(customer=user, email="anna@home.example")
    OrderFactory.create()
    return make_payment(
        order=order, status="succeeded", method_type="card", card_brand="visa", last4="4242"
    )


@pytest.mark.parametrize(
    "text",
    [
        *("anna", "ANNA", "schm", "Anna Schmidt", "schmidt anna", "An Sch"),
        *("anna@home.example", "Anna@", "office@schmidt", "aschm"),
        *("4242", "visa 4242", "Visa •4242", "VISA •••• 4242", "•4242"),
    ],
)
def test_a_payment_is_found_by_its_customer_and_card(found, staff, anna, text):
    other = make_payment(status="succeeded", card_brand="amex", last4="8431")
    assert found(q=text) == {anna}
    assert staff.rows(Order, q=text) == {anna.order}
    assert staff.rows(PaymentIntent, q=text) == {*anna.payment_intents.all()}
    assert found(q="american express 8431") == {other}


@pytest.mark.parametrize(
    "text", ["nna", "schmidt x", "mastercard 4242", "42", "424", "%", "_nna", "anna\\", "'"]
)
def test_other_words_find_nothing(found, anna, text):
    assert found(q=text) == set()


def test_guests_and_customers_of_one_name_are_found_together(found, anna):
    guest = make_payment(order=OrderFactory.create(customer=None, email="anna.b@example.com"))
    assert found(q="anna") == {anna, guest}


def test_four_digits_may_be_an_order_or_a_card(found, anna):
    order = OrderFactory.create(pk=4242)
    payment = make_payment(order=order)
    assert found(q="4242") == {anna, payment}


def test_an_adapter_that_cannot_search_finds_by_exact_ids_only(found, anna, configure, caplog):
    configure(ORDER_ADAPTER="tests.api.adapters.RaisesForSearch")
    assert found(q="anna") == set()
    assert "OrderAdapter.search raised" in caplog.text
    assert found(q="visa 4242") == found(q=anna.order.number) == {anna}


def test_a_user_model_without_names_is_searched_by_what_it_has(found, anna):
    """The user name and the e-mail address, whatever the model calls them."""
    User.objects.update(first_name="", last_name="")
    assert found(q="aschmidt") == {anna}
    assert found(q="Anna Schmidt") == set()


def test_a_search_takes_as_many_queries_for_many_rows(staff, anna, django_assert_max_num_queries):
    for number in range(30):
        order = OrderFactory.create(customer=anna.order.customer, number=f"N-{number}")
        OrderLineFactory.create(order=order)
        make_payment(order=order, status="succeeded")
    with django_assert_max_num_queries(26):
        assert len(staff.rows(OrderPayment, q="anna")) == 31


def test_a_search_finds_the_newest_of_many_orders(found, monkeypatch):
    monkeypatch.setattr("shop_payments.orders.MOST_FOUND", 2)
    payments = [make_payment(order=OrderFactory.create(number=f"N-{9 - n}")) for n in range(4)]
    assert found(q="n-") == {*payments[-2:]}
