"""The API's tests run twice: whatever the host authenticates with, the answers are the same."""

from __future__ import annotations

from typing import Any

import pytest

TOKENS = "config.authentication.BearerTokenAuthentication"
SESSIONS = "rest_framework.authentication.SessionAuthentication"


@pytest.fixture(autouse=True, params=["tokens", "sessions first"])
def host_authentication(request: pytest.FixtureRequest, settings: Any) -> None:
    classes = [TOKENS] if request.param == "tokens" else [SESSIONS, TOKENS]
    settings.REST_FRAMEWORK = {
        **settings.REST_FRAMEWORK,
        "DEFAULT_AUTHENTICATION_CLASSES": classes,
    }
