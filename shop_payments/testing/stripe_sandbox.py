"""The sandbox, wired to the project that is being tested."""

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
"""What Stripe.js sends besides; an intent with automatic payment methods wants a way back."""


class StripeSandbox(Sandbox):
    """A Stripe in this process, for the tests of a shop.

    Within ``with StripeSandbox() as stripe_sandbox:`` the project talks to it, whatever its
    settings are, and its events reach the project's own webhook route. The levers of
    :class:`~shop_payments.sandbox.Sandbox` (faults, ``advance``, ``requests``) are there as well.
    ``clock`` gives Unix time in seconds; ``seed`` makes ids repeatable; ``sleep`` is how a request
    waits where a fault gives it a latency.

    Where a method takes ``payable``, it is an order, a payment intent's id, or the intent itself:
    the row, or a dict with its ``id`` such as the ``data`` of ``POST …/payment-intent``.
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
        """Return the project's ``SHOP_PAYMENTS``, changed so that it talks to this sandbox.

        Raises:
            ConfigurationError: the secret key is a live one, or a setting is wrong.
        """
        config = get_test_config()
        values = {
            **getattr(settings, "SHOP_PAYMENTS", {}),
            "STRIPE_API_BASE": STRIPE_API_BASE,
            "STRIPE_TRANSPORT": self.handle,
            "MAX_NETWORK_RETRIES": 0,  # a fault that was injected is for the first try
            "THROTTLE_RATES": None,  # the tests before this one have counted in the same cache
        }
        if not re.fullmatch(r"[rs]k_test_[A-Za-z0-9_]+", config.STRIPE_SECRET_KEY.reveal()):
            values["STRIPE_SECRET_KEY"] = _SECRET_KEY
        if not config.STRIPE_WEBHOOK_SECRETS:
            values["STRIPE_WEBHOOK_SECRETS"] = [_WEBHOOK_SECRET]
        return values

    def connect_webhooks(self) -> None:
        """Send the events from now on to the project's webhook route, signed with its secret.

        Raises:
            ConfigurationError: no secret is configured, or the project's secret key is a live one.
        """
        self.disconnect_webhooks()
        url = "https://testserver/the-webhook-route"  # where that is, `post` looks up
        self._endpoint = self.add_webhook(url, configured_secret(), deliver=self._deliver)

    def disconnect_webhooks(self) -> None:
        """Send the project no event from now on, as if it could not be reached."""
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
        """Pay as the customer's browser does, and let the webhooks arrive.

        An order that has no open payment intent is given one first, as call 1 does: for the
        outstanding amount, or for the part of it that your adapter names. So each call for an order
        that is paid in several payments pays the next one. An intent that is open already is paid
        for the amount that it has. Returns the intent as it then is at Stripe: a declined card
        leaves it in ``requires_payment_method`` with the reason in ``last_payment_error``, a card
        that asks for 3D Secure in ``requires_action``.

        Without ``deliver`` the webhooks wait for :meth:`deliver_webhooks`.

        Raises:
            PaymentError: the order's state forbids to pay it.
            GatewayError: Stripe refused for another reason than the card, with its ``code``.
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
        """Try to pay with a card that is declined; see :meth:`pay`, also for other reasons."""
        return self.pay(payable, "pm_card_chargeDeclined", deliver=deliver)

    def authenticate(
        self, payable: Any, *, succeed: bool = True, deliver: bool = True
    ) -> dict[str, Any]:
        """Pass (or fail) 3D Secure as the customer, and let the webhooks arrive.

        Before it: ``pay(order, "pm_card_authenticationRequired")``. Returns the intent.

        Raises:
            ValueError: the intent does not wait for that.
            PaymentIntentMissing: the order has no intent.
            AssertionError: the project did not accept a webhook.
            TypeError: ``payable`` is something else.
        """
        from .orders import find_intent_ids

        intent = self.complete_authentication(find_intent_ids(payable)[0], succeed)
        return self._afterwards(intent, deliver=deliver)

    def payment_intent(self, payable: Any) -> dict[str, Any]:
        """Return the intent, of an order the newest, as it is at Stripe.

        Raises:
            PaymentIntentMissing: the order has none.
            GatewayError: Stripe does not know it.
            TypeError: ``payable`` is something else.
        """
        from .orders import find_intent_ids

        return self._call("GET", _path_of(find_intent_ids(payable)[0]))

    def _newest_payment(self, payable: Any) -> dict[str, Any]:
        """Return the intent, of an order the newest that has been paid; else the newest."""
        from .orders import find_intent_ids

        intents = [self._call("GET", _path_of(each)) for each in find_intent_ids(payable)]
        return next((each for each in intents if each["amount_received"]), intents[0])

    # The money afterwards

    def refund(
        self, payable: Any, amount: int | None = None, *, deliver: bool = True
    ) -> dict[str, Any]:
        """Give money back as staff do in Stripe's dashboard, and let the webhooks arrive.

        Of an order it is money of the newest payment; name an intent for that of another one.
        ``amount`` is in minor units; all that is left without it. Returns the refund. Pay with
        ``pm_card_pendingRefund`` or ``pm_card_refundFail`` for one that takes its time or fails:
        then ``advance_clock`` and :meth:`deliver_webhooks`.

        Raises:
            PaymentIntentMissing: the order has no intent.
            GatewayError: Stripe refused: not paid, or not so much.
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
        """Let the customer's bank claim a payment back, and let the webhooks arrive.

        Of an order it is the newest payment; name an intent for another one.
        ``inquiry``: it only asks. Returns the dispute; ``decide_dispute`` ends it.

        Raises:
            PaymentIntentMissing: the order has no intent.
            ValueError: it has not been paid, or is disputed already; or no such reason.
            AssertionError: the project did not accept a webhook.
            TypeError: ``payable`` is something else.
        """
        charge = self._newest_payment(payable)["latest_charge"]
        if charge is None:
            raise ValueError("Nothing has been paid that a bank could claim back.")
        return self._afterwards(self.open_dispute(charge, reason, inquiry=inquiry), deliver=deliver)

    def decide_dispute(self, payable: Any, *, won: bool, deliver: bool = True) -> dict[str, Any]:
        """Let staff answer the bank in Stripe's dashboard, and the bank decide in their favour.

        Or not, unless ``won``. Returns the dispute.

        Raises:
            PaymentIntentMissing: the order has no intent.
            ValueError: the bank waits for no answer.
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
            raise ValueError("No dispute of this payment waits for an answer.")
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
        """Deliver the events that are due to the project's webhook route; return how many.

        :meth:`deliver_due` does the same and leaves it to the caller to see what was refused.

        Raises:
            AssertionError: the project answered anything but 2xx; the message says what.
            ConfigurationError: the routes of shop_payments are not in the project's URLs.
        """
        webhook_url()  # in a delivery, the error would be one more that Stripe shrugs at
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
            told = response.content.decode(errors="replace")[:500]
            self._refused.append(f"{json.loads(body)['type']}: {status} {told}")
        return status

    def _afterwards(self, result: dict[str, Any], *, deliver: bool) -> dict[str, Any]:
        if deliver:
            self.deliver_webhooks()
        return result

    def _call(
        self, method: str, path: str, params: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """Do something at Stripe; return the object, also the intent whose card was declined."""
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
