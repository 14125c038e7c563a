"""The project around the host's order: migrations, checks, admin, schema."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from django.contrib import admin
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models import ProtectedError
from django.urls import reverse

from shop_payments.models import OrderPayment, StripeAttempt
from tests.hostshop.models import Order
from tests.support import pay

pytestmark = pytest.mark.django_db


def test_no_migration_is_missing():
    call_command("makemigrations", check=True, dry_run=True)


def test_the_order_is_migrated_before_the_payments():
    plan = MigrationLoader(connection).graph.forwards_plan(("shop_payments", "0001_initial"))

    assert ("hostshop", "0002_order") in plan


def test_the_payments_table_points_at_the_hosts_order():
    with connection.cursor() as cursor:
        table = OrderPayment._meta.db_table
        relations = connection.introspection.get_relations(cursor, table)

    assert relations["order_id"][1] == "hostshop_order"


def test_the_system_checks_have_nothing_to_say():
    call_command("check", databases=["default"], fail_level="DEBUG")


def test_an_order_with_a_payment_cannot_be_deleted(storefront, order, stripe):
    storefront.payment_intent(order)

    with pytest.raises(ProtectedError):
        order.delete()
    assert Order.objects.filter(pk=order.pk).exists()


def test_a_user_whose_customer_and_orders_cascade_cannot_be_deleted(storefront, order, stripe):
    storefront.payment_intent(order)
    user = order.customer.user

    with pytest.raises(ProtectedError):
        user.delete()
    order.refresh_from_db()
    assert order.customer.user == user


def test_the_admin_names_what_keeps_such_a_user(storefront, order, stripe, admin_client):
    storefront.payment_intent(order)
    page = reverse("admin:auth_user_delete", args=[order.customer.user.pk])

    texts = [
        admin_client.get(page).content.decode(),
        admin_client.post(page, {"post": "yes"}, follow=True).content.decode(),
    ]

    # No staff may delete a payment, so that is what Django says first.
    for text in texts:
        content = text.partition('<div id="content"')[2]
        assert "permission to delete the following types of objects" in content
        assert "<li>order payment</li>" in content
    order.refresh_from_db()
    assert order.customer.user.is_active


def test_a_user_whose_orders_have_no_payment_can_be_deleted(order):
    order.customer.user.delete()

    assert not Order.objects.exists()


def test_a_purge_leaves_of_a_paid_order_what_the_host_needs(
    storefront, order, stripe, webhooks, payment_system
):
    with time_machine.travel(datetime(2026, 3, 1, tzinfo=UTC), tick=False) as clock:
        pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
        webhooks()
        before = payment_system.payment(order)
        clock.shift(timedelta(days=181))

        call_command("shop_payments_purge")
        after = payment_system.payment(order)

    assert (after.status_code, after.content) == (200, before.content)
    assert "receipt_email" not in StripeAttempt.objects.get().params


def test_an_order_without_a_payment_can_be_deleted(order):
    order.delete()

    assert not Order.objects.exists()


@pytest.mark.skipif(
    not admin.site.is_registered(OrderPayment), reason="no admin pages of payments yet"
)
def test_the_admin_pages_render(storefront, order, stripe, admin_client):
    storefront.payment_intent(order)
    payment = OrderPayment.objects.get()

    changelist = admin_client.get(reverse("admin:shop_payments_orderpayment_changelist"))
    page = admin_client.get(reverse("admin:shop_payments_orderpayment_change", args=[payment.pk]))

    assert (changelist.status_code, page.status_code) == (200, 200)


def test_the_schema_is_made_without_a_warning(tmp_path):
    """Whatever the host's own schema class and authentication are."""
    made = tmp_path / "openapi.yaml"
    call_command("spectacular", file=str(made), validate=True, fail_on_warn=True)

    assert "ShopPaymentIntent" in made.read_text()


def test_the_adapter_is_the_one_of_the_documentation():
    here = Path(__file__).parent
    documented = (here.parents[1] / "docs" / "own-order-model.md").read_text()

    assert f"```python\n{(here / 'adapter.py').read_text()}```\n" in documented


@pytest.mark.parametrize("name", ["test_checkout_example.py", "test_checkout_testcase.py"])
def test_the_example_is_the_one_of_the_documentation(name):
    here = Path(__file__).parent
    documented = (here.parents[1] / "docs" / "testing-your-shop.md").read_text()
    example = (here / name).read_text().replace("tests.hostshop", "hostshop")

    assert f"```python\n{example}```\n" in documented
