"""Bad keys and settings are refused without being shown."""

from __future__ import annotations

import pytest
from django.core import checks

from shop_payments.models import OrderPayment
from shop_payments.sandbox import Sandbox, SandboxServer
from tests.admin.support import change, changelist
from tests.canary.detector import Witness
from tests.canary.mangled import BAD_SETTINGS
from tests.canary.reports import reports_of
from tests.canary.scene import reachable
from tests.support import post_webhook, sign


def test_no_refused_key_does(scene, canary, configure):
    with SandboxServer(Sandbox(secret_keys=["sk_test_other"])) as server:
        configure(**reachable(server.url))
        assert scene.ask().status_code == 502
    scene.walk_the_admin()

    canary.assert_silent()


@pytest.mark.parametrize("name", BAD_SETTINGS)
def test_no_bad_setting_does(scene, canary, configure, name):
    configure(**{**reachable("http://127.0.0.1:9"), **BAD_SETTINGS[name]})

    scene.ask()
    scene.settle()
    post_webhook(b"{}", sign(b"{}"), client=Witness(canary))

    scene.staff.get(changelist(OrderPayment))
    scene.staff.get(change(OrderPayment.objects.get_or_create(order=scene.order)[0]))

    for message in checks.run_checks(include_deployment_checks=True):
        canary.look_at(f"the check {message.id}", f"{message} {message!r}")
    reports_of(canary)
    canary.assert_silent()
