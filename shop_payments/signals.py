"""Signals for the host shop, sent after the change is committed.

Each is sent exactly once where nothing fails. A receiver that raises undoes nothing; its fact, like
that of a process killed between commit and dispatch, keeps an empty ``dispatched_at``
(``PaymentHistory.objects.undispatched()``). ``manage.py shop_payments_reconcile`` sends it again,
to all receivers. So a receiver that must not act twice keeps the ``fact_id`` (a UUID, the same on
every repetition).

Every signal carries:

``order``
    the shop's own order object;
``order_payment``
    :class:`shop_payments.models.OrderPayment`;
``payment_intent``
    :class:`shop_payments.models.PaymentIntent`; ``None`` in a ``review_needed`` that is not about a
    known payment intent (``unknown_intent``, for example);
``fact_id``
    ``uuid.UUID`` of the history row;
``data``
    the history row's dict (amounts in minor units, Stripe's codes).

The sender is ``OrderPayment``.
"""

from __future__ import annotations

from django.dispatch import Signal

payment_received = Signal()
"""Money came that counts for the order: ``data["amount"]``. What is still missing is
``data["outstanding"]``."""

order_paid = Signal()
"""The order is covered for the first time: ``data["amount"]`` of ``data["total"]``. Sent once for
each order."""

payment_failed = Signal()
"""An attempt to pay was declined or an authentication failed; the customer may try again."""

payment_processing = Signal()
"""A delayed payment method is working; neither paid nor payable."""

payment_authorized = Signal()
"""The money is reserved and waits for capture; not paid."""

order_refunded = Signal()
"""Money that counted was given back: ``data["amount"]``, of which ``data["goods"]`` is for returned
goods and the rest undoes a payment."""

refund_failed = Signal()
"""A refund did not reach the customer; the money is back in the shop's Stripe balance."""

dispute_opened = Signal()
"""The customer's bank claims money back, or only asks (an inquiry); see ``data["status"]``."""

dispute_closed = Signal()
"""A dispute was won, lost or withdrawn; see ``data["status"]``."""

review_needed = Signal()
"""Money came that does not fit the order, or something else needs somebody's attention."""
