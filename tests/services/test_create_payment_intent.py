"""Call 1: the order's payment intent is created, reused or updated, whatever happens meanwhile.

Which orders are refused: see tests/api/test_refusals.py.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import pytest
from django.db import OperationalError, connection

from shop_payments.models import Order, OrderPayment, PaymentIntent, ReviewItem, StripeAttempt
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault, Sandbox
from shop_payments.services import cancel_payment, delete_payment, reevaluate_order
from tests.books import STAFF
from tests.factories import OrderLineFactory
from tests.maintenance.support import Meanwhile
from tests.services.restore import make_elsewhere
from tests.support import answer, call_stripe, pay, send_event, writes

pytestmark = pytest.mark.django_db


def ask(storefront, order) -> tuple[str, str]:
    """Call 1: the intent's id and what it asks for."""
    response = storefront.payment_intent(order)
    assert response.status_code == 200, response.content
    data = response.json()["data"]
    return data["id"], data["amount"]


def all_at_stripe(stripe) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call_stripe(stripe, "GET", "payment_intents")["data"]
    return found


# --- created, reused, updated, replaced ---------------------------------------------------------


def test_an_order_has_one_intent_which_follows_it_in_one_call(storefront, order, stripe):
    first, _amount = ask(storefront, order)
    stripe.requests.clear()
    assert storefront.payment_intent(order).content == storefront.payment_intent(order).content
    assert [request.method for request in stripe.requests] == ["GET", "GET"]

    OrderLineFactory(order=order, name="Postage", unit_amount=490, quantity=1)
    Order.objects.update(currency="eur")
    stripe.requests.clear()

    assert ask(storefront, order) == (first, "116.90")

    assert writes(stripe) == [f"/v1/payment_intents/{first}"]
    intent = stripe.payment_intent(first)
    assert intent["currency"] == "eur"
    assert "Postage" in intent["metadata"]["line_items"]
    assert intent["metadata"]["attempt_id"] == str(PaymentIntent.objects.get().attempt_id)


def test_currencies_come_out_right_in_both_directions(storefront, order, stripe, payment_system):
    for currency, unit_amount, amount in (("kwd", 2560, "5.120"), ("jpy", 250, "500")):
        Order.objects.update(currency=currency)
        order.lines.update(unit_amount=unit_amount)
        intent_id, asked = ask(storefront, order)
        assert asked == amount
        assert stripe.payment_intent(intent_id)["amount"] == unit_amount * 2

    pay(stripe, intent_id)
    assert payment_system.payment(order).json()["data"]["amount"] == "500"


@pytest.mark.parametrize(
    ("currency", "unit_amount", "code"),
    [
        ("kwd", 5123, "amount_not_representable"),
        ("isk", 50050, "amount_not_representable"),
        ("u$d", 100, "amount_not_representable"),
        ("usd", 1, "amount_too_small"),
        ("usd", 99_999_999, "amount_too_large"),
    ],
)
def test_an_amount_that_cannot_be_charged_is_refused(
    storefront, order, stripe, currency, unit_amount, code
):
    Order.objects.update(currency=currency)
    order.lines.update(unit_amount=unit_amount)

    assert answer(storefront.payment_intent(order)) == (422, code)
    assert all_at_stripe(stripe) == []


def test_a_processing_payment_that_fails_may_be_tried_again(storefront, order, stripe):
    intent_id, _amount = ask(storefront, order)
    stripe.advance(intent_id, "processing")
    assert answer(storefront.payment_intent(order)) == (409, "payment_processing")
    assert OrderPayment.objects.get().status == "pending"

    stripe.advance(intent_id, "requires_payment_method")

    assert ask(storefront, order)[0] == intent_id


def test_a_test_intent_that_stripe_no_longer_has_is_replaced(storefront, order, stripe, configure):
    """Test data was deleted in the dashboard, or the sandbox was restarted."""
    first, _amount = ask(storefront, order)
    configure(STRIPE_TRANSPORT=Sandbox().handle)

    second, amount = ask(storefront, order)

    assert (second != first, amount) == (True, "112.00")
    assert PaymentIntent.objects.get(stripe_id=first).status == "missing"
    assert ask(storefront, order)[0] == second


