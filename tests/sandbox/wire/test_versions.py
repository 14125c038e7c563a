"""API versions. See: https://docs.stripe.com/api/versioning (checked 2026-11)"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import ENDPOINTS, INTENTS, KEY, METHODS, Receiver


def test_an_answer_has_one_of_stripes_versions(api):
    assert api.get(INTENTS).headers["stripe-version"] == "2026-10-28.endive"
    older = api.get(INTENTS, Stripe_Version="2025-03-31.basil")
    assert older.headers["stripe-version"] == "2025-03-31.basil"
    for version in ("latest", "2026-10-27.endive", "2026-10-28"):
        refused = api.get(INTENTS, Stripe_Version=version)
        refused.assert_refused(message=f"Invalid Stripe API version: {version}")
    preview = api.get(INTENTS, Stripe_Version="2026-10-28.preview")
    preview.assert_refused(code="sandbox_not_covered")


class Old:
    """Calls the sandbox in an API version, whose objects the SDK's types do not describe."""

    def __init__(self, sandbox: Sandbox, version: str | None) -> None:
        self.sandbox = sandbox
        self.headers = {"Authorization": f"Bearer {KEY}"}
        if version is not None:
            self.headers["Stripe-Version"] = version

    def call(self, method: str, path: str, **params: str) -> dict[str, Any]:
        url, body = f"/v1/{path}", urlencode(params)
        if method == "GET":
            url, body = f"{url}?{body}", ""
        response = self.sandbox.handle(method, url, self.headers, body)
        found: dict[str, Any] = json.loads(response.body)
        return found

    def pay(self, **params: str) -> dict[str, Any]:
        form = {"payment_method": "pm_card_visa", "confirm": "true", "return_url": "https://a.b"}
        return self.call("POST", "payment_intents", amount="1000", currency="usd", **form, **params)


@pytest.mark.parametrize(
    ("version", "charges", "invoice", "automatic", "capture"),
    [
        ("2020-08-27", True, True, False, "automatic"),
        ("2022-08-01", True, True, False, "automatic"),
        ("2022-11-15", False, True, False, "automatic"),
        ("2023-08-16", False, True, True, "automatic"),
        ("2024-04-10", False, True, True, "automatic_async"),
        ("2025-02-24.acacia", False, True, True, "automatic_async"),
        ("2025-03-31.basil", False, False, True, "automatic_async"),
        (None, False, False, True, "automatic_async"),
    ],
)
def test_an_intent_is_shown_as_its_version_does(
    sandbox, version, charges, invoice, automatic, capture
):
    old = Old(sandbox, version)
    intent = old.pay()

    assert ("charges" in intent, "invoice" in intent) == (charges, invoice)
    assert (intent["automatic_payment_methods"] is not None) == automatic
    assert (intent["payment_method_types"] == ["card"]) is not automatic
    assert intent["capture_method"] == capture
    (listed,) = old.call("GET", "payment_intents")["data"]
    assert listed == old.call("GET", f"payment_intents/{intent['id']}") == intent
    explicit = old.pay(**{"capture_method": "manual", "automatic_payment_methods[enabled]": "true"})
    assert explicit["capture_method"] == "manual"
    assert explicit["automatic_payment_methods"]["enabled"] is True


def test_charges_show_their_refunds_before_2022_11_15(sandbox):
    old, new = Old(sandbox, "2022-08-01"), Old(sandbox, None)
    intent = old.pay(**{"metadata[object]": "charge"})
    refund = old.call("POST", "refunds", payment_intent=intent["id"], amount="300")

    for charge in (
        old.call("GET", f"payment_intents/{intent['id']}")["charges"]["data"][0],
        old.call("GET", f"charges/{intent['latest_charge']}"),
        old.call("GET", f"refunds/{refund['id']}", **{"expand[]": "charge"})["charge"],
    ):
        assert [each["id"] for each in charge["refunds"]["data"]] == [refund["id"]]
        assert charge["invoice"] is None
    assert "refunds" not in new.call("GET", f"charges/{intent['latest_charge']}")
    assert intent["metadata"] == {"object": "charge"}


