"""Stripe's calls that we make, guarded and typed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

import stripe

from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway.calls import PAGE_SIZE, created_within, page_params, stripe_call
from shop_payments.gateway.radar import RadarCalls
from shop_payments.gateway.reading import (
    all_pages,
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
    Page,
    PaymentIntentResult,
    RefundResult,
)

_WITH_INTENT: Any = {"expand": ["payment_intent.latest_charge"]}


class Gateway(RadarCalls):
    """Stripe's API under one secret key. Build it with :func:`get_gateway`."""

    def __init__(self, client: stripe.StripeClient, *, livemode: bool) -> None:
        self._client = client
        self._intents = client.v1.payment_intents
        self._refunds = client.v1.refunds
        self._disputes = client.v1.disputes
        self._balance_transactions = client.v1.balance_transactions
        self.livemode = livemode

    @stripe_call
    def create_payment_intent(
        self, params: Mapping[str, Any], *, idempotency_key: str
    ) -> PaymentIntentResult:
        """Create an intent with exactly ``params`` (amounts in minor units).

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        intent = self._intents.create(
            cast("Any", dict(params)), {"idempotency_key": _required(idempotency_key)}
        )
        return intent_of_answer(intent, attempt_id=_attempt_id(params))

    @stripe_call
    def update_payment_intent(
        self, intent_id: str, params: Mapping[str, Any], *, idempotency_key: str
    ) -> PaymentIntentResult:
        """Change an intent.

        Raises:
            UnexpectedState: its status forbids it.
            ObjectMissing: Stripe does not know it.
            GatewayError: see the tree in ``exceptions``.
        """
        return _change(self._intents.update, intent_id, params, idempotency_key)

    @stripe_call
    def retrieve_payment_intent(self, intent_id: str) -> PaymentIntentResult:
        """Fetch an intent as it is now, and with it how long an authorization holds.

        Raises:
            ObjectMissing: Stripe does not know it under this key.
            GatewayError: see the tree in ``exceptions``.
        """
        with_charge = self._intents.retrieve(intent_id, {"expand": ["latest_charge"]})
        return intent_of_answer(with_charge, intent_id=intent_id)

    @stripe_call
    def confirm_payment_intent(
        self, intent_id: str, *, payment_method: str, idempotency_key: str
    ) -> PaymentIntentResult:
        """Pay an intent with a payment method, as a customer's browser would. Test mode only.

        Raises:
            ConfigurationError: the key is not a test key.
            CardDeclined: the payment method was declined.
            GatewayError: see the tree in ``exceptions``.
        """
        if self.livemode:
            raise ConfigurationError("Test payments need a test key (sk_test_… or rk_test_…)")
        params = {"payment_method": payment_method}
        return _change(self._intents.confirm, intent_id, params, idempotency_key)

    @stripe_call
    def capture_payment_intent(
        self, intent_id: str, params: Mapping[str, Any], *, idempotency_key: str
    ) -> PaymentIntentResult:
        """Take the authorized money, or with ``amount_to_capture`` (minor units) a part of it.

        Raises:
            UnexpectedState: its status forbids it.
            GatewayError: see the tree in ``exceptions``.
        """
        return _change(self._intents.capture, intent_id, params, idempotency_key)

    @stripe_call
    def cancel_payment_intent(
        self, intent_id: str, params: Mapping[str, Any], *, idempotency_key: str
    ) -> PaymentIntentResult:
        """Close an intent, so that it can never take money.

        Raises:
            UnexpectedState: its status forbids it.
            GatewayError: see the tree in ``exceptions``.
        """
        return _change(self._intents.cancel, intent_id, params, idempotency_key)

    @stripe_call
    def create_refund(self, params: Mapping[str, Any], *, idempotency_key: str) -> RefundResult:
        """Give money back, with exactly ``params`` (``amount`` in minor units).

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        refund: Any = self._refunds.create(
            cast("Any", dict(params)), {"idempotency_key": _required(idempotency_key)}
        )
        return refund_of_answer(
            refund, intent_id=params["payment_intent"], attempt_id=_attempt_id(params)
        )

    @stripe_call
    def list_refunds(self, intent_id: str) -> list[RefundResult]:
        """Return all refunds of an intent, newest first, those made elsewhere included.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        page: Any = self._refunds.list({"payment_intent": intent_id, "limit": PAGE_SIZE})
        return [refund_of_answer(item, intent_id=intent_id) for item in all_pages(page)]

    @stripe_call
    def intent_of_refund(self, refund_id: str) -> PaymentIntentResult | None:
        """Fetch the intent that a refund is of, in one call; None where it is of a charge alone.

        Raises:
            ObjectMissing: Stripe does not know the refund under this key.
            GatewayError: see the tree in ``exceptions``.
        """
        return intent_in_answer(self._refunds.retrieve(refund_id, _WITH_INTENT), "refund")

    @stripe_call
    def intent_of_dispute(self, dispute_id: str) -> PaymentIntentResult | None:
        """Fetch the intent that a dispute is of, in one call; None where it is of a charge alone.

        Raises:
            ObjectMissing: Stripe does not know the dispute under this key.
            GatewayError: see the tree in ``exceptions``.
        """
        return intent_in_answer(self._disputes.retrieve(dispute_id, _WITH_INTENT), "dispute")

    @stripe_call
    def list_disputes(self, intent_id: str) -> list[DisputeResult]:
        """Return all disputes of an intent, newest first.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        page: Any = self._disputes.list({"payment_intent": intent_id, "limit": PAGE_SIZE})
        return [dispute_of_answer(item, intent_id=intent_id) for item in all_pages(page)]

    @stripe_call
    def page_of_balance_transactions(
        self, *, since: datetime, until: datetime | None = None, after: str = ""
    ) -> Page[BalanceTransactionResult]:
        """Return one page of the movements on the balance in a span of time.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        params = page_params(since, after, until=until)
        page = self._balance_transactions.list(cast("Any", params))
        return page_of_answer(page, balance_transaction_of_answer)

    @stripe_call
    def page_of_payment_intents(
        self, *, since: datetime, until: datetime | None = None, after: str = ""
    ) -> Page[PaymentIntentResult]:
        """Return one page of the account's intents that were created in a span of time.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        # With the charge, as one that is fetched: it knows when an authorization lapses.
        params = {**page_params(since, after, until=until), "expand": ["data.latest_charge"]}
        page = self._intents.list(cast("Any", params))
        return page_of_answer(page, intent_of_answer)

    @stripe_call
    def page_of_refunds(
        self, *, since: datetime, until: datetime | None = None, after: str = ""
    ) -> Page[RefundResult]:
        """Return one page of the account's refunds that were created in a span of time.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        page = self._refunds.list(cast("Any", page_params(since, after, until=until)))
        return page_of_answer(page, refund_of_answer)

    @stripe_call
    def page_of_disputes(
        self, *, since: datetime, until: datetime | None = None, after: str = ""
    ) -> Page[DisputeResult]:
        """Return one page of the account's disputes that were created in a span of time.

        Raises:
            GatewayError: see the tree in ``exceptions``.
        """
        page = self._disputes.list(cast("Any", page_params(since, after, until=until)))
        return page_of_answer(page, dispute_of_answer)

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
        params = {"created": created_within(since, until), "limit": PAGE_SIZE}
        page: Any = self._intents.list(cast("Any", params))
        intents = (intent_of_answer(item) for item in all_pages(page))
        return next(
            (intent for intent in intents if intent.metadata.get("attempt_id") == attempt_id), None
        )


def _change(
    write: Callable[[str, Any, Any], stripe.PaymentIntent],
    intent_id: str,
    params: Mapping[str, Any],
    idempotency_key: str,
) -> PaymentIntentResult:
    options = {"idempotency_key": _required(idempotency_key)}
    return intent_of_answer(write(intent_id, dict(params), options), intent_id=intent_id)


def _attempt_id(params: Mapping[str, Any]) -> str:
    """What an object that these parameters make carries, and no other one does."""
    return str(params.get("metadata", {}).get("attempt_id", ""))


def _required(idempotency_key: str) -> str:
    if not idempotency_key:
        raise ValueError("a write to Stripe needs an idempotency key")
    return idempotency_key
