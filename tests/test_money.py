"""Money: one converter for both directions, exact; nothing that a currency cannot represent."""

from __future__ import annotations

from decimal import Decimal, localcontext
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shop_payments.exceptions import AmountNotRepresentable, InvalidCurrency, MoneyError
from shop_payments.money import (
    MAX_AMOUNT,
    Money,
    check_minor_units,
    check_written_decimals,
    display_digits,
    format_amount,
    from_minor_units,
    minimum_charge,
    normalize_currency,
    parse_typed_amount,
    to_minor_units,
    typed_example,
    write_typed_amount,
)

# docs.stripe.com/currencies, written out again: a mistake in the code's table must not be shared.
ZERO = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()
THREE, HUNDREDFOLD = "bhd jod kwd omr tnd".split(), "isk ugx".split()
TWO = "usd eur gbp huf twd chf mru clf xyz".split()

STEPS = {
    **dict.fromkeys(ZERO + TWO, 1),
    **dict.fromkeys(THREE, 10),
    **dict.fromkeys(HUNDREDFOLD, 100),
}
PER_UNIT = {
    **dict.fromkeys(ZERO, 1),
    **dict.fromkeys(TWO + HUNDREDFOLD, 100),
    **dict.fromkeys(THREE, 1000),
}

currencies = st.sampled_from(sorted(STEPS))


