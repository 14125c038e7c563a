"""One tree of exceptions, and what the errors say of themselves."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module

import pytest
from rest_framework.exceptions import APIException

import shop_payments
from shop_payments import exceptions
from shop_payments.exceptions import GatewayError, ShopPaymentsError


def exceptions_defined_in(module: str) -> Iterator[type[BaseException]]:
    for each in vars(import_module(module)).values():
        if inspect.isclass(each) and issubclass(each, BaseException) and each.__module__ == module:
            yield each


def parents_in_docstring() -> dict[str, str]:
    """Each name of the tree in the docstring with the name that it hangs from."""
    path, parents = ["ShopPaymentsError"], {}
    for depth, name in re.findall(r"^    ([│ ]*)[├└]── (\w+)", exceptions.__doc__ or "", re.M):
        del path[len(depth) // 4 + 1 :]
        parents[name] = path[-1]
        path.append(name)
    return parents


def test_the_docstring_shows_the_tree():
    tree = {
        each.__name__: each.__mro__[1].__name__
        for each in exceptions_defined_in("shop_payments.exceptions")
    }

    assert tree.pop("ShopPaymentsError") == "Exception"
    assert parents_in_docstring() == tree


def test_every_exception_is_in_the_tree():
    """Two kinds cannot be: REST framework's, and those of the sandbox, which stands alone."""
    outside = [
        each
        for module in pkgutil.walk_packages(shop_payments.__path__, "shop_payments.")
        if not module.name.startswith("shop_payments.sandbox")
        for each in exceptions_defined_in(module.name)
        if not issubclass(each, APIException)
        and (each.__module__, issubclass(each, ShopPaymentsError)) != (exceptions.__name__, True)
    ]

    assert outside == []


@pytest.mark.parametrize(
    ("details", "text"),
    [
        ({}, "No."),
        ({"http_status": 500}, "No. (status 500)"),
        (
            {"code": "card_declined", "http_status": 402, "request_id": "req_1"},
            "No. (card_declined, status 402, req_1)",
        ),
    ],
)
def test_an_error_of_stripes_is_shown_in_full_and_without_gaps(details, text):
    assert GatewayError("No.", **details).in_full == text
