"""What comes after the payment leaves no secret behind, whatever goes wrong with it."""

from __future__ import annotations

import json

import pytest
from django.db import connection

from shop_payments.gateway import get_gateway
from shop_payments.models import BalanceTransaction, Dispute, OrderPayment, PaymentIntent, Refund
from tests.canary.mangled import MANGLED, Mangler, spill
from tests.canary.reports import FrameAudit, look_at_errors, reports_of
from tests.canary.scene import DatabaseGone, Scene, reachable_through, run_what_comes_after
from tests.canary.test_flow import EVERY_FAULT
from tests.support import Caller, event_body

# Locks are taken, and wishes kept, in real transactions.
pytestmark = pytest.mark.django_db(transaction=True)


def test_it_leaves_no_secret_anywhere(scene, canary, capfd):
    statuses = run_what_comes_after(scene)
    scene.walk_the_api()
    scene.walk_the_admin()
    canary.look_at("the console", "".join(capfd.readouterr()))

    assert set(statuses) == {200, 409}
    assert {*Refund.objects.values_list("status", flat=True)} == {"succeeded", "failed", "refused"}
    assert Dispute.objects.get().status == "lost"
    assert OrderPayment.objects.filter(status="paid").count() == 3
    assert PaymentIntent.objects.get(status="canceled").cancellation_reason == "abandoned"
    assert BalanceTransaction.objects.count() > 5
    types = {event["type"].rpartition(".")[0] for event in scene.stripe.events}
    assert {"refund", "charge", "charge.refund", "charge.dispute"} <= types
    canary.assert_silent()


@pytest.mark.parametrize("fault", EVERY_FAULT, ids=lambda each: f"{each.kind} {each.status or ''}")
def test_no_fault_of_stripes_brings_a_secret_to_light(scene, canary, stripe, fault):
    statuses = run_what_comes_after(scene, lambda: stripe.inject(fault))

    assert 500 not in statuses
    assert fault.kind == "latency" or {503, 409} & {*statuses}
    reports_of(canary)
    canary.assert_silent()


@pytest.mark.parametrize("name", MANGLED)
def test_no_answer_of_stripes_does(scene, canary, stripe, configure, name):
    mangler = Mangler(stripe, MANGLED[name])
    configure(**reachable_through(mangler))

    statuses = run_what_comes_after(scene, mangler.arm)

    if name == "secrets everywhere":
        scene.walk_the_admin()
    assert 500 not in statuses
    reports_of(canary)
    canary.assert_silent()


KINDS = {
    "refund.updated": "refunds",
    "charge.refunded": "charges",
    "charge.dispute.closed": "disputes",
}


@pytest.mark.parametrize("name", MANGLED)
@pytest.mark.parametrize("type_", KINDS)
def test_no_event_of_stripes_does(scene, canary, stripe, type_, name):
    scene.ask()
    scene.pay("pm_card_createDisputeInquiry")
    scene.settle()
    scene.refund()
    subject = next(iter(getattr(stripe._books, KINDS[type_]).values()))
    mangled = MANGLED[name](subject)
    content = mangled[1] if isinstance(mangled, tuple) else mangled
    bodies = [
        event_body({}, type=type_, data={"object": content}),
        event_body({}, type=type_, data={"object": {**subject, "payment_intent": content}}),
        event_body({}, type=type_, data={"object": {**subject, "id": spill(subject)}}),
        event_body({}, type=type_ + spill(subject), data={"object": subject}),
    ]

    statuses = {scene.send(body).status_code for body in bodies}

    assert statuses <= {200, 400, 503}
    if name == "secrets everywhere":
        scene.walk_the_admin()
    reports_of(canary)
    canary.assert_silent()


def test_staff_who_refund_in_the_browsable_api_see_no_secret(scene, canary):
    scene.ask()
    scene.pay()
    scene.settle()
    staff = Caller(client=scene.staff)
    path = f"orders/{scene.order.pk}/refunds"

    staff.get(path, Accept="text/html")
    for amount in ("1.00", "112.00", "x"):
        staff.post(path, {"amount": amount}, Accept="text/html")

    assert Refund.objects.get().amount == 100
    canary.assert_silent()


def newest(scene: Scene, call: str) -> bytes:
    """The event that the call is about; a charge's own may come after it, as time passes."""
    wanted = "refund.created" if call == "refund webhook" else "charge.dispute.created"
    events = [event for event in scene.stripe.events if event["type"] == wanted]
    return json.dumps(events[-1]).encode()


@pytest.mark.parametrize("call", ["refund", "again", "refund webhook", "dispute webhook"])
def test_no_database_that_goes_away_does(scene, canary, call):
    for at in range(1, 60):
        scene.new_order()
        scene.ask()
        scene.pay("pm_card_createDispute" if call == "dispute webhook" else "pm_card_visa")
        scene.settle()
        if call in {"again", "refund webhook"}:
            scene.refund()
        gone = DatabaseGone(at)
        with connection.execute_wrapper(gone):
            if call.endswith("webhook"):
                scene.send(newest(scene, call))
            else:
                scene.refund()
        if not gone.happened:
            break

    assert 3 < at < 59
    reports_of(canary)
    canary.assert_silent()


def test_no_frame_shows_one(scene, canary):
    audit = FrameAudit(canary)

    with audit.watching():
        run_what_comes_after(scene)

    services = ("refunds", "disputes", "capture", "cancellation", "fees", "ledger", "writes")
    assert {f"/services/{name}.py" for name in services} <= audit.seen
    commands = ("fees", "cancel_abandoned", "reconcile", "events")
    assert {f"/management/commands/shop_payments_{name}.py" for name in commands} <= audit.seen
    assert not audit.found, "\n".join(sorted(audit.found))


def test_no_refusal_of_a_refund_does(scene, canary):
    """The results and errors of the gateway, shown in every way."""
    scene.ask()
    scene.pay()
    scene.settle()
    scene.refund()
    (intent,) = scene.stripe._books.payment_intents
    gateway = get_gateway()
    results = [*gateway.list_refunds(intent), *gateway.list_disputes(intent)]
    for shown in (*results, *Refund.objects.all()):
        canary.look_at(f"a {type(shown).__name__}", f"{shown!r} {shown} {vars(shown)!r}")
    calls = [
        lambda: gateway.create_refund({"payment_intent": "pi_no"}, idempotency_key="k"),
        lambda: gateway.capture_payment_intent(intent, {}, idempotency_key="l"),
        lambda: gateway.cancel_payment_intent(intent, {}, idempotency_key="m"),
    ]

    look_at_errors(canary, calls)

    canary.assert_silent()
