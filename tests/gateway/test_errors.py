"""What Stripe refuses, and what else may go wrong, is translated."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import stripe as stripe_sdk

from shop_payments.exceptions import (
    AmountTooLarge,
    AmountTooSmall,
    CardDeclined,
    GatewayAuthenticationError,
    GatewayBusy,
    GatewayInvalidRequest,
    GatewayUnavailable,
    IdempotencyKeyInUse,
    IdempotencyMismatch,
    ObjectMissing,
    UnexpectedState,
)
from shop_payments.gateway import get_gateway
from shop_payments.gateway.errors import translate_error
from shop_payments.sandbox import Fault, Sandbox, SandboxResponse
from tests.gateway.support import (
    PARAMS,
    confirm,
    create,
    facts,
    new_key,
    refusal,
)
from tests.support import pay


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("pm_card_chargeDeclined", "card_declined"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card"),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc"),
        ("pm_card_chargeDeclinedProcessingError", "processing_error"),
    ],
)
def test_a_decline(stripe, method, code):
    intent = create()
    error = refusal(CardDeclined, lambda: confirm(intent.id, method))
    assert facts(error) == (False, False, 402, code)
    assert error.request_id == stripe.requests[-1].request_id


@pytest.mark.parametrize(
    ("expected", "code", "changes"),
    [
        (AmountTooSmall, "amount_too_small", {"amount": 1}),
        (AmountTooLarge, "amount_too_large", {"amount": 100_000_000}),
        (GatewayInvalidRequest, "parameter_invalid_integer", {"amount": -5}),
        (GatewayInvalidRequest, "", {"currency": "xyz"}),
        (GatewayInvalidRequest, "email_invalid", {"receipt_email": "nobody"}),
        (GatewayInvalidRequest, "parameter_unknown", {"invoice": "in_1"}),
        (GatewayInvalidRequest, "resource_missing", {"payment_method": "pm_none"}),
    ],
)
def test_a_request_that_stripe_refuses(stripe, expected, code, changes):
    error = refusal(expected, lambda: create(**changes))
    assert facts(error) == (False, False, 400, code)
    assert error.param == next(iter(changes))
    assert error.request_id == stripe.requests[-1].request_id
    assert str(error)


def test_an_intent_that_stripe_does_not_know(stripe):
    gateway = get_gateway()
    for call in [
        lambda: gateway.retrieve_payment_intent("pi_none"),
        lambda: gateway.update_payment_intent("pi_none", {"amount": 1}, idempotency_key=new_key()),
        lambda: confirm("pi_none", "pm_card_visa"),
    ]:
        error = refusal(ObjectMissing, call)
        assert facts(error) == (False, False, 404, "resource_missing")
        assert "pi_none" in str(error)


def test_an_unexpected_state(stripe):
    intent = create()
    pay(stripe, intent.id)
    gateway = get_gateway()
    for call in [
        lambda: gateway.update_payment_intent(
            intent.id, {"amount": 500}, idempotency_key=new_key()
        ),
        lambda: confirm(intent.id, "pm_card_visa"),
    ]:
        error = refusal(UnexpectedState, call)
        assert facts(error) == (False, False, 400, "payment_intent_unexpected_state")


def test_a_key_that_opens_nothing(configure):
    configure(STRIPE_TRANSPORT=Sandbox(secret_keys=["sk_test_other"]).handle)
    error = refusal(GatewayAuthenticationError, create)
    assert facts(error) == (False, False, 401, "")
    assert error.request_id.startswith("req_")
    assert "sk_test_of_the_tests" not in str(error)


@pytest.mark.parametrize("status", [None, 200, 404, 500])
def test_the_sdks_own_words_are_not_repeated(status):
    """They quote what was answered, if it was not one of Stripe's error objects."""
    body = '{"client_secret": "pi_1_secret_2", "receipt_email": "customer@example.com"'
    error = stripe_sdk.APIError(
        f"Invalid response body from API: {body}", body, status, headers={"request-id": "req_1"}
    )

    translated = translate_error(error)

    said = f"{translated} {translated.__dict__}"
    assert "customer" not in said
    assert "Invalid" not in said
    assert translated.request_id == "req_1"


