"""Refunds in trouble at Stripe: none is sent twice, and none is given up too early."""

from __future__ import annotations

from typing import Any

import pytest

from shop_payments.conf import STRIPE_API_BASE
from shop_payments.maintenance.reconcile import Report
from shop_payments.models import Refund, StripeAttempt
from shop_payments.sandbox import Fault, Sandbox, SandboxResponse, SandboxServer
from shop_payments.services.give_up_refund import give_up_refund
from shop_payments.testing import StripeSandbox
from tests.books import STAFF, at, refund_in_dashboard, refunds_at_stripe, sweep
from tests.support import answer, writes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("books_agree")]

REFUND = {"amount": "40.00"}
UNAVAILABLE = (503, "gateway_unavailable")
IN_PROGRESS = (409, "refund_in_progress")


@pytest.fixture
def refund(office, order, paid):
    """Ask for 40.00 under the key "a", and return the answer."""
    return lambda: office.refund(order, REFUND, key="a")


@pytest.fixture
def trouble(stripe, refund):
    """Ask for 40.00 under the key "a", with a fault; nobody knows what comes of it."""

    def make(kind: Any, **fault: Any) -> None:
        stripe.inject(Fault(kind, method="POST", path="/v1/refunds", **fault))
        response = refund()
        assert answer(response) == UNAVAILABLE
        assert response["Retry-After"]
        assert Refund.objects.get().status == "requested"

    return make


def amounts_at_stripe(stripe: StripeSandbox) -> list[int]:
    return [each["amount"] for each in refunds_at_stripe(stripe)]


def assert_done(response, stripe) -> None:
    assert (response.status_code, response.json()["data"]["status"]) == (200, "succeeded")
    assert amounts_at_stripe(stripe) == [4000]


# --- a lost answer ------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop_before", "drop_after", "error_after"])
def test_a_lost_answer_is_finished_by_the_next_call(trouble, refund, office, order, stripe, fault):
    """Until then it reserves its amount. Stripe may fail when the money is on its way already."""
    trouble(fault)

    refused = office.refund(order, {"amount": "72.01"})
    assert answer(refused) == (409, "refund_exceeds_balance")
    assert refused.json()["data"]["refundable"] == "72.00"
    assert_done(refund(), stripe)


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_an_old_key_is_not_sent_again(trouble, refund, stripe, fault):
    """And a refund that others made meanwhile is not taken for it."""
    trouble(fault)
    others = refund_in_dashboard(stripe, amount="1000")["id"]
    sent = len(writes(stripe))

    for hours in (24, 26):
        with at(hours):
            again = refund()

    expected = "succeeded" if fault == "drop_after" else "refused"
    assert again.json()["data"]["status"] == expected
    assert len(writes(stripe)) == sent
    assert Refund.objects.get(request_key="a").stripe_id != others


# --- an answer that says nothing ----------------------------------------------------------------


def test_a_refund_that_did_not_happen_is_never_answered_with_success(
    trouble, refund, office, order, stripe
):
    """Found: a repetition was answered with 200 and "Refund created successfully"."""
    trouble("error", status=500)

    for _time in range(2):
        again = refund()
        assert answer(again) == IN_PROGRESS, "it may still happen at Stripe"
        assert "The outcome of this refund of 40.00 USD is not known yet" in again.json()["message"]
        assert again["Retry-After"]
    given_up = give_up_refund(
        refund_pk=Refund.objects.get().pk, reason="Not in the dashboard.", origin=STAFF
    )

    assert given_up.failure == "given up by staff: Not in the dashboard."
    refused, again = refund(), refund()
    assert answer(refused) == (409, "refund_refused")
    assert refused.json() == again.json()
    assert (again.json()["data"]["status"], again["Idempotency-Key"]) == ("refused", "a")
    assert not refunds_at_stripe(stripe)
    assert office.refund(order, key="b").json()["data"]["amount"] == "112.00"


@pytest.mark.parametrize("days", [0, 2])
def test_a_refund_that_stripe_finishes_later_is_found(trouble, stripe, webhooks, days):
    """Also after it was given up."""
    trouble("effect_later", seconds=300 + days * 24 * 3600)
    assert (sweep().attempts, Refund.objects.get().status) == (0, "requested")
    if days:
        for hours in (24, 26):
            sweep(hours=hours)
        assert Refund.objects.get().status == "refused"

    stripe.advance_clock(300 + days * 24 * 3600)
    webhooks()

    assert Refund.objects.get().status == "succeeded"
    assert amounts_at_stripe(stripe) == [4000]


