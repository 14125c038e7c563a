"""What stands behind a PaymentMethod: Stripe's test cards and test bank accounts.

`CARDS` and `ACCOUNTS` go by the names that Stripe gives its test payment methods; a number or an
IBAN of one of them does the same.

See: https://docs.stripe.com/testing (checked 2026-11)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Decline:
    """How a payment is refused."""

    code: str
    message: str
    decline_code: str | None = None
    """Only beside `card_declined` and what became of an authentication."""
    param: str | None = None
    advice_code: str | None = None
    network_decline_code: str | None = None
    failure_code: str | None = None
    """What the charge says of it, where that is not one of Stripe's error codes."""
    blocked: bool = False
    """Stripe's own Radar refused; the bank was not asked."""

    @property
    def is_of_card(self) -> bool:
        """Return whether the card is to blame, and so the error is a `card_error`."""
        return self.decline_code is not None or self.code in _CARD_ERRORS


_CARD_ERRORS = ("expired_card", "incorrect_cvc", "processing_error")
"""Codes that say all there is: Stripe gives no decline code beside them."""


RefundBehaviour = Literal["succeeds", "pending", "fails"]
"""At once; after a while; or at once, and after a while it comes back."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A card and what comes of charging it."""

    number: str
    brand: str = "visa"
    country: str = "US"
    funding: Literal["credit", "debit", "prepaid"] = "credit"
    cvc_given: bool = True
    decline: Decline | None = None
    risk_level: Literal["normal", "elevated", "highest"] = "normal"
    challenge: bool = False
    """The customer has to authenticate (3D Secure)."""
    challenge_off_session: bool = False
    """The bank asks for it also where the customer is not there, so such a payment fails."""
    supports_3ds: bool = True
    refund: RefundBehaviour = "succeeds"
    dispute: Literal["fraudulent", "product_not_received", "inquiry"] | None = None
    """What the customer's bank opens once the card was charged."""
    warns: bool = False
    """Its issuer suspects fraud once the card was charged."""
    bypasses_pending: bool = False
    """Its money is available at once."""

    type = "card"

    @property
    def last4(self) -> str:
        """Return what may be shown of the number."""
        return self.number[-4:]


@dataclass(frozen=True, kw_only=True)
class BankAccount:
    """An account to debit: the bank's answer comes later."""

    type: Literal["us_bank_account", "sepa_debit"]
    number: str
    country: str
    decline: Decline | None = None
    refund: RefundBehaviour = "succeeds"
    settles_after: float | None = 180
    """Seconds until the bank's answer; None for never. Stripe's own test mode takes minutes."""

    @property
    def last4(self) -> str:
        """Return what may be shown of the number."""
        return self.number[-4:]

    @property
    def currency(self) -> str:
        """Return the only currency that the method takes."""
        return {"us_bank_account": "usd", "sepa_debit": "eur"}[self.type]


Instrument = Card | BankAccount


# Declines


def _card_declined(decline_code: str, message: str, advice: str | None) -> Decline:
    return Decline(
        code="card_declined", decline_code=decline_code, message=message, advice_code=advice
    )


def _wrong(code: str, message: str, *, param: str | None, advice: str) -> Decline:
    return Decline(code=code, message=message, param=param, advice_code=advice)


_DECLINED = "Your card was declined."
GENERIC = replace(
    _card_declined("generic_decline", _DECLINED, "try_again_later"), network_decline_code="01"
)
INSUFFICIENT_FUNDS = _card_declined(
    "insufficient_funds", "Your card has insufficient funds.", "try_again_later"
)
LOST = _card_declined("lost_card", _DECLINED, "do_not_try_again")
STOLEN = _card_declined("stolen_card", _DECLINED, "do_not_try_again")
VELOCITY = _card_declined(
    "card_velocity_exceeded",
    "Your card was declined for making repeated attempts too frequently or exceeding its amount"
    " limit.",
    "try_again_later",
)
FRAUDULENT = replace(_card_declined("fraudulent", _DECLINED, None), blocked=True)
EXPIRED = _wrong(
    "expired_card", "Your card has expired.", param="exp_month", advice="confirm_card_data"
)
INCORRECT_CVC = _wrong(
    "incorrect_cvc",
    "Your card's security code is incorrect.",
    param="cvc",
    advice="confirm_card_data",
)
PROCESSING_ERROR = _wrong(
    "processing_error",
    "An error occurred while processing your card. Try again in a little bit.",
    param=None,
    advice="try_again_later",
)

