"""The forms of the action pages."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, ClassVar

from django import forms
from django.utils import formats
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.exceptions import AmountNotRepresentable, InvalidCurrency
from shop_payments.ledger.descriptions import humanize
from shop_payments.models import Refund
from shop_payments.money import (
    display_amount,
    parse_typed_amount,
    to_minor_units,
    typed_example,
    write_typed_amount,
)
from shop_payments.services.cancel_payment import REASONS


class ReasonField(forms.CharField):
    """Why, in the words of a member of staff. It stays with the row, and is required."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 3, "cols": 60})
        super().__init__(**{"label": _("Reason"), "max_length": 500, "widget": widget, **kwargs})


class TypedAmountField(forms.CharField):
    """An amount, typed in the one form that :func:`parse_typed_amount` reads.

    The reader's language decides about the separator, and ``currency``, which the form sets, about
    the decimals. So the field is a text: a number's field of a browser follows the browser.
    """

    currency = ""

    def __init__(self, **kwargs: Any) -> None:
        attrs = {"inputmode": "decimal", "autocomplete": "off", "size": 14}
        super().__init__(**{"widget": forms.TextInput(attrs=attrs), **kwargs})

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        try:
            return parse_typed_amount(text, self.currency, decimal_separator())
        except InvalidCurrency:
            return Decimal(0)  # an order's currency, which has an error where it is typed
        except AmountNotRepresentable as error:
            raise forms.ValidationError(
                _("Write the amount like %(example)s."),
                code="invalid",
                params={"example": typed_example(self.currency, decimal_separator())},
            ) from error

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, Decimal):
            return value
        return write_typed_amount(value, self.currency, decimal_separator())

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != initial)
        except forms.ValidationError:
            return True


class WholeNumberField(forms.IntegerField):
    """A whole number, typed in digits 0-9 alone.

    Django's own field takes ``1.000`` for 1, and signs, underscores and the digits of every script,
    too. It is a text field, as :class:`TypedAmountField` is.
    """

    def __init__(self, **kwargs: Any) -> None:
        attrs = {"inputmode": "numeric", "autocomplete": "off", "size": 8}
        super().__init__(**{**kwargs, "widget": forms.TextInput(attrs=attrs)})

    def to_python(self, value: Any) -> int | None:
        text = "" if value is None else str(value).strip()
        if not text:
            return None
        if not re.fullmatch("[0-9]{1,18}", text):
            raise forms.ValidationError(
                _("Write a whole number like %(example)s."),
                code="invalid",
                params={"example": "1250"},
            )
        return int(text)


def decimal_separator() -> str:
    """Return the decimal separator of the active language."""
    return str(formats.get_format("DECIMAL_SEPARATOR"))


