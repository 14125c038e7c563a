"""The payment form on a page of the shop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import HttpRequest

from shop_payments.checkout.links import RETURN_EXPIRY, sign
from shop_payments.checkout.pages import Page, build_page, pay_data
from shop_payments.checkout.states import state_of
from shop_payments.exceptions import OrderNotFound
from shop_payments.orders import find_visible_order, read_continue_url
from shop_payments.services import get_order


def embedded_page(order: Any, request: HttpRequest) -> Page:
    """Return the data for the form. Nothing is created, and Stripe is not asked.

    Visitors who are not the order's customer, such as guests, get a token for a day.

    Raises:
        OrderNotFound: there is no such order.
        OrderUnreadable: the adapter raised.
    """
    token = "" if _is_customer(order, request) else sign(order.pk, RETURN_EXPIRY)
    view = get_order(order_id=order.pk, user=None, any_order=True)
    page = build_page(view, state_of(view), token=token, continue_url=read_continue_url(order))
    return replace(page, data=pay_data(page, view, token=token)) if page.can_pay else page


def _is_customer(order: Any, request: HttpRequest) -> bool:
    try:
        find_visible_order(order.pk, user=getattr(request, "user", None))
    except OrderNotFound:
        return False
    return True
