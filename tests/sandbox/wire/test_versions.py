"""API versions. See: https://docs.stripe.com/api/versioning (checked 2026-11)"""

from __future__ import annotations

import pytest

from tests.sandbox.support import INTENTS


def test_an_answer_names_its_version(api):
    assert api.get(INTENTS).headers["stripe-version"] == "2026-10-28.endive"
    older = api.get(INTENTS, Stripe_Version="2025-03-31.basil")
    assert older.headers["stripe-version"] == "2025-03-31.basil"


@pytest.mark.parametrize("version", ["latest", "2026-10-27.endive", "2026-10-28"])
def test_another_version_is_refused(api, version):
    answer = api.get(INTENTS, Stripe_Version=version)

    assert answer.status == 400
    assert answer.error["message"] == f"Invalid Stripe API version: {version}"


def test_previews_are_not_covered(api):
    answer = api.get(INTENTS, Stripe_Version="2026-10-28.preview")

    assert (answer.status, answer.error["code"]) == (400, "sandbox_not_covered")
