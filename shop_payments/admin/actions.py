"""The pages on which staff act on a payment. The services do it; here it is asked for.

Note [Views of our own]
~~~~~~~~~~~~~~~~~~~~~~~
Django's own pages save within a transaction, in which Stripe must not be called. So each action is
a separate view, outside ``ATOMIC_REQUESTS`` as well, and it writes nothing itself: if it fails,
what the service has written stays.

A form that is sent twice acts once. A refund or a staff entry carries its idempotency key in the
form, and keeps it for as long as another try with it is the same request. An intent is captured or
cancelled once, and an entry is revoked once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID, uuid4

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import ModelAdmin, amount_text, number_of, outside_of_transactions
from shop_payments.admin.entry_actions import RevokeAction, SettleAction, WaiveAction
from shop_payments.admin.intent_actions import CancelAction, CaptureAction, RefundAction
from shop_payments.admin.tasks import Action, Found, Outcome, Refused, Target, Task, explain
from shop_payments.exceptions import ShopPaymentsError
from shop_payments.models import OrderPayment, Source, StaffEntry
from shop_payments.money import from_minor_units
from shop_payments.services.history import Origin

TEMPLATE = "admin/shop_payments/action.html"

ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        CaptureAction(),
        RefundAction(),
        WaiveAction(),
        SettleAction(),
        CancelAction(),
        RevokeAction(),
    )
}
"""All of them, in the order of their buttons."""


def origin_of(request: HttpRequest) -> Origin:
    """Name the member of staff for the history."""
    return Origin(source=Source.ADMIN, actor=f"staff {request.user.pk}")


def staff_view(admin: ModelAdmin, view: Callable[..., HttpResponse]) -> Callable[..., Any]:
    """Wrap a view for staff who have logged in, with CSRF. See Note [Views of our own]."""
    return outside_of_transactions(admin.admin_site.admin_view(view))


# --- links --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ActionLink:
    """A button that leads to an action's page, or to another one where something can be done."""

    url: str
    label: str
    is_suggested: bool = False
    """Whether it does exactly what a review item suggests."""

    is_external: bool = False


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An action that a member of staff may carry out now."""

    action: Action
    target: Target

    def link(self) -> ActionLink:
        """Return the button that leads to its page."""
        return ActionLink(url=self._url(), label=self.action.label(self.target))

    def suggested_link(self, amount: int | None = None) -> ActionLink:
        """Return the button that does what is suggested; an amount is filled in as it is."""
        if amount is None:
            return replace(self.link(), is_suggested=True)
        money = amount_text(amount, self.action.currency(self.target))
        label = self.action.exact_label(money)
        return ActionLink(url=f"{self._url()}?amount={amount}", label=label, is_suggested=True)

    def _url(self) -> str:
        name = f"admin:shop_payments_orderpayment_{self.action.name}"
        args = [self.target.payment.pk, *([self.target.pk] if self.action.has_row else [])]
        return reverse(name, args=args)


def offers_of(request: HttpRequest, payment: OrderPayment) -> list[Offer]:
    """Return what this member of staff may do with ``payment`` now."""
    user: Any = request.user
    if not user.has_perm("shop_payments.view_orderpayment"):
        return []
    found = Found.of(payment)
    return [
        Offer(action=action, target=target)
        for action in ACTIONS.values()
        for target in action.targets(found)
        if user.has_perm(action.permission(target)) and action.is_offered(target)
    ]


def action_links(request: HttpRequest, payment: OrderPayment) -> list[ActionLink]:
    """Return the buttons for what this member of staff may do with ``payment`` now."""
    return [offer.link() for offer in offers_of(request, payment)]


def links_about(request: HttpRequest, entry: StaffEntry) -> list[ActionLink]:
    """Return the buttons for what this member of staff may do with a staff entry now."""
    offers = offers_of(request, entry.order_payment)
    return [offer.link() for offer in offers if offer.target.staff_entry == entry]


# --- the view -----------------------------------------------------------------------------------


def action_urls(admin: ModelAdmin) -> list[URLPattern]:
    """Return the pages of all actions, to go before the admin's own."""
    return [
        path(
            f"<int:payment_pk>/{action.name}/{'<int:pk>/' if action.has_row else ''}",
            staff_view(admin, ActionView(admin, action)),
            name=f"shop_payments_orderpayment_{action.name}",
        )
        for action in ACTIONS.values()
    ]


