"""Stripe's currencies and the amounts that Stripe accepts in them.

The sandbox does not use the app's table on purpose: tests would not notice a mistake in a shared
table. It assumes an account in the United States.

See: https://docs.stripe.com/currencies (checked 2026-11)
"""

from __future__ import annotations

from ..wire.errors import InvalidRequest

_ZERO_DECIMAL = "bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf"
_THREE_DECIMAL = "bhd jod kwd omr tnd"
_TWO_DECIMAL = """
aed afn all amd ang aoa ars aud awg azn bam bbd bdt bmd bnd bob brl bsd bwp byn bzd cad cdf chf cny
cop crc cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl htg huf idr ils inr
jmd kes kgs khr kyd kzt lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn
nio nok npr nzd pab pen pgk php pkr pln qar ron rsd rub sar sbd scr sek sgd shp sle sos srd std szl
thb tjs top try ttd twd tzs uah usd uyu uzs wst xcd xcg yer zar zmw
"""

ZERO_DECIMAL = frozenset(_ZERO_DECIMAL.split())
THREE_DECIMAL = frozenset(_THREE_DECIMAL.split())
HUNDREDFOLD_ZERO_DECIMAL = frozenset({"isk", "ugx"})
"""No decimals, but amounts are sent as if they had two: always a multiple of 100."""
TWO_DECIMAL = frozenset(_TWO_DECIMAL.split())

SUPPORTED = ZERO_DECIMAL | THREE_DECIMAL | HUNDREDFOLD_ZERO_DECIMAL | TWO_DECIMAL

MINIMUM_AMOUNT = {
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
"""Minor units. For other currencies Stripe converts the amount; the sandbox accepts 1 or more."""

MAXIMUM_DIGITS = {"idr": 12}
"""Currencies in which Stripe accepts more than eight digits."""


def check_currency(currency: str) -> str:
    """Return the lower-case code.

    Raises:
        InvalidRequest: Stripe does not support the currency.
    """
    code = currency.lower()
    if code not in SUPPORTED:
        listed = ", ".join(sorted(SUPPORTED))
        raise InvalidRequest(
            f"Invalid currency: {currency[:50]}. Stripe currently supports these currencies:"
            f" {listed}",
            param="currency",
        )
    return code


def check_amount(amount: int, currency: str) -> int:
    """Return the amount (minor units) if Stripe charges such an amount in this currency.

    Raises:
        InvalidRequest: amount_too_small, amount_too_large or parameter_invalid_integer.
    """
    check_minimum(amount, currency, param="amount")
    most = 10 ** MAXIMUM_DIGITS.get(currency, 8) - 1
    if amount > most:
        raise InvalidRequest(
            f"Amount must be no more than {readable(most, currency)}",
            code="amount_too_large",
            param="amount",
        )
    check_step(amount, currency, param="amount")
    return amount


def check_minimum(amount: int, currency: str, *, param: str) -> None:
    """Check that Stripe takes such a small amount (minor units) in this currency.

    Raises:
        InvalidRequest: amount_too_small.
    """
    least = MINIMUM_AMOUNT.get(currency, 1)
    if amount < least:
        raise InvalidRequest(
            f"Amount must be at least {readable(least, currency)}",
            code="amount_too_small",
            param=param,
        )


def check_step(amount: int, currency: str, *, param: str) -> None:
    """Check that the currency can represent an amount (minor units).

    Raises:
        InvalidRequest: parameter_invalid_integer.
    """
    step = _step(currency)
    if amount % step:
        raise InvalidRequest(
            f"Invalid amount: {amount}. Amounts in {currency} must be divisible by {step}.",
            code="parameter_invalid_integer",
            param=param,
        )


def _step(currency: str) -> int:
    if currency in THREE_DECIMAL:
        return 10
    return 100 if currency in HUNDREDFOLD_ZERO_DECIMAL else 1


def readable(amount: int, currency: str) -> str:
    """Return an amount (minor units) for messages, such as "112.00 usd"."""
    if currency in ZERO_DECIMAL:
        return f"{amount:,} {currency}"
    digits = 3 if currency in THREE_DECIMAL else 2
    whole, part = divmod(amount, 10**digits)
    return f"{whole:,}.{part:0{digits}d} {currency}"


def is_two_decimal(currency: str) -> bool:
    """Return whether amounts in the currency have two decimals."""
    return currency in TWO_DECIMAL
