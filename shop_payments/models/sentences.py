"""The sentences that staff read, in the language of the reader.

Note [Codes and figures]
~~~~~~~~~~~~~~~~~~~~~~~~
No sentence of ours is stored. The rows hold the code of a sentence with its figures: amounts in
minor units with their currency, ids and codes of Stripe, and times with their zone. A sentence is
made when it is displayed. To add one, add its entry to the table. Sentences name amounts, not ids:
the pages show the ids in their own columns.

Only what others wrote is stored as text: ``message`` and ``failure_reason`` (Stripe, or staff who
gave a refund up), ``error`` (the shop's code), and ``note`` (staff).

A code that is not in the table was written by a newer version. It is displayed with its figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.exceptions import MoneyError
from shop_payments.lifecycle import DisputeState
from shop_payments.models.codes import FactKind, ReviewReason
from shop_payments.models.words import (
    amount_words,
    describe_moment,
    describe_status,
    describe_unreadable,
    humanize,
)

Figures = Mapping[str, Any]

REST_WAIVED = "rest_waived"
CAPTURED_AGAIN = "captured_again"
NOT_AT_STRIPE = "not_at_stripe"
GIVEN_UP = "given_up"


# --- sentences that depend on their figures -----------------------------------------------------


def _payment_failed(figures: Figures) -> str:
    # Stripe's message is written for the customer.
    code = figures["decline_code"] or figures["code"]
    if not figures["message"]:
        return humanize(code)
    return _fill(gettext('"%(message)s" (%(why)s)'), figures, why=humanize(code))


def _status(figures: Figures) -> str:
    return describe_status(figures["intent_status"])


def _refund_failed(figures: Figures) -> str:
    text = gettext("%(amount)s could not be refunded")
    if figures["failure_reason"]:
        text = gettext("%(amount)s could not be refunded: %(failure_reason)s")
    return _fill(text, figures)


def _dispute(figures: Figures) -> str:
    text = gettext("%(amount)s disputed by the customer's bank")
    if figures["dispute_reason"]:
        text = gettext("%(amount)s disputed by the customer's bank (%(dispute_reason)s)")
    return _fill(text, figures)


def _dispute_moved(figures: Figures) -> str:
    return _fill(gettext("%(status)s: %(dispute)s"), figures, dispute=_dispute(figures))


def _disputed(figures: Figures) -> str:
    dispute = _dispute(figures)
    if not figures["evidence_due_at"]:
        return dispute
    return _fill(gettext("%(dispute)s; answer until %(evidence_due_at)s"), figures, dispute=dispute)


def _notification_skipped(figures: Figures) -> str:
    kind = _label(FactKind, figures["fact_kind"])
    return _fill(gettext("%(kind)s: %(note)s"), figures, kind=kind)


def _uncounted(text: Promise) -> Callable[[Figures], str]:
    """Return a sentence about money that does not count, of which a part may be returned."""

    def write(figures: Figures) -> str:
        received = gettext("%(amount_received)s received")
        if figures["amount"] != figures["amount_received"]:
            received = gettext(
                "%(amount_received)s received, of which %(amount)s has not been returned"
            )
        return _fill(text, figures, received=_fill(received, figures))

    return write


def _unknown_intent(figures: Figures) -> str:
    status = describe_status(figures["status"])
    text = gettext("A payment of %(amount_asked)s names this order; its status is %(meaning)s")
    clauses = [_fill(text, figures, meaning=status)]
    if figures["amount"]:
        clauses.append(_fill(gettext("%(amount)s received"), figures))
    if figures["amount_refunded"]:
        clauses.append(_fill(gettext("%(amount_refunded)s refunded"), figures))
    if figures["is_disputed"]:
        clauses.append(gettext("disputed by the customer's bank"))
    return ", ".join(clauses)


def _without_detail(figures: Figures) -> str:
    return ""


def _order_unreadable(figures: Figures) -> str:
    # Rows of earlier versions only have the message, which is for developers.
    return describe_unreadable(figures.get("method", ""), figures.get("cause", ""))


_FAILURES = {
    "ConfigurationError": _("The shop's settings are wrong"),
    "GatewayAuthenticationError": _("Stripe does not accept the shop's secret key"),
    "GatewayBusy": _("Stripe was busy"),
    "GatewayUnavailable": _("Stripe has not answered"),
    "ObjectMissing": _("Stripe does not know the object of the event"),
    "OrderUnreadable": _("The shop's code failed while reading the order"),
    "PaymentIntentInProgress": _("Another request was changing the payment"),
    "PaymentIntentMissing": _("Stripe does not know the object of the event"),
}
"""What went wrong with an event, by the type of the error."""


def _event_failed(figures: Figures) -> str:
    text = _FAILURES.get(figures["error"])
    return gettext("An unexpected error occurred") if text is None else str(text)


# --- the table ----------------------------------------------------------------------------------

_RECEIVED = _("%(amount)s received")
_MISSING = _("Stripe does not know the payment under the key in use")

SENTENCES: dict[str, Promise | Callable[[Figures], str]] = {
    # Facts, by their kind.
    "intent_created": _("%(amount)s"),
    "intent_updated": _("%(amount)s"),
    "status_changed": _status,
    "intent_missing": _MISSING,  # also a review item
    "payment_failed": _payment_failed,
    "payment_processing": _status,
    "payment_authorized": _status,
    "payment_received": _RECEIVED,
    "order_paid": _("%(amount_received)s received"),
    "capture_requested": _("%(amount)s"),
    "cancel_requested": _without_detail,
    "refund_requested": _("%(amount)s requested"),
    "refund_changed": _("%(amount)s: %(status)s"),
    "order_refunded": _("%(amount)s refunded"),
    "refund_failed": _refund_failed,  # also a review item
    "dispute_opened": _dispute,
    "dispute_changed": _dispute_moved,
    "dispute_closed": _dispute_moved,
    "review_closed": _("%(reason)s"),
    "amount_waived": _("%(amount)s"),
    "settled_outside_stripe": _("%(amount)s"),
    "notification_skipped": _notification_skipped,
    # Facts whose kind has several sentences.
    "refund_refused": _("%(amount)s refused: %(failure_reason)s"),
    "unknown_intent_accepted": _("%(reason)s: accepted"),
    "waived_with_capture": _("%(amount)s, if the payment is captured in part"),
    "waiver_revoked": _("%(amount)s waived"),
    "settlement_revoked": _("%(amount)s settled outside Stripe"),
    # Review items: by their reason, or by one of several causes.
    "excess": _(
        "%(amount_received)s received; the order costs %(total)s, so %(amount)s is too much"
    ),
    "excess_over_remainder": _(
        "The shop's code seems to report what is left to pay, not what the order costs in all:"
        " %(amount_received)s received; the order costs %(total)s, so %(amount)s is too much"
    ),
    "uncounted_in_test_mode": _uncounted(
        _("%(received)s in test mode, but the key in use is for live mode")
    ),
    "uncounted_after_cancellation": _uncounted(
        _("%(received)s, and then the payment intent was cancelled")
    ),
    "uncounted_in_other_currency": _uncounted(
        _("%(received)s, but the order costs %(order_total)s")
    ),
    "uncounted_unwanted": _uncounted(_("%(received)s, but the shop wants no money for the order")),
    "rest_owed": _(
        "%(paid)s received and %(amount)s owed, but the shop wants no more money: refund or waive"
    ),
    "rest_too_small": _("%(outstanding)s is owed, which is below Stripe's minimum"),
    "waived_received": _("%(amount)s received, although it had been waived"),
    "order_unreadable": _order_unreadable,
    "notification_failed": _(
        "The shop's code did not accept the notification “%(fact_kind)s” (failed tries:"
        " %(failures)s)"
    ),
    "unknown_intent": _unknown_intent,
    "authorization_expires": _("%(amount)s is reserved until %(capture_before)s"),
    "fraud_warning": _("The card's issuer suspects fraud (%(fraud_type)s)"),
    "radar_review": _("Stripe Radar asks for a review of this payment (%(review_reason)s)"),
    "disputed": _disputed,
    # Why an item was closed.
    "closed_by_staff": _("%(note)s"),
    "cause_gone": _("Its cause no longer exists"),
    "order_readable": _("The order can be read again"),
    "money_returned": _("The money was returned in another way"),
    "notification_accepted": _("The shop's code has accepted the notification"),
    "skipped": _("Skipped: %(note)s"),
    "status_at_stripe": _("Stripe: %(status)s"),
    "warning_settled": _("Stripe: the payment was refunded in full or disputed"),
    "intent_found": _("Stripe knows the payment again"),
    "intent_status": _("Payment status: %(intent_status)s"),  # also of an event
    "intent_without_money": _("Payment status: %(intent_status)s, without money"),
    "intent_accepted": _("The payment was accepted"),
    "intent_renamed": _("The payment no longer names this order"),
    "intent_known": _("The payment is known here"),
    # What came of an event.
    "not_ours": _("not one of this shop's payment intents"),
    "other_mode": _("from Stripe's other mode (test or live)"),
    "connected_account": _("from a connected account"),
    "unused_type": _("events of this type are not needed"),
    "intent_looked_up": _("the payment was looked up"),
    "objects_looked_up": _("looked up for the payment: %(objects)s"),
    "staff_asked": _("the payment is not known here; staff are asked about it"),
    "staff_not_asked": _("the payment is not known here; staff need not be asked"),
    "event_failed": _event_failed,
    "event_unreadable": _("The event could not be read"),
    # What the app writes where staff or Stripe give a reason.
    REST_WAIVED: _("The rest was waived with the capture."),
    CAPTURED_AGAIN: _("It was captured again, and the rest is still owed."),
    NOT_AT_STRIPE: _("Stripe had no such refund a day after it was requested"),
    GIVEN_UP: _("given up by staff: %(note)s"),
}
"""The sentences by their codes. A code is stored, so it is never given another meaning."""

SUGGESTIONS: dict[str, Promise] = {
    "excess": _("Refund %(amount)s."),
    "excess_over_remainder": _(
        "If this is the case, ask the shop's developers to correct the code. Otherwise refund "
        "%(amount)s."
    ),
    "uncounted_in_test_mode": _(
        "No real money was received. Settle the payment outside Stripe, and write this as the "
        "reason."
    ),
    "uncounted_after_cancellation": _(
        "Refund %(amount)s and let the customer pay again. If the shop keeps the money, settle "
        "it outside Stripe, and write the reason."
    ),
    "uncounted_in_other_currency": _("Refund %(amount)s and let the customer pay again."),
    "uncounted_unwanted": _("Refund %(amount)s, or open the order again. Then the money counts."),
    "rest_owed": _("Refund what was received, or waive what is owed."),
    "rest_too_small": _("Waive the rest, because Stripe does not charge such a small amount."),
    "waived_received": _(
        "The money is kept. You can revoke the waiver, or refund the amount that the customer "
        "paid too much."
    ),
    "order_unreadable": _(
        "Correct the order, or ask the shop's developers. The payment is then evaluated again"
        " automatically."
    ),
    "notification_failed": _(
        "Later notifications wait for this one. Ask the shop's developers to correct the code. "
        "The notification is then sent again automatically. Or do manually what the code would "
        "have done, and skip this notification."
    ),
    "unknown_intent": _(
        "Accept the payment if this shop took it from the order's customer, for example before a"
        " backup was restored. Dismiss it if another installation with the same Stripe account"
        " created it. Until then, the customer is not asked for money."
    ),
    "intent_missing": _(
        "Ask the shop's operator to check that STRIPE_SECRET_KEY belongs to the account that "
        "took the payment. Close this item only if it does, or if that account takes no more "
        "money. The order then gets a new payment."
    ),
    "authorization_expires": _("Capture the payment now, or cancel it."),
    "refund_failed": _(
        "The money is back in the Stripe balance. Agree with the customer on another way to return"
        " it, then close this item."
    ),
    "fraud_warning": _(
        "Refund the payment as fraudulent before it is disputed, and do not ship the goods. If "
        "you know and trust the customer, close this item."
    ),
    "radar_review": _(
        "Approve the payment, or refund it as fraudulent. Do not ship the goods before that."
    ),
    "disputed": _(
        "Answer the dispute with evidence in Stripe's dashboard before the deadline, or accept "
        "the loss there."
    ),
}
"""What staff can do, by the code of the review item's sentence."""


