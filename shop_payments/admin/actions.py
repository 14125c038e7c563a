"""What staff do with a payment: give back, take, let go. The services do it; here it is asked for.

Note [Views of our own]
~~~~~~~~~~~~~~~~~~~~~~~
Django's own pages save within a transaction, in which Stripe must not be called. So each of these
is a view of its own, outside of ``ATOMIC_REQUESTS`` as well, and it writes nothing itself: where
it fails, what the service has written stays.

A form that is sent twice acts once. A refund carries its idempotency key in the form, and keeps
it for as long as another try with it is the same refund. An intent is captured or cancelled once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar, cast
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

from shop_payments.admin.base import (
    ModelAdmin,
    amount_text,
    number_of,
    outside_of_transactions,
    total_text,
)
from shop_payments.exceptions import (
    AmountNotRepresentable,
    GatewayAuthenticationError,
    GatewayError,
    IdempotencyKeyReused,
    OrderAlreadyPaid,
    PaymentMismatch,
    RefundExceedsBalance,
    RefundInProgress,
    ShopPaymentsError,
)
from shop_payments.lifecycle import RefundStatus
from shop_payments.models import OrderPayment, PaymentIntent, Refund, Source
from shop_payments.money import from_minor_units, to_minor_units
from shop_payments.services.cancellation import REASONS, cancel_payment
from shop_payments.services.capture import capture_payment
from shop_payments.services.history import Origin
from shop_payments.services.options import IntentOptions, options_of
from shop_payments.services.refunds import RefundRequest, RefusedRefund, refund_payment
from shop_payments.services.words import describe_status, speak

TEMPLATE = "admin/shop_payments/action.html"


def origin_of(request: HttpRequest) -> Origin:
    """Name the member of staff for the history."""
    return Origin(source=Source.ADMIN, actor=f"staff {request.user.pk}")


def staff_view(admin: ModelAdmin, view: Callable[..., HttpResponse]) -> Callable[..., Any]:
    """Wrap a view for staff who have logged in, with CSRF. See Note [Views of our own]."""
    return outside_of_transactions(admin.admin_site.admin_view(view))


def explain(error: ShopPaymentsError) -> str:
    """Say to staff what went wrong, and what that means for another try."""
    if isinstance(error, GatewayAuthenticationError):
        return gettext(
            "Stripe does not accept the shop's secret key, or the key may not do this, and has not"
            " taken this try. Whoever runs the shop has to look at STRIPE_SECRET_KEY. After that,"
            " send this form again, and Stripe does it once."
        )
    if isinstance(error, GatewayError) and error.effect_unknown:
        return gettext(
            "Stripe has not answered, so it is not known yet whether it was done. Nothing is lost:"
            " send this form again in a moment, and Stripe does it once."
        )
    if isinstance(error, GatewayError) and error.retryable:
        return gettext(
            "Stripe is busy and has not taken this try. What you asked for is kept: send this form"
            " again in a moment, and Stripe does it once."
        )
    if isinstance(error, GatewayError):
        return gettext("Stripe refused, and no money has moved: %(why)s") % {"why": error}
    return str(error)


# --- forms --------------------------------------------------------------------------------------


class _AmountForm(forms.Form):
    amount = forms.DecimalField(
        label=_("Amount"),
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off", "size": 14}),
    )

    def __init__(self, *args: Any, currency: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.currency = currency
        self.fields["amount"].help_text = gettext("In %(currency)s: all of it, or a part.") % {
            "currency": currency.upper()
        }

    def clean_amount(self) -> Decimal:
        amount: Decimal = self.cleaned_data["amount"]
        if amount <= 0:
            raise forms.ValidationError(_("The amount must be more than 0."))
        try:
            to_minor_units(amount, self.currency)
        except AmountNotRepresentable as error:
            raise forms.ValidationError(
                _("%(amount)s is not an amount that %(currency)s has."),
                params={"amount": amount, "currency": self.currency.upper()},
            ) from error
        return amount


class RefundForm(_AmountForm):
    reason = forms.ChoiceField(
        label=_("Reason"),
        required=False,
        choices=[("", _("not given")), *Refund.Reason.choices],
        help_text=_("For Stripe. “Fraudulent” also has Stripe block such cards in future."),
    )
    sure = forms.BooleanField(
        label=_("Yes, give this money back to the customer. It cannot be undone.")
    )


class CaptureForm(_AmountForm):
    sure = forms.BooleanField(
        label=_("Yes, take this money from the customer. What is left is released to them.")
    )


class CancelForm(forms.Form):
    reason = forms.ChoiceField(
        label=_("Reason"),
        choices=[(reason, reason.replace("_", " ")) for reason in REASONS],
        initial="requested_by_customer",
        help_text=_("For Stripe."),
    )
    sure = forms.BooleanField(label=_("Yes, close this payment. The customer pays nothing."))

    def __init__(self, *args: Any, currency: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)


# --- actions ------------------------------------------------------------------------------------


class Refused(Exception):
    """The action did not happen; the message goes to the form, at ``field`` where one is named."""

    def __init__(self, message: str, *, field: str | None = None, same_key: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.same_key = same_key
        """Whether another try with the same idempotency key is the same try."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a member of staff wants done with an intent."""

    intent: PaymentIntent
    values: dict[str, Any]
    """The form's, cleaned."""

    key: UUID
    origin: Origin

    @property
    def order_id(self) -> Any:
        return self.intent.order_payment.order_id


