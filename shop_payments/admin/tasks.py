"""The base class of staff actions on a payment, and the data that an action works with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import Model
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.base import amount_text, describe_balance, in_words
from shop_payments.balance import Balance, Observations, balance_of
from shop_payments.exceptions import (
    GatewayAuthenticationError,
    GatewayError,
    OrderUnreadable,
    ShopPaymentsError,
    TargetMissing,
)
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.observations import observe
from shop_payments.ledger.payments import read_rows
from shop_payments.models import OrderPayment, Refund, StaffEntry
from shop_payments.services.options import IntentOptions, options_in


@dataclass(frozen=True, kw_only=True)
class PaymentState:
    """A payment with its rows, read once for a page."""

    payment: OrderPayment
    observations: Observations
    """The observations that the balance is derived from."""

    balance: Balance
    intents: Sequence[IntentOptions]
    """Newest first."""

    entries: Sequence[StaffEntry]
    """Newest first."""

    refunds: Sequence[Refund]
    """Newest first."""

    @classmethod
    def read(cls, payment: OrderPayment) -> PaymentState:
        """Read the rows of a payment."""
        # Without a lock: a page may be outdated. The service decides again, under the lock.
        rows = read_rows(payment)
        observations = observe(rows.rows)
        return cls(
            payment=payment,
            observations=observations,
            balance=balance_of(observations),
            intents=options_in(rows),
            entries=rows.entries[::-1],
            refunds=sorted(rows.refunds, key=lambda refund: refund.created_at, reverse=True),
        )


@dataclass(frozen=True, kw_only=True)
class Target:
    """The subject of an action: a payment, or one of its intents, staff entries or refunds."""

    state: PaymentState
    intent_options: IntentOptions | None = None
    staff_entry: StaffEntry | None = None
    of_refund: Refund | None = None

    @property
    def payment(self) -> OrderPayment:
        """The payment of the subject."""
        return self.state.payment

    @property
    def options(self) -> IntentOptions:
        """The intent with the actions that it allows."""
        # An action is only asked about the targets that it returns itself.
        assert self.intent_options is not None
        return self.intent_options

    @property
    def entry(self) -> StaffEntry:
        """The staff entry."""
        assert self.staff_entry is not None
        return self.staff_entry

    @property
    def refund(self) -> Refund:
        """The refund."""
        assert self.of_refund is not None
        return self.of_refund

    @property
    def row(self) -> Model | None:
        """The intent, entry or refund; None if the subject is the payment as a whole."""
        if self.intent_options is not None:
            return self.intent_options.intent
        return self.staff_entry or self.of_refund

    @property
    def pk(self) -> Any:
        """The primary key of the row, if there is one."""
        return None if self.row is None else self.row.pk


@dataclass(frozen=True, kw_only=True)
class Task:
    """A valid, confirmed form that a member of staff has sent."""

    target: Target
    values: dict[str, Any]
    """The form's cleaned data."""

    key: UUID
    """The key of the form, which is the same each time the form is sent."""

    user: Any
    origin: Origin

    @property
    def order_id(self) -> Any:
        """The primary key of the order."""
        return self.target.payment.order_id

    @property
    def request_key(self) -> str:
        """The idempotency key of the service's call."""
        return request_key_of(self.key)


def request_key_of(key: UUID) -> str:
    """Return the idempotency key of the service's call for the key of a form."""
    # The prefix keeps these keys apart from those that clients of the API choose.
    return f"admin {key}"


@dataclass(frozen=True)
class Outcome:
    """The message for staff after an action, with its level."""

    text: str
    level: int = messages.SUCCESS


@dataclass(frozen=True, kw_only=True)
class EarlierUse:
    """What came of a form that was already used."""

    text: str
    is_refused: bool = False
    """Whether Stripe refused it. Otherwise, sending the same form again finishes what was begun."""


class Action:
    """An action of staff on a payment, with its own page."""

    name: ClassVar[str]
    title: ClassVar[Any]
    button: ClassVar[Any]
    needs: ClassVar[str] = ""
    """The permission that staff need, if it is the same for all subjects."""

    has_row = True
    """Whether the subject is an intent, entry or refund, and not the payment as a whole."""

    is_listed = True
    """Whether it has a button above the page; otherwise its page is linked from elsewhere."""

    is_upkeep: ClassVar[bool] = False
    """Whether it only brings the payment up to date. Review items offer such an action only if they
    suggest it."""

    key_kind: ClassVar[str] = "int"
    """The path converter of Django for the primary key of that row."""

    @property
    def key_in_url(self) -> str:
        """The last part of the route of the action's page."""
        return f"<{self.key_kind}:pk>/" if self.has_row else ""

    def targets(self, state: PaymentState) -> Iterable[Target]:
        """Return the possible subjects of the action on a payment."""
        raise NotImplementedError

    def permission(self, target: Target) -> str:
        """Return the permission that staff need."""
        return self.needs

    def is_offered(self, target: Target) -> bool:
        """Return whether the state of the payment allows the action."""
        raise NotImplementedError

    def why_not(self, target: Target) -> str:
        """Return the reason why the action is not offered."""
        raise NotImplementedError

    def label(self, target: Target) -> str:
        """Return the label of the button that leads to the action's page."""
        return str(self.title)

    def exact_label(self, money: str) -> str:
        """Return the label of a button that proposes exactly this amount."""
        return str(self.title)

    def amount(self, target: Target) -> int | None:
        """Return the amount that the form proposes, in minor units; None if it has no amount."""
        return None

    def maximum(self, target: Target) -> int | None:
        """Return the highest amount that the form accepts, in minor units."""
        return self.amount(target)

    def currency(self, target: Target) -> str:
        """Return the currency of the form's amount."""
        raise NotImplementedError

    def effect(self, target: Target, form: Any) -> str:
        """Describe what a valid two-step form would do."""
        raise NotImplementedError

    def earlier(self, target: Target, request_key: str) -> EarlierUse | None:
        """Return what a form with this key has already done; None if it was not used."""
        return None

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        """Return the form of the action."""
        raise NotImplementedError

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        """Return the facts that staff need before they act, as labels and values."""
        raise NotImplementedError

    def carry_out(self, task: Task) -> Outcome:
        """Carry out the action; return the message for staff.

        Raises:
            ActionRefused: nothing happened. The message is shown at a field of the form.
            ShopPaymentsError: nothing happened, or the outcome is not known; see :func:`explain`.
        """
        raise NotImplementedError


