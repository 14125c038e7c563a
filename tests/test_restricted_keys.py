"""A restricted key that lacks a permission: operator and staff read which, clients do not."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from shop_payments.exceptions import GatewayAuthenticationError
from shop_payments.gateway import get_gateway
from shop_payments.models import APIKeyScope, OrderPayment, PaymentIntent, Refund, ReviewItem
from shop_payments.sandbox import SandboxResponse
from tests.admin.support import errors_of, fill_in, page_of
from tests.after_paid.support import AccountingOffice, refunds_at_stripe
from tests.conftest import issue_key
from tests.support import answer, pay

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "rk_test_of_the_shop_0123456789abcdef"
READS = (
    "rak_payment_intent_read",
    "rak_refund_read",
    "rak_dispute_read",
    "rak_radar_early_fraud_warning_read",
    "rak_review_read",
)


@pytest.fixture
def restrict(configure, stripe):
    """Use a restricted key with these permissions."""

    def change(*permissions: str) -> None:
        stripe.restrict_key(KEY, *permissions)
        configure(**{**stripe.shop_payments(), "STRIPE_SECRET_KEY": KEY})

    return change


@pytest.fixture
def paid(storefront, order, stripe, webhooks):
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    webhooks()
    return OrderPayment.objects.get()


def assert_logged(caplog, permission: str, *shown: str) -> None:
    """The log names the permission; neither it nor what is shown has the key."""
    lines = [each.getMessage() for each in caplog.records if each.name == "shop_payments"]
    words = "Stripe refused the secret key: status=403"
    logged = [line for line in lines if line.startswith(words)]
    assert logged, lines
    assert f" permission={permission} request_id=req_" in logged[-1]
    for text in (caplog.text, *shown):
        assert KEY not in text
        assert KEY[-4:] not in text  # Stripe masks the key, and shows how it ends


def test_clients_do_not_learn_which_permission_is_missing(
    restrict, storefront, payment_system, order, stripe, caplog
):
    restrict(*READS)
    response = storefront.payment_intent(order)

    assert answer(response) == (502, "gateway_error")
    assert "rak_" not in response.content.decode()
    assert_logged(caplog, "rak_payment_intent_write", response.content.decode())
    restrict(*READS, "rak_payment_intent_write")
    assert storefront.payment_intent(order).status_code == 200
    assert PaymentIntent.objects.count() == 1

    restrict("rak_refund_write")
    assert answer(payment_system.payment(order)) == (502, "gateway_error")
    assert_logged(caplog, "rak_payment_intent_read")


def test_a_program_cannot_refund(restrict, paid, order, stripe, caplog):
    restrict(*READS)
    office = AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))

    response = office.refund(order, key="one")

    assert answer(response) == (502, "gateway_error")
    assert "rak_" not in response.content.decode()
    assert_logged(caplog, "rak_refund_write")
    assert not refunds_at_stripe(stripe)
    restrict(*READS, "rak_refund_write")
    assert office.refund(order, key="one").status_code == 200
    assert len(refunds_at_stripe(stripe)) == 1


def test_staff_read_which_permission_a_refund_needs(restrict, paid, admin_client, stripe, caplog):
    restrict(*READS)
    page = page_of("refund")
    form = fill_in(admin_client, page)

    response = admin_client.post(page, form)

    [error] = errors_of(response)
    assert error.startswith("The shop's Stripe key lacks the permission rak_refund_write, so ")
    assert_logged(caplog, "rak_refund_write", response.content.decode())
    restrict(*READS, "rak_refund_write")
    admin_client.post(page, form)
    assert Refund.objects.get().status == "succeeded"
    assert len(refunds_at_stripe(stripe)) == 1


@pytest.mark.parametrize(
    ("missing", "part"),
    [
        ("rak_payment_intent_read", "payment intents"),
        ("rak_refund_read", "refunds"),
        ("rak_dispute_read", "disputes"),
    ],
)
def test_the_sweep_reports_it_and_flags_no_order(
    restrict, paid, storefront, order, missing, part, caplog
):
    order.lines.update(quantity=3)
    storefront.payment_intent(order)
    old = timezone.now() - timedelta(days=30)
    PaymentIntent.objects.filter(status="requires_payment_method").update(stripe_created_at=old)
    restrict(*set(READS) - {missing})
    before = OrderPayment.objects.values().get()

    with pytest.raises(CommandError) as failure:
        call_command("shop_payments_reconcile", stdout=StringIO(), stderr=StringIO())

    assert failure.value.returncode == 1
    message = str(failure.value)
    words = f"{part}: The key in STRIPE_SECRET_KEY lacks the permission {missing} (status 403,"
    assert words in message
    assert_logged(caplog, missing, message)
    assert not ReviewItem.objects.exists()
    assert OrderPayment.objects.values().get() == before
    assert PaymentIntent.objects.open().count() == 1


@pytest.mark.parametrize(
    ("words", "permission"),
    [
        ("Having the 'rak_charge_read' permission would allow", "rak_charge_read"),
        (
            "Having the 'rak_charge_read', 'rak_refund_read' permissions would allow",
            "rak_charge_read or rak_refund_read",
        ),
        ("Enabling \"Prices Read\" ('plan_read') permissions on this key would allow", "plan_read"),
        ("Having more permissions would allow", ""),
    ],
)
def test_stripes_sentences_are_understood(configure, caplog, words, permission):
    message = f"The provided key 'rk_test_***********cdef' may not do this. {words} it."
    body = json.dumps({"error": {"type": "invalid_request_error", "message": message}})
    configure(STRIPE_TRANSPORT=lambda *args: SandboxResponse(403, {}, body.encode()))

    with caplog.at_level(logging.ERROR), pytest.raises(GatewayAuthenticationError) as failure:
        get_gateway().retrieve_payment_intent("pi_1")

    assert failure.value.permission == permission
    assert f"permission={permission or '-'} " in caplog.text
    assert "cdef" not in caplog.text
    if permission:  # otherwise Stripe's own words are all there is
        assert "cdef" not in str(failure.value)
