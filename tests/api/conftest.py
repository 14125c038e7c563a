"""Each answer is checked against the schema; hosts authenticate by tokens or by sessions."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from tests.api.openapi import check_answer
from tests.support import BASE

TOKENS = "config.authentication.BearerTokenAuthentication"
SESSIONS = "rest_framework.authentication.SessionAuthentication"


@pytest.fixture(params=[False, True], ids=["tokens", "sessions first"])
def host_takes_sessions(request: pytest.FixtureRequest, settings: Any) -> bool:
    """Run the test once for each kind of host."""
    classes = [SESSIONS, TOKENS] if request.param else [TOKENS]
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK,
        "DEFAULT_AUTHENTICATION_CLASSES": classes,
    }
    return bool(request.param)


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