# --- display ------------------------------------------------------------------------------------


def render(code: str, figures: Figures) -> str:
    """Return the sentence of ``code`` in the active language and the current time zone.

    Never raises: see Note [Codes and figures].
    """
    entry = SENTENCES.get(code)
    if entry is None:
        return _raw(code, figures)
    try:
        return entry(figures) if callable(entry) else _fill(entry, figures)
    except _UNREADABLE:
        return _raw(code, figures)


def render_stored(data: Figures) -> str:
    """Return the sentence whose code is stored among its figures; empty if there is none."""
    return render(data["sentence"], data) if data.get("sentence") else ""


def suggest(code: str, figures: Figures) -> str:
    """Return what staff can do about the review item with the sentence ``code``."""
    text = SUGGESTIONS.get(code)
    if text is None:
        return ""
    if figures.get("dispute_state") == DisputeState.LOST:
        # See: https://docs.stripe.com/error-codes (charge_disputed; checked 2026-11)
        return gettext(
            "Stripe does not refund a payment that was lost in a dispute: return the money in"
            " another way and settle it outside Stripe."
        )
    try:
        suggestion = _fill(text, figures)
    except _UNREADABLE:
        return ""
    if figures.get("dispute_state") == DisputeState.OPEN:
        wait = gettext(
            "Wait until the customer's bank has decided: a disputed payment cannot be refunded."
        )
        return f"{wait} {suggestion}"
    return suggestion