def test_a_key_that_may_not_do_this(configure):
    body = b'{"error": {"type": "invalid_request_error", "message": "The key may not"}}'
    configure(STRIPE_TRANSPORT=lambda *args: SandboxResponse(403, {"Request-Id": "req_1"}, body))
    error = refusal(GatewayAuthenticationError, create)
    assert (*facts(error), str(error), error.request_id) == (
        *(False, False, 403, ""),
        *("The key may not", "req_1"),
    )


def test_other_parameters_under_the_same_key(stripe):
    key = new_key()
    get_gateway().create_payment_intent(PARAMS, idempotency_key=key)
    other = {**PARAMS, "amount": 500}
    error = refusal(
        IdempotencyMismatch,
        lambda: get_gateway().create_payment_intent(other, idempotency_key=key),
    )
    assert facts(error) == (False, True, 400, "")


def test_a_key_in_use(stripe_server):
    """The first call waits at Stripe; the second one must learn that nothing is lost."""
    key = new_key()
    stripe_server.inject(Fault("latency", seconds=1))

    def call():
        return get_gateway().create_payment_intent(PARAMS, idempotency_key=key)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(call)
        time.sleep(0.3)
        error = refusal(IdempotencyKeyInUse, call)
        assert first.result().id.startswith("pi_")
    assert facts(error) == (True, True, 409, "idempotency_key_in_use")
    assert call().replayed


@pytest.mark.parametrize(
    ("status", "expected", "effect_unknown", "code"),
    [
        (409, GatewayBusy, False, ""),
        (429, GatewayBusy, False, "rate_limit"),
        (500, GatewayUnavailable, True, ""),
        (503, GatewayUnavailable, True, ""),
    ],
)
def test_stripe_in_trouble(stripe, status, expected, effect_unknown, code):
    stripe.inject(Fault("error", status=status))
    error = refusal(expected, create)
    assert facts(error) == (True, effect_unknown, status, code)
    assert error.request_id == stripe.requests[-1].request_id
    assert not error.replayed


def test_a_saved_500_is_told_from_a_new_one(stripe):
    key = new_key()
    stripe.inject(Fault("error", status=500))
    errors = [
        refusal(
            GatewayUnavailable,
            lambda: get_gateway().create_payment_intent(PARAMS, idempotency_key=key),
        )
        for _attempt in range(2)
    ]
    assert [error.replayed for error in errors] == [False, True]


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
@pytest.mark.parametrize("how", ["stripe", "stripe_server"])
def test_a_broken_connection(request, fault, how):
    sandbox = request.getfixturevalue(how)
    sandbox.inject(Fault(fault))
    error = refusal(GatewayUnavailable, create)
    assert (*facts(error), error.request_id) == (True, True, 0, "", "")


def test_a_slow_answer(stripe_server, configure):
    configure(READ_TIMEOUT=0.1)
    stripe_server.inject(Fault("latency", seconds=0.5))
    began = time.monotonic()
    error = refusal(GatewayUnavailable, create)
    assert facts(error) == (True, True, 0, "")
    assert time.monotonic() - began < 0.5


def test_nobody_listens(configure):
    configure(STRIPE_TRANSPORT=None, STRIPE_API_BASE="http://127.0.0.1:9")
    assert facts(refusal(GatewayUnavailable, create)) == (True, True, 0, "")


def test_a_transport_that_times_out(configure):
    """TimeoutError is an OSError, and not a ConnectionError."""

    def transport(*args):
        raise TimeoutError

    configure(STRIPE_TRANSPORT=transport)
    refusal(GatewayUnavailable, create)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (502, b"<html><h1>Bad Gateway</h1>our proxy says: secret address 10.0.0.7</html>"),
        (429, b"slow down"),
        (404, b"<html>Not Found</html>"),
        (409, b"<html>Conflict</html>"),
        (200, b"<html>Sign in to the hotel's network</html>"),
        (200, b""),
        (200, b"\xff\xfe"),
        (200, "{}".encode("utf-16")),
        (200, "{}".encode("utf-8-sig")),
        (500, b"[]"),
        (500, b'{"message": "internal"}'),
        (400, b'{"error": "no_object"}'),
        (403, b'{"error": {"code": 403, "message": "Blocked", "status": "PERMISSION_DENIED"}}'),
        (404, b'{"error": {"code": 404, "message": "Not Found"}}'),
    ],
    ids=repr,
)
def test_an_answer_that_is_not_stripes(over_http, status, body):
    over_http(lambda *args: SandboxResponse(status, {"Request-Id": "req_1"}, body))
    error = refusal(GatewayUnavailable, create)
    assert (*facts(error)[:3], error.request_id) == (True, True, status, "req_1")
    assert str(error) == f"The answer was not Stripe's (HTTP {status})"


