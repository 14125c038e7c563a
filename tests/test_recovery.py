"""What a process left behind when it died is finished by the next call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from shop_payments.conf import get_config
from shop_payments.models import PaymentIntent, StripeAttempt
from shop_payments.sandbox import Fault, Sandbox, SandboxServer
from tests.support import Caller, answer, call_stripe

pytestmark = pytest.mark.django_db

START = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Died(BaseException):
    """Stands for kill -9: nothing in the app catches it."""


class DyingLine:
    """A connection to Stripe in whose middle the process dies, once."""

    def __init__(self, stripe: Sandbox, *, after_the_effect: bool) -> None:
        self._stripe, self._after, self._armed = stripe, after_the_effect, True

    def __call__(self, method, url, headers, body):
        dies = self._armed and method.upper() == "POST"
        if dies:
            self._armed = False
        if dies and not self._after:
            raise Died
        response = self._stripe.handle(method, url, headers, body)
        if dies:
            raise Died
        return response


@pytest.fixture(params=[False, True], ids=["before the effect", "after the effect"])
def dying_line(request, stripe, configure):
    configure(STRIPE_TRANSPORT=DyingLine(stripe, after_the_effect=request.param))


def die(caller: Caller, order) -> None:
    with pytest.raises(Died):
        caller.payment_intent(order)


def intents_at_stripe(stripe: Sandbox):
    return call_stripe(stripe, "GET", "payment_intents")["data"]


def test_a_create_is_finished_with_the_same_key(storefront, order, stripe, dying_line):
    with time_machine.travel(START, tick=False) as clock:
        die(storefront, order)
        clock.shift(timedelta(seconds=get_config().INTENT_WAIT_SECONDS + 1))

        response = storefront.payment_intent(order)

    assert response.status_code == 200
    assert [intent["id"] for intent in intents_at_stripe(stripe)] == [response.json()["data"]["id"]]
    assert StripeAttempt.objects.get().outcome == "succeeded"


@pytest.mark.parametrize("after_the_effect", [False, True])
def test_an_update_is_finished_with_the_same_key(
    storefront, order, stripe, configure, after_the_effect
):
    """And then made anew, where the order has changed since."""
    storefront.payment_intent(order)
    order.lines.update(quantity=3)
    configure(STRIPE_TRANSPORT=DyingLine(stripe, after_the_effect=after_the_effect))
    with time_machine.travel(datetime.now(UTC), tick=False) as clock:
        die(storefront, order)
        order.lines.update(quantity=4)
        clock.shift(timedelta(seconds=6))

        response = storefront.payment_intent(order)

    assert response.json()["data"]["amount"] == "224.00"
    assert not StripeAttempt.objects.pending().exists()
    assert len(intents_at_stripe(stripe)) == 1


def test_right_after_a_death_the_order_is_busy_and_then_free(
    storefront, order, stripe, dying_line, configure
):
    """Nobody can know whether the other process is dead or slow; it is waited for a little."""
    line = get_config().STRIPE_TRANSPORT
    configure(INTENT_WAIT_SECONDS=0.3, STRIPE_TRANSPORT=line)
    die(storefront, order)

    first, second = storefront.payment_intent(order), storefront.payment_intent(order)

    assert 200 in {first.status_code, second.status_code}
    assert second.status_code == 200
    assert len(intents_at_stripe(stripe)) == 1


class TestAfterADay:
    """Stripe has forgotten the key: the intent is looked up and never created twice."""

    @pytest.fixture
    def stripe(self, configure):
        sandbox = Sandbox()
        configure(STRIPE_TRANSPORT=sandbox.handle)
        return sandbox

    def come_back_later(self, storefront, order, hours):
        with time_machine.travel(START, tick=False) as clock:
            die(storefront, order)
            clock.shift(timedelta(hours=hours))
            return storefront.payment_intent(order)

    @pytest.mark.parametrize("hours", [1, 22.9, 23.1, 30, 24 * 40])
    def test_one_intent_however_late(self, storefront, order, stripe, dying_line, hours):
        response = self.come_back_later(storefront, order, hours)

        assert response.status_code == 200
        assert [intent["id"] for intent in intents_at_stripe(stripe)] == [
            response.json()["data"]["id"]
        ]
        assert PaymentIntent.objects.count() == 1

    def test_an_intent_is_found_however_often_its_answer_was_lost(self, storefront, order, stripe):
        """It may be as old as the first sending; the last one is many hours younger."""
        with time_machine.travel(START, tick=False) as clock:
            for _sending in range(3):
                stripe.inject(Fault("drop_after", method="POST"))
                assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")
                clock.shift(timedelta(hours=11))

            response = storefront.payment_intent(order)

        assert [intent["id"] for intent in intents_at_stripe(stripe)] == [
            response.json()["data"]["id"]
        ]


class TestTheOtherMode:
    def test_a_live_payment_is_not_continued_with_a_test_key(self, storefront, order, stripe):
        storefront.payment_intent(order)
        PaymentIntent.objects.update(livemode=True)

        assert answer(storefront.payment_intent(order)) == (503, "not_configured")

    def test_a_test_payment_does_not_keep_an_order_from_live_mode(
        self, storefront, order, stripe, configure
    ):
        """The sandbox refuses live keys, so the new intent fails; the old one is out of the way."""
        storefront.payment_intent(order)
        with SandboxServer(stripe) as server:
            configure(
                STRIPE_SECRET_KEY="sk_live_x", STRIPE_API_BASE=server.url, STRIPE_TRANSPORT=None
            )
            response = storefront.payment_intent(order)

        assert answer(response) == (502, "gateway_error")
        assert PaymentIntent.objects.get().status == "missing"
        assert StripeAttempt.objects.get(livemode=True).acquired_at is None  # free to be sent again