# --- Stripe in trouble --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [Fault("drop_before"), Fault("drop_after"), Fault("error", status=429)]
)
def test_a_request_without_an_answer_is_503_and_the_next_call_finishes_it(
    storefront, order, stripe, fault
):
    """The order has changed since: the saved request is sent first, then the change."""
    stripe.inject(fault)

    response = storefront.payment_intent(order)

    assert answer(response) == (503, "gateway_unavailable")
    assert "Retry-After" in response
    order.lines.update(quantity=3)
    assert ask(storefront, order)[1] == "168.00"
    assert len(all_at_stripe(stripe)) == 1
    attempts = StripeAttempt.objects.order_by("created_at").values_list("operation", "outcome")
    assert list(attempts) == [("create_intent", "succeeded"), ("update_intent", "succeeded")]


def test_a_saved_500_does_not_block_the_order(storefront, order, stripe):
    """Stripe repeats a 500 under the same key for 24 hours."""
    for quantity in (2, 3):
        order.lines.update(quantity=quantity)
        stripe.inject(Fault("error", method="POST", status=500))
        assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")
        assert ask(storefront, order)[1] == f"{quantity * 56}.00"

    outcomes = StripeAttempt.objects.order_by("created_at").values_list("outcome", flat=True)
    assert list(outcomes) == ["abandoned", "succeeded"] * 2


def test_a_rest_that_stripe_does_not_charge_is_offered_to_staff(
    storefront, order, stripe, webhooks
):
    pay(stripe, ask(storefront, order)[0])
    webhooks()
    order.lines.update(unit_amount=5610)  # 0.20 more in all

    assert answer(storefront.payment_intent(order)) == (422, "amount_too_small")
    assert ReviewItem.objects.open().get().reason == "rest_too_small"
    assert storefront.get(f"orders/{order.pk}").json()["data"]["payable"] is False


# --- an intent follows the settings -------------------------------------------------------------


def refuse_update(stripe) -> None:
    path = "/v1/payment_intents/pi_" + 24 * "[!/]"
    stripe.inject(Fault("refused", method="POST", path=path))


def test_an_intent_is_updated_where_only_the_settings_have_changed(
    configure, storefront, order, stripe
):
    first, _amount = ask(storefront, order)
    types = ["us_bank_account", "card"]
    for setting, field, value in (
        ("ALLOWED_PAYMENT_METHOD_TYPES", "payment_method_types", types),
        ("ALLOWED_PAYMENT_METHOD_TYPES", "payment_method_types", ["card"]),
        ("CAPTURE_METHOD", "capture_method", "manual"),
    ):
        before = len(stripe.requests)
        configure(**{setting: value})
        assert ask(storefront, order)[0] == first
        assert [each.method for each in stripe.requests[before:]] == ["POST"], "without a look"
        assert stripe.payment_intent(first)[field] == value


def test_automatic_payment_methods_cannot_be_updated_so_the_intent_is_replaced(
    configure, storefront, order, stripe
):
    last, _amount = ask(storefront, order)
    for automatic in (True, False):
        configure(AUTOMATIC_PAYMENT_METHODS=automatic)
        replaced, (last, _amount) = last, ask(storefront, order)

        assert last != replaced
        assert stripe.payment_intent(replaced)["status"] == "canceled"
        assert PaymentIntent.objects.open().get().stripe_id == last
        assert ask(storefront, order)[0] == last


def test_an_update_that_stripe_refuses_replaces_the_intent(storefront, order, stripe):
    first, _amount = ask(storefront, order)
    refuse_update(stripe)

    order.lines.update(unit_amount=9000)
    second, amount = ask(storefront, order)

    assert (second != first, amount) == (True, "180.00")
    assert stripe.payment_intent(first)["status"] == "canceled"
    assert PaymentIntent.objects.open().get().stripe_id == second
    assert ask(storefront, order)[0] == second


def test_an_update_that_is_refused_after_the_customer_has_paid_cancels_nothing(
    configure, storefront, order, stripe
):
    configure(CAPTURE_METHOD="manual")
    first, _amount = ask(storefront, order)
    pay(stripe, first)
    refuse_update(stripe)
    order.lines.update(unit_amount=5000)

    assert answer(storefront.payment_intent(order)) == (409, "payment_authorized")
    assert stripe.payment_intent(first)["status"] == "requires_capture"


