from __future__ import annotations

from django.contrib import admin

from shop_payments.admin import OrderPaymentPanel

from .models import Order


@admin.register(Order)
class OrderAdmin(OrderPaymentPanel):
    list_display = ["reference", "customer", "total", "payment_status"]
    readonly_fields = ["placed_at"]