class Tick(forms.BooleanField):
    """A tick that arms the form. The browser must not set it again when staff come back."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.CheckboxInput(attrs={"autocomplete": "off"})
        super().__init__(**{"widget": widget, **kwargs})


class TwoStepForm(forms.Form):
    """A form that is sent twice.

    When it is sent first, the page shows what would happen, with a tick below. It is carried out
    with the tick, and only as it was shown: ``confirmed`` says what that was.
    """

    confirmed = forms.CharField(required=False, widget=forms.HiddenInput)
    sure = Tick(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shows_tick = False

    @property
    def is_confirmed(self) -> bool:
        """Whether a valid form has the tick below exactly what it asks for now."""
        return bool(self.cleaned_data["sure"]) and self._was_shown

    def ask_for_tick(self) -> None:
        """Show the effect of a valid form, with a tick below that is not set yet."""
        self.shows_tick = True
        effect_key = self._effect_key()
        if self._was_shown:
            self.add_error("sure", self.fields["sure"].error_messages["required"])
        self._set(confirmed=effect_key, sure=None)
        self.fields["sure"].widget.attrs["autofocus"] = True

    def go_to_first_step(self) -> None:
        """Take the tick away: the effect has to be shown first."""
        if self.is_bound:
            self._set(confirmed=None, sure=None)
        del self.fields["sure"]

    def _set(self, **values: str | None) -> None:
        data: Any = self.data.copy()  # type: ignore[attr-defined]
        for name, value in values.items():
            data.pop(name, None)
            if value is not None:
                data[name] = value
        self.data = data

    @property
    def _was_shown(self) -> bool:
        return bool(self.cleaned_data["confirmed"] == self._effect_key())

    def _effect_key(self) -> str:
        """Return what the effect depends on, of what was typed; never empty."""
        return "shown"


class AmountForm(TwoStepForm):
    """A form with an amount."""

    amount = TypedAmountField(label=_("Amount"))

    of_effect: ClassVar[tuple[str, ...]] = ()
    """The other fields that the effect depends on."""

    too_much: ClassVar[Any] = _("Enter an amount up to %(most)s.")

    field_order = ("amount",)

    def __init__(self, *args: Any, currency: str, most: int | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.currency, self.most = currency, most
        field: Any = self.fields["amount"]
        field.currency = currency
        field.help_text = gettext(
            "In %(currency)s, written like %(example)s: all of it, or a part."
        ) % {
            "currency": currency.upper(),
            "example": typed_example(currency, decimal_separator()),
        }

    def clean_amount(self) -> Decimal:
        amount: Decimal = self.cleaned_data["amount"]
        if amount == 0:
            raise forms.ValidationError(_("The amount must be more than 0."))
        if self.most is not None and to_minor_units(amount, self.currency) > self.most:
            raise forms.ValidationError(
                self.too_much,
                params={"most": display_amount(self.most, self.currency)},
            )
        return amount

    @property
    def minor_units(self) -> int:
        """The amount of a valid form."""
        return to_minor_units(self.cleaned_data["amount"], self.currency)

    def _effect_key(self) -> str:
        others = [str(self.cleaned_data.get(name, "")) for name in self.of_effect]
        return ":".join([str(self.minor_units), self.currency, *others])


class RefundForm(AmountForm):
    kind = forms.ChoiceField(
        label=_("Given back for"),
        required=False,
        choices=[("", _("not said")), *Refund.Kind.choices],
        help_text=_(
            "If it is not said: of a paid order, what was received too much goes back first, and"
            " the rest is for returned goods. After a correction, the order owes the money again."
        ),
    )
    reason = forms.ChoiceField(
        label=_("Reason"),
        required=False,
        choices=[("", _("not given")), *Refund.Reason.choices],
        help_text=_("For Stripe. After “fraudulent”, Stripe also blocks such cards in future."),
    )
    sure = Tick(
        label=_("Yes, give this money back to the customer. It cannot be undone."), required=False
    )
    of_effect = ("kind",)
    too_much = _("Only %(most)s of this payment is left.")


class CaptureForm(AmountForm):
    """With less than everything, it has to be said what becomes of the rest."""

    WAIVED, OWED = "waived", "owed"

    rest = forms.ChoiceField(
        label=_("The rest"),
        required=False,
        help_text=_(
            "Required if you take less than what is reserved. Stripe releases the rest to the"
            " customer. If it is still owed, the customer can be asked for it again."
        ),
    )
    sure = Tick(
        label=_(
            "Yes, take this money from the customer. What is left is released to them. It cannot"
            " be undone."
        ),
        required=False,
    )
    of_effect = ("rest",)
    too_much = _("Only %(most)s can be taken.")

    def __init__(self, *args: Any, reserved: int, may_waive: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reserved = reserved
        choices = [("", gettext("everything is taken")), (self.OWED, gettext("is still owed"))]
        if may_waive:
            choices.append((self.WAIVED, gettext("is waived: nobody has to pay it")))
        rest: Any = self.fields["rest"]
        rest.choices = choices

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        takes_part = values.get("amount") is not None and self.minor_units < self.reserved
        if takes_part and "rest" in values and not values["rest"]:
            text = _("You take less than what is reserved: say what happens to the rest.")
            self.add_error("rest", forms.ValidationError(text))
        return values


class CancelForm(forms.Form):
    reason = forms.ChoiceField(
        label=_("Reason"),
        choices=[(reason, humanize(reason)) for reason in REASONS],
        initial="requested_by_customer",
        help_text=_("For Stripe."),
    )
    sure = Tick(label=_("Yes, close this payment. The customer pays nothing."))


class WaiveForm(AmountForm):
    reason = ReasonField(
        help_text=_(
            "The customer is not asked for this amount any more. Your name and the reason stay"
            " with the entry; do not name the customer here. The entry can be revoked for as long"
            " as the shop wants money for the order."
        )
    )
    sure = Tick(label=_("Yes, waive this amount."), required=False)


class SettleForm(AmountForm):
    reason = ReasonField(
        help_text=_(
            "How it was settled: for example, by bank transfer, or kept for another purpose. No"
            " money moves at Stripe. If the money counts for the order, the order owes it again,"
            " except for what was received too much. Your name and the reason stay with the"
            " entry; do not name the customer here."
        )
    )
    sure = Tick(label=_("Yes, record this amount as settled."), required=False)


class GiveUpForm(TwoStepForm):
    reason = ReasonField(
        help_text=_(
            "How you know that Stripe has not made this refund. Look at the payment in the Stripe"
            " dashboard first. Your name and the reason stay in the history; do not name the"
            " customer here."
        )
    )
    sure = Tick(
        label=_("Yes, I have looked, and this refund is not in the Stripe dashboard."),
        required=False,
    )


class RevokeForm(forms.Form):
    reason = ReasonField(
        help_text=_(
            "The entry then counts for nothing: a waived amount is owed again, and settled money"
            " is part of the payment again. Do not name the customer here."
        )
    )


class AcceptForm(forms.Form):
    sure = Tick(
        label=_(
            "Yes, this shop took the payment. Its money counts for the order like any other; the"
            " customer is asked for what is left, if anything."
        )
    )


class ApproveForm(forms.Form):
    sure = Tick(label=_("Yes, I have looked at this payment. Approve it at Stripe."))


class ShownForm(forms.Form):
    """A form about what its page shows: ``shown`` says what that was."""

    shown = forms.CharField(required=False, widget=forms.HiddenInput)

    def show_again(self, shown: str, why: str) -> None:
        """Ask again below what the page shows now, and say why."""
        data: Any = self.data.copy()  # type: ignore[attr-defined]
        data["shown"] = shown
        data.pop("sure", None)
        self.data = data
        self.add_error(None, why)


class CloseForm(ShownForm):
    """Close a review item; with a warning while the evidence of a dispute is still due."""

    closing_note = ReasonField(
        label=_("Reason for closing"),
        help_text=_(
            "Closing moves no money and changes nothing about what the order owes. If the amount"
            " changes, the item opens again. Do not name the customer here."
        ),
    )
    sure = Tick()

    def __init__(self, *args: Any, deadline: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if deadline:
            self.fields["sure"].label = gettext(
                "Close it although the dispute can still be answered until %(deadline)s."
                " Without evidence by then, it is usually lost."
            ) % {"deadline": deadline}
        else:
            del self.fields["sure"]


class CloseManyForm(ShownForm):
    """Close several review items, all for the same reason."""

    closing_note = ReasonField(
        label=_("Reason for closing"),
        help_text=_(
            "It stays with each of the items. Closing moves no money and changes nothing about what"
            " the orders owe. Do not name customers here."
        ),
    )


class SkipForm(forms.Form):
    reason = ReasonField(
        help_text=_(
            "The shop's code is not notified of this any more: do by hand what it would have done,"
            " and say so here. Do not name the customer."
        )
    )