# Cards

CARDS: dict[str, Card] = {
    "pm_card_visa": Card(number="4242424242424242"),
    "pm_card_visa_debit": Card(number="4000056655665556", funding="debit"),
    "pm_card_mastercard": Card(number="5555555555554444", brand="mastercard"),
    "pm_card_mastercard_debit": Card(
        number="5200828282828210", brand="mastercard", funding="debit"
    ),
    "pm_card_mastercard_prepaid": Card(
        number="5105105105105100", brand="mastercard", funding="prepaid"
    ),
    "pm_card_amex": Card(number="371449635398431", brand="amex"),
    "pm_card_discover": Card(number="6011111111111117", brand="discover"),
    "pm_card_diners": Card(number="3056930009020004", brand="diners"),
    "pm_card_jcb": Card(number="3566002020360505", brand="jcb", country="JP"),
    "pm_card_unionpay": Card(number="6200000000000005", brand="unionpay", country="CN"),
    # Not the end of it
    "pm_card_createDispute": Card(number="4000000000000259", dispute="fraudulent"),
    "pm_card_createDisputeProductNotReceived": Card(
        number="4000000000002685", dispute="product_not_received"
    ),
    "pm_card_createDisputeInquiry": Card(number="4000000000001976", dispute="inquiry"),
    "pm_card_createIssuerFraudRecord": Card(number="4000000000005423", warns=True),
    "pm_card_bypassPending": Card(number="4000000000000077", bypasses_pending=True),
    "pm_card_bypassPendingInternational": Card(
        number="4000003720000278", country="IE", bypasses_pending=True
    ),
    "pm_card_refundFail": Card(number="4000000000005126", refund="fails"),
    "pm_card_pendingRefund": Card(number="4000000000007726", refund="pending"),
    # Refused
    "pm_card_chargeDeclined": Card(number="4000000000000002", decline=GENERIC),
    "pm_card_chargeDeclinedInsufficientFunds": Card(
        number="4000000000009995", decline=INSUFFICIENT_FUNDS
    ),
    "pm_card_chargeDeclinedLostCard": Card(number="4000000000009987", decline=LOST),
    "pm_card_chargeDeclinedStolenCard": Card(number="4000000000009979", decline=STOLEN),
    "pm_card_chargeDeclinedExpiredCard": Card(number="4000000000000069", decline=EXPIRED),
    "pm_card_chargeDeclinedIncorrectCvc": Card(number="4000000000000127", decline=INCORRECT_CVC),
    "pm_card_chargeDeclinedProcessingError": Card(
        number="4000000000000119", decline=PROCESSING_ERROR
    ),
    "pm_card_chargeDeclinedVelocityLimitExceeded": Card(
        number="4000000000006975", decline=VELOCITY
    ),
    # Radar, with the settings that an account begins with
    "pm_card_radarBlock": Card(number="4100000000000019", decline=FRAUDULENT, risk_level="highest"),
    "pm_card_chargeDeclinedFraudulent": Card(
        number="4100000000000019", decline=FRAUDULENT, risk_level="highest"
    ),
    "pm_card_riskLevelHighest": Card(
        number="4000000000004954", decline=FRAUDULENT, risk_level="highest"
    ),
    "pm_card_riskLevelElevated": Card(number="4000000000009235", risk_level="elevated"),
    # 3D Secure
    "pm_card_authenticationRequired": Card(
        number="4000002760003184", country="DE", challenge=True, challenge_off_session=True
    ),
    "pm_card_authenticationRequiredOnSetup": Card(
        number="4000002500003155", country="FR", challenge=True, challenge_off_session=True
    ),
    "pm_card_authenticationRequiredSetupForOffSession": Card(
        number="4000003800000446", country="IT", challenge=True
    ),
    "pm_card_authenticationRequiredChargeDeclinedInsufficientFunds": Card(
        number="4000008260003178",
        country="GB",
        challenge=True,
        challenge_off_session=True,
        decline=INSUFFICIENT_FUNDS,
    ),
    "pm_card_threeDSecure2Required": Card(
        number="4000000000003220", challenge=True, challenge_off_session=True
    ),
    "pm_card_threeDSecureRequired": Card(
        number="4000000000003063", challenge=True, challenge_off_session=True
    ),
    "pm_card_threeDSecureRequiredChargeDeclined": Card(
        number="4000008400001629", challenge=True, challenge_off_session=True, decline=GENERIC
    ),
    "pm_card_threeDSecureOptional": Card(number="4000000000003055"),
    "pm_card_amex_threeDSecureNotSupported": Card(
        number="378282246310005", brand="amex", supports_3ds=False
    ),
}