@pytest.mark.parametrize(
    "body", ["[]", "null", '"text"', "7", "{}", '{"id": "pi_1"}', '{"object": "list", "data": []}']
)
def test_a_success_that_is_no_intent(configure, body):
    """The SDK's AttributeError came through, or an exception of the webhooks."""
    configure(STRIPE_TRANSPORT=lambda *args: SandboxResponse(200, {}, body.encode()))
    now = datetime.now(UTC)
    refusal(GatewayUnavailable, create)
    refusal(GatewayUnavailable, lambda: get_gateway().retrieve_payment_intent("pi_1"))
    if '"list"' not in body:
        search = get_gateway().find_created_intent
        refusal(GatewayUnavailable, lambda: search("attempt", since=now, until=now))


def test_a_retry_of_the_sdk_keeps_the_key(stripe, configure):
    configure(MAX_NETWORK_RETRIES=1)
    stripe.inject(Fault("drop_after"))
    intent = create()
    assert intent.replayed
    assert len({request.idempotency_key for request in stripe.requests}) == 1
    assert len(stripe.requests) == 2


NOT_NOW = [(429, None), (429, "lock_timeout"), (409, None)]


@pytest.mark.parametrize(("status", "code"), NOT_NOW)
@pytest.mark.parametrize("first", ["drop_before", "drop_after"])
def test_a_repetition_that_is_turned_away_says_nothing_of_the_sending_before(
    stripe, configure, first, status, code
):
    """It was said that Stripe had done nothing."""
    then = Fault("error", status=status, code=code)
    configure(STRIPE_TRANSPORT=BadDay(stripe, Fault(first), then), MAX_NETWORK_RETRIES=1)

    error = refusal(GatewayUnavailable, create)

    assert facts(error)[:3] == (True, True, status)
    assert error.request_id == stripe.requests[-1].request_id
    assert len(stripe.requests) == 2


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("first", ["drop_before", "drop_after"])
def test_a_key_that_is_withdrawn_says_nothing_of_the_sending_before(
    stripe, configure, first, status
):
    """Staff read that nothing had happened."""
    rest = [SandboxResponse(status, {}, b'{"error": {"type": "invalid_request_error"}}')]

    def line(*request):
        if not stripe.requests:
            stripe.inject(Fault(first))
            return stripe.handle(*request)
        return rest.pop()

    configure(STRIPE_TRANSPORT=line, MAX_NETWORK_RETRIES=1)

    error = refusal(GatewayUnavailable, create)

    assert facts(error)[:3] == (True, True, status)
    assert rest == []


@pytest.mark.parametrize(("status", "code"), NOT_NOW)
def test_what_is_turned_away_each_time_has_done_nothing(stripe, configure, status, code):
    lock = Fault("error", status=429, code="lock_timeout")
    then = Fault("error", status=status, code=code)
    configure(STRIPE_TRANSPORT=BadDay(stripe, lock, then), MAX_NETWORK_RETRIES=1)

    error = refusal(GatewayBusy, create)

    assert facts(error)[:3] == (True, False, status)
    assert len(stripe.requests) == 2


class BadDay:
    """Each request meets the next fault."""

    def __init__(self, stripe, *faults):
        self._stripe, self._faults = stripe, iter(faults)

    def __call__(self, *request):
        self._stripe.inject(next(self._faults))
        return self._stripe.handle(*request)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_leads_nowhere(over_http, status):
    """The same request was sent up to 31 times, to wherever somebody said."""
    asked = []

    def elsewhere(method, path, headers, body):
        asked.append(path)
        return SandboxResponse(status, {"Location": "/v1/elsewhere"}, b"")

    over_http(elsewhere)

    error = refusal(GatewayUnavailable, create)

    assert facts(error) == (True, True, status, "")
    assert asked == ["/v1/payment_intents"]
