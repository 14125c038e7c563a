"""The door to the shop's orders: what payments read, and ids of every shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.core.signals import setting_changed
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shop_payments.exceptions import AmountNotRepresentable, ConfigurationError, InvalidCurrency
from shop_payments.models import Order
from shop_payments.money import Money
from shop_payments.orders import (
    BundledOrderAdapter,
    LineItem,
    OrderAdapter,
    get_order_adapter,
    take_snapshot,
)
from tests.factories import OrderFactory, UserFactory

pytestmark = pytest.mark.django_db


def snapshot(order: Any) -> Any:
    return take_snapshot(get_order_adapter(), order)


# --- snapshots ----------------------------------------------------------------------------------


def test_a_snapshot_is_what_the_order_wants(order):
    taken = snapshot(order)
    assert (taken.order, taken.number) == (order, order.number)
    assert taken.amount_due == Money(11200, "usd")
    assert taken.line_items == (
        LineItem(name="Main product 2", amount=5600, currency="usd", quantity=2),
    )
    assert (taken.receipt_email, taken.payable) == (order.email, True)


@pytest.mark.parametrize(
    "values",
    [
        {"lines": []},
        {"lines": [{"unit_amount": 0}]},
        {"status": "cancelled"},
        {"lines": [], "status": "cancelled"},
    ],
)
def test_an_order_is_not_payable_if_it_is_empty_free_or_cancelled(values):
    assert not snapshot(OrderFactory.create(**values)).payable


def test_a_free_line_makes_no_order_free():
    order = OrderFactory.create(lines=[{"unit_amount": 0}, {"unit_amount": 100}])
    assert snapshot(order).payable
    assert snapshot(order).amount_due.amount == 200


@pytest.mark.parametrize(("currency", "unit_amount"), [("kwd", 5121), ("isk", 550), ("ugx", 1)])
def test_a_price_that_the_currency_does_not_have_is_refused(currency, unit_amount):
    order = OrderFactory.create(currency=currency, lines=[{"unit_amount": unit_amount}])
    with pytest.raises(AmountNotRepresentable):
        snapshot(order)


def test_a_price_off_the_step_is_refused_also_where_the_total_is_on_it():
    order = OrderFactory.create(currency="isk", lines=[{"unit_amount": 50, "quantity": 2}])
    with pytest.raises(AmountNotRepresentable):
        snapshot(order)


def test_a_total_that_no_column_holds_is_refused():
    order = OrderFactory.create(lines=[{"unit_amount": 2**62, "quantity": 2}])
    with pytest.raises(AmountNotRepresentable):
        snapshot(order)


@pytest.mark.parametrize("currency", ["", "us", "u5d", "é€x"])
def test_an_order_in_no_currency_is_refused(currency):
    with pytest.raises(InvalidCurrency):
        snapshot(OrderFactory.create(currency=currency))


def test_an_order_and_its_lines_are_read_in_one_statement(order, django_assert_num_queries):
    """Two could see the old currency and the new prices of an order that is being changed."""
    adapter = get_order_adapter()
    for find in (adapter.find, lambda pk: adapter.find_for_user(pk, order.customer)):
        with django_assert_num_queries(1):
            taken = take_snapshot(adapter, find(order.pk))
        assert taken.amount_due == Money(11200, "usd")


def test_lines_come_in_the_order_in_which_they_were_added():
    order = OrderFactory.create(lines=[{"name": name} for name in "cab"])
    found = get_order_adapter().find(order.pk)
    assert [line.name for line in get_order_adapter().line_items(found)] == [*"cab"]


def test_an_order_without_lines_is_found():
    order = OrderFactory.create(lines=[])
    assert get_order_adapter().find(order.pk) == order
    assert get_order_adapter().find_for_user(order.pk, order.customer) == order


def test_a_narrower_list_of_orders_narrows_what_is_found(order):
    """Of a host that derives from the bundled adapter."""

    class NotToday(BundledOrderAdapter):
        def list_for_user(self, user: Any) -> Any:
            return super().list_for_user(user).none()

        def get_queryset(self) -> Any:
            return super().get_queryset().exclude(pk=order.pk)

    assert NotToday().find_for_user(order.pk, order.customer) is None
    assert NotToday().find(order.pk) is None


# --- the bundled adapter ------------------------------------------------------------------------


def test_a_customer_finds_their_own_orders_only(order):
    adapter, stranger = BundledOrderAdapter(), UserFactory.create()
    assert adapter.find_for_user(order.pk, order.customer) == order
    assert adapter.find_for_user(str(order.pk), order.customer) == order
    assert adapter.find_for_user(order.pk, stranger) is None
    assert adapter.find(order.pk) == order


def test_an_order_without_a_customer_is_nobodys():
    order = OrderFactory.create(customer=None, email="")
    adapter = BundledOrderAdapter()
    assert adapter.find_for_user(order.pk, UserFactory.create()) is None
    assert adapter.receipt_email(order) == ""


def test_a_customers_orders_come_newest_first(order):
    newer = OrderFactory.create(customer=order.customer)
    OrderFactory.create()
    assert list(BundledOrderAdapter().list_for_user(order.customer)) == [newer, order]


NO_IDS = [
    *("", " ", "\x00", "1\x00", "abc", "1.0", "1e3", "0x1", "-1", "1-1", "--", "٣", "１", "²", "½"),  # noqa: RUF001
    *("9" * 30, "9" * 5000, "-" + "9" * 30, "1" + "0" * 19, "\ud800", "é", "NaN", "Infinity"),
    *(str(uuid4()), "' OR 1=1 --", "%", "../1", "None", "true"),
    *(None, 10**30, -(10**30), -1, 0, float("nan"), float("inf"), [], {}, object(), b"\xff"),
]


@pytest.mark.parametrize("order_id", NO_IDS, ids=range(len(NO_IDS)))
def test_what_is_no_id_finds_nothing(order_id):
    for pk in (1, 3):  # which int() would read in some of them
        OrderFactory.create(pk=pk)
    adapter = BundledOrderAdapter()
    assert adapter.find(order_id) is None
    assert adapter.find_for_user(order_id, Order.objects.get(pk=1).customer) is None


@given(st.one_of(st.text(alphabet=st.characters(exclude_categories=[])), st.integers()))
@example("\x00")
@example("\ud800")
@example(2**63)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_id_is_looked_up_without_an_error(order_id):
    assert BundledOrderAdapter().find(order_id) is None


@pytest.mark.parametrize("order_id", ["9" * 30, "9" * 5000, "٣", "%00", "é", "-1", "1e3"])
def test_a_strange_id_is_a_404_through_the_front_door(storefront, payment_system, stripe, order_id):
    answers = [
        storefront.payment_intent(order_id),
        payment_system.payment(order_id),
        storefront.get(f"orders/{order_id}"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 3
    assert stripe.requests == []


# --- which adapter ------------------------------------------------------------------------------


class MinimalAdapter(OrderAdapter):
    """As little as a host has to write."""

    def list_for_user(self, user: Any) -> Any:
        return Order.objects.filter(customer=user)

    def number(self, order: Any) -> str:
        return f"no. {order.pk}"

    def amount_due(self, order: Any) -> Money:
        return Money(100, "eur")

    def line_items(self, order: Any) -> list[LineItem]:
        return [LineItem(name="all of it", amount=100, currency="eur", quantity=1)]


@pytest.fixture
def minimal(configure: Callable[..., None]) -> OrderAdapter:
    configure(ORDER_ADAPTER="tests.test_orders.MinimalAdapter")
    return get_order_adapter()


def test_the_host_names_its_adapter(minimal):
    assert type(minimal) is MinimalAdapter
    assert get_order_adapter() is minimal


def test_an_adapter_has_to_say_only_what_cannot_be_guessed(minimal, order):
    taken = snapshot(minimal.find(order.pk))
    assert (taken.number, taken.amount_due) == (f"no. {order.pk}", Money(100, "eur"))
    assert (taken.receipt_email, taken.payable) == ("", True)
    assert minimal.find_for_user(order.pk, order.customer) == order


def test_the_adapter_changes_with_the_settings(minimal, configure):
    configure(ORDER_ADAPTER="shop_payments.orders.BundledOrderAdapter")
    assert type(get_order_adapter()) is BundledOrderAdapter


def test_other_settings_do_not_build_the_adapter_anew():
    adapter = get_order_adapter()
    setting_changed.send(sender=None, setting="LANGUAGE_CODE", value="de", enter=True)
    assert get_order_adapter() is adapter


@pytest.mark.parametrize("path", ["nowhere.Adapter", "tests.test_orders.Nobody", "Adapter", ""])
def test_an_adapter_that_cannot_be_imported_is_named(configure, path):
    configure(ORDER_ADAPTER=path)
    with pytest.raises(ConfigurationError, match=r"SHOP_PAYMENTS\['ORDER_ADAPTER'\]"):
        get_order_adapter()
