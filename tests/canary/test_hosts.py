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

    def amount_due(self, order):
        return self._do("amount_due", order)

    def is_payable(self, order):
        return self._do("is_payable", order)

    def receipt_email(self, order):
        return self._do("receipt_email", order)

    def find(self, pk):
        return self._do("find", pk)

    def on_paid(self, order, **kwargs):
        if self.broken == "on_paid":
            raise RuntimeError("the host's own")

    def _do(self, name, *args):
        if self.broken == name:
            raise RuntimeError("the host's own")
        return getattr(super(), name)(*args)


@pytest.mark.parametrize(
    "hook", ["line_items", "amount_due", "is_payable", "receipt_email", "find", "on_paid"]
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
