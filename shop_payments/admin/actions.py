"""The pages on which staff act on a payment. Each calls one service and writes nothing itself.

Note [Custom views]
~~~~~~~~~~~~~~~~~~~
Django's own pages save in a transaction, in which Stripe must not be called. So each action has a
view that is also exempt from ``ATOMIC_REQUESTS``. If it fails, the work that the service has
committed stays.

A form that is sent twice acts once. The form of a refund or a staff entry contains an idempotency
key, and keeps it as long as sending it again is the same request. An intent can be captured or
cancelled only once, and an entry can be revoked only once, so these need no key.

Note [Two steps]
~~~~~~~~~~~~~~~~
Where money moves or a debt changes, staff see the effect before it is final. The form is sent a
first time, and the answer shows its effect with a checkbox. It is carried out if the checkbox is
ticked and the form still asks for the effect that was shown. Otherwise the new effect is shown.

Note [Going back]
~~~~~~~~~~~~~~~~~
The browser's Back button must not offer a form that is ready to be sent again. The page is never
stored, and the browser does not fill in its fields. ``action.js`` writes the form's key into the
URL. So Back requests the page of a form that was used, which redirects to the payment with the
outcome. Without the script, Back shows an empty first step.
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
    in_words,
    number_of,
    without_transaction,
)
from shop_payments.admin.entry_actions import RevokeAction, SettleAction, WaiveAction
from shop_payments.admin.forms import TwoStepForm
from shop_payments.admin.intent_actions import CancelAction, CaptureAction, RefundAction
from shop_payments.admin.note_action import NoteAction
from shop_payments.admin.refund_actions import GiveUpAction
from shop_payments.admin.state_actions import EvaluateAction, RefreshAction
from shop_payments.admin.tasks import (
    Action,
    EarlierUse,
    Outcome,
    PaymentState,
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
        NoteAction(),
        EvaluateAction(),
        RefreshAction(),
    )
}
"""All actions by name, in the order of their buttons."""


def origin_of(request: HttpRequest) -> Origin:
    """Return the origin of a request of staff, for the history."""
    # By primary key: the history is never purged, so it must not contain names.
    return Origin(source=Source.ADMIN, actor=f"staff {request.user.pk}")


def staff_view(admin: ModelAdmin, view: Callable[..., HttpResponse]) -> Callable[..., Any]:
    """Require a login of staff and CSRF protection. See Note [Custom views]."""
    return without_transaction(admin.admin_site.admin_view(view))


# --- links --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ActionLink:
    """A button that leads to the page of an action, or to another page where staff can act."""

    url: str
    label: str
    is_suggested: bool = False
    """Whether it is what a review item suggests."""

    is_external: bool = False
    copied: str = ""
    """What the button says after a click has copied its address, instead of opening it."""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An action that the state of a payment and the permissions of staff allow now."""

    site: AdminSite
    action: Action
    target: Target

    def link(self) -> ActionLink:
        """Return the button that leads to the action's page."""
        return ActionLink(url=self._url(), label=self.action.label(self.target))

    def suggested_link(self, amount: int | None = None) -> ActionLink:
        """Return the button for a suggestion, which may propose an amount in minor units."""
        if amount is None:
            return replace(self.link(), is_suggested=True)
        money = amount_text(amount, self.action.currency(self.target))
        label = self.action.exact_label(money)
        return ActionLink(url=f"{self._url()}?amount={amount}", label=label, is_suggested=True)

    def _url(self) -> str:
        args = [self.target.payment.pk, *([self.target.pk] if self.action.has_row else [])]
        return admin_url(self.site, f"shop_payments_orderpayment_{self.action.name}", *args)


def offers_of(site: AdminSite, request: HttpRequest, payment: OrderPayment) -> list[Offer]:
    """Return the actions that this member of staff may carry out on ``payment`` now."""
    user: Any = request.user
    may_look = user.has_perm("shop_payments.view_orderpayment")
    # The pages of actions belong to the payment's: without it, buttons would lead nowhere.
    if not may_look or not site.is_registered(OrderPayment):
        return []
    state = PaymentState.read(payment)
    return [
        Offer(site=site, action=action, target=target)
        for action in ACTIONS.values()
        if action.is_listed
        for target in action.targets(state)
        if user.has_perm(action.permission(target)) and action.is_offered(target)
    ]


def action_links(site: AdminSite, request: HttpRequest, payment: OrderPayment) -> list[ActionLink]:
    """Return the buttons of a payment for this member of staff."""
    return [offer.link() for offer in offers_of(site, request, payment)]


def links_about(
    site: AdminSite, request: HttpRequest, row: StaffEntry | Refund
) -> list[ActionLink]:
    """Return the buttons of a staff entry or refund for this member of staff."""
    offers = offers_of(site, request, row.order_payment)
    return [offer.link() for offer in offers if offer.target.row == row]


# --- the view -----------------------------------------------------------------------------------


def action_urls(admin: ModelAdmin) -> list[URLPattern]:
    """Return the URL patterns of all actions. They must come before those of the admin."""
    return [
        path(
            f"<int:payment_pk>/{action.name}/{action.key_in_url}",
            staff_view(admin, ActionView(admin, action)),
            name=f"shop_payments_orderpayment_{action.name}",
        )
        for action in ACTIONS.values()
    ]


