"""What Stripe's pages say about its test cards and accounts, as data; `documented` compares it.

A line is a number or `-`, the names, and what is documented. The name `visa` stands for
`pm_card_visa` and `tok_visa`; names that begin with `pm_` or `tok_` stand for themselves. `?` marks
lines of which a part is not documented or that we could not find in Stripe's own words. What each
word means is in `documented.CHECKS`; a line that the sandbox refuses needs no check.

Source: copies of Stripe's pages of 2025 and 2026, read in 2026-11. The page is given for each
section.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

TESTING = "https://docs.stripe.com/testing"


@dataclass(frozen=True)
class Row:
    """A documented card or account."""

    identifiers: tuple[str, ...]
    """Its number, PaymentMethods and tokens."""
    expected: dict[str, str]
    uncertain: bool


SECTIONS: dict[str, str] = {}
"""Lines by section. The section is the page."""

SECTIONS[f"{TESTING}#cards"] = """
4242424242424242 visa brand=visa country=US funding=credit
4000056655665556 visa_debit brand=visa country=US funding=debit
5555555555554444 mastercard brand=mastercard country=US funding=credit
2223003122003222 - brand=mastercard
5200828282828210 mastercard_debit brand=mastercard funding=debit
5105105105105100 mastercard_prepaid brand=mastercard funding=prepaid
378282246310005 - brand=amex
371449635398431 amex brand=amex
6011111111111117 discover brand=discover
6011000990139424 - brand=discover
6011981111111113 - brand=discover funding=debit
3056930009020004 diners brand=diners
36227206271667 - brand=diners
6555900000604105 - succeeds=yes ?
3566002020360505 jcb brand=jcb country=JP
6200000000000005 unionpay brand=unionpay country=CN
6200000000000047 - brand=unionpay funding=debit
6205500000000000004 - brand=unionpay
4000002500001001 visa_cartesBancaires brand=visa co_brand=cartes_bancaires country=FR ?
5555552500001001 mastercard_cartesBancaires brand=mastercard co_brand=cartes_bancaires country=FR ?
4000050360000001 visa_debit_eftposAuCoBranded brand=visa co_brand=eftpos_au country=AU ?
5555050360000080 mastercard_debit_eftposAuCoBranded brand=mastercard co_brand=eftpos_au country=AU ?
4012888888881881 - brand=visa
30569309025904 - brand=diners
38520000023237 - brand=diners
"""

SECTIONS[f"{TESTING}#international-cards"] = """
- us brand=visa country=US
4000000320000021 ar brand=visa country=AR
4000000760000002 br brand=visa country=BR
4000001240000000 ca brand=visa country=CA
4000001520000001 cl brand=visa country=CL
4000001700000003 co brand=visa country=CO
4000001880000005 cr brand=visa country=CR
4000002180000000 ec brand=visa country=EC
4000004840008001 mx brand=visa country=MX
5062210000000009 - brand=carnet country=MX
4000005910000000 pa brand=visa country=PA
4000006000000066 py brand=visa country=PY
4000006040000068 pe brand=visa country=PE
4000008580000003 uy brand=visa country=UY
4000007840000001 ae brand=visa country=AE
5200007840000022 ae_mastercard brand=mastercard country=AE
4000000400000008 at brand=visa country=AT
4000000560000004 be brand=visa country=BE
4000001000000000 bg brand=visa country=BG
4000001120000005 by brand=visa country=BY
4000001910000009 hr brand=visa country=HR
4000001960000008 cy brand=visa country=CY
4000002030000002 cz brand=visa country=CZ
4000002080000001 dk brand=visa country=DK
4000002330000009 ee brand=visa country=EE
4000002460000001 fi brand=visa country=FI
4000002500000003 fr brand=visa country=FR
4000002760000016 de brand=visa country=DE
4000002920000005 gi brand=visa country=GI
4000003000000030 gr brand=visa country=GR
4000003480000005 hu brand=visa country=HU
4000003720000005 ie brand=visa country=IE
4000003800000008 it brand=visa country=IT
4000004280000005 lv brand=visa country=LV
4000004380000004 li brand=visa country=LI
4000004400000000 lt brand=visa country=LT
4000004420000006 lu brand=visa country=LU
4000004700000007 mt brand=visa country=MT
4000005280000002 nl brand=visa country=NL
4000005780000007 no brand=visa country=NO
4000006160000005 pl brand=visa country=PL
4000006200000007 pt brand=visa country=PT
4000006420000001 ro brand=visa country=RO
4000006820000007 - brand=visa country=SA
4000007050000006 si brand=visa country=SI
4000007030000001 sk brand=visa country=SK
4000007240000007 es brand=visa country=ES
4000007520000008 se brand=visa country=SE
4000007560000009 ch brand=visa country=CH
4000008260000000 gb brand=visa country=GB
4000058260000005 gb_debit brand=visa country=GB funding=debit
5555558265554449 gb_mastercard brand=mastercard country=GB
4000000360000006 au brand=visa country=AU
4000001560000002 cn brand=visa country=CN
4000003440000004 hk brand=visa country=HK
4000003560000008 in brand=visa country=IN
4000003920000003 jp brand=visa country=JP
3530111333300000 - brand=jcb country=JP
4000004580000002 my brand=visa country=MY
4000005540000008 nz brand=visa country=NZ
4000007020000003 sg brand=visa country=SG
4000001580000008 tw brand=visa country=TW
4000007640000003 th_credit brand=visa country=TH funding=credit
4000057640000008 th_debit brand=visa country=TH funding=debit
"""

SECTIONS[f"{TESTING}#hsa-fsa-test-cards"] = """
4000051230000072 pm_card_debit_visaFsaProductCode,pm_card_debit_visaHsaProductCode brand=visa
5200828282828897 pm_card_mastercard_debit_mastercardFsaProductCode brand=mastercard
"""

# Stripe's page says `expired_card` for tok_visa_chargeDeclinedFraudulent, which looks like a slip.
SECTIONS[f"{TESTING}#declined-payments"] = """
4000000000000002 visa_chargeDeclined declines=card_declined/generic_decline
4000000000009995 visa_chargeDeclinedInsufficientFunds declines=card_declined/insufficient_funds
- tok_visa_debit_chargeDeclinedInsufficientFunds declines=card_declined/insufficient_funds
4000000000009987 visa_chargeDeclinedLostCard declines=card_declined/lost_card
4000000000009979 visa_chargeDeclinedStolenCard declines=card_declined/stolen_card
4000000000000069 chargeDeclinedExpiredCard,tok_visa_chargeDeclinedExpiredCard declines=expired_card
- tok_visa_chargeDeclinedFraudulent declines=card_declined/fraudulent ?
4000000000000127 - declines=incorrect_cvc without_cvc=succeeds
- chargeDeclinedIncorrectCvc,tok_visa_chargeDeclinedIncorrectCvc declines=incorrect_cvc
4000000000000119 chargeDeclinedProcessingError declines=processing_error
- tok_visa_chargeDeclinedProcessingError declines=processing_error
4242424242424241 - declines=incorrect_number
4000000000006975 visa_chargeDeclinedVelocityLimitExceeded \
declines=card_declined/card_velocity_exceeded
4000000000000341 chargeCustomerFail,tok_visa_chargeCustomerFail attached=declined
- tok_visa_chargeCustomerFailLostCard,tok_visa_chargeCustomerFailStolenCard attached=declined
"""

SECTIONS[f"{TESTING}#fraud-prevention"] = """
4100000000000019 radarBlock blocked=highest
4000000000004954 riskLevelHighest blocked=highest
4000000000009235 riskLevelElevated risk=elevated
4000008400000407 highFraudDisputeScore radar=setting
4000008400000159 highEfwScore radar=setting
4000008400001017 radarDynamicRiskThreshold radar=setting
4000008405600003 adaptive3dsChallenge radar=setting
4000000000000101 - cvc_check=fail declines=incorrect_cvc without_cvc=succeeds
- cvcCheckFail cvc_check=fail declines=incorrect_cvc ?
4000058400307872 - cvc_check=fail declines=incorrect_cvc without_cvc=succeeds
- cvcCheckFailElevatedRisk cvc_check=fail declines=incorrect_cvc ?
4000000000000036 tok_avsZipFail postal_code_check=fail
- pm_card_avsZipFail succeeds=yes ?
4000058400306072 tok_avsZipFailElevatedRisk postal_code_check=fail risk=elevated
- pm_card_avsZipFailElevatedRisk risk=elevated ?
4000000000000028 tok_avsLine1Fail line1_check=fail postal_code_check=pass
- pm_card_avsLine1Fail succeeds=yes ?
4000000000000010 tok_avsFail line1_check=fail postal_code_check=fail
- pm_card_avsFail succeeds=yes ?
4000000000000044 tok_avsUnchecked line1_check=unavailable postal_code_check=unavailable
- pm_card_avsUnchecked succeeds=yes ?
"""

SECTIONS[f"{TESTING}#disputes"] = """
4000000000000259 createDispute dispute=fraudulent
4000000000002685 createDisputeProductNotReceived dispute=product_not_received
4000000000001976 createDisputeInquiry dispute=inquiry
4000000000005423 createIssuerFraudRecord warning=yes
4000000404000079 createMultipleDisputes disputes=several
4000000404000038 createCe3EligibleDispute enhanced_evidence=visa_compelling_evidence_3
4000008400000779 createComplianceDispute enhanced_evidence=visa_compliance
5105008400000002 createMastercardComplianceDispute enhanced_evidence=mastercard_compliance
4000000001000043 createAutoRepresentmentEligibleDispute enhanced_evidence=smart_disputes
4000000404004816 createRapidDisputeResolutionDispute dispute=any ?
4000000404005649 createCe3BlockDispute dispute=any ?
5105000300000018 createEthocaAlert dispute=any ?
"""

SECTIONS[f"{TESTING}#refunds"] = """
4000000000007726 pendingRefund refund=pending
4000000000005126 refundFail refund=fails
"""

SECTIONS[f"{TESTING}#available-balance"] = """
4000000000000077 bypassPending balance=available country=US
4000003720000278 bypassPendingInternational balance=available
"""

SECTIONS[f"{TESTING}#regulatory-cards"] = """
4000002500003155 authenticationRequiredOnSetup 3ds=challenge off_session=challenge ?
4000002760003184 authenticationRequired 3ds=challenge off_session=challenge
4000003800000446 authenticationRequiredSetupForOffSession 3ds=challenge off_session=succeeds
4000008260003178 authenticationRequiredChargeDeclinedInsufficientFunds \
3ds=declines/insufficient_funds
4000000000003220 threeDSecure2Required 3ds=challenge off_session=challenge country=IE
4000008400000027 - 3ds=challenge off_session=challenge country=US
4000008400001629 threeDSecureRequiredChargeDeclined 3ds=declines/generic_decline
4000008400001280 threeDSecureRequiredProcessingError declines=card_declined ?
4000000000003055 threeDSecureOptional 3ds=supported
4000000000003097 threeDSecureOptionalProcessingError 3ds=supported
- visa 3ds=supported
378282246310005 amex_threeDSecureNotSupported 3ds=not_supported
4000000032200000 - 3ds=frictionless
4000582600000094 - 3ds=challenge
4000582600000045 - 3ds=challenge
4000582600000102 - 3ds=challenge
4000582600000110 - 3ds=challenge
4000000000003063 threeDSecureRequired 3ds=challenge ?
"""

SECTIONS[f"{TESTING}#captcha-challenge"] = """
4000000000001208 - captcha=asked
4000000000003725 - captcha=asked
"""

SECTIONS["https://docs.stripe.com/terminal/references/testing"] = """
4001007020000002 - pin=offline
4000008260000075 - pin=offline
4001000360000005 - pin=online
4000002760000008 - pin=online
4506445006931933 - reader=interac
6280000360000978 - reader=eftpos_au
4000058400000048 - reader=visa_us_common_debit ?
4711009900000316877 - reader=girocard ?
- offline_pin_cvm,offline_pin_sca_retry,online_pin_cvm,online_pin_sca_retry pin=any
"""

SECTIONS["https://docs.stripe.com/connect/testing"] = """
4000000000004202 tok_visa_triggerNextRequirements account=updated
4000000000004210 tok_visa_triggerChargeBlock account=updated
4000000000004236 tok_visa_triggerPayoutBlock,tok_visa_triggerTransferBlock account=updated
"""

SECTIONS["https://docs.stripe.com/india-recurring-payments"] = """
4000003560000123 pm_card_indiaRecurringMandateSetupAndRenewalsSuccess mandate=active
4000003560000297 pm_card_indiaRecurringPaymentFailureAfterPreDebitNotification mandate=paused
4000003560000248 pm_card_indiaRecurringPaymentFailureUndeliveredDebitNotification mandate=any
4000003560000263 pm_card_indiaRecurringPaymentFailureCanceledMandate mandate=canceled
"""

SECTIONS["https://docs.stripe.com/payments/incremental-authorization"] = """
4000058400000063 pm_card_debit_incrementalAuthAuthorized increment=succeeds
4000008400000076 pm_card_credit_disableEnterpriseCardFeatures increment=declines
"""

SECTIONS["https://docs.stripe.com/payments/partial-authorization"] = """
4000058400000071 pm_card_debit_partialAuthorization authorized=part
4000058400000816 pm_card_debit_partialIncrement authorized=part
"""

SECTIONS[f"{TESTING}?payment-method=ach-direct-debit"] = """
- pm_usBankAccount_success debit=succeeds
- pm_usBankAccount_accountClosed debit=account_closed
- pm_usBankAccount_noAccount debit=no_account
- pm_usBankAccount_insufficientFunds debit=insufficient_funds
- pm_usBankAccount_debitNotAuthorized debit=debit_not_authorized
- pm_usBankAccount_invalidCurrency debit=invalid_currency
- pm_usBankAccount_processing debit=processing
- pm_usBankAccount_riskLevelHighest,pm_usBankAccount_failMicrodeposits debit=other
- pm_usBankAccount_dispute,pm_usBankAccount_weeklyLimitExceeded debit=other
"""

# Where the page gives no code for a failed debit, only the failure is compared.
_SEPA = {
    "success": "succeeds",
    "successDelayed": "succeeds",
    "failed": "fails",
    "failedDelayed": "fails",
    "insufficientFunds": "insufficient_funds",
    "exceedsWeeklyVolumeLimit": "charge_exceeds_source_limit",
    "exceedsWeeklyTransactionLimit": "charge_exceeds_weekly_limit",
    "disputed": "disputed",
}
_SEPA_COUNTRIES = "at be hr ee fi fr de gi ie li lt lu nl no pt es se ch gb".split()
SECTIONS[f"{TESTING}?payment-method=sepa-direct-debit"] = "\n".join(
    f"- pm_sepaDebit_{behaviour}_{country},pm_{behaviour}_{country} debit={result}"
    for country in _SEPA_COUNTRIES
    for behaviour, result in _SEPA.items()
)
"""The page uses the names with `sepaDebit` since 2026, and the others before."""

_BACS = "success successDelayed debitNotAuthorized debitNotAuthorizedDelayed insufficientFunds"
_MORE_BACS = "insufficientFundsDelayed dispute mandateRefused exceedsWeeklyLimit"
SECTIONS[f"{TESTING}?payment-method=bacs-direct-debit"] = "\n".join(
    f"- pm_bacsDebit_{name} debit=bacs"
    for name in f"{_BACS} {_MORE_BACS} exceedsTransactionLimit".split()
)

_BECS = "success successDelayed accountClosed noAccount referToCustomer referToCustomerDelayed"
SECTIONS[f"{TESTING}?payment-method=au-becs-direct-debit"] = "\n".join(
    f"- pm_auBecsDebit_{name} debit=becs"
    for name in f"{_BECS} debitNotAuthorized dispute exceedsWeeklyLimit"
    " exceedsTransactionLimit".split()
)


def rows(section: str) -> Iterator[Row]:
    """Yield the rows of a section."""
    for line in SECTIONS[section].strip().splitlines():
        number, names, *words = line.split()
        expected = dict(word.split("=") for word in words if word != "?")
        identifiers = (number, *(each for name in names.split(",") for each in _full(name)))
        yield Row(tuple(each for each in identifiers if each != "-"), expected, "?" in words)


def _full(name: str) -> tuple[str, ...]:
    if name == "-" or name.startswith(("pm_", "tok_")) or "_pin_" in name:
        return (name,)
    return f"pm_card_{name}", f"tok_{name}"
