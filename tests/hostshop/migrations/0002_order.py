import uuid
from typing import Any

import django.utils.timezone
from django.db import migrations, models
from django.db.models.deletion import CASCADE

UUID = models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)
PRICE: Any = {"decimal_places": 3, "max_digits": 12}


def new_id() -> Any:
    return models.BigAutoField(
        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
    )


def key(to: str, related_name: str) -> Any:
    return models.ForeignKey(on_delete=CASCADE, related_name=related_name, to=f"hostshop.{to}")


class Migration(migrations.Migration):
    dependencies = [("hostshop", "0001_initial")]

    # The order comes later than its app's first migration: see docs/own-order-model.md.
    run_before = [("shop_payments", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", UUID),
                ("reference", models.CharField(max_length=40, unique=True)),
                ("currency", models.CharField(default="USD", max_length=3)),
                ("total", models.DecimalField(**PRICE)),
                ("withdrawn", models.BooleanField(default=False)),
                ("placed_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("customer", key("customer", "orders")),
            ],
        ),
        migrations.CreateModel(
            name="OrderItem",
            fields=[
                ("id", new_id()),
                ("title", models.CharField(max_length=100)),
                ("unit_price", models.DecimalField(**PRICE)),
                ("quantity", models.PositiveIntegerField(default=1)),
                ("order", key("order", "items")),
            ],
        ),
        migrations.CreateModel(
            name="Shipment",
            fields=[
                ("id", new_id()),
                ("fact_id", models.UUIDField(unique=True)),
                ("order", key("order", "shipments")),
            ],
        ),
    ]
