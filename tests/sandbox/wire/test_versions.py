"""API versions. See: https://docs.stripe.com/api/versioning (checked 2026-11)"""

from __future__ import annotations

from tests.sandbox.support import INTENTS


def test_an_answer_has_one_of_stripes_versions(api):
    assert api.get(INTENTS).headers["stripe-version"] == "2026-10-28.endive"
    older = api.get(INTENTS, Stripe_Version="2025-03-31.basil")
    assert older.headers["stripe-version"] == "2025-03-31.basil"
    for version in ("latest", "2026-10-27.endive", "2026-10-28"):
        refused = api.get(INTENTS, Stripe_Version=version)
        refused.assert_refused(message=f"Invalid Stripe API version: {version}")
    preview = api.get(INTENTS, Stripe_Version="2026-10-28.preview")
    preview.assert_refused(code="sandbox_not_covered")