@dataclass(frozen=True)
class Outcome:
    """What to tell of an action that was carried out."""

    text: str
    level: int = messages.SUCCESS


class IntentAction:
    """One thing that staff may do with an intent, on a page of its own."""

    name: ClassVar[str]
    title: ClassVar[Any]
    button: ClassVar[Any]
    permission: ClassVar[str]
    form_class: ClassVar[Callable[..., forms.Form]]
    is_final = True
    """Whether an intent on which it was done once is past it."""

    def label(self, options: IntentOptions) -> str:
        """What the link to the page says."""
        return str(self.title)

    def is_offered(self, options: IntentOptions) -> bool:
        """Whether the state allows it."""
        raise NotImplementedError

    def amount(self, options: IntentOptions) -> int | None:
        """What the form proposes, in minor units."""
        return None

    def facts(self, options: IntentOptions) -> list[tuple[Any, str]]:
        """What staff have to know to decide."""
        raise NotImplementedError

    def carry_out(self, task: Task) -> Outcome:
        """Do it; return what to tell.

        Raises:
            Refused: it did not happen.
        """
        raise NotImplementedError


class RefundAction(IntentAction):
    name = "refund"
    title = _("Refund")
    button = _("Refund")
    permission = "shop_payments.add_refund"
    form_class = RefundForm
    is_final = False

    def label(self, options: IntentOptions) -> str:
        if options.counts:
            return str(self.title)
        money = amount_text(options.refundable, options.intent.currency)
        return gettext("Refund %(money)s that did not pay the order") % {"money": money}

    def is_offered(self, options: IntentOptions) -> bool:
        return options.refundable > 0

    def amount(self, options: IntentOptions) -> int:
        return options.refundable

    def facts(self, options: IntentOptions) -> list[tuple[Any, str]]:
        money, currency = options.money, options.intent.currency
        amounts = [
            (_("Received"), money.received),
            (_("Refunded before"), money.refunded),
            (_("Refunds on their way"), money.refund_pending),
            (_("Lost in disputes"), money.lost),
            (_("May be refunded"), options.refundable),
        ]
        always = {amounts[0][0], amounts[-1][0]}
        return [
            (label, amount_text(amount, currency))
            for label, amount in amounts
            if amount or label in always
        ]

    def carry_out(self, task: Task) -> Outcome:
        request = RefundRequest(
            amount_decimal=task.values["amount"],
            reason=task.values["reason"],
            key=f"admin {task.key}",
            intent_id=task.intent.stripe_id,
        )
        try:
            (refund,) = refund_payment(order_id=task.order_id, request=request, origin=task.origin)
        except RefusedRefund as error:
            refund = error.refund
        except RefundExceedsBalance as error:
            raise Refused(str(error), field="amount") from error
        except IdempotencyKeyReused as error:
            text = gettext(
                "A refund with another amount or reason has been made from this form already; see"
                " the list of refunds. If you want another one besides it, send this again."
            )
            raise Refused(text) from error
        except (RefundInProgress, GatewayAuthenticationError) as error:
            raise Refused(explain(error), same_key=True) from error
        except GatewayError as error:
            raise Refused(explain(error), same_key=error.retryable) from error
        return self._outcome(refund)

    def _outcome(self, refund: Refund) -> Outcome:
        values = {"amount": refund.amount_display, "status": speak(refund.status)}
        if refund.is_returned:
            values["why"] = speak(refund.failure_reason or refund.status)
            raise Refused(gettext("The refund of %(amount)s did not happen: %(why)s.") % values)
        if refund.status == RefundStatus.SUCCEEDED:
            return Outcome(gettext("%(amount)s goes back to the customer.") % values)
        return Outcome(gettext("The refund of %(amount)s is on its way (%(status)s).") % values)


