"""Lists. See: https://docs.stripe.com/api/pagination (checked 2026-11)"""

from __future__ import annotations

import time

import pytest

from shop_payments.sandbox import Sandbox
from tests.sandbox.support import (
    CHARGES,
    DISPUTES,
    EVENTS,
    INTENTS,
    KEY,
    MONEY,
    REFUNDS,
    Api,
    Clock,
)


def ids(page):
    return [each["id"] for each in page["data"]]


def test_a_page_of_a_list(api, clock):
    made: list[str] = []  # eleven intents, newest first; the last six are of one second
    for number in range(11):
        made.insert(0, api.create()["id"])
        clock.advance(1 if number < 5 else 0)

    for params, expected, has_more in (
        ({}, slice(0, 10), True),
        ({"limit": "2", "starting_after": made[8]}, slice(9, 11), False),
        ({"limit": "2", "ending_before": made[3]}, slice(1, 3), True),
        ({"created": "4000000002"}, slice(8, 9), False),
        ({"created[gt]": "4000000003", "limit": "20"}, slice(0, 7), False),
        ({"created[lt]": "4000000002"}, slice(9, 11), False),
        ({"created[gte]": "4000000001", "created[lte]": "4000000002"}, slice(8, 10), False),
        (
            {"created[gte]": "4000000001", "starting_after": made[7], "limit": "1"},
            *(slice(8, 9), True),
        ),
    ):
        page = api.get(INTENTS, params)
        page.assert_has(object="list", url=INTENTS, has_more=has_more)
        assert ids(page) == made[expected]


def test_a_clock_that_was_set_back_hides_nothing(api, clock):
    made: list[str] = []
    for seconds in (0, 20, -15):
        clock.advance(seconds)
        made.insert(0, api.create()["id"])

    assert ids(api.get(INTENTS, {"created[lte]": "4000000010"})) == [made[0], made[2]]


def test_a_list_is_filtered_by_the_objects_charge_or_intent(api):
    one, other = api.pay("pm_card_createDispute", currency="eur"), api.pay()
    refunds = [api.refund(other, amount=amount) for amount in ("1", "2")][::-1]
    (dispute,) = api.get(DISPUTES)["data"]

    for path, params, found in [
        (CHARGES, {}, [other, one]),
        (CHARGES, {"payment_intent": one["payment_intent"]}, [one]),
        (REFUNDS, {"payment_intent": other["payment_intent"]}, refunds),
        (REFUNDS, {"charge": "ch_x"}, []),
        (f"{CHARGES}/{other['id']}/refunds", {"limit": "1"}, refunds[:1]),
        (DISPUTES, {"charge": one["id"]}, [dispute]),
        (DISPUTES, {"payment_intent": other["payment_intent"]}, []),
    ]:
        assert ids(api.get(path, params)) == [each["id"] for each in found]
    for params, sources in [
        ({"source": other["id"]}, [other]),
        ({"type": "refund"}, refunds),
        ({"currency": "eur"}, [one, dispute]),
    ]:
        rows = api.get(MONEY, params)["data"]
        assert {row["source"] for row in rows} == {each["id"] for each in sources}


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"type": "charge.*"}, ["charge.updated", "charge.succeeded"]),
        ({"type": "*charge*ed*"}, ["charge.updated", "charge.succeeded"]),
        ({"type": "charge.succ*ceeded"}, []),
        ({"type": "charge"}, []),
        ({"type": "*" * 4000 + "Z"}, []),
        ({"types[0]": "refund.failed", "types[1]": "charge.updated"}, ["charge.updated"]),
    ],
)
def test_a_pattern_of_event_types_takes_no_time_to_match(api, params, found):
    """`?type=*********Z` once kept the process busy for ever."""
    api.pay()
    api.again(api.create())  # runs what is due

    began = time.perf_counter()
    page = api.get(EVENTS, {**params, "limit": "100"})

    assert time.perf_counter() - began < 1
    assert [event["type"] for event in page["data"]] == found


def test_an_event_is_stored_as_its_difference_to_others(api):
    for _ in range(20):
        api.pay()

    log = api.sandbox._books.events
    sizes = [len(log[event["id"]].packed) for event in api.sandbox.events[10:]]

    assert sum(sizes) / len(sizes) < 400


# Among many objects

FEW, MANY = 200, 4000


@pytest.fixture(scope="module")
def histories() -> dict[int, Api]:
    """A sandbox with few payments, and one with many, one a minute."""
    return {size: history(size) for size in (FEW, MANY)}


def history(size: int) -> Api:
    """Return a sandbox with copies of a payment, because real ones would take half a minute."""
    clock = Clock()
    api = Api(Sandbox(clock=clock, seed=1))
    api.refund(api.pay())
    books = api.sandbox._books
    stores = (books.charges, books.refunds)
    originals = [next(iter(store.values())) for store in stores]
    succeeded = api.sandbox.events[1]
    for number in range(size):
        clock.advance(60)
        new = {"created": int(clock()), "payment_intent": f"pi_{number}"}
        for store, original in zip(stores, originals, strict=True):
            store.add({**original, **new, "id": f"{original['id']}_{number}"})
        books.events.add({**succeeded, "id": f"evt_{number}", "created": int(clock())})
    late = {**succeeded, "id": "evt_late", "created": int(clock()) - 1}
    books.events.add(late)  # what happens moments after an answer may be a second earlier
    return api


@pytest.mark.parametrize(
    ("path", "query"),
    [
        (CHARGES, "payment_intent={intent}"),
        (CHARGES, "created[gte]={now}&limit=3"),
        (CHARGES, "starting_after={charge}&limit=3"),
        (REFUNDS, "charge={charge}"),
        (MONEY, "source={charge}"),
        (EVENTS, "type=refund.*&limit=3"),
        (EVENTS, "types[]=charge.succeeded&types[]=charge.refunded&limit=3"),
        (EVENTS, "delivery_success=false"),
        (EVENTS, "created[gte]={now}&limit=3"),
        (EVENTS, "type=charge.succeeded&created[lt]=5"),
    ],
)
def test_a_list_takes_as_long_among_many_objects_as_among_few(histories, path, query):
    seconds = {size: shortest(api, path, query) for size, api in histories.items()}

    assert seconds[MANY] < 3 * seconds[FEW] + 0.0005


def shortest(api: Api, path: str, query: str) -> float:
    """Return the seconds of a list; the shortest of many, because the machine does other work."""
    charge = next(iter(api.sandbox._books.charges.values()))
    now = int(api.sandbox.now)
    url = f"{path}?{query}".format(intent=charge["payment_intent"], charge=charge["id"], now=now)
    found = []
    for _ in range(30):
        began = time.perf_counter()
        answer = api.sandbox.handle("GET", url, {"Authorization": f"Bearer {KEY}"})
        found.append(time.perf_counter() - began)
        assert answer.status == 200, answer.body
    return min(found)
