"""Stripe Radar: early fraud warnings and reviews."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import stripe

from shop_payments.gateway.calls import PAGE_SIZE, page_params, stripe_call
from shop_payments.gateway.reading import (
    all_pages,
    check_intent,
    intent_in_answer,
    page_of_answer,
    reading_of,
    values_of_answer,
)
from shop_payments.gateway.results import Page, PaymentIntentResult
from shop_payments.gateway.values import id_of, moment_of, own_id, storable

_WARNING, _REVIEW = "radar.early_fraud_warning", "review"
_WITH_INTENT: Any = {"expand": ["payment_intent.latest_charge"]}


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


class RadarCalls:
    """The part of the gateway that calls Radar."""

    _client: stripe.StripeClient

    @stripe_call
    def list_early_fraud_warnings(self, intent_id: str) -> list[EarlyFraudWarningResult]:
        """Return all early fraud warnings of an intent, newest first.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        params: Any = {"payment_intent": intent_id, "limit": PAGE_SIZE}
        page = self._client.v1.radar.early_fraud_warnings.list(params)
        return [warning_of_answer(item, intent_id=intent_id) for item in all_pages(page)]

    @stripe_call
    def page_of_early_fraud_warnings(
        self, *, since: datetime, until: datetime | None = None, after: str = ""
    ) -> Page[EarlyFraudWarningResult]:
        """Return one page of the account's warnings that were created in a span of time.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        params = cast("Any", page_params(since, after, until=until))
        page = self._client.v1.radar.early_fraud_warnings.list(params)
        return page_of_answer(page, warning_of_answer)

    @stripe_call
    def intent_of_early_fraud_warning(self, warning_id: str) -> PaymentIntentResult | None:
        """Fetch the intent of a warning, in one call; None where it is about a charge alone.

        Raises:
            ObjectMissing: Stripe does not know the warning under this key.
            GatewayError: see the tree in ``exceptions``.
        """
        warnings = self._client.v1.radar.early_fraud_warnings
        return intent_in_answer(warnings.retrieve(warning_id, _WITH_INTENT), _WARNING)

    @stripe_call
    def list_reviews(self, intent_id: str) -> list[ReviewResult]:
        """Return the review of an intent, open or closed, if there is one.

        Stripe's list has only open reviews, and cannot be filtered by the intent. The intent
        names its review.

        See: https://docs.stripe.com/api/radar/reviews/list and
        https://docs.stripe.com/api/payment_intents/object (checked 2026-11)

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        expanded: Any = {"expand": ["review"]}
        intent: Any = self._client.v1.payment_intents.retrieve(intent_id, expanded)
        review = getattr(intent, "review", None)
        return [] if review is None else [review_of_answer(review, intent_id=intent_id)]

    @stripe_call
    def page_of_reviews(
        self, *, since: datetime, until: datetime | None = None, after: str = ""
    ) -> Page[ReviewResult]:
        """Return one page of the account's open reviews that were created in a span of time.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        params = cast("Any", page_params(since, after, until=until))
        return page_of_answer(self._client.v1.reviews.list(params), review_of_answer)

    @stripe_call
    def intent_of_review(self, review_id: str) -> PaymentIntentResult | None:
        """Fetch the intent of a review, in one call; None where it is about a charge alone.

        Raises:
            ObjectMissing: Stripe does not know the review under this key.
            GatewayError: see the tree in ``exceptions``.
        """
        return intent_in_answer(self._client.v1.reviews.retrieve(review_id, _WITH_INTENT), _REVIEW)

    @stripe_call
    def approve_review(self, review_id: str, *, idempotency_key: str) -> ReviewResult:
        """Approve a review, which closes it.

        See: https://docs.stripe.com/api/radar/reviews/approve (checked 2026-11)

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        options: Any = {"idempotency_key": idempotency_key}
        return review_of_answer(self._client.v1.reviews.approve(review_id, {}, options))


def warning_of_answer(warning: Any, *, intent_id: str = "") -> EarlyFraudWarningResult:
    """Read an early fraud warning that Stripe has answered with.

    Raises:
        MalformedObject: it is something else, or of another intent.
    """
    values, _request_id, _replayed = values_of_answer(warning, _WARNING)
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


def review_of_answer(review: Any, *, intent_id: str = "") -> ReviewResult:
    """Read a review that Stripe has answered with.

    Raises:
        MalformedObject: it is something else, or of another intent.
    """
    values, request_id, replayed = values_of_answer(review, _REVIEW)
    with reading_of("review"):
        check_intent(values, intent_id)
        return ReviewResult(
            id=own_id(values["id"]),
            payment_intent=id_of(values.get("payment_intent")),
            livemode=values["livemode"] is True,
            created_at=moment_of(values["created"]),
            is_open=values["open"] is True,
            reason=storable(str(values.get("reason") or "")),
            request_id=request_id,
            replayed=replayed,
        )
