"""Typed results of Stripe's calls, one by one and in lists."""

from __future__ import annotations

import copy
import json
from dataclasses import FrozenInstanceError, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest

from shop_payments.exceptions import GatewayUnavailable, MalformedObject
from shop_payments.gateway import STRIPE_API_VERSION, get_gateway
from shop_payments.gateway.reading import intent_from_values
from shop_payments.sandbox import SandboxResponse
from tests.gateway.support import PARAMS, create, new_key, pairs, refusal, retrieve
from tests.support import pay


def test_a_result_is_complete_and_does_not_change(stripe):
    before = datetime.now(UTC).replace(microsecond=0)

    intent = create()

    assert intent.id.startswith("pi_")
    assert (intent.status, intent.amount) == ("requires_payment_method", 11200)
    assert (intent.currency, intent.livemode, intent.replayed) == ("usd", False, False)
    assert (intent.amount_received, intent.amount_capturable) == (0, 0)
    assert intent.metadata == {"order_id": "1", "attempt_id": "an-attempt"}
    assert intent.client_secret.reveal().startswith(f"{intent.id}_secret_")
    assert intent.request_id == stripe.requests[-1].request_id
    assert before <= intent.created_at <= datetime.now(UTC)
    assert (intent.payment_method, intent.latest_charge, intent.cancellation_reason) == ("", "", "")
    assert intent.last_payment_error is None
    for field in fields(intent):
        with pytest.raises(FrozenInstanceError):
            setattr(intent, field.name, None)


def test_a_declined_intent_says_why_and_each_decline_has_its_own_key(stripe):
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
    seen = []

    def listen(method, url, headers, body):
        seen.append({name.lower(): value for name, value in headers.items()}["stripe-version"])
        return stripe.handle(method, url, headers, body)

    configure(STRIPE_TRANSPORT=listen)
    params = copy.deepcopy(PARAMS)
    get_gateway().create_payment_intent(params, idempotency_key="the-key")
    sent = stripe.requests[-1]
    assert params == PARAMS
    assert (sent.idempotency_key, sent.params["amount"]) == ("the-key", "11200")
    assert sent.params["metadata"] == PARAMS["metadata"]
    assert seen == [STRIPE_API_VERSION] == ["2026-10-28.endive"]


def test_the_intent_of_an_attempt_is_found_beyond_the_first_page(stripe):
    now, minute, day = datetime.now(UTC), timedelta(minutes=1), timedelta(days=1)
    wanted = create(metadata={"attempt_id": "wanted"})
    for _other in range(101):
        create(metadata={"attempt_id": "another"})

    find = get_gateway().find_created_intent
    found: Any = find("wanted", since=now - minute, until=now + minute)

    assert (found.id, found.client_secret) == (wanted.id, wanted.client_secret)
    assert find("nobody's", since=now - minute, until=now + minute) is None
    assert find("wanted", since=now - 2 * day, until=now - day) is None


@pytest.mark.parametrize("key", ["", None])
def test_a_write_needs_an_idempotency_key(stripe, key):
    """The SDK would make one up, and a retry after a crash would pay twice."""
    gateway = get_gateway()
    for write in [
        lambda: gateway.create_payment_intent(PARAMS, idempotency_key=key),
        lambda: gateway.create_refund({"payment_intent": "pi_1"}, idempotency_key=key),
        lambda: gateway.update_payment_intent("pi_1", {"amount": 1}, idempotency_key=key),
        lambda: gateway.capture_payment_intent("pi_1", {}, idempotency_key=key),
        lambda: gateway.cancel_payment_intent("pi_1", {}, idempotency_key=key),
        lambda: gateway.confirm_payment_intent("pi_1", payment_method="p", idempotency_key=key),
    ]:
        with pytest.raises(ValueError, match="needs an idempotency key"):
            write()
    assert stripe.requests == []


VALUES = {
    "id": "pi_1",
    "status": "requires_payment_method",
    "amount": 100,
    "currency": "usd",
    "livemode": False,
    "created": 1_700_000_000,
}


@pytest.mark.parametrize(
    ("more", "method", "charge"),
    [
        ({}, "", ""),
        ({"payment_method": {"id": "pm_1"}, "latest_charge": {"id": "ch_1"}}, "pm_1", "ch_1"),
        ({"charges": {"data": [{"id": "ch_1"}]}}, "", "ch_1"),
    ],
    ids=["what every version has", "expanded", "before 2022-11-15"],
)
def test_versions_of_an_intent_are_read(more, method, charge):
    intent = intent_from_values({**VALUES, **more})
    assert (intent.id, intent.amount, intent.metadata) == ("pi_1", 100, {})
    assert (intent.payment_method, intent.latest_charge) == (method, charge)


@pytest.mark.parametrize(
    ("name", "value"),
    pairs(
        id=[None, "", 1, ["x"], {}],
        status=[None, "", 1, ["x"], {}],
        currency=[None, "", "dollars", 840, ["usd"]],
        amount=[None, "100", 1.0, True, -1, 2**63, []],
        amount_received=["100", 1.5, True, -1, 2**63],
        created=[None, "now", -1, 2**62, 1.5],
        metadata=["text", [1], 5],
    ),
)
def test_a_value_of_the_wrong_type_is_refused(name, value):
    with pytest.raises(MalformedObject):
        intent_from_values({**VALUES, name: value})


@pytest.mark.parametrize("name", sorted(VALUES))
def test_a_required_field_that_is_missing_is_named(name):
    values = {key: value for key, value in VALUES.items() if key != name}
    with pytest.raises(MalformedObject, match=name):
        intent_from_values(values)