def describe_refusal(stored: str) -> str:
    """Return why a refund failed or was not made, given ``Refund.failure_reason``."""
    code, _colon, note = stored.partition(": ")
    if code in (NOT_AT_STRIPE, GIVEN_UP):
        return render(code, {"note": note})
    # A message of Stripe is shown as it is, and may name a parameter.
    return stored if " " in stored else humanize(stored)


def describe_reason(stored: str) -> str:
    """Return what staff wrote, or the sentence of a code that the app has stored in its place."""
    return render(stored, {}) if stored in (REST_WAIVED, CAPTURED_AGAIN) else stored


_UNREADABLE = (AttributeError, LookupError, MoneyError, OverflowError, TypeError, ValueError)
"""What is raised for figures of a newer version, and for a wrong placeholder of a translation."""


def _raw(code: str, figures: Figures) -> str:
    shown = [f"{name}={value}" for name, value in figures.items() if name != "sentence"]
    return f"{code} ({', '.join(shown)})" if shown else code


def _fill(text: str | Promise, figures: Figures, **ready: str) -> str:
    """Return ``text`` with the figures in the places of their names; ``ready`` are texts."""
    return str(text) % _Shown(figures, ready)


def _label(choices: type[FactKind] | type[ReviewReason], code: str) -> str:
    """Return the label of a code, in the active language; the code itself if it is not known."""
    return str(choices(code).label) if code in choices.values else code


