"""Moves from status to status: captures, holds that expire, and what a test forces.

See: https://docs.stripe.com/payments/paymentintents/lifecycle,
https://docs.stripe.com/payments/place-a-hold-on-a-payment-method and
https://docs.stripe.com/payments/multicapture (checked 2026-11)
"""

from __future__ import annotations

import pytest

from shop_payments.lifecycle import TRANSITIONS, IntentStatus
from shop_payments.sandbox.resources.payment_intents.moves import LEGAL_MOVES
from tests.sandbox.support import DAY, MONEY, REFUNDS


def test_the_table_is_the_one_that_the_app_knows():
    ours = {(old, new) for old in LEGAL_MOVES for new in LEGAL_MOVES[old] if old != new}
    apps = {
        (str(old), str(new))
        for old in TRANSITIONS
        for new in TRANSITIONS[old]
        if IntentStatus.MISSING not in (old, new)
    }

    assert ours == apps


# Captures


@pytest.fixture
def held(api):
    return api.create(
        capture_method="manual",
        payment_method="pm_card_visa",
        confirm="true",
        **{"metadata[a]": "1"},
    )


def test_a_manual_payment_is_authorized_first(api, held):
    held.assert_has(status="requires_capture", amount_capturable=11200, amount_received=0)
    charge = api.charge_of(held)
    charge.assert_has(status="succeeded", paid=True, captured=False)
    assert charge["amount_captured"] == 0
    before = charge["payment_method_details"]["card"]["capture_before"]
    assert before == held["created"] + 7 * DAY
    assert api.events_after(2) == ["payment_intent.amount_capturable_updated"]


@pytest.mark.parametrize("where", ["update", "confirm"])
def test_capture_may_become_manual_until_it_is_confirmed(api, where):
    intent, manual = api.create(), {"capture_method": "manual"}
    if where == "update":
        api.update(intent, **manual)

    confirmed = api.confirm(intent, "pm_card_visa", **(manual if where == "confirm" else {}))

    confirmed.assert_has(status="requires_capture", capture_method="manual")


@pytest.mark.parametrize(("params", "amount"), [({}, 11200), ({"amount_to_capture": "5000"}, 5000)])
def test_capture_takes_all_or_a_part_and_releases_the_rest(api, held, params, amount):
    captured = api.capture(held, **{"metadata[b]": "2"}, **params)
    again = api.capture(held)

    captured.assert_has(status="succeeded", amount=11200, amount_capturable=0)
    captured.assert_has(amount_received=amount, metadata={"a": "1", "b": "2"})
    assert captured["latest_charge"] == held["latest_charge"]
    charge = api.charge_of(held)
    charge.assert_has(captured=True, amount_captured=amount)
    charge.assert_has(refunded=False, amount_refunded=0)
    (moved,) = api.get(MONEY)["data"]
    assert (moved["id"], moved["amount"]) == (charge["balance_transaction"], amount)
    assert api.get(REFUNDS)["data"] == []
    assert api.events_after(3) == ["charge.captured", "payment_intent.succeeded"]
    assert "the authorized amount has been released" in again.error["message"]


@pytest.mark.parametrize("status", ["requires_payment_method", "processing", "canceled"])
def test_only_authorized_money_is_captured(api, status):
    answer = api.capture(api.create_in(status))

    assert answer.error["message"] == (
        f"This PaymentIntent could not be captured because it has a status of {status}. Only a"
        " PaymentIntent with one of the following statuses may be captured: requires_capture."
    )


@pytest.mark.parametrize(
    ("currency", "amount", "refused"), [("kwd", "5000", "5001"), ("isk", "5000", "5050")]
)
def test_a_part_has_its_currencys_steps(api, currency, amount, refused):
    held = api.create(
        currency=currency, capture_method="manual", payment_method="pm_card_visa", confirm="true"
    )

    answer = api.capture(held, amount_to_capture=refused)

    assert (answer.status, answer.error["param"]) == (400, "amount_to_capture")
    assert api.capture(held, amount_to_capture=amount)["amount_received"] == int(amount)


def test_a_canceled_authorization_leaves_its_charge_as_it_was(api, held):
    charge = api.charge_of(held)

    canceled = api.cancel(held, cancellation_reason="duplicate")

    canceled.assert_has(status="canceled", cancellation_reason="duplicate")
    canceled.assert_has(amount_capturable=0, amount_received=0)
    assert api.charge_of(held).json == charge.json
    charge.assert_has(refunded=False, amount_refunded=0, balance_transaction=None)
    assert api.get(REFUNDS)["data"] == []
    assert api.events_after(3) == ["payment_intent.canceled"]