class ActionView:
    """Show the form of an action, and carry it out."""

    def __init__(self, admin: ModelAdmin, action: Action) -> None:
        self.admin, self.action = admin, action

    def __call__(self, request: HttpRequest, payment_pk: int, pk: Any = None) -> HttpResponse:
        if not self.admin.has_view_permission(request):
            raise PermissionDenied
        target = self._target(payment_pk, pk)
        if target is None:
            # An old link, or a URL that was typed.
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
        targets = self.action.targets(PaymentState.read(payment))
        return next((target for target in targets if target.pk == pk), None)

    # --- the steps ---

    def _get(self, request: HttpRequest, target: Target) -> HttpResponse:
        key = _key_in(request.GET) or uuid4()
        earlier = self.action.earlier(target, request_key_of(key))
        if earlier is not None:  # see Note [Going back]
            return self._leave(request, target, Outcome(_describe_use(earlier), messages.WARNING))
        if not self.action.is_offered(target):
            return self._leave(request, target, self._why_not(target))
        form = self._form(request, target)
        return self._page(request, target, form, key)

    def _post(self, request: HttpRequest, target: Target) -> HttpResponse:
        key = _key_in(request.POST)
        earlier = None if key is None else self.action.earlier(target, request_key_of(key))
        # A used form is answered with what it did, even if its action is no longer possible.
        if earlier is None and not self.action.is_offered(target):
            return self._leave(request, target, self._why_not(target))
        form = self._form(request, target, request.POST, is_limited=earlier is None)
        if key is None:
            # Without its key, the form could not be told from another one, and might act twice.
            text = gettext("The form was incomplete. Check it and send it again.")
            form.add_error(None, text)
            return self._page(request, target, form, uuid4())
        is_valid = form.is_valid()
        if earlier is not None:
            # Same key: the service finishes what was begun, or refuses another amount.
            if earlier.is_refused or not is_valid:
                return self._leave(
                    request, target, Outcome(_describe_use(earlier), messages.WARNING)
                )
            return self._carry_out(request, target, form, key)
        if not is_valid:
            return self._page(request, target, form, key)
        effect = ""
        if isinstance(form, TwoStepForm):
            effect = self.action.effect(target, form)
            if not form.is_confirmed:
                form.ask_to_confirm()
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
            # The form was used for another amount, perhaps by a request at the same time.
            earlier = self.action.earlier(target, task.request_key)
            text = in_words(error) if earlier is None else _describe_use(earlier)
            return self._leave(request, target, Outcome(text, messages.WARNING))
        except ActionRefused as error:
            form.add_error(error.field, in_words(error))
            is_same_request, next_key = error.same_key, key if error.same_key else uuid4()
        except ShopPaymentsError as error:
            form.add_error(None, explain(error))
            is_same_request, next_key = can_be_sent_again(error), uuid4()
        if isinstance(form, TwoStepForm) and is_same_request:
            form.shows_checkbox = True  # staff have confirmed this request already
        # The payment may have changed meanwhile, for example by a refund made elsewhere.
        target = self._target(target.payment.pk, target.pk) or target
        return self._page(request, target, form, next_key, effect=effect if is_same_request else "")

    def _why_not(self, target: Target) -> Outcome:
        return Outcome(self.action.why_not(target), messages.WARNING)

    def _leave(self, request: HttpRequest, target: Target, outcome: Outcome) -> HttpResponse:
        """Redirect to the page of the payment, with a message about the outcome."""
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
            # The button of a review item names the exact amount to propose.
            named = _named_amount(request)
            amount = amount if named is None else named
            initial["amount"] = from_minor_units(amount, self.action.currency(target))
            more["maximum"] = self.action.maximum(target) if is_limited else None
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
        if isinstance(form, TwoStepForm) and not form.shows_checkbox:
            # The dots say that this button only leads to the effect.
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


def _describe_use(earlier: EarlierUse) -> str:
    """Describe the outcome of a form that is sent or opened again."""
    text = gettext("This form was already sent, so nothing was done a second time. %(what)s")
    return text % {"what": earlier.text}


_MAX_DIGITS = 18
"""An amount with more digits may not fit a column of the database."""


def _named_amount(request: HttpRequest) -> int | None:
    """Return the amount in minor units that the URL of the page names; None without one."""
    text = request.GET.get("amount", "")
    # isdigit() alone also accepts digits of other scripts.
    is_amount = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
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
    """Render the page of an action on ``row``; ``effect`` is shown above the checkbox."""
    request.current_app = admin.admin_site.name  # for the links in the template
    fields = [bound.name for bound in form.visible_fields()]
    sections = [(None, [name for name in fields if name != "sure"])]
    if isinstance(form, TwoStepForm):
        sections = form.sections()
    fieldsets: list[Any] = [(name, {"fields": names}) for name, names in sections if names]
    if "sure" in fields:
        # Django marks the description of a fieldset as safe.
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
    # The admin site does this as well, but hosts may override it. See Note [Going back].
    add_never_cache_headers(response)
    return response