_AMOUNTS = {
    "amount": "currency",
    "amount_asked": "currency",
    "amount_received": "currency",
    "amount_refunded": "currency",
    "outstanding": "currency",
    "paid": "currency",
    "total": "currency",
    "order_total": "order_currency",
}
"""The figures that are amounts, each with the figure that is its currency."""

_FORMATS: dict[str, Callable[[Any], str]] = {
    "capture_before": describe_moment,
    "dispute_reason": humanize,
    "evidence_due_at": describe_moment,
    "fact_kind": lambda code: _label(FactKind, code),
    "failure_reason": describe_refusal,
    "fraud_type": humanize,
    "intent_status": humanize,
    "objects": humanize,
    "reason": lambda code: _label(ReviewReason, code),
    "review_reason": humanize,
    "status": humanize,
}
"""How other figures are displayed. Those that are not named here are displayed as they are."""


class _Shown:
    """Figures as text. Each is formatted when a sentence names it."""

    def __init__(self, figures: Figures, ready: Mapping[str, str]) -> None:
        self._figures, self._ready = figures, ready

    def __getitem__(self, name: str) -> str:
        if name in self._ready:
            return self._ready[name]
        value = self._figures[name]
        if name in _AMOUNTS:
            return amount_words(value, self._figures[_AMOUNTS[name]])
        return _FORMATS.get(name, str)(value)
