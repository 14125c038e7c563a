"""The adapter: what payments read of the shop's orders, and its errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from django.db import OperationalError

from shop_payments.exceptions import (
    AmountNotRepresentable,
    ConfigurationError,
    InvalidCurrency,
    NegativeAmount,
    OrderNotFound,
    OrderUnreadable,
)
from shop_payments.models import Order
from shop_payments.money import Money
from shop_payments.orders import (
    BundledOrderAdapter,
    LineItem,
    OrderAdapter,
    OrderTerms,
    find_order,
    get_order_adapter,
    read_amount_to_pay_now,
    read_terms,
    read_total,
    take_snapshot,
)
from tests.factories import OrderFactory, UserFactory

pytestmark = pytest.mark.django_db


# --- what an evaluation reads --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "total", "is_payable"),
    [
        ({}, 11200, True),
        ({"lines": []}, 0, True),
        ({"lines": [{"unit_amount": 0}, {"unit_amount": 100}]}, 200, True),
        ({"status": "cancelled"}, 11200, False),
    ],
)
def test_a_free_order_and_a_cancelled_one_differ(values, total, is_payable):
    terms = read_terms(OrderFactory.create(**values))
    assert terms == OrderTerms(total=Money(total, "usd"), is_payable=is_payable)


@pytest.mark.parametrize(
    ("currency", "unit_amount", "quantity", "error"),
    [
        ("kwd", 5121, 1, AmountNotRepresentable),
        ("isk", 550, 1, AmountNotRepresentable),
        ("usd", 2**62, 2, AmountNotRepresentable),
        ("us", 100, 1, InvalidCurrency),
        ("é€x", 100, 1, InvalidCurrency),
    ],
)
def test_an_order_in_money_that_does_not_exist_is_refused(currency, unit_amount, quantity, error):
    line = {"unit_amount": unit_amount, "quantity": quantity}
    order = OrderFactory.create(currency=currency, lines=[line])
    with pytest.raises(error):
        read_total(order)


def test_a_price_off_the_step_is_refused_even_if_the_total_is_on_it():
    order = OrderFactory.create(currency="isk", lines=[{"unit_amount": 50, "quantity": 2}])
    with pytest.raises(AmountNotRepresentable):
        take_snapshot(order)


def test_an_order_that_cannot_be_charged_is_unreadable():
    """An evaluation must not treat it as an order that costs nothing."""
    order = OrderFactory.create(currency="isk", lines=[{"unit_amount": 550, "quantity": 1}])
    with pytest.raises(OrderUnreadable, match=r"^OrderAdapter.total 550 minor units .* \(order"):
        read_terms(order)


# --- an adapter that fails ------------------------------------------------------------------------


class FaultyAdapter(BundledOrderAdapter):
    """Raises or returns what the test says, where the test says."""

    faults: ClassVar[dict[str, Any]] = {}

    def __getattribute__(self, name: str) -> Any:
        if name not in FaultyAdapter.faults:
            return super().__getattribute__(name)
        fault = FaultyAdapter.faults[name]

        def fail(*args: Any) -> Any:
            if isinstance(fault, Exception):
                raise fault
            return fault

        return fail


@pytest.fixture
def faults(configure: Callable[..., None]) -> Iterator[dict[str, Any]]:
    configure(ORDER_ADAPTER="tests.test_orders.FaultyAdapter")
    yield FaultyAdapter.faults
    FaultyAdapter.faults.clear()


READERS: dict[str, Callable[[Any], object]] = {
    "find": lambda order: find_order(order.pk),
    "total": read_terms,
    "is_payable": read_terms,
    "amount_to_pay_now": lambda order: read_amount_to_pay_now(order, Money(11200, "usd")),
    "number": take_snapshot,
    "line_items": take_snapshot,
    "receipt_email": take_snapshot,
    "capture_method": take_snapshot,
}


@pytest.mark.parametrize("method", READERS)
def test_an_exception_of_the_host_is_named_with_method_and_order(faults, order, method, caplog):
    faults[method] = KeyError("a customer's name")

    with pytest.raises(OrderUnreadable) as error:
        READERS[method](order)

    assert str(error.value) == f"OrderAdapter.{method} raised KeyError (order {order.pk})"
    assert (error.value.method, error.value.order_id) == (method, order.pk)
    assert error.value.reason == ""
    assert f"OrderAdapter.{method} raised for order {order.pk}" in caplog.text


@pytest.mark.parametrize("error", [OperationalError("the database is away"), OrderNotFound("gone")])
@pytest.mark.parametrize("method", READERS)
def test_an_error_that_is_not_the_hosts_keeps_its_name(faults, order, method, error):
    faults[method] = error

    with pytest.raises(type(error)):
        READERS[method](order)


def test_an_order_that_the_adapter_hides_is_unreadable(faults, order):
    faults["find"] = None

    with pytest.raises(OrderUnreadable, match="find found no such order"):
        find_order(order.pk)


@pytest.mark.parametrize("method", ["total", "amount_to_pay_now"])
def test_another_type_than_money_is_unreadable(faults, order, method):
    faults[method] = 11200

    with pytest.raises(OrderUnreadable, match=f"{method} returned a int, not Money"):
        READERS[method](order)


def test_a_negative_total_is_unreadable_and_says_so(faults, order):
    faults["total"] = NegativeAmount("-1 is less than nothing")

    with pytest.raises(OrderUnreadable, match="less than nothing") as error:
        read_terms(order)

    assert error.value.reason == "negative_total"


@pytest.mark.parametrize(
    ("now", "problem"),
    [
        (Money(0, "usd"), "of"),
        (Money(11201, "usd"), "of"),
        (Money(9000, "eur"), "of"),
        (Money(11151, "usd"), "leaves less than Stripe's minimum charge"),
    ],
)
def test_a_part_that_cannot_be_asked_for_is_the_hosts_fault(faults, order, now, problem):
    """Rule 16: never clamped."""
    faults["amount_to_pay_now"] = now

    with pytest.raises(OrderUnreadable, match=f"amount_to_pay_now returned .* {problem}"):
        read_amount_to_pay_now(order, Money(11200, "usd"))


@pytest.mark.parametrize("now", [1, 11150, 11200])
def test_a_part_that_leaves_a_payable_rest_is_asked_for(faults, order, now):
    faults["amount_to_pay_now"] = Money(now, "usd")

    assert read_amount_to_pay_now(order, Money(11200, "usd")) == Money(now, "usd")


# --- snapshots ----------------------------------------------------------------------------------


def test_a_snapshot_is_shown_to_stripe_and_the_customer(order):
    taken = take_snapshot(order)
    assert (taken.number, taken.receipt_email) == (order.number, order.email)
    assert taken.line_items == (
        LineItem(name="Main product 2", amount=5600, currency="usd", quantity=2),
    )
    assert taken.capture_method == "automatic"


def test_an_order_and_its_lines_are_read_in_one_statement(order, django_assert_num_queries):
    """Two could see the old currency and the new prices of an order that is being changed."""
    adapter = get_order_adapter()
    for find in (adapter.find, lambda pk: adapter.find_for_user(pk, order.customer)):
        with django_assert_num_queries(1):
            found = find(order.pk)
            take_snapshot(found)
            terms = read_terms(found)
        assert terms.total == Money(11200, "usd")


def test_lines_come_in_the_order_in_which_they_were_added():
    adapter = get_order_adapter()
    found = adapter.find(OrderFactory.create(lines=[{"name": name} for name in "cab"]).pk)
    assert [line.name for line in adapter.line_items(found)] == [*"cab"]
    bare = OrderFactory.create(lines=[])
    assert adapter.find(bare.pk) == adapter.find_for_user(bare.pk, bare.customer) == bare


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
    for pk in (order.pk, str(order.pk)):
        assert adapter.find_for_user(pk, order.customer) == order
        assert adapter.find_for_user(pk, stranger) is None
    newer = OrderFactory.create(customer=order.customer)
    assert list(adapter.list_for_user(order.customer)) == [newer, order]


def test_an_order_without_a_customer_belongs_to_nobody():
    order = OrderFactory.create(customer=None, email="")
    adapter = BundledOrderAdapter()
    assert adapter.find(order.pk) == order
    assert adapter.find_for_user(order.pk, UserFactory.create()) is None
    assert adapter.receipt_email(order) == ""


NO_IDS = [
    *("", "1\x00", "1.0", "1e3", "0x1", "-1", "٣", "１", "9" * 30, "9" * 5000, "\ud800"),  # noqa: RUF001
    *(str(uuid4()), "' OR 1=1 --", None, 10**30, 0, float("nan"), [], object(), b"\xff"),
]


@pytest.mark.parametrize("order_id", NO_IDS, ids=range(len(NO_IDS)))
def test_a_wrong_id_finds_nothing(order_id):
    for pk in (1, 3):  # which int() would read in some of them
        OrderFactory.create(pk=pk)
    adapter = BundledOrderAdapter()
    assert adapter.find(order_id) is None
    assert adapter.find_for_user(order_id, Order.objects.get(pk=1).customer) is None


@pytest.mark.parametrize("order_id", ["9" * 5000, "٣", "%00", "-1"])
def test_a_wrong_id_is_a_404(storefront, payment_system, stripe, order_id):
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

    def total(self, order: Any) -> Money:
        return Money(100, "eur")

    def line_items(self, order: Any) -> list[LineItem]:
        return [LineItem(name="all of it", amount=100, currency="eur", quantity=1)]


def test_an_adapter_defines_only_what_cannot_be_guessed(order, configure):
    configure(ORDER_ADAPTER="tests.test_orders.MinimalAdapter")
    minimal = get_order_adapter()
    assert type(minimal) is MinimalAdapter

    taken, terms = take_snapshot(minimal.find(order.pk)), read_terms(order)

    assert (taken.number, taken.receipt_email) == (f"no. {order.pk}", "")
    assert terms == OrderTerms(total=Money(100, "eur"), is_payable=True)
    assert minimal.amount_to_pay_now(order, Money(100, "eur")) == Money(100, "eur")
    assert minimal.find_for_user(order.pk, order.customer) == order


@pytest.mark.parametrize("path", ["nowhere.Adapter", "tests.test_orders.Nobody", ""])
def test_an_adapter_that_cannot_be_imported_is_named(configure, path):
    configure(ORDER_ADAPTER=path)
    with pytest.raises(ConfigurationError, match=r"SHOP_PAYMENTS\['ORDER_ADAPTER'\]"):
        get_order_adapter()
