"""What staff do with a payment intent at Stripe: capture it, refund it, cancel it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import amount_text, total_text
from shop_payments.admin.forms import CancelForm, CaptureForm, RefundForm
from shop_payments.admin.tasks import (
    IntentAction,
    Outcome,
    Refused,
    Target,
    Task,
    balance_facts,
    explain,
    with_balance,
)
from shop_payments.conf import get_config
from shop_payments.exceptions import (
    GatewayAuthenticationError,
    GatewayError,
    IdempotencyKeyReused,
    OrderAlreadyPaid,
    PaymentMismatch,
    RefundExceedsBalance,
    RefundInProgress,
)
from shop_payments.lifecycle import RefundStatus
from shop_payments.models import PaymentIntent, Refund
from shop_payments.services.cancellation import cancel_payment
from shop_payments.services.capture import capture_payment
from shop_payments.services.options import IntentOptions
from shop_payments.services.refunds import RefundRequest, RefusedRefund, refund_payment
from shop_payments.services.words import describe_status, speak

MAY_WAIVE = "shop_payments.waive_amount"


def is_of_this_mode(intent: PaymentIntent) -> bool:
    """Tell whether the key in use can reach the intent."""
    return intent.livemode == get_config().livemode


class RefundAction(IntentAction):
    name = "refund"
    title = _("Refund")
    button = _("Refund")
    is_final = False

    def permission(self, target: Target) -> str:
        return "shop_payments.add_refund"

    def is_offered(self, target: Target) -> bool:
        options = target.options
        return options.refundable > 0 and is_of_this_mode(options.intent)

    def why_not(self, target: Target) -> str:
        return gettext("Nothing of this payment can be refunded now.")

    def label(self, target: Target) -> str:
        options = target.options
        money = amount_text(options.refundable, options.intent.currency)
        if not options.counts:
            return gettext("Refund %(money)s that does not count") % {"money": money}
        if sum(each.refundable > 0 for each in target.found.intents) == 1:
            return str(self.title)
        values = {"money": money, "intent": options.intent}
        return gettext("Refund up to %(money)s of %(intent)s") % values

    def exact_label(self, money: str) -> str:
        return gettext("Refund %(money)s") % {"money": money}

    def amount(self, target: Target) -> int:
        return target.options.refundable

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        return RefundForm(currency=self.currency(target), **kwargs)

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        options = target.options
        return [*money_facts(options), (_("Can be refunded"), _amount(options, options.refundable))]

    def carry_out(self, task: Task) -> Outcome:
        request = RefundRequest(
            amount_decimal=task.values["amount"],
            reason=task.values["reason"],
            kind=task.values["kind"],
            key=task.request_key,
            intent_id=task.target.options.intent.stripe_id,
        )
        try:
            (refund,) = refund_payment(order_id=task.order_id, request=request, origin=task.origin)
        except RefusedRefund as error:
            refund = error.refund
        except RefundExceedsBalance as error:
            raise Refused(str(error), field="amount") from error
        except IdempotencyKeyReused as error:
            text = gettext(
                "Another refund has already been made from this form; see the list of refunds. To"
                " make this one as well, send the form again."
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
            text = gettext("%(amount)s goes back to the customer.") % values
        else:
            text = gettext("The refund of %(amount)s is on its way (%(status)s).") % values
        return Outcome(with_balance(text, refund.order_payment_id))


class CaptureAction(IntentAction):
    name = "capture"
    title = _("Capture")
    button = _("Capture")

    def permission(self, target: Target) -> str:
        return "shop_payments.change_orderpayment"

    def is_offered(self, target: Target) -> bool:
        return target.options.can_be_captured

    def why_not(self, target: Target) -> str:
        return _past_it(target)

    def amount(self, target: Target) -> int:
        return target.options.intent.amount_capturable

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        intent = target.options.intent
        # To waive needs its own permission, and this must not be a way around it.
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

    def carry_out(self, task: Task) -> Outcome:
        try:
            intent = capture_payment(
                order_id=task.order_id,
                amount_decimal=task.values["amount"],
                waive_rest=task.values["rest"] == CaptureForm.WAIVED,
                origin=task.origin,
            )
        except OrderAlreadyPaid:
            return Outcome(gettext("The money had been taken already."), messages.INFO)
        except PaymentMismatch as error:
            return Outcome(str(error), messages.WARNING)
        taken = amount_text(intent.amount_received, intent.currency)
        text = gettext("%(amount)s was taken.") % {"amount": taken}
        return Outcome(with_balance(text, intent.order_payment_id))


class CancelAction(IntentAction):
    name = "cancel"
    title = _("Cancel payment")
    button = _("Cancel payment")

    def permission(self, target: Target) -> str:
        return "shop_payments.change_orderpayment"

    def is_offered(self, target: Target) -> bool:
        return target.options.can_be_cancelled

    def why_not(self, target: Target) -> str:
        return _past_it(target)

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        return CancelForm(**kwargs)

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        intent = target.options.intent
        return [
            (_("Asked for"), intent.amount_display),
            (_("Status"), describe_status(intent.status)),
        ]

    def carry_out(self, task: Task) -> Outcome:
        cancel_payment(order_id=task.order_id, reason=task.values["reason"], origin=task.origin)
        return Outcome(
            gettext("The payment is cancelled. While its order is open, it can be paid again.")
        )


def money_facts(options: IntentOptions) -> list[tuple[Any, str]]:
    """Say where the money of an intent is."""
    money = options.money
    amounts = [
        (_("Refunded before"), money.refunded),
        (_("Refunds on their way"), money.refund_pending),
        (_("Held by the customer's bank"), money.disputed),
        (_("Lost in disputes"), money.lost),
        (_("Settled outside Stripe"), money.settled),
    ]
    gone = [(label, _amount(options, amount)) for label, amount in amounts if amount]
    return [(_("Received"), _amount(options, money.received)), *gone]


def _amount(options: IntentOptions, amount: int) -> str:
    return amount_text(amount, options.intent.currency)


def _past_it(target: Target) -> str:
    status = describe_status(target.options.intent.status)
    return gettext("Nothing was changed: this payment is %(status)s.") % {"status": status}
