"""The lists of the admin with each filter, order and search, for benchmarks and query plans."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib import admin
from django.test import RequestFactory
from django.urls import reverse
from django.utils.http import urlencode

from shop_payments.models import APIKey, Order, OrderPayment, WebhookEvent


def list_pages(user: Any, *, order: int) -> Iterator[tuple[str, str]]:
    """Yield a name and the URL of each page of the lists, in the shop of ``tests/bulk.py``.

    The searches are about ``order``.
    """
    for model, model_admin in admin.site._registry.items():
        if model._meta.app_label != "shop_payments" or model is APIKey:
            continue
        name = str(model._meta.model_name)
        url = reverse(f"admin:shop_payments_{name}_changelist")
        for what, query in (*_queries(model_admin, url, user), *_searches(model, order)):
            yield f"{name}: {what}", f"{url}{query}"


def _queries(model_admin: Any, url: str, user: Any) -> Iterator[tuple[str, str]]:
    yield "first page", ""
    request = RequestFactory().get(url)
    request.user = user
    page = model_admin.get_changelist_instance(request)
    yield "a later page", f"?p={page.paginator.num_pages}"
    for spec in page.filter_specs:
        for choice in list(spec.choices(page))[1:]:  # the first one is "All"
            yield f"{spec.title} {choice['display']}", choice["query_string"]
    for column in page.sortable_by:
        number = page.list_display.index(column)
        yield f"sorted by {column}", f"?o={number}"
        yield f"sorted by {column}, descending", f"?o=-{number}"


def _searches(model: Any, order: int) -> Iterator[tuple[str, str]]:
    terms = {
        "an intent": f"pi_{order}",
        "an order id": str(order),
        "an order number": f"ord-20261129-{order}",
        "an unknown word": "nobody",
        "an unknown UUID": "00000000-0000-4000-8000-000000000000",
    }
    if model is OrderPayment:
        terms |= {"a charge": f"ch_{order}", "a refund": f"re_{order}", "an event": f"evt_{order}"}
        terms |= {
            "a card": "visa 0919",
            "last digits": "0919",
            "a name": f"anna family{order % 97}",
        }
        terms |= {"an e-mail address": f"Customer{order % 97 + 1}@exam"}
    elif model is WebhookEvent:
        terms = {"an intent": f"pi_{order}", "an event": f"evt_{order}", "an unknown word": "none"}
    elif model is Order:
        terms |= {
            "a beginning": f"ORD-20261129-{order // 10}",
            "an e-mail address": f"Customer{order % 97 + 1}@example.com",
            "a user name": f"u{order % 97 + 1}",
        }
    for name, term in terms.items():
        yield f"search {name}", f"?{urlencode({'q': term})}"
