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
from tests.factories import OrderFactory

pytestmark = pytest.mark.django_db


# --- what an evaluation reads -------------------------------------------------------------------


def test_an_order_in_money_that_does_not_exist_is_refused():
    """An evaluation must not treat it as an order that costs nothing."""
    for currency, unit_amount, error in (
        ("usd", 2**62, AmountNotRepresentable),
        ("é€x", 100, InvalidCurrency),
    ):
        order = OrderFactory.create(currency=currency, lines=[{"unit_amount": unit_amount}])
        with pytest.raises(error):
            read_total(order)
        with pytest.raises(OrderUnreadable, match=rf"^OrderAdapter.total .* \(order {order.pk}\)"):
            read_terms(order)
    # A price off the step, although the total is on it.
    order = OrderFactory.create(currency="isk", lines=[{"unit_amount": 50, "quantity": 2}])
    with pytest.raises(AmountNotRepresentable):
        take_snapshot(order)


# --- an adapter that fails ----------------------------------------------------------------------


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
    configure(ORDER_ADAPTER=f"{__name__}.FaultyAdapter")
    yield FaultyAdapter.faults
    FaultyAdapter.faults.clear()


USD_112 = Money(11200, "usd")
READERS: dict[str, Callable[[Any], object]] = {
    "find": lambda order: find_order(order.pk),
    "total": read_terms,
    "is_payable": read_terms,
    "amount_to_pay_now": lambda order: read_amount_to_pay_now(order, USD_112),
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

    for not_the_hosts in (OperationalError("the database is away"), OrderNotFound("gone")):
        faults[method] = not_the_hosts
        with pytest.raises(type(not_the_hosts)):
            READERS[method](order)


@pytest.mark.parametrize(
    ("method", "fault", "words", "reason"),
    [
        ("find", None, "find found no order with this id", ""),
        ("total", 11200, "total returned a int, not Money", ""),
        ("total", NegativeAmount("-1 is less than nothing"), "less than", "negative_total"),
        ("amount_to_pay_now", 11200, "amount_to_pay_now returned a int, not Money", ""),
        (
            "amount_to_pay_now",
            Money(0, "usd"),
            "amount_to_pay_now returned .* at most 112.00 USD",
            "",
        ),
        (
            "amount_to_pay_now",
            Money(11201, "usd"),
            "returned 112.01 USD, which must be above 0 and at most 112.00 USD",
            "",
        ),
        (
            "amount_to_pay_now",
            Money(9000, "eur"),
            "returned 90.00 EUR, which must be above 0 and at most 112.00 USD",
            "",
        ),
        ("amount_to_pay_now", Money(11151, "usd"), "the rest is below Stripe's minimum charge", ""),
    ],
)
def test_an_answer_that_cannot_be_is_the_hosts_fault(faults, order, method, fault, words, reason):
    """A part that cannot be asked for is never clamped (rule 16)."""
    faults[method] = fault

    with pytest.raises(OrderUnreadable, match=words) as error:
        READERS[method](order)

    assert error.value.reason == reason


def test_a_part_that_leaves_a_payable_rest_is_asked_for(faults, order):
    for now in (Money(1, "usd"), Money(11150, "usd"), USD_112):
        faults["amount_to_pay_now"] = now
        assert read_amount_to_pay_now(order, USD_112) == now


# --- the bundled adapter ------------------------------------------------------------------------


def test_an_order_and_its_lines_are_read_in_one_statement(order, django_assert_num_queries):
    """Two could see the old currency and the new prices of an order that is being changed."""
    adapter = get_order_adapter()
    for find in (adapter.find, lambda pk: adapter.find_for_user(pk, order.customer)):
        with django_assert_num_queries(1):
            found = find(order.pk)
            take_snapshot(found)
            assert read_terms(found).total == USD_112
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


NO_IDS = [
    *("", "1\x00", "1.0", "1e3", "0x1", "-1", "٣", "\uff11", "9" * 30, "9" * 5000, "\ud800"),
    *(str(uuid4()), "' OR 1=1 --", None, 10**30, 0, float("nan"), [], object(), b"\xff"),
]


def test_a_wrong_id_finds_nothing():
    one, _three = (OrderFactory.create(pk=pk) for pk in (1, 3))  # which int() would read in some
    adapter, customer = BundledOrderAdapter(), one.customer
    for order_id in NO_IDS:
        assert adapter.find(order_id) is None
        assert adapter.find_for_user(order_id, customer) is None


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
    configure(ORDER_ADAPTER=f"{__name__}.MinimalAdapter")
    minimal = get_order_adapter()
    assert type(minimal) is MinimalAdapter

    taken, terms = take_snapshot(minimal.find(order.pk)), read_terms(order)

    assert (taken.number, taken.receipt_email) == (f"no. {order.pk}", "")
    assert terms == OrderTerms(total=Money(100, "eur"), is_payable=True)
    assert minimal.amount_to_pay_now(order, Money(100, "eur")) == Money(100, "eur")
    assert minimal.find_for_user(order.pk, order.customer) == order


def test_an_adapter_that_cannot_be_imported_is_named(configure):
    for path in ("nowhere.Adapter", f"{__name__}.Nobody", ""):
        configure(ORDER_ADAPTER=path)
        with pytest.raises(ConfigurationError, match=r"SHOP_PAYMENTS\['ORDER_ADAPTER'\]"):
            get_order_adapter()
