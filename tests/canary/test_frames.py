"""No frame of the app shows a secret while it calls something: an exception might come of it."""

from __future__ import annotations

from contextlib import suppress
from io import StringIO

import pytest
from django.core import checks
from django.core.management import call_command

from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway import get_gateway
from shop_payments.models import APIKey
from tests.admin.support import add
from tests.canary.mangled import BAD_SETTINGS
from tests.canary.reports import FrameAudit
from tests.canary.scene import KEY_FORM, run_the_flow
from tests.support import Caller


@pytest.fixture
def audit(canary):
    audit = FrameAudit(canary)
    yield audit
    assert not audit.found, "\n".join(sorted(audit.found))


def test_while_customers_pay(scene, audit):
    with audit.watching():
        run_the_flow(scene)

    gateway = {f"/gateway/{name}.py" for name in ("client", "building", "webhooks")}
    assert {*gateway, "/api/views.py", "/services/receive_event.py"} <= audit.seen
    assert {"read_event", "parse_config", "_client", "_digest", "secret_of"} <= audit.sealed


def test_while_staff_are_at_work(scene, audit, new_secret):
    staff = Caller(client=scene.staff)

    with audit.watching():
        scene.staff.post(add(APIKey), KEY_FORM)
        staff.post(f"orders/{scene.order.pk}/payment-intent", Accept="text/html")
        scene.walk_the_admin()

    assert APIKey.objects.filter(label=KEY_FORM["label"]).exists()
    assert {"/admin/api_keys.py", "/models/api_keys.py"} <= audit.seen


def test_while_staff_give_money_back(scene, audit):
    scene.ask()
    scene.pay("pm_card_createDispute")
    scene.new_order()
    scene.ask()
    scene.pay()
    scene.order.lines.update(quantity=7)
    scene.deliver()

    with audit.watching():
        statuses = scene.act_as_staff()

    assert statuses == [302, 302]  # a refund, and the dispute's review item closed
    assert {"/admin/actions.py", "/admin/review.py", "/services/refund_payment.py"} <= audit.seen


def test_while_staff_waive_a_rest(scene, audit):
    scene.ask()
    scene.pay()
    scene.order.lines.update(quantity=3)
    scene.deliver()

    with audit.watching():
        statuses = scene.waive_the_rest()

    assert statuses == [302]
    assert {"/admin/entry_actions.py", "/services/record_staff_entry.py"} <= audit.seen


def test_while_commands_run(scene, audit, new_secret):
    scene.ask()
    prefix = scene.storefront.headers["X-API-Key"].split("_")[1]

    with audit.watching():
        for arguments in (
            ["shop_payments_api_key", "create", "--label", "new", "--scope", "storefront"],
            ["shop_payments_api_key", "list"],
            ["shop_payments_api_key", "revoke", prefix],
            ["shop_payments_pay", scene.order.number, "--confirm"],
            ["shop_payments_purge", "--older-than", "90"],
        ):
            call_command(*arguments, stdout=StringIO(), stderr=StringIO())

    commands = {"shop_payments_api_key", "shop_payments_pay", "shop_payments_purge"}
    assert {f"/management/commands/{name}.py" for name in commands} <= audit.seen


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_while_a_bad_setting_is_refused(scene, audit, configure, name):
    configure(**BAD_SETTINGS[name])

    with audit.watching():
        checks.run_checks(include_deployment_checks=True)
        with suppress(ConfigurationError):
            get_gateway()
