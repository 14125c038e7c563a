"""Transitions: captures, and authorizations that expire.

See: https://docs.stripe.com/payments/paymentintents/lifecycle,
https://docs.stripe.com/payments/place-a-hold-on-a-payment-method and
https://docs.stripe.com/payments/multicapture (checked 2026-11)
"""

from __future__ import annotations

import pytest

from shop_payments.lifecycle import TRANSITIONS, IntentStatus
from shop_payments.sandbox.resources.payment_intents.moves import LEGAL_MOVES
from tests.sandbox.support import DAY, MONEY, REFUNDS, Has


def test_the_transitions_are_those_of_the_app():
    ours = {(old, new) for old in LEGAL_MOVES for new in LEGAL_MOVES[old] if old != new}
    apps = {(str(old), str(new)) for old in TRANSITIONS for new in TRANSITIONS[old]}

    assert ours == {move for move in apps if IntentStatus.MISSING not in move}


@pytest.fixture
def held(api):
    card = {"payment_method": "pm_card_visa", "confirm": "true"}
    return api.create(capture_method="manual", **card, **{"metadata[a]": "1"})


def test_a_manual_payment_is_authorized_first_and_expires_after_a_week(api, sandbox, held):
    held.assert_has(status="requires_capture", amount_capturable=11200, amount_received=0)
    charge = api.charge_of(held)
    charge.assert_has(status="succeeded", paid=True, captured=False, amount_captured=0)
    end = held["created"] + 7 * DAY
    assert charge["payment_method_details"]["card"]["capture_before"] == end

    sandbox.advance_clock(7 * DAY - 1)
    assert api.again(held)["status"] == "requires_capture"
    sandbox.advance_clock(1)

    expired = api.again(held)
    expired.assert_has(status="canceled", cancellation_reason="expired", canceled_at=end)
    expired.assert_has(amount_capturable=0)
    api.charge_of(held).assert_has(captured=False, refunded=False, paid=True)
    assert api.get(MONEY)["data"] == []
    authorized = "payment_intent.amount_capturable_updated"
    assert api.events_after(2) == [authorized, "charge.expired", "payment_intent.canceled"]


def test_capture_takes_a_part_and_releases_the_rest(api, sandbox, held):
    captured = api.capture(held, amount_to_capture="5000", **{"metadata[b]": "2"})
    again = api.capture(held)

    captured.assert_has(status="succeeded", amount=11200, amount_capturable=0)
    captured.assert_has(amount_received=5000, metadata={"a": "1", "b": "2"})
    assert captured["latest_charge"] == held["latest_charge"]
    charge = api.charge_of(held)
    charge.assert_has(captured=True, amount_captured=5000, refunded=False, amount_refunded=0)
    assert api.get(MONEY)["data"] == [Has(id=charge["balance_transaction"], amount=5000)]
    assert api.get(REFUNDS)["data"] == []
    again.assert_refused(message="the authorized amount has been released")
    sandbox.advance_clock(8 * DAY)  # it does not expire
    assert api.again(held).json == captured.json
    assert api.events_after(3) == ["charge.captured", "payment_intent.succeeded"]


def test_a_captured_or_refunded_part_must_fit_the_currency(api):
    held = api.confirm(api.create(currency="kwd"), "pm_card_visa", capture_method="manual")

    refused = api.capture(held, amount_to_capture="5001")
    captured = api.capture(held, amount_to_capture="5000", final_capture="true")
    refund = api.post(REFUNDS, {"payment_intent": held["id"], "amount": "1001"})

    refused.assert_refused(param="amount_to_capture")
    assert captured["amount_received"] == 5000
    refund.assert_refused(message="must be divisible by 10.")


def test_a_part_is_captured_and_the_rest_stays_authorized(api, sandbox, held):
    sandbox.capture_part(held["id"], 4000)
    captured = sandbox.capture_part(held["id"], 3000)

    assert captured == Has(status="requires_capture", amount_received=7000, amount_capturable=4200)
    api.charge_of(held).assert_has(captured=False, amount_captured=7000)
    updated = ["charge.updated", "payment_intent.amount_capturable_updated"]
    assert api.events_after(3) == updated * 2
    before = {"amount_capturable": 7200, "amount_received": 4000}
    assert sandbox.events[-1]["data"]["previous_attributes"] == before
    with pytest.raises(ValueError, match="4200 is not a part of the authorized amount"):
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
