"""An order, its payment intent, and the keys of the storefront."""

from django.conf import settings
from django.db import models


class Order(models.Model):
    """An order with its total in cents."""

    customer = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    total = models.IntegerField()


class APIKey(models.Model):
    """A key of a client program."""

    digest = models.CharField(max_length=64, unique=True)


class Payment(models.Model):
    """An order's payment intent."""

    order = models.OneToOneField(Order, on_delete=models.PROTECT)
    intent_id = models.CharField(max_length=255, unique=True)
    status = models.CharField(max_length=50)
