"""The sandbox, connected to the project under test."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, Self
from urllib.parse import quote, urlencode

from django.conf import settings
from django.test import Client, override_settings

from shop_payments.conf import STRIPE_API_BASE
from shop_payments.exceptions import GatewayError
from shop_payments.sandbox import Sandbox, WebhookEndpoint
from shop_payments.sandbox.resources.dispute_moves import DECISION_SECONDS, LOSING, WINNING

from .events import SignedEvent, configured_secret, webhook_url
from .guards import get_test_config

_SECRET_KEY = "sk_test_of_the_sandbox"  # noqa: S105 - no real key
_WEBHOOK_SECRET = "whsec_of_the_sandbox"  # noqa: S105 - no real key


_FROM_A_BROWSER = {"return_url": "https://testserver/", "use_stripe_sdk": "true"}
"""What Stripe.js also sends. Intents with automatic payment methods need a ``return_url``."""


class StripeSandbox(Sandbox):
    """A sandbox in this process, for the tests of a shop.

    Within ``with StripeSandbox() as stripe_sandbox:`` it answers the project's calls to Stripe, for
    any settings, and sends its events to the project's webhook route. It has the levers of
    :class:`~shop_payments.sandbox.Sandbox`, such as faults, ``advance`` and ``requests``. ``clock``
    returns Unix time in seconds. The same ``seed`` gives the same ids. ``sleep`` waits for the
    seconds of a fault ``latency``.

    A ``payable`` is an order, the id of a payment intent, or the intent itself: a model instance,
    or a dict with its ``id``, such as the ``data`` of ``POST …/payment-intent``.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(clock=clock, seed=seed, sleep=sleep)
        self._overrides: list[override_settings] = []
        self._endpoint: WebhookEndpoint | None = None
        self._refused: list[str] = []

    # The project

    def shop_payments(self) -> dict[str, Any]:
        """Return the project's ``SHOP_PAYMENTS``, changed to use this sandbox.

        Raises:
            ConfigurationError: the secret key is a live key, or a setting is invalid.
        """
        config = get_test_config()
        values = {
            **getattr(settings, "SHOP_PAYMENTS", {}),
            "STRIPE_API_BASE": STRIPE_API_BASE,
            "STRIPE_TRANSPORT": self.handle,
            "MAX_NETWORK_RETRIES": 0,  # a retry would hide an injected fault
            "THROTTLE_RATES": None,  # earlier tests have counted in the same cache
        }
        if not re.fullmatch(r"[rs]k_test_[A-Za-z0-9_]+", config.STRIPE_SECRET_KEY.reveal()):
            values["STRIPE_SECRET_KEY"] = _SECRET_KEY
        if not config.STRIPE_WEBHOOK_SECRETS:
            values["STRIPE_WEBHOOK_SECRETS"] = [_WEBHOOK_SECRET]
        return values

    def connect_webhooks(self) -> None:
        """Send all further events to the project's webhook route, signed with its secret.

        Raises:
            ConfigurationError: no secret is configured, or the project's secret key is a live key.
        """
        self.disconnect_webhooks()
        url = "https://testserver/the-webhook-route"  # a placeholder: `post` looks up the route
        self._endpoint = self.add_webhook(url, configured_secret(), deliver=self._deliver)

    def disconnect_webhooks(self) -> None:
        """Send no further events to the project, as if its server were down."""
        if self._endpoint is not None:
            self.remove_webhook(self._endpoint)
            self._endpoint = None

    def __enter__(self) -> Self:
        override = override_settings(SHOP_PAYMENTS=self.shop_payments())
        override.enable()
        self._overrides.append(override)
        self.connect_webhooks()
        return self

    def __exit__(self, *exc: object) -> None:
        self.disconnect_webhooks()
        self._overrides.pop().disable()

    # The customer

    def pay(
        self, payable: Any, payment_method: str = "pm_card_visa", *, deliver: bool = True
    ) -> dict[str, Any]:
        """Pay as the customer's browser does, and deliver the webhooks.

        If the order has no open payment intent, one is created first, as call 1 does: for the
        outstanding amount, or for the part of it that your adapter names. So for an order that is
        paid in several payments, each call pays the next one. An open intent is paid for its
        amount. Returns the intent as it is at Stripe afterwards. A declined card leaves it in
        ``requires_payment_method``, with the reason in ``last_payment_error``. A card that needs
        3D Secure leaves it in ``requires_action``.

        With ``deliver=False``, call :meth:`deliver_webhooks` later.

        Raises:
            PaymentError: the order cannot be paid in its state.
            GatewayError: Stripe refused for another reason than the card; see its ``code``.
            AssertionError: the project did not accept a webhook.
            TypeError: ``payable`` is something else.

        See: https://docs.stripe.com/testing (checked 2026-11)
        """
        # Rows can be imported only once Django is set up, pytest's plugins are imported before.
        from .orders import find_or_create_intent_id

        path = _path_of(find_or_create_intent_id(payable)) + "/confirm"
        intent = self._call("POST", path, {"payment_method": payment_method, **_FROM_A_BROWSER})
        return self._afterwards(intent, deliver=deliver)

    def decline(self, payable: Any, *, deliver: bool = True) -> dict[str, Any]:
        """Try to pay with a card that is declined. :meth:`pay` takes cards with other reasons."""
        return self.pay(payable, "pm_card_chargeDeclined", deliver=deliver)

    def authenticate(
        self, payable: Any, *, succeed: bool = True, deliver: bool = True
    ) -> dict[str, Any]:
        """Complete (or fail) 3D Secure as the customer does, and deliver the webhooks.

        Call ``pay(order, "pm_card_authenticationRequired")`` first. Returns the intent.

        Raises:
            ValueError: the intent is not in ``requires_action``.
            PaymentIntentMissing: the order has no intent.
            AssertionError: the project did not accept a webhook.
            TypeError: ``payable`` is something else.
        """
        from .orders import find_intent_ids

        intent = self.complete_authentication(find_intent_ids(payable)[0], succeed)
        return self._afterwards(intent, deliver=deliver)

    def payment_intent(self, payable: Any) -> dict[str, Any]:
        """Return the intent as it is at Stripe; for an order, its newest intent.

        Raises:
            PaymentIntentMissing: the order has no intent.
            GatewayError: Stripe has no such intent.
            TypeError: ``payable`` is something else.
        """
        from .orders import find_intent_ids

        return self._call("GET", _path_of(find_intent_ids(payable)[0]))

    def _newest_payment(self, payable: Any) -> dict[str, Any]:
        """Return the intent; for an order, the newest that has received money, or the newest."""
        from .orders import find_intent_ids

        intents = [self._call("GET", _path_of(each)) for each in find_intent_ids(payable)]
        return next((each for each in intents if each["amount_received"]), intents[0])

    # After the payment

    def refund(
        self, payable: Any, amount: int | None = None, *, deliver: bool = True
    ) -> dict[str, Any]:
        """Create a refund as staff do in Stripe's dashboard, and deliver the webhooks.

        For an order, it refunds the newest payment; pass an intent to refund another one.
        ``amount`` is in minor units, and defaults to all that is left. Returns the refund. For a
        refund that is pending or fails later, pay with ``pm_card_pendingRefund`` or
        ``pm_card_refundFail``; then call ``advance_clock`` and :meth:`deliver_webhooks`.

        Raises:
            PaymentIntentMissing: the order has no intent.
            GatewayError: Stripe refused: nothing was paid, or less than ``amount`` is left.
            AssertionError: the project did not accept a webhook.
            TypeError: ``payable`` is something else.
        """
        params = {"payment_intent": self._newest_payment(payable)["id"]}
        if amount is not None:
            params["amount"] = str(amount)
        refund = self._call("POST", "/v1/refunds", params)
        return self._afterwards(refund, deliver=deliver)

    def dispute(
        self,
        payable: Any,
        reason: str = "fraudulent",
        *,
        inquiry: bool = False,
        deliver: bool = True,
    ) -> dict[str, Any]:
        """Dispute a payment as the customer's bank does, and deliver the webhooks.

        For an order, it disputes the newest payment; pass an intent to dispute another one. An
        ``inquiry`` moves no money. Returns the dispute. :meth:`decide_dispute` ends it.

        Raises:
            PaymentIntentMissing: the order has no intent.
            ValueError: nothing was paid, it is disputed already, or there is no such reason.
            AssertionError: the project did not accept a webhook.
            TypeError: ``payable`` is something else.
        """
        charge = self._newest_payment(payable)["latest_charge"]
        if charge is None:
            raise ValueError("Nothing has been paid, so there is nothing to dispute.")
        return self._afterwards(self.open_dispute(charge, reason, inquiry=inquiry), deliver=deliver)

    def decide_dispute(self, payable: Any, *, won: bool, deliver: bool = True) -> dict[str, Any]:
        """Submit evidence as staff do in Stripe's dashboard, and have the bank decide.

        ``won`` is the bank's decision. Returns the dispute.

        Raises:
            PaymentIntentMissing: the order has no intent.
            ValueError: no dispute of the payment needs a response.
            AssertionError: the project did not accept a webhook.
            TypeError: ``payable`` is something else.
        """
        from .orders import find_intent_ids

        waiting = [
            each
            for intent_id in find_intent_ids(payable)
            for each in self._disputes_of(intent_id)
            if each["status"].endswith("needs_response")
        ]
        if not waiting:
            raise ValueError("No dispute of this payment needs a response.")
        path = f"/v1/disputes/{waiting[0]['id']}"
        evidence = WINNING if won else LOSING
        self._call("POST", path, {"evidence[uncategorized_text]": evidence, "submit": "true"})
        self.advance_clock(DECISION_SECONDS)
        return self._afterwards(self._call("GET", path), deliver=deliver)

    def _disputes_of(self, intent_id: str) -> list[dict[str, Any]]:
        wanted = urlencode({"payment_intent": intent_id})
        found: list[dict[str, Any]] = self._call("GET", f"/v1/disputes?{wanted}")["data"]
        return found

    # Webhooks

    def deliver_webhooks(self) -> int:
        """Deliver the due events to the project's webhook route; return how many.

        :meth:`deliver_due` does the same, but raises no error if the project refuses an event.

        Raises:
            AssertionError: the project did not answer with 2xx; the message contains the answer.
            ConfigurationError: the routes of shop_payments are not in the project's URLs.
        """
        webhook_url()  # raises here, because errors in a delivery only lead to a retry
        self._refused.clear()
        attempts = self.deliver_due()
        if self._refused:
            raise AssertionError("\n".join(["The shop refused a webhook.", *self._refused]))
        return attempts

    def _deliver(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        event = SignedEvent(body=body, signature=headers["Stripe-Signature"])
        response = event.post(Client(raise_request_exception=False))
        status = int(response.status_code)
        if not 200 <= status < 300:
            answer = response.content.decode(errors="replace")[:500]
            self._refused.append(f"{json.loads(body)['type']}: {status} {answer}")
        return status

    def _afterwards(self, result: dict[str, Any], *, deliver: bool) -> dict[str, Any]:
        if deliver:
            self.deliver_webhooks()
        return result

    def _call(
        self, method: str, path: str, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Call Stripe's API and return the object; for a declined card, return the intent."""
        headers = {"Authorization": f"Bearer {_SECRET_KEY}"}
        response = self.handle(method, path, headers, urlencode(params) if params else None)
        values: dict[str, Any] = json.loads(response.body)
        if response.status < 300:
            return values
        error: dict[str, Any] = values["error"]
        if response.status == 402:
            intent: dict[str, Any] = error["payment_intent"]
            return intent
        raise GatewayError(
            error["message"], code=error.get("code") or "", http_status=response.status
        )


def _path_of(intent_id: str) -> str:
    return f"/v1/payment_intents/{quote(intent_id, safe='')}"
