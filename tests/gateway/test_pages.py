"""Lists by the time of creation, a page at a time."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shop_payments.exceptions import GatewayUnavailable
from shop_payments.gateway import get_gateway
from tests.gateway.support import create
from tests.support import pay

NOW = datetime.now(UTC)
ASKS = ["page_of_payment_intents", "page_of_refunds", "page_of_disputes"]


def an_hour_ago() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


def test_pages_follow_one_another(stripe):
    made = [create().id for _ in range(103)][::-1]

    first = get_gateway().page_of_payment_intents(since=an_hour_ago())
    second = get_gateway().page_of_payment_intents(since=an_hour_ago(), after=first.after)

    assert [intent.id for page in (first, second) for intent in page.items] == made
    assert (len(first.items), second.after) == (100, "")


def test_what_is_older_is_left_out(stripe):
    create()

    page = get_gateway().page_of_payment_intents(since=datetime.now(UTC) + timedelta(minutes=1))

    assert (page.items, page.after) == ((), "")


def test_refunds_and_disputes_say_whose_they_are(stripe):
    intent = create()
    pay(stripe, intent.id, "pm_card_createDispute")

    page = get_gateway().page_of_disputes(since=an_hour_ago())

    assert [dispute.payment_intent for dispute in page.items] == [intent.id]


class Line:
    """A line on which the answers are changed."""

    def __init__(self, stripe, change):
        self._stripe, self._change = stripe, change

    def __call__(self, *request):
        answer = self._stripe.handle(*request)
        values = json.loads(answer.body)
        return replace(answer, body=json.dumps(self._change(values)).encode())


def test_what_cannot_be_read_keeps_nothing_else_from_being_read(stripe, configure, caplog):
    older, newer = create(), create()

    def spoil(page):
        page["data"][0]["amount"] = "much"
        return page

    configure(STRIPE_TRANSPORT=Line(stripe, spoil))
    page = get_gateway().page_of_payment_intents(since=an_hour_ago())

    assert [intent.id for intent in page.items] == [older.id]
    assert "Left out of a list" in caplog.text
    assert newer.id not in caplog.text


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize(
    "change",
    [
        lambda page: {"object": "payment_intent"},
        lambda page: {**page, "data": None},
        lambda page: {key: page[key] for key in page if key != "data"},
        lambda page: {key: page[key] for key in page if key != "has_more"},
        lambda page: {**page, "has_more": True},
    ],
    ids=["something else", "no data", "without data", "without an end", "more of nothing"],
)
def test_what_is_no_list_is_no_answer(stripe, configure, ask, change):
    configure(STRIPE_TRANSPORT=Line(stripe, change))

    with pytest.raises(GatewayUnavailable):
        getattr(get_gateway(), ask)(since=an_hour_ago())


FOUND = [
    ("find_created_intent", ["an-attempt"], {"since": NOW, "until": NOW}),
    ("list_refunds", ["pi_1"], {}),
    ("list_disputes", ["pi_1"], {}),
]


@pytest.mark.parametrize(("ask", "what", "when"), FOUND, ids=[name for name, *_ in FOUND])
@pytest.mark.parametrize(
    "change",
    [
        lambda page: {key: page[key] for key in page if key != "data"},
        lambda page: {**page, "has_more": True},
        lambda page: {**page, "data": [{"id": ""}], "has_more": True},
        lambda page: {**page, "data": [{"id": "pi_1"}], "has_more": True, "url": None},
    ],
    ids=["without data", "more of nothing", "without an id", "without an address"],
)
def test_what_cannot_be_walked_through_is_not_the_end(stripe, configure, ask, what, when, change):
    """It was: then nothing was found. Or an IndexError or a ValueError came through."""
    configure(STRIPE_TRANSPORT=Line(stripe, change))

    with pytest.raises(GatewayUnavailable):
        getattr(get_gateway(), ask)(*what, **when)


def test_a_further_page_that_is_empty_is_not_the_end(stripe, configure):
    for _ in range(101):
        create()
    asked = []

    def empty_the_second(page):
        asked.append(page)
        return page if len(asked) == 1 else {**page, "data": [], "has_more": True}

    configure(STRIPE_TRANSPORT=Line(stripe, empty_the_second))

    with pytest.raises(GatewayUnavailable):
        get_gateway().find_created_intent("another", since=an_hour_ago(), until=datetime.now(UTC))
    assert len(asked) == 2
