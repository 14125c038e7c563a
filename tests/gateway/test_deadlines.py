"""A call to Stripe ends in time, however slowly the answer comes."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from shop_payments.exceptions import GatewayUnavailable
from shop_payments.gateway.deadlines import DeadlineAdapter, within
from shop_payments.sandbox import Fault
from tests.gateway.support import create, facts, refusal, retrieve

SLACK = 1.0
"""Seconds for a machine that does other things as well."""

BODY = b'{"object": "payment_intent"' + b" " * 1000 + b"}"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
    BODY
)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 500
ERROR = HEAD.replace(b"200 OK", b"500 Internal Server Error")


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
    ("text", "at_once"),
    [
        (HEAD + BODY, 0),
        (HEAD + BODY, len(HEAD)),
        (HEAD + BODY, len(HEAD) + 500),
        (CHUNKED, 60),
        (ERROR + BODY, len(ERROR)),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Header: 1\r\n" * 90, 17),
    ],
    ids=["all", "the body", "the end of the body", "chunks", "an error", "the headers"],
)
def test_an_answer_that_comes_byte_by_byte_is_given_up(over_http, text, at_once):
    answer = dripping(text, at_once=at_once)
    connections = over_http(answer, READ_TIMEOUT=0.5, MAX_NETWORK_RETRIES=1)
    assert 0.4 < seconds_of_a_call() < 0.5 + SLACK
    assert len(connections) == 1


@pytest.mark.parametrize(("seconds", "sent"), [(1.3, 1), (2.5, 2)])
def test_a_retry_is_made_within_the_time(over_http, seconds, sent):
    """Each one had the whole timeout, and the pauses between them came on top."""

    def no_answer_after_a_second(*request):
        time.sleep(1)
        return iter([])

    answers = iter([no_answer_after_a_second, dripping(HEAD + BODY)])
    connections = over_http(
        lambda *request: next(answers)(*request), READ_TIMEOUT=seconds, MAX_NETWORK_RETRIES=1
    )
    assert seconds_of_a_call() < seconds + SLACK
    assert len(connections) == sent


def test_nothing_is_sent_after_the_time():
    request = requests.Request("GET", "http://127.0.0.1:9").prepare()
    with within(0), pytest.raises(requests.exceptions.ReadTimeout):
        DeadlineAdapter().send(request, timeout=(1, 1))


def test_an_answer_that_is_slow_and_in_time_is_read(stripe_server):
    intent = create()
    stripe_server.inject(Fault("latency", seconds=0.3))
    assert retrieve(intent.id).id == retrieve(intent.id).id == intent.id


def test_calls_of_other_threads_have_a_time_of_their_own(over_http):
    over_http(dripping(HEAD + BODY, at_once=len(HEAD)), READ_TIMEOUT=0.5)
    with ThreadPoolExecutor(3) as pool:
        calls = []
        for _ in range(3):
            calls.append(pool.submit(seconds_of_a_call))
            time.sleep(0.2)
    assert all(0.4 < call.result() < 0.5 + SLACK for call in calls)


def test_a_proxys_connections_are_limited_once():
    """Found: each call through a proxy put another class around the one before."""
    adapter = DeadlineAdapter()
    first = adapter.proxy_manager_for("http://127.0.0.1:1").pool_classes_by_scheme
    assert adapter.proxy_manager_for("http://127.0.0.1:1").pool_classes_by_scheme is first
