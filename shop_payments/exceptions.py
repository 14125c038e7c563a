"""Every exception of shop_payments, in one tree.

::

    ShopPaymentsError
    ├── ConfigurationError            a setting is missing or contradicts another
    ├── TransactionOpenError          Stripe would be called inside a database transaction
    ├── MoneyError (ValueError)
    │   ├── AmountNotRepresentable    the currency has no such amount
    │   │   └── NegativeAmount        less than 0
    │   └── InvalidCurrency           not a three-letter code
    ├── PaymentError                  the order's state forbids what was asked
    │   ├── OrderNotFound
    │   ├── OrderUnreadable           the shop's own code failed; try again
    │   ├── OrderAlreadyPaid
    │   ├── OrderNotPayable
    │   ├── PaymentProcessing
    │   ├── PaymentAuthorized
    │   ├── PaymentInReview
    │   ├── PaymentIntentInProgress
    │   ├── PaymentIntentMissing
    │   ├── UnsettledPayment          the order's payments do not cover it
    │   │   ├── PaymentNotCompleted
    │   │   └── PaymentMismatch
    │   ├── PaymentNotCapturable
    │   ├── PaymentNotCancelable
    │   ├── PaymentNotDeletable
    │   ├── OrderNotRefundable
    │   ├── EntryRefused              staff cannot record this
    │   ├── PaymentDisputed
    │   ├── RefundExceedsBalance
    │   ├── RefundInProgress
    │   ├── RefundRefused
    │   ├── ReviewClosed              a Radar review has been closed
    │   └── IdempotencyKeyReused
    ├── WebhookError
    │   ├── InvalidSignature
    │   ├── InvalidWebhookPayload
    │   └── WebhookPayloadTooLarge
    ├── EventFailed                   stored, and to be sent again
    ├── EventKnown                    inside receive_event: another delivery has stored it
    ├── SweepRunning                  another process is sweeping
    ├── EventPurged                   the payload of a stored event has been purged
    ├── ActionRefused                 a page of the admin did not carry out its action
    ├── MalformedObject               inside the gateway: not what was asked for
    └── GatewayError                  Stripe refused, failed or could not be reached
        ├── GatewayUnavailable        no answer, 5xx: the effect is unknown
        ├── GatewayBusy               429, 409: not carried out, try again
        │   └── IdempotencyKeyInUse   the same call is still running
        ├── GatewayAuthenticationError
        ├── IdempotencyMismatch       the key was used with other parameters
        ├── TargetMissing             Stripe does not know the object of a write
        ├── CardDeclined
        └── GatewayInvalidRequest
            ├── ObjectMissing         Stripe has no such object under this key
            ├── UnexpectedState       the object's status forbids the call
            ├── AmountTooSmall
            └── AmountTooLarge

Not in this tree: the exceptions of the sandbox, and those of ``api/``, which are REST framework's
and never reach a caller in Python.

No exception here carries a client secret, an API key or a request body, nor do the frames of its
traceback: see Note [Secrets in frames] in ``secrecy.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self


class Message(str):
    """The message of an error that staff may read in their own language.

    The text itself is English, whatever the active language: clients depend on it. The admin
    translates ``template`` and fills in the ``figures``.
    """

    template: str
    figures: dict[str, Any]

    def __new__(cls, template: str, **figures: Any) -> Self:
        # Without figures, a percent sign stands for itself.
        message = super().__new__(cls, template % figures if figures else template)
        message.template, message.figures = template, figures
        return message


class ShopPaymentsError(Exception):
    """Base of everything that shop_payments raises on purpose."""


class ConfigurationError(ShopPaymentsError):
    """A setting is missing or wrong; the message names the setting and the fix."""


class TransactionOpenError(ShopPaymentsError):
    """Stripe would have been called while a database transaction was open."""


class MoneyError(ShopPaymentsError, ValueError):
    """An amount or currency that cannot be used."""


class AmountNotRepresentable(MoneyError):
    """The currency cannot represent the amount; nothing was rounded."""


class NegativeAmount(AmountNotRepresentable):
    """Money is never less than 0."""


class InvalidCurrency(MoneyError):
    """The currency is not a three-letter ISO code."""


class PaymentError(ShopPaymentsError):
    """The state of the order or its payment forbids what was asked.

    ``reason`` names the exact cause if several are possible; otherwise it is empty.
    """

    def __init__(self, message: str = "", *, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class OrderNotFound(PaymentError):
    """The order does not exist, or is not this caller's. The error does not say which."""