class CaptureAction(IntentAction):
    name = "capture"
    title = _("Capture")
    button = _("Capture")
    permission = "shop_payments.change_orderpayment"
    form_class = CaptureForm

    def is_offered(self, options: IntentOptions) -> bool:
        return options.can_be_captured

    def amount(self, options: IntentOptions) -> int:
        return options.intent.amount_capturable

    def facts(self, options: IntentOptions) -> list[tuple[Any, str]]:
        intent = options.intent
        return [
            (_("Reserved"), amount_text(intent.amount_capturable, intent.currency)),
            (_("Order total"), total_text(intent.order_payment)),
        ]

    def carry_out(self, task: Task) -> Outcome:
        try:
            intent = capture_payment(
                order_id=task.order_id,
                amount_decimal=task.values["amount"],
                origin=task.origin,
            )
        except OrderAlreadyPaid:
            return Outcome(gettext("The money had been taken already."), messages.INFO)
        except PaymentMismatch as error:
            return Outcome(str(error), messages.WARNING)
        taken = amount_text(intent.amount_received, intent.currency)
        return Outcome(gettext("%(amount)s was taken.") % {"amount": taken})


class CancelAction(IntentAction):
    name = "cancel"
    title = _("Cancel payment")
    button = _("Cancel payment")
    permission = "shop_payments.change_orderpayment"
    form_class = CancelForm

    def is_offered(self, options: IntentOptions) -> bool:
        return options.can_be_cancelled

    def facts(self, options: IntentOptions) -> list[tuple[Any, str]]:
        intent = options.intent
        return [
            (_("Asked for"), intent.amount_display),
            (_("Status"), describe_status(intent.status)),
        ]

    def carry_out(self, task: Task) -> Outcome:
        cancel_payment(order_id=task.order_id, reason=task.values["reason"], origin=task.origin)
        return Outcome(
            gettext("The payment is cancelled. While its order is open, it can be paid anew.")
        )


ACTIONS: dict[str, IntentAction] = {
    action.name: action for action in (CaptureAction(), RefundAction(), CancelAction())
}


@dataclass(frozen=True, kw_only=True)
class ActionLink:
    """A button that leads to an action's page."""

    url: str
    label: str


def action_links(request: HttpRequest, payment: OrderPayment) -> list[ActionLink]:
    """Return what this member of staff may do with ``payment`` now."""
    user: Any = request.user
    may = {name for name, action in ACTIONS.items() if user.has_perm(action.permission)}
    if not may or not user.has_perm("shop_payments.view_orderpayment"):
        return []
    return [
        ActionLink(url=_url(name, options.intent), label=action.label(options))
        for options in options_of(payment)
        for name, action in ACTIONS.items()
        if name in may and action.is_offered(options)
    ]


