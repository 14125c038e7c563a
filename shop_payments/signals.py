"""Signals for the host shop.

They are sent after the commit: normally once, at least once after a failure. A receiver that raises
does not undo the change. ``dispatched_at`` of its fact stays empty, as it does if the process is
killed between the commit and the dispatch (``PaymentHistory.objects.undispatched()``).
``manage.py shop_payments_reconcile`` then sends the signal again, to all receivers. So a receiver
that must not act twice stores the ``fact_id`` (a UUID, the same for each repetition).

Each signal has:

``order``
    the shop's own order object;
``order_payment``
    :class:`shop_payments.models.OrderPayment`;
``payment_intent``
    :class:`shop_payments.models.PaymentIntent`; ``None`` in a ``review_needed`` that is not about
    an intent with a row (``unknown_intent``, for example);
``fact_id``
    ``uuid.UUID`` of the history row;
``data``
    the history row's dict (amounts in minor units, Stripe's codes), and ``detail``: the sentence
    that staff read, in ``LANGUAGE_CODE`` and ``TIME_ZONE``.

The sender is ``OrderPayment``.
"""

from __future__ import annotations

from django.dispatch import Signal

payment_received = Signal()
"""A payment was received that counts for the order: ``data["amount"]``. The outstanding amount is
``data["outstanding"]``."""

order_paid = Signal()
"""The order is covered for the first time: ``data["amount"]`` of ``data["total"]``. Each order has
at most one such fact."""

payment_failed = Signal()
"""A payment was declined or an authentication failed. The customer may try again."""

payment_processing = Signal()
"""A delayed payment method is processing. The order is neither paid nor payable."""

payment_authorized = Signal()
"""The money is reserved and waits for capture. The order is not paid."""

order_refunded = Signal()
"""Counted money was refunded: ``data["amount"]``. ``data["goods"]`` of it is for returned goods,
and the rest undoes a payment."""

refund_failed = Signal()
"""A refund did not reach the customer. The money is back in the shop's Stripe balance."""

dispute_opened = Signal()
"""The customer's bank disputes the payment, or only asks (an inquiry); see ``data["status"]``."""

dispute_closed = Signal()
"""A dispute was won, lost or withdrawn; see ``data["status"]``."""

review_needed = Signal()
"""A payment does not match the order, or something else needs the attention of staff."""
