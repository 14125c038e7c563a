"""The flow leaves no secret in a log, row, cache, page, answer or console, with any trouble."""

from __future__ import annotations

import json
import logging
import pkgutil
from contextlib import suppress
from itertools import cycle, repeat

import pytest
import stripe as stripe_sdk
from django.contrib import admin
from django.core import checks

from shop_payments.gateway.building import _build_gateway
from shop_payments.management import commands
from shop_payments.models import APIKey, OrderPayment, PaymentHistory, Refund, WebhookEvent
from shop_payments.sandbox import Fault
from tests.admin.support import change, changelist
from tests.canary.detector import BITE, WEBHOOK_SECRETS, Witness
from tests.canary.mangled import BAD_SETTINGS, MANGLED, Mangler, spill
from tests.canary.reports import reports_of, run
from tests.canary.scene import (
    COMMANDS_AFTER_PAID,
    reachable,
    reachable_through,
    run_the_flow,
    run_what_comes_after,
)
from tests.support import event_body, post_webhook, sign

# --- pages, rows, logs and commands -------------------------------------------------------------


def test_the_flow_leaves_no_secret_anywhere(scene, canary, capfd):
    statuses = run_the_flow(scene) + run_what_comes_after(scene)
    scene.walk_the_api()
    scene.dispute_and_owe()
    assert {*scene.waive_the_rest(), *scene.act_as_staff()} <= {200, 302}
    assert scene.act_on_many() == [200, 302] * 2
    shown = scene.walk_the_admin(newest=8)
    for row in (APIKey.objects.all()[0], scene.order):
        scene.staff.get(change(row).replace("/change/", "/history/"))
    canary.look_at("the console", "".join(capfd.readouterr()))

    assert set(statuses) == {200, 409}
    assert {*Refund.objects.values_list("status", flat=True)} >= {"succeeded", "failed", "refused"}
    models = {model for model in admin.site._registry if model._meta.app_label == "shop_payments"}
    assert shown == models
    names = {record.name.partition(".")[0] for record in canary.trap.records}
    assert {"stripe", "urllib3", "django"} <= names
    assert any("API response body" in text for text in canary.trap.texts)
    canary.assert_silent()

    secret = next(iter(canary.client_secrets().values()))
    payment = OrderPayment.objects.latest("pk")
    PaymentHistory.objects.create(order_payment=payment, kind="intent_created", actor=secret[:BITE])
    logging.getLogger("urllib3").debug("to ship: %s", {"s": secret[-BITE:]})
    with pytest.raises(AssertionError, match=r"(?s)the log: urllib3.*paymenthistory\.actor"):
        canary.assert_silent()


def test_no_command_says_one(scene, canary, stripe):
    run_the_flow(scene)
    events = WebhookEvent.objects.values_list("event_id", flat=True)
    pay = ("shop_payments_pay", scene.order.number, "--confirm")
    calls = [
        *COMMANDS_AFTER_PAID,
        *(("shop_payments_events", "show", event) for event in events),
        ("shop_payments_events", "replay", *events),
        ("shop_payments_reconcile", "--dry-run"),
        ("shop_payments_api_key", "list"),
        ("shop_payments_doctor",),
        ("shop_payments_webhook", "list"),
        ("shop_payments_order", str(scene.order.pk)),
        pay,
        ("shop_payments_purge", "--older-than", "31"),
        ("shop_payments_sandbox", "--webhook-secret", WEBHOOK_SECRETS[0]),
    ]

    said = {}
    for arguments in calls:
        said[arguments] = run(canary, *arguments)
        canary.look_at(f"what {arguments[:2]} writes", said[arguments])
    for card in ("visa", "chargeDeclined"):
        scene.new_order()
        scene.ask()
        stripe.inject(Fault("drop_after"))
        for _time in range(2):
            method = f"--payment-method=pm_card_{card}"
            text = run(canary, "shop_payments_pay", scene.order.number, method, "--confirm")
            canary.look_at("what shop_payments_pay writes", text)

    assert {arguments[0] for arguments in calls} == {
        module.name for module in pkgutil.iter_modules(commands.__path__)
    }
    assert any('"metadata": {' in text for text in said.values()), "an event with all it says"
    canary.assert_silent()


