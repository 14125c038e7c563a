"""The pages of API keys: staff issue and revoke them, and see each secret once."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.cache import add_never_cache_headers
from django.utils.translation import gettext, ngettext, pgettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import ModelAdmin, ModelForm, ReadOnlyAdmin, admin_url, moment_text
from shop_payments.admin.lists import CheckedPagesMixin
from shop_payments.models import APIKey, APIKeyScope

_LAST_FORM = "shop_payments_last_key_form"
"""Session key of the add form that was sent last, so that a reload issues no second key."""


class APIKeyForm(ModelForm):
    scopes = forms.MultipleChoiceField(
        label=_("Scopes"), choices=APIKeyScope.choices, widget=forms.CheckboxSelectMultiple
    )
    # Identifies this form. See _LAST_FORM.
    once = forms.UUIDField(required=False, initial=uuid4, widget=forms.HiddenInput)

    class Meta:
        model = APIKey
        fields = ["label", "scopes", "expires_at"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "expires_at" in self.fields:
            # Django's label belongs to neither of the two inputs.
            widget: Any = self.fields["expires_at"].widget
            names = (_("Date of expiry"), _("Time of expiry"))
            for each, name in zip(getattr(widget, "widgets", ()), names, strict=False):
                each.attrs["aria-label"] = name

    def clean_expires_at(self) -> datetime | None:
        expires_at: datetime | None = self.cleaned_data["expires_at"]
        if expires_at is not None and expires_at <= timezone.now():
            raise forms.ValidationError(_("The expiry date is in the past."))
        return expires_at


class StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("live", pgettext_lazy("API key", "live")),
            ("expired", _("expired")),
            ("revoked", _("revoked")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        expired = Q(expires_at__lte=timezone.now())
        unrevoked = queryset.filter(revoked_at=None)
        match self.value():
            case "live":
                return unrevoked.exclude(expired)
            case "expired":
                return unrevoked.filter(expired)
            case "revoked":
                return queryset.exclude(revoked_at=None)
        return queryset


class APIKeyAdmin(CheckedPagesMixin, ReadOnlyAdmin):
    """Staff issue and revoke keys, but never edit or delete them. No page shows a digest."""

    form = APIKeyForm
    list_display = ["label", "prefix", "scopes_text", "state", "expires_at", "last_used_at"]
    list_filter = [StateFilter, "created_at", "last_used_at"]
    search_fields = ["label", "prefix"]
    search_help_text = _("Search by client or prefix.")
    actions = ["revoke"]
    # Django's own template, with its history: staff see who issued and who revoked the key.
    change_form_template = None

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return ModelAdmin.has_add_permission(self, request)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return ModelAdmin.has_change_permission(self, request)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            hint = _(
                "The client is the program that will use the key. Without an expiry date, the "
                "key works until it is revoked."
            )
            fields = ["label", "scopes", "expires_at", "once"]
            return [(None, {"description": hint, "fields": fields})]
        times = ["created_at", "expires_at", "revoked_at", "last_used_at"]
        return [(None, {"fields": ["label", "prefix", "scopes_text", "state", *times]})]

    @admin.display(description=_("scopes"))
    def scopes_text(self, key: APIKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description=_("state"))
    def state(self, key: APIKey) -> str:
        if key.is_revoked:
            return gettext("revoked")
        return gettext("expired") if key.is_expired else pgettext("API key", "live")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method == "POST" and self._is_reload(request):
            text = _("This key was already issued. Its secret cannot be shown again.")
            self.message_user(request, text, messages.WARNING)
            return redirect(admin_url(self.admin_site, "shop_payments_apikey_changelist"))
        # The secret is shown in the answer, which must not be another form.
        only_save = {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().add_view(request, form_url, {**(extra_context or {}), **only_save})

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        key, obj.secret = APIKey.objects.issue(
            label=obj.label, scopes=obj.scopes, expires_at=obj.expires_at
        )
        # The admin logs and shows ``obj``, so it becomes the row that the manager has created.
        obj.pk = key.pk
        obj.refresh_from_db()
        request.session[_LAST_FORM] = str(form.cleaned_data["once"])

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the secret in this response: for a redirect, it would have to be stored."""
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": _("API key issued"),
            "opts": self.opts,
            "media": self.media,
            "key": obj,
            "secret": obj.secret,
        }
        template = "admin/shop_payments/apikey/issued.html"
        response = TemplateResponse(request, template, context)
        add_never_cache_headers(response)
        return response

    @admin.action(description=_("Revoke the selected keys"), permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        """Ask first, and revoke the selected keys."""
        # A revoked key keeps the time at which it was revoked.
        keys = list(queryset.filter(revoked_at=None))
        if keys and not request.POST.get("sure"):
            return self._ask_to_revoke(request, keys)
        for key in keys:
            key.revoke()
            self.log_change(request, key, gettext("Revoked."))
        text = ngettext("%(count)d key was revoked.", "%(count)d keys were revoked.", len(keys))
        self.message_user(request, text % {"count": len(keys)}, messages.SUCCESS)
        return None

    def _ask_to_revoke(self, request: HttpRequest, keys: list[APIKey]) -> HttpResponse:
        request.current_app = self.admin_site.name
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Revoke API keys"),
            "opts": self.opts,
            "media": self.media,
            "keys": [(key, self.scopes_text(key), moment_text(key.last_used_at)) for key in keys],
        }
        return TemplateResponse(request, "admin/shop_payments/apikey/revoke.html", context)

    def _is_reload(self, request: HttpRequest) -> bool:
        once = request.POST.get("once")
        return bool(once) and once == request.session.get(_LAST_FORM)
