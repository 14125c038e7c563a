"""What an action of staff is: whom it is offered to, what its page shows, and what it does."""

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

from shop_payments.admin.base import amount_text, balance_words
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
class Found:
    """A payment as its rows stand, read once for a page."""

    payment: OrderPayment
    seen: Observations
    """What the balance follows from."""

    balance: Balance
    intents: Sequence[IntentOptions]
    """Newest first."""

    entries: Sequence[StaffEntry]
    """Newest first."""

    refunds: Sequence[Refund]
    """Newest first."""

    @classmethod
    def of(cls, payment: OrderPayment) -> Found:
        """Read the rows of a payment."""
        rows = read_rows(payment)
        seen = observe(rows.rows)
        return cls(
            payment=payment,
            seen=seen,
            balance=balance_of(seen),
            intents=options_in(rows),
            entries=rows.entries[::-1],
            refunds=sorted(rows.refunds, key=lambda refund: refund.created_at, reverse=True),
        )


@dataclass(frozen=True, kw_only=True)
class Target:
    """What an action is about: a payment, and of it an intent, a staff entry or a refund."""

    found: Found
    intent_options: IntentOptions | None = None
    staff_entry: StaffEntry | None = None
    of_refund: Refund | None = None

    @property
    def payment(self) -> OrderPayment:
        """The payment."""
        return self.found.payment

    @property
    def options(self) -> IntentOptions:
        """The intent, and what may be done with it."""
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
        """The intent, entry or refund; None where it is about the payment as a whole."""
        if self.intent_options is not None:
            return self.intent_options.intent
        return self.staff_entry or self.of_refund

    @property
    def pk(self) -> Any:
        """The key of the row, if there is one."""
        return None if self.row is None else self.row.pk


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a member of staff wants done."""

    target: Target
    values: dict[str, Any]
    """The form's, cleaned."""

    key: UUID
    """The form's, the same for each time it is sent."""

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
    """Return the idempotency key of the service's call, for the key of a form."""
    return f"admin {key}"


@dataclass(frozen=True)
class Outcome:
    """What to say about an action that was carried out."""

    text: str
    level: int = messages.SUCCESS


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """What a form has done that was used before."""

    text: str
    is_refused: bool = False
    """Whether it did not happen. Otherwise the same form sent again does no more, and finishes
    what is not finished."""


class Action:
    """One thing that staff may do, on a page for it alone."""

    name: ClassVar[str]
    title: ClassVar[Any]
    button: ClassVar[Any]
    has_row = True
    """Whether it is about one intent, entry or refund, and not about the payment as a whole."""

    key_kind: ClassVar[str] = "int"
    """Django's path converter for the key of that row."""

    @property
    def key_in_url(self) -> str:
        """The end of its page's route."""
        return f"<{self.key_kind}:pk>/" if self.has_row else ""

    is_final = True
    """Whether it cannot be done a second time to the same target."""

    def targets(self, found: Found) -> Iterable[Target]:
        """Return everything of a payment that it could be about."""
        raise NotImplementedError

    def permission(self, target: Target) -> str:
        """Return the permission that it needs."""
        raise NotImplementedError

    def is_offered(self, target: Target) -> bool:
        """Tell whether the state allows it."""
        raise NotImplementedError

    def why_not(self, target: Target) -> str:
        """Say why it is not offered."""
        raise NotImplementedError

    def label(self, target: Target) -> str:
        """Return what the link to its page says."""
        return str(self.title)

    def exact_label(self, money: str) -> str:
        """Return what the link says where it proposes exactly this amount."""
        return str(self.title)

    def amount(self, target: Target) -> int | None:
        """Return what the form proposes, in minor units."""
        return None

    def most(self, target: Target) -> int | None:
        """Return the highest amount that the form takes, in minor units."""
        return self.amount(target)

    def currency(self, target: Target) -> str:
        """Return the currency of the form's amount."""
        raise NotImplementedError

    def effect(self, target: Target, form: Any) -> str:
        """Say what a valid form with two steps would do."""
        raise NotImplementedError

    def earlier(self, target: Target, request_key: str) -> Earlier | None:
        """Return what a form with this key has done before; None where it was not used."""
        return None

    def form(self, target: Target, user: Any, **kwargs: Any) -> forms.Form:
        """Return its form."""
        raise NotImplementedError

    def facts(self, target: Target) -> list[tuple[Any, str]]:
        """Return what staff have to know before they act."""
        raise NotImplementedError

    def carry_out(self, task: Task) -> Outcome:
        """Do it; return what to say about it.

        Raises:
            ActionRefused: it did not happen.
            ShopPaymentsError: it did not happen, or that is not known; see :func:`explain`.
        """
        raise NotImplementedError


class IntentAction(Action):
    """What may be done with one payment intent."""

    def targets(self, found: Found) -> Iterable[Target]:
        return [Target(found=found, intent_options=options) for options in found.intents]

    def currency(self, target: Target) -> str:
        return target.options.intent.currency


def can_be_sent_again(error: ShopPaymentsError) -> bool:
    """Tell whether the same form, sent again, is the same try; :func:`explain` says so, too."""
    if isinstance(error, OrderUnreadable | GatewayAuthenticationError):
        return True
    return isinstance(error, GatewayError) and (error.effect_unknown or error.retryable)


def explain(error: ShopPaymentsError) -> str:
    """Say to staff what went wrong, and what that means for another try."""
    if isinstance(error, OrderUnreadable):
        return gettext(
            "The order could not be read, so nothing was recorded. Send this form again; if it"
            " fails again, ask the shop's developers: %(why)s."
        ) % {"why": error}
    if isinstance(error, GatewayAuthenticationError) and error.permission:
        return gettext(
            "The shop's Stripe key lacks the permission %(permission)s, so Stripe has not taken"
            " this try. Ask the shop's operator to give it to the key in Stripe's dashboard. After"
            " that, send this form again, and Stripe does it once."
        ) % {"permission": error.permission}
    if isinstance(error, GatewayAuthenticationError):
        return gettext(
            "Stripe does not accept the shop's secret key, or the key may not do this, and has not"
            " taken this try. Ask the shop's operator to check STRIPE_SECRET_KEY. After that, send"
            " this form again, and Stripe does it once."
        )
    if isinstance(error, TargetMissing):
        return gettext(
            "Stripe does not know this payment under the shop's key, so it is not known whether"
            " it was done. Ask the shop's operator to check whether STRIPE_SECRET_KEY is of the"
            " account that took the payment. After that, send this form again, and Stripe does it"
            " once."
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


_AMOUNTS = {
    "amount_received": _("Received"),
    "amount_refunded": _("Refunded"),
    "amount_lost": _("Lost in disputes"),
    "amount_waived": _("Waived before"),
    "amount_owed": _("Owed"),
}


def balance_facts(payment: OrderPayment, *names: str) -> list[tuple[Any, str]]:
    """Return these amounts of a payment with their labels, less those that say nothing."""
    amounts = [(_AMOUNTS[name], getattr(payment, name)) for name in names]
    return [(label, amount_text(amount, payment.currency)) for label, amount in amounts if amount]


def with_balance(text: str, payment_pk: int) -> str:
    """Add to ``text`` what the payment amounts to by now."""
    return f"{text} {balance_words(OrderPayment.objects.get(pk=payment_pk))}"
