"""Money: one converter for both directions, exact; nothing that a currency cannot represent."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from decimal import Decimal, localcontext
from fractions import Fraction

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
NO_DECIMALS = (
    *("bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga"),
    *("pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"),
)
THREE_DECIMALS = ("bhd", "jod", "kwd", "omr", "tnd")
SENT_HUNDREDFOLD = ("isk", "ugx")
TWO_DECIMALS = ("usd", "eur", "gbp", "huf", "twd", "chf", "mru", "clf", "xyz")

STEPS = {
    **dict.fromkeys(NO_DECIMALS, 1),
    **dict.fromkeys(TWO_DECIMALS, 1),
    **dict.fromkeys(THREE_DECIMALS, 10),
    **dict.fromkeys(SENT_HUNDREDFOLD, 100),
}
PER_UNIT = {
    **dict.fromkeys(NO_DECIMALS, 1),
    **dict.fromkeys(TWO_DECIMALS, 100),
    **dict.fromkeys(THREE_DECIMALS, 1000),
    **dict.fromkeys(SENT_HUNDREDFOLD, 100),
}

currencies = st.sampled_from(sorted(STEPS))


@st.composite
def moneys(draw: st.DrawFn) -> Money:
    currency = draw(currencies)
    steps = draw(st.integers(0, MAX_AMOUNT // STEPS[currency]))
    return Money(steps * STEPS[currency], currency)


@pytest.mark.parametrize(
    ("currency", "least"), [("usd", 50), ("USD", 50), ("gbp", 30), ("jpy", 50), ("kwd", 1)]
)
def test_stripe_charges_no_less_than_the_minimum(currency, least):
    assert minimum_charge(currency) == least


# --- both directions ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency", "written", "amount"),
    [
        ("usd", "112.00", 11200),
        ("usd", "0.01", 1),
        ("usd", "0.00", 0),
        ("kwd", "1000.000", 1000000),
        *((currency, "500", 500) for currency in NO_DECIMALS),
        *((currency, "5.120", 5120) for currency in THREE_DECIMALS),
        *((currency, "500", 50000) for currency in SENT_HUNDREDFOLD),
        *((currency, "5.12", 512) for currency in TWO_DECIMALS),
        ("usd", "92233720368547758.07", MAX_AMOUNT),
        ("isk", "92233720368547758", MAX_AMOUNT - 7),
    ],
)
def test_an_amount_is_converted_in_both_directions(currency, written, amount):
    assert to_minor_units(Decimal(written), currency) == amount
    assert from_minor_units(amount, currency).as_tuple() == Decimal(written).as_tuple()
    assert format_amount(amount, currency) == written


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


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [(50050, "isk", "500.50"), (5121, "kwd", "5.121"), (-11250, "usd", "-112.50")],
)
def test_an_amount_off_the_step_keeps_its_decimals(amount, currency, written):
    """Stripe would never take it; a mismatch must not be rounded away."""
    assert format_amount(amount, currency) == written


def test_each_currency_has_its_digits():
    for currency in NO_DECIMALS + SENT_HUNDREDFOLD:
        assert display_digits(currency.upper()) == 0
    for currency in THREE_DECIMALS:
        assert display_digits(currency) == 3
    for currency in TWO_DECIMALS:
        assert display_digits(currency) == 2


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount_decimal", "currency", "why"),
    [
        (112.0, "usd", "112.0 is not a Decimal"),
        ("112.00", "usd", "'112.00' is not a Decimal"),
        (Decimal("sNaN"), "usd", "sNaN is not an amount of money"),
        (Decimal("-Infinity"), "usd", "-Infinity is not an amount of money"),
        (Decimal("1.001"), "usd", "1.001 has more decimals than usd has"),
        (Decimal("0.5"), "jpy", "0.5 has more decimals than jpy has"),
        (Decimal("5.121"), "kwd", "5121 minor units of kwd is not a multiple of 10"),
        (Decimal("5.01"), "ugx", "501 minor units of ugx is not a multiple of 100"),
        (Decimal("-0.01"), "usd", f"the amount is not within 0 and {MAX_AMOUNT} minor units"),
        (Decimal("1E+19"), "jpy", f"the amount is not within 0 and {MAX_AMOUNT} minor units"),
        (Decimal("1E-19"), "usd", "1E-19 has more decimals than usd has"),
        (Decimal("1E+20"), "usd", "1E+20 usd is out of range"),
        # These were written out in full first, which took forever.
        (Decimal("1E+999999999"), "usd", "1E+999999999 usd is out of range"),
        (Decimal("1E-999999999"), "usd", "1E-999999999 usd is out of range"),
    ],
)
def test_it_refuses_what_is_no_amount_of_the_currency(amount_decimal, currency, why):
    with pytest.raises(AmountNotRepresentable) as refusal:
        to_minor_units(amount_decimal, currency)
    assert str(refusal.value) == why


@pytest.mark.parametrize("amount", [11200.0, Decimal(1), "1", True, None])
@pytest.mark.parametrize("function", [check_minor_units, from_minor_units, Money])
def test_minor_units_are_integers(function, amount):
    with pytest.raises(AmountNotRepresentable) as refusal:
        function(amount, "usd")
    assert str(refusal.value) == f"{amount!r} is not an integer number of minor units"


@pytest.mark.parametrize("currency", STEPS)
def test_minor_units_are_multiples_of_the_step(currency):
    step = STEPS[currency]
    assert check_minor_units(7 * step, currency) == 7 * step
    for off in (-1, 1):
        if step > 1:
            with pytest.raises(AmountNotRepresentable, match=f"is not a multiple of {step}$"):
                check_minor_units(1000 + off, currency)


@pytest.mark.parametrize(
    "amount", [-1, MAX_AMOUNT + 1, 10**5000], ids=["negative", "too large", "5000 digits"]
)
def test_minor_units_fit_a_column(amount):
    """5000 digits raised a plain ValueError: Python does not write such an integer."""
    with pytest.raises(AmountNotRepresentable) as refusal:
        check_minor_units(amount, "usd")
    assert str(refusal.value) == f"the amount is not within 0 and {MAX_AMOUNT} minor units"


# --- currencies ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "currency",
    [*("", "us", "usdd", "u5d", "us ", "usd\n", "ＵＳＤ", "\u212awd"), *(b"usd", None)],  # noqa: RUF001
)
def test_it_refuses_what_is_no_currency_code(currency):
    """The Kelvin sign was taken for the k of kwd."""
    for function in (
        normalize_currency,
        display_digits,
        lambda currency: to_minor_units(Decimal(1), currency),
        lambda currency: from_minor_units(100, currency),
        lambda currency: Money(100, currency),
    ):
        with pytest.raises(InvalidCurrency) as refusal:
            function(currency)
        assert str(refusal.value) == f"{currency!r} is not a three-letter currency code"


@given(st.text())
def test_only_three_ascii_letters_are_a_currency_code(text):
    is_code = len(text) == 3 and text.isascii() and text.isalpha()
    try:
        assert normalize_currency(text) == text.lower()
        assert is_code
    except InvalidCurrency:
        assert not is_code


# --- Money --------------------------------------------------------------------------------------


def test_money_keeps_the_currency_in_lower_case_and_is_written_with_it():
    assert Money(11200, "USD") == Money(11200, "usd")
    assert hash(Money(11200, "USD")) == hash(Money(11200, "usd"))
    assert str(Money(11200, "USD")) == "112.00 USD"
    assert str(Money(50000, "isk")) == "500 ISK"


@pytest.mark.parametrize(("amount", "currency"), [(-1, "usd"), (5121, "kwd"), (50, "isk")])
def test_money_holds_no_amount_that_the_currency_does_not_have(amount, currency):
    with pytest.raises(AmountNotRepresentable):
        Money(amount, currency)


def test_money_from_a_decimal():
    assert Money.from_decimal(Decimal("5.12"), "KWD") == Money(5120, "kwd")
    with pytest.raises(AmountNotRepresentable, match=r"5\.125 has more decimals than USD has"):
        Money.from_decimal(Decimal("5.125"), "USD")


def test_money_does_not_change():
    with pytest.raises(FrozenInstanceError):
        Money(1, "usd").amount = 2  # type: ignore[misc]


def test_a_refusal_is_a_value_error():
    """So a host's form or serializer can catch it without knowing this app."""
    assert issubclass(MoneyError, ValueError)


