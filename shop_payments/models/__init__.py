"""The app's tables. The modules explain what each row means."""

from shop_payments.models.api_keys import APIKey, APIKeyScope
from shop_payments.models.balance import BalanceTransaction
from shop_payments.models.codes import FactKind, Source
from shop_payments.models.events import SweepState, WebhookEvent
from shop_payments.models.history import PaymentHistory
from shop_payments.models.orders import Order, OrderLine
from shop_payments.models.payments import OrderPayment, PaymentIntent, StripeAttempt
from shop_payments.models.radar import EarlyFraudWarning, RadarReview
from shop_payments.models.refunds import Dispute, Refund
from shop_payments.models.review import ReviewItem
from shop_payments.models.staff import StaffEntry, StaffNote

__all__ = [
    "APIKey",
    "APIKeyScope",
    "BalanceTransaction",
    "Dispute",
    "EarlyFraudWarning",
    "FactKind",
    "Order",
    "OrderLine",
    "OrderPayment",
    "PaymentHistory",
    "PaymentIntent",
    "RadarReview",
    "Refund",
    "ReviewItem",
    "Source",
    "StaffEntry",
    "StaffNote",
    "StripeAttempt",
    "SweepState",
    "WebhookEvent",
]