def _url(name: str, intent: PaymentIntent) -> str:
    return reverse(
        f"admin:shop_payments_orderpayment_{name}", args=[intent.order_payment_id, intent.pk]
    )


# --- the view -----------------------------------------------------------------------------------


def action_urls(admin: ModelAdmin) -> list[URLPattern]:
    """Return the pages of all actions, to go before the admin's own."""
    return [
        path(
            f"<int:payment_pk>/{action.name}/<int:intent_pk>/",
            staff_view(admin, ActionView(admin, action)),
            name=f"shop_payments_orderpayment_{action.name}",
        )
        for action in ACTIONS.values()
    ]


class ActionView:
    """Show an action's form, and carry it out."""

    def __init__(self, admin: ModelAdmin, action: IntentAction) -> None:
        self.admin, self.action = admin, action

    def __call__(self, request: HttpRequest, payment_pk: int, intent_pk: int) -> HttpResponse:
        if not self.admin.has_view_permission(request) or not _has_permission(request, self.action):
            raise PermissionDenied
        payment = OrderPayment.objects.select_related("order").filter(pk=payment_pk).first()
        options = _options(payment, intent_pk)
        if payment is None or options is None:
            return redirect("admin:shop_payments_orderpayment_changelist")
        back = reverse("admin:shop_payments_orderpayment_change", args=[payment.pk])
        is_offered = self.action.is_offered(options)
        if not is_offered and (request.method != "POST" or self.action.is_final):
            self.admin.message_user(request, self._why_not(options), messages.WARNING)
            return redirect(back)
        if request.method != "POST":
            return self._page(request, payment, options, self._form(options), uuid4())
        form = self._form(options, request.POST)
        key, outcome = self._try(request, options, form)
        if outcome is not None:
            self.admin.message_user(request, outcome.text, outcome.level)
            return redirect(back)
        options = _options(payment, intent_pk) or options
        return self._page(request, payment, options, form, key)

    def _why_not(self, options: IntentOptions) -> str:
        if not self.action.is_final:
            return gettext("Nothing of this payment may be refunded now.")
        status = describe_status(options.intent.status)
        return gettext("Nothing was changed: this payment is %(status)s.") % {"status": status}

    def _form(self, options: IntentOptions, data: Any = None) -> forms.Form:
        amount, currency = self.action.amount(options), options.intent.currency
        initial = {} if amount is None else {"amount": from_minor_units(amount, currency)}
        return self.action.form_class(data, initial=initial, currency=currency)

    def _try(
        self, request: HttpRequest, options: IntentOptions, form: forms.Form
    ) -> tuple[UUID, Outcome | None]:
        """Carry the action out; return the key of the next try, and what to tell on success."""
        try:
            key = UUID(request.POST.get("key", ""))
        except ValueError:
            form.add_error(None, gettext("The form was incomplete. Check it and send it again."))
            return uuid4(), None
        if not form.is_valid():
            return key, None
        task = Task(
            intent=options.intent, values=form.cleaned_data, key=key, origin=origin_of(request)
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
        self,
        request: HttpRequest,
        payment: OrderPayment,
        options: IntentOptions,
        form: forms.Form,
        key: UUID,
    ) -> HttpResponse:
        return action_page(
            self.admin,
            request,
            payment,
            form,
            title=self.action.title,
            subtitle=number_of(payment),
            button=self.action.button,
            facts=[*self.action.facts(options), (_("Payment intent"), options.intent.stripe_id)],
            key=key,
        )


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


def _options(payment: OrderPayment | None, intent_pk: int) -> IntentOptions | None:
    if payment is None:
        return None
    found = next((each for each in options_of(payment) if each.intent.pk == intent_pk), None)
    if found is not None:
        found.intent.order_payment = payment
    return found


def _has_permission(request: HttpRequest, action: IntentAction) -> bool:
    user: Any = request.user
    return bool(user.has_perm(action.permission))
