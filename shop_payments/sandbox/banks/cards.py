"""Stripe's test cards.

The keys of `CARDS` are the names of Stripe's test payment methods (`pm_card_visa`). The token with
the same ending (`tok_visa`) and the number of the card have the same effect. All documented ones
are compared with Stripe's pages in `tests/sandbox/documented_cards.py`.

See: https://docs.stripe.com/testing (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from .instruments import Card, Decline, Funding

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
FRAUDULENT = replace(_card_declined("fraudulent", _DECLINED, None), blocked_by="risk")
EXPIRED = _wrong(
    "expired_card", "Your card has expired.", param="exp_month", advice="confirm_card_data"
)
INCORRECT_CVC = _wrong(
    "incorrect_cvc",
    "Your card's security code is incorrect.",
    param="cvc",
    advice="confirm_card_data",
)
CVC_CHECK_FAILED = replace(INCORRECT_CVC, blocked_by="rule")
"""By default, Radar blocks a payment whose CVC check fails."""
PROCESSING_ERROR = _wrong(
    "processing_error",
    "An error occurred while processing your card. Try again in a little bit.",
    param=None,
    advice="try_again_later",
)

# Cards that succeed

_PLAIN = """
4242424242424242     visa        US  credit   visa us
4000056655665556     visa        US  debit    visa_debit
5555555555554444     mastercard  US  credit   mastercard
2223003122003222     mastercard  US  credit
5200828282828210     mastercard  US  debit    mastercard_debit
5105105105105100     mastercard  US  prepaid  mastercard_prepaid
371449635398431      amex        US  credit   amex
6011111111111117     discover    US  credit   discover
6011000990139424     discover    US  credit
6011981111111113     discover    US  debit
3056930009020004     diners      US  credit   diners
36227206271667       diners      US  credit
6555900000604105     discover    US  credit
3566002020360505     jcb         JP  credit   jcb
3530111333300000     jcb         JP  credit
6200000000000005     unionpay    CN  credit   unionpay
6200000000000047     unionpay    CN  debit
6205500000000000004  unionpay    CN  credit
4000058260000005     visa        GB  debit    gb_debit
5555558265554449     mastercard  GB  credit   gb_mastercard
5200007840000022     mastercard  AE  credit   ae_mastercard
4000007640000003     visa        TH  credit   th_credit
4000057640000008     visa        TH  debit    th_debit
4000006820000007     visa        SA  credit
4000051230000072     visa        US  debit    debit_visaFsaProductCode debit_visaHsaProductCode
5200828282828897     mastercard  US  debit    mastercard_debit_mastercardFsaProductCode
4012888888881881     visa        US  credit
30569309025904       diners      US  credit
38520000023237       diners      US  credit
"""
"""Number, brand, country, funding, and the names without `pm_card_`.

