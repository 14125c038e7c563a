"""Staff actions that bring a payment up to date and move no money: evaluate, refresh."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django import forms
from django.contrib import messages
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import (
    amount_text,
    describe_balance,
    in_words,
    moment_text,
    total_text,
)
from shop_payments.admin.tasks import Action, Outcome, PaymentState, Target, Task, explain_read
from shop_payments.conf import get_config
from shop_payments.exceptions import ActionRefused, GatewayError, OrderUnreadable
from shop_payments.models import OrderPayment, PaymentHistory
from shop_payments.models.words import choice_label
from shop_payments.services.reevaluate_order import reevaluate_order
from shop_payments.services.refresh_payment import (
    RefreshedPayment,
    can_be_refreshed,
    refresh_payment,
)


class _StateAction(Action):
    """An action without fields on the payment as a whole: a single step, whose page says it all."""

    needs = "shop_payments.change_orderpayment"
    has_row = False
    is_upkeep = True

    def targets(self, state: PaymentState) -> Iterable[Target]:
        return [Target(state=state)]

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        return forms.Form(**kwargs)


class EvaluateAction(_StateAction):
    name = "evaluate"
    title = _("Evaluate again")
    button = _("Evaluate again")

    def is_offered(self, target: Target) -> bool:
        return True

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        payment = target.payment
        text = gettext(
            "The order is read again, and the paid amount, the owed amount and the excess are "
            "computed again. If the customer is being asked for too much, the open payment at "
            "Stripe is lowered or cancelled. %(money)s"
        ) % {"money": _about_money()}
        return [
            (_("What will happen"), text),
            (_("Order total"), total_text(payment)),
            (_("Total at the last evaluation"), _seen_total(payment)),
            (_("Last evaluation"), describe_balance(payment)),
        ]

    def carry_out(self, task: Task) -> Outcome:
        before = _figures(task.target.payment)
        reevaluate_order(task.order_id, origin=task.origin)
        payment = OrderPayment.objects.get(pk=task.target.payment.pk)
        changes = _describe_changes(before, _figures(payment))
        text = gettext("The order was evaluated again, and nothing has changed.")
        if changes:
            text = gettext("The order was evaluated again. Changed: %(changes)s.")
        return Outcome(f"{text % {'changes': changes}} {describe_balance(payment)}")


class RefreshAction(_StateAction):
    name = "refresh"
    title = _("Refresh from Stripe")
    button = _("Refresh from Stripe")

    def is_offered(self, target: Target) -> bool:
        return can_be_refreshed(target.payment)

    def why_not(self, target: Target) -> str:
        return gettext("Stripe has no payment of this order in the mode of the shop's key.")

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        text = gettext("Asks Stripe for the current state. %(money)s") % {"money": _about_money()}
        ids = ", ".join(options.intent.stripe_id for options in target.state.intents)
        return [
            (_("What will happen"), text),
            (_("Payment intents"), ids),
            (_("Last change"), moment_text(target.payment.updated_at)),
        ]

    def carry_out(self, task: Task) -> Outcome:
        try:
            refreshed = refresh_payment(order_id=task.order_id, origin=task.origin)
        except OrderUnreadable as error:
            text = gettext(
                "Stripe's state is stored, but the order could not be read, so the amounts are "
                "not up to date. The order is evaluated again automatically. If this fails, ask "
                "the shop's developers. %(why)s"
            )
            return Outcome(text % {"why": in_words(error)}, messages.WARNING)
        except GatewayError as error:
            raise ActionRefused(explain_read(error)) from error
        return _describe_refreshed(refreshed, task.target.payment.pk)


def _describe_refreshed(refreshed: RefreshedPayment, payment_pk: int) -> Outcome:
    if refreshed.facts:
        text = gettext("Stripe has answered. New: %(facts)s.") % {
            "facts": "; ".join(_describe_fact(fact) for fact in refreshed.facts)
        }
    elif refreshed.has_changed:
        text = gettext("Stripe has answered, and missing details were added. No money has moved.")
    else:
        text = gettext("Stripe has answered, and nothing has changed.")
    sentences = [text, describe_balance(OrderPayment.objects.get(pk=payment_pk))]
    if refreshed.missing:
        words = gettext("Stripe does not know %(intents)s under the shop's key.")
        sentences.insert(1, words % {"intents": ", ".join(refreshed.missing)})
    level = messages.WARNING if refreshed.missing else messages.SUCCESS
    return Outcome(" ".join(sentences), level)


def _describe_fact(fact: PaymentHistory) -> str:
    # Without the source, which is this request.
    values = {"kind": choice_label(fact, "kind"), "detail": fact.detail}
    return gettext("%(kind)s: %(detail)s") % values if fact.detail else str(values["kind"])


def _about_money() -> str:
    """Describe that an action moves no money, except by a rule of the shop that may follow it."""
    if get_config().AUTO_REFUND_EXCESS:
        return gettext(
            "No money moves, except that this shop automatically refunds payments that arrived "
            "when nothing was owed."
        )
    return gettext("No money moves.")


# --- what has changed ---------------------------------------------------------------------------


_AMOUNTS = {
    "amount_received": _("received"),
    "amount_waived": _("waived"),
    "amount_outstanding": _("outstanding"),
    "amount_owed": _("owed"),
    "amount_excess": _("excess"),
}


def _seen_total(payment: OrderPayment) -> str:
    if payment.total is None:
        return gettext("unknown")
    return amount_text(payment.total, payment.currency)


def _figures(payment: OrderPayment) -> dict[str, str]:
    """Return what an evaluation works out, by its label."""
    amounts = {
        str(label): amount_text(getattr(payment, name), payment.currency)
        for name, label in _AMOUNTS.items()
    }
    return {
        gettext("order total"): _seen_total(payment),
        gettext("status"): choice_label(payment, "status"),
        gettext("accepts payments"): gettext("yes") if payment.is_payable else gettext("no"),
        **amounts,
    }


def _describe_changes(before: dict[str, str], after: dict[str, str]) -> str:
    text = gettext("%(what)s %(before)s → %(after)s")
    return ", ".join(
        text % {"what": what, "before": before[what], "after": now}
        for what, now in after.items()
        if before[what] != now
    )
