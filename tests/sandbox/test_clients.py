"""The sandbox, driven by clients that others wrote: stripe-python, Stripe's command line, curl.

The marker `clients` is on those that are programs. CI installs them and wants these tests to run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import stripe

from shop_payments.sandbox import Fault, Sandbox, SandboxServer
from tests.sandbox.sdk_types import answer_problems
from tests.sandbox.support import KEY, PUBLISHABLE_KEY

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "sandbox.md"
OLDER_VERSION = "2025-03-31.basil"
"""The fixtures of the command line send `payment_method_types`, which is gone since 2026-09-30."""


@pytest.fixture
def sandbox(server: SandboxServer) -> Sandbox:
    return server.sandbox


def event_types(sandbox: Sandbox) -> list[str]:
    return [event["type"] for event in sandbox.events]


# stripe-python


class TestStripePython:
    @pytest.fixture
    def client(self, server) -> Iterator[stripe.StripeClient]:
        http_client = stripe.RequestsClient()
        yield stripe.StripeClient(
            KEY, base_addresses={"api": server.url}, http_client=http_client, max_network_retries=2
        )
        http_client.close()

    def test_a_payment_from_first_to_last(self, client, sandbox):
        intents = client.v1.payment_intents
        intent = intents.create(
            {"amount": 1000, "currency": "eur", "allowed_payment_method_types": ["card"]},
            {"idempotency_key": "one"},
        )
        intents.update(intent.id, {"amount": 2000, "metadata": {"order_id": "9"}})
        with pytest.raises(stripe.CardError) as declined:
            intents.confirm(intent.id, {"payment_method": "pm_card_chargeDeclined"})
        paid = intents.confirm(intent.id, {"payment_method": "pm_card_visa"})

        assert intent.last_response.request_id == sandbox.requests[0].request_id
        assert declined.value.code == "card_declined"
        assert declined.value.error
        assert declined.value.error.decline_code == "generic_decline"
        assert (paid.status, paid.amount_received) == ("succeeded", 2000)
        assert paid.metadata["order_id"] == "9"
        pages = intents.list({"limit": 1}).auto_paging_iter()
        assert [each.to_dict() for each in pages] == [paid.to_dict()]
        assert event_types(sandbox) == [
            "payment_intent.created",
            "charge.failed",
            "payment_intent.payment_failed",
            "charge.succeeded",
            "payment_intent.succeeded",
            "charge.updated",
        ]

    def test_its_errors(self, client, sandbox):
        intents, order = client.v1.payment_intents, {"amount": 1000, "currency": "usd"}
        intent = intents.create(order, {"idempotency_key": "k"})
        browser = {"api_key": PUBLISHABLE_KEY}

        with pytest.raises(stripe.IdempotencyError):
            intents.create({**order, "amount": 1}, {"idempotency_key": "k"})
        with pytest.raises(stripe.InvalidRequestError, match="No such payment_intent"):
            intents.update(f"{intent.id}/cancel", {})
        with pytest.raises(stripe.AuthenticationError):
            intents.retrieve("pi_x", options={"api_key": "sk_live_x"})
        with pytest.raises(stripe.PermissionError, match="publishable API key"):
            intents.cancel(intent.id, options=browser)
        with pytest.raises(stripe.InvalidRequestError, match="does not match the client_secret"):
            intents.retrieve(intent.id, {"client_secret": "x"}, browser)

    @pytest.mark.parametrize(
        ("fault", "requests"),
        [
            (Fault("drop_after"), 2),
            (Fault("error", status=503), 2),
            (Fault("error", status=429, code="lock_timeout"), 2),
            (Fault("error", status=429, code="rate_limit"), 1),
        ],
    )
    def test_its_retries_make_one_intent_at_most(self, client, sandbox, fault, requests):
        sandbox.inject(fault)

        with suppress(stripe.RateLimitError):
            client.v1.payment_intents.create({"amount": 1000, "currency": "usd"})

        assert (len(sandbox.requests), len(sandbox.events)) == (requests, requests - 1)


# Stripe's command line


def needs(program: str, package: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"needs {package}")
    return path


@pytest.mark.clients
class TestStripeCLI:
    @pytest.fixture
    def run(self, server, tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
        program = needs("stripe", "Stripe's command line (npm install -g @stripe/cli)")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "XDG_CONFIG_HOME": str(tmp_path),
            "STRIPE_CLI_TELEMETRY_OPTOUT": "1",
            "STRIPE_NO_AUTO_UPDATE": "1",
        }

        def run(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [program, *arguments, "--api-base", server.url, "--api-key", KEY],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=60,
            )

        return run

    @pytest.fixture
    def answer(self, run) -> Callable[..., Any]:
        def answer(*arguments: str) -> Any:
            values = json.loads(run(*arguments).stdout)
            assert answer_problems(values) == []
            return values

        return answer

    def test_a_payment_from_first_to_last(self, answer, sandbox):
        data = ["-d", "allowed_payment_method_types[]=card", "-d", "metadata[order_id]=9"]
        intent = answer(
            "payment_intents", "create", "-d", "amount=1000", "-d", "currency=usd", *data
        )
        answer("payment_intents", "update", intent["id"], "--amount", "2000")
        answer("payment_intents", "confirm", intent["id"], "--payment-method", "pm_card_visa")
        paid = answer("payment_intents", "retrieve", intent["id"])

        assert (paid["status"], paid["amount_received"]) == ("succeeded", 2000)
        assert paid["metadata"] == {"order_id": "9"}
        assert event_types(sandbox) == [
            "payment_intent.created",
            "charge.succeeded",
            "payment_intent.succeeded",
            "charge.updated",
        ]

    def test_cancel_and_list(self, answer):
        intent = answer("payment_intents", "create", "--amount", "1000", "--currency", "eur")
        reason = ["--cancellation-reason", "abandoned", "--confirm"]
        canceled = answer("payment_intents", "cancel", intent["id"], *reason)
        page = answer("payment_intents", "list", "--limit", "1")

        assert canceled["cancellation_reason"] == "abandoned"
        assert page["data"] == [canceled]

    def test_money_given_back(self, answer, sandbox):
        pay = ["--payment-method", "pm_card_visa", "-d", "confirm=true", "--amount", "1000"]
        types = ["--currency", "usd", "-d", "allowed_payment_method_types[]=card"]
        intent = answer("payment_intents", "create", *pay, *types)
        refund = answer("refunds", "create", "--payment-intent", intent["id"], "--amount", "400")
        shown = answer("charges", "retrieve", intent["latest_charge"], "--expand", "refunds")
        moved = answer("balance_transactions", "retrieve", refund["balance_transaction"])
        dispute = sandbox.open_dispute(intent["latest_charge"])
        lost = answer("disputes", "close", dispute["id"], "--confirm")

        assert shown["refunds"]["data"] == [refund]
        assert (shown["amount_refunded"], moved["net"]) == (400, -400)
        assert (lost["status"], lost["amount"]) == ("lost", 600)

    def test_its_idempotency_keys(self, answer, sandbox):
        arguments = ["--amount", "1000", "--currency", "eur", "--idempotency", "one"]
        first = answer("payment_intents", "create", *arguments)
        again = answer("payment_intents", "create", *arguments)

        assert first == again
        assert event_types(sandbox) == ["payment_intent.created"]

    def test_any_route(self, answer):
        answer("payment_intents", "create", "--amount", "1000", "--currency", "eur")
        assert answer("get", "/v1/events")["data"][0]["type"] == "payment_intent.created"

    def test_an_error(self, run):
        refused = run("payment_intents", "retrieve", "pi_missing")
        assert "No such payment_intent: 'pi_missing'" in refused.stdout + refused.stderr

    TRIGGERS = [
        "charge.captured",
        "charge.dispute.closed",
        "charge.dispute.created",
        "charge.dispute.updated",
        "charge.failed",
        "charge.refund.updated",
        "charge.refunded",
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
        "payment_intent.canceled",
        "payment_intent.created",
        "payment_intent.payment_failed",
        "payment_intent.processing",
        "payment_intent.requires_action",
        "payment_intent.succeeded",
    ]
    NOT_COVERED = {
        "payment_intent.partially_funded": "POST /v1/customers",
    }

    def trigger(self, run, event: str) -> subprocess.CompletedProcess[str]:
        result: subprocess.CompletedProcess[str] = run(
            "trigger", event, "--api-version", OLDER_VERSION
        )
        return result

    @pytest.mark.parametrize("event", TRIGGERS)
    def test_trigger(self, run, sandbox, event):
        triggered = self.trigger(run, event)

        assert triggered.returncode == 0, triggered.stderr
        assert event in event_types(sandbox)

    @pytest.mark.parametrize("event", NOT_COVERED)
    def test_a_trigger_that_is_not_covered_is_refused_by_name(self, run, sandbox, event):
        refused = self.trigger(run, event)

        assert refused.returncode != 0
        assert f"The sandbox does not cover {self.NOT_COVERED[event]}" in refused.stderr
        assert event not in event_types(sandbox)
        assert f"`trigger {event}`" in " ".join(DOCUMENTATION.read_text().split())

    def test_no_trigger_is_forgotten(self, run):
        words = run("trigger", "--help").stdout.split()
        offered = {word for word in words if word.startswith(("payment_intent.", "charge."))}
        assert offered == {*self.TRIGGERS, *self.NOT_COVERED}


# curl


@pytest.mark.clients
class TestCurl:
    @pytest.fixture
    def curl(self, server) -> Callable[..., Any]:
        program = needs("curl", "curl")

        def curl(path: str, *arguments: str) -> tuple[int, dict[str, Any]]:
            command = [program, "-q", "-s", "-w", "\n%{http_code}", f"{server.url}{path}"]
            environment = {"PATH": os.environ["PATH"]}
            answer = subprocess.run(
                [*command, *arguments],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=True,
            )
            body, _, status = answer.stdout.rpartition("\n")
            values = json.loads(body)
            assert answer_problems(values) == []
            return int(status), values

        return curl

    def test_a_payment_as_the_documentation_shows_it(self, curl, sandbox):
        user = ["-u", f"{KEY}:"]
        order = [
            "-d",
            "amount=1000",
            "-d",
            "currency=usd",
            "-d",
            "allowed_payment_method_types[]=card",
        ]
        _, intent = curl("/v1/payment_intents", *user, *order)
        path = f"/v1/payment_intents/{intent['id']}"
        curl(path, *user, "-d", "payment_method=pm_card_visa")
        status, paid = curl(f"{path}/confirm", *user, "-X", "POST")

        assert (status, paid["status"]) == (200, "succeeded")
        assert curl(path, *user) == (200, paid)
        assert curl("/v1/payment_intents?limit=1", *user)[1]["data"] == [paid]

    def test_a_bearer_token(self, curl):
        bearer = ["-H", f"Authorization: Bearer {KEY}"]
        order = ["-d", "amount=1000", "-d", "currency=usd"]
        assert curl("/v1/payment_intents", *bearer, *order)[0] == 200

    @pytest.mark.parametrize(
        ("arguments", "status"),
        [
            ([], 401),
            (["-u", "sk_live_0123456789abcdef:"], 401),
            (["-u", f"{KEY}:", "-H", "Content-Type: application/json", "-d", "{}"], 400),
            (["-u", f"{KEY}:", "-X", "DELETE"], 404),
        ],
        ids=["no key", "a live key", "JSON", "a method that nobody has"],
    )
    def test_what_is_refused(self, curl, arguments, status):
        assert curl("/v1/payment_intents", *arguments)[0] == status
