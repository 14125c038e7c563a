"""One tree of exceptions."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module

from rest_framework.exceptions import APIException

import shop_payments
from shop_payments import exceptions
from shop_payments.exceptions import ShopPaymentsError


def test_every_exception_is_in_one_tree():
    """Two kinds cannot be: REST framework's, and those of the sandbox, which stands alone."""
    outside = [
        each
        for module in pkgutil.walk_packages(shop_payments.__path__, "shop_payments.")
        if not module.name.startswith("shop_payments.sandbox")
        for each in vars(import_module(module.name)).values()
        if inspect.isclass(each) and issubclass(each, BaseException)
        if each.__module__.startswith("shop_payments.") and not issubclass(each, APIException)
        if (each.__module__, issubclass(each, ShopPaymentsError)) != (exceptions.__name__, True)
    ]

    assert outside == []
