"""The project around the shop's own order: migrations, checks, admin, schema."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models import ProtectedError
from django.urls import reverse

from shop_payments.models import OrderPayment
from tests.hostshop.models import Order

pytestmark = pytest.mark.django_db

HERE = Path(__file__).parent


def test_the_payments_are_migrated_after_the_order_and_point_at_it():
    call_command("makemigrations", check=True, dry_run=True)
    plan = MigrationLoader(connection).graph.forwards_plan(("shop_payments", "0001_initial"))
    with connection.cursor() as cursor:
        table = OrderPayment._meta.db_table
        relations = connection.introspection.get_relations(cursor, table)

    assert ("hostshop", "0002_order") in plan
    assert relations["order_id"][1] == "hostshop_order"


def test_the_system_checks_have_nothing_to_say():
    call_command("check", databases=["default"], fail_level="DEBUG")


def test_an_order_with_a_payment_cannot_be_deleted(storefront, order, stripe, admin_client):
    storefront.payment_intent(order)
    user = order.customer.user

    for row in (order, user):  # which cascades to the customer and the order
        with pytest.raises(ProtectedError):
            row.delete()
    page = reverse("admin:auth_user_delete", args=[user.pk])
    content = admin_client.get(page).content.decode().partition('<div id="content"')[2]

    assert "permission to delete the following types of objects" in content
    assert "<li>order payment</li>" in content


def test_an_order_without_a_payment_can_be_deleted(order):
    order.customer.user.delete()

    assert not Order.objects.exists()


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


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("adapter.py", "own-order-model.md"),
        ("test_checkout_example.py", "testing-your-shop.md"),
        ("test_checkout_testcase.py", "testing-your-shop.md"),
    ],
)
def test_the_file_is_the_one_of_the_documentation(name, page):
    documented = (HERE.parents[1] / "docs" / page).read_text()
    text = (HERE / name).read_text().replace("tests.hostshop", "hostshop")

    assert f"```python\n{text}```\n" in documented
