"""The app's part of the admin's first page: what staff work with, and what waits for them.

Django lists the models of an app by their names. Staff need the queue first, with the number of its
items, and rarely the technical records. So the list of the site is arranged here, for whatever
``AdminSite`` the pages are registered with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import ModelAdmin, admin_url
from shop_payments.admin.queue import count_by_reason, count_other_work, number_text
from shop_payments.models import OrderPayment, ReviewItem

Entry = dict[str, Any]
"""A model or an app in the list, with the keys that Django's templates read."""

_APP = "shop_payments"

_DESK = ("ReviewItem", "OrderPayment", "Order", "Refund", "Dispute", "APIKey")
"""The models that staff work with, in this order. The others are behind "Records"."""

_NAMES = {
    "ReviewItem": _("To review"),
    "OrderPayment": _("Payments"),
    "Order": _("Orders"),
    "Refund": _("Refunds"),
    "Dispute": _("Disputes"),
    "APIKey": _("API keys"),
}


def arrange(site: AdminSite) -> None:
    """Let ``site`` list the app's pages in the order of the staff's work."""
    listed: Callable[..., list[Entry]] = site.get_app_list
    if getattr(listed, "is_arranged", False):
        return

    def get_app_list(request: HttpRequest, app_label: str | None = None) -> list[Entry]:
        # A site of the host may take no label, as in older releases of Django.
        apps = listed(request) if app_label is None else listed(request, app_label)
        for app in apps:
            if app["app_label"] == _APP:
                app["models"] = [*_entries(site, request, app["models"])]
        is_index = app_label is None and request.path == reverse(
            "admin:index", current_app=site.name
        )
        return [*_to_do(site, request), *apps] if is_index else apps

    get_app_list.is_arranged = True  # type: ignore[attr-defined]
    site.get_app_list = get_app_list  # type: ignore[method-assign]


def _entries(site: AdminSite, request: HttpRequest, models: list[Entry]) -> Iterator[Entry]:
    by_name = {entry["object_name"]: entry for entry in models}
    for name in _DESK:
        if name == "APIKey" and may_see_pages(site, request):
            url = admin_url(site, "shop_payments_overview")
            yield _link(gettext("Overview"), url, "Overview", OrderPayment)
        if entry := by_name.pop(name, None):
            yield {**entry, "name": _name(name)}
    if not may_see_pages(site, request):
        yield from by_name.values()  # the page with their links is not for them
    elif by_name:
        url = admin_url(site, "shop_payments_records")
        yield _link(gettext("Records"), url, "Records", OrderPayment)


def may_see_pages(site: AdminSite, request: HttpRequest) -> bool:
    """Return whether this member of staff sees the overview and the technical records."""
    # Their URLs are among those of the payments.
    user: Any = request.user
    return site.is_registered(OrderPayment) and user.has_perm("shop_payments.view_orderpayment")


def records_page(admin: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """Show links to the lists of the technical records."""
    site = admin.admin_site
    if not may_see_pages(site, request):
        raise PermissionDenied
    request.current_app = site.name
    models = []
    for model, model_admin in site._registry.items():
        meta = model._meta
        is_record = meta.app_label == _APP and meta.object_name not in _DESK
        if is_record and model_admin.has_view_permission(request):
            url = admin_url(site, f"{_APP}_{meta.model_name}_changelist")
            name = capfirst(str(meta.verbose_name_plural))
            models.append(_link(name, url, str(meta.object_name), model))
    models.sort(key=lambda entry: str(entry["name"]))
    app = {"name": gettext("Records"), "app_label": _APP, "app_url": request.path}
    context = {
        **site.each_context(request),
        "title": gettext("Records"),
        "app_list": [{**app, "models": models}],
        "opts": admin.opts,
    }
    return TemplateResponse(request, "admin/shop_payments/records.html", context)


def _name(model_name: str) -> str:
    if model_name != "ReviewItem":
        return str(_NAMES[model_name])
    return gettext("To review (%(count)s)") % {"count": number_text(ReviewItem.objects.open())}


def _to_do(site: AdminSite, request: HttpRequest) -> Iterator[Entry]:
    """Yield what waits for staff, by its kind: the kind with the nearest deadline first."""
    user: Any = request.user
    if not user.has_perm("shop_payments.view_reviewitem") or not site.is_registered(ReviewItem):
        return
    queue = admin_url(site, "shop_payments_reviewitem_changelist")
    waiting = [
        _link(str(kind), f"{queue}?{urlencode({'reason': kind.reason})}", kind.reason, ReviewItem)
        for kind in count_by_reason()
    ]
    waiting += [
        _link(each["text"], each["url"], each["key"], each["model"])
        for each in count_other_work(site, user)
    ]
    if waiting:
        yield {
            "name": gettext("Payments to review"),
            "app_label": f"{_APP}_to_review",
            "app_url": queue,
            "has_module_perms": True,
            "models": waiting,
        }


def _link(name: str, url: str, key: str, model: type[Model]) -> Entry:
    """Return an entry that only leads to a page."""
    return {
        "name": name,
        "object_name": key,
        "model": model,
        "perms": {"add": False, "change": False, "delete": False, "view": True},
        "admin_url": url,
        "add_url": None,
        "view_only": True,
    }
