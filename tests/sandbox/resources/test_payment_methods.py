"""PaymentMethods. See: https://docs.stripe.com/api/payment_methods (checked 2026-11)"""

from __future__ import annotations

from tests.sandbox.support import METHODS, NEW_CARD, Has


def test_a_card_number_makes_a_payment_method(api):
    more = {"billing_details[address][city]": "Lyon", "metadata[a]": "b"}
    made = api.post(METHODS, {**NEW_CARD, **more})
    token = api.post(METHODS, {"type": "card", "card[token]": "tok_visa"})["card"]

    assert made["id"].startswith("pm_1")
    made.assert_has(type="card", customer=None, metadata={"a": "b"})
    made.assert_has(billing_details=Has(address=Has(city="Lyon")))
    made.assert_has(card=Has(last4="4242", exp_month=12, exp_year=2099))
    made.assert_has(card=Has(checks=Has(cvc_check="unchecked"), fingerprint=token["fingerprint"]))
    assert token["exp_year"] == 2097
    assert api.again(made).json == made.json


def test_without_a_customer_it_pays_once(api):
    made = api.post(METHODS, NEW_CARD)
    attached = api.create(payment_method=made["id"])
    api.confirm(api.create(), made["id"])
    other = api.create()

    api.confirm(other, made["id"]).assert_refused(message="It may not be used again")

    assert api.again(other)["payment_method"] is None
    assert api.confirm(attached).status == 400
