"""Refunds: what they take, how they go on, their events.

See: https://docs.stripe.com/api/refunds and https://docs.stripe.com/refunds#failed-refunds
(checked 2026-11). What is refused is in `refusals`.
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import DAY, MONEY, REFUNDS

UPDATED = ["refund.updated", "charge.refund.updated"]


def balance(api):
    return sum(row["net"] for row in api.get(MONEY)["data"])


def test_a_refund_names_what_it_is_of(api):
    charge = api.pay()

    refund = api.refund(charge, amount="1500", reason="fraudulent", **{"metadata[a]": "b"})

    assert refund["id"].startswith("re_")
    refund.assert_has(amount=1500, currency="usd", status="succeeded")
    refund.assert_has(charge=charge["id"], payment_intent=charge["payment_intent"])
    refund.assert_has(reason="fraudulent", metadata={"a": "b"})
    assert refund["destination_details"]["card"]["reference_status"] == "pending"
    for name in ("failure_reason", "failure_balance_transaction", "pending_reason", "next_action"):
        assert name not in refund.json
    assert api.again(refund).json == refund.json
    assert api.again(charge)["fraud_details"] == {"user_report": "fraudulent"}


def test_parts_add_up_at_the_charge_and_the_intent_stays_as_it_is(api, sandbox):
    charge = api.pay()
    intent = api.get(f"/v1/payment_intents/{charge['payment_intent']}").json
    number = len(sandbox.events)

    first = api.refund(charge, amount="11199")
    part = api.again(charge)
    rest = api.post(REFUNDS, {"payment_intent": intent["id"]})
    whole = api.again(charge)

    part.assert_has(amount_refunded=11199, refunded=False)
    rest.assert_has(charge=charge["id"], amount=1)
    whole.assert_has(amount_refunded=11200, refunded=True)
    whole.assert_has(amount_captured=11200, status="succeeded")
    assert api.again(intent).json == intent
    assert api.events_after(number) == ["refund.created", "charge.refunded"] * 2
    made, _, _, refunded = (event["data"] for event in sandbox.events[number:])
    assert made["object"] == first.json
    assert refunded == {
        "object": whole.json,
        "previous_attributes": {"amount_refunded": 11199, "refunded": False},
    }


def test_a_captured_part_is_all_that_can_be_refunded(api):
    charge = api.pay(capture_method="manual")
    held = api.post(REFUNDS, {"charge": charge["id"]})
    api.post(
        f"/v1/payment_intents/{charge['payment_intent']}/capture", {"amount_to_capture": "5000"}
    )

    refused = api.post(REFUNDS, {"charge": charge["id"], "amount": "5001"})
    refund = api.refund(charge)

    assert "You must cancel the PaymentIntent to reverse" in held.error["message"]
    assert refused.error["message"] == (
        "Refund amount ($50.01) is greater than unrefunded amount on charge ($50.00)"
    )
    assert (refund["amount"], api.again(charge)["refunded"]) == (5000, True)


@pytest.mark.parametrize(
    ("currency", "refused", "taken", "message"),
    [
        ("kwd", "1001", "1010", "must be divisible by 10."),
        ("isk", "150", "200", "must be divisible by 100."),
        ("jpy", "11201", "1", "(11,201 jpy) is greater than unrefunded"),
        ("eur", "11201", "1", "(€112.01) is greater than unrefunded"),
    ],
)
def test_amounts_have_their_currencys_steps(api, currency, refused, taken, message):
    charge = api.pay(currency=currency)

    answer = api.post(REFUNDS, {"charge": charge["id"], "amount": refused})

    assert (answer.status, message in answer.error["message"]) == (400, True)
    assert api.refund(charge, amount=taken)["amount"] == int(taken)


@pytest.mark.parametrize("by", ["charge", "payment_intent"])
def test_a_failed_charge_has_nothing_to_refund(api, by):
    error = api.confirm(api.create(), "pm_card_chargeDeclined").error
    ids = {"charge": error["charge"], "payment_intent": error["payment_intent"]["id"]}

    answer = api.post(REFUNDS, {by: ids[by]})

    assert "does not have a successful charge to refund" in answer.error["message"]


def test_only_metadata_is_updated(api, sandbox):
    refund = api.refund(api.pay(), **{"metadata[a]": "1"})
    number = len(sandbox.events)

    updated = api.post(f"{REFUNDS}/{refund['id']}", {"metadata[b]": "2"})

    assert updated["metadata"] == {"a": "1", "b": "2"}
    assert api.events_after(number) == UPDATED
    for event in sandbox.events[number:]:
        assert event["data"]["previous_attributes"] == {"metadata": {"a": "1"}}
        assert event["request"]["id"] == updated.headers["request-id"]


# How they go on


@pytest.mark.parametrize(
    ("method", "seconds"),
    [
        ("pm_card_pendingRefund", 3600),
        ("pm_usBankAccount_success", 3 * DAY),
        ("pm_success_de", 3 * DAY),
    ],
)
def test_a_refund_may_wait(api, sandbox, method, seconds):
    is_card = method.startswith("pm_card")
    charge = api.pay(method) if is_card else api.debit(method)

    refund = api.refund(charge)
    meanwhile = api.again(charge)["refunded"]
    number = len(sandbox.events)
    sandbox.advance_clock(seconds - 1)
    assert api.again(refund).json == refund.json
    sandbox.advance_clock(1)
    later = api.again(refund)

    assert refund["id"].startswith("re_" if is_card else "pyr_")
    assert ("destination_details" in refund.json) == is_card
    refund.assert_has(status="pending", pending_reason="processing")
    assert (meanwhile, later["status"]) == (True, "succeeded")
    assert "pending_reason" not in later.json
    assert api.events_after(number) == UPDATED
    before = {"status": "pending", "pending_reason": "processing"}
    assert sandbox.events[-1]["data"]["previous_attributes"] == before


def test_a_refund_may_fail_later_and_be_made_again(api, sandbox):
    charge = api.pay("pm_card_refundFail")
    paid = balance(api)

    refund = api.refund(charge)
    sent = balance(api)
    number = len(sandbox.events)
    sandbox.advance_clock(3600)
    failed = api.again(refund)

    assert (refund["status"], sent, balance(api)) == ("succeeded", paid - 11200, paid)
    failed.assert_has(status="failed", failure_reason="expired_or_canceled_card")
    api.again(charge).assert_has(amount_refunded=0, refunded=False)
    assert api.events_after(number) == ["refund.failed", *UPDATED]
    assert sandbox.events[-1]["data"]["previous_attributes"] == {
        "status": "succeeded",
        "failure_reason": None,
        "failure_balance_transaction": None,
    }
    back = api.get(f"{MONEY}/{failed['failure_balance_transaction']}")
    back.assert_has(amount=11200, type="refund_failure", source=failed["id"])
    assert api.refund(charge)["amount"] == 11200


@pytest.mark.parametrize("fails", [False, True])
def test_the_customers_bank_gives_a_refund_a_reference(api, sandbox, fails):
    refund = api.refund(api.pay())
    if fails:
        sandbox.advance_refund(refund["id"], "failed")
    number = len(sandbox.events)

    sandbox.advance_clock(3 * DAY)

    card = api.again(refund)["destination_details"]["card"]
    assert card["reference_status"] == ("pending" if fails else "available")
    assert len(card.get("reference", "")) == (0 if fails else 23)
    assert api.events_after(number) == ([] if fails else UPDATED)


def test_a_refund_that_waits_for_the_customer_is_canceled(api, sandbox):
    charge = api.pay("pm_card_pendingRefund")
    refund = api.refund(charge)
    sandbox.advance_refund(refund["id"], "requires_action")
    number = len(sandbox.events)

    canceled = api.post(f"{REFUNDS}/{refund['id']}/cancel")
    sandbox.advance_clock(DAY)

    assert (canceled["status"], api.again(refund)["status"]) == ("canceled", "canceled")
    assert api.events_after(number) == UPDATED
    assert api.again(charge)["amount_refunded"] == 0


# The lever


@pytest.mark.parametrize(
    ("before", "move", "message"),
    [
        (["failed"], {"status": "succeeded"}, "from failed to succeeded"),
        (["canceled"], {"status": "failed"}, "from canceled to failed"),
        (["succeeded"], {"status": "pending"}, "from succeeded to pending"),
        (["succeeded"], {"status": "canceled"}, "from succeeded to canceled"),
        ([], {"status": "arrived"}, "from pending to arrived"),
        ([], {"status": "failed", "failure_reason": "bad luck"}, "not fail for 'bad luck'"),
    ],
)
def test_a_refund_makes_no_other_moves(api, sandbox, before, move, message):
    refund = api.refund(api.pay("pm_card_pendingRefund"))
    for status in before:
        sandbox.advance_refund(refund["id"], status)
    state = api.again(refund).json, sandbox.events

    with pytest.raises(ValueError, match=message):
        sandbox.advance_refund(refund["id"], **move)

    assert (api.again(refund).json, sandbox.events) == state