def test_a_hold_expires_after_a_week(api, sandbox, held):
    sandbox.advance_clock(7 * DAY - 1)
    before = api.again(held)["status"]
    sandbox.advance_clock(1)
    expired = api.again(held)

    assert (before, expired["status"]) == ("requires_capture", "canceled")
    expired.assert_has(cancellation_reason="expired", amount_capturable=0)
    assert expired["canceled_at"] == held["created"] + 7 * DAY
    assert api.events_after(3) == ["charge.expired", "payment_intent.canceled"]
    charge = api.charge_of(held)
    assert sandbox.events[3]["data"]["object"] == charge.json
    charge.assert_has(captured=False, refunded=False, paid=True)
    assert api.get(MONEY)["data"] == []
    assert "it has a status of canceled" in api.capture(held).error["message"]


@pytest.mark.parametrize("operation", ["capture", "cancel"])
def test_a_hold_that_was_ended_does_not_expire(api, sandbox, held, operation):
    ended = getattr(api, operation)(held)
    number = len(sandbox.events)

    sandbox.advance_clock(8 * DAY)

    assert (api.again(held).json, api.events_after(number)) == (ended.json, [])


def test_a_part_is_captured_and_the_rest_stays_reserved(api, sandbox, held):
    sandbox.capture_part(held["id"], 4000)
    captured = sandbox.capture_part(held["id"], 3000)

    assert (captured["status"], captured["amount_received"]) == ("requires_capture", 7000)
    assert captured["amount_capturable"] == 4200
    api.charge_of(held).assert_has(captured=False, amount_captured=7000)
    updated = ["charge.updated", "payment_intent.amount_capturable_updated"]
    assert api.events_after(3) == updated * 2
    before = {"amount_capturable": 7200, "amount_received": 4000}
    assert sandbox.events[-1]["data"]["previous_attributes"] == before
    with pytest.raises(ValueError, match="No part of 4200 is reserved"):
        sandbox.capture_part(held["id"], 4200)


@pytest.mark.parametrize(
    ("end", "status", "received"),
    [("capture", "succeeded", 11200), ("cancel", "canceled", 7000), ("wait", "succeeded", 7000)],
)
def test_what_was_captured_in_parts_stays(api, sandbox, held, end, status, received):
    sandbox.capture_part(held["id"], 7000)
    api.post(REFUNDS, {"payment_intent": held["id"]})
    api.charge_of(held).assert_has(amount_refunded=7000, refunded=False)
    if end == "wait":
        sandbox.advance_clock(7 * DAY)
    else:
        getattr(api, end)(held)

    ended, charge = api.again(held), api.charge_of(held)
    ended.assert_has(status=status, amount_received=received, amount_capturable=0)
    charge.assert_has(captured=True, amount_captured=received, refunded=received == 7000)
    assert sandbox.events[-2]["type"] == "charge.captured"
    booked = api.get(MONEY, {"source": charge["id"]})["data"]  # without the refund
    assert sum(each["amount"] for each in booked) == received


# What a test forces


@pytest.mark.parametrize(
    ("status", "event"),
    [
        ("requires_payment_method", "payment_failed"),
        ("requires_action", "requires_action"),
        ("processing", "processing"),
        ("requires_capture", "amount_capturable_updated"),
        ("succeeded", "succeeded"),
        ("canceled", "canceled"),
    ],
)
def test_advance_emits_the_event_of_the_status(api, sandbox, status, event):
    intent = api.create()

    advanced = sandbox.advance(intent["id"], status)

    emitted = [each for each in sandbox.events if each["type"] == f"payment_intent.{event}"][-1]
    assert emitted["request"] == {"id": None, "idempotency_key": None}
    assert emitted["data"]["object"] == advanced == api.again(intent).json


def test_a_charge_stays_the_same_from_processing_to_success(api, sandbox):
    processing = api.create_in("processing")
    succeeded = sandbox.advance(processing["id"], "succeeded", amount_received=1)

    assert succeeded["latest_charge"] == processing["latest_charge"] is not None
    assert api.again(processing)["amount_received"] == 1


@pytest.mark.parametrize(
    ("status", "fields"), [("paid", {}), ("succeeded", {"amount_recieved": 1})]
)
def test_advance_refuses_what_intents_do_not_have(api, sandbox, status, fields):
    with pytest.raises(ValueError, match="A payment intent has no"):
        sandbox.advance(api.create()["id"], status, **fields)
