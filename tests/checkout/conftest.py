"""Fixtures of the checkout's tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.test import Client

from shop_payments.checkout.links import TOKEN, checkout_url, page_url
from shop_payments.models import Order


class Guest:
    """A browser with a payment link."""

    def __init__(self, order: Order, *, link: str = "", checks_csrf: bool = False) -> None:
        self.client = Client(enforce_csrf_checks=checks_csrf)
        self.order = order
        self.link = link or checkout_url(order)

    @property
    def token(self) -> str:
        return parse_qs(urlsplit(self.link).query)[TOKEN][0]

    def url(self, name: str) -> str:
        return page_url(name, self.order.pk, self.token)

    def get(self, name: str = "pay", **params: str) -> Any:
        url = self.url(name)
        return self.client.get(f"{url}&{urlencode(params)}" if params else url)

    def ask(self) -> Any:
        """Ask for the payment intent, as the pay page's script does."""
        return self.client.post(self.url("pay"))

    def begin(self) -> str:
        """Ask for the payment intent; return its id."""
        intent_id: str = self.ask().json()["intent"]
        return intent_id


def state_of(response: Any) -> str:
    """Return the state of a page, or of an answer for its script."""
    if response["Content-Type"] == "application/json":
        return str(response.json()["state"])
    (found,) = re.findall(r'data-payment-state="(\w+)"', response.content.decode())
    return str(found)


@pytest.fixture
def guest(order: Order) -> Guest:
    return Guest(order)


@pytest.fixture
def state() -> Callable[[Any], str]:
    return state_of


@pytest.fixture(autouse=True)
def protected_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the headers of every answer of the pages."""
    send = Client.request

    def request(self: Client, **kwargs: Any) -> Any:
        response = send(self, **kwargs)
        is_of_checkout = response.request["PATH_INFO"].startswith("/checkout/")
        if is_of_checkout and response.status_code != 403:  # Django's own page
            assert response["Cache-Control"] == "no-store"
            assert response["Referrer-Policy"] == "same-origin"
            assert response["X-Robots-Tag"] == "noindex"
            assert "Permissions-Policy" not in response
        return response

    monkeypatch.setattr(Client, "request", request)
