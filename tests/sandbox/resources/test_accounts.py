"""The account and its balance.

See: https://docs.stripe.com/api/accounts and https://docs.stripe.com/api/balance (checked 2026-11)
"""

from __future__ import annotations

from shop_payments.sandbox import Fault
from tests.sandbox.support import DAY, REFUNDS

ACCOUNT, BALANCE = "/v1/account", "/v1/balance"


def test_the_account_is_that_of_the_key(api, sandbox):
    found = api.get(ACCOUNT)
    found.assert_has(object="account", charges_enabled=True, default_currency="usd")

    sandbox.inject(Fault("another_account", path=ACCOUNT))

    assert api.get(ACCOUNT)["id"] not in (found["id"], "")
    assert api.get(ACCOUNT)["id"] == found["id"]


def test_the_balance_is_the_sum_of_its_transactions(api, sandbox):
    nothing = [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}]
    api.get(BALANCE).assert_has(available=nothing, pending=nothing, livemode=False)

    charge = api.pay()
    sandbox.advance_clock(60)
    fee = 355

    assert api.get(BALANCE)["pending"][0]["amount"] == 11200 - fee
    sandbox.advance_clock(3 * DAY)
    api.post(REFUNDS, {"charge": charge["id"], "amount": "200"})
    balance = api.get(BALANCE)
    assert balance["pending"][0]["amount"] == 0
    assert balance["available"][0]["amount"] == 11000 - fee
