"""Stripe, typed: the only package that imports ``stripe``.

What goes out are the frozen dataclasses of ``results``, never the SDK's objects; what is raised is
:class:`~shop_payments.exceptions.GatewayError` and nothing of the SDK's. Other packages import
from here, and not from the modules below.
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
from shop_payments.gateway.webhooks import (
    account_of_event,
    id_of_intent_event,
    intent_from_event,
    is_thin,
    read_event,
    subject_of_event,
)

__all__ = [
    "STRIPE_API_VERSION",
    "BalanceTransactionResult",
    "DisputeResult",
    "EventResult",
    "EventSubject",
    "Gateway",
    "LastPaymentError",
    "Page",
    "PaymentIntentResult",
    "RefundResult",
    "account_of_event",
    "assert_no_transaction",
    "get_gateway",
    "id_of_intent_event",
    "intent_from_event",
    "is_thin",
    "read_event",
    "subject_of_event",
]
