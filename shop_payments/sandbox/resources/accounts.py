"""The account of the key: one operation and the object.

See: https://docs.stripe.com/api/accounts/retrieve and
https://docs.stripe.com/api/accounts/object (checked 2026-11)
"""

from __future__ import annotations

from ..account.books import Object
from ..wire.params import EXPAND
from .base import Call, Resource, routes


def retrieve(call: Call) -> Object:
    """GET /v1/account: the account that the key belongs to.

    It has the keys of an account that manages itself in Stripe's dashboard. Stripe documents more
    keys for connected accounts. Like Stripe's, it does not say in which mode the key is.
    """
    return {
        "id": call.books.account_id,
        "object": "account",
        "business_profile": {
            "annual_revenue": None,
            "estimated_worker_count": None,
            "mcc": None,
            "name": "Sandbox",
            "support_address": None,
            "support_email": None,
            "support_phone": None,
            "support_url": None,
            "url": None,
        },
        "business_type": None,
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "controller": {"type": "account"},
        "country": "US",
        "created": _CREATED,
        "default_currency": "usd",
        "details_submitted": True,
        "email": "sandbox@example.com",
        "payouts_enabled": True,
        "settings": {
            "branding": {
                "icon": None,
                "logo": None,
                "primary_color": None,
                "secondary_color": None,
            },
            "card_payments": {
                "statement_descriptor_prefix": None,
                "statement_descriptor_prefix_kana": None,
                "statement_descriptor_prefix_kanji": None,
            },
            "dashboard": {"display_name": "Sandbox", "timezone": "Etc/UTC"},
            "payments": {
                "statement_descriptor": "SANDBOX",
                "statement_descriptor_kana": None,
                "statement_descriptor_kanji": None,
            },
        },
        "type": "standard",
    }


_CREATED = 1_700_000_000

RESOURCE = Resource(
    kind="account", stored=lambda books: {}, expandable={"external_accounts": "bank_account"}
)

# Not a list, so the path is not the base.
ROUTES = routes("/v1", "account", ("GET", "/account", retrieve, EXPAND))