class ActionView:
    """Show an action's form, and carry it out."""

    def __init__(self, admin: ModelAdmin, action: Action) -> None:
        self.admin, self.action = admin, action

    def __call__(
        self, request: HttpRequest, payment_pk: int, pk: int | None = None
    ) -> HttpResponse:
        if not self.admin.has_view_permission(request):
            raise PermissionDenied
        target = self._target(payment_pk, pk)
        if target is None:
            return redirect("admin:shop_payments_orderpayment_changelist")
        user: Any = request.user
        if not user.has_perm(self.action.permission(target)):
            raise PermissionDenied
        back = reverse("admin:shop_payments_orderpayment_change", args=[payment_pk])
        is_offered = self.action.is_offered(target)
        if not is_offered and (request.method != "POST" or self.action.is_final):
            self.admin.message_user(request, self.action.why_not(target), messages.WARNING)
            return redirect(back)
        if request.method != "POST":
            return self._page(request, target, self._form(request, target), uuid4())
        form = self._form(request, target, request.POST)
        key, outcome = self._try(request, target, form)
        if outcome is not None:
            self.admin.message_user(request, outcome.text, outcome.level)
            return redirect(back)
        target = self._target(payment_pk, pk) or target
        return self._page(request, target, form, key)

    def _target(self, payment_pk: int, pk: int | None) -> Target | None:
        payment = OrderPayment.objects.select_related("order").filter(pk=payment_pk).first()
        if payment is None:
            return None
        targets = self.action.targets(Found.of(payment))
        return next((target for target in targets if target.pk == pk), None)

    def _form(self, request: HttpRequest, target: Target, data: Any = None) -> forms.Form:
        initial: dict[str, Any] = {}
        amount = self.action.amount(target)
        if amount is not None:
            named = _named_amount(request)
            amount = amount if named is None else named
            initial["amount"] = from_minor_units(amount, self.action.currency(target))
        return self.action.form(target, request.user, data=data, initial=initial)

    def _try(
        self, request: HttpRequest, target: Target, form: forms.Form
    ) -> tuple[UUID, Outcome | None]:
        """Carry the action out; return the key of the next try, and what to say on success."""
        try:
            key = UUID(request.POST.get("key", ""))
        except ValueError:
            form.add_error(None, gettext("The form was incomplete. Check it and send it again."))
            return uuid4(), None
        if not form.is_valid():
            return key, None
        task = Task(
            target=target,
            values=form.cleaned_data,
            key=key,
            user=request.user,
            origin=origin_of(request),
        )
        try:
            return key, self.action.carry_out(task)
        except Refused as error:
            form.add_error(error.field, str(error))
            return key if error.same_key else uuid4(), None
        except ShopPaymentsError as error:
            form.add_error(None, explain(error))
            return uuid4(), None

    def _page(
        self, request: HttpRequest, target: Target, form: forms.Form, key: UUID
    ) -> HttpResponse:
        facts = self.action.facts(target)
        if target.intent_options is not None:
            facts.append((_("Payment intent"), target.options.intent.stripe_id))
        return action_page(
            self.admin,
            request,
            target.payment,
            form,
            title=self.action.title,
            subtitle=number_of(target.payment),
            button=self.action.button,
            facts=facts,
            key=key,
        )


_MOST_DIGITS = 18


def _named_amount(request: HttpRequest) -> int | None:
    """Return the amount that the link to the page has named, in minor units."""
    text = request.GET.get("amount", "")
    is_amount = text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS
    return int(text) if is_amount else None


def action_page(
    admin: ModelAdmin,
    request: HttpRequest,
    row: Any,
    form: forms.Form,
    *,
    title: Any,
    subtitle: str,
    button: Any,
    facts: Sequence[tuple[Any, str]],
    key: UUID | None = None,
) -> HttpResponse:
    """Render the page of an action on ``row``."""
    context = {
        **admin.admin_site.each_context(request),
        "title": title,
        "subtitle": subtitle,
        "opts": admin.opts,
        "media": admin.media,
        "object": row,
        "form": form,
        "adminform": AdminForm(cast("Any", form), [(None, {"fields": list(form.fields)})], {}),
        "facts": facts,
        "button": button,
        "key": key,
    }
    return TemplateResponse(request, TEMPLATE, context)