(?): country and funding of cards for health expenses; the brand of 6555900000604105, a BCcard or
DinaCard, which use the network of Discover. The last three are from earlier lists of Stripe.
"""

_BY_COUNTRY = """
ar 4000000320000021  br 4000000760000002  ca 4000001240000000  cl 4000001520000001
co 4000001700000003  cr 4000001880000005  ec 4000002180000000  mx 4000004840008001
pa 4000005910000000  py 4000006000000066  pe 4000006040000068  uy 4000008580000003
ae 4000007840000001  at 4000000400000008  be 4000000560000004  bg 4000001000000000
by 4000001120000005  hr 4000001910000009  cy 4000001960000008  cz 4000002030000002
dk 4000002080000001  ee 4000002330000009  fi 4000002460000001  fr 4000002500000003
de 4000002760000016  gi 4000002920000005  gr 4000003000000030  hu 4000003480000005
ie 4000003720000005  it 4000003800000008  lv 4000004280000005  li 4000004380000004
lt 4000004400000000  lu 4000004420000006  mt 4000004700000007  nl 4000005280000002
no 4000005780000007  pl 4000006160000005  pt 4000006200000007  ro 4000006420000001
si 4000007050000006  sk 4000007030000001  es 4000007240000007  se 4000007520000008
ch 4000007560000009  gb 4000008260000000  au 4000000360000006  cn 4000001560000002
hk 4000003440000004  in 4000003560000008  jp 4000003920000003  my 4000004580000002
nz 4000005540000008  sg 4000007020000003  tw 4000001580000008
"""
"""Visa credit cards: the name without `pm_card_`, which is the country, and the number."""


def _plain() -> Iterator[tuple[str, Card]]:
    """Yield the cards that succeed, with each of their names; "" if there is none."""
    words = _BY_COUNTRY.split()
    for country, number in zip(words[::2], words[1::2], strict=True):
        yield country, Card(number=number, country=country.upper())
    for line in _PLAIN.strip().splitlines():
        number, brand, country, funding, *names = line.split()
        card = Card(number=number, brand=brand, country=country, funding=cast(Funding, funding))
        for name in names or [""]:
            yield name, card


# Cards with a behaviour of their own

CARDS: dict[str, Card] = {
    **{f"pm_card_{name}": card for name, card in _plain() if name},
    # Co-branded
    "pm_card_visa_cartesBancaires": Card(
        number="4000002500001001", country="FR", co_brand="cartes_bancaires"
    ),
    "pm_card_mastercard_cartesBancaires": Card(
        number="5555552500001001", brand="mastercard", country="FR", co_brand="cartes_bancaires"
    ),
    "pm_card_visa_debit_eftposAuCoBranded": Card(
        number="4000050360000001", country="AU", funding="debit", co_brand="eftpos_au"
    ),
    "pm_card_mastercard_debit_eftposAuCoBranded": Card(
        number="5555050360000080",
        brand="mastercard",
        country="AU",
        funding="debit",
        co_brand="eftpos_au",
    ),
    # Disputes and warnings
    "pm_card_createDispute": Card(number="4000000000000259", dispute="fraudulent"),
    "pm_card_createDisputeProductNotReceived": Card(
        number="4000000000002685", dispute="product_not_received"
    ),
    "pm_card_createDisputeInquiry": Card(number="4000000000001976", dispute="inquiry"),
    "pm_card_createIssuerFraudRecord": Card(number="4000000000005423", warns=True),
    # The account is not enrolled in Stripe's prevention of disputes, so these are disputed, too.
    # (?): the reason, which Stripe does not document.
    "pm_card_createRapidDisputeResolutionDispute": Card(
        number="4000000404004816", dispute="fraudulent"
    ),
    "pm_card_createCe3BlockDispute": Card(number="4000000404005649", dispute="fraudulent"),
    "pm_card_createEthocaAlert": Card(
        number="5105000300000018", brand="mastercard", dispute="fraudulent"
    ),
    # Balance and refunds
    "pm_card_bypassPending": Card(number="4000000000000077", bypasses_pending=True),
    "pm_card_bypassPendingInternational": Card(
        number="4000003720000278", country="IE", bypasses_pending=True
    ),
    "pm_card_refundFail": Card(number="4000000000005126", refund="fails"),
    "pm_card_pendingRefund": Card(number="4000000000007726", refund="pending"),
    # Declined
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
    "pm_card_visa_debit_chargeDeclinedInsufficientFunds": Card(
        number="4000000000009995", funding="debit", decline=INSUFFICIENT_FUNDS
    ),  # only documented as a token; (?): its number
    # Radar, with the default settings of an account: only the highest risk and a failed CVC check
    # are blocked
    "pm_card_radarBlock": Card(number="4100000000000019", decline=FRAUDULENT, risk_level="highest"),
    "pm_card_chargeDeclinedFraudulent": Card(
        number="4100000000000019", decline=FRAUDULENT, risk_level="highest"
    ),
    "pm_card_riskLevelHighest": Card(
        number="4000000000004954", decline=FRAUDULENT, risk_level="highest"
    ),
    "pm_card_riskLevelElevated": Card(number="4000000000009235", risk_level="elevated"),
    "pm_card_cvcCheckFail": Card(number="4000000000000101", decline=CVC_CHECK_FAILED),
    "pm_card_cvcCheckFailElevatedRisk": Card(
        number="4000058400307872", decline=CVC_CHECK_FAILED, risk_level="elevated"
    ),
    "pm_card_avsZipFail": Card(number="4000000000000036", postal_code_check="fail"),
    "pm_card_avsZipFailElevatedRisk": Card(
        number="4000058400306072", postal_code_check="fail", risk_level="elevated"
    ),
    "pm_card_avsLine1Fail": Card(number="4000000000000028", line1_check="fail"),
    "pm_card_avsFail": Card(
        number="4000000000000010", line1_check="fail", postal_code_check="fail"
    ),
    "pm_card_avsUnchecked": Card(
        number="4000000000000044", line1_check="unavailable", postal_code_check="unavailable"
    ),
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
        number="4000000000003220", country="IE", challenge=True, challenge_off_session=True
    ),
    "pm_card_threeDSecureRequired": Card(
        number="4000000000003063", challenge=True, challenge_off_session=True
    ),
    "pm_card_threeDSecureRequiredChargeDeclined": Card(
        number="4000008400001629", challenge=True, challenge_off_session=True, decline=GENERIC
    ),
    # The bank cannot be reached for 3D Secure, so nobody is asked (?: the decline code).
    "pm_card_threeDSecureRequiredProcessingError": Card(number="4000008400001280", decline=GENERIC),
    "pm_card_threeDSecureOptional": Card(number="4000000000003055", challenge_if_requested=True),
    "pm_card_threeDSecureOptionalProcessingError": Card(
        number="4000000000003097", decline_if_requested=GENERIC
    ),
    "pm_card_amex_threeDSecureNotSupported": Card(
        number="378282246310005", brand="amex", supports_3ds=False
    ),
}

for _name in (
    "ExpiredCard Fraudulent IncorrectCvc InsufficientFunds LostCard ProcessingError StolenCard"
    " VelocityLimitExceeded"
).split():
    # Stripe's documentation has used both spellings, also of tokens.
    CARDS[f"pm_card_visa_chargeDeclined{_name}"] = CARDS[f"pm_card_chargeDeclined{_name}"]
CARDS["pm_card_visa_chargeDeclined"] = CARDS["pm_card_chargeDeclined"]

CARDS_BY_NUMBER = {
    **{card.number: card for _, card in _plain()},
    "4000008400000027": Card(number="4000008400000027", challenge=True, challenge_off_session=True),
    "4000000032200000": Card(number="4000000032200000", frictionless=True),
    # The challenges of Stripe's mobile SDKs. Elsewhere they are ordinary ones.
    **{
        number: Card(number=number, challenge=True, challenge_off_session=True)
        for number in "4000582600000045 4000582600000094 4000582600000102 4000582600000110".split()
    },
    **{card.number: card for card in reversed(CARDS.values())},
}
"""If several names share a number, the first one counts."""

# Cards that the sandbox refuses

_UNCOVERED = {
    "several disputes of a charge": "4000000404000079 createMultipleDisputes",
    "enhanced evidence": """
        4000000404000038 createCe3EligibleDispute
        4000008400000779 createComplianceDispute
        5105008400000002 createMastercardComplianceDispute
        4000000001000043 createAutoRepresentmentEligibleDispute""",
    "Radar's scores and settings": """
        4000008400000407 highFraudDisputeScore
        4000008400000159 highEfwScore
        4000008400001017 radarDynamicRiskThreshold
        4000008405600003 adaptive3dsChallenge""",
    "customers": """
        4000000000000341 chargeCustomerFail visa_chargeCustomerFail
        - visa_chargeCustomerFailLostCard visa_chargeCustomerFailStolenCard""",
    "captchas": "4000000000001208\n4000000000003725",
    "Carnet cards, which accounts in Mexico accept": "5062210000000009",
    "card readers": """
        4001007020000002
        4000008260000075
        4001000360000005
        4000002760000008
        4506445006931933
        6280000360000978
        4000058400000048
        4711009900000316877""",
    "mandates of Indian cards": """
        4000003560000123 indiaRecurringMandateSetupAndRenewalsSuccess
        4000003560000297 indiaRecurringPaymentFailureAfterPreDebitNotification
        4000003560000248 indiaRecurringPaymentFailureUndeliveredDebitNotification
        4000003560000263 indiaRecurringPaymentFailureCanceledMandate""",
    "incremental authorizations": """
        4000058400000063 debit_incrementalAuthAuthorized
        4000008400000076 credit_disableEnterpriseCardFeatures""",
    "partial authorizations": """
        4000058400000071 debit_partialAuthorization
        4000058400000816 debit_partialIncrement""",
    "connected accounts": """
        4000000000004202 visa_triggerNextRequirements
        4000000000004210 visa_triggerChargeBlock
        4000000000004236 visa_triggerPayoutBlock
        - visa_triggerTransferBlock""",
}
"""What the sandbox lacks, and the test cards for it: the number, and the names."""

UNCOVERED_CARDS = {
    word if word.isdigit() else f"pm_card_{word}": lacking
    for lacking, cards in _UNCOVERED.items()
    for word in cards.split()
    if word != "-"
}
"""What the sandbox lacks, by number and by name."""
