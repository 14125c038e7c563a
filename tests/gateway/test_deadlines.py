"""A call to Stripe ends in time, even if the answer comes slowly."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import stripe

from shop_payments.conf import get_config
from shop_payments.exceptions import GatewayUnavailable
from shop_payments.gateway.deadlines import within
from shop_payments.gateway.http_clients import build_http_client
from tests.gateway.support import create, facts, refusal

SLACK = 1.0
"""Seconds for a machine that is busy with other work."""

BODY = b'{"object": "payment_intent"' + b" " * 1000 + b"}"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
HEAD += b"Content-Length: %d\r\n\r\n" % len(BODY)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 500


def dripping(text, *, at_once=0):
    """Answer with the first bytes at once, and then with a byte every tenth of a second."""

    def answer(*request):
        yield text[:at_once]
        for byte in text[at_once:]:
            time.sleep(0.1)
            yield bytes([byte])

    return answer


def seconds_of_a_call() -> float:
    began = time.monotonic()
    assert facts(refusal(GatewayUnavailable, create)) == (True, True, 0, "")
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("text", "at_once"), [(HEAD + BODY, 17), (CHUNKED, 60)], ids=["headers", "chunks"]
)
def test_an_answer_that_comes_byte_by_byte_is_cut_off(over_http, text, at_once):
    answer = dripping(text, at_once=at_once)
    connections = over_http(answer, READ_TIMEOUT=0.3, MAX_NETWORK_RETRIES=1)
    assert 0.2 < seconds_of_a_call() < 0.3 + SLACK
    assert len(connections) == 1


@pytest.mark.parametrize(("seconds", "sent"), [(0.6, 1), (1.3, 2)])
def test_a_retry_is_made_within_the_time(over_http, seconds, sent):
    """Each request had the whole timeout, and the pause between them was added."""

    def no_answer(*request):
        time.sleep(0.2)
        return iter([])

    answers = iter([no_answer, dripping(HEAD + BODY)])
    connections = over_http(
        lambda *request: next(answers)(*request), READ_TIMEOUT=seconds, MAX_NETWORK_RETRIES=1
    )
    assert seconds_of_a_call() < seconds + SLACK
    assert len(connections) == sent


def test_nothing_is_sent_after_the_time(over_http):
    connections = over_http(dripping(HEAD + BODY))
    client = build_http_client(get_config())
    with within(0), pytest.raises(stripe.APIConnectionError, match="longer than its total timeout"):
        client.request("get", get_config().STRIPE_API_BASE, {})
    assert connections == []


def test_each_thread_has_its_own_deadline(over_http):
    over_http(dripping(HEAD + BODY, at_once=len(HEAD)), READ_TIMEOUT=0.4)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(seconds_of_a_call)
        time.sleep(0.2)
        second = pool.submit(seconds_of_a_call)
    assert all(0.3 < call.result() < 0.4 + SLACK for call in (first, second))


def test_an_answer_that_stops_shortly_before_the_deadline_is_given_up(over_http):
    """Each read may take the time that is left, and not the whole timeout again."""

    def stops(*request):
        yield HEAD
        time.sleep(1.2)
        yield b" "
        time.sleep(3)

    over_http(stops, READ_TIMEOUT=1.5)
    assert seconds_of_a_call() < 1.5 + SLACK
