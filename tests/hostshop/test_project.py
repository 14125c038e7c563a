"""The project around the shop's own order: migrations, checks, admin, schema."""

from __future__ import annotations

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models import ProtectedError
from django.urls import reverse

from shop_payments.models import OrderPayment
from tests.hostshop.factories import HostOrderFactory
from tests.hostshop.models import Order

pytestmark = pytest.mark.django_db


def test_the_payments_are_migrated_after_the_order_and_point_at_it():
    call_command("makemigrations", check=True, dry_run=True)
    plan = MigrationLoader(connection).graph.forwards_plan(("shop_payments", "0001_initial"))
    with connection.cursor() as cursor:
        table = OrderPayment._meta.db_table
        relations = connection.introspection.get_relations(cursor, table)

    assert ("hostshop", "0002_order") in plan
    assert relations["order_id"][1] == "hostshop_order"


def test_the_checks_and_the_schema_have_nothing_to_say(tmp_path):
    """Whatever the host's own schema class and authentication are."""
    made = tmp_path / "openapi.yaml"
    call_command("check", databases=["default"], fail_level="DEBUG")
    call_command("spectacular", file=str(made), validate=True, fail_on_warn=True)

    assert "ShopPaymentIntent" in made.read_text()


def test_an_order_cannot_be_deleted_once_it_has_a_payment(storefront, order, stripe, admin_client):
    storefront.payment_intent(order)
    user = order.customer.user

    for row in (order, user):  # which cascades to the customer and the order
        with pytest.raises(ProtectedError):
            row.delete()
    for name, args in (("changelist", []), ("change", [OrderPayment.objects.get().pk])):
        page = reverse(f"admin:shop_payments_orderpayment_{name}", args=args)
        assert admin_client.get(page).status_code == 200
    HostOrderFactory.create().customer.user.delete()
    assert Order.objects.get() == order