class OrderUnreadable(PaymentError):
    """The shop's order could not be read, so nothing was derived. Try again.

    The message names the adapter's method and the order. ``reason`` is ``negative_total`` or
    ``currency_changed`` where trying again cannot help before the order is corrected.
    """

    def __init__(self, order_id: object, method: str, problem: str, *, reason: str = "") -> None:
        super().__init__(f"OrderAdapter.{method} {problem} (order {order_id})", reason=reason)
        self.order_id, self.method = order_id, method


class OrderAlreadyPaid(PaymentError):
    """The order has been paid."""


class OrderNotPayable(PaymentError):
    """The order is free, cancelled or refunded."""


class PaymentProcessing(PaymentError):
    """A delayed payment method is being processed; paying again would pay twice."""


class PaymentAuthorized(PaymentError):
    """The money is reserved and waits for capture."""


class PaymentInReview(PaymentError):
    """Staff must review the order: money does not count, or is on its way out."""


class PaymentIntentInProgress(PaymentError):
    """Another request is changing this order's intent and did not finish in time."""


class PaymentIntentMissing(PaymentError):
    """The order has no payment intent that could prove a payment."""


class UnsettledPayment(PaymentError):
    """The order's payments do not cover what it costs.

    ``view`` is the payment intent as Stripe describes it now (a ``services.IntentView``; None after
    a capture). ``outstanding`` (a decimal string) and ``payment_status`` are the order's; both are
    empty while no money has been received.
    """

    def __init__(
        self, message: str, *, view: Any = None, outstanding: str = "", payment_status: str = ""
    ) -> None:
        super().__init__(message)
        self.view = view
        self.outstanding = outstanding
        self.payment_status = payment_status


class PaymentNotCompleted(UnsettledPayment):
    """Money is still owed: Stripe has not reported that the order was paid."""


class PaymentMismatch(UnsettledPayment):
    """The intent succeeded, but its money does not count for the order."""


class PaymentNotCapturable(PaymentError):
    """The order has no authorized money, or less than the requested amount."""


class PaymentNotCancelable(PaymentError):
    """The payment can no longer be cancelled. Refund it instead."""


class PaymentNotDeletable(PaymentError):
    """The payment cannot be deleted, because money was or may have been received."""


class OrderNotRefundable(PaymentError):
    """The order has not been paid, so there is nothing to give back."""


class EntryRefused(PaymentError):
    """What staff wanted to record does not fit the order's balance."""


class PaymentDisputed(PaymentError):
    """The customer's bank holds the money; a refund now would give it back twice."""


class RefundExceedsBalance(PaymentError):
    """The amount is more than ``refundable``, what is left of the payment (a decimal string)."""

    def __init__(self, message: str, *, refundable: str, currency: str) -> None:
        super().__init__(message)
        self.refundable = refundable
        self.currency = currency


class RefundInProgress(PaymentError):
    """The same refund is being sent by another request and was not finished in time."""


class RefundRefused(PaymentError):
    """The refund, or a part of it, was refused. ``refunds`` are the rows of all parts."""

    def __init__(self, message: str, *, refunds: Sequence[Any]) -> None:
        super().__init__(message)
        self.refunds = tuple(refunds)


class IdempotencyKeyReused(PaymentError):
    """The caller's idempotency key was used before, for another refund."""


class WebhookError(ShopPaymentsError):
    """A webhook request that is not accepted; nothing was written."""


class InvalidSignature(WebhookError):
    """Stripe did not sign this body, or not recently."""


class InvalidWebhookPayload(WebhookError):
    """The body is signed but is not one of Stripe's events."""


class WebhookPayloadTooLarge(WebhookError):
    """The body is larger than ``WEBHOOK_MAX_BYTES`` and was not read."""


