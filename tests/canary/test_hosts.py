"""The host's code raises."""

from __future__ import annotations

import pytest

from shop_payments import signals
from shop_payments.gateway import get_gateway
from shop_payments.orders import BundledOrderAdapter
from tests.canary.reports import reports_of
from tests.canary.scene import run_the_flow
from tests.support import event_body


class Careless(BundledOrderAdapter):
    """A host's adapter that raises in one of its hooks."""

    broken = ""

    def line_items(self, order):
        return self._do("line_items", order)

    def total(self, order):
        return self._do("total", order)

    def amount_to_pay_now(self, order, outstanding):
        return self._do("amount_to_pay_now", order, outstanding)

    def is_payable(self, order):
        return self._do("is_payable", order)

    def receipt_email(self, order):
        return self._do("receipt_email", order)

    def find(self, pk):
        return self._do("find", pk)

    def on_payment_received(self, order, **kwargs):
        self._do("on_payment_received", order, **kwargs)

    def on_paid(self, order, **kwargs):
        self._do("on_paid", order, **kwargs)

    def _do(self, name, *args, **kwargs):
        if self.broken == name:
            raise RuntimeError("the host's own")
        return getattr(super(), name)(*args, **kwargs)


@pytest.mark.parametrize(
    "hook",
    [
        "line_items",
        "total",
        "amount_to_pay_now",
        "is_payable",
        "receipt_email",
        "find",
        "on_payment_received",
        "on_paid",
    ],
)
def test_no_adapter_that_raises_does(scene, canary, configure, monkeypatch, hook):
    configure(ORDER_ADAPTER=f"{__name__}.Careless")
    for broken in ("", hook):
        monkeypatch.setattr(Careless, "broken", broken)
        scene.ask(quantity=3)
        scene.ask(quantity=2)
        scene.settle()
    scene.pay()
    scene.deliver()
    scene.settle()

    assert any(record.exc_info for record in canary.trap.records)
    reports_of(canary)
    canary.assert_silent()


def test_no_receiver_and_no_queue_that_raises_does(scene, canary, configure):
    def raising(*, payment_intent, **kwargs):
        get_gateway().retrieve_payment_intent(payment_intent.stripe_id)
        raise RuntimeError("the host's own")

    signals.order_paid.connect(raising)
    try:
        run_the_flow(scene)
    finally:
        signals.order_paid.disconnect(raising)
    configure(EVENT_HANDLER=f"{__name__}.no_queue")
    (intent,) = scene.stripe._books.payment_intents.values()
    assert scene.send(event_body(intent)).status_code == 503

    assert len([record for record in canary.trap.records if record.exc_info]) >= 2
    reports_of(canary)
    canary.assert_silent()


def no_queue(event_pk: int) -> None:
    raise ConnectionError("the broker is away")
