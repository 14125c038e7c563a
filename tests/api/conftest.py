"""Fixtures of the API tests. Every answer is documented, and no cache may store it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.http import JsonResponse
from django.test import Client
from rest_framework.response import Response

from tests.api.openapi import check_answer
from tests.support import BASE, call_stripe, pay

TOKENS = "config.authentication.BearerTokenAuthentication"
SESSIONS = "rest_framework.authentication.SessionAuthentication"


@pytest.fixture(autouse=True)
def checked_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check every answer that a test gets: it is in the OpenAPI schema, and not to be stored."""
    send = Client.request

    def request(self: Client, **kwargs: Any) -> Any:
        response = send(self, **kwargs)
        is_of_api = response.request["PATH_INFO"].startswith(f"{BASE}/")
        if is_of_api and isinstance(response, Response | JsonResponse):  # not a page of Django's
            assert response["Cache-Control"] == "no-store"
            check_answer(response)
        return response

    monkeypatch.setattr(Client, "request", request)


@pytest.fixture
def authenticate_by(settings: Any) -> Callable[..., None]:
    """Set the host's authentication classes."""

    def change(*classes: str) -> None:
        settings.REST_FRAMEWORK = {
            **settings.REST_FRAMEWORK,
            "DEFAULT_AUTHENTICATION_CLASSES": list(classes),
        }

    return change


@pytest.fixture
def pay_order(storefront: Any, order: Any, stripe: Any, webhooks: Any) -> Callable[..., str]:
    """Pay what call 1 asks for, with these changes at Stripe; return the id of the intent."""

    def pay_it(card: str = "pm_card_visa", **changes: str) -> str:
        intent_id: str = storefront.payment_intent(order).json()["data"]["id"]
        if changes:
            call_stripe(stripe, "POST", f"payment_intents/{intent_id}", **changes)
        pay(stripe, intent_id, card)
        webhooks()
        return intent_id

    return pay_it
