"""The demo's storefront: one product, a basket of one, and the app's checkout pages."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from shop_payments.checkout.links import checkout_url
from shop_payments.models import Order
from shop_payments.orders import BundledOrderAdapter

PRODUCT = "Main product 2"
UNIT_AMOUNT = 5600  # minor units of USD


class DemoAdapter(BundledOrderAdapter):
    """After the payment, the customer returns to the shop."""

    def continue_url(self, order: Any) -> str:
        return reverse("demo-shop")


class BasketForm(forms.Form):
    """What a customer orders."""

    quantity = forms.IntegerField(min_value=1, max_value=9, initial=1)
    email = forms.EmailField(label="E-mail for the receipt", required=False)


def product_page(request: HttpRequest) -> HttpResponse:
    """Show the product. A POST places the order of a guest and leads to its pay page."""
    form = BasketForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        order = Order.objects.create_numbered(email=form.cleaned_data["email"], currency="usd")
        order.lines.create(
            name=PRODUCT, unit_amount=UNIT_AMOUNT, quantity=form.cleaned_data["quantity"]
        )
        return redirect(checkout_url(order))
    return render(request, "config/shop.html", {"form": form, "product": PRODUCT})