class IntentAction(Action):
    """An action on one payment intent."""

    @staticmethod
    def named(target: Target) -> str:
        """Name the intent beside others, which may have the same amount, card and day."""
        intent = target.options.intent
        if target.state.balance.excess.get(intent.stripe_id):
            return gettext("%(payment)s, in excess") % {"payment": intent.title}
        return intent.title

    def targets(self, state: PaymentState) -> Iterable[Target]:
        return [Target(state=state, intent_options=options) for options in state.intents]

    def currency(self, target: Target) -> str:
        return target.options.intent.currency


def can_be_sent_again(error: ShopPaymentsError) -> bool:
    """Return whether staff can send the form again as it is; :func:`explain` asks them to.

    If so, its page keeps the effect and the checkbox. Otherwise it shows the first step again.
    """
    # Either nothing was recorded, or the next try finishes the attempt that is saved.
    if isinstance(error, OrderUnreadable | GatewayAuthenticationError):
        return True
    return isinstance(error, GatewayError) and (error.effect_unknown or error.retryable)


def explain(error: ShopPaymentsError) -> str:
    """Return a message for staff: what went wrong, and what they can do.

    It never says that nothing was done while an earlier attempt of the form may have succeeded.
    """
    if isinstance(error, OrderUnreadable):
        return gettext(
            "The order could not be read, so nothing was recorded. Send this form again. If it"
            " fails again, ask the shop's developers. %(why)s"
        ) % {"why": in_words(error)}
    # The following are subclasses of GatewayError, so they come first.
    if isinstance(error, GatewayAuthenticationError) and error.permission:
        return gettext(
            "The shop's Stripe key lacks the permission %(permission)s, so Stripe did not carry out"
            " this request. Ask the shop's operator to add the permission in Stripe's dashboard."
            " Then send this form again. Stripe carries it out only once."
        ) % {"permission": error.permission}
    if isinstance(error, GatewayAuthenticationError):
        return gettext(
            "Stripe does not accept the shop's secret key, or the key lacks a permission, so Stripe"
            " did not carry out this request. Ask the shop's operator to check STRIPE_SECRET_KEY."
            " Then send this form again. Stripe carries it out only once."
        )
    if isinstance(error, TargetMissing):
        return gettext(
            "Stripe does not know this payment under the shop's key, so it is not known whether the"
            " request was carried out. Ask the shop's operator to check that STRIPE_SECRET_KEY"
            " belongs to the account that took the payment. Then send this form again. Stripe"
            " carries it out only once."
        )
    if isinstance(error, GatewayError) and error.effect_unknown:
        return gettext(
            "Stripe has not answered, so it is not known yet whether the request was carried out."
            " Send this form again in a moment. Stripe carries it out only once."
        )
    if isinstance(error, GatewayError) and error.retryable:
        return gettext(
            "Stripe is busy and did not carry out this request. Send this form again in a moment."
            " Stripe carries it out only once."
        )
    if isinstance(error, GatewayError):
        return gettext("Stripe refused the request, and no money has moved: %(why)s") % {
            "why": error
        }
    return in_words(error)


def explain_read(error: GatewayError) -> str:
    """Return a message for staff about a request that only reads from Stripe."""
    if isinstance(error, GatewayAuthenticationError):
        text = gettext(
            "Stripe does not accept the shop's secret key, or the key lacks a permission. Ask the"
            " shop's operator to check STRIPE_SECRET_KEY. What Stripe said: %(why)s"
        )
    else:
        text = gettext(
            "Stripe could not be reached. The data that was read before is stored. Try again in "
            "a moment. The problem: %(why)s"
        )
    return text % {"why": error}


_AMOUNTS = {
    "amount_received": _("Received"),
    "amount_refunded": _("Refunded"),
    "amount_lost": _("Lost in disputes"),
    "amount_waived": _("Already waived"),
    "amount_owed": _("Owed"),
}


def balance_facts(payment: OrderPayment, *names: str) -> list[tuple[Any, str]]:
    """Return the named amounts of a payment with their labels, without those that are zero."""
    amounts = [(_AMOUNTS[name], getattr(payment, name)) for name in names]
    return [(label, amount_text(amount, payment.currency)) for label, amount in amounts if amount]


def with_balance(text: str, payment_pk: int) -> str:
    """Append the current balance of the payment to ``text``."""
    # Read again: the service has changed the payment since the page was built.
    return f"{text} {describe_balance(OrderPayment.objects.get(pk=payment_pk))}"
