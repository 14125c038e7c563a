"""Ask Stripe for the current state of a payment, when staff do not want to wait for the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from shop_payments.conf import get_config
from shop_payments.exceptions import GatewayAuthenticationError, PaymentIntentMissing
from shop_payments.gateway import assert_no_transaction, get_gateway
from shop_payments.ledger.facts import Origin
from shop_payments.models import OrderPayment, PaymentHistory, PaymentIntent
from shop_payments.orders import find_visible_order, parse_order_id
from shop_payments.sync.base import ObjectType
from shop_payments.sync.payment_intents import sync_intent
from shop_payments.sync.registry import OBJECT_TYPES


@dataclass(frozen=True, kw_only=True)
class RefreshedPayment:
    """What Stripe has said about a payment."""

    facts: Sequence[PaymentHistory] = ()
    """The new entries of the history, oldest first."""

    has_changed: bool = False
    """Whether anything was written. The history does not record every detail, such as a card."""

    missing: Sequence[str] = ()
    """The ids of intents that Stripe does not know."""


def refresh_payment(*, order_id: object, origin: Origin) -> RefreshedPayment:
    """Fetch an order's payment intents, with what belongs to them, and write the changes.

    Refunds, disputes, early fraud warnings and Radar reviews are listed for each intent with a
    charge. Intents of the other mode than the key's are left out. Moves no money.

    Raises:
        TransactionOpenError: called inside a database transaction.
        OrderNotFound: there is no such order.
        OrderUnreadable: Stripe's state is stored, but the order could not be evaluated; try again.
        PaymentIntentInProgress: other requests keep changing an intent.
        GatewayError: Stripe could not be reached. What was read before that is stored.
    """
    assert_no_transaction()
    get_gateway()  # a missing key fails here
    pk = parse_order_id(order_id)
    payment = None if pk is None else OrderPayment.objects.filter(order=pk).first()
    if payment is None:
        find_visible_order(pk, any_order=True)  # raises OrderNotFound
        return RefreshedPayment()
    last = payment.history.order_by("-pk").values_list("pk", flat=True).first() or 0
    before = _versions(payment)
    missing = []
    for intent in _intents(payment):
        try:
            _refresh(intent, origin=origin)
        except PaymentIntentMissing:
            # The row or a review item says so. The other intents are refreshed nevertheless.
            missing.append(intent.stripe_id)
    # Only those of this request: a webhook may have arrived meanwhile.
    facts = payment.history.filter(pk__gt=last, source=origin.source, actor=origin.actor)
    return RefreshedPayment(
        facts=list(facts.order_by("pk")), has_changed=_versions(payment) != before, missing=missing
    )


def can_be_refreshed(payment: OrderPayment) -> bool:
    """Return whether the key in use can fetch an intent of the payment."""
    return bool(_intents(payment))


def _intents(payment: OrderPayment) -> list[PaymentIntent]:
    livemode = get_config().livemode
    return [row for row in payment.payment_intents.order_by("pk") if row.livemode == livemode]


def _versions(payment: OrderPayment) -> dict[Any, int]:
    """Return the versions of the payment's rows that mirror objects of Stripe."""
    intents = list(payment.payment_intents.all())
    versions: dict[Any, int] = {row.stripe_id: row.version for row in intents}
    for each in OBJECT_TYPES:
        for row in intents:
            versions |= {(each.singular, pk): version for pk, version in each.versions(row).items()}
    return versions


def _refresh(intent: PaymentIntent, *, origin: Origin) -> None:
    # The intent first: a refund is only known to be the order's after its payment is.
    sync_intent(intent, origin=origin, fetches_final=True)
    intent.refresh_from_db()
    if not (intent.latest_charge or intent.holds_money):
        return  # only a charge can have refunds and disputes
    for each in OBJECT_TYPES:
        _list(each, intent, origin=origin)


def _list(object_type: ObjectType[Any, Any], intent: PaymentIntent, *, origin: Origin) -> None:
    try:
        object_type.sync(intent, origin=origin)
    except GatewayAuthenticationError as error:
        # A restricted key need not have the permissions for optional types.
        if not (object_type.is_optional and error.http_status == HTTPStatus.FORBIDDEN):
            raise
