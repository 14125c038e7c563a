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
from shop_payments.models.words import amount_words, humanize
from shop_payments.money import (
    from_minor_units,
    parse_typed_amount,
    to_minor_units,
    typed_example,
    write_typed_amount,
)
from shop_payments.services.add_note import LONGEST_NOTE
from shop_payments.services.cancel_payment import REASONS


class ReasonField(forms.CharField):
    """A required reason, which is stored with the row."""

    def __init__(self, **kwargs: Any) -> None:
        # 500 is the length of the columns for reasons.
        widget = forms.Textarea(attrs={"rows": 3, "cols": 60})
        super().__init__(**{"label": _("Reason"), "max_length": 500, "widget": widget, **kwargs})


class TypedAmountField(forms.CharField):
    """An amount in the one format that :func:`parse_typed_amount` accepts.

    The separator follows the active language, and the number of decimals follows ``currency``.
    """

    # A text input: the format of a number input follows the browser, not the active language.

    currency = ""
    """Set by the form."""

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
            # The error is shown at the currency, which is typed in the same form.
            return Decimal(0)
        except AmountNotRepresentable as error:
            raise forms.ValidationError(
                _("Enter the amount like %(example)s."),
                code="invalid",
                params={"example": typed_example(self.currency, decimal_separator())},
            ) from error

    def prepare_value(self, value: Any) -> Any:
        if not isinstance(value, Decimal):
            # Text that was typed is shown again as it is, with its error.
            return value
        return write_typed_amount(value, self.currency, decimal_separator())

    def has_changed(self, initial: Any, data: Any) -> bool:
        # Compare amounts, not texts: 56 and 56.00 are the same price.
        try:
            return bool(self.to_python(data) != initial)
        except forms.ValidationError:
            return True


class WholeNumberField(forms.IntegerField):
    """A whole number, typed with the digits 0-9 only."""

    # Django's field reads 1.000 as 1, and also accepts signs, underscores and other digits.

    def __init__(self, **kwargs: Any) -> None:
        attrs = {"inputmode": "numeric", "autocomplete": "off", "size": 8}
        super().__init__(**{**kwargs, "widget": forms.TextInput(attrs=attrs)})

    def to_python(self, value: Any) -> int | None:
        text = "" if value is None else str(value).strip()
        if not text:
            return None
        if not re.fullmatch("[0-9]{1,18}", text):
            raise forms.ValidationError(
                _("Enter a whole number like %(example)s."),
                code="invalid",
                params={"example": "1250"},
            )
        return int(text)


def decimal_separator() -> str:
    """Return the decimal separator of the active language."""
    return str(formats.get_format("DECIMAL_SEPARATOR"))


class ConfirmCheckbox(forms.BooleanField):
    """A checkbox that confirms what the form does."""

    def __init__(self, **kwargs: Any) -> None:
        # Without this, a browser may restore the tick when staff go back to the page.
        widget = forms.CheckboxInput(attrs={"autocomplete": "off"})
        super().__init__(**{"widget": widget, **kwargs})


