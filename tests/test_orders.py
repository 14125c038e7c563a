"""The door to the shop's orders: what payments read, and ids of every shape."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from django.core.signals import setting_changed
from django.db import OperationalError
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

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


def test_an_order_costs_what_its_lines_cost(order):
    assert read_terms(order) == OrderTerms(total=Money(11200, "usd"), is_payable=True)


@pytest.mark.parametrize(
    ("values", "total", "is_payable"),
    [
        ({"lines": []}, 0, True),
        ({"lines": [{"unit_amount": 0}]}, 0, True),
        ({"lines": [{"unit_amount": 0}, {"unit_amount": 100}]}, 200, True),
        ({"status": "cancelled"}, 11200, False),
        ({"lines": [], "status": "cancelled"}, 0, False),
    ],
)
def test_a_free_order_and_a_cancelled_one_are_told_apart(values, total, is_payable):
    terms = read_terms(OrderFactory.create(**values))
    assert (terms.total.amount, terms.is_payable) == (total, is_payable)


@pytest.mark.parametrize(("currency", "unit_amount"), [("kwd", 5121), ("isk", 550), ("ugx", 1)])
def test_a_price_that_the_currency_does_not_have_is_refused(currency, unit_amount):
    line = {"unit_amount": unit_amount, "quantity": 1}
    order = OrderFactory.create(currency=currency, lines=[line])
    with pytest.raises(AmountNotRepresentable):
        take_snapshot(order)
    with pytest.raises(AmountNotRepresentable):
        read_total(order)


def test_a_price_off_the_step_is_refused_also_where_the_total_is_on_it():
    order = OrderFactory.create(currency="isk", lines=[{"unit_amount": 50, "quantity": 2}])
    with pytest.raises(AmountNotRepresentable):
        take_snapshot(order)


def test_a_total_that_no_column_holds_is_refused():
    order = OrderFactory.create(lines=[{"unit_amount": 2**62, "quantity": 2}])
    with pytest.raises(AmountNotRepresentable):
        read_total(order)


@pytest.mark.parametrize("currency", ["", "us", "u5d", "é€x"])
def test_an_order_in_no_currency_is_refused(currency):
    order = OrderFactory.create(currency=currency)
    with pytest.raises(InvalidCurrency):
        take_snapshot(order)
    with pytest.raises(InvalidCurrency):
        read_total(order)


def test_an_order_that_costs_what_cannot_be_charged_is_unreadable():
    """An evaluation must not take it for an order that costs nothing."""
    order = OrderFactory.create(currency="isk", lines=[{"unit_amount": 550, "quantity": 1}])
    with pytest.raises(OrderUnreadable, match=r"^OrderAdapter.total 550 minor units .* \(order"):
        read_terms(order)


# --- an adapter that fails ------------------------------------------------------------------------


class FaultyAdapter(BundledOrderAdapter):
    """Raises or returns what the test says, where the test says."""

    faults: ClassVar[dict[str, Any]] = {}

    def do(self, method: str, *args: Any) -> Any:
        if method not in self.faults:
            return getattr(super(), method)(*args)
        fault = self.faults[method]
        if isinstance(fault, Exception):
            raise fault
        return fault

    def find(self, order_id: Any) -> Any:
        return self.do("find", order_id)

    def total(self, order: Any) -> Any:
        return self.do("total", order)

    def is_payable(self, order: Any) -> Any:
        return self.do("is_payable", order)

    def amount_to_pay_now(self, order: Any, outstanding: Any) -> Any:
        return self.do("amount_to_pay_now", order, outstanding)

    def number(self, order: Any) -> Any:
        return self.do("number", order)

    def line_items(self, order: Any) -> Any:
        return self.do("line_items", order)

    def receipt_email(self, order: Any) -> Any:
        return self.do("receipt_email", order)

    def capture_method(self, order: Any) -> Any:
        return self.do("capture_method", order)


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
def test_what_is_not_the_hosts_fault_keeps_its_name(faults, order, method, error):
    faults[method] = error

    with pytest.raises(type(error)):
        READERS[method](order)


def test_an_order_that_the_adapter_hides_is_unreadable(faults, order):
    faults["find"] = None

    with pytest.raises(OrderUnreadable, match="find found no such order"):
        find_order(order.pk)


@pytest.mark.parametrize("method", ["total", "amount_to_pay_now"])
def test_what_is_no_money_is_unreadable(faults, order, method):
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
        (Money(11199, "usd"), "leaves less than Stripe's minimum charge"),
    ],
)
def test_a_part_that_cannot_be_asked_for_is_the_hosts_fault(faults, order, now, problem):
    """Rule 16: never clamped."""
    faults["amount_to_pay_now"] = now

    with pytest.raises(OrderUnreadable, match=f"amount_to_pay_now returned .* {problem}"):
        read_amount_to_pay_now(order, Money(11200, "usd"))


@pytest.mark.parametrize("now", [1, 50, 9000, 11150, 11200])
def test_a_part_that_leaves_a_rest_which_can_be_paid_is_asked_for(faults, order, now):
    faults["amount_to_pay_now"] = Money(now, "usd")

    assert read_amount_to_pay_now(order, Money(11200, "usd")) == Money(now, "usd")


# --- snapshots ----------------------------------------------------------------------------------


def test_a_snapshot_is_what_stripe_and_the_customer_are_shown(order):
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

    def total(self, order: Any) -> Money:
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
    taken, terms = take_snapshot(minimal.find(order.pk)), read_terms(order)
    assert (taken.number, taken.receipt_email) == (f"no. {order.pk}", "")
    assert terms == OrderTerms(total=Money(100, "eur"), is_payable=True)
    assert minimal.amount_to_pay_now(order, Money(100, "eur")) == Money(100, "eur")
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
