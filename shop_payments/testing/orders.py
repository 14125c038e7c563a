"""Find the payment intent that a test means by an order, an id, a row or a dict."""

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
    """Return the id of the given intent, or the ids of an order's intents, newest first.

    Raises:
        PaymentIntentMissing: the order has no intent.
        TypeError: ``payable`` is neither an order nor a payment intent.
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
    """Return the id of the intent to pay. Create one if the order has no open intent.

    The new intent asks for the same amount as call 1: the outstanding amount, or the part of it to
    pay now.

    Raises:
        ConfigurationError: no sandbox is in use, or the secret key is a live key.
        PaymentError: the order cannot be paid in its state.
        TypeError: ``payable`` is neither an order nor a payment intent.
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
    """Return the id if an intent is given: Stripe's JSON, the API's ``data``, a row or an id."""
    found = payable["id"] if isinstance(payable, Mapping) and "id" in payable else payable
    if isinstance(found, PaymentIntent):
        found = found.stripe_id
    return found if isinstance(found, str) and found.startswith("pi_") else ""


def _intents_of(order: Any) -> PaymentIntentQuerySet:
    model = get_order_adapter().model
    if not isinstance(order, model):
        raise TypeError(
            f"Pass an order ({model._meta.label}) or a payment intent, not {type(order).__name__}."
        )
    return PaymentIntent.objects.of_payments(OrderPayment.objects.of_order(order.pk))
