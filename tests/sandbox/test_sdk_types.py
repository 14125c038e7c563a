"""What the app sends and what the sandbox answers, held against stripe-python's own types.

These tests fail when the SDK moves on: a parameter or a key that it drops, a status that it does
not know, a key that it adds.
"""

from __future__ import annotations

import copy
import json
import re
from datetime import timedelta
from io import StringIO
from operator import attrgetter
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import stripe as stripe_python
from django.core.management import call_command
from django.utils import timezone
from stripe.params import (
    BalanceTransactionListParams,
    DisputeListParams,
    PaymentIntentCancelParams,
    PaymentIntentCaptureParams,
    PaymentIntentConfirmParams,
    PaymentIntentCreateParams,
    PaymentIntentListParams,
    PaymentIntentRetrieveParams,
    PaymentIntentUpdateParams,
    RefundCreateParams,
    RefundListParams,
    ReviewListParams,
)
from stripe.params.radar import EarlyFraudWarningListParams

from shop_payments.gateway import get_gateway
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import APIKeyScope, Source
from shop_payments.sandbox import Sandbox, SandboxResponse
from shop_payments.sandbox.routes import RESOURCES
from shop_payments.sandbox.wire.forms import nest
from shop_payments.sandbox.wire.params import with_lists
from shop_payments.services.cancel_payment import cancel_payment
from shop_payments.services.capture_payment import capture_payment
from shop_payments.sync.balance_transactions import fetch_fees
from tests.after_paid.support import AccountingOffice
from tests.conftest import issue_key
from tests.factories import OrderFactory
from tests.sandbox.sdk_types import LEFT_OUT, answer_problems, known_keys, request_problems
from tests.sandbox.support import CHARGES, DISPUTES, INTENTS, MONEY, PUBLISHABLE_KEY, REFUNDS, Api

DAY = 24 * 60 * 60

STATUSES = [
    "requires_payment_method",
    "requires_confirmation",
    "requires_action",
    "processing",
    "requires_capture",
    "succeeded",
    "canceled",
]

OPERATIONS = {
    ("POST", "/v1/payment_intents"): PaymentIntentCreateParams,
    ("GET", "/v1/payment_intents"): PaymentIntentListParams,
    ("POST", "/v1/payment_intents/ID"): PaymentIntentUpdateParams,
    ("GET", "/v1/payment_intents/ID"): PaymentIntentRetrieveParams,
    ("POST", "/v1/payment_intents/ID/confirm"): PaymentIntentConfirmParams,
    ("POST", "/v1/payment_intents/ID/capture"): PaymentIntentCaptureParams,
    ("POST", "/v1/payment_intents/ID/cancel"): PaymentIntentCancelParams,
    ("POST", "/v1/refunds"): RefundCreateParams,
    ("GET", "/v1/refunds"): RefundListParams,
    ("GET", "/v1/disputes"): DisputeListParams,
    ("GET", "/v1/radar/early_fraud_warnings"): EarlyFraudWarningListParams,
    ("GET", "/v1/reviews"): ReviewListParams,
    ("GET", "/v1/balance_transactions"): BalanceTransactionListParams,
}
"""What the gateway does at Stripe."""