for _name in ("", "InsufficientFunds", "LostCard", "StolenCard", "VelocityLimitExceeded"):
    # Stripe's documentation has used both spellings.
    CARDS[f"pm_card_visa_chargeDeclined{_name}"] = CARDS[f"pm_card_chargeDeclined{_name}"]

_BY_COUNTRY = """
us 4242424242424242  ar 4000000320000021  br 4000000760000002  ca 4000001240000000
cl 4000001520000001  co 4000001700000003  cr 4000001880000005  ec 4000002180000000
mx 4000004840008001  pa 4000005910000000  py 4000006000000066  pe 4000006040000068
uy 4000008580000003  ae 4000007840000001  at 4000000400000008  be 4000000560000004
bg 4000001000000000  by 4000001120000005  hr 4000001910000009  cy 4000001960000008
cz 4000002030000002  dk 4000002080000001  ee 4000002330000009  fi 4000002460000001
fr 4000002500000003  de 4000002760000016  gi 4000002920000005  gr 4000003000000030
hu 4000003480000005  ie 4000003720000005  it 4000003800000008  lv 4000004280000005
li 4000004380000004  lt 4000004400000000  lu 4000004420000006  mt 4000004700000007
nl 4000005280000002  no 4000005780000007  pl 4000006160000005  pt 4000006200000007
ro 4000006420000001  si 4000007050000006  sk 4000007030000001  es 4000007240000007
se 4000007520000008  ch 4000007560000009  gb 4000008260000000  au 4000000360000006
cn 4000001560000002  hk 4000003440000004  in 4000003560000008  jp 4000003920000003
my 4000004580000002  nz 4000005540000008  sg 4000007020000003  tw 4000001580000008
"""
_words = _BY_COUNTRY.split()
for _country, _number in zip(_words[::2], _words[1::2], strict=True):
    CARDS[f"pm_card_{_country}"] = Card(number=_number, country=_country.upper())

CARDS_BY_NUMBER = {card.number: card for card in reversed(CARDS.values())} | {
    "2223003122003222": Card(number="2223003122003222", brand="mastercard"),
    "6011000990139424": Card(number="6011000990139424", brand="discover"),
    "6011981111111113": Card(number="6011981111111113", brand="discover", funding="debit"),
    "36227206271667": Card(number="36227206271667", brand="diners"),
    "6200000000000047": Card(
        number="6200000000000047", brand="unionpay", country="CN", funding="debit"
    ),
    "6205500000000000004": Card(number="6205500000000000004", brand="unionpay", country="CN"),
    "4000006820000007": Card(number="4000006820000007", country="SA"),
}
"""Where several names share a number, the first of them counts."""

UNCOVERED_CARDS = {
    "pm_card_createMultipleDisputes": "4000000404000079",
    "pm_card_chargeCustomerFail": "4000000000000341",
    "pm_card_cvcCheckFail": "4000000000000101",
    "pm_card_avsFail": "4000000000000010",
    "pm_card_avsLine1Fail": "4000000000000028",
    "pm_card_avsZipFail": "4000000000000036",
    "pm_card_avsUnchecked": "4000000000000044",
}
"""Test cards whose effect (several disputes, customers, checks of addresses) is not here."""

# Bank accounts


def _us(number: str, code: str | None = None, message: str = "") -> BankAccount:
    decline = Decline(code=code, message=message) if code else None
    return BankAccount(type="us_bank_account", number=number, country="US", decline=decline)