@pytest.mark.parametrize(
    "body", ["[]", "null", '"text"', "7", "{}", '{"id": "pi_1"}', '{"object": "list", "data": []}']
)
def test_a_success_that_is_no_intent_is_no_answer(configure, body):
    """The SDK's AttributeError came through, or an exception of the webhooks."""
    configure(STRIPE_TRANSPORT=lambda *args: SandboxResponse(200, {}, body.encode()))
    refusal(GatewayUnavailable, create)
    refusal(GatewayUnavailable, retrieve, "pi_1")


def test_another_attempts_or_another_orders_object_is_no_answer(stripe, configure):
    """It was taken for the intent, or the refund, that had been asked for."""
    paid, other = create(), {"metadata": {"attempt_id": "another"}}
    pay(stripe, paid.id)
    params = {"payment_intent": paid.id, "amount": 100, "metadata": {"attempt_id": "an-attempt"}}
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

NOW = datetime.now(UTC)
MINUTE = timedelta(minutes=1)
AROUND: dict[str, Any] = {"since": NOW - timedelta(hours=1), "until": NOW + timedelta(hours=1)}


@pytest.fixture
def changed(stripe, configure):
    """Change Stripe's answers on their way."""

    def start(change):
        def handle(*request):
            answer = stripe.handle(*request)
            values = change(json.loads(answer.body))
            return replace(answer, body=json.dumps(values).encode())

        configure(STRIPE_TRANSPORT=handle)

    return start


def test_pages_follow_one_another(stripe):
    made = [create().id for _ in range(103)][::-1]

    first = get_gateway().page_of_payment_intents(**AROUND)
    second = get_gateway().page_of_payment_intents(**AROUND, after=first.after)

    assert [intent.id for page in (first, second) for intent in page.items] == made
    assert (len(first.items), second.after) == (100, "")


def test_what_is_older_is_left_out(stripe):
    create()
    page = get_gateway().page_of_payment_intents(since=datetime.now(UTC) + MINUTE)
    assert (page.items, page.after) == ((), "")


def test_disputes_and_refunds_name_their_intent(stripe):
    gateway: Any = get_gateway()
    disputed, refunded = create(), create()
    pay(stripe, disputed.id, "pm_card_createDispute")
    pay(stripe, refunded.id)
    gateway.create_refund({"payment_intent": refunded.id}, idempotency_key="r")

    [dispute] = gateway.list_disputes(disputed.id)
    [refund] = gateway.list_refunds(refunded.id)
    assert gateway.page_of_disputes(**AROUND).items == (dispute,)
    assert gateway.page_of_refunds(**AROUND).items == (refund,)
    assert (dispute.payment_intent, refund.payment_intent) == (disputed.id, refunded.id)
    assert gateway.intent_of_dispute(dispute.id).id == disputed.id
    assert gateway.intent_of_refund(refund.id).id == refunded.id


def test_fees_are_listed(stripe):
    pay(stripe, create().id)
    [charge] = get_gateway().page_of_balance_transactions(**AROUND).items
    assert (charge.reporting_category, charge.amount, charge.currency) == ("charge", 11200, "usd")
    assert charge.net == charge.amount - charge.fee


def test_an_object_that_cannot_be_read_does_not_hide_the_others(stripe, changed, caplog):
    older, newer = create(), create()

    def spoil(page):
        page["data"][0]["amount"] = "much"
        return page

    changed(spoil)
    page = get_gateway().page_of_payment_intents(**AROUND)

    assert [intent.id for intent in page.items] == [older.id]
    assert "Left out of a list" in caplog.text
    assert newer.id not in caplog.text


CALLS = {
    "page_of_payment_intents": ((), AROUND),
    "page_of_refunds": ((), AROUND),
    "page_of_disputes": ((), AROUND),
    "page_of_balance_transactions": ((), AROUND),
    "find_created_intent": (("an-attempt",), AROUND),
    "list_refunds": (("pi_1",), {}),
    "list_disputes": (("pi_1",), {}),
}
WITHOUT_DATA = {
    "something else": lambda page: {"object": "payment_intent"},
    "null": lambda page: {**page, "data": None},
    "no data": lambda page: {key: page[key] for key in page if key != "data"},
    "more of nothing": lambda page: {**page, "has_more": True},
    "no end": lambda page: {key: page[key] for key in page if key != "has_more"},
    "no id": lambda page: {**page, "data": [{"id": ""}], "has_more": True},
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("change", WITHOUT_DATA.values(), ids=WITHOUT_DATA)
def test_a_list_that_cannot_be_read_is_not_the_end(stripe, changed, name, change):
    """It was: then nothing was found. Or an IndexError or a ValueError came through."""
    changed(change)
    args, kwargs = CALLS[name]
    refusal(GatewayUnavailable, getattr(get_gateway(), name), *args, **kwargs)


def test_nor_is_a_list_without_an_address(changed):
    changed(lambda page: {**page, "data": [{"id": "pi_1"}], "has_more": True, "url": None})
    refusal(GatewayUnavailable, get_gateway().list_refunds, "pi_1")


def test_nor_is_a_further_page_that_is_empty(stripe, changed):
    for _ in range(101):
        create()
    pages = iter([{}, {"data": [], "has_more": True}])
    changed(lambda page: {**page, **next(pages)})
    refusal(GatewayUnavailable, get_gateway().find_created_intent, "another", **AROUND)
    assert next(pages, None) is None
