"""An open intent is brought up to date in everything that creating it sets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shop_payments.models import Order, OrderPayment, PaymentIntent
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault, SandboxResponse
from shop_payments.testing import StripeSandbox
from tests.support import answer, call_stripe, pay, writes

pytestmark = pytest.mark.django_db


class ReservesLargeOrders(BundledOrderAdapter):
    """Money for orders of 150.00 and more is only reserved."""

    def capture_method(self, order: Order) -> str:
        return "manual" if order.amount >= 15000 else "automatic"


class PaysWhenCancelled:
    """Stripe, where the customer pays just before an intent is cancelled."""

    def __init__(self, stripe: StripeSandbox) -> None:
        self._stripe = stripe

    def __call__(self, method: str, url: str, headers: Any, body: Any = None) -> SandboxResponse:
        if url.endswith("/cancel"):
            pay(self._stripe, url.rsplit("/", 2)[-2])
        return self._stripe.handle(method, url, headers, body)


class LeavesOut:
    """Stripe, which leaves a field out of its answers or always has another value in it."""

    def __init__(self, stripe: StripeSandbox, **values: Any) -> None:
        self._stripe, self._values = stripe, values

    def __call__(self, method: str, url: str, headers: Any, body: Any = None) -> SandboxResponse:
        answer = self._stripe.handle(method, url, headers, body)
        values = {**json.loads(answer.body), **self._values}
        kept = {name: value for name, value in values.items() if value is not ABSENT}
        return replace(answer, body=json.dumps(kept).encode())


ABSENT = object()
"""A field that an older API version does not have."""


def refuse_update(stripe: StripeSandbox, param: str | None = None, times: int = 1) -> None:
    path = "/v1/payment_intents/pi_" + 24 * "[!/]"
    stripe.inject(Fault("refused", method="POST", path=path, param=param, times=times))


@pytest.fixture
def use(configure: Callable[..., None], stripe: StripeSandbox) -> Callable[..., None]:
    """Change the settings of the shop, which talks to the sandbox."""

    def change(**values: Any) -> None:
        configure(**{**stripe.shop_payments(), **values})

    return change


def ask(storefront: Any, order: Order) -> str:
    response = storefront.payment_intent(order)
    assert response.status_code == 200, response.json()
    intent_id: str = response.json()["data"]["id"]
    return intent_id


@pytest.mark.parametrize(("before", "after"), [(5600, 9000), (9000, 5600)])
def test_the_capture_method_follows_the_order(use, storefront, order, stripe, before, after):
    use(ORDER_ADAPTER=f"{__name__}.ReservesLargeOrders")
    order.lines.update(unit_amount=before)
    first = ask(storefront, order)

    order.lines.update(unit_amount=after)
    assert ask(storefront, order) == first

    wanted = "manual" if after == 9000 else "automatic_async"
    assert stripe.payment_intent(first)["capture_method"] == wanted


def test_the_capture_method_is_updated_where_nothing_else_has_changed(
    use, storefront, order, stripe
):
    order.lines.update(unit_amount=9000)
    first = ask(storefront, order)

    use(ORDER_ADAPTER=f"{__name__}.ReservesLargeOrders")
    assert ask(storefront, order) == first

    assert stripe.payment_intent(first)["capture_method"] == "manual"


def test_the_payment_method_types_follow_the_settings(use, storefront, order, stripe):
    first = ask(storefront, order)

    use(ALLOWED_PAYMENT_METHOD_TYPES=["card", "us_bank_account"])
    assert ask(storefront, order) == first

    assert stripe.payment_intent(first)["payment_method_types"] == ["card", "us_bank_account"]
    assert len(writes(stripe)) == 2


@pytest.mark.parametrize("automatic_first", [True, False])
def test_automatic_payment_methods_cannot_be_updated_so_the_intent_is_replaced(
    use, storefront, order, stripe, automatic_first
):
    use(AUTOMATIC_PAYMENT_METHODS=automatic_first)
    first = ask(storefront, order)

    use(AUTOMATIC_PAYMENT_METHODS=not automatic_first)
    second = ask(storefront, order)

    assert second != first
    assert stripe.payment_intent(first)["status"] == "canceled"
    assert PaymentIntent.objects.open().get().stripe_id == second
    assert ask(storefront, order) == second


def test_what_stripe_refuses_to_update_is_replaced(use, storefront, order, stripe):
    use(ORDER_ADAPTER=f"{__name__}.ReservesLargeOrders")
    first = ask(storefront, order)
    refuse_update(stripe, "capture_method")

    order.lines.update(unit_amount=9000)
    second = ask(storefront, order)

    assert second != first
    assert stripe.payment_intent(first)["status"] == "canceled"
    assert stripe.payment_intent(second)["capture_method"] == "manual"
    assert PaymentIntent.objects.open().get().stripe_id == second


@pytest.mark.parametrize("param", ["currency", "description", "metadata", "amount", None])
def test_an_update_that_stripe_refuses_for_whatever_parameter_replaces_the_intent(
    storefront, order, stripe, param
):
    first = ask(storefront, order)
    refuse_update(stripe, param)

    order.lines.update(unit_amount=9000)
    second = ask(storefront, order)

    assert second != first
    assert stripe.payment_intent(first)["status"] == "canceled"
    assert PaymentIntent.objects.open().get().stripe_id == second
    assert ask(storefront, order) == second


def test_another_currency_that_stripe_refuses_to_update_replaces_the_intent(
    storefront, order, stripe
):
    first = ask(storefront, order)
    refuse_update(stripe, "currency")

    Order.objects.filter(pk=order.pk).update(currency="eur")
    second = ask(storefront, order)

    assert stripe.payment_intent(first)["status"] == "canceled"
    assert stripe.payment_intent(second)["currency"] == "eur"


def test_a_refused_update_of_an_intent_that_was_just_paid_cancels_nothing(
    storefront, order, stripe
):
    first = ask(storefront, order)
    pay(stripe, first)
    refuse_update(stripe)
    order.lines.update(unit_amount=5000)

    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")

    assert stripe.payment_intent(first)["status"] == "succeeded"


def test_a_refused_update_of_an_intent_that_was_just_authorized_cancels_nothing(
    use, storefront, order, stripe
):
    use(CAPTURE_METHOD="manual")
    first = ask(storefront, order)
    pay(stripe, first)
    refuse_update(stripe)
    order.lines.update(unit_amount=5000)

    assert answer(storefront.payment_intent(order)) == (409, "payment_authorized")

    assert stripe.payment_intent(first)["status"] == "requires_capture"


def test_an_intent_that_is_paid_while_it_is_replaced_pays_the_order(use, storefront, order, stripe):
    use(STRIPE_TRANSPORT=PaysWhenCancelled(stripe))
    first = ask(storefront, order)
    refuse_update(stripe)
    order.lines.update(unit_amount=5000)

    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")

    assert stripe.payment_intent(first)["status"] == "succeeded"


def test_an_intent_that_can_be_neither_updated_nor_cancelled_ends_in_an_error(
    storefront, order, stripe
):
    first = ask(storefront, order)
    refuse_update(stripe)
    stripe.inject(Fault("refused", method="POST", path="/v1/payment_intents/*/cancel"))
    order.lines.update(unit_amount=5000)

    assert answer(storefront.payment_intent(order)) == (502, "gateway_error")

    assert len(writes(stripe)) == 3
    assert stripe.payment_intent(first)["status"] == "requires_payment_method"


def test_an_amount_that_stripe_refuses_replaces_nothing(use, storefront, order, stripe):
    first = ask(storefront, order)
    order.lines.update(unit_amount=10)

    response = storefront.payment_intent(order)

    assert (response.status_code, response.json()["code"]) == (422, "amount_too_small")
    assert stripe.payment_intent(first)["status"] == "requires_payment_method"


def test_a_receipt_address_that_stripe_refuses_is_refused_once(storefront, order, stripe):
    Order.objects.filter(pk=order.pk).update(email="nobody@nowhere")
    first = ask(storefront, order)
    refused = len(writes(stripe))

    for _reload in range(3):
        assert ask(storefront, order) == first

    assert (refused, len(writes(stripe))) == (2, 2)
    assert stripe.payment_intent(first)["receipt_email"] is None
    assert "nobody" not in OrderPayment.objects.get().refused_receipt


def test_another_receipt_address_is_tried_again(storefront, order, stripe):
    Order.objects.filter(pk=order.pk).update(email="nobody@nowhere")
    first = ask(storefront, order)

    Order.objects.filter(pk=order.pk).update(email="somebody@example.com")
    assert ask(storefront, order) == first

    assert stripe.payment_intent(first)["receipt_email"] == "somebody@example.com"


# --- what somebody else has changed at Stripe ---------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"capture_method": "manual"}, "capture_method"),
        ({"receipt_email": "somebody.else@example.com"}, "receipt_email"),
        ({"receipt_email": ""}, "receipt_email"),
        (
            {
                "allowed_payment_method_types[0]": "card",
                "allowed_payment_method_types[1]": "us_bank_account",
            },
            "allowed_payment_method_types",
        ),
    ],
)
def test_what_was_changed_at_stripe_is_updated_in_the_same_request(
    storefront, order, stripe, changed, field
):
    """Also after a restore: the backup knows the intent, and not its last update."""
    first = ask(storefront, order)
    wanted = stripe.payment_intent(first)[field]
    call_stripe(stripe, "POST", f"payment_intents/{first}", **changed)
    assert stripe.payment_intent(first)[field] != wanted
    sent = len(stripe.requests)

    assert ask(storefront, order) == first
    assert ask(storefront, order) == first

    assert [call.method for call in stripe.requests[sent:]] == ["GET", "POST", "GET"]
    assert stripe.payment_intent(first)[field] == wanted


@pytest.mark.parametrize(
    "field", ["capture_method", "receipt_email", "allowed_payment_method_types"]
)
def test_a_field_that_stripe_does_not_send_is_unknown_and_not_different(
    use, storefront, order, stripe, field
):
    use(STRIPE_TRANSPORT=LeavesOut(stripe, **{field: ABSENT}))
    first = ask(storefront, order)

    assert ask(storefront, order) == first

    assert len(writes(stripe)) == 1


def test_an_address_that_stripe_writes_in_another_case_is_the_same(use, storefront, order, stripe):
    Order.objects.filter(pk=order.pk).update(email="Jane.Doe@Example.com")
    use(STRIPE_TRANSPORT=LeavesOut(stripe, receipt_email="jane.doe@example.com"))
    first = ask(storefront, order)

    assert ask(storefront, order) == first

    assert len(writes(stripe)) == 1


def test_a_change_that_stripe_does_not_take_back_does_not_end_in_a_loop(
    use, storefront, order, stripe
):
    use(STRIPE_TRANSPORT=LeavesOut(stripe, capture_method="manual"))
    first = ask(storefront, order)

    assert ask(storefront, order) == first

    assert len(writes(stripe)) == 2


def test_money_that_is_on_its_way_is_not_updated_to_the_settings(use, storefront, order, stripe):
    first = ask(storefront, order)
    call_stripe(stripe, "POST", f"payment_intents/{first}", capture_method="manual")
    pay(stripe, first)

    assert answer(storefront.payment_intent(order)) == (409, "payment_authorized")
