"""The calls to Stripe Radar: early fraud warnings and reviews."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from shop_payments.exceptions import MalformedObject
from shop_payments.gateway.calls import (
    INTENTS,
    WITH_INTENT,
    Calls,
    page_params,
    path_of,
    stripe_call,
)
from shop_payments.gateway.reading import (
    check_intent,
    intent_in_answer,
    page_of_answer,
    reading_of,
    values_of_answer,
)
from shop_payments.gateway.results import Answer, Page, PaymentIntentResult
from shop_payments.gateway.values import id_of, moment_of, own_id, storable

_WARNING, _REVIEW = "radar.early_fraud_warning", "review"
_WARNINGS, _REVIEWS = "/v1/radar/early_fraud_warnings", "/v1/reviews"


@dataclass(frozen=True, kw_only=True)
class EarlyFraudWarningResult:
    """An early fraud warning as Stripe described it."""

    id: str
    payment_intent: str
    livemode: bool
    created_at: datetime
    actionable: bool
    fraud_type: str


@dataclass(frozen=True, kw_only=True)
class ReviewResult:
    """A Radar review as Stripe described it."""

    id: str
    payment_intent: str
    livemode: bool
    created_at: datetime
    is_open: bool
    reason: str
    request_id: str = ""
    replayed: bool = False


class RadarCalls(Calls):
    """The part of the gateway that calls Radar."""

    @stripe_call
    def list_early_fraud_warnings(self, intent_id: str) -> list[EarlyFraudWarningResult]:
        """Return all early fraud warnings of an intent, newest first.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        found = self._all(_WARNINGS, {"payment_intent": intent_id})
        return [warning_of_answer(item, intent_id=intent_id) for item in found]

    @stripe_call
    def page_of_early_fraud_warnings(
        self, *, since: datetime, until: datetime | None = None, after: str = ""
    ) -> Page[EarlyFraudWarningResult]:
        """Return one page of the account's early fraud warnings created in a period.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        page = self._get(_WARNINGS, page_params(since, after, until=until))
        return page_of_answer(page, warning_of_answer)

    @stripe_call
    def intent_of_early_fraud_warning(self, warning_id: str) -> PaymentIntentResult | None:
        """Retrieve the intent of a warning in one call; None if its charge has no intent.

        Raises:
            ObjectMissing: Stripe has no such warning under this key.
            GatewayError: see the tree in ``exceptions``.
        """
        path = path_of(_WARNINGS, warning_id)
        return intent_in_answer(self._get(path, WITH_INTENT), _WARNING)

    @stripe_call
    def list_reviews(self, intent_id: str) -> list[ReviewResult]:
        """Return the review of an intent, open or closed, in a list; the list may be empty.

        Stripe lists only open reviews, and cannot filter them by intent. So the review is read
        from the intent.

        See: https://docs.stripe.com/api/radar/reviews/list and
        https://docs.stripe.com/api/payment_intents/object (checked 2026-11)

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        intent = self._get(path_of(INTENTS, intent_id), {"expand": ["review"]})
        review = values_of_answer(intent, "payment_intent").get("review")
        if review is None:
            return []
        if not isinstance(review, Mapping):
            raise MalformedObject("not a review")
        return [review_of_answer(Answer(review), intent_id=intent_id)]

    @stripe_call
    def page_of_reviews(
        self, *, since: datetime, until: datetime | None = None, after: str = ""
    ) -> Page[ReviewResult]:
        """Return one page of the account's open reviews created in a period.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        page = self._get(_REVIEWS, page_params(since, after, until=until))
        return page_of_answer(page, review_of_answer)

    @stripe_call
    def intent_of_review(self, review_id: str) -> PaymentIntentResult | None:
        """Retrieve the intent of a review in one call; None if its charge has no intent.

        Raises:
            ObjectMissing: Stripe has no such review under this key.
            GatewayError: see the tree in ``exceptions``.
        """
        return intent_in_answer(self._get(path_of(_REVIEWS, review_id), WITH_INTENT), _REVIEW)

    @stripe_call
    def approve_review(self, review_id: str, *, idempotency_key: str) -> ReviewResult:
        """Approve a review, which closes it.

        See: https://docs.stripe.com/api/radar/reviews/approve (checked 2026-11)

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        path = path_of(_REVIEWS, review_id, "approve")
        return review_of_answer(self._post(path, {}, idempotency_key))


def warning_of_answer(warning: Answer, *, intent_id: str = "") -> EarlyFraudWarningResult:
    """Read an early fraud warning from Stripe's answer.

    Raises:
        MalformedObject: it is another object, or a warning about another intent.
    """
    values = values_of_answer(warning, _WARNING)
    with reading_of("early fraud warning"):
        check_intent(values, intent_id)
        return EarlyFraudWarningResult(
            id=own_id(values["id"]),
            payment_intent=id_of(values.get("payment_intent")),
            livemode=values["livemode"] is True,
            created_at=moment_of(values["created"]),
            actionable=values["actionable"] is True,
            fraud_type=storable(str(values.get("fraud_type") or "")),
        )


def review_of_answer(review: Answer, *, intent_id: str = "") -> ReviewResult:
    """Read a review from Stripe's answer.

    Raises:
        MalformedObject: it is another object, or a review of another intent.
    """
    values = values_of_answer(review, _REVIEW)
    with reading_of("review"):
        check_intent(values, intent_id)
        return ReviewResult(
            id=own_id(values["id"]),
            payment_intent=id_of(values.get("payment_intent")),
            livemode=values["livemode"] is True,
            created_at=moment_of(values["created"]),
            is_open=values["open"] is True,
            reason=storable(str(values.get("reason") or "")),
            request_id=review.request_id,
            replayed=review.replayed,
        )
