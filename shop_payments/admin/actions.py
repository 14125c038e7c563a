"""The pages on which staff act on a payment. The services do it; here it is asked for.

Note [Views of our own]
~~~~~~~~~~~~~~~~~~~~~~~
Django's own pages save within a transaction, in which Stripe must not be called. So each action is
a separate view, outside ``ATOMIC_REQUESTS`` as well, and it writes nothing itself: if it fails,
what the service has written stays.

A form that is sent twice acts once. A refund or a staff entry carries its idempotency key in the
form, and keeps it for as long as another try with it is the same request. An intent is captured or
cancelled once, and an entry is revoked once.

Note [Two steps]
~~~~~~~~~~~~~~~~
Where money moves or a debt changes, staff see what would happen before it is final. The form is
sent without a tick first, and answered with its effect and a tick. It is carried out with the tick,
and only if it still asks for what was shown; otherwise the new effect is shown.

Note [Going back]
~~~~~~~~~~~~~~~~~
The browser's Back must not offer an armed form. The page is never stored, and the browser does not
fill it in again. ``action.js`` writes the form's key into the address, so that the page that Back
asks for is that of a form that was used: it leads to the payment, with what came of it. Without
that script, Back offers an empty first step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import UUID, uuid4

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.contrib.admin.helpers import AdminForm
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.cache import add_never_cache_headers
from django.utils.html import conditional_escape
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import (
    ModelAdmin,
    admin_url,
    amount_text,
    number_of,
    outside_of_transactions,
)
from shop_payments.admin.entry_actions import RevokeAction, SettleAction, WaiveAction
from shop_payments.admin.forms import TwoStepForm
from shop_payments.admin.intent_actions import CancelAction, CaptureAction, RefundAction
from shop_payments.admin.refund_actions import GiveUpAction
from shop_payments.admin.tasks import (
    Action,
    Earlier,
    Found,
    Outcome,
    Target,
    Task,
    can_be_sent_again,
    explain,
    request_key_of,
)
from shop_payments.exceptions import ActionRefused, IdempotencyKeyReused, ShopPaymentsError
from shop_payments.ledger.facts import Origin
from shop_payments.models import OrderPayment, Refund, Source, StaffEntry
from shop_payments.money import from_minor_units

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
        GiveUpAction(),
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
    """An action that a member of staff may carry out now, on the pages of a site."""

    site: AdminSite
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
        args = [self.target.payment.pk, *([self.target.pk] if self.action.has_row else [])]
        return admin_url(self.site, f"shop_payments_orderpayment_{self.action.name}", *args)


def offers_of(site: AdminSite, request: HttpRequest, payment: OrderPayment) -> list[Offer]:
    """Return what this member of staff may do with ``payment`` now, on the pages of ``site``."""
    user: Any = request.user
    may_look = user.has_perm("shop_payments.view_orderpayment")
    if not may_look or not site.is_registered(OrderPayment):
        return []
    found = Found.of(payment)
    return [
        Offer(site=site, action=action, target=target)
        for action in ACTIONS.values()
        for target in action.targets(found)
        if user.has_perm(action.permission(target)) and action.is_offered(target)
    ]


def action_links(site: AdminSite, request: HttpRequest, payment: OrderPayment) -> list[ActionLink]:
    """Return the buttons for what this member of staff may do with ``payment`` now."""
    return [offer.link() for offer in offers_of(site, request, payment)]


def links_about(
    site: AdminSite, request: HttpRequest, row: StaffEntry | Refund
) -> list[ActionLink]:
    """Return the buttons for what this member of staff may do with a staff entry or refund now."""
    offers = offers_of(site, request, row.order_payment)
    return [offer.link() for offer in offers if offer.target.row == row]


# --- the view -----------------------------------------------------------------------------------


def action_urls(admin: ModelAdmin) -> list[URLPattern]:
    """Return the pages of all actions, to go before the admin's own."""
    return [
        path(
            f"<int:payment_pk>/{action.name}/{action.key_in_url}",
            staff_view(admin, ActionView(admin, action)),
            name=f"shop_payments_orderpayment_{action.name}",
        )
        for action in ACTIONS.values()
    ]


