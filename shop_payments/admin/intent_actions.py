"""Staff actions on a payment intent at Stripe: capture, refund, cancel."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import amount_text, in_words, total_text
from shop_payments.admin.effects import after_capture, after_outflow, describe_after, part_of
from shop_payments.admin.forms import CancelForm, CaptureForm
from shop_payments.admin.refund_form import RefundForm, read_refundable_lines
from shop_payments.admin.tasks import (
    EarlierUse,
    IntentAction,
    Outcome,
    Target,
    Task,
    balance_facts,
    explain,
    with_balance,
)
from shop_payments.balance import OutflowKind
from shop_payments.conf import get_config
from shop_payments.exceptions import (
    ActionRefused,
    GatewayAuthenticationError,
    GatewayError,
    OrderAlreadyPaid,
    PaymentMismatch,
    RefundExceedsBalance,
    RefundInProgress,
    RefundRefused,
)
from shop_payments.lifecycle import DisputeState, RefundStatus
from shop_payments.models import PaymentIntent, Refund
from shop_payments.models.words import describe_status, humanize
from shop_payments.services.cancel_payment import cancel_payment
from shop_payments.services.capture_payment import capture_payment
from shop_payments.services.options import IntentOptions
from shop_payments.services.refund_payment import RefundRequest, refund_payment

MAY_WAIVE = "shop_payments.waive_amount"


def is_of_this_mode(intent: PaymentIntent) -> bool:
    """Return whether the key in use can reach the intent at Stripe."""
    return intent.livemode == get_config().livemode


class RefundAction(IntentAction):
    name = "refund"
    title = _("Refund")
    button = _("Refund")
    needs = "shop_payments.add_refund"

    def is_offered(self, target: Target) -> bool:
        options = target.options
        return options.refundable > 0 and is_of_this_mode(options.intent)

    def why_not(self, target: Target) -> str:
        if target.options.dispute_state == DisputeState.OPEN:
            return gettext(
                "The customer's bank holds this payment. It cannot be refunded before the bank has"
                " decided."
            )
        return gettext("This payment cannot be refunded now.")

    def label(self, target: Target) -> str:
        options = target.options
        money = amount_text(options.refundable, options.intent.currency)
        if not options.counts:
            return gettext("Refund %(money)s that does not count") % {"money": money}
        # The intent is named only if there is another one to confuse it with.
        if sum(each.refundable > 0 for each in target.state.intents) == 1:
            return str(self.title)
        values = {"money": money, "payment": self.named(target)}
        return gettext("Refund up to %(money)s of the payment: %(payment)s") % values

    def exact_label(self, money: str) -> str:
        return gettext("Refund %(money)s") % {"money": money}

    def amount(self, target: Target) -> int:
        return target.options.refundable

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        currency = self.currency(target)
        lines = read_refundable_lines(target.payment.order, currency)
        return RefundForm(currency=currency, lines=lines, **kwargs)

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        options = target.options
        return [*money_facts(options), (_("Can be refunded"), _amount(options, options.refundable))]

    def effect(self, target: Target, form: Any) -> str:
        amount, kind = form.minor_units, form.cleaned_data["kind"]
        part = part_of(amount, target.options.refundable, self.currency(target))
        text = gettext("%(part)s will be refunded to the customer.")
        if form.chosen:
            text = gettext("%(part)s will be refunded to the customer, for %(lines)s.")
        text = text % {"part": part, "lines": form.chosen_text}
        if not target.options.counts:
            # Refunding uncounted money does not change what is owed.
            return text
        as_goods = kind == Refund.Kind.GOODS if kind else None
        after = after_outflow(target, amount, OutflowKind.REFUND, as_goods=as_goods)
        return f"{text} {describe_after(target, after)}"

    def earlier(self, target: Target, request_key: str) -> EarlierUse | None:
        refunds = Refund.objects.filter(order_payment=target.payment, request_key=request_key)
        refund = refunds.first()
        if refund is None:
            return None
        return EarlierUse(text=_describe(refund), is_refused=refund.is_returned)

    def carry_out(self, task: Task) -> Outcome:
        request = RefundRequest(
            amount_decimal=task.values["amount"],
            reason=task.values["reason"],
            note=task.values["note"],
            kind=task.values["kind"],
            key=task.request_key,
            intent_id=task.target.options.intent.stripe_id,
        )
        # The request names one intent, so there is exactly one refund.
        try:
            (refund,) = refund_payment(order_id=task.order_id, request=request, origin=task.origin)
        except RefundRefused as error:
            (refund,) = error.refunds  # refused by Stripe, and recorded
        except RefundExceedsBalance as error:
            raise ActionRefused(in_words(error), field="amount") from error
        except (RefundInProgress, GatewayAuthenticationError) as error:
            # The refund is saved and waits for its key, so the form must keep it.
            raise ActionRefused(explain(error), same_key=True) from error
        except GatewayError as error:
            # After a refusal for good, this key would only repeat the refusal.
            raise ActionRefused(explain(error), same_key=error.retryable) from error
        return self._outcome(refund)

    def _outcome(self, refund: Refund) -> Outcome:
        if refund.is_returned:
            raise ActionRefused(_describe(refund))
        return Outcome(with_balance(_describe(refund), refund.order_payment_id))


def _describe(refund: Refund) -> str:
    """Describe the outcome of a refund."""
    values = {"amount": refund.amount_display, "status": humanize(refund.status)}
    if refund.is_returned:
        values["why"] = refund.failure or humanize(refund.status)
        return gettext("The refund of %(amount)s was not made: %(why)s.") % values
    if refund.status == RefundStatus.SUCCEEDED:
        return gettext("%(amount)s is refunded to the customer.") % values
    if refund.status == RefundStatus.REQUESTED:
        return (
            gettext(
                "It is not known yet whether Stripe has made the refund of %(amount)s. This is"
                " checked again automatically."
            )
            % values
        )
    return gettext("The refund of %(amount)s is in progress (%(status)s).") % values


class CaptureAction(IntentAction):
    name = "capture"
    title = _("Capture")
    button = _("Capture")
    needs = "shop_payments.change_orderpayment"

    def is_offered(self, target: Target) -> bool:
        return target.options.can_be_captured

    def why_not(self, target: Target) -> str:
        return _why_not_open(target)

    def amount(self, target: Target) -> int:
        return target.options.intent.amount_capturable

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        intent = target.options.intent
        # Waiving needs its own permission, which a partial capture must not bypass.
        may_waive = user.has_perm(MAY_WAIVE)
        reserved = intent.amount_capturable
        return CaptureForm(
            currency=intent.currency, reserved=reserved, may_waive=may_waive, **kwargs
        )

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        intent = target.options.intent
        return [
            (_("Reserved"), amount_text(intent.amount_capturable, intent.currency)),
            (_("Order total"), total_text(intent.order_payment)),
            *balance_facts(target.payment, "amount_received", "amount_waived", "amount_owed"),
        ]

    def effect(self, target: Target, form: Any) -> str:
        currency, amount, reserved = self.currency(target), form.minor_units, form.reserved
        waived = form.cleaned_data["rest"] == CaptureForm.WAIVED
        rest = reserved - amount
        after = after_capture(target, amount, waived=rest if waived else 0)
        if amount == reserved:
            text = gettext("%(part)s will be captured, which is the full reserved amount.")
        elif waived:
            text = gettext(
                "%(part)s will be captured. %(rest)s will be released to the customer and "
                "waived: the customer does not have to pay it."
            )
        elif after.owed >= rest:
            # Not if the total was lowered since the money was reserved.
            text = gettext(
                "%(part)s will be captured. %(rest)s will be released to the customer, but is "
                "still owed."
            )
        else:
            text = gettext("%(part)s will be captured. %(rest)s will be released to the customer.")
        amounts = {
            "part": part_of(amount, reserved, currency),
            "rest": amount_text(rest, currency),
        }
        sentences = [text % amounts, describe_after(target, after)]
        if not target.payment.is_payable:
            words = gettext("The order does not accept payments, so this money will not count.")
            sentences.insert(1, words)
        return " ".join(sentences)

    def carry_out(self, task: Task) -> Outcome:
        try:
            intent = capture_payment(
                order_id=task.order_id,
                amount_decimal=task.values["amount"],
                waive_rest=task.values["rest"] == CaptureForm.WAIVED,
                origin=task.origin,
            )
        except OrderAlreadyPaid:  # by another request, or in Stripe's dashboard
            return Outcome(gettext("The money was already captured."), messages.INFO)
        except PaymentMismatch as error:
            # The capture succeeded, but the money does not count and is in review.
            return Outcome(in_words(error), messages.WARNING)
        captured = amount_text(intent.amount_received, intent.currency)
        text = gettext("%(amount)s was captured.") % {"amount": captured}
        return Outcome(with_balance(text, intent.order_payment_id))


class CancelAction(IntentAction):
    name = "cancel"
    title = _("Cancel payment")
    button = _("Cancel payment")
    needs = "shop_payments.change_orderpayment"

    def is_offered(self, target: Target) -> bool:
        return target.options.can_be_cancelled

    def why_not(self, target: Target) -> str:
        return _why_not_open(target)

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        return CancelForm(**kwargs)

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        intent = target.options.intent
        return [
            (_("Asked for"), intent.amount_display),
            (_("Status"), describe_status(intent.status)),
            (_("What will happen"), _describe_cancelling(target.options)),
        ]

    def carry_out(self, task: Task) -> Outcome:
        cancel_payment(order_id=task.order_id, reason=task.values["reason"], origin=task.origin)
        return Outcome(
            gettext("The payment is cancelled. The customer can pay again while the order is open.")
        )


def _describe_cancelling(options: IntentOptions) -> str:
    if options.can_be_captured:
        text = gettext(
            "The payment is closed at Stripe. The reserved %(amount)s is released to the "
            "customer, and nothing is charged. The customer can pay again while the order is "
            "open."
        )
        return text % {"amount": _amount(options, options.intent.amount_capturable)}
    return gettext(
        "The payment is closed at Stripe, and no money moves. The customer can pay again while the"
        " order is open."
    )


def money_facts(options: IntentOptions) -> list[tuple[Any, str]]:
    """Return where the money of an intent is, as labels and amounts."""
    money = options.money
    amounts = [
        (_("Already refunded"), money.refunded),
        (_("Refunds in progress"), money.refund_pending),
        (_("Held by the customer's bank"), money.disputed),
        (_("Lost in disputes"), money.lost),
        (_("Settled outside Stripe"), money.settled),
    ]
    gone = [(label, _amount(options, amount)) for label, amount in amounts if amount]
    return [(_("Received"), _amount(options, money.received)), *gone]


def _amount(options: IntentOptions, amount: int) -> str:
    return amount_text(amount, options.intent.currency)


def _why_not_open(target: Target) -> str:
    status = describe_status(target.options.intent.status)
    return gettext("Nothing was changed. The payment's status: %(status)s.") % {"status": status}
