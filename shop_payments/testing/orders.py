"""From what a test has in hand to the payment intent at Stripe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import AnonymousUser

from shop_payments.exceptions import PaymentIntentMissing
from shop_payments.ledger.facts import Origin
from shop_payments.models import OrderPayment, PaymentIntent, Source
from shop_payments.models.payments import PaymentIntentQuerySet
from shop_payments.orders import get_order_adapter
from shop_payments.services.create_payment_intent import create_payment_intent

from .guards import assert_not_at_stripe, get_test_config


def find_intent_ids(payable: Any) -> list[str]:
    """Return the id of a payment intent, or the ids of an order's, the newest first.

    Raises:
        PaymentIntentMissing: the order has none.
        TypeError: it is neither.
    """
    if given := _given_id(payable):
        return [given]
    found = list(_intents_of(payable).order_by("-pk").values_list("stripe_id", flat=True))
    if not found:
        raise PaymentIntentMissing(
            f"Order {payable.pk} has no payment intent. Ask for one as your shop does "
            "(POST orders/{order_id}/payment-intent), or pay() the order."
        )
    return found


def find_or_create_intent_id(payable: Any) -> str:
    """Return the id of what a customer pays; an order without an open intent is given one.

    That one asks for what call 1 asks for: the outstanding amount, or the part of it to pay now.

    Raises:
        ConfigurationError: no sandbox is in use, or a live key is.
        PaymentError: the order's state forbids to pay it.
        TypeError: it is neither an order nor a payment intent.
    """
    if given := _given_id(payable):
        return given
    open_intent = _intents_of(payable).open().first()
    if open_intent is not None:
        return open_intent.stripe_id
    assert_not_at_stripe(get_test_config())
    view = create_payment_intent(
        order_id=payable.pk,
        user=AnonymousUser(),
        any_order=True,
        origin=Origin(source=Source.API, actor="shop_payments.testing"),
    )
    return view.intent.id


def _given_id(payable: Any) -> str:
    """The id where an intent was given: Stripe's JSON, the API's ``data``, a row or the id."""
    found = payable["id"] if isinstance(payable, Mapping) and "id" in payable else payable
    if isinstance(found, PaymentIntent):
        found = found.stripe_id
    return found if isinstance(found, str) and found.startswith("pi_") else ""


def _intents_of(order: Any) -> PaymentIntentQuerySet:
    model = get_order_adapter().model
    if not isinstance(order, model):
        raise TypeError(
            f"An order ({model._meta.label}) or a payment intent was expected, "
            f"not {type(order).__name__}."
        )
    return PaymentIntent.objects.of_payments(OrderPayment.objects.of_order(order.pk))