ACCOUNTS: dict[str, BankAccount] = {
    "pm_usBankAccount_success": _us("000123456789"),
    "pm_usBankAccount_accountClosed": _us(
        "000111111113", "account_closed", "The customer's bank account has been closed."
    ),
    "pm_usBankAccount_noAccount": _us(
        "000111111116", "no_account", "The customer's bank account could not be located."
    ),
    "pm_usBankAccount_insufficientFunds": _us(
        "000222222227",
        "insufficient_funds",
        "The customer's account has insufficient funds to cover this payment.",
    ),
    "pm_usBankAccount_debitNotAuthorized": _us(
        "000333333335",
        "debit_not_authorized",
        "The customer has notified their bank that this payment was unauthorized.",
    ),
    "pm_usBankAccount_invalidCurrency": replace(
        _us("000444444440"),
        decline=Decline(
            code="payment_intent_payment_attempt_failed",
            failure_code="invalid_currency",
            message="The bank was unable to process this payment because of its currency.",
        ),
    ),
    "pm_usBankAccount_processing": replace(_us("000000000009"), settles_after=None),
}

UNCOVERED_ACCOUNTS = (
    "pm_usBankAccount_dispute",
    "pm_usBankAccount_failMicrodeposits",
    "pm_usBankAccount_riskLevelHighest",
    "pm_usBankAccount_weeklyLimitExceeded",
)

_SEPA_DECLINES = {
    "failed": Decline(
        code="payment_intent_payment_attempt_failed",
        message="The payment attempt failed.",
    ),
    "insufficientFunds": Decline(
        code="insufficient_funds",
        message="The customer's account has insufficient funds to cover this payment.",
    ),
    "exceedsWeeklyVolumeLimit": Decline(
        code="charge_exceeds_source_limit",
        message="The payment exceeds the account's weekly limit on the amount.",
    ),
    "exceedsWeeklyTransactionLimit": Decline(
        code="payment_intent_payment_attempt_failed",
        failure_code="charge_exceeds_weekly_limit",
        message="The payment exceeds the account's weekly limit on the number of payments.",
    ),
}
SEPA_BEHAVIOURS = (
    "success successDelayed failed failedDelayed insufficientFunds exceedsWeeklyVolumeLimit"
    " exceedsWeeklyTransactionLimit"
).split()

_IBANS = {
    "at": """AT611904300234573201 AT321904300235473204 AT861904300235473202 AT051904300235473205
        AT981904300002222227 AT981904300000343434 AT601904300000121212""",
    "be": """BE62510007547061 BE78510007547064 BE68539007547034 BE51510007547065 BE90510002222227
        BE90510000343434 BE52510000121212""",
    "de": """DE89370400440532013000 DE08370400440532013003 DE62370400440532013001
        DE78370400440532013004 DE65370400440002222227 DE65370400440000343434
        DE27370400440000121212""",
    "fi": """FI2112345600000785 FI3712345600000788 FI9112345600000786 FI1012345600000789
        FI6712345602222227 FI6712345600343434 FI2912345600121212""",
    "fr": """FR1420041010050500013M02606 FR3020041010050500013M02609 FR8420041010050500013M02607
        FR7920041010050500013M02600 FR9720041010050000002222227 FR9720041010050000000343434
        FR5920041010050000000121212""",
    "ie": """IE29AIBK93115212345678 IE24AIBK93115212345671 IE02AIBK93115212345679
        IE94AIBK93115212345672 IE10AIBK93115202222227 IE10AIBK93115200343434
        IE69AIBK93115200121212""",
    "lu": """LU280019400644750000 LU440019400644750003 LU980019400644750001 LU170019400644750004
        LU900010000002222227 LU900010000000343434 LU520010000000121212""",
}
"""Stripe's test IBANs of some countries, in the order of SEPA_BEHAVIOURS."""


def _sepa(country: str, iban: str, behaviour: str) -> BankAccount:
    return BankAccount(
        type="sepa_debit",
        number=iban,
        country=country.upper(),
        decline=_SEPA_DECLINES.get(behaviour.removesuffix("Delayed")),
    )


ACCOUNTS |= {
    f"pm_{behaviour}_{country}": _sepa(country, iban, behaviour)
    for country, ibans in _IBANS.items()
    for behaviour, iban in zip(SEPA_BEHAVIOURS, ibans.split(), strict=True)
}

ACCOUNTS_BY_IBAN = {
    account.number: account for account in ACCOUNTS.values() if account.type == "sepa_debit"
}
