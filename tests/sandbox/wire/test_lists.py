"""Lists. See: https://docs.stripe.com/api/pagination (checked 2026-11)

What is refused is in `refusals`.
"""

from __future__ import annotations

import pytest

from tests.sandbox.support import CHARGES, DISPUTES, INTENTS, MONEY, REFUNDS


@pytest.fixture
def ids(api, clock):
    """The ids of eleven intents, newest first; the last six are of one second."""
    made = []
    for number in range(11):
        made.append(api.create()["id"])
        clock.advance(1 if number < 5 else 0)
    return made[::-1]


@pytest.mark.parametrize(
    ("params", "expected", "has_more"),
    [
        ({}, slice(0, 10), True),
        ({"limit": "11"}, slice(0, 11), False),
        ({"limit": "2", "starting_after": 1}, slice(2, 4), True),
        ({"limit": "2", "starting_after": 8}, slice(9, 11), False),
        ({"limit": "2", "ending_before": 3}, slice(1, 3), True),
        ({"limit": "2", "ending_before": 2}, slice(0, 2), False),
        ({"created": "4000000002"}, slice(8, 9), False),
        ({"created[gte]": "4000000003", "limit": "20"}, slice(0, 8), False),
        ({"created[gt]": "4000000003", "limit": "20"}, slice(0, 7), False),
        ({"created[lt]": "4000000002"}, slice(9, 11), False),
        ({"created[gte]": "4000000001", "created[lte]": "4000000002"}, slice(8, 10), False),
    ],
)
def test_a_page_of_a_list(api, ids, params, expected, has_more):
    named = {name: ids[at] if isinstance(at, int) else at for name, at in params.items()}

    page = api.get(INTENTS, named)

    page.assert_has(object="list", url=INTENTS, has_more=has_more)
    assert [intent["id"] for intent in page["data"]] == ids[expected]


def test_a_list_is_filtered_by_what_its_objects_are_of(api):
    one, other = api.pay("pm_card_createDispute", currency="eur"), api.pay()
    refunds = [api.refund(other, amount=amount) for amount in ("1", "2")][::-1]
    (dispute,) = api.get(DISPUTES)["data"]

    for path, params, found in [
        (CHARGES, {}, [other, one]),
        (CHARGES, {"payment_intent": one["payment_intent"]}, [one]),
        (REFUNDS, {"charge": other["id"]}, refunds),
        (REFUNDS, {"payment_intent": other["payment_intent"]}, refunds),
        (REFUNDS, {"charge": "ch_missing"}, []),
        (f"{CHARGES}/{other['id']}/refunds", {"limit": "1"}, refunds[:1]),
        (DISPUTES, {"charge": one["id"]}, [dispute]),
        (DISPUTES, {"payment_intent": other["payment_intent"]}, []),
    ]:
        assert [each["id"] for each in api.get(path, params)["data"]] == [
            each["id"] for each in found
        ]
    for params, sources in [
        ({"source": other["id"]}, [other]),
        ({"type": "refund"}, refunds),
        ({"currency": "eur"}, [one, dispute]),
        ({"type": "payout"}, []),
    ]:
        ids = {row["source"] for row in api.get(MONEY, params)["data"]}
        assert ids == {each["id"] for each in sources}
