"""Money: integers in minor units with their currency; decimals only at the edges.

Note [Minor units]
~~~~~~~~~~~~~~~~~~
Stripe takes and returns amounts as integers "in the smallest currency unit". The unit depends on
Stripe's own table, not on ISO 4217: ISK and UGX have no decimals in daily life but are sent ×100
for backwards compatibility, and three-decimal currencies must end in 0. Amounts are converted only
here, in both directions, so that a payment and its refund can never differ by a factor of a
hundred. Nothing is ever rounded: amounts that a currency cannot represent are refused.

See: https://docs.stripe.com/currencies (checked 2026-11)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from shop_payments.exceptions import AmountNotRepresentable, InvalidCurrency, NegativeAmount

ZERO_DECIMAL_CURRENCIES = frozenset(
    "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split()
)
"""Sent as displayed: 500 JPY is 500."""

THREE_DECIMAL_CURRENCIES = frozenset("bhd jod kwd omr tnd".split())
"""Sent ×1000 with a last digit of 0: 5.12 KWD is 5120."""

PADDED_CURRENCIES = frozenset("isk ugx".split())
"""Displayed without decimals, sent ×100 and always a multiple of 100: 500 ISK is 50000."""

MAX_AMOUNT = 2**63 - 1
"""The most minor units that a database column holds, far above Stripe's limits."""

MINIMUM_CHARGES = {
    "aed": 200,
    "aud": 50,
    "brl": 50,
    "cad": 50,
    "chf": 50,
    "czk": 1500,
    "dkk": 250,
    "eur": 50,
    "gbp": 30,
    "hkd": 400,
    "huf": 17500,
    "inr": 50,
    "jpy": 50,
    "mxn": 1000,
    "myr": 200,
    "nok": 300,
    "nzd": 50,
    "pln": 200,
    "ron": 200,
    "sek": 300,
    "sgd": 50,
    "thb": 1000,
    "usd": 50,
}
"""Stripe's minimum charges, in minor units, if charge and settlement are in the same currency. An
account that settles in another currency may have a higher minimum; Stripe then refuses the charge.

See: https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts (checked 2026-11)
"""

_CURRENCY_CODE = re.compile(r"[A-Za-z]{3}")


def normalize_currency(currency: str) -> str:
    """Return the lower-case ISO code that Stripe uses.

    Raises:
        InvalidCurrency: ``currency`` is not three ASCII letters.
    """
    # Matched before it is lower-cased: the lower case of the Kelvin sign is an ASCII k.
    if not isinstance(currency, str) or not _CURRENCY_CODE.fullmatch(currency):
        raise InvalidCurrency(f"{currency!r:.40} is not a three-letter currency code")
    return currency.lower()


def display_digits(currency: str) -> int:
    """Return the number of decimals with which an amount of ``currency`` is displayed."""
    code = normalize_currency(currency)
    if code in ZERO_DECIMAL_CURRENCIES or code in PADDED_CURRENCIES:
        return 0
    return 3 if code in THREE_DECIMAL_CURRENCIES else 2


def minimum_charge(currency: str) -> int:
    """Return Stripe's minimum charge in minor units; 1 if it publishes none."""
    return MINIMUM_CHARGES.get(normalize_currency(currency), 1)


def check_minor_units(amount: int, currency: str) -> int:
    """Return ``amount`` (minor units) if Stripe's rules for ``currency`` allow it.

    Raises:
        NegativeAmount: less than 0.
        AmountNotRepresentable: not an integer, above ``MAX_AMOUNT``, or off the currency's step
            (10 for three-decimal currencies, 100 for ISK and UGX).
    """
    _check_integer(amount)
    if amount < 0:
        raise NegativeAmount(f"the amount is not between 0 and {MAX_AMOUNT} minor units")
    if amount > MAX_AMOUNT:
        raise AmountNotRepresentable(f"the amount is not between 0 and {MAX_AMOUNT} minor units")
    if amount % _step(currency):
        raise AmountNotRepresentable(
            f"{amount} minor units of {currency} is not a multiple of {_step(currency)}"
        )
    return amount


def to_minor_units(amount_decimal: Decimal, currency: str) -> int:
    """Convert a decimal amount to Stripe's integer minor units, exactly.

    >>> to_minor_units(Decimal("112.00"), "usd"), to_minor_units(Decimal("500"), "isk")
    (11200, 50000)

    Raises:
        AmountNotRepresentable: more decimals than the currency has, negative, above
            ``MAX_AMOUNT``, or not finite. Floats are refused whatever their value.
    """
    if not isinstance(amount_decimal, Decimal):
        raise AmountNotRepresentable(f"{amount_decimal!r} is not a Decimal")
    if not amount_decimal.is_finite():
        raise AmountNotRepresentable(f"{amount_decimal} is not an amount of money")
    # Before the exact arithmetic below, which would write 1E+999999999 in full.
    if amount_decimal and abs(amount_decimal.adjusted()) > len(str(MAX_AMOUNT)):
        raise AmountNotRepresentable(f"{amount_decimal} {currency} is out of range")
    numerator, denominator = amount_decimal.as_integer_ratio()
    amount, remainder = divmod(numerator * 10 ** _exponent(currency), denominator)
    if remainder:
        raise AmountNotRepresentable(f"{amount_decimal} has more decimals than {currency} has")
    return check_minor_units(amount, currency)


