"""Helpers of the sandbox's tests: a clock, two ways to call the sandbox, a receiver of webhooks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import stripe

from shop_payments.sandbox import Sandbox, SandboxResponse
from tests.sandbox.sdk_types import answer_problems

KEY = "sk_test_abcdefghijklmnop"
PUBLISHABLE_KEY = "pk_test_abcdefghijklmnop"
INTENTS = "/v1/payment_intents"
CHARGES = "/v1/charges"
REFUNDS = "/v1/refunds"
DISPUTES = "/v1/disputes"
MONEY = "/v1/balance_transactions"
METHODS = "/v1/payment_methods"
EVENTS = "/v1/events"
ENDPOINTS = "/v1/webhook_endpoints"
WARNINGS = "/v1/radar/early_fraud_warnings"
REVIEWS = "/v1/reviews"
CARD = {"allowed_payment_method_types[]": "card"}
MANDATE = {"mandate_data[customer_acceptance][type]": "offline"}
ORDER = {"amount": "11200", "currency": "usd", **CARD}
NEW_CARD = {
    "type": "card",
    "card[number]": "4242424242424242",
    "card[exp_month]": "12",
    "card[exp_year]": "2099",
    "card[cvc]": "123",
}
DAY = 24 * 60 * 60


class Clock:
    """Unix time that moves when a test moves it."""

    def __init__(self, now: float = 4_000_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Has:
    """Equal to every object that has these values, whatever else it has."""

    def __init__(self, **expected: Any) -> None:
        self.expected = expected

    def __eq__(self, other: object) -> bool:
        return isinstance(other, dict) and all(
            name in other and other[name] == value for name, value in self.expected.items()
        )

    def __repr__(self) -> str:
        return f"Has({self.expected})"


@dataclass(frozen=True)
class Answer:
    """An answer with its JSON read."""

    response: SandboxResponse
    json: dict[str, Any]

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def headers(self) -> Mapping[str, str]:
        return self.response.headers

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        return error

    def __getitem__(self, name: str) -> Any:
        return self.json[name]

    def assert_has(self, **expected: Any) -> None:
        """Check the values of some keys."""
        found = {name: self.json[name] for name in expected}
        assert found == expected, f"{found} is not {expected}"

    def assert_refused(self, status: int = 400, message: str = "", **expected: Any) -> None:
        """Check the status, a part of the message, and some keys of the error."""
        found = {name: self.error.get(name) for name in expected}
        assert (self.status, found) == (status, expected), self.json
        assert message in self.error["message"]


class Api:
    """Calls the sandbox like HTTP, without a socket, and checks each answer by the SDK's types."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox

    def call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | str = "",
        *,
        key: str | None = KEY,
        **headers: str,
    ) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["Authorization"] = f"Bearer {key}"
        form = params if isinstance(params, str) else urlencode(params)
        if method == "GET":
            response = self.sandbox.handle(method, f"{path}?{form}", sent, None)
        else:
            response = self.sandbox.handle(method, path, sent, form)
        answer = Answer(response, json.loads(response.body))
        if path.startswith("/v1/"):
            for_a_browser = PUBLISHABLE_KEY in (key, dict(parse_qsl(form)).get("key"))
            assert answer_problems(answer.json, partial=for_a_browser) == []
        return answer

    def get(self, path: str, params: Mapping[str, str] | str = "", **headers: str) -> Answer:
        return self.call("GET", path, params, **headers)

    def post(self, path: str, params: Mapping[str, str] | str = "", **headers: str) -> Answer:
        return self.call("POST", path, params, **headers)

    def again(self, found: Answer | Mapping[str, Any]) -> Answer:
        """Fetch an object again."""
        return self.get(f"/v1/{found['object'].replace('.', '/')}s/{found['id']}")

    def create(self, **params: str) -> Answer:
        """Make an intent that takes cards, for 112.00 usd unless `params` say otherwise."""
        answer = self.post(INTENTS, {**ORDER, **params})
        assert answer.status == 200, answer.json
        return answer

    def create_in(self, status: str, **params: str) -> Answer:
        """Make an intent and put it into a status."""
        intent = self.create(**params)
        self.sandbox.advance(intent["id"], status)
        return self.again(intent)

    def update(self, intent: Answer, **params: str) -> Answer:
        return self.post(f"{INTENTS}/{intent['id']}", params)

    def confirm(self, intent: Answer, payment_method: str = "", **params: str) -> Answer:
        given = {"payment_method": payment_method} if payment_method else {}
        return self.post(f"{INTENTS}/{intent['id']}/confirm", {**given, **params})

    def capture(self, intent: Answer, **params: str) -> Answer:
        return self.post(f"{INTENTS}/{intent['id']}/capture", params)

    def cancel(self, intent: Answer, **params: str) -> Answer:
        return self.post(f"{INTENTS}/{intent['id']}/cancel", params)

    def charge_of(self, intent: Answer | Mapping[str, Any]) -> Answer:
        return self.get(f"{CHARGES}/{intent['latest_charge']}")

    def pay(self, card: str = "pm_card_visa", **params: str) -> Answer:
        """Pay 112.00 usd, unless `params` say otherwise, and return the charge."""
        return self.charge_of(self.create(payment_method=card, confirm="true", **params))

    def debit(self, account: str = "pm_usBankAccount_success", *, settle: bool = True) -> Answer:
        """Pay 112.00 usd from a bank account, let the bank answer, and return the charge."""
        types = {"allowed_payment_method_types[]": "us_bank_account"}
        intent = self.create(payment_method=account, confirm="true", **types, **MANDATE)
        if settle:
            self.sandbox.advance_clock(3600)
        return self.charge_of(intent)

    def refund(self, charge: Answer, **params: str) -> Answer:
        """Refund a charge."""
        answer = self.post(REFUNDS, {"charge": charge["id"], **params})
        assert answer.status == 200, answer.json
        return answer

    def events_after(self, number: int = 0) -> list[str]:
        """Return the types of the events after the first so many."""
        return [event["type"] for event in self.sandbox.events[number:]]


@dataclass
class Receiver:
    """A webhook endpoint: records requests and returns or raises `answer`."""

    answer: int | Exception = 200
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def __call__(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        self.bodies.append(body)
        self.headers.append(headers)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    @property
    def events(self) -> list[Any]:
        return [json.loads(body) for body in self.bodies]

    @property
    def types(self) -> list[str]:
        """The types of the events, without what they have in common."""
        return [event["type"].removeprefix("payment_intent.") for event in self.events]

    def verifies(self, secret: str) -> bool:
        """Return whether stripe-python accepts the last delivery with this secret."""
        header = self.headers[-1]["Stripe-Signature"]
        try:
            stripe.WebhookSignature.verify_header(self.bodies[-1].decode(), header, secret)
        except stripe.SignatureVerificationError:
            return False
        return True
