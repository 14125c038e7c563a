"""Events in other forms, as endpoints of old API versions and of event destinations get them.

See: https://docs.stripe.com/upgrades#2022-11-15 and
https://docs.stripe.com/event-destinations#thin-events (checked 2026-11)
"""

from __future__ import annotations

from shop_payments.sandbox import Fault


def test_an_old_version_shows_charges_in_a_list(api, sandbox, receiver):
    sandbox.inject(Fault("webhook_old", times=None))
    charge = api.pay()
    api.refund(charge)
    sandbox.deliver_due()

    created, succeeded, refund = (receiver.events[at]["data"]["object"] for at in (0, 2, 4))
    assert {event["api_version"] for event in receiver.events} == {"2022-08-01"}
    assert (created["charges"]["data"], "latest_charge" in created) == ([], False)
    assert [each["id"] for each in succeeded["charges"]["data"]] == [charge["id"]]
    assert (refund["object"], "payment_intent" in refund) == ("refund", False)


def test_a_thin_event_names_its_object_and_another_one_its_connected_account(
    api, sandbox, receiver
):
    sandbox.inject(Fault("webhook_thin"))
    intent = api.create()
    sandbox.inject(Fault("webhook_of_account"))
    api.create()
    sandbox.deliver_due()

    thin, of_account = receiver.events
    assert (thin["object"], thin["type"]) == ("v2.core.event", "v1.payment_intent.created")
    assert (thin["created"], "data" in thin) == ("2096-10-02T07:06:40.000Z", False)
    path = f"/v1/payment_intents/{intent['id']}"
    assert thin["related_object"] == {"id": intent["id"], "type": "payment_intent", "url": path}
    assert of_account["account"] == "acct_1SandboxConnected"
    assert "account" not in sandbox.events[1]


def test_a_thin_event_has_the_address_of_its_object(api, sandbox, receiver):
    sandbox.inject(Fault("webhook_thin", times=None))
    charge = api.pay("pm_card_createIssuerFraudRecord")
    api.refund(charge)
    sandbox.open_review(charge["payment_intent"])
    sandbox.advance_clock(1)
    sandbox.deliver_due()

    related = [event["related_object"] for event in receiver.events]
    kinds = {"payment_intent", "charge", "refund", "review", "radar.early_fraud_warning"}
    assert {each["type"] for each in related} == kinds
    for each in related:
        assert api.get(each["url"])["id"] == each["id"]
