"""A restricted key that lacks a permission: staff and logs say which, clients do not learn it."""

from __future__ import annotations

import json

import pytest
from django.core.management import CommandError, call_command

from shop_payments.exceptions import GatewayAuthenticationError
from shop_payments.gateway import get_gateway
from shop_payments.models import OrderPayment, ReviewItem
from shop_payments.sandbox import SandboxResponse
from tests.admin.support import errors_of, fill_in, page_of
from tests.books import refunds_at_stripe
from tests.support import answer

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "rk_test_of_the_shop_0123456789abwXyZ"  # its end is no part of an id by chance
OBJECTS = ("payment_intent", "refund", "dispute", "radar_early_fraud_warning", "review")
READS = [f"rak_{each}_read" for each in OBJECTS]


@pytest.fixture
def restrict(configure, stripe):
    """Use a restricted key with these permissions."""

    def change(*permissions: str) -> None:
        stripe.restrict_key(KEY, *permissions)
        configure(**{**stripe.shop_payments(), "STRIPE_SECRET_KEY": KEY})

    return change


def assert_logged(caplog, permission: str, shown: str) -> None:
    """The log names the permission; neither it nor what is shown has the key."""
    words = "Stripe refused the secret key: status=403"
    logged = [line for line in caplog.messages if line.startswith(words)]
    assert f" permission={permission} stripe_request_id=req_" in logged[-1]
    assert KEY[-4:] not in caplog.text + shown  # Stripe masks the key, and shows how it ends


def test_staff_read_which_permission_a_refund_needs_and_programs_do_not(
    restrict, paid, order, office, admin_client, stripe, caplog
):
    restrict(*READS)
    response = office.refund(order, {"amount": "2.00"}, key="one")
    assert answer(response) == (502, "gateway_error")
    assert "rak_" not in response.content.decode()
    assert_logged(caplog, "rak_refund_write", response.content.decode())

    page = page_of("refund")
    response = admin_client.post(page, fill_in(admin_client, page))
    [error] = errors_of(response)
    assert error.startswith("The shop's Stripe key lacks the permission rak_refund_write, so ")
    assert_logged(caplog, "rak_refund_write", response.content.decode())
    assert not refunds_at_stripe(stripe)

    restrict(*READS, "rak_refund_write")
    assert office.refund(order, {"amount": "2.00"}, key="one").status_code == 200


def test_the_sweep_reports_it_and_flags_no_order(restrict, paid, caplog):
    permission = "rak_refund_read"
    restrict(*set(READS) - {permission})
    before = OrderPayment.objects.values().get()

    with pytest.raises(CommandError) as failure:
        call_command("shop_payments_reconcile", "-v0")

    words = f"refunds: The key in STRIPE_SECRET_KEY lacks the permission {permission} (status 403,"
    assert words in str(failure.value)
    assert_logged(caplog, permission, str(failure.value))
    assert not ReviewItem.objects.exists()
    assert OrderPayment.objects.values().get() == before


@pytest.mark.parametrize(
    ("words", "permission"),
    [
        ("Having the 'rak_a', 'rak_b' permissions would allow", "rak_a or rak_b"),
        ("Enabling \"Prices Read\" ('plan_read') permissions on this key would allow", "plan_read"),
        ("Having more permissions would allow", ""),
    ],
)
def test_stripes_sentences_are_understood(configure, caplog, words, permission):
    message = f"The provided key 'rk_test_***********cdef' may not do this. {words} it."
    body = json.dumps({"error": {"type": "invalid_request_error", "message": message}})
    configure(STRIPE_TRANSPORT=lambda *args: SandboxResponse(403, {}, body.encode()))

    with pytest.raises(GatewayAuthenticationError) as failure:
        get_gateway().retrieve_payment_intent("pi_1")

    assert failure.value.permission == permission
    assert f"permission={permission or '-'} " in caplog.text
    assert "cdef" not in caplog.text
    if permission:  # otherwise Stripe's own words are all there is
        assert "cdef" not in str(failure.value)
