"""Shared parts of the pages of rows that belong to an order, and how staff find these rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet, prefetch_related_objects
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import ReadOnlyAdmin, number_of, order_is_bundled, page_link
from shop_payments.admin.lists import LargeListMixin
from shop_payments.exceptions import OrderUnreadable
from shop_payments.models import (
    BalanceTransaction,
    Dispute,
    EarlyFraudWarning,
    OrderPayment,
    PaymentIntent,
    RadarReview,
    Refund,
    WebhookEvent,
)
from shop_payments.models.words import code_of_brand
from shop_payments.orders import MOST_FOUND, get_order_adapter, reading, search_orders


def _of_event(event_id: str) -> QuerySet[Any]:
    intents = WebhookEvent.objects.filter(event_id=event_id).values("intent_id")
    return PaymentIntent.objects.filter(stripe_id__in=intents)


_BY_STRIPE_ID: dict[str, Callable[[str], QuerySet[Any]]] = {
    "pi_": lambda text: PaymentIntent.objects.filter(stripe_id=text),
    **dict.fromkeys(("ch_", "py_"), lambda text: PaymentIntent.objects.filter(latest_charge=text)),
    **dict.fromkeys(("re_", "pyr_"), lambda text: Refund.objects.filter(stripe_id=text)),
    **dict.fromkeys(("dp_", "du_"), lambda text: Dispute.objects.filter(stripe_id=text)),
    "txn_": lambda text: BalanceTransaction.objects.filter(stripe_id=text),
    "issfr_": lambda text: EarlyFraudWarning.objects.filter(stripe_id=text),
    "prv_": lambda text: RadarReview.objects.filter(stripe_id=text),
    "evt_": _of_event,
}
"""The rows with an id of Stripe, by the prefix of the id. Each has a payment."""


def payments_with_stripe_id(text: str) -> set[int]:
    """Return the primary keys of the payments with an object or event of this id at Stripe."""
    rows = next((find for prefix, find in _BY_STRIPE_ID.items() if text.startswith(prefix)), None)
    return set() if rows is None else set(rows(text).values_list("order_payment", flat=True))


def payments_of_order(text: str) -> set[int]:
    """Return the primary keys of the payments whose orders have this id or number."""
    found = set()
    # The adapter decides what an id looks like: a database fails on an id of another type.
    pk = get_order_adapter().parse_id(text)
    if pk is not None:
        found |= set(OrderPayment.objects.filter(order=pk).values_list("pk", flat=True))
    # The field with the number is unknown for the host's own order model; the id always works.
    if order_is_bundled():
        payments = OrderPayment.objects.filter(order__number__in={text, text.upper()})
        found |= set(payments.values_list("pk", flat=True))
    return found


_CARD = re.compile(r"(?P<brand>[a-z ]*?)[\s•*.x]*(?P<last4>\d{4})", re.IGNORECASE)
"""The last four digits of a card or bank account, with or without the brand: ``visa 4242``."""


def payments_by_card(text: str) -> set[int]:
    """Return the primary keys of the newest payments with this card; none if it names no card."""
    named = _CARD.fullmatch(text)
    if named is None:
        return set()
    intents = PaymentIntent.objects.filter(last4=named["last4"])
    if named["brand"]:
        intents = intents.filter(card_brand=code_of_brand(named["brand"]))
    found = intents.order_by("-order_payment").values_list("order_payment", flat=True)
    return set(found[:MOST_FOUND])


def find_payments(text: str) -> set[int]:
    """Return the primary keys of the payments that staff look for, the most exact matches only."""
    # Four digits may be the id of an order, too.
    exact = payments_with_stripe_id(text) or payments_of_order(text) | payments_by_card(text)
    if exact:
        return exact
    payments = OrderPayment.objects.filter(order__in=search_orders(text))
    return set(payments.values_list("pk", flat=True))


SEARCH_HELP = format_lazy(
    "{} {}",
    _(
        "Search by order number, the beginning of a customer's name or e-mail address, card "
        "(4242 or visa 4242), or Stripe id."
    ),
    format_lazy(_("A search finds at most {number} orders."), number=MOST_FOUND),
)


def read_orders(payments: Iterable[OrderPayment]) -> None:
    """Read the orders of payments with what the adapter's methods need, in a few queries."""
    wanted = list(payments)
    pks = {row.order_id for row in wanted}
    try:
        with reading("get_queryset", min(pks, default=None)):
            orders = list(get_order_adapter().get_queryset().filter(pk__in=pks))
    except OrderUnreadable:  # it has been logged; the list shows what it knows
        return
    if order_is_bundled():
        prefetch_related_objects(orders, "customer")
    by_pk = {order.pk: order for order in orders}
    for payment in wanted:
        # An adapter that leaves out an order does not keep its payment from being shown.
        payment.order = by_pk.get(payment.order_id, payment.order)


class RecordAdmin(LargeListMixin, ReadOnlyAdmin):
    """The pages of rows that only services write, of which there may be millions."""


class PaymentRecordAdmin(RecordAdmin):
    """The pages of rows that belong to an order. Staff find them by its number or id."""

    payment_path: ClassVar[str] = "order_payment"
    """The lookup path from the row to the payment."""

    list_select_related: ClassVar[tuple[str, ...]] = ("order_payment__order",)

    def searches(self, text: str) -> Iterator[Q]:
        yield from super().searches(text)
        if payments := find_payments(text):
            yield Q(**{f"{self.payment_path}__in": payments})

    @admin.display(description=_("order"))
    def order_number(self, row: Any) -> str:
        return number_of(row.order_payment)

    @admin.display(description=_("order payment"))
    def payment_link(self, row: Any) -> str:
        payment: OrderPayment = row.order_payment
        return page_link(payment, number_of(payment), site=self.admin_site)

    @admin.display(description=_("payment intent"))
    def intent_link(self, row: Any) -> str:
        return page_link(row.payment_intent, site=self.admin_site)