def test_a_refusal_of_somebody_else_does_not_refuse_the_refund(
    trouble, refund, stripe, configure, nobody_waits
):
    """Found: the money was on its way, a proxy refused the repetition, and it was given up."""
    trouble("drop_after")

    blocked = b'{"error": {"code": 400, "message": "The form looks dangerous"}}'
    configure(STRIPE_TRANSPORT=lambda *request: SandboxResponse(400, {}, blocked))
    assert answer(refund()) == UNAVAILABLE
    configure(STRIPE_TRANSPORT=stripe.handle)

    assert_done(refund(), stripe)


@pytest.mark.parametrize(
    "changes", [{"payment_intent": "pi_of_another"}, {"amount": 0}, {"currency": None}]
)
def test_a_refund_that_is_not_the_one_asked_for_stays_requested(refund, stripe, alter, changes):
    alter("/v1/refunds", lambda values: {**values, **changes})
    assert answer(refund()) == UNAVAILABLE
    assert Refund.objects.get().status == "requested"
    alter.stop()

    assert_done(refund(), stripe)


# --- given up when two looks agree --------------------------------------------------------------


def test_it_is_given_up_when_two_looks_after_the_keys_life_agree(trouble, refund):
    trouble("error", status=500)

    statuses = []
    for hours in (22, 24, 24.5, 25.5):
        sweep(hours=hours)
        statuses.append(Refund.objects.get().status)

    assert statuses == ["requested", "requested", "requested", "refused"]
    assert Refund.objects.get().failure.startswith("Stripe had no such refund a day after")
    assert StripeAttempt.objects.get(operation="create_refund").outcome == "abandoned"
    assert answer(refund()) == (409, "refund_refused")


# --- a key of another account -------------------------------------------------------------------


@pytest.fixture
def lost(trouble, stripe) -> None:
    """40.00 were refunded, and the answers to the request and to the SDK's retry were lost."""
    trouble("drop_after", times=2)
    stripe.clear_faults()


def sweep_under_another_accounts_key(stripe: StripeSandbox, **later: float) -> Report:
    """The sweep names the key, and nothing else."""
    stripe.inject(Fault("another_account", times=None))
    report = sweep(**later)
    stripe.clear_faults()
    words = "Check that SHOP_PAYMENTS['STRIPE_SECRET_KEY'] belongs to the account"
    assert report.problems
    assert [problem for problem in report.problems if words not in problem] == []
    assert Refund.objects.get().status == "requested"
    return report


def test_a_sweep_under_another_accounts_key_refuses_no_lost_refund(
    lost, refund, office, order, stripe
):
    """Found: the resend got "No such payment_intent", and the amount was free for another key."""
    assert sweep_under_another_accounts_key(stripe).attempts == 0
    assert answer(office.refund(order, {"amount": "80.00"}, key="b"))[0] == 409

    report = sweep()
    assert (report.attempts, report.problems) == (1, [])
    assert_done(refund(), stripe)


def test_a_restarted_sandbox_is_named(paid, office, order, configure, settings, caplog):
    """Found: the log and the client were told of a wrong key, and of a provider out of reach."""
    transport = settings.SHOP_PAYMENTS["STRIPE_TRANSPORT"]
    with SandboxServer(Sandbox()) as server:  # the payment is in another one
        address = server.url
        configure(STRIPE_TRANSPORT=None, STRIPE_API_BASE=address)
        response = office.refund(order, {"amount": "40.00"})
    assert answer(response) == (503, "gateway_unavailable")
    assert response["Retry-After"] == "60"
    assert response.json()["message"] == (
        "The payment provider does not know this payment at present. Try again later, or contact "
        "the shop."
    )
    (line,) = [each.getMessage() for each in caplog.records if "under the key" in each.message]
    assert "The sandbox forgets everything when it is restarted." in line
    assert "STRIPE_SECRET_KEY" not in line
    assert Refund.objects.get().status == "requested"

    office.refund(order, {"amount": "40.00"}, key="b")
    configure(STRIPE_TRANSPORT=transport, STRIPE_API_BASE=STRIPE_API_BASE)
    assert f"reached at {address} (APIConnectionError). Start the sandbox: manage" in caplog.text


def test_a_look_under_another_accounts_key_does_not_count(lost, stripe):
    """Found: after two such looks the refund was given up, and 80.00 were refunded."""
    stripe.advance_clock(25 * 3600)
    for hours in (25, 27):
        sweep_under_another_accounts_key(stripe, hours=hours)

    assert sweep(hours=28).problems == []
    assert Refund.objects.get().status == "succeeded"
