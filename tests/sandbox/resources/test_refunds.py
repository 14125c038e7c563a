"""Refunds: parameters, transitions and events.

See: https://docs.stripe.com/api/refunds and https://docs.stripe.com/refunds#failed-refunds
(checked 2026-11)
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import DAY, INTENTS, MONEY, REFUNDS

UPDATED = ["refund.updated", "charge.refund.updated"]


def balance(api):
    return sum(row["net"] for row in api.get(MONEY)["data"])


def test_refunds_add_up_on_the_charge_and_do_not_change_the_intent(api, sandbox):
    charge = api.pay()
    intent = api.get(f"{INTENTS}/{charge['payment_intent']}").json
    number = len(sandbox.events)

    part = api.refund(charge, amount="11199", reason="fraudulent", **{"metadata[a]": "b"})
    charge_meanwhile = api.again(charge)
    rest = api.post(REFUNDS, {"payment_intent": intent["id"]})

    part.assert_has(amount=11199, currency="usd", status="succeeded")
    part.assert_has(charge=charge["id"], payment_intent=intent["id"])
    part.assert_has(reason="fraudulent", metadata={"a": "b"})
    assert api.again(part).json == part.json
    charge_meanwhile.assert_has(amount_refunded=11199, refunded=False)
    charge_meanwhile.assert_has(fraud_details={"user_report": "fraudulent"})
    rest.assert_has(charge=charge["id"], amount=1)
    api.again(charge).assert_has(amount_refunded=11200, refunded=True)
    api.again(charge).assert_has(amount_captured=11200, status="succeeded")
    assert api.again(intent).json == intent
    assert api.events_after(number) == ["refund.created", "charge.refunded"] * 2
    changed = sandbox.events[-1]["data"]["previous_attributes"]
    assert changed == {"amount_refunded": 11199, "refunded": False}


def test_only_what_was_captured_can_be_refunded(api):
    charge = api.pay(capture_method="manual")
    api.post(f"{INTENTS}/{charge['payment_intent']}/capture", {"amount_to_capture": "5000"})

    refused = api.post(REFUNDS, {"charge": charge["id"], "amount": "5001"})
    refund = api.refund(charge)

    refused.assert_refused(
        message="Refund amount ($50.01) is greater than unrefunded amount on charge ($50.00)"
    )
    assert (refund["amount"], api.again(charge)["refunded"]) == (5000, True)


def test_only_metadata_is_updated(api, sandbox):
    refund = api.refund(api.pay(), **{"metadata[a]": "1"})
    number = len(sandbox.events)

    updated = api.post(f"{REFUNDS}/{refund['id']}", {"metadata[b]": "2"})

    assert updated["metadata"] == {"a": "1", "b": "2"}
    assert api.events_after(number) == UPDATED
    for event in sandbox.events[number:]:
        assert event["data"]["previous_attributes"] == {"metadata": {"a": "1"}}
        assert event["request"]["id"] == updated.headers["request-id"]


@pytest.mark.parametrize(
    ("method", "seconds"), [("pm_card_pendingRefund", 3600), ("pm_usBankAccount_success", 3 * DAY)]
)
def test_a_refund_may_be_pending(api, sandbox, method, seconds):
    charge = api.pay(method) if method.startswith("pm_card") else api.debit(method)

    refund = api.refund(charge)
    number = len(sandbox.events)
    sandbox.advance_clock(seconds - 1)
    assert api.again(refund).json == refund.json
    sandbox.advance_clock(1)

    refund.assert_has(status="pending", pending_reason="processing")
    assert api.again(refund)["status"] == "succeeded"
    assert "pending_reason" not in api.again(refund).json
    assert api.events_after(number) == UPDATED
    before = {"status": "pending", "pending_reason": "processing"}
    assert sandbox.events[-1]["data"]["previous_attributes"] == before


def test_a_refund_may_fail_later_and_be_repeated(api, sandbox):
    charge = api.pay("pm_card_refundFail")
    paid = balance(api)

    refund = api.refund(charge)
    sent = balance(api)
    number = len(sandbox.events)
    sandbox.advance_clock(3600)

    assert (refund["status"], sent, balance(api)) == ("succeeded", paid - 11200, paid)
    api.again(refund).assert_has(status="failed", failure_reason="expired_or_canceled_card")
    api.again(charge).assert_has(amount_refunded=0, refunded=False)
    assert api.events_after(number) == ["refund.failed", *UPDATED]
    assert api.refund(charge)["amount"] == 11200


def test_a_refund_gets_a_reference_later_unless_it_fails(api, sandbox):
    failed, refund = api.refund(api.pay()), api.refund(api.pay())
    sandbox.advance_refund(failed["id"], "failed")

    sandbox.advance_clock(3 * DAY)

    cards = [api.again(each)["destination_details"]["card"] for each in (failed, refund)]
    assert [card["reference_status"] for card in cards] == ["pending", "available"]
    assert len(cards[1]["reference"]) == 23


def test_a_refund_that_waits_for_the_customer_is_canceled(api, sandbox):
    charge = api.pay("pm_card_pendingRefund")
    refund = api.refund(charge)
    sandbox.advance_refund(refund["id"], "requires_action")

    canceled = api.post(f"{REFUNDS}/{refund['id']}/cancel")
    sandbox.advance_clock(DAY)

    assert (canceled["status"], api.again(refund)["status"]) == ("canceled", "canceled")
    assert api.again(charge)["amount_refunded"] == 0


def test_other_transitions_of_a_refund_are_refused(api, sandbox):
    failed, pending = (api.refund(api.pay("pm_card_pendingRefund"))["id"] for _ in range(2))
    sandbox.advance_refund(failed, "failed")

    for refund_id, move, message in (
        (failed, {"status": "succeeded"}, "from failed to succeeded"),
        (pending, {"status": "arrived"}, "from pending to arrived"),
        (pending, {"status": "failed", "failure_reason": "bad luck"}, "not fail for 'bad luck'"),
    ):
        with pytest.raises(ValueError, match=message):
            sandbox.advance_refund(refund_id, **move)
