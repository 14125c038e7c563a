"""The page on which staff confirm an action on several rows of a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.cache import add_never_cache_headers
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

TEMPLATE = "admin/shop_payments/confirm_many.html"


@dataclass(frozen=True, kw_only=True)
class ManyRow:
    """A row that the action is about."""

    row: Model
    name: str
    details: Sequence[str]

    @property
    def text(self) -> SafeString:
        """The details that are not empty."""
        # Each by itself: a name in Hebrew would draw the amount beside it to its other side.
        details = [(each,) for each in self.details if each]
        return format_html_join(" – ", "<bdi>{}</bdi>", details)


def action_in(request: HttpRequest) -> str:
    """Return the action that the form of a list names; empty if it names none."""
    # Above and below the list is one field each. Django takes the one whose button was clicked.
    actions = request.POST.getlist("action")
    index = request.POST.get("index", "0")
    at = int(index) if index.isascii() and index.isdigit() and len(index) < _MAX_DIGITS else 0
    return actions[at] if at < len(actions) else ""


_MAX_DIGITS = 3


def confirm_page(
    model_admin: Any,
    request: HttpRequest,
    form: forms.Form,
    *,
    action: str,
    title: str,
    heading: str,
    rows: Sequence[ManyRow],
    effect: str,
    button: str,
    notes: Sequence[str] = (),
) -> HttpResponse:
    """Render the page. Its form calls the same action of the list again, for the same rows."""
    request.current_app = model_admin.admin_site.name  # for the links in the template
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "opts": model_admin.opts,
        "media": model_admin.media,
        "form": form,
        "action": action,
        "checkbox_name": ACTION_CHECKBOX_NAME,
        "heading": heading,
        "rows": rows,
        "notes": notes,
        "effect": effect,
        "button": button,
    }
    response = TemplateResponse(request, TEMPLATE, context)
    add_never_cache_headers(response)
    return response