def test_an_intent_that_can_be_neither_updated_nor_cancelled_is_an_error(storefront, order, stripe):
    ask(storefront, order)
    refuse_update(stripe)
    stripe.inject(Fault("refused", method="POST", path="/v1/payment_intents/*/cancel"))
    order.lines.update(unit_amount=5000)

    assert answer(storefront.payment_intent(order)) == (502, "gateway_error")
    assert len(writes(stripe)) == 3


# --- while Stripe's answer is on its way --------------------------------------------------------


@pytest.fixture
def meanwhile(stripe, configure) -> Callable[[Callable[[], Any]], None]:
    """Do something once, when Stripe has acted on a write and its answer is still on its way."""

    def arrange(act: Callable[[], Any]) -> None:
        line = Meanwhile(stripe, "POST payment_intents", act, answer=True)
        configure(STRIPE_TRANSPORT=line, INTENT_WAIT_SECONDS=0.3)

    return arrange


def payable_at_stripe(stripe) -> list[int]:
    """The amounts of all intents that a customer could still pay."""
    found = all_at_stripe(stripe)
    return [each["amount"] for each in found if each["status"] == "requires_payment_method"]


def test_the_shop_lowers_the_order(storefront, order, stripe, meanwhile):
    def lower() -> None:
        order.lines.update(unit_amount=2500)
        reevaluate_order(order.pk)

    meanwhile(lower)

    assert ask(storefront, order)[1] == "50.00"
    assert payable_at_stripe(stripe) == [5000]


def test_a_payment_that_is_not_known_here_is_reported(storefront, order, stripe, meanwhile):
    lost = make_elsewhere(stripe, order, paid=True)
    meanwhile(lambda: send_event(stripe.payment_intent(lost)))

    assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")
    assert payable_at_stripe(stripe) == []


class ChangedWhileRead(BundledOrderAdapter):
    """Somebody raises the order, and says so, right after it was read for the first time."""

    changes: ClassVar[list[Any]] = []

    def find_for_user(self, *args: Any, **kwargs: Any) -> Any:
        order = super().find_for_user(*args, **kwargs)
        if self.changes:
            self.changes.pop()(order)
        return order


def test_an_order_that_is_raised_between_two_reads_asks_for_the_new_total(
    storefront, order, stripe, configure
):
    """Found: without a lock, the intent of the old total was returned."""
    assert storefront.payment_intent(order).status_code == 200
    configure(ORDER_ADAPTER=f"{__name__}.ChangedWhileRead")

    def raise_order(read: Order) -> None:
        read.lines.update(quantity=4)
        reevaluate_order(read.pk)

    ChangedWhileRead.changes[:] = [raise_order]

    assert storefront.payment_intent(order).json()["data"]["amount"] == "224.00"


def test_a_payment_that_is_deleted_after_it_was_read_is_inserted_again(storefront, order, stripe):
    """Found: 500."""
    assert storefront.payment_intent(order).status_code == 200
    cancel_payment(order_id=order.pk, origin=STAFF)
    deletions = [partial(delete_payment, order_id=order.pk, origin=STAFF)]

    def delete(execute: Any, sql: str, *rest: Any) -> Any:
        if deletions and 'FROM "shop_payments_paymentintent"' in sql:
            deletions.pop()()
        return execute(sql, *rest)

    with connection.execute_wrapper(delete):
        assert storefront.payment_intent(order).status_code == 200

    assert deletions == []
    assert payable_at_stripe(stripe) == [11200]


def test_a_first_payment_that_the_database_rolls_back_is_inserted_again(storefront, order, stripe):
    """Found: 500, because the second run expected the payment of another request."""
    faults = [OperationalError("database is locked")]

    def roll_back(execute: Any, sql: str, *rest: Any) -> Any:
        if faults and sql.startswith('INSERT INTO "shop_payments_stripeattempt"'):
            raise faults.pop()
        return execute(sql, *rest)

    with connection.execute_wrapper(roll_back):
        assert storefront.payment_intent(order).status_code == 200

    assert faults == []
    assert payable_at_stripe(stripe) == [11200]