def test_a_release_that_makes_a_refund_is_refused_by_name(sandbox):
    old, newer = Old(sandbox, "2025-02-24.acacia"), Old(sandbox, "2025-03-31.basil")
    first, second = (f"payment_intents/{old.pay(capture_method='manual')['id']}" for _ in "12")

    part = old.call("POST", f"{first}/capture", amount_to_capture="400")["error"]
    canceled = old.call("POST", f"{first}/cancel")["error"]
    whole = old.call("POST", f"{first}/capture", amount_to_capture="1000")

    assert part["code"] == canceled["code"] == "sandbox_not_covered"
    assert "capturing a part in API versions before 2025-03-31.basil" in part["message"]
    assert "canceling an authorization in API versions before" in canceled["message"]
    assert whole["status"] == "succeeded"
    assert newer.call("POST", f"{second}/capture", amount_to_capture="400")["status"] == "succeeded"


def test_an_authorization_expired_automatically_before_basil(sandbox):
    old, newer = Old(sandbox, "2025-02-24.acacia"), Old(sandbox, "2025-03-31.basil")
    path = f"payment_intents/{old.pay(capture_method='manual')['id']}"
    sandbox.advance_clock(8 * 24 * 60 * 60)

    assert old.call("GET", path)["cancellation_reason"] == "automatic"
    assert newer.call("GET", path)["cancellation_reason"] == "expired"


@pytest.mark.parametrize(
    ("iban", "version", "required"),
    [
        ("CH9300762011623852957", "2026-09-30.endive", ["country", "line1", "city", "postal_code"]),
        ("GB82WEST12345698765432", "2026-08-26.dahlia", ["country", "line1"]),
        ("LI0508800636123378777", "2026-10-28.endive", []),
    ],
)
def test_a_debit_from_outside_the_eea_needs_an_address(api, iban, version, required):
    form = {
        "type": "sepa_debit",
        "sepa_debit[iban]": iban,
        "billing_details[name]": "Jenny Rosen",
        "billing_details[email]": "jenny@example.com",
    }
    address = {f"billing_details[address][{name}]": "x" for name in required}

    assert api.post(METHODS, {**form, **address}, Stripe_Version=version).status == 200
    for name in address:
        given = {**form, **address}
        del given[name]
        refused = api.post(METHODS, given, Stripe_Version=version)
        refused.assert_refused(code="parameter_missing", message=f"required param: {name}.")


def test_an_account_may_have_an_older_version():
    sandbox, receiver = Sandbox(api_version="2022-08-01"), Receiver()
    sandbox.add_webhook("http://127.0.0.1/", "whsec_x", deliver=receiver)
    intent = Old(sandbox, None).pay()
    sandbox.deliver_due()

    assert [each["id"] for each in intent["charges"]["data"]] == [intent["latest_charge"]]
    assert {each["api_version"] for each in receiver.events} == {"2022-08-01"}
    created, succeeded = (
        next(each for each in receiver.events if each["type"] == f"payment_intent.{name}")
        for name in ("created", "succeeded")
    )
    assert created["data"]["object"]["charges"]["data"] == []
    assert len(succeeded["data"]["object"]["charges"]["data"]) == 1
    # Also for a request that asks for another version.
    listed = Old(sandbox, "2026-10-28.endive").call("GET", "events", type="payment_intent.created")
    assert "charges" in listed["data"][0]["data"]["object"]


def test_versions_with_other_statuses_are_refused_by_name(api):
    refused = api.get(INTENTS, Stripe_Version="2018-11-08")
    refused.assert_refused(code="sandbox_not_covered")
    assert "API versions before 2019-02-11" in refused["error"]["message"]
    form = {"url": "http://127.0.0.1/", "enabled_events[]": "*", "api_version": "2018-11-08"}
    api.post(ENDPOINTS, form).assert_refused(code="sandbox_not_covered")
    for version in ("2018-11-08", "newest"):
        with pytest.raises(ValueError, match=f"no API version '{version}'"):
            Sandbox(api_version=version)
