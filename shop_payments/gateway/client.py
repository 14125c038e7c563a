"""The calls to Stripe that the app makes, guarded and typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import stripe

from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway.calls import (
    INTENTS,
    PAGE_SIZE,
    WITH_INTENT,
    created_within,
    page_params,
    path_of,
    stripe_call,
)
from shop_payments.gateway.radar import RadarCalls
from shop_payments.gateway.reading import (
    balance_transaction_of_answer,
    dispute_of_answer,
    intent_in_answer,
    intent_of_answer,
    page_of_answer,
    refund_of_answer,
)
from shop_payments.gateway.results import (
    BalanceTransactionResult,
    DisputeResult,
    EventResult,
    Page,
    PaymentIntentResult,
    RefundResult,
)
from shop_payments.gateway.setup import SetupCalls
from shop_payments.gateway.webhooks import events_of_answer

_EVENTS, _REFUNDS, _DISPUTES = "/v1/events", "/v1/refunds", "/v1/disputes"
_BALANCE_TRANSACTIONS = "/v1/balance_transactions"


class Gateway(RadarCalls, SetupCalls):
    """Stripe's API under one secret key. Build it with :func:`get_gateway`."""

    def __init__(self, client: stripe.StripeClient, *, livemode: bool) -> None:
        super().__init__(client)
        self.livemode = livemode

    @stripe_call
    def create_payment_intent(
        self, params: Mapping[str, Any], *, idempotency_key: str
    ) -> PaymentIntentResult:
        """Create a payment intent with exactly ``params`` (amounts in minor units).

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        intent = self._post(INTENTS, params, idempotency_key)
        return intent_of_answer(intent, attempt_id=_attempt_id(params))

    @stripe_call
    def update_payment_intent(
        self, intent_id: str, params: Mapping[str, Any], *, idempotency_key: str
    ) -> PaymentIntentResult:
        """Update a payment intent with exactly ``params`` (amounts in minor units).

        Raises:
            UnexpectedState: the intent's status does not allow it.
            ObjectMissing: Stripe has no such intent under this key.
            GatewayError: see the tree in ``exceptions``.
        """
        return self._change(intent_id, "", params, idempotency_key)

    @stripe_call
    def retrieve_payment_intent(self, intent_id: str) -> PaymentIntentResult:
        """Retrieve a payment intent with its latest charge.

        Raises:
            ObjectMissing: Stripe has no such intent under this key.
            GatewayError: see the tree in ``exceptions``.
        """
        with_charge = self._get(path_of(INTENTS, intent_id), {"expand": ["latest_charge"]})
        return intent_of_answer(with_charge, intent_id=intent_id)

    @stripe_call
    def confirm_payment_intent(
        self, intent_id: str, *, payment_method: str, idempotency_key: str
    ) -> PaymentIntentResult:
        """Confirm a payment intent with a payment method, as a browser does. Test mode only.

        Raises:
            ConfigurationError: the key is not a test key.
            CardDeclined: the payment method was declined.
            GatewayError: see the tree in ``exceptions``.
        """
        if self.livemode:
            raise ConfigurationError("Test payments need a test key (sk_test_… or rk_test_…)")
        params = {"payment_method": payment_method}
        return self._change(intent_id, "confirm", params, idempotency_key)

    @stripe_call
    def capture_payment_intent(
        self, intent_id: str, params: Mapping[str, Any], *, idempotency_key: str
    ) -> PaymentIntentResult:
        """Capture all of the authorized money, or ``amount_to_capture`` (minor units) of it.

        Raises:
            UnexpectedState: the intent's status does not allow it.
            GatewayError: see the tree in ``exceptions``.
        """
        return self._change(intent_id, "capture", params, idempotency_key)

    @stripe_call
    def cancel_payment_intent(
        self, intent_id: str, params: Mapping[str, Any], *, idempotency_key: str
    ) -> PaymentIntentResult:
        """Cancel a payment intent, which can then never take money.

        Raises:
            UnexpectedState: the intent's status does not allow it.
            GatewayError: see the tree in ``exceptions``.
        """
        return self._change(intent_id, "cancel", params, idempotency_key)

    @stripe_call
    def create_refund(self, params: Mapping[str, Any], *, idempotency_key: str) -> RefundResult:
        """Create a refund with exactly ``params`` (``amount`` in minor units).

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        refund = self._post(_REFUNDS, params, idempotency_key)
        return refund_of_answer(
            refund, intent_id=params["payment_intent"], attempt_id=_attempt_id(params)
        )

    @stripe_call
    def list_refunds(self, intent_id: str) -> list[RefundResult]:
        """Return all refunds of an intent, newest first, including those made in the dashboard.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        found = self._all(_REFUNDS, {"payment_intent": intent_id})
        return [refund_of_answer(item, intent_id=intent_id) for item in found]

    @stripe_call
    def intent_of_refund(self, refund_id: str) -> PaymentIntentResult | None:
        """Retrieve the intent of a refund in one call; None if its charge has no intent.

        Raises:
            ObjectMissing: Stripe has no such refund under this key.
            GatewayError: see the tree in ``exceptions``.
        """
        return intent_in_answer(self._get(path_of(_REFUNDS, refund_id), WITH_INTENT), "refund")

    @stripe_call
    def intent_of_dispute(self, dispute_id: str) -> PaymentIntentResult | None:
        """Retrieve the intent of a dispute in one call; None if its charge has no intent.

        Raises:
            ObjectMissing: Stripe has no such dispute under this key.
            GatewayError: see the tree in ``exceptions``.
        """
        return intent_in_answer(self._get(path_of(_DISPUTES, dispute_id), WITH_INTENT), "dispute")

    @stripe_call
    def list_disputes(self, intent_id: str) -> list[DisputeResult]:
        """Return all disputes of an intent, newest first.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        found = self._all(_DISPUTES, {"payment_intent": intent_id})
        return [dispute_of_answer(item, intent_id=intent_id) for item in found]

    @stripe_call
    def page_of_balance_transactions(
        self, *, since: datetime, until: datetime | None = None, after: str = ""
    ) -> Page[BalanceTransactionResult]:
        """Return one page of the account's balance transactions created in a period.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        page = self._get(_BALANCE_TRANSACTIONS, page_params(since, after, until=until))
        return page_of_answer(page, balance_transaction_of_answer)

    @stripe_call
    def page_of_payment_intents(
        self, *, since: datetime, until: datetime | None = None, after: str = ""
    ) -> Page[PaymentIntentResult]:
        """Return one page of the account's payment intents created in a period.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        # The charge holds the time at which an authorization expires.
        params = {**page_params(since, after, until=until), "expand": ["data.latest_charge"]}
        page = self._get(INTENTS, params)
        return page_of_answer(page, intent_of_answer)

    @stripe_call
    def page_of_refunds(
        self, *, since: datetime, until: datetime | None = None, after: str = ""
    ) -> Page[RefundResult]:
        """Return one page of the account's refunds created in a period.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        page = self._get(_REFUNDS, page_params(since, after, until=until))
        return page_of_answer(page, refund_of_answer)

    @stripe_call
    def page_of_disputes(
        self, *, since: datetime, until: datetime | None = None, after: str = ""
    ) -> Page[DisputeResult]:
        """Return one page of the account's disputes created in a period.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        page = self._get(_DISPUTES, page_params(since, after, until=until))
        return page_of_answer(page, dispute_of_answer)

    @stripe_call
    def newest_event(self, *, types: Sequence[str]) -> str:
        """Return the id of the account's newest event of these types; empty if there is none.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        page = self._get(_EVENTS, {"types": [*types], "limit": 1})
        return next((event.id for event in events_of_answer(page).items), "")

    @stripe_call
    def events_after(self, event_id: str, *, types: Sequence[str]) -> Page[EventResult]:
        """Return up to 100 events of these types that are newer than an event, oldest first.

        Stripe keeps events for 30 days, and takes at most 20 types.
        See: https://docs.stripe.com/webhooks/process-undelivered-events,
        https://docs.stripe.com/api/events/list (checked 2026-11)

        Raises:
            GatewayInvalidRequest: Stripe does not know ``event_id`` (any more).
            GatewayError: see the tree in ``exceptions``.
        """
        params = {"types": [*types], "limit": PAGE_SIZE, "ending_before": event_id}
        return events_of_answer(self._get(_EVENTS, params))

    @stripe_call
    def find_created_intent(
        self, attempt_id: str, *, since: datetime, until: datetime
    ) -> PaymentIntentResult | None:
        """Find the intent whose metadata carries ``attempt_id`` by listing, newest first.

        Listing and not searching: Stripe's search lags by a minute and more. ``since`` and
        ``until`` bound the time of creation; without a time zone (``USE_TZ = False``) they are in
        the project's.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        found = self._all(INTENTS, {"created": created_within(since, until)})
        intents = map(intent_of_answer, found)
        return next(
            (intent for intent in intents if intent.metadata.get("attempt_id") == attempt_id), None
        )

    def _change(
        self, intent_id: str, action: str, params: Mapping[str, Any], idempotency_key: str
    ) -> PaymentIntentResult:
        path = path_of(INTENTS, intent_id, action)
        return intent_of_answer(self._post(path, params, idempotency_key), intent_id=intent_id)


def _attempt_id(params: Mapping[str, Any]) -> str:
    """Return the attempt id in the metadata, which only the object of this attempt has."""
    return str(params.get("metadata", {}).get("attempt_id", ""))