# --- what people type ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "currency", "separator", "amount"),
    [
        ("1250.00", "eur", ".", "1250.00"),
        ("1250,00", "eur", ",", "1250.00"),
        ("1250", "eur", ",", "1250"),
        ("007.00", "usd", ".", "7.00"),
        ("0", "usd", ".", "0"),
        ("500", "isk", ",", "500"),
        ("1,250", "kwd", ",", "1.250"),
    ],
)
def test_a_typed_amount_is_read_in_its_one_form(text, currency, separator, amount):
    assert parse_typed_amount(text, currency, separator) == Decimal(amount)


@pytest.mark.parametrize("separator", [".", ","])
@pytest.mark.parametrize(
    "text",
    [
        *("1.250", "1,250", "1.250,00", "1,250.00", "1 250.00", "1'250", "1_250"),
        *("", " ", ".", ",", ".50", "5.", "12.5", "12,505", "-1", "+1", "1e3", "NaN"),
        *("\u0661\u0662", "1.0\u0660", "\u00b2", " 1", "1\n", "1\x00", "$5", "5.00 EUR"),
        *("9" * 20, "9" * 5000, f"{MAX_AMOUNT}"),
    ],
)
def test_any_other_typed_amount_is_refused(text, separator):
    with pytest.raises(AmountNotRepresentable):
        parse_typed_amount(text, "eur", separator)