class ActionView:
    """Show an action's form, and carry it out."""

    def __init__(self, admin: ModelAdmin, action: Action) -> None:
        self.admin, self.action = admin, action

    def __call__(self, request: HttpRequest, payment_pk: int, pk: Any = None) -> HttpResponse:
        if not self.admin.has_view_permission(request):
            raise PermissionDenied
        target = self._target(payment_pk, pk)
        if target is None:
            changelist = "shop_payments_orderpayment_changelist"
            return redirect(admin_url(self.admin.admin_site, changelist))
        user: Any = request.user
        if not user.has_perm(self.action.permission(target)):
            raise PermissionDenied
        if request.method == "POST":
            return self._post(request, target)
        return self._get(request, target)

    def _target(self, payment_pk: int, pk: Any) -> Target | None:
        payment = OrderPayment.objects.select_related("order").filter(pk=payment_pk).first()
        if payment is None:
            return None
        targets = self.action.targets(Found.of(payment))
        return next((target for target in targets if target.pk == pk), None)

    # --- the steps ---

    def _get(self, request: HttpRequest, target: Target) -> HttpResponse:
        key = _key_in(request.GET) or uuid4()
        earlier = self.action.earlier(target, request_key_of(key))
        if earlier is not None:
            return self._leave(request, target, Outcome(_used(earlier), messages.WARNING))
        if not self.action.is_offered(target):
            return self._leave(request, target, self._why_not(target))
        form = self._form(request, target)
        return self._page(request, target, form, key)

    def _post(self, request: HttpRequest, target: Target) -> HttpResponse:
        key = _key_in(request.POST)
        earlier = None if key is None else self.action.earlier(target, request_key_of(key))
        if earlier is None and not self.action.is_offered(target):
            return self._leave(request, target, self._why_not(target))
        form = self._form(request, target, request.POST, is_limited=earlier is None)
        if key is None:
            text = gettext("The form was incomplete. Check it and send it again.")
            form.add_error(None, text)
            return self._page(request, target, form, uuid4())
        is_valid = form.is_valid()
        if earlier is not None:
            if earlier.is_refused or not is_valid:
                return self._leave(request, target, Outcome(_used(earlier), messages.WARNING))
            return self._carry_out(request, target, form, key)
        if not is_valid:
            return self._page(request, target, form, key)
        effect = ""
        if isinstance(form, TwoStepForm):
            effect = self.action.effect(target, form)
            if not form.is_confirmed:
                form.ask_for_tick()
                return self._page(request, target, form, key, effect=effect)
        return self._carry_out(request, target, form, key, effect=effect)

    def _carry_out(
        self,
        request: HttpRequest,
        target: Target,
        form: forms.Form,
        key: UUID,
        *,
        effect: str = "",
    ) -> HttpResponse:
        task = Task(
            target=target,
            values=form.cleaned_data,
            key=key,
            user=request.user,
            origin=origin_of(request),
        )
        try:
            return self._leave(request, target, self.action.carry_out(task))
        except IdempotencyKeyReused as error:
            earlier = self.action.earlier(target, task.request_key)
            text = str(error) if earlier is None else _used(earlier)
            return self._leave(request, target, Outcome(text, messages.WARNING))
        except ActionRefused as error:
            form.add_error(error.field, str(error))
            is_same_try, next_key = error.same_key, key if error.same_key else uuid4()
        except ShopPaymentsError as error:
            form.add_error(None, explain(error))
            is_same_try, next_key = can_be_sent_again(error), uuid4()
        if isinstance(form, TwoStepForm) and is_same_try:
            form.shows_tick = True
        target = self._target(target.payment.pk, target.pk) or target
        return self._page(request, target, form, next_key, effect=effect if is_same_try else "")

    def _why_not(self, target: Target) -> Outcome:
        return Outcome(self.action.why_not(target), messages.WARNING)

    def _leave(self, request: HttpRequest, target: Target, outcome: Outcome) -> HttpResponse:
        """Go to the payment, and say there what came of it."""
        self.admin.message_user(request, outcome.text, outcome.level)
        change = "shop_payments_orderpayment_change"
        return redirect(admin_url(self.admin.admin_site, change, target.payment.pk))

    # --- the page ---

    def _form(
        self, request: HttpRequest, target: Target, data: Any = None, *, is_limited: bool = True
    ) -> forms.Form:
        initial: dict[str, Any] = {}
        more: dict[str, Any] = {}
        amount = self.action.amount(target)
        if amount is not None:
            named = _named_amount(request)
            amount = amount if named is None else named
            initial["amount"] = from_minor_units(amount, self.action.currency(target))
            more["most"] = self.action.most(target) if is_limited else None
        return self.action.form(target, request.user, data=data, initial=initial, **more)

    def _page(
        self,
        request: HttpRequest,
        target: Target,
        form: forms.Form,
        key: UUID,
        *,
        effect: str = "",
    ) -> HttpResponse:
        facts = self.action.facts(target)
        if target.intent_options is not None:
            facts.append((_("Payment intent"), target.options.intent.stripe_id))
        button = str(self.action.button)
        if isinstance(form, TwoStepForm) and not form.shows_tick:
            form.go_to_first_step()
            button = f"{button}…"
        return action_page(
            self.admin,
            request,
            target.payment,
            form,
            title=self.action.title,
            subtitle=number_of(target.payment),
            button=button,
            facts=facts,
            key=key,
            effect=effect,
        )


def _key_in(values: QueryDict) -> UUID | None:
    try:
        return UUID(values.get("key", ""))
    except ValueError:
        return None


def _used(earlier: Earlier) -> str:
    """Say what came of a form that is sent or opened again."""
    text = gettext("This form has been used already, and nothing more was done. %(what)s")
    return text % {"what": earlier.text}


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
    effect: str = "",
) -> HttpResponse:
    """Render the page of an action on ``row``; ``effect`` stands above the tick."""
    request.current_app = admin.admin_site.name
    fields = [bound.name for bound in form.visible_fields()]
    fieldsets: list[Any] = [(None, {"fields": [name for name in fields if name != "sure"]})]
    if "sure" in fields:
        options = {"fields": ["sure"], "description": conditional_escape(effect)}
        classes = {"classes": ["shop-payments-effect"]} if effect else {}
        fieldsets.append((_("What will happen") if effect else None, {**options, **classes}))
    context = {
        **admin.admin_site.each_context(request),
        "title": title,
        "subtitle": subtitle,
        "opts": admin.opts,
        "media": admin.media,
        "object": row,
        "form": form,
        "adminform": AdminForm(cast("Any", form), fieldsets, {}),
        "facts": facts,
        "button": button,
        "key": key,
    }
    response = TemplateResponse(request, TEMPLATE, context)
    add_never_cache_headers(response)  # not left to the site: see Note [Going back]
    return response
