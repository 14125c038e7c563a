"""What a shop of its own may look like: UUID keys, decimal prices, customers beside users."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, ClassVar

from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone

if TYPE_CHECKING:
    from django.db.models.fields.related_descriptors import RelatedManager


class Customer(models.Model):
    user = models.OneToOneField(User, on_delete=models.CASCADE)
    email = models.EmailField()

    if TYPE_CHECKING:  # mypy sees the project of tests.settings, which has not installed this app
        objects: ClassVar[models.Manager[Customer]]


class Order(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    reference = models.CharField(max_length=40, unique=True)
    customer: models.ForeignKey[Customer, Customer] = models.ForeignKey(
        Customer, on_delete=models.CASCADE, related_name="orders"
    )
    currency = models.CharField(max_length=3, default="USD")
    total = models.DecimalField(max_digits=12, decimal_places=3)
    withdrawn = models.BooleanField(default=False)
    placed_at = models.DateTimeField(default=timezone.now)

    if TYPE_CHECKING:
        objects: ClassVar[models.Manager[Order]]
        items: RelatedManager[OrderItem]
        shipments: RelatedManager[Shipment]

    def __str__(self) -> str:
        return self.reference


class OrderItem(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="items")
    title = models.CharField(max_length=100)
    unit_price = models.DecimalField(max_digits=12, decimal_places=3)
    quantity = models.PositiveIntegerField(default=1)


class Shipment(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="shipments")
    fact_id = models.UUIDField(unique=True)