class EventFailed(ShopPaymentsError):
    """The event is stored but could not be processed; Stripe should send it again."""


class EventKnown(ShopPaymentsError):
    """Another delivery has stored the event. It never leaves ``receive_event``."""


class SweepRunning(ShopPaymentsError):
    """Another process is sweeping. Two at once would exceed the rate of requests to Stripe."""


class EventPurged(ShopPaymentsError):
    """The event is stored, but its payload has been purged, so it cannot be processed again."""


class ReviewClosed(PaymentError):
    """A Radar review cannot be approved: it has been closed."""


class ActionRefused(ShopPaymentsError):
    """An action of the admin was refused. The form shows the message, at ``field`` if given."""

    def __init__(self, message: str, *, field: str | None = None, same_key: bool = False) -> None:
        super().__init__(message)
        self.field = field
        self.same_key = same_key
        """Whether another try with the same idempotency key is the same try."""


class MalformedObject(ShopPaymentsError):
    """What Stripe sent is not the object that was asked for, or not all of it.

    It does not leave the gateway, which raises :class:`GatewayUnavailable` for such an answer, and
    :class:`InvalidWebhookPayload` for such an event.
    """


class GatewayError(ShopPaymentsError):
    """Stripe refused, failed, or could not be reached.

    ``code`` and ``request_id`` are Stripe's, and empty if Stripe gave none. ``http_status`` is 0 if
    there was no answer. ``replayed`` is true if Stripe returned the saved answer of the idempotency
    key instead of trying again.
    """

    retryable = False
    """Whether the same call, with the same idempotency key, may succeed later."""

    effect_unknown = False
    """Whether Stripe may have acted although the call failed."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        param: str = "",
        request_id: str = "",
        http_status: int = 0,
        replayed: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.param = param
        self.request_id = request_id
        self.http_status = http_status
        self.replayed = replayed

    @property
    def in_full(self) -> str:
        """The message with Stripe's code, status and request id, for logs and Stripe's support."""
        status = f"status {self.http_status}" if self.http_status else ""
        details = ", ".join(filter(None, [self.code, status, self.request_id]))
        return f"{self} ({details})" if details else str(self)


class GatewayUnavailable(GatewayError):
    """No answer, a broken connection or a 5xx: Stripe may or may not have acted."""

    retryable = True
    effect_unknown = True


class GatewayBusy(GatewayError):
    """Stripe has not carried out this request (429, 409); try again later.

    After a 409, ``effect_unknown`` is true: a concurrent request with the same idempotency key may
    still have its effect.
    """

    retryable = True


class IdempotencyKeyInUse(GatewayBusy):
    """Another request with the same idempotency key is still running."""

    effect_unknown = True


class GatewayAuthenticationError(GatewayError):
    """Stripe does not accept the secret key, or the key may not do this.

    ``permission`` is Stripe's name of the permission that a restricted key lacks, such as
    ``rak_refund_write``. If there are several names, any of these permissions is enough. It is
    empty if Stripe does not name one.
    """

    permission = ""


class IdempotencyMismatch(GatewayError):
    """The idempotency key was used before with other parameters."""

    effect_unknown = True


class TargetMissing(GatewayError):
    """Stripe does not know the object of a write under the key in use.

    This does not prove that the write had no effect: the key may belong to another account, and an
    earlier request with the right key may have succeeded.
    """

    retryable = True
    effect_unknown = True


class CardDeclined(GatewayError):
    """The payment method was declined (402)."""


class GatewayInvalidRequest(GatewayError):
    """Stripe refused the request as it stands (400, 404)."""


class ObjectMissing(GatewayInvalidRequest):
    """Stripe knows no such object under the key in use."""


class UnexpectedState(GatewayInvalidRequest):
    """The object's status does not allow the call (``*_unexpected_state``)."""


class AmountTooSmall(GatewayInvalidRequest):
    """Below the minimum charge of the account's settlement currency."""


class AmountTooLarge(GatewayInvalidRequest):
    """Above what Stripe charges in this currency."""
