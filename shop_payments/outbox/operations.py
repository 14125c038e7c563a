"""The definition of an operation: all that the sender needs to know about a kind of write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from shop_payments.exceptions import GatewayError
from shop_payments.ledger.facts import Origin
from shop_payments.ledger.payments import LockedPayment
from shop_payments.models import StripeAttempt

ResultT = TypeVar("ResultT")
ResultT_contra = TypeVar("ResultT_contra", contravariant=True)


class _Apply(Protocol[ResultT_contra]):
    def __call__(
        self, locked: LockedPayment, attempt: StripeAttempt, result: ResultT_contra
    ) -> bool: ...


class _End(Protocol):
    def __call__(self, locked: LockedPayment, attempt: StripeAttempt, why: str) -> None: ...


class _Explain(Protocol):
    def __call__(self, attempt: StripeAttempt, error: GatewayError, *, origin: Origin) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Operation(Generic[ResultT]):
    """One kind of write to Stripe."""

    call: Callable[[StripeAttempt, str], ResultT]
    """Send the attempt's parameters with an idempotency key."""

    find: Callable[[StripeAttempt], ResultT | None]
    """Look for the effect of an attempt whose answer cannot be obtained any more.

    Return None if it certainly had none, or if that does not matter. Raise RefundInProgress if the
    outcome is not certain yet, and GatewayError if the request to Stripe failed.
    """

    apply: _Apply[ResultT]
    """In the unit of work: finish the attempt and apply the answer to the rows. Return False if
    the rows already hold something newer."""

    end: _End
    """In the unit of work, after the attempt was finished without an effect: update the rows.
    ``why`` is Stripe's message, or a stored code; empty if no effect was found."""

    explain: _Explain
    """After a refusal: return True if the caller should look at the payment again. Raise an error
    that explains the refusal better than ``error``, if there is one."""

    missing_statuses: frozenset[int] = frozenset()
    """The HTTP statuses with which Stripe reports that the object to change does not exist."""

    must_be_known: bool = False
    """Whether other rows depend on its effect. If so, it is sent again if its object is missing.

    See ADR 15: for an update or a cancellation, a late effect is harmless.
    """
