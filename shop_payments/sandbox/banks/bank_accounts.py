"""Stripe's test bank accounts.

The keys of `ACCOUNTS` are the names of Stripe's test payment methods. A test IBAN has the same
effect.

See: https://docs.stripe.com/testing#non-card-payments (checked 2026-11)
"""

from __future__ import annotations

from dataclasses import replace

from .instruments import BankAccount, Decline

# Accounts in the United States


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

# SEPA accounts

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
    " exceedsWeeklyTransactionLimit disputed"
).split()

_IBANS = """
AT611904300234573201 AT321904300235473204 AT861904300235473202 AT051904300235473205
  AT981904300002222227 AT981904300000343434 AT601904300000121212 AT591904300235473203
BE62510007547061 BE78510007547064 BE68539007547034 BE51510007547065 BE90510002222227
  BE90510000343434 BE52510000121212 BE08510007547063
CH9300762011623852957 CH8656663438253651553 CH5362200119938136497 CH1843597160341964438
  CH1800762000002222227 CH1800762000000343434 CH7700762000000121212 CH1260378413965193069
DE89370400440532013000 DE08370400440532013003 DE62370400440532013001 DE78370400440532013004
  DE65370400440002222227 DE65370400440000343434 DE27370400440000121212 DE35370400440532013002
EE382200221020145685 EE222200221020145682 EE762200221020145680 EE922200221020145683
  EE672200000002222227 EE672200000000343434 EE292200000000121212 EE492200221020145681
ES0700120345030000067890 ES2300120345030000067893 ES9121000418450200051332
  ES9300120345030000067894 ES1700120345000002222227 ES1700120345000000343434
  ES7600120345000000121212 ES5000120345030000067892
FI2112345600000785 FI3712345600000788 FI9112345600000786 FI1012345600000789 FI6712345602222227
  FI6712345600343434 FI2912345600121212 FI6412345600000787
FR1420041010050500013M02606 FR3020041010050500013M02609 FR8420041010050500013M02607
  FR7920041010050500013M02600 FR9720041010050000002222227 FR9720041010050000000343434
  FR5920041010050000000121212 FR5720041010050500013M02608
GB82WEST12345698765432 GB98WEST12345698765435 GB55WEST12345698765433 GB71WEST12345698765436
  GB70WEST12345602222227 GB70WEST12345600343434 GB32WEST12345600121212 GB28WEST12345698765434
GI60MPFS599327643783385 GI08RRNW626436291644533 GI41SAFA461293238477751 GI50LROG772261344693297
  GI14NWBK000000002222227 GI14NWBK000000000343434 GI73NWBK000000000121212
  GI26KJBC361883934534696
HR7624020064583467589 HR6323600002337876649 HR2725000096983499248 HR6723600004878117427
  HR7424020060002222227 HR7424020060000343434 HR3624020060000121212 HR8724840081455523553
IE29AIBK93115212345678 IE24AIBK93115212345671 IE02AIBK93115212345679 IE94AIBK93115212345672
  IE10AIBK93115202222227 IE10AIBK93115200343434 IE69AIBK93115200121212 IE51AIBK93115212345670
LI0508800636123378777 LI4408800387787111369 LI1208800143823175626 LI4908800356441975566
  LI2408800000002222227 LI2408800000000343434 LI8308800000000121212 LI7708800125525347723
LT121000011101001000 LT281000011101001003 LT821000011101001001 LT981000011101001004
  LT591000000002222227 LT591000000000343434 LT211000000000121212 LT551000011101001002
LU280019400644750000 LU440019400644750003 LU980019400644750001 LU170019400644750004
  LU900010000002222227 LU900010000000343434 LU520010000000121212 LU710019400644750002
NL39RABO0300065264 NL55RABO0300065267 NL91ABNA0417164300 NL28RABO0300065268 NL27RABO0002222227
  NL27RABO0000343434 NL86RABO0000121212 NL82RABO0300065266
NO9386011117947 NO8886011117940 NO6686011117948 NO6186011117941 NO0586012222227 NO0586010343434
  NO6486010121212 NO3986011117949
PT50000201231234567890154 PT66000201231234567890157 PT23000201231234567890155
  PT39000201231234567890158 PT05000201230000002222227 PT05000201230000000343434
  PT64000201230000000121212 PT93000201231234567890156
SE3550000000054910000003 SE5150000000054910000006 SE0850000000054910000004
  SE2450000000054910000007 SE2850000000000002222227 SE2850000000000000343434
  SE8750000000000000121212 SE7850000000054910000005
"""
"""Stripe's test IBANs, those of each country in the order of SEPA_BEHAVIOURS."""


def _by_name(ibans: list[str]) -> dict[str, BankAccount]:
    """Return the accounts of these IBANs by their names; Stripe has used two for each."""
    accounts = {}
    for place, iban in enumerate(ibans):
        behaviour, country = SEPA_BEHAVIOURS[place % len(SEPA_BEHAVIOURS)], iban[:2]
        accounts[f"pm_sepaDebit_{behaviour}_{country.lower()}"] = BankAccount(
            type="sepa_debit",
            number=iban,
            country=country,
            decline=_SEPA_DECLINES.get(behaviour.removesuffix("Delayed")),
        )
    short = {name.replace("_sepaDebit", ""): account for name, account in accounts.items()}
    return {**accounts, **short}


_SEPA = _by_name(_IBANS.split())
_DISPUTED = {name: account for name, account in _SEPA.items() if "disputed" in name}

ACCOUNTS |= {name: account for name, account in _SEPA.items() if name not in _DISPUTED}

ACCOUNTS_BY_IBAN = {
    account.number: account for account in ACCOUNTS.values() if account.type == "sepa_debit"
}

# Accounts that the sandbox refuses

_UNCOVERED = {
    "disputes of debits": " ".join(
        ["pm_usBankAccount_dispute", *_DISPUTED, *(each.number for each in _DISPUTED.values())]
    ),
    "microdeposits": "pm_usBankAccount_failMicrodeposits",
    "Radar's checks of debits": "pm_usBankAccount_riskLevelHighest",
    "weekly limits of accounts in the United States": "pm_usBankAccount_weeklyLimitExceeded",
    "Bacs Direct Debit": """
        pm_bacsDebit_success pm_bacsDebit_successDelayed pm_bacsDebit_debitNotAuthorized
        pm_bacsDebit_debitNotAuthorizedDelayed pm_bacsDebit_insufficientFunds
        pm_bacsDebit_insufficientFundsDelayed pm_bacsDebit_dispute pm_bacsDebit_mandateRefused
        pm_bacsDebit_exceedsWeeklyLimit pm_bacsDebit_exceedsTransactionLimit""",
    "BECS Direct Debit": """
        pm_auBecsDebit_success pm_auBecsDebit_successDelayed pm_auBecsDebit_accountClosed
        pm_auBecsDebit_noAccount pm_auBecsDebit_referToCustomer
        pm_auBecsDebit_referToCustomerDelayed pm_auBecsDebit_debitNotAuthorized
        pm_auBecsDebit_dispute pm_auBecsDebit_exceedsWeeklyLimit
        pm_auBecsDebit_exceedsTransactionLimit""",
    "card readers": "offline_pin_cvm offline_pin_sca_retry online_pin_cvm online_pin_sca_retry",
}
"""What the sandbox lacks, and the names and IBANs for it."""

UNCOVERED_ACCOUNTS = {
    word: lacking for lacking, names in _UNCOVERED.items() for word in names.split()
}
"""What the sandbox lacks, by name and by IBAN."""
