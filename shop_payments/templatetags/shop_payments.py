"""The template tag of the checkout."""

from __future__ import annotations

from typing import Any

from django import template

from shop_payments.checkout.embedding import embedded_page

register = template.Library()


@register.inclusion_tag("shop_payments/checkout/embedded.html", takes_context=True)
def shop_payments_checkout(context: template.Context, order: Any) -> dict[str, Any]:
    """Show the payment form of an order on a page of the shop.

    ``{% load shop_payments %}{% shop_payments_checkout order %}``. Anyone who sees the page may pay
    the order, so show it to its customer only.
    """
    request = context["request"]
    return {
        "checkout": embedded_page(order, request),
        "csrf_token": context.get("csrf_token"),
        "request": request,
    }
