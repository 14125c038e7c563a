"""The API's tests run twice: whatever the host authenticates with, the answers are the same."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.api.openapi import check_answer
from tests.support import BASE

TOKENS = "config.authentication.BearerTokenAuthentication"
SESSIONS = "rest_framework.authentication.SessionAuthentication"


@pytest.fixture(autouse=True, params=["tokens", "sessions first"])
def host_authentication(request: pytest.FixtureRequest, settings: Any) -> None:
    classes = [TOKENS] if request.param == "tokens" else [SESSIONS, TOKENS]
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK,
        "DEFAULT_AUTHENTICATION_CLASSES": classes,
    }


@pytest.fixture(autouse=True)
def documented_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold every answer that a test gets against the OpenAPI schema."""
    send = Client.request

    def request(self: Client, **kwargs: Any) -> Any:
        response = send(self, **kwargs)
        if response.request["PATH_INFO"].startswith(f"{BASE}/"):
            check_answer(response)
        return response

    monkeypatch.setattr(Client, "request", request)
