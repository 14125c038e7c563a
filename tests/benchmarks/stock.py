"""A stock admin of the same tables, as one writes it by hand, for ``--scale`` to compare with.

Each list has the columns, filters and page size of the app's list, as far as ``ModelAdmin`` has
them without code, reads related rows with joins, and is searched in the fields that staff need.
The columns are in the order of the app's, so that ``?o=`` means the same.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from urllib.parse import parse_qsl

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import path, reverse
from django.utils.http import urlencode

from config.urls import urlpatterns as _project
from shop_payments import models as app

TIMEOUT_SECONDS = 30

_ORDER = "order_payment__order"
_CUSTOMER = ("first_name", "last_name", "email", "username")
_NUMBER = f"{_ORDER}__number"
_FOUND_BY = [_NUMBER, f"{_ORDER}__email", *(f"{_ORDER}__customer__{name}" for name in _CUSTOMER)]


class _Stock(admin.ModelAdmin):  # type: ignore[type-arg]
    list_per_page = 50
    # Most of the app's lists have none, and so no column with boxes.
    actions: Any = None


class _OfPayment(_Stock):
    list_select_related = [_ORDER]


class _Payments(_Stock):
    list_display = ["order", "amount_received", "status", "method", "livemode", "created_at"]
    list_filter = [
        *("needs_review", "status", "created_at", "currency", "dispute_state"),
        *("payment_intents__method_type", "payment_intents__card_brand"),
        *("payment_intents__livemode", "payment_intents__status"),
    ]
    search_fields = [
        *("order__number", "order__email", *(f"order__customer__{name}" for name in _CUSTOMER)),
        *("payment_intents__stripe_id", "payment_intents__latest_charge"),
        *("payment_intents__card_brand", "payment_intents__last4"),
        *("refunds__stripe_id", "disputes__stripe_id"),
    ]
    list_select_related = ["order__customer"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("payment_intents")

    @admin.display
    def method(self, payment: Any) -> str:
        return ", ".join(each.method_display for each in payment.payment_intents.all())

    @admin.display(boolean=True)
    def livemode(self, payment: Any) -> bool:
        return any(each.livemode for each in payment.payment_intents.all())


class _Orders(_Stock):
    actions = ()  # with Django's own, "delete selected"
    list_display = ["number", "customer", "amount", "status", "currency", "created_at"]
    list_filter = ["status"]
    search_fields = ["number", "email", *(f"customer__{name}" for name in _CUSTOMER)]
    list_select_related = ["customer"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("lines")


class _Intents(_OfPayment):
    list_display = ["stripe_id", _NUMBER, "amount", "status", "wanted", "livemode", "created_at"]
    list_filter = ["status"]
    search_fields = ["stripe_id", "latest_charge", *_FOUND_BY]


class _Attempts(_OfPayment):
    list_display = ["created_at", _NUMBER, "operation", "params", "outcome", "error_code"]
    list_filter = ["outcome", "operation", "created_at"]
    search_fields = ["id", "stripe_object_id", *_FOUND_BY]


class _Refunds(_OfPayment):
    list_display = ["created_at", _NUMBER, "amount", "status", "reason"]
    list_filter = ["status", "created_at"]
    search_fields = ["stripe_id", "payment_intent__stripe_id", *_FOUND_BY]


class _Disputes(_OfPayment):
    list_display = ["stripe_created_at", _NUMBER, "amount", "status", "reason", "evidence_due_at"]
    list_filter = ["status", "livemode", "evidence_due_at", "stripe_created_at"]
    search_fields = ["stripe_id", "payment_intent__stripe_id", *_FOUND_BY]


class _BalanceTransactions(_OfPayment):
    list_display = ["stripe_created_at", _NUMBER, "reporting_category", "amount", "fee", "net"]
    list_filter = ["reporting_category", "stripe_created_at"]
    search_fields = ["stripe_id", "source", "payment_intent__stripe_id", *_FOUND_BY]


class _Events(_Stock):
    actions = ()
    list_display = ["received_at", "type", "status", "outcome", "event_id"]
    list_filter = ["status", "type"]
    search_fields = ["event_id", "intent_id", "object_id"]


class _History(_OfPayment):
    list_display = ["created_at", _NUMBER, "kind", "actor"]
    list_filter = ["kind", "source"]
    search_fields = ["fact_id", "actor", "payment_intent__stripe_id", *_FOUND_BY]


class _ReviewItems(_OfPayment):
    actions = ()
    list_per_page = 25
    list_display = ["reason", _NUMBER, "data", "opened_at"]
    list_filter = ["reason", "closed_at"]
    search_fields = ["subject", "payment_intent__stripe_id", *_FOUND_BY]


class _StaffEntries(_OfPayment):
    list_display = ["created_at", _NUMBER, "kind", "amount", "reason", "revoked_at"]
    list_filter = ["kind", "created_at"]
    search_fields = ["reason", "payment_intent__stripe_id", *_FOUND_BY]


site = admin.AdminSite(name="stock")
for _model, _pages in {
    app.OrderPayment: _Payments,
    app.Order: _Orders,
    app.PaymentIntent: _Intents,
    app.StripeAttempt: _Attempts,
    app.Refund: _Refunds,
    app.Dispute: _Disputes,
    app.BalanceTransaction: _BalanceTransactions,
    app.WebhookEvent: _Events,
    app.PaymentHistory: _History,
    app.ReviewItem: _ReviewItems,
    app.StaffEntry: _StaffEntries,
}.items():
    site.register(_model, _pages)

urlpatterns = [*_project, path("stock/", site.urls)]

# --- the same questions -------------------------------------------------------------------------

_Asked = dict[str, str]


def _method(code: str) -> _Asked:
    is_brand = code in {"visa", "mastercard", "amex"}
    field = "card_brand" if is_brand else "method_type"
    return {f"payment_intents__{field}__exact": code}


def _notified(value: str) -> _Asked:
    waiting = {"dispatched_at__isnull": "1", "skipped_at__isnull": "1"}
    failing = {"dispatch_failures__gt": "0"} if value == "failing" else {}
    return {"needs_dispatch__exact": "1", **waiting, **failing}


def _midnight(day: str, *, after: int = 0) -> str:
    return f"{date.fromisoformat(day) + timedelta(days=after)} 00:00:00+00:00"


_OTHERWISE: dict[tuple[type, str], Callable[[str], _Asked]] = {
    (app.OrderPayment, "capture"): lambda _open: {
        "payment_intents__status__exact": "requires_capture"
    },
    (app.OrderPayment, "mode"): lambda mode: {
        "payment_intents__livemode__exact": "1" if mode == "live" else "0"
    },
    (app.OrderPayment, "method"): _method,
    (app.OrderPayment, "created_from"): lambda day: {"created_at__gte": _midnight(day)},
    (app.OrderPayment, "created_until"): lambda day: {"created_at__lt": _midnight(day, after=1)},
    (app.OrderPayment, "total_from"): lambda amount: {"total__gte": f"{amount}00"},
    (app.OrderPayment, "total_until"): lambda amount: {"total__lte": f"{amount}00"},
    (app.PaymentHistory, "notified"): _notified,
    (app.ReviewItem, "state"): lambda state: (
        {"closed_at__isnull": "0"} if state == "closed" else {}
    ),
    (app.StaffEntry, "state"): lambda state: {
        "revoked_at__isnull": "1" if state == "not_revoked" else "0"
    },
}
"""Parameters of the app's filters, and what to ask of a stock list instead."""

_IMPOSSIBLE = {(app.Order, "payment")}
"""Nothing in an order refers to its payment, so a stock list has no such filter."""


def stock_url(model: type[Any], query: str) -> str | None:
    """Return the URL of the same rows in the stock admin; None if it cannot be asked for them."""
    asked: _Asked = {}
    given = dict(parse_qsl(query.removeprefix("?")))
    if any((model, name) in _IMPOSSIBLE for name in given):
        return None
    if model is app.ReviewItem and not {"state", "q"} & set(given):
        asked["closed_at__isnull"] = "1"  # the app's list begins with the open items
    for name, value in given.items():
        translate = _OTHERWISE.get((model, name))
        asked |= translate(value) if translate else {name: value}
    url = reverse(f"stock:shop_payments_{model._meta.model_name}_changelist")
    return f"{url}?{urlencode(asked)}"
