"""What the sender has to know of each kind of write: one row an operation."""

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
        self,
        locked: LockedPayment,
        attempt: StripeAttempt,
        result: ResultT_contra,
        *,
        origin: Origin,
    ) -> bool: ...


class _End(Protocol):
    def __call__(
        self, locked: LockedPayment, attempt: StripeAttempt, why: str, *, origin: Origin
    ) -> None: ...


class _Explain(Protocol):
    def __call__(self, attempt: StripeAttempt, error: GatewayError, *, origin: Origin) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Operation(Generic[ResultT]):
    """One kind of write to Stripe."""

    call: Callable[[StripeAttempt, str], ResultT]
    """Send the attempt's parameters with an idempotency key."""

    find: Callable[[StripeAttempt], ResultT | None]
    """Look for the effect of an attempt whose answer can never be had again.

    None where it certainly had none, or where that does not matter. Raises RefundInProgress where
    nothing is certain yet, and GatewayError where Stripe could not be asked.
    """

    apply: _Apply[ResultT]
    """In the unit of work: finish the attempt and write the answer onto the rows; False where the
    rows already know something newer."""

    end: _End
    """In the unit of work, after the attempt was finished without an effect: what follows for the
    rows. ``why`` is for people; empty where nobody knows of an effect."""

    explain: _Explain
    """After a refusal: True where the caller should look again. Raises what explains the refusal
    better than ``error`` does."""

    missing_statuses: frozenset[int] = frozenset()
    """The HTTP statuses with which Stripe says that it does not know the object to be changed."""

    must_be_known: bool = False
    """Whether something depends on its effect: then it is sent again where its object is missing.

    See ADR 15: for an update or a cancellation, a late effect is harmless.
    """
