"""Typed results of Stripe's answers, single objects and lists."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest

from shop_payments.exceptions import GatewayUnavailable, MalformedObject
from shop_payments.gateway import STRIPE_API_VERSION, get_gateway
from shop_payments.gateway.reading import intent_from_values
from shop_payments.models.words import describe_method
from shop_payments.sandbox import SandboxResponse
from tests.gateway.support import PARAMS, create, new_key, refusal, retrieve
from tests.support import pay


def test_a_declined_intent_has_the_reason_and_each_decline_has_its_own_key(stripe):
    intent = create()
    keys = set()
    for _attempt in range(2):
        pay(stripe, intent.id, "pm_card_chargeDeclinedInsufficientFunds")
        error = retrieve(intent.id).last_payment_error
        assert (error.code, error.decline_code) == ("card_declined", "insufficient_funds")
        assert "insufficient funds" in error.message
        keys.add(error.key)
    assert len(keys) == 2


def test_a_request_has_our_parameters_and_key_and_the_pinned_version(stripe, configure):
    """And a result is complete."""
    seen, before = [], datetime.now(UTC).replace(microsecond=0)

    def listen(method, url, headers, body):
        seen.append({name.lower(): value for name, value in headers.items()}["stripe-version"])
        return stripe.handle(method, url, headers, body)

    configure(STRIPE_TRANSPORT=listen)
    intent = get_gateway().create_payment_intent(PARAMS, idempotency_key="the-key")
    sent = stripe.requests[-1]
    assert (sent.idempotency_key, sent.params["amount"]) == ("the-key", "11200")
    assert sent.params["metadata"] == intent.metadata == PARAMS["metadata"]
    assert seen == [STRIPE_API_VERSION] == ["2026-10-28.endive"]

    assert (intent.status, intent.amount) == ("requires_payment_method", 11200)
    assert (intent.currency, intent.livemode, intent.replayed) == ("usd", False, False)
    assert intent.client_secret.reveal().startswith(f"{intent.id}_secret_")
    assert intent.request_id == sent.request_id
    assert before <= intent.created_at <= datetime.now(UTC)


def test_a_write_needs_an_idempotency_key(stripe):
    """The SDK would make one up, and a retry after a crash would pay twice."""
    gateway: Any = get_gateway()
    with pytest.raises(ValueError, match="needs an idempotency key"):
        gateway.create_refund({}, idempotency_key="")
    with pytest.raises(ValueError, match="needs an idempotency key"):
        gateway.update_payment_intent("pi_1", {}, idempotency_key="")
    assert stripe.requests == []


VALUES: dict[str, Any] = {"id": "pi_1", "status": "requires_payment_method", "amount": 100}
VALUES |= {"currency": "usd", "livemode": False, "created": 1_700_000_000}


@pytest.mark.parametrize(
    ("more", "method", "charge"),
    [
        ({}, "", ""),
        ({"payment_method": {"id": "pm_1"}, "latest_charge": {"id": "ch_1"}}, "pm_1", "ch_1"),
        ({"charges": {"data": [{"id": "ch_1"}]}}, "", "ch_1"),
    ],
    ids=["any version", "expanded", "before 2022-11-15"],
)
def test_an_intent_of_any_api_version_is_read(more, method, charge):
    intent = intent_from_values({**VALUES, **more})
    assert (intent.id, intent.amount, intent.metadata) == ("pi_1", 100, {})
    assert (intent.payment_method, intent.latest_charge) == (method, charge)


WRONG: dict[str, list[Any]] = {
    "id": [None, "", 1, {}, "x" * 256, "pi_1\x00"],
    "status": ["", ["x"]],
    "currency": [None, "dollars", 840],
    "amount": [None, "100", 1.0, True, -1, 2**63],
    "amount_received": ["100", -1],
    "created": [None, "now", 2**62],
    "metadata": ["text", [1]],
}


def test_a_value_of_the_wrong_type_is_refused_and_a_missing_field_is_named():
    for name, values in WRONG.items():
        for value in values:
            with pytest.raises(MalformedObject):
                intent_from_values({**VALUES, name: value})
    for name in VALUES:
        with pytest.raises(MalformedObject, match=name):
            intent_from_values({key: value for key, value in VALUES.items() if key != name})


def test_a_success_without_an_intent_leaves_the_outcome_unknown(configure):
    """The SDK's AttributeError was raised, or an exception of the webhooks."""
    for body in (b"[]", b"{}", b'{"id": "pi_1"}', b'{"object": "list", "data": []}'):
        answer = SandboxResponse(200, {}, body)
        configure(STRIPE_TRANSPORT=lambda *args, answer=answer: answer)
        refusal(GatewayUnavailable, create)
        refusal(GatewayUnavailable, retrieve, "pi_1")


def test_the_object_of_another_attempt_or_order_is_refused(stripe, configure):
    """It was taken for the requested intent or refund."""
    paid, other = create(), {"metadata": {"attempt_id": "another"}}
    pay(stripe, paid.id)
    params = {"payment_intent": paid.id, "amount": 100, "metadata": PARAMS["metadata"]}
    refunded = get_gateway().create_refund(params, idempotency_key=new_key())
    answers = {
        "/v1/payment_intents": f"/v1/payment_intents/{paid.id}",
        "/v1/payment_intents/pi_other": f"/v1/payment_intents/{paid.id}",
        "/v1/refunds": f"/v1/refunds/{refunded.id}",
    }

    def crossed(method, url, headers, body):
        return stripe.handle("GET", answers[urlsplit(url).path], headers)

    configure(STRIPE_TRANSPORT=crossed)
    refund = get_gateway().create_refund
    refusal(GatewayUnavailable, create, **other)
    refusal(GatewayUnavailable, retrieve, "pi_other")
    refusal(GatewayUnavailable, refund, {**params, **other}, idempotency_key=new_key())
    assert create().id == paid.id