@pytest.mark.parametrize(
    ("text", "currency", "separator"),
    [
        ("500.", "jpy", "."),
        ("1.250", "jpy", "."),
        ("5.12", "kwd", "."),
        ("5.1200", "kwd", "."),
        ("5.123", "kwd", "."),
        ("1.250", "kwd", ","),
        ("1,250", "kwd", "."),
    ],
)
def test_a_typed_amount_has_exactly_the_decimals_of_its_currency(text, currency, separator):
    with pytest.raises(AmountNotRepresentable):
        parse_typed_amount(text, currency, separator)


@given(moneys(), st.sampled_from(".,\u066b"))
def test_what_is_written_into_a_form_is_read_from_it(money, separator):
    amount_decimal = from_minor_units(money.amount, money.currency)

    text = write_typed_amount(amount_decimal, money.currency, separator)

    assert parse_typed_amount(text, money.currency, separator) == amount_decimal


@pytest.mark.parametrize(
    ("currency", "separator", "shown"),
    [("eur", ",", "1250,00"), ("jpy", ",", "1250"), ("isk", ".", "1250"), ("kwd", ",", "1250,000")],
)
def test_a_refused_amount_is_answered_with_an_example(currency, separator, shown):
    assert typed_example(currency, separator) == shown
    with pytest.raises(AmountNotRepresentable, match=rf"not written like {shown}$"):
        parse_typed_amount("x", currency, separator)


def test_an_amount_that_the_currency_does_not_have_is_written_as_it_is():
    assert write_typed_amount(Decimal("5.005"), "usd", ",") == "5,005"


def test_a_typed_amount_needs_a_currency():
    with pytest.raises(InvalidCurrency):
        parse_typed_amount("5.00", "us")


@pytest.mark.parametrize(
    ("written", "currency"), [("10", "usd"), ("10.50", "usd"), ("100", "jpy"), ("1.230", "kwd")]
)
def test_decimals_that_the_currency_has(written, currency):
    check_written_decimals(Decimal(written), currency)


@pytest.mark.parametrize(
    ("written", "currency"),
    [("1.250", "usd"), ("100.0", "jpy"), ("100.00", "isk"), ("1.2300", "kwd"), ("NaN", "usd")],
)
def test_decimals_that_the_currency_does_not_have_zeros_included(written, currency):
    words = f"^{written} has more decimals than {currency} has$"
    with pytest.raises(AmountNotRepresentable, match=words):
        check_written_decimals(Decimal(written), currency)
