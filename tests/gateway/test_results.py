"""Typed results of Stripe's calls."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest

from shop_payments.exceptions import GatewayUnavailable, MalformedObject
from shop_payments.gateway import STRIPE_API_VERSION, get_gateway
from shop_payments.gateway.reading import intent_from_values
from shop_payments.sandbox import Sandbox
from tests.gateway.support import (
    PARAMS,
    create,
    new_key,
    pairs,
    refusal,
)
from tests.support import pay


def test_a_result_is_complete(stripe):
    before = datetime.now(UTC).replace(microsecond=0)

    intent = create()

    assert intent.id.startswith("pi_")
    assert (intent.status, intent.amount, intent.currency) == (
        "requires_payment_method",
        11200,
        "usd",
    )
    assert (intent.amount_received, intent.amount_capturable) == (0, 0)
    assert intent.metadata == {"order_id": "1", "attempt_id": "an-attempt"}
    assert intent.client_secret.reveal().startswith(f"{intent.id}_secret_")
    assert intent.request_id == stripe.requests[-1].request_id
    assert before <= intent.created_at <= datetime.now(UTC)
    assert (intent.livemode, intent.replayed, intent.last_payment_error) == (False, False, None)
    assert (intent.payment_method, intent.latest_charge, intent.cancellation_reason) == ("", "", "")


def test_a_paid_intent_names_its_charge(stripe):
    intent = create()
    paid = get_gateway().confirm_payment_intent(
        intent.id, payment_method="pm_card_visa", idempotency_key=new_key()
    )
    assert (paid.status, paid.amount_received) == ("succeeded", 11200)
    assert paid.latest_charge.startswith("ch_")
    assert paid.payment_method.startswith("pm_")


def test_a_declined_intent_says_why_and_each_decline_has_its_own_key(stripe):
    intent = create()
    keys = set()
    for _attempt in range(2):
        pay(stripe, intent.id, "pm_card_chargeDeclinedInsufficientFunds")
        error = get_gateway().retrieve_payment_intent(intent.id).last_payment_error
        assert error is not None
        assert (error.code, error.decline_code) == ("card_declined", "insufficient_funds")
        assert "insufficient funds" in error.message
        keys.add(error.key)
    assert len(keys) == 2


def test_a_result_does_not_change(stripe):
    intent = create()
    for field in fields(intent):
        with pytest.raises(FrozenInstanceError):
            setattr(intent, field.name, None)


def test_an_update_and_a_look_see_the_same_intent(stripe):
    intent = create()
    updated = get_gateway().update_payment_intent(
        intent.id, {"amount": 500}, idempotency_key=new_key()
    )
    seen = get_gateway().retrieve_payment_intent(intent.id)
    assert (updated.id, updated.amount) == (seen.id, seen.amount) == (intent.id, 500)
    assert seen.client_secret.reveal() == intent.client_secret.reveal()


def test_the_same_key_gets_the_saved_answer(stripe):
    key = new_key()
    first = get_gateway().create_payment_intent(PARAMS, idempotency_key=key)
    again = get_gateway().create_payment_intent(PARAMS, idempotency_key=key)
    assert (again.id, again.replayed, first.replayed) == (first.id, True, False)


def test_the_parameters_are_sent_as_given_and_not_changed(stripe):
    params = {**PARAMS, "metadata": dict(PARAMS["metadata"])}
    get_gateway().create_payment_intent(params, idempotency_key="the-key")
    sent = stripe.requests[-1]
    assert params == PARAMS
    assert sent.idempotency_key == "the-key"
    assert sent.params["amount"] == "11200"
    assert sent.params["metadata"] == PARAMS["metadata"]


def test_the_intent_of_an_attempt_is_found_beyond_the_first_page(stripe):
    now = datetime.now(UTC)
    wanted = create(metadata={"attempt_id": "wanted"})
    for _other in range(101):
        create(metadata={"attempt_id": "another"})

    find = get_gateway().find_created_intent
    around = {"since": now - timedelta(minutes=1), "until": now + timedelta(minutes=1)}

    found = find("wanted", **around)
    assert found is not None
    assert (found.id, found.client_secret.reveal()) == (wanted.id, wanted.client_secret.reveal())
    assert find("nobody's", **around) is None
    assert find("wanted", since=now - timedelta(days=2), until=now - timedelta(days=1)) is None


def test_the_api_version_is_pinned(configure):
    seen = []
    sandbox = Sandbox()

    def listen(method, url, headers, body):
        seen.append({name.lower(): value for name, value in headers.items()}["stripe-version"])
        return sandbox.handle(method, url, headers, body)

    configure(STRIPE_TRANSPORT=listen)
    get_gateway().retrieve_payment_intent(create().id)

    assert seen == [STRIPE_API_VERSION] * 2 == ["2026-10-28.endive"] * 2


@pytest.mark.parametrize("key", ["", None])
def test_a_write_needs_an_idempotency_key(stripe, key):
    """The SDK would make one up, and a retry after a crash would pay twice."""
    gateway = get_gateway()
    writes = [
        lambda: gateway.create_payment_intent(PARAMS, idempotency_key=key),
        lambda: gateway.update_payment_intent("pi_1", {"amount": 1}, idempotency_key=key),
        lambda: gateway.confirm_payment_intent("pi_1", payment_method="p", idempotency_key=key),
    ]
    for write in writes:
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


def test_the_fields_that_every_version_has_are_enough():
    intent = intent_from_values(VALUES)
    assert (intent.id, intent.amount, intent.metadata) == ("pi_1", 100, {})


def test_expanded_objects_are_read_by_their_ids():
    expanded = {"payment_method": {"id": "pm_1"}, "latest_charge": {"id": "ch_1"}}
    intent = intent_from_values({**VALUES, **expanded})
    assert (intent.payment_method, intent.latest_charge) == ("pm_1", "ch_1")


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
def test_what_is_no_intent_is_refused(name, value):
    with pytest.raises(MalformedObject):
        intent_from_values({**VALUES, name: value})


@pytest.mark.parametrize("name", sorted(VALUES))
def test_a_required_field_that_is_missing_is_named(name):
    values = {key: value for key, value in VALUES.items() if key != name}
    with pytest.raises(MalformedObject, match=name):
        intent_from_values(values)


def test_what_another_attempt_has_made_is_no_answer(stripe, configure):
    """It was taken for the intent, or the refund, that had been asked for."""
    paid = create()
    pay(stripe, paid.id)
    params = {"payment_intent": paid.id, "amount": 100, "metadata": {"attempt_id": "an-attempt"}}
    refunded = get_gateway().create_refund(params, idempotency_key=new_key())
    answers = {
        "/v1/payment_intents": f"/v1/payment_intents/{paid.id}",
        "/v1/refunds": f"/v1/refunds/{refunded.id}",
    }

    def crossed(method, url, headers, body):
        return stripe.handle("GET", answers[urlsplit(url).path], headers)

    configure(STRIPE_TRANSPORT=crossed)
    other = {"metadata": {"attempt_id": "another"}}
    refusal(GatewayUnavailable, lambda: create(**other))
    refusal(
        GatewayUnavailable,
        lambda: get_gateway().create_refund({**params, **other}, idempotency_key=new_key()),
    )
    assert create().id == paid.id
