"""A key is shown once, to whoever issues it; the commands show nothing else."""

from __future__ import annotations

import pytest
from django.db import connection

from shop_payments.models import APIKey
from shop_payments.sandbox import Fault
from tests.admin.support import add
from tests.canary.reports import reports_of, run
from tests.canary.scene import KEY_FORM, DatabaseGone


def test_a_key_is_shown_once(scene, canary, new_secret):
    page = scene.staff.post(add(APIKey), KEY_FORM).content.decode()
    scene.staff.post(add(APIKey), {**KEY_FORM, "label": ""})
    scene.walk_the_admin()

    assert new_secret in page
    canary.assert_silent()


CREATE = ("shop_payments_api_key", "create", "--label", "Mobile app", "--scope", "storefront")


def test_the_command_shows_a_new_key_on_standard_output_alone(scene, canary, new_secret):
    key = scene.storefront.headers["X-API-Key"]

    created = run(canary, *CREATE)
    others = [
        run(canary, "shop_payments_api_key", "list"),
        run(canary, "shop_payments_api_key", "revoke", created.split("_")[1]),
        run(canary, "shop_payments_api_key", "revoke", key),  # pasted whole
    ]

    assert new_secret in created
    canary.look_at("what the others write", "".join(others))
    canary.assert_silent()


@pytest.mark.parametrize("fault", [None, Fault("error", status=500), Fault("drop_after")])
@pytest.mark.parametrize("card", ["visa", "chargeDeclined"])
def test_the_command_that_pays_shows_no_secret(scene, canary, stripe, fault, card):
    scene.ask()
    if fault:
        stripe.inject(fault)

    for confirm in ([], ["--confirm"], ["--confirm"]):
        method = f"--payment-method=pm_card_{card}"
        text = run(canary, "shop_payments_pay", scene.order.number, method, *confirm)
        canary.look_at("what shop_payments_pay writes", text)

    canary.assert_silent()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("by", ["staff", "command"])
def test_no_database_that_goes_away_while_a_key_is_issued_shows_it(scene, canary, new_secret, by):
    for at in range(1, 60):
        gone = DatabaseGone(at)
        with connection.execute_wrapper(gone):
            if by == "staff":
                scene.staff.post(add(APIKey), KEY_FORM)
            else:
                run(canary, *CREATE)
        if not gone.happened:
            break

    assert 2 < at < 59
    reports_of(canary)
    canary.assert_silent()
