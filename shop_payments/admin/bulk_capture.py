"""The action of the list of payments that captures the reserved money of several of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.actions import origin_of
from shop_payments.admin.base import amount_text, in_words, number_of
from shop_payments.admin.confirm_many import ManyRow, confirm_page
from shop_payments.admin.forms import CaptureManyForm
from shop_payments.admin.intent_actions import is_of_this_mode
from shop_payments.admin.queue import may_change_payments
from shop_payments.admin.records import read_orders
from shop_payments.exceptions import (
    GatewayError,
    OrderAlreadyPaid,
    PaymentMismatch,
    ShopPaymentsError,
)
from shop_payments.ledger.facts import Origin
from shop_payments.lifecycle import CAPTURABLE_STATUSES
from shop_payments.models import OrderPayment, PaymentIntent
from shop_payments.orders import read_customer
from shop_payments.services.capture_payment import capture_payment

MAX_PAYMENTS = 100
"""Payments that are captured in one request: each costs a call to Stripe and adds a message."""

MAX_SECONDS = 25
"""The time after which no further capture begins. A server kills a request that takes minutes."""

NAME = "capture_selected"


@dataclass(frozen=True, kw_only=True)
class _Reserved:
    payment: OrderPayment
    intent: PaymentIntent

    @property
    def key(self) -> str:
        """The text that is the same as long as the same money is reserved."""
        intent = self.intent
        return f"{self.payment.pk}:{intent.pk}:{intent.amount_capturable}:{intent.currency}"

    @property
    def amount(self) -> str:
        return amount_text(self.intent.amount_capturable, self.intent.currency)

    @property
    def is_owed(self) -> bool:
        """Whether the order owes all of it, as far as is known. The service reads the order."""
        payment = self.payment
        return payment.is_payable and self.intent.amount_capturable <= payment.amount_owed


@admin.action(
    description=_("Capture the reserved money of the selected payments"), permissions=["capture"]
)
def capture_selected(
    model_admin: Any, request: HttpRequest, queryset: QuerySet[OrderPayment]
) -> HttpResponse | None:
    """Show what will be captured; after a confirmation, capture one payment after another."""
    # In a fixed order, so that the page lists them the same way when it is shown again.
    rows = queryset.prefetch_related("payment_intents").order_by("pk")
    payments = list(rows[: MAX_PAYMENTS + 1])
    if len(payments) > MAX_PAYMENTS:
        text = gettext("Select at most %(maximum)d payments. Nothing was captured.")
        model_admin.message_user(request, text % {"maximum": MAX_PAYMENTS}, messages.ERROR)
        return None
    read_orders(payments)
    reserved = [each for each in map(_reserved_in, payments) if each is not None]
    to_capture = [each for each in reserved if each.is_owed]
    notes = _left_out(payments, reserved)
    if not to_capture:
        for text in notes or [gettext("Nothing was captured.")]:
            model_admin.message_user(request, text, messages.WARNING)
        return None
    keys = " ".join(each.key for each in to_capture)
    is_sent = "shown" in request.POST
    form = CaptureManyForm(request.POST if is_sent else None, initial={"shown": keys})
    if form.is_valid():
        shown = form.cleaned_data["shown"].split()
        changed = [each for each in to_capture if each.key not in shown]
        if not changed:
            _capture_all(model_admin, request, to_capture)
            return None
        form.show_again(keys, _describe_changed(changed))
    return _page(model_admin, request, form, to_capture, notes)


class BulkCaptureMixin:
    """The list of payments, with the action. Its ``changelist_view`` must be exempted from
    transactions: see Note [Custom views] in ``actions.py``."""

    actions: ClassVar[Any] = (capture_selected,)

    def has_capture_permission(self, request: HttpRequest) -> bool:
        """Return whether this member of staff may capture money."""
        return may_change_payments(request.user)


def _reserved_in(payment: OrderPayment) -> _Reserved | None:
    """Return the money of a payment that can be captured with the key in use, if there is any."""
    for intent in payment.payment_intents.all():
        is_reserved = intent.status in CAPTURABLE_STATUSES and intent.amount_capturable > 0
        if is_reserved and is_of_this_mode(intent):
            return _Reserved(payment=payment, intent=intent)
    return None


def _left_out(payments: Sequence[OrderPayment], reserved: Sequence[_Reserved]) -> list[str]:
    """Describe the selected payments that are not captured."""
    notes = []
    if without := len(payments) - len(reserved):
        text = ngettext(
            "%(count)d selected payment has no reserved money and is left out.",
            "%(count)d selected payments have no reserved money and are left out.",
            without,
        )
        notes.append(text % {"count": without})
    if too_much := [number_of(each.payment) for each in reserved if not each.is_owed]:
        text = gettext(
            "Left out, because more is reserved than the order owes, or the order does not accept"
            " payments: %(orders)s. Capture or cancel these on their own pages."
        )
        notes.append(text % {"orders": ", ".join(too_much)})
    return notes


def _describe_changed(changed: Sequence[_Reserved]) -> str:
    text = gettext(
        "The reserved money has changed since this page was opened, so nothing was captured."
        " Read the amounts again. Changed: %(orders)s."
    )
    return text % {"orders": ", ".join(number_of(each.payment) for each in changed)}


def _sums(reserved: Sequence[_Reserved]) -> str:
    """Return the sum for each currency."""
    sums: Counter[str] = Counter()
    for each in reserved:
        sums[each.intent.currency] += each.intent.amount_capturable
    return ", ".join(amount_text(amount, currency) for currency, amount in sorted(sums.items()))


def _page(
    model_admin: Any,
    request: HttpRequest,
    form: CaptureManyForm,
    to_capture: Sequence[_Reserved],
    notes: Sequence[str],
) -> HttpResponse:
    count = len(to_capture)
    heading = ngettext(
        "%(sums)s of %(count)d payment will be captured",
        "%(sums)s of %(count)d payments will be captured",
        count,
    )
    effect = gettext(
        "Stripe takes the full reserved amount of each payment from its customer, one payment "
        "after another. If one fails, the others are captured nevertheless. A capture cannot be "
        "undone. To return the money, refund it."
    )
    return confirm_page(
        model_admin,
        request,
        form,
        action=NAME,
        title=gettext("Capture several payments"),
        heading=heading % {"sums": _sums(to_capture), "count": count},
        rows=[
            ManyRow(
                row=each.payment,
                name=number_of(each.payment),
                details=[read_customer(each.payment.order), each.amount],
            )
            for each in to_capture
        ],
        notes=notes,
        effect=effect,
        button=gettext("Capture"),
    )


# --- capturing ----------------------------------------------------------------------------------


def _capture_all(model_admin: Any, request: HttpRequest, to_capture: Sequence[_Reserved]) -> None:
    origin, begun_at = origin_of(request), monotonic()
    captured, not_tried = [], []
    for each in to_capture:
        if monotonic() - begun_at > MAX_SECONDS:
            not_tried.append(number_of(each.payment))
            continue
        is_captured, level, what = _capture(each, origin)
        text = gettext("Order %(order)s: %(what)s") % {
            "order": number_of(each.payment),
            "what": what,
        }
        model_admin.message_user(request, text, level)
        captured += [each] if is_captured else []
    if not_tried:
        text = gettext(
            "Stripe was slow, so these were not tried: %(orders)s. Select them again."
        ) % {"orders": ", ".join(not_tried)}
        model_admin.message_user(request, text, messages.WARNING)
    if captured:
        text = gettext("Captured %(count)d of %(all)d payments: %(sums)s.") % {
            "count": len(captured),
            "all": len(to_capture),
            "sums": _sums(captured),
        }
        model_admin.message_user(request, text, messages.SUCCESS)


def _capture(reserved: _Reserved, origin: Origin) -> tuple[bool, int, str]:
    """Capture one payment; return whether money was captured, the level and what happened."""
    # Without an amount, the service refuses more than the order owes by now.
    try:
        intent = capture_payment(order_id=reserved.payment.order_id, origin=origin)
    except OrderAlreadyPaid:  # by another request, or in Stripe's dashboard
        return False, messages.INFO, gettext("The money was already captured.")
    except PaymentMismatch as error:
        return True, messages.WARNING, in_words(error)
    except GatewayError as error:
        return False, messages.ERROR, _explain(error)
    except ShopPaymentsError as error:
        return False, messages.ERROR, gettext("Not captured: %(why)s") % {"why": in_words(error)}
    amount = amount_text(intent.amount_received, intent.currency)
    return True, messages.SUCCESS, gettext("%(amount)s was captured.") % {"amount": amount}


def _explain(error: GatewayError) -> str:
    if error.effect_unknown:
        return gettext(
            "Stripe has not answered, so it is not known yet whether the money was captured. Select"
            " the payment again in a moment. Stripe captures it only once."
        )
    return gettext("Not captured. Stripe said: %(why)s") % {"why": error}
