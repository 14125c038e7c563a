"""The lists of the admin with each filter, order and search, for benchmarks and query plans."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib import admin
from django.test import RequestFactory
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

from shop_payments.models import APIKey, Order, OrderPayment, WebhookEvent
from tests.bulk import brand_of, family_of, last4_of

FAR = 100
"""A page far from the first one."""


@dataclass(frozen=True)
class ListPage:
    """A page of a list."""

    model: type[Any]
    what: str
    """What is asked, for example ``search an intent``."""

    query: str

    @property
    def name(self) -> str:
        return f"{self.model._meta.model_name}: {self.what}"

    @property
    def url(self) -> str:
        url = reverse(f"admin:shop_payments_{self.model._meta.model_name}_changelist")
        return f"{url}{self.query}"


def list_pages(user: Any, *, order: int) -> Iterator[ListPage]:
    """Yield the pages of the lists, in the shop of ``tests/bulk.py``.

    The searches are about ``order``.
    """
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label != "shop_payments" or model is APIKey:
            continue
        for what, query in (*_queries(model, model_admin, user), *_searches(model, order)):
            yield ListPage(model, what, query)


def _queries(model: Any, model_admin: Any, user: Any) -> Iterator[tuple[str, str]]:
    yield "first page", ""
    request = RequestFactory().get("/")
    request.user = user
    page = model_admin.get_changelist_instance(request)
    yield "a later page", f"?p={page.paginator.num_pages}"
    before = (FAR - 1) * page.list_per_page
    if model._base_manager.order_by("pk")[before : before + 1].exists():
        yield f"page {FAR}", f"?p={FAR}"
    for spec in page.filter_specs:
        for choice in list(spec.choices(page))[1:]:  # the first one is "All"
            yield f"{spec.title} {choice['display']}", choice["query_string"]
    if model is OrderPayment:
        yield from _ranges()
    for column in page.sortable_by:
        number = page.list_display.index(column)
        yield f"sorted by {column}", f"?o={number}"
        yield f"sorted by {column}, descending", f"?o=-{number}"


def _ranges() -> Iterator[tuple[str, str]]:
    """Yield what staff type into the filters with two fields."""
    today = timezone.now().date()
    for days in (45, 85):
        day = today - timedelta(days=days)
        yield f"created {days} days ago", f"?created_from={day}&created_until={day}"
    yield "created until 85 days ago", f"?created_until={day}"
    yield "order total 150 to 151", "?total_from=150&total_until=151"
    yield "order total from 150", "?total_from=150"
    yield "order total from 900", "?total_from=900"


def _searches(model: Any, order: int) -> Iterator[tuple[str, str]]:
    terms = {
        "an intent": f"pi_{order}",
        "an order id": str(order),
        "an order number": f"ord-20261129-{order}",
        "an unknown word": "nobody",
        "an unknown UUID": "00000000-0000-4000-8000-000000000000",
    }
    last4, anna = last4_of(order), family_of(order % 19 * 5 + 5)
    if model is OrderPayment:
        terms |= {"a charge": f"ch_{order}", "a refund": f"re_{order}", "an event": f"evt_{order}"}
        terms |= {"a card": f"{brand_of(order)} {last4}", "last digits": last4}
        terms |= {"a name": f"anna {anna}", "a family name": anna, "a first name": "anna"}
        terms |= {"an e-mail address": f"Customer{order % 97 + 1}@exam"}
        terms |= {"a beginning": f"ORD-20261129-{order // 10}", "a common beginning": "ord-"}
    elif model is WebhookEvent:
        terms = {"an intent": f"pi_{order}", "an event": f"evt_{order}", "an unknown word": "none"}
    elif model is Order:
        terms |= {
            "a beginning": f"ORD-20261129-{order // 10}",
            "a common beginning": "ord-",
            "an e-mail address": f"Customer{order % 97 + 1}@example.com",
            "a user name": f"u{order % 97 + 1}",
        }
    for name, term in terms.items():
        yield f"search {name}", f"?{urlencode({'q': term})}"