@st.composite
def moneys(draw: st.DrawFn) -> Money:
    step = STEPS[currency := draw(currencies)]
    return Money(draw(st.integers(0, MAX_AMOUNT // step)) * step, currency)


# --- both directions ----------------------------------------------------------------------------

EXAMPLES = [
    ("usd", "112.00", 11200),
    ("usd", "0.01", 1),
    ("usd", "0.00", 0),
    ("kwd", "1000.000", 1000000),
    ("usd", "92233720368547758.07", MAX_AMOUNT),
    ("isk", "92233720368547758", MAX_AMOUNT - 7),
    *((currency, "500", 500) for currency in ZERO),
    *((currency, "5.120", 5120) for currency in THREE),
    *((currency, "500", 50000) for currency in HUNDREDFOLD),
    *((currency, "5.12", 512) for currency in TWO),
]


def test_an_amount_is_converted_in_both_directions():
    for currency, written, amount in EXAMPLES:
        assert to_minor_units(Decimal(written), currency) == amount
        assert from_minor_units(amount, currency).as_tuple() == Decimal(written).as_tuple()
        assert format_amount(amount, currency.upper()) == written
        assert display_digits(currency.upper()) == len(written.partition(".")[2])
    for currency, least in (("usd", 50), ("USD", 50), ("gbp", 30), ("jpy", 50), ("kwd", 1)):
        assert minimum_charge(currency) == least


@given(moneys())
def test_no_context_of_the_host_changes_an_amount(money):
    with localcontext(prec=3):
        amount_decimal = from_minor_units(money.amount, money.currency)
        assert to_minor_units(amount_decimal, money.currency) == money.amount
    assert Fraction(amount_decimal) == Fraction(money.amount, PER_UNIT[money.currency])


@given(st.decimals(allow_nan=False, allow_infinity=False), currencies)
@example(Decimal("-0"), "usd")
@example(Decimal("0E-30"), "jpy")
@example(Decimal("1E+2"), "jpy")
def test_a_decimal_is_converted_exactly_or_refused(amount_decimal, currency):
    try:
        amount = to_minor_units(amount_decimal, currency)
    except AmountNotRepresentable:
        exact = Fraction(amount_decimal) * PER_UNIT[currency]
        assert not 0 <= exact <= MAX_AMOUNT or exact % STEPS[currency]
    else:
        assert Fraction(amount, PER_UNIT[currency]) == Fraction(amount_decimal)


def test_an_amount_off_the_step_keeps_its_decimals():
    """Stripe never takes it; a mismatch must not be rounded away."""
    assert format_amount(50050, "isk") == "500.50"
    assert format_amount(5121, "kwd") == "5.121"
    assert format_amount(-11250, "usd") == "-112.50"


# --- what is refused ----------------------------------------------------------------------------

OUTSIDE = f"the amount is not between 0 and {MAX_AMOUNT} minor units"


@pytest.mark.parametrize(
    ("amount_decimal", "currency", "why"),
    [
        (112.0, "usd", "112.0 is not a Decimal"),
        (Decimal("sNaN"), "usd", "sNaN is not an amount of money"),
        (Decimal("-Infinity"), "usd", "-Infinity is not an amount of money"),
        (Decimal("1.001"), "usd", "1.001 has more decimals than usd has"),
        (Decimal("0.5"), "jpy", "0.5 has more decimals than jpy has"),
        (Decimal("5.121"), "kwd", "5121 minor units of kwd is not a multiple of 10"),
        (Decimal("5.01"), "ugx", "501 minor units of ugx is not a multiple of 100"),
        (Decimal("-0.01"), "usd", OUTSIDE),
        (Decimal("1E+19"), "jpy", OUTSIDE),
        (Decimal("1E-19"), "usd", "1E-19 has more decimals than usd has"),
        (Decimal("1E+20"), "usd", "1E+20 usd is out of range"),
        # Found: these were written out in full first, which took forever.
        (Decimal("1E+999999999"), "usd", "1E+999999999 usd is out of range"),
        (Decimal("1E-999999999"), "usd", "1E-999999999 usd is out of range"),
    ],
)
def test_it_refuses_what_is_no_amount_of_the_currency(amount_decimal, currency, why):
    with pytest.raises(AmountNotRepresentable) as refusal:
        to_minor_units(amount_decimal, currency)
    assert str(refusal.value) == why


def test_minor_units_are_integers_that_fit_a_column_and_multiples_of_the_step():
    """Found: 5000 digits raised a plain ValueError: Python does not write such an integer."""
    amount: Any
    for amount in (11200.0, Decimal(1), "1", True, None):
        for function in (check_minor_units, from_minor_units, Money):
            with pytest.raises(AmountNotRepresentable, match="is not an integer number of minor"):
                function(amount, "usd")
    for amount in (-1, MAX_AMOUNT + 1, 10**5000):
        with pytest.raises(AmountNotRepresentable, match=f"^{OUTSIDE}$"):
            check_minor_units(amount, "usd")
    for currency, step in STEPS.items():
        assert check_minor_units(7 * step, currency) == 7 * step
        for off in (999, 1001) if step > 1 else ():
            with pytest.raises(AmountNotRepresentable, match=f"is not a multiple of {step}$"):
                check_minor_units(off, currency)


# --- currencies ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "currency", ["", "us", "usdd", "u5d", "us ", "usd\n", "\uff35SD", "\u212awd", b"usd", None]
)
def test_it_refuses_what_is_no_currency_code(currency):
    """Found: the Kelvin sign was taken for the k of kwd."""
    with_amount = (partial(to_minor_units, Decimal(1)), partial(from_minor_units, 100))
    more = (partial(Money, 100), partial(parse_typed_amount, "5.00"))
    function: Any
    for function in (normalize_currency, display_digits, *with_amount, *more):
        with pytest.raises(InvalidCurrency) as refusal:
            function(currency)
        assert str(refusal.value) == f"{currency!r} is not a three-letter currency code"


# --- Money --------------------------------------------------------------------------------------


def test_money_holds_no_amount_that_the_currency_does_not_have():
    money = Money(11200, "USD")
    assert (money, hash(money)) == (Money(11200, "usd"), hash(Money(11200, "usd")))
    assert (str(money), str(Money(50000, "isk"))) == ("112.00 USD", "500 ISK")
    assert Money.from_decimal(Decimal("5.12"), "KWD") == Money(5120, "kwd")
    with pytest.raises(AmountNotRepresentable, match=r"5\.125 has more decimals than USD has"):
        Money.from_decimal(Decimal("5.125"), "USD")
    for amount, currency in ((-1, "usd"), (5121, "kwd"), (50, "isk")):
        with pytest.raises(AmountNotRepresentable):
            Money(amount, currency)
    assert issubclass(MoneyError, ValueError)  # so a host's form or serializer can catch it


# --- what people type ---------------------------------------------------------------------------


TYPED = [
    *(("1250.00", "eur", ".", "1250.00"), ("1250,00", "eur", ",", "1250.00")),
    *(("1250", "eur", ",", "1250"), ("007.00", "usd", ".", "7.00")),
    *(("500", "isk", ",", "500"), ("1,250", "kwd", ",", "1.250")),
]
REFUSED = [
    *("1.250", "1,250", "1.250,00", "1,250.00", "1 250.00", "1'250", "1_250", "", " ", ".", ","),
    *(".50", "5.", "12.5", "12,505", "-1", "+1", "1e3", "NaN", "\u0661\u0662", "1.0\u0660"),
    *("\u00b2", " 1", "1\n", "1\x00", "$5", "5.00 EUR", "9" * 20, "9" * 5000, f"{MAX_AMOUNT}"),
]
REFUSED_ELSEWHERE = [
    *(("500.", "jpy"), ("1.250", "jpy"), ("5.12", "kwd"), ("5.1200", "kwd"), ("5.123", "kwd")),
    ("1,250", "kwd"),
]


def test_a_typed_amount_is_read_in_its_one_form_and_any_other_is_refused():
    for text, currency, separator, amount in TYPED:
        assert parse_typed_amount(text, currency, separator) == Decimal(amount)
    euros = [(text, "eur", separator) for text in REFUSED for separator in ".,"]
    for typed in [*euros, *((text, currency, ".") for text, currency in REFUSED_ELSEWHERE)]:
        with pytest.raises(AmountNotRepresentable):
            parse_typed_amount(*typed)


@given(moneys(), st.sampled_from(".,\u066b"))
def test_what_is_written_into_a_form_is_read_from_it(money, separator):
    amount_decimal = from_minor_units(money.amount, money.currency)
    text = write_typed_amount(amount_decimal, money.currency, separator)
    assert parse_typed_amount(text, money.currency, separator) == amount_decimal


def test_a_refused_amount_is_answered_with_an_example():
    examples = [("eur", ",", "1250,00"), ("jpy", ",", "1250"), ("kwd", ",", "1250,000")]
    for currency, separator, shown in examples:
        assert typed_example(currency, separator) == shown
        with pytest.raises(AmountNotRepresentable, match=rf"not written like {shown}$"):
            parse_typed_amount("x", currency, separator)
    # An amount that the currency does not have is written as it is.
    assert write_typed_amount(Decimal("5.005"), "usd", ",") == "5,005"


def test_decimals_are_those_of_the_currency_zeros_included():
    for written, currency in (("10", "usd"), ("10.50", "usd"), ("100", "jpy"), ("1.230", "kwd")):
        check_written_decimals(Decimal(written), currency)
    for written, currency in (
        ("1.250", "usd"),
        ("100.0", "jpy"),
        ("100.00", "isk"),
        ("NaN", "usd"),
    ):
        words = f"^{written} has more decimals than {currency} has$"
        with pytest.raises(AmountNotRepresentable, match=words):
            check_written_decimals(Decimal(written), currency)
