"""The flow leaves no secret behind: with faults, declined cards and money in review."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib import admin
from django.utils import timezone

from shop_payments.models import (
    APIKey,
    Order,
    OrderPayment,
    PaymentHistory,
    PaymentIntent,
    WebhookEvent,
)
from shop_payments.sandbox import Fault
from shop_payments.sync.balance_transactions import fetch_fees
from tests.admin.support import change
from tests.canary.scene import run_the_flow
from tests.support import Caller


def test_the_flow_leaves_no_secret_anywhere(scene, canary, capfd):
    statuses = run_the_flow(scene)
    scene.walk_the_admin()
    canary.look_at("the console", "".join(capfd.readouterr()))

    assert set(statuses) == {200, 409}
    assert OrderPayment.objects.get().is_paid
    assert len(canary.client_secrets()) == 1
    names = {record.name.partition(".")[0] for record in canary.trap.records}
    assert {"stripe", "urllib3", "django"} <= names
    assert any("API response body" in text for text in canary.trap.texts)
    canary.assert_silent()


def test_every_page_has_been_looked_at(scene, canary):
    scene.ask()
    scene.ask(quantity=3)
    scene.pay()
    scene.order.lines.update(quantity=4)
    scene.deliver()
    scene.new_order()
    scene.ask()
    scene.pay("pm_card_createDispute")
    scene.deliver()
    assert scene.act_as_staff() == [302, 302]  # a refund, and the dispute's review item closed
    scene.new_order()
    scene.ask()
    scene.pay()
    scene.order.lines.update(quantity=3)
    scene.settle()
    assert scene.waive_the_rest() == [302]
    fetch_fees(since=timezone.now() - timedelta(days=1))

    shown = scene.walk_the_admin()
    for row in (APIKey.objects.all()[0], scene.order):
        scene.staff.get(change(row).replace("/change/", "/history/"))

    models = {model for model in admin.site._registry if model._meta.app_label == "shop_payments"}
    assert shown == models
    assert {WebhookEvent, PaymentHistory, PaymentIntent, APIKey} < shown
    canary.assert_silent()


@pytest.mark.parametrize("fault", [Fault("drop_before"), Fault("error", status=429)])
def test_no_fault_while_staff_act_brings_one_to_light(scene, canary, stripe, configure, fault):
    configure(**{**settings.SHOP_PAYMENTS, "CAPTURE_METHOD": "manual"})
    scene.ask()
    scene.pay()
    scene.deliver()
    stripe.inject(replace(fault, method="POST"))

    # The capture meets the fault and is finished first: then nothing is left to cancel.
    assert scene.act_as_staff() == [200, 200]
    scene.walk_the_admin()

    canary.assert_silent()


def test_staff_who_pay_in_the_browsable_api_see_it_and_no_log_does(scene, canary):
    staff = Caller(client=scene.staff)
    path = f"orders/{scene.order.pk}"

    pages = [staff.post(f"{path}/payment-intent", Accept="text/html")]
    scene.pay()
    pages += [staff.post(f"{path}/payment", Accept="text/html")]
    for page in ("", "/payment-intent", "/payment"):
        staff.get(f"{path}{page}", Accept="text/html")

    (secret,) = canary.client_secrets().values()
    assert [secret in page.content.decode() for page in pages] == [True, True]
    canary.assert_silent()


EVERY_FAULT = [
    Fault("latency", seconds=0.01),
    Fault("drop_before"),
    Fault("drop_after"),
    *(Fault("error", status=status) for status in (409, 429, 500, 503)),
]


@pytest.mark.parametrize("fault", EVERY_FAULT, ids=lambda each: f"{each.kind} {each.status or ''}")
def test_no_fault_of_stripes_brings_a_secret_to_light(scene, canary, stripe, fault):
    statuses = run_the_flow(scene, lambda: stripe.inject(fault))
    scene.walk_the_admin()

    assert 500 not in statuses
    assert fault.kind == "latency" or {503, 409} & {*statuses}
    canary.assert_silent()


@pytest.mark.parametrize(
    "card", ["chargeDeclined", "chargeDeclinedExpiredCard", "authenticationRequired"]
)
def test_no_declined_card_does(scene, canary, card):
    scene.ask()
    scene.pay(f"pm_card_{card}")
    scene.deliver()
    assert scene.settle().status_code == 409
    scene.walk_the_api()
    scene.walk_the_admin()

    canary.assert_silent()


def test_money_in_review_does_not(scene, canary):
    scene.ask()
    scene.pay()
    Order.objects.update(status=Order.Status.CANCELLED)
    scene.deliver()
    assert scene.settle().status_code == 409
    assert OrderPayment.objects.get().needs_review
    scene.walk_the_api()
    scene.walk_the_admin()

    canary.assert_silent()