class TwoStepForm(forms.Form):
    """A form that is sent twice: to see the effect, and to confirm it.

    The first answer shows the effect with a checkbox below it. The form is carried out if the
    checkbox is ticked and the form still asks for the effect that ``confirmed`` names.
    """

    confirmed = forms.CharField(required=False, widget=forms.HiddenInput)
    sure = ConfirmCheckbox(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.shows_checkbox = False

    @property
    def is_confirmed(self) -> bool:
        """Whether a valid form confirms exactly the effect that it asks for now."""
        return bool(self.cleaned_data["sure"]) and self._was_shown

    def ask_to_confirm(self) -> None:
        """Show the checkbox, without a tick, below the effect of a valid form."""
        self.shows_checkbox = True
        effect_key = self._effect_key()
        if self._was_shown:
            # This effect was shown before, so only the tick is missing.
            self.add_error("sure", self.fields["sure"].error_messages["required"])
        self._set(confirmed=effect_key, sure=None)
        self.fields["sure"].widget.attrs["autofocus"] = True

    def sections(self) -> list[tuple[Any, list[str]]]:
        """Return the titles of the page's sections, with the names of their fields."""
        return [(None, [bound.name for bound in self.visible_fields() if bound.name != "sure"])]

    def go_to_first_step(self) -> None:
        """Remove the checkbox, because the effect must be shown first."""
        if self.is_bound:
            # Otherwise the hidden field would still confirm an effect that was shown earlier.
            self._set(confirmed=None, sure=None)
        del self.fields["sure"]

    def _set(self, **values: str | None) -> None:
        # The data of a request is immutable.
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
        """Return the input that the effect depends on; never empty, as an unsent field is."""
        return "shown"


class AmountForm(TwoStepForm):
    """A two-step form with an amount."""

    amount = TypedAmountField(label=_("Amount"))

    effect_fields: ClassVar[tuple[str, ...]] = ()
    """The other fields that the effect depends on."""

    over_maximum: ClassVar[Any] = _("Enter an amount up to %(maximum)s.")

    field_order = ("amount",)

    def __init__(
        self, *args: Any, currency: str, maximum: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.currency, self.maximum = currency, maximum
        field: Any = self.fields["amount"]
        field.currency = currency
        field.help_text = gettext(
            "In %(currency)s, for example %(example)s. Enter the full amount or a part of it."
        ) % {
            "currency": currency.upper(),
            "example": self._example(),
        }

    def _example(self) -> str:
        """Return the maximum, which is a valid input, as it is typed."""
        if self.maximum is None:
            return typed_example(self.currency, decimal_separator())
        largest = from_minor_units(self.maximum, self.currency)
        return write_typed_amount(largest, self.currency, decimal_separator())

    def clean_amount(self) -> Decimal | None:
        amount: Decimal | None = self.cleaned_data["amount"]
        if amount is None:
            return None  # only a form with another way to state it does not require the amount
        if amount == 0:
            raise forms.ValidationError(_("The amount must be more than 0."))
        # No maximum for a form that was used: it must finish what it began.
        if self.maximum is not None and to_minor_units(amount, self.currency) > self.maximum:
            raise forms.ValidationError(
                self.over_maximum,
                params={"maximum": amount_words(self.maximum, self.currency)},
            )
        return amount

    @property
    def minor_units(self) -> int:
        """The amount of a valid form, in minor units."""
        return to_minor_units(self.cleaned_data["amount"], self.currency)

    def _effect_key(self) -> str:
        others = [str(self.cleaned_data.get(name, "")) for name in self.effect_fields]
        return ":".join([str(self.minor_units), self.currency, *others])


class CaptureForm(AmountForm):
    """A partial capture must specify whether the rest is owed or waived."""

    WAIVED, OWED = "waived", "owed"

    rest = forms.ChoiceField(
        label=_("The rest"),
        required=False,
        help_text=_(
            "Required if you capture less than the reserved amount. Stripe releases the rest to "
            "the customer. If the rest is still owed, the customer can be asked for it again."
        ),
    )
    sure = ConfirmCheckbox(
        label=_(
            "Yes, capture this amount. The rest is released to the customer. This cannot be undone."
        ),
        required=False,
    )
    effect_fields = ("rest",)
    over_maximum = _("At most %(maximum)s can be captured.")

    def __init__(self, *args: Any, reserved: int, may_waive: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.reserved = reserved
        choices = [("", gettext("everything is captured")), (self.OWED, gettext("is still owed"))]
        if may_waive:
            # A choice that is not offered is refused, even if a browser sends it.
            choices.append(
                (self.WAIVED, gettext("is waived: the customer does not have to pay it"))
            )
        rest: Any = self.fields["rest"]
        rest.choices = choices

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        takes_part = values.get("amount") is not None and self.minor_units < self.reserved
        # "rest" is missing if it is not one of the choices, which is an error already.
        if takes_part and "rest" in values and not values["rest"]:
            text = _("You capture less than the reserved amount. Choose what happens to the rest.")
            self.add_error("rest", forms.ValidationError(text))
        return values


class CancelForm(forms.Form):
    reason = forms.ChoiceField(
        label=_("Reason"),
        choices=lambda: [(reason, humanize(reason)) for reason in REASONS],
        initial="requested_by_customer",
        help_text=_("Sent to Stripe."),
    )
    # A single step is enough: no money moves, and the customer can pay again.
    sure = ConfirmCheckbox(label=_("Yes, cancel this payment. The customer is not charged."))


class WaiveForm(AmountForm):
    reason = ReasonField(
        help_text=_(
            "The customer is no longer asked for this amount. Your name and the reason are stored"
            " with the entry. Do not name the customer here. You can revoke the entry as long as"
            " the order accepts payments."
        )
    )
    sure = ConfirmCheckbox(label=_("Yes, waive this amount."), required=False)


class SettleForm(AmountForm):
    reason = ReasonField(
        help_text=_(
            "Write how the money was settled: for example, it was returned by bank transfer, or "
            "kept for another purpose. No money moves at Stripe. If the money counts for the "
            "order, the order owes it again, except for the excess. Your name and the reason are "
            "stored with the entry. Do not name the customer here."
        )
    )
    sure = ConfirmCheckbox(label=_("Yes, record this amount as settled."), required=False)


class GiveUpForm(TwoStepForm):
    reason = ReasonField(
        help_text=_(
            "Write how you know that Stripe has not made this refund. Look at the payment in the "
            "Stripe dashboard first. Your name and the reason are stored in the history. Do not "
            "name the customer here."
        )
    )
    sure = ConfirmCheckbox(
        label=_("Yes, I have looked, and this refund is not in the Stripe dashboard."),
        required=False,
    )


class RevokeForm(forms.Form):
    # A single step is enough: the page shows the entry, and staff can record it again.
    reason = ReasonField(
        help_text=_(
            "Your name and the reason are stored with the entry. Do not name the customer here."
        )
    )
    sure = ConfirmCheckbox(label=_("Yes, revoke this entry."))


class AcceptForm(forms.Form):
    sure = ConfirmCheckbox(
        label=_(
            "Yes, this shop took the payment. Its money counts for the order, and the customer is"
            " only asked for what is still outstanding."
        )
    )


class ApproveForm(forms.Form):
    sure = ConfirmCheckbox(label=_("Yes, I have looked at this payment. Approve it at Stripe."))


class ShownForm(forms.Form):
    """A form that acts only on the version of the items that its page has shown."""

    shown = forms.CharField(required=False, widget=forms.HiddenInput)

    def show_again(self, shown: str, why: str) -> None:
        """Replace the shown version by the current one, and show the form again with a reason."""
        data: Any = self.data.copy()  # type: ignore[attr-defined]
        data["shown"] = shown
        data.pop("sure", None)
        self.data = data
        self.add_error(None, why)


class CloseForm(ShownForm):
    """Close a review item. While the evidence of a dispute is due, a checkbox confirms it."""

    closing_note = ReasonField(
        label=_("Reason for closing"),
        help_text=_(
            "Closing moves no money and does not change what is owed. If the amount changes, the"
            " item opens again. Do not name the customer here."
        ),
    )
    sure = ConfirmCheckbox()

    def __init__(self, *args: Any, deadline: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if deadline:
            self.fields["sure"].label = gettext(
                "Close this item although the dispute can still be answered until %(deadline)s. A"
                " dispute without evidence is usually lost."
            ) % {"deadline": deadline}
        else:
            del self.fields["sure"]


class CloseManyForm(ShownForm):
    """Close several review items with one reason."""

    closing_note = ReasonField(
        label=_("Reason for closing"),
        help_text=_(
            "The reason is stored with each item. Closing moves no money and does not change what"
            " is owed. Do not name customers here."
        ),
    )


class NoteForm(forms.Form):
    # A single step: no money moves.
    text = ReasonField(
        label=_("Note"),
        max_length=LONGEST_NOTE,
        help_text=_(
            "The note is for other staff. It appears on the page of the payment, with your name, "
            "and cannot be changed or deleted. Do not name the customer here."
        ),
    )


class CaptureManyForm(ShownForm):
    """Capture exactly the amounts that the page has shown."""

    sure = ConfirmCheckbox(label=_("Yes, capture these amounts. This cannot be undone."))


class EventsForm(forms.Form):
    """Process events again, or skip them. It has no checkbox, because no money moves twice."""

    confirmed = forms.CharField(initial="yes", widget=forms.HiddenInput)


class SkipForm(forms.Form):
    reason = ReasonField(
        help_text=_(
            "The shop's code will not be notified. Do manually what it would have done, and "
            "write here what you did. Do not name the customer."
        )
    )
