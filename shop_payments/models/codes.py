"""Codes that rows store and that sentences name: kinds of facts, sources, reasons of a review."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class FactKind(models.TextChoices):
    """The kinds of facts. The host is notified of those in ``ledger.facts.SIGNALS``."""

    INTENT_CREATED = "intent_created", _("payment intent created")
    INTENT_UPDATED = "intent_updated", _("payment intent updated")
    STATUS_CHANGED = "status_changed", _("status changed")
    INTENT_MISSING = "intent_missing", _("payment intent missing at Stripe")
    PAYMENT_FAILED = "payment_failed", _("payment failed")
    PAYMENT_PROCESSING = "payment_processing", _("payment processing")
    PAYMENT_AUTHORIZED = "payment_authorized", _("payment authorized")
    PAYMENT_RECEIVED = "payment_received", _("payment received")
    ORDER_PAID = "order_paid", _("order paid")
    CAPTURE_REQUESTED = "capture_requested", _("capture requested")
    CANCEL_REQUESTED = "cancel_requested", _("cancellation requested")
    REFUND_REQUESTED = "refund_requested", _("refund requested")
    REFUND_CHANGED = "refund_changed", _("refund changed")
    ORDER_REFUNDED = "order_refunded", _("order refunded")
    REFUND_FAILED = "refund_failed", _("refund failed")
    DISPUTE_OPENED = "dispute_opened", _("dispute opened")
    DISPUTE_CHANGED = "dispute_changed", _("dispute changed")
    DISPUTE_CLOSED = "dispute_closed", _("dispute closed")
    REVIEW_NEEDED = "review_needed", _("needs review")
    REVIEW_CLOSED = "review_closed", _("review item closed")
    AMOUNT_WAIVED = "amount_waived", _("amount waived")
    SETTLED_OUTSIDE_STRIPE = "settled_outside_stripe", _("settled outside Stripe")
    NOTIFICATION_SKIPPED = "notification_skipped", _("notification skipped")
    STAFF_ENTRY_REVOKED = "staff_entry_revoked", _("staff entry revoked")


class Source(models.TextChoices):
    """The source of a change."""

    API = "api", _("API")
    WEBHOOK = "webhook", _("message from Stripe")
    ADMIN = "admin", _("admin")
    COMMAND = "command", _("command")
    RECONCILE = "reconcile", _("automatic check")
    SHOP = "shop", _("the shop's own code")


class ReviewReason(models.TextChoices):
    """Why staff are needed."""

    EXCESS = "excess", _("more was received than the order costs")
    UNCOUNTED = "uncounted", _("money was received that does not count for the order")
    REST_OWED = "rest_owed", _("a rest is owed, but the shop does not want more money")
    REST_TOO_SMALL = "rest_too_small", _("the rest is below Stripe's minimum")
    WAIVED_RECEIVED = "waived_received", _("a waived amount was paid")
    ORDER_UNREADABLE = "order_unreadable", _("the order could not be read")
    NOTIFICATION_FAILED = "notification_failed", _("the shop's code does not accept a notification")
    UNKNOWN_INTENT = "unknown_intent", _("Stripe has a payment that is unknown here")
    INTENT_MISSING = "intent_missing", _("Stripe does not know the payment intent")
    AUTHORIZATION_EXPIRES = "authorization_expires", _("the authorization expires soon")
    REFUND_FAILED = "refund_failed", _("a refund failed")
    FRAUD_WARNING = "fraud_warning", _("the card's issuer suspects fraud")
    RADAR_REVIEW = "radar_review", _("Stripe Radar asks for a review")
    DISPUTED = "disputed", _("the customer's bank disputes the payment")
