"""The form of a refund: an amount, or lines of the order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.forms import AmountForm, ConfirmCheckbox, ReasonField, WholeNumberField
from shop_payments.exceptions import AmountNotRepresentable, MoneyError, OrderUnreadable
from shop_payments.models import Refund
from shop_payments.money import check_minor_units, display_amount, from_minor_units, to_minor_units
from shop_payments.orders import LineItem, read_line_items

_MAX_LINES = 200
"""The lines that a form offers. Django limits the number of fields of a request."""


@dataclass(frozen=True, kw_only=True)
class RefundableLine:
    """A line of an order with a whole quantity, or one that is only refunded as a whole."""

    field_name: str
    item: LineItem

    @property
    def is_divisible(self) -> bool:
        """Whether staff can choose a part of the quantity. A fraction is never divided."""
        return not isinstance(self.item.quantity, Decimal)

    def form_field(self) -> Any:
        """Return the field with the quantity, or the checkbox of a line that is not divisible."""
        item = self.item
        values = {
            "quantity": item.shown_quantity,
            "price": display_amount(item.amount, item.currency),
        }
        label = item.name or gettext("Line without a name")
        if not self.is_divisible:
            text = gettext("The whole line: %(quantity)s at %(price)s each.") % values
            return ConfirmCheckbox(label=label, help_text=self._described(text), required=False)
        text = gettext("Quantity, up to %(quantity)s at %(price)s each.") % values
        limit = MaxValueValidator(
            int(item.quantity), message=_("The order has only %(limit_value)s of this.")
        )
        return WholeNumberField(
            label=label, help_text=self._described(text), required=False, validators=[limit]
        )

    def _described(self, text: str) -> str:
        return f"{self.item.description} – {text}" if self.item.description else text

    def chosen(self, value: Any) -> ChosenLine | None:
        """Return what the cleaned value of the field chooses; None for nothing."""
        if not value:
            return None
        return ChosenLine(item=self.item, quantity=value if self.is_divisible else None)


@dataclass(frozen=True, kw_only=True)
class ChosenLine:
    """A line of an order, or a part of it, that staff refund."""

    item: LineItem
    quantity: int | None
    """None for the whole line."""

    @property
    def amount(self) -> int:
        """The amount in minor units."""
        whole = self.item.quantity
        return _exact(self.item.amount, whole if self.quantity is None else self.quantity)

    def __str__(self) -> str:
        quantity = self.item.shown_quantity if self.quantity is None else self.quantity
        return f"{quantity} × {self.item.name}".strip()


def read_refundable_lines(order: Any, currency: str) -> Sequence[RefundableLine]:
    """Read the lines of an order that can be refunded in ``currency``.

    There are none if the order cannot be read. Discounts, free lines, and fractions whose price is
    not a whole number of minor units are left out: staff refund these by amount.
    """
    try:
        items = read_line_items(order)
    except (MoneyError, OrderUnreadable):  # it has been logged, and the amount is always possible
        return []
    return [
        RefundableLine(field_name=f"line_{number}", item=item)
        for number, item in enumerate(items[:_MAX_LINES])
        if _is_refundable(item, currency)
    ]


def _is_refundable(item: LineItem, currency: str) -> bool:
    if item.currency != currency or item.amount <= 0 or item.quantity <= 0:
        return False
    try:
        if not isinstance(item.quantity, Decimal):
            check_minor_units(item.amount, currency)
        check_minor_units(_exact(item.amount, item.quantity), currency)
    except MoneyError:
        return False
    return True


def _exact(unit_amount: int, quantity: int | Decimal) -> int:
    """Return the price of a quantity in minor units, without rounding.

    Raises:
        AmountNotRepresentable: it is not a whole number.
    """
    numerator, denominator = quantity.as_integer_ratio()
    amount, remainder = divmod(unit_amount * numerator, denominator)
    if remainder:
        raise AmountNotRepresentable("the price of the line is not a whole number of minor units")
    return amount


class RefundForm(AmountForm):
    """Staff enter an amount or choose lines. The prefilled amount does not count as entered."""

    # Both choices are optional, as in the API.
    kind = forms.ChoiceField(
        label=_("Purpose of the refund"),
        required=False,
        choices=[("", _("not specified")), *Refund.Kind.choices],
        help_text=_(
            "If you specify no purpose and the order is paid, the excess is refunded first, and "
            "the rest is for returned goods. After a correction, the order owes the money again."
        ),
    )
    reason = forms.ChoiceField(
        label=_("Reason"),
        required=False,
        choices=[("", _("not specified")), *Refund.Reason.choices],
        help_text=_("Sent to Stripe. If it is “fraudulent”, Stripe also blocks the card."),
    )
    note = ReasonField(
        label=_("Note"),
        required=False,
        help_text=_(
            "For the shop's staff: stored with the refund, and not sent to Stripe. Do not name the"
            " customer here."
        ),
    )
    sure = ConfirmCheckbox(
        label=_("Yes, refund this amount to the customer. This cannot be undone."), required=False
    )
    effect_fields = ("kind",)
    over_maximum = _("At most %(maximum)s of this payment can be refunded.")

    def __init__(self, *args: Any, lines: Sequence[RefundableLine] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lines = lines
        self.chosen: list[ChosenLine] = []
        for line in lines:
            self.fields[line.field_name] = line.form_field()
        if lines:
            amount = self.fields["amount"]
            amount.required = False  # clean() requires it if no line is chosen
            amount.help_text = gettext("%(help)s Or choose lines of the order below.") % {
                "help": amount.help_text
            }

    @property
    def chosen_text(self) -> str:
        """The chosen lines with their quantities."""
        return ", ".join(str(line) for line in self.chosen)

    def sections(self) -> list[tuple[Any, list[str]]]:
        if not self.lines:
            return super().sections()
        names = [line.field_name for line in self.lines]
        return [
            (None, ["amount"]),
            (_("Or lines of the order"), names),
            (None, ["kind", "reason", "note"]),
        ]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if any(line.field_name in self.errors for line in self.lines):
            return values
        found = [line.chosen(values.get(line.field_name)) for line in self.lines]
        self.chosen = [line for line in found if line is not None]
        if self.chosen:
            self._clean_chosen(values)
        elif values.get("amount") is None and "amount" not in self.errors:
            self.add_error("amount", forms.ValidationError(_("Enter an amount, or choose lines.")))
        return values

    def _clean_chosen(self, values: dict[str, Any]) -> None:
        total = sum(line.amount for line in self.chosen)
        amounts = {"lines": display_amount(total, self.currency)}
        if not self._may_accompany(values.get("amount"), total):
            text = _(
                "You have chosen lines for %(lines)s and entered another amount. Clear the amount"
                " to refund the lines, or clear the lines to refund the amount."
            )
            self.add_error("amount", forms.ValidationError(text, params=amounts))
        elif self.maximum is not None and total > self.maximum:
            amounts["maximum"] = display_amount(self.maximum, self.currency)
            text = _(
                "The chosen lines cost %(lines)s. At most %(maximum)s of this payment can be"
                " refunded."
            )
            self.add_error(None, forms.ValidationError(text, params=amounts))
        else:
            values["amount"] = from_minor_units(total, self.currency)
            values["note"] = self._note_with_lines(values.get("note", ""))

    def _may_accompany(self, amount: Decimal | None, total: int) -> bool:
        """Return whether lines may be chosen beside what the field of the amount contains."""
        # The page proposes an amount, and staff need not clear it.
        is_proposed = amount is not None and amount == self.initial.get("amount")
        return amount is None or is_proposed or to_minor_units(amount, self.currency) == total

    def _note_with_lines(self, note: str) -> str:
        # Stripe and the refund's row only know the amount.
        limit = _MAX_NOTE - len(note) - len(_SEPARATOR)
        lines = self.chosen_text[: max(0, limit)] if note else self.chosen_text[:_MAX_NOTE]
        return _SEPARATOR.join(part for part in (lines, note) if part)

    def ask_to_confirm(self) -> None:
        super().ask_to_confirm()
        if self.chosen:
            # The proposed amount beside the effect would be read as the amount of the refund.
            self._set(amount="")

    def _effect_key(self) -> str:
        # A digest, because a browser does not keep all characters of a hidden field.
        digest = hashlib.sha256(self.chosen_text.encode()).hexdigest() if self.chosen else ""
        return f"{super()._effect_key()}:{digest}"


_MAX_NOTE = 500
_SEPARATOR = "; "