class Line:
    """The line between the app and the sandbox, tapped."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.sent: list[tuple[tuple[str, str], dict[str, Any]]] = []
        self.answers: list[dict[str, Any]] = []

    def __call__(self, method: str, url: str, headers: Any, body: Any) -> SandboxResponse:
        response = self.sandbox.handle(method, url, headers, body)
        parts = urlsplit(url)
        operation = method.upper(), re.sub(r"/pi_\w+", "/ID", parts.path)
        pairs = parse_qsl(f"{parts.query}&{body or ''}", keep_blank_values=True)
        self.sent.append((operation, with_lists(nest(pairs))))
        self.answers.append(json.loads(response.body))
        return response


@pytest.fixture
def line(stripe, configure) -> Line:
    line = Line(stripe)
    configure(STRIPE_TRANSPORT=line)
    return line


def pay_test_card(order: Any, card: str) -> None:
    command = ("shop_payments_pay", str(order.pk), "--confirm", "--payment-method", card)
    call_command(*command, stdout=StringIO())


class TestTheApp:
    """Every call that the app makes at Stripe, from a whole run of it."""

    pytestmark = pytest.mark.django_db(transaction=True)

    @pytest.fixture
    def run(self, line: Line, storefront, payment_system, order, webhooks, configure) -> Line:
        storefront.payment_intent(order)  # create
        order.lines.update(quantity=3)
        storefront.payment_intent(order)  # update
        storefront.payment_intent(order)  # retrieve
        call_command("shop_payments_pay", str(order.pk), "--confirm", stdout=StringIO())
        webhooks()
        payment_system.payment(order)
        AccountingOffice(key=issue_key(APIKeyScope.REFUNDS)).refund(order, {"amount": "1.00"})
        webhooks()  # refunds are listed

        disputed, reserved, abandoned = OrderFactory.create_batch(3, customer=order.customer)
        storefront.payment_intent(disputed)
        pay_test_card(disputed, "pm_card_createDispute")
        webhooks()  # disputes are listed
        configure(CAPTURE_METHOD="manual")
        storefront.payment_intent(reserved)
        pay_test_card(reserved, "pm_card_visa")
        webhooks()
        staff = Origin(source=Source.ADMIN, actor="staff 1")
        capture_payment(order_id=reserved.pk, amount_decimal=None, origin=staff)
        storefront.payment_intent(abandoned)
        cancel_payment(order_id=abandoned.pk, origin=staff)

        now = timezone.now()
        fetch_fees(since=now - timedelta(days=1))
        reconcile(since=now - timedelta(days=1))
        get_gateway().find_created_intent("none", since=now - timedelta(days=1), until=now)
        return line

    def test_its_parameters_are_those_of_the_sdk(self, run):
        problems = [
            (operation, problem)
            for operation, params in run.sent
            for problem in request_problems(params, OPERATIONS[operation])
        ]

        assert problems == []
        assert {operation for operation, _ in run.sent} == set(OPERATIONS)

    def test_the_answers_are_those_of_the_sdk(self, run):
        assert [problem for answer in run.answers for problem in answer_problems(answer)] == []


class TestTheAnswers:
    """Every object in every status, from each door that it comes out of."""

    @pytest.fixture(params=STATUSES)
    def intent(self, api: Api, request) -> Any:
        created = api.create(receipt_email="jenny@example.com", **{"metadata[order_id]": "9"})
        api.sandbox.advance(created["id"], request.param)
        return api.get(f"{INTENTS}/{created['id']}")

    def test_an_intent(self, intent):
        assert answer_problems(intent.json) == []

    def test_a_list_of_intents(self, api, intent):
        assert answer_problems(api.get(INTENTS).json) == []

    def test_an_event_and_a_list_of_events(self, api, intent):
        events = api.get("/v1/events")
        assert answer_problems(events.json) == []
        assert answer_problems(api.get(f"/v1/events/{events['data'][0]['id']}").json) == []

    def test_expanded(self, api, intent):
        path = f"{INTENTS}/{intent['id']}"
        params = {"expand[]": "payment_method"}
        assert answer_problems(api.get(path, params).json) == []
        assert answer_problems(api.get(INTENTS, {"expand[]": "data.payment_method"}).json) == []

    def test_what_a_browser_gets_has_no_key_of_its_own(self, api, intent):
        params = {"client_secret": intent["client_secret"]}
        answer = api.get(f"{INTENTS}/{intent['id']}", params, key=PUBLISHABLE_KEY)

        assert answer.status == 200
        assert answer_problems(answer.json, partial=True) == []

    def test_payment_methods(self, api):
        path = "/v1/payment_methods"
        params = {"type": "card", "card[token]": "tok_visa"}
        made = api.post(path, params)

        assert made.status == 200
        assert answer_problems(made.json) == []
        assert answer_problems(api.get(f"{path}/{made['id']}").json) == []

    def test_webhook_endpoints(self, api):
        path = "/v1/webhook_endpoints"
        params = {"url": "http://127.0.0.1:1/", "enabled_events[]": "*", "metadata[a]": "b"}
        made = api.post(path, params)
        one = f"{path}/{made['id']}"
        answers = [made, api.get(one), api.post(one, {"disabled": "true"}), api.get(path)]

        deleted = api.call("DELETE", one)

        assert {answer.status for answer in [*answers, deleted]} == {200}
        for answer in [*answers, deleted]:
            assert answer_problems(answer.json) == []

    def test_an_intent_that_takes_what_the_dashboard_says(self, api):
        intent = api.post(INTENTS, {"amount": "1000", "currency": "eur"})
        assert answer_problems(intent.json) == []

    @pytest.mark.parametrize("return_url", [{}, {"return_url": "https://shop.example/back"}])
    def test_an_intent_with_a_next_action(self, api, return_url):
        intent = api.confirm(api.create()["id"], "pm_card_authenticationRequired", **return_url)

        assert intent["status"] == "requires_action"
        assert answer_problems(intent.json) == []

    @pytest.mark.parametrize(
        "card",
        [
            "pm_card_chargeDeclined",
            "pm_card_chargeDeclinedInsufficientFunds",
            "pm_card_chargeDeclinedExpiredCard",
            "pm_card_chargeDeclinedIncorrectCvc",
            "pm_card_chargeDeclinedProcessingError",
        ],
    )
    def test_a_decline_and_what_it_leaves(self, api, card):
        intent = api.create()
        error = api.confirm(intent["id"], card)

        assert error.status == 402
        assert answer_problems(error.json) == []
        assert answer_problems(api.get(f"{INTENTS}/{intent['id']}").json) == []

    def test_a_failed_authentication(self, api):
        intent = api.confirm(api.create()["id"], "pm_card_authenticationRequired")
        failed = api.sandbox.complete_authentication(intent["id"], succeed=False)
        assert answer_problems(failed) == []

    @pytest.mark.parametrize(
        ("method", "path", "params"),
        [
            ("POST", INTENTS, {"amount": "x", "currency": "usd"}),
            ("POST", INTENTS, {"amount": "1", "currency": "usd"}),
            ("POST", INTENTS, {"amount": "100"}),
            ("GET", f"{INTENTS}/pi_missing", {}),
            ("GET", "/v1/nothing", {}),
            ("GET", "/v1/invoices", {}),
        ],
    )
    def test_an_error(self, api, method, path, params):
        error = api.call(method, path, params)

        assert error.status >= 400
        assert answer_problems(error.json) == []


class TestTheMoney:
    """Refunds, disputes and what they move: in every status, from each door."""

    @pytest.mark.parametrize(
        "status", ["pending", "requires_action", "succeeded", "failed", "canceled"]
    )
    @pytest.mark.parametrize("of", ["card", "us_bank_account"])
    def test_a_refund(self, api, status, of):
        charge = api.pay("pm_card_pendingRefund") if of == "card" else api.debit()
        refund = api.refund(charge, **{"metadata[a]": "b"})
        if status != "pending":
            api.sandbox.advance_refund(refund["id"], status)

        assert self.each_door(api, REFUNDS, refund["id"])["status"] == status

    def test_a_refund_whose_reference_is_known(self, api):
        refund = api.refund(api.pay())
        api.sandbox.advance_clock(3 * DAY)

        found = self.each_door(api, REFUNDS, refund["id"])
        assert found["destination_details"]["card"]["reference_status"] == "available"

    @pytest.mark.parametrize(
        ("inquiry", "evidence", "seconds", "status"),
        [
            (False, "", 0, "needs_response"),
            (False, "words", 0, "under_review"),
            (False, "winning_evidence", 5, "won"),
            (False, "losing_evidence", 5, "lost"),
            (True, "", 0, "warning_needs_response"),
            (True, "words", 0, "warning_under_review"),
            (True, "winning_evidence", 5, "warning_closed"),
            (True, "escalate_inquiry_evidence", 5, "needs_response"),
        ],
    )
    def test_a_dispute(self, api, inquiry, evidence, seconds, status):
        dispute = api.sandbox.open_dispute(api.pay()["id"], inquiry=inquiry)
        if evidence:
            sent = {"evidence[uncategorized_text]": evidence}
            api.post(f"{DISPUTES}/{dispute['id']}", sent)
        api.sandbox.advance_clock(seconds)

        assert self.each_door(api, DISPUTES, dispute["id"])["status"] == status

    @pytest.mark.parametrize(("seconds", "status"), [(0, "pending"), (2 * DAY, "available")])
    def test_a_movement(self, api, seconds, status):
        charge = api.pay()
        api.sandbox.advance_clock(seconds)

        found = self.each_door(api, MONEY, charge["balance_transaction"])
        assert found["status"] == status

    @pytest.mark.parametrize("capture", [{}, {"amount_to_capture": "50"}, None])
    def test_a_charge_of_a_hold(self, api, capture):
        charge = api.pay(capture_method="manual")
        if capture is None:
            api.sandbox.advance_clock(7 * DAY)
        else:
            api.post(f"{INTENTS}/{charge['payment_intent']}/capture", capture)

        assert self.each_door(api, CHARGES, charge["id"])["captured"] is (capture is not None)

    def each_door(self, api: Api, path: str, object_id: str) -> Any:
        """Fetch the object in every way there is; each answer is held against the SDK."""
        found = api.get(f"{path}/{object_id}")
        kind = found["object"]
        keys = [name for name in RESOURCES[kind].expandable if found.json.get(name, "x")]
        kept = [name for name in keys if not name.startswith(("evidence.", "transfer_data."))]
        paths = {f"expand[{n}]": f"data.{name}" for n, name in enumerate(kept)}
        listed = api.get(path, paths)
        events = api.get("/v1/events", {"limit": "100"})
        for answer in (found, api.get(path), listed, events):
            assert (answer.status, answer_problems(answer.json)) == (200, [])
        for name in set(kept) & set(found.json):
            (item,) = [each for each in listed["data"] if each["id"] == object_id]
            assert item[name] is None or isinstance(item[name], dict)
        return found


class TestTheSDK:
    @pytest.mark.parametrize("key", LEFT_OUT)
    def test_it_still_has_the_keys_that_are_let_be_missing(self, key):
        owner, _, name = key.rpartition(".")
        hints = known_keys(attrgetter(owner)(stripe_python))
        assert name == "*" or name in hints


class TestTheTestsThemselves:
    """They fail on what is wrong."""

    @pytest.fixture
    def intent(self, api) -> dict[str, Any]:
        return copy.deepcopy(api.confirm(api.create()["id"], "pm_card_visa").json)

    @pytest.fixture
    def event(self, api, intent) -> dict[str, Any]:
        return copy.deepcopy(api.get("/v1/events", {"type": "payment_intent.*"})["data"][0])

    def test_a_right_object_passes(self, intent, event):
        assert answer_problems(intent) == answer_problems(event) == []

    @pytest.mark.parametrize("key", ["status", "amount_received", "client_secret", "next_action"])
    def test_a_missing_key(self, intent, key):
        del intent[key]
        assert answer_problems(intent) == [f"answer.{key}: missing (PaymentIntent.{key})"]

    def test_an_unknown_key(self, intent):
        intent["charges"] = {}
        assert answer_problems(intent) == ["answer.charges: unknown key"]

    def test_an_unknown_key_deep_inside(self, event):
        event["data"]["object"]["payment_method_options"]["card"]["colour"] = "red"
        assert answer_problems(event) == [
            "answer.data.object.payment_method_options.card.colour: unknown key"
        ]

    def test_a_status_outside_of_the_literals(self, intent):
        intent["status"] = "paid"
        assert answer_problems(intent) == [
            "answer.status: 'paid' is none of the words the SDK knows"
        ]

    @pytest.mark.parametrize(
        ("key", "value", "problem"),
        [
            ("amount", "11200", "answer.amount: '11200' is no int"),
            ("amount", True, "answer.amount: True is no int"),
            ("amount", None, "answer.amount: None is no int"),
            ("livemode", 0, "answer.livemode: 0 is no bool"),
            ("payment_method_types", "card", "answer.payment_method_types: 'card' is no list"),
            ("metadata", {"a": 1}, "answer.metadata[a]: 1 is no str"),
            ("metadata", None, "answer.metadata: None is no hash"),
            ("latest_charge", 1, "answer.latest_charge: 1 is no str"),
        ],
    )
    def test_a_wrong_type(self, intent, key, value, problem):
        intent[key] = value
        assert answer_problems(intent) == [problem]

    def test_an_event_of_a_type_that_stripe_does_not_have(self, event):
        event["type"] = "payment_intent.paid"
        assert answer_problems(event) == [
            "answer.type: 'payment_intent.paid' is none of the words the SDK knows"
        ]

    def test_an_object_that_stripe_does_not_have(self):
        assert answer_problems({"object": "payment"}) == [
            "answer.object: the SDK has no class for 'payment'"
        ]

    def test_a_list_without_more(self, api, intent):
        page = copy.deepcopy(api.get(INTENTS).json)
        del page["has_more"]
        assert answer_problems(page) == ["answer.has_more: missing (ListObject.has_more)"]

    def test_an_error_with_a_key_of_its_own(self, api):
        error = copy.deepcopy(api.post(INTENTS).json)
        error["error"]["status"] = 400
        assert answer_problems(error) == ["error.status: unknown key"]

    @pytest.mark.parametrize(
        ("params", "problem"),
        [
            ({"amount": "1"}, "currency: Field required"),
            ({"amount": "1", "currency": "usd", "invoice": "in_1"}, "invoice: Extra inputs"),
            ({"amount": "1.5", "currency": "usd"}, "amount: Input should be a valid integer"),
            ({"amount": "1", "currency": "usd", "api_key": "sk"}, "api_key: an option"),
            (
                {
                    "amount": "1",
                    "currency": "usd",
                    "shipping": {"name": "A", "address": {"x": "1"}},
                },
                "shipping.address.x: Extra inputs",
            ),
        ],
    )
    def test_wrong_parameters(self, params, problem):
        problems = request_problems(params, PaymentIntentCreateParams)
        assert [each[: len(problem)] for each in problems] == [problem]
