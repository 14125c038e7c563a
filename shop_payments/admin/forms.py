"""The forms of the action pages."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.exceptions import AmountNotRepresentable
from shop_payments.models import Refund
from shop_payments.money import to_minor_units
from shop_payments.services.cancellation import REASONS
from shop_payments.services.words import speak


class ReasonField(forms.CharField):
    """Why, in the words of a member of staff. It stays with the row, and is required."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 3, "cols": 60})
        super().__init__(**{"label": _("Reason"), "max_length": 500, "widget": widget, **kwargs})


class AmountForm(forms.Form):
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
    sure = forms.BooleanField(
        label=_("Yes, give this money back to the customer. It cannot be undone.")
    )


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
    sure = forms.BooleanField(
        label=_("Yes, take this money from the customer. What is left is released to them.")
    )

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
        amount = values.get("amount")
        takes_part = amount is not None and to_minor_units(amount, self.currency) < self.reserved
        if takes_part and "rest" in values and not values["rest"]:
            text = _("You take less than what is reserved: say what happens to the rest.")
            self.add_error("rest", forms.ValidationError(text))
        return values


class CancelForm(forms.Form):
    reason = forms.ChoiceField(
        label=_("Reason"),
        choices=[(reason, speak(reason)) for reason in REASONS],
        initial="requested_by_customer",
        help_text=_("For Stripe."),
    )
    sure = forms.BooleanField(label=_("Yes, close this payment. The customer pays nothing."))


class WaiveForm(AmountForm):
    reason = ReasonField(
        help_text=_(
            "The customer is not asked for this amount any more. Your name and the reason stay"
            " with the entry; do not name the customer here. The entry can be revoked for as long"
            " as the shop wants money for the order."
        )
    )


class SettleForm(AmountForm):
    reason = ReasonField(
        help_text=_(
            "How it was settled: for example, by bank transfer, or kept for another purpose. No"
            " money moves at Stripe. If the money counts for the order, the order owes it again,"
            " except for what was received too much. Your name and the reason stay with the"
            " entry; do not name the customer here."
        )
    )


class RevokeForm(forms.Form):
    reason = ReasonField(
        help_text=_(
            "The entry then counts for nothing: a waived amount is owed again, and settled money"
            " is part of the payment again. Do not name the customer here."
        )
    )


class CloseForm(forms.Form):
    """Close a review item; with a warning while the evidence of a dispute is still due."""

    closing_note = ReasonField(
        label=_("Reason for closing"),
        help_text=_(
            "Closing moves no money and changes nothing about what the order owes. If the amount"
            " changes, the item opens again. Do not name the customer here."
        ),
    )
    sure = forms.BooleanField()

    def __init__(self, *args: Any, deadline: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if deadline:
            self.fields["sure"].label = gettext(
                "Close it although the dispute can still be answered until %(deadline)s."
                " Without evidence by then, it is usually lost."
            ) % {"deadline": deadline}
        else:
            del self.fields["sure"]