# --- lists ---

NOW, DAY = datetime.now(UTC), timedelta(days=1)
AROUND: dict[str, Any] = {"since": NOW - timedelta(hours=1), "until": NOW + timedelta(hours=1)}


def test_pages_follow_one_another(stripe):
    wanted = create(metadata={"attempt_id": "wanted"})
    made = [*[create().id for _ in range(102)][::-1], wanted.id]
    gateway, find = get_gateway(), get_gateway().find_created_intent

    first = gateway.page_of_payment_intents(**AROUND)
    second = gateway.page_of_payment_intents(**AROUND, after=first.after)
    found: Any = find("wanted", **AROUND)

    assert [intent.id for page in (first, second) for intent in page.items] == made
    assert (len(first.items), second.after) == (100, "")
    assert (found.id, found.client_secret) == (wanted.id, wanted.client_secret)
    assert find("nobody's", **AROUND) is None
    assert find("wanted", since=NOW - 2 * DAY, until=NOW - DAY) is None
    assert gateway.page_of_payment_intents(since=NOW + DAY).items == ()


def test_an_object_that_cannot_be_read_does_not_hide_the_others(stripe, alter, caplog):
    older, newer = create(), create()

    def spoil(page):
        page["data"][0]["amount"] = "much"
        return page

    alter("/v1/", spoil)
    page = get_gateway().page_of_payment_intents(**AROUND)

    assert [intent.id for intent in page.items] == [older.id]
    assert "Skipped an unreadable object" in caplog.text
    assert newer.id not in caplog.text


KINDS = ("payment_intents", "refunds", "disputes", "balance_transactions")
WITHOUT_DATA = {
    "something else": lambda page: {"object": "payment_intent"},
    "null": lambda page: {**page, "data": None},
    "no data": lambda page: {key: page[key] for key in page if key != "data"},
    "more of nothing": lambda page: {**page, "has_more": True},
    "no end": lambda page: {key: page[key] for key in page if key != "has_more"},
    "no id": lambda page: {**page, "data": [{"id": ""}], "has_more": True},
}


@pytest.mark.parametrize("change", WITHOUT_DATA.values(), ids=WITHOUT_DATA)
def test_an_unreadable_list_is_not_the_end(stripe, alter, change):
    """It counted as the end, so nothing was found. Or an IndexError or a ValueError was raised."""
    intent = create()
    alter("/v1/", change)
    gateway = get_gateway()
    pages = [getattr(gateway, f"page_of_{kind}") for kind in KINDS]
    for page in (*pages, partial(gateway.find_created_intent, "an-attempt")):
        refusal(GatewayUnavailable, page, since=NOW + DAY, until=NOW + 2 * DAY)
    for whole in (gateway.list_refunds, gateway.list_disputes):
        refusal(GatewayUnavailable, whole, intent.id)


def test_a_further_page_without_an_address_or_objects_is_not_the_end(stripe, alter):
    intent = create()
    alter("/v1/", lambda page: {**page, "data": [{"id": "pi_1"}], "has_more": True, "url": None})
    refusal(GatewayUnavailable, get_gateway().list_refunds, intent.id)
    pages: Any = iter([{"has_more": True}, {"data": [], "has_more": True}])
    alter("/v1/", lambda page: {**page, **next(pages)})
    refusal(GatewayUnavailable, get_gateway().find_created_intent, "another", **AROUND)
    assert next(pages, None) is None


def _with_charge(details: object) -> Any:
    charge = {"id": "ch_1", "created": 1, "payment_method_details": details}
    return intent_from_values({**VALUES, "latest_charge": charge}).method


CARD = {"brand": "visa", "last4": "4242", "wallet": None}


@pytest.mark.parametrize(
    ("details", "text"),
    [
        ({"type": "card", "card": CARD}, "Visa •4242"),
        (
            {"type": "card", "card": {**CARD, "wallet": {"type": "apple_pay"}}},
            "Visa •4242, Apple Pay",
        ),
        ({"type": "card", "card": {**CARD, "brand": "unknown", "last4": None}}, "card"),
        ({"type": "card", "card": {"brand": None}}, "card"),
        ({"type": "card"}, "card"),
        ({"type": "sepa_debit", "sepa_debit": {"last4": "3000"}}, "SEPA debit •3000"),
        ({"type": "ideal", "ideal": {"iban_last4": "5264"}}, "iDEAL •5264"),
        ({"type": "klarna", "klarna": {"preferred_locale": "de"}}, "Klarna"),
        ({"type": "of_next_year"}, "Of Next Year"),
    ],
)
def test_a_charge_says_how_it_was_paid(details, text):
    method = _with_charge(details)
    words = (method.type, method.card_brand, method.last4, method.wallet)
    assert describe_method(*words) == text


@pytest.mark.parametrize("details", [None, {}, {"type": None}, "card", []])
def test_a_charge_that_does_not_say_how_it_was_paid(details):
    assert _with_charge(details) is None
