"""The types of payment methods, and the fields of a payment intent about them.

See: https://docs.stripe.com/api/payment_methods/object#payment_method_object-type (checked 2026-11)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..account.books import Object
from ..wire.params import one_of

COVERED = ("card", "link", "us_bank_account", "sepa_debit", "amazon_pay")
"""Types that an intent may name. No PaymentMethod of the type `link` can be created."""

AUTOMATIC = ("card", "link")
"""The types of automatic payment methods in the sandbox's account."""

DEBITS = ("us_bank_account", "sepa_debit")
"""Types whose money arrives later or not at all. They need a mandate of the customer."""

REDIRECTS = ("amazon_pay",)
"""Types whose customers are redirected to another page."""

CREATABLE = frozenset(
    """
    acss_debit affirm afterpay_clearpay alipay alma amazon_pay au_becs_debit bacs_debit bancontact
    billie bizum blik boleto card cashapp crypto custom customer_balance eps fpx giropay grabpay
    ideal interac_present kakao_pay klarna konbini kr_card link mb_way mobilepay multibanco
    naver_pay nz_bank_account oxxo p24 pay_by_bank payco paynow paypal paypay payto pix promptpay
    revolut_pay samsung_pay satispay scalapay sepa_debit sequra sofort sunbit swish twint upi
    us_bank_account wechat_pay zip
    """.split()
)
"""Types that have their own hash in the parameters of a PaymentMethod."""

_ONLY_NAMED = frozenset(
    """
    boku_promptpay capchase_pay card_present check_scan click_to_pay demo_pay duitnow
    dummy_auth_push dummy_passthrough_card edenred gcash getbalance gift_card gopay id_bank_transfer
    knet kr_market kriya momo mondu netbanking ng_bank ng_bank_transfer ng_card ng_market ng_ussd
    ng_wallet octopus paper_check qris rechnung shop_pay shopeepay south_korea_market stripe_balance
    tamara test_pay touch_n_go truemoney us_cash_voucher vipps wero
    """.split()
)

ALLOWABLE = (CREATABLE | _ONLY_NAMED) - {"custom"}
"""Types in `allowed_payment_method_types`."""

EXCLUDABLE = CREATABLE - {"custom", "interac_present", "link"}
"""Types in `excluded_payment_method_types`."""

OPTIONAL = (CREATABLE - {"custom"}) | {"card_present"}
"""Types in `payment_method_options`."""


def among(types: Iterable[str], *, covered: Iterable[str] = COVERED) -> Callable[[Any, str], str]:
    """Accept one of these types. Types that are not covered are refused as such."""
    here = [name for name in covered if name in set(types)]
    return one_of(*here, uncovered_choices=sorted(set(types) - set(here)))


_OPTIONS: Mapping[str, Object] = {
    "amazon_pay": {},
    "card": {
        "installments": None,
        "mandate_options": None,
        "network": None,
        "request_three_d_secure": "automatic",
    },
    "link": {"persistent_token": None},
    "sepa_debit": {},
    "us_bank_account": {"mandate_options": {}, "verification_method": "automatic"},
}


def type_fields(types: Iterable[str]) -> Object:
    """Return the fields of an intent that depend on its payment method types."""
    names = list(types)
    return {
        "payment_method_types": names,
        "payment_method_options": {name: dict(_OPTIONS[name]) for name in names},
    }