@pytest.mark.parametrize("is_late", [False, True])
def test_the_console_log_of_the_sdk_shows_none(
    scene, canary, stripe, configure, monkeypatch, capfd, is_late
):
    """It prints past the loggers, and may be turned on before or after the app has started."""
    if is_late:
        scene.ask()
    monkeypatch.setattr(stripe_sdk, "log", "debug")
    if not is_late:
        _build_gateway.cache_clear()
    mangler = Mangler(stripe, repeat(MANGLED["a bad request"]))
    configure(**reachable_through(mangler))

    run_the_flow(scene, mangler.arm)

    output, errors = capfd.readouterr()
    assert is_late or "Request to Stripe api" in errors
    canary.look_at("the console", output + errors)
    canary.assert_silent()


# --- trouble of Stripe's ------------------------------------------------------------------------


def test_no_fault_of_stripes_brings_one_to_light(scene, canary, stripe):
    faults = cycle([Fault("drop_before"), Fault("drop_after"), Fault("error", status=429)])

    def inject():
        stripe.inject(next(faults))

    statuses = run_the_flow(scene, inject) + run_what_comes_after(scene, inject)
    stripe.clear_faults()
    scene.dispute_and_owe()
    inject()
    scene.act_as_staff()
    scene.act_on_many()
    scene.walk_the_admin(newest=2)

    assert 500 not in statuses
    assert {503, 409} & {*statuses}
    reports_of(canary)
    canary.assert_silent()


def test_no_answer_of_stripes_does(scene, canary, stripe, configure):
    """Each step of the flow meets the next of the malformed answers."""
    mangler = Mangler(stripe, cycle(MANGLED.values()))
    configure(**reachable_through(mangler))

    statuses = run_the_flow(scene, mangler.arm) + run_what_comes_after(scene, mangler.arm)

    scene.walk_the_admin(newest=2)
    assert 500 not in statuses
    reports_of(canary)
    canary.assert_silent()


def test_no_event_of_stripes_does(scene, canary, stripe):
    scene.ask()
    scene.pay("pm_card_createDisputeInquiry")
    scene.settle()
    scene.refund()
    (intent,) = stripe._books.payment_intents.values()
    bodies = [
        event_body(intent, api_version=spill(intent), request={"id": spill(intent)}),
        event_body({**intent, "status": "succeeded"}, id=spill(intent)),
        event_body(intent, created=spill(intent)),
    ]
    for type_, kind in (
        ("payment_intent.succeeded", "payment_intents"),
        ("refund.updated", "refunds"),
        ("charge.dispute.closed", "disputes"),
    ):
        subject = next(iter(getattr(stripe._books, kind).values()))
        bodies += [
            event_body({}, type=type_, data={"object": {**subject, "id": spill(subject)}}),
            event_body({}, type=type_ + spill(subject), data={"object": subject}),
        ]
        for mangle in MANGLED.values():
            _status, text = mangle(subject)
            bodies.append(text.encode())
            with suppress(ValueError):  # half an object, or a page
                bodies.append(event_body({}, type=type_, data={"object": json.loads(text)}))

    statuses = {scene.send(body).status_code for body in bodies}
    unsigned = post_webhook(bodies[0], f"t=1,v1={spill(intent)}", client=Witness(canary))

    assert statuses <= {200, 400, 503}
    assert unsigned.status_code == 400
    scene.walk_the_admin(newest=2)
    reports_of(canary)
    canary.assert_silent()


# --- trouble of callers, settings and hosts -----------------------------------------------------


def test_no_bad_key_token_or_body_of_a_caller_does(scene, canary):
    key = canary.learn("a key that was mistyped", f"x{scene.storefront.headers['X-API-Key']}")
    for headers in (
        {"Authorization": f"Bearer {key}"},
        {"X-API-Key": key.replace("xspk", "spk") + "x"},
        {"X-API-Key": scene.storefront.headers["Authorization"]},
    ):
        assert scene.storefront.get("orders", **headers).status_code in {200, 401}
        response = scene.storefront.post(f"orders/{scene.order.pk}/payment-intent", **headers)
        assert response.status_code == 401
    scene.ask()
    (secret,) = canary.client_secrets().values()
    for body in ({"client_secret": secret}, secret):
        assert scene.storefront.payment_intent(scene.order, body).status_code == 400

    canary.assert_silent()


def test_no_bad_setting_does(scene, canary, configure):
    for bad in BAD_SETTINGS:
        configure(**{**reachable("http://127.0.0.1:9"), **bad})
        scene.ask()
        scene.settle()
        post_webhook(b"{}", sign(b"{}"), client=Witness(canary))
        scene.staff.get(changelist(OrderPayment))
        scene.staff.get(change(OrderPayment.objects.get_or_create(order=scene.order)[0]))
        for message in checks.run_checks(include_deployment_checks=True):
            canary.look_at(f"the check {message.id}", f"{message} {message!r}")

    reports_of(canary)
    canary.assert_silent()
