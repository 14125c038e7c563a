"""A typed gateway to Stripe's API: the only package that imports ``stripe``.

It returns the frozen dataclasses of ``results``, never the SDK's objects. It raises
:class:`~shop_payments.exceptions.GatewayError`, never the SDK's exceptions. Other packages import
from here, not from the modules of this package.
"""

from shop_payments.gateway.building import STRIPE_API_VERSION, get_gateway
from shop_payments.gateway.client import Gateway
from shop_payments.gateway.guard import assert_no_transaction
from shop_payments.gateway.results import (
    BalanceTransactionResult,
    DisputeResult,
    EventResult,
    EventSubject,
    LastPaymentError,
    Page,
    PaymentIntentResult,
    RefundResult,
)
from shop_payments.gateway.setup import PERMISSIONS, Permission, WebhookEndpointResult
from shop_payments.gateway.webhooks import (
    account_of_event,
    id_of_intent_event,
    intent_from_event,
    is_thin,
    read_event,
    subject_of_event,
)

__all__ = [
    "PERMISSIONS",
    "STRIPE_API_VERSION",
    "BalanceTransactionResult",
    "DisputeResult",
    "EventResult",
    "EventSubject",
    "Gateway",
    "LastPaymentError",
    "Page",
    "PaymentIntentResult",
    "Permission",
    "RefundResult",
    "WebhookEndpointResult",
    "account_of_event",
    "assert_no_transaction",
    "get_gateway",
    "id_of_intent_event",
    "intent_from_event",
    "is_thin",
    "read_event",
    "subject_of_event",
]
