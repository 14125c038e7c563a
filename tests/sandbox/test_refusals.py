"""What Stripe refuses is refused here, has no effect, and leaves no trace but the answer."""

from __future__ import annotations

import pytest

from tests.sandbox.refusals import REFUSALS
from tests.sandbox.support import CHARGES, DISPUTES, ENDPOINTS, INTENTS, MONEY, REFUNDS


def books(api):
    kinds = (INTENTS, CHARGES, REFUNDS, DISPUTES, MONEY, ENDPOINTS)
    return [api.get(path)["data"] for path in kinds], api.sandbox.events


@pytest.mark.parametrize(
    "refusal", REFUSALS, ids=[f"{number}: {row}" for number, row in enumerate(REFUSALS)]
)
def test_it_is_refused_as_stripe_does(api, refusal):
    ids: dict[str, str] = {}

    def named(text, sent):
        for name, value in ids.items():
            text = text.replace(name, value)
        return text, {name: ids.get(value, value) for name, value in sent.items()}

    intent = api.create_in(refusal.state) if refusal.state else api.create()
    ids["ID"] = intent["id"]
    if refusal.card:
        api.confirm(intent, refusal.card)
    if refusal.after:
        ids["LAST"] = api.post(*named(*refusal.after))["id"]
    before = books(api)

    answer = api.call(refusal.method, *named(refusal.path, refusal.sent), key=refusal.key)

    assert answer.status == refusal.status, answer.json
    error = answer.error
    found = error["type"], error.get("code"), error.get("param")
    assert found == (refusal.type, refusal.code, refusal.param), error["message"]
    if refusal.status != 402:  # a decline is an effect: the attempt failed
        assert books(api) == before
