"""The button that copies a payment link, which staff send to a customer."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch
from django.utils.translation import gettext

from shop_payments.admin.actions import ActionLink
from shop_payments.checkout.links import DEFAULT_EXPIRY, checkout_url
from shop_payments.exceptions import ShopPaymentsError
from shop_payments.services import get_order


def payment_links(request: HttpRequest, order: Any) -> list[ActionLink]:
    """Return the button, if the customer would be asked for money and the pages are mounted."""
    try:
        url = checkout_url(order, request)
        if not get_order(order_id=order.pk, user=None, any_order=True).payable:
            return []
    except (NoReverseMatch, ShopPaymentsError):
        return []
    copied = gettext("Payment link copied (valid for %(days)d days)") % {
        "days": DEFAULT_EXPIRY.days
    }
    return [ActionLink(url=url, label=gettext("Copy payment link"), copied=copied)]
