"""The format of amounts that staff type, and the limits of the forms."""

from __future__ import annotations

import pytest
from django.utils import translation

from shop_payments.admin.forms import (
    CloseForm,
    CloseManyForm,
    GiveUpForm,
    RevokeForm,
    SettleForm,
    SkipForm,
    WaiveForm,
)
from shop_payments.admin.refund_form import RefundForm
from shop_payments.models import PaymentIntent
from tests.admin.support import errors_of, messages_of


@pytest.mark.parametrize(
    ("amount", "currency", "error"),
    [
        ("0,00", "usd", "Der Betrag muss größer als 0 sein."),
        ("8,01", "usd", "Von dieser Zahlung können höchstens 8,00 USD erstattet werden."),
        ("1.250", "usd", "Geben Sie den Betrag wie 1250,00 ein."),
        ("1,5", "jpy", "Geben Sie den Betrag wie 1250 ein."),
    ],
)
def test_an_amount_is_within_its_limits_and_has_the_format_of_language_and_currency(
    amount, currency, error
):
    with translation.override("de"):
        form = RefundForm({"amount": amount}, currency=currency, maximum=800)
        assert form.errors == {"amount": [error]}


def test_a_reason_is_required_and_fits_its_column():
    for reason in ("", "   ", "x" * 501):
        values = {"reason": reason, "closing_note": reason, "amount": "1.00", "sure": "on"}
        with_amount = [form(values, currency="usd") for form in (WaiveForm, SettleForm)]
        for form in (*with_amount, RevokeForm(values), GiveUpForm(values), SkipForm(values)):
            assert list(form.errors) == ["reason"]
        for closing in (CloseForm(values), CloseManyForm(values)):
            assert list(closing.errors) == ["closing_note"]


@pytest.mark.django_db
def test_staff_who_type_1_250_do_not_capture_1_25(open_shop, configure, stripe, staff):
    """Found: 1.25 was captured of 1250.00, and 1248.75 was released for good."""
    configure(**{**stripe.shop_payments(), "CAPTURE_METHOD": "manual"})
    shop = open_shop(1250)
    stripe.pay(shop.begin(1250))
    for amount in ("1.250", "1,250"):
        response = staff.act("capture", amount=amount, rest="owed")
        assert errors_of(response) == ["Enter the amount like 1250.00."]
    response = staff.act("capture", amount="1250")
    assert messages_of(response) == ["1250.00 USD was captured. The order is paid."]
    assert PaymentIntent.objects.get().amount_received == 125000