def from_minor_units(amount: int, currency: str) -> Decimal:
    """Convert Stripe's integer minor units to an exact decimal.

    >>> from_minor_units(11200, "usd"), from_minor_units(50000, "isk")
    (Decimal('112.00'), Decimal('500'))

    An amount that is not a multiple of the currency's step (it can only come from Stripe) keeps the
    decimals that it needs, so that it is displayed exactly.

    Raises:
        AmountNotRepresentable: not an integer.
        InvalidCurrency: see :func:`normalize_currency`.
    """
    _check_integer(amount)
    exponent, digits = _exponent(currency), display_digits(currency)
    padding = 10 ** (exponent - digits)
    if amount % padding:
        digits, padding = exponent, 1
    # Built from the digits: arithmetic would round to the context's 28 places.
    sign, magnitude = (1, -amount) if amount < 0 else (0, amount)
    return Decimal((sign, tuple(int(digit) for digit in str(magnitude // padding)), -digits))


def format_amount(amount: int, currency: str) -> str:
    """Return minor units as a decimal string with the currency's decimals.

    >>> format_amount(11200, "usd"), format_amount(500, "jpy"), format_amount(5120, "kwd")
    ('112.00', '500', '5.120')
    """
    return f"{from_minor_units(amount, currency):f}"


def display_amount(amount: int, currency: str) -> str:
    """Return minor units for display, with their currency.

    >>> display_amount(11200, "usd")
    '112.00 USD'
    """
    return f"{format_amount(amount, currency)} {currency.upper()}"


# --- typed amounts ------------------------------------------------------------------------------

_MOST_TYPED = len(str(MAX_AMOUNT))


def parse_typed_amount(text: str, currency: str, decimal_separator: str = ".") -> Decimal:
    """Parse a typed amount, which must have exactly one form.

    The form is digits, and optionally the separator with exactly the currency's decimals. So a
    thousands separator is never mistaken for a decimal separator: ``1.250`` is not an amount of
    euros, whether the language writes decimals with a point or with a comma.

    >>> parse_typed_amount("1250,00", "eur", ","), parse_typed_amount("500", "jpy")
    (Decimal('1250.00'), Decimal('500'))

    Raises:
        AmountNotRepresentable: the text has another form, or the currency has no such amount.
        InvalidCurrency: see :func:`normalize_currency`.
    """
    digits = display_digits(currency)
    decimals = f"(?:{re.escape(decimal_separator)}([0-9]{{{digits}}}))?" if digits else "()"
    typed = re.fullmatch(f"([0-9]{{1,{_MOST_TYPED}}}){decimals}", text)
    if typed is None:
        example = typed_example(currency, decimal_separator)
        raise AmountNotRepresentable(f"the amount is not written like {example}")
    amount_decimal = Decimal(f"{typed[1]}.{typed[2] or ''}")
    to_minor_units(amount_decimal, currency)
    return amount_decimal


def check_written_decimals(amount_decimal: Decimal, currency: str) -> None:
    """Refuse an amount that is written with more decimals than the currency has, zeros included.

    >>> check_written_decimals(Decimal("1.25"), "usd")

    Raises:
        AmountNotRepresentable: for example for ``1.250`` dollars, or ``100.00`` yen.
        InvalidCurrency: see :func:`normalize_currency`.
    """
    written = amount_decimal.as_tuple().exponent
    if not isinstance(written, int) or -written > display_digits(currency):
        raise AmountNotRepresentable(f"{amount_decimal} has more decimals than {currency} has")


def write_typed_amount(amount_decimal: Decimal, currency: str, decimal_separator: str = ".") -> str:
    """Return an amount in the form that :func:`parse_typed_amount` parses.

    >>> write_typed_amount(Decimal("1250"), "eur", ",")
    '1250,00'
    """
    try:
        amount = to_minor_units(amount_decimal, currency)
        amount_decimal = from_minor_units(amount, currency)
    except AmountNotRepresentable:
        pass  # returned unchanged; parse_typed_amount refuses it
    return f"{amount_decimal:f}".replace(".", decimal_separator)


def typed_example(currency: str, decimal_separator: str = ".") -> str:
    """Return an example of the form that :func:`parse_typed_amount` parses.

    >>> typed_example("eur"), typed_example("eur", ","), typed_example("jpy")
    ('1250.00', '1250,00', '1250')
    """
    return write_typed_amount(Decimal(1250), currency, decimal_separator)


@dataclass(frozen=True)
class Money:
    """An amount in minor units with its currency."""

    amount: int
    """Integer minor units, checked against the currency's rules."""

    currency: str
    """Lower-case ISO code."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "currency", normalize_currency(self.currency))
        check_minor_units(self.amount, self.currency)

    @classmethod
    def from_decimal(cls, amount_decimal: Decimal, currency: str) -> Self:
        """Build from a decimal amount.

        Raises:
            AmountNotRepresentable: see :func:`to_minor_units`.
            InvalidCurrency: see :func:`normalize_currency`.
        """
        return cls(to_minor_units(amount_decimal, currency), currency)

    def __str__(self) -> str:
        return display_amount(self.amount, self.currency)


@dataclass(frozen=True)
class ShownAmount:
    """An amount in a message, which may be one that Stripe's rules do not allow."""

    amount: int
    currency: str

    def __str__(self) -> str:
        return display_amount(self.amount, self.currency)


def _check_integer(amount: object) -> None:
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise AmountNotRepresentable(f"{amount!r} is not an integer number of minor units")


def _exponent(currency: str) -> int:
    """Return the number of decimals of Stripe's minor unit."""
    code = normalize_currency(currency)
    return 2 if code in PADDED_CURRENCIES else display_digits(code)


def _step(currency: str) -> int:
    code = normalize_currency(currency)
    if code in PADDED_CURRENCIES:
        return 100
    return 10 if code in THREE_DECIMAL_CURRENCIES else 1
