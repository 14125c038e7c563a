"""Call 1: the order's payment intent is created, reused or updated, whatever happens meanwhile.

Which orders are refused: see tests/api/test_refusals.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.conf import settings as django_settings
from django.utils import timezone

from shop_payments import services
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import (
    Order,
    OrderPayment,
    PaymentIntent,
    ReviewItem,
    Source,
    StripeAttempt,
)
from shop_payments.models.orders import draw_order_number
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault, Sandbox, SandboxResponse
from shop_payments.services.cancel_payment import cancel_payment_on_commit
from shop_payments.services.record_staff_entry import EntryRequest, waive_amount
from tests.factories import OrderLineFactory
from tests.support import DyingLine, answer, call_stripe, die, pay, send_event, writes
from tests.test_unknown_intents import make_elsewhere

pytestmark = pytest.mark.django_db

BY_STAFF = Origin(source=Source.ADMIN, actor="staff 1")


def ask(storefront, order) -> tuple[str, str]:
    """Call 1: the intent's id and what it asks for."""
    response = storefront.payment_intent(order)
    assert response.status_code == 200, response.content
    data = response.json()["data"]
    return data["id"], data["amount"]


def at_stripe(stripe, intent_id: str) -> dict[str, Any]:
    return call_stripe(stripe, "GET", f"payment_intents/{intent_id}")


def all_at_stripe(stripe) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = call_stripe(stripe, "GET", "payment_intents")["data"]
    return found


# --- created, reused, updated, replaced ---------------------------------------------------------


def test_asked_again_it_answers_the_same_with_one_call_to_stripe(storefront, order, stripe):
    first = storefront.payment_intent(order)
    stripe.requests.clear()

    assert storefront.payment_intent(order).content == first.content
    assert [request.method for request in stripe.requests] == ["GET"]


def test_a_changed_order_updates_the_same_intent_in_one_call(storefront, order, stripe):
    first, _amount = ask(storefront, order)
    OrderLineFactory(order=order, name="Postage", unit_amount=490, quantity=1)
    Order.objects.update(currency="eur")
    stripe.requests.clear()

    assert ask(storefront, order) == (first, "116.90")

    assert writes(stripe) == [f"/v1/payment_intents/{first}"]
    intent = at_stripe(stripe, first)
    assert intent["currency"] == "eur"
    assert "Postage" in intent["metadata"]["line_items"]
    assert intent["metadata"]["attempt_id"] == str(PaymentIntent.objects.get().attempt_id)


@pytest.mark.parametrize(
    ("currency", "unit_amount", "amount"),
    [
        ("jpy", 250, "500"),
        ("kwd", 2560, "5.120"),
        ("isk", 25000, "500"),
        ("huf", 25001, "500.02"),
    ],
)
def test_currencies_come_out_right_in_both_directions(
    storefront, order, stripe, payment_system, currency, unit_amount, amount
):
    Order.objects.update(currency=currency)
    order.lines.update(unit_amount=unit_amount)

    intent_id, asked = ask(storefront, order)
    pay(stripe, intent_id)
    paid = payment_system.payment(order).json()["data"]

    assert asked == paid["amount"] == amount
    assert at_stripe(stripe, intent_id)["amount"] == unit_amount * 2
    assert OrderPayment.objects.get().status == "paid"


@pytest.mark.parametrize(
    ("currency", "unit_amount"), [("kwd", 5123), ("isk", 50050), ("ugx", 1), ("u$d", 100)]
)
def test_an_amount_that_the_currency_does_not_have_is_refused_before_stripe_is_called(
    storefront, order, stripe, currency, unit_amount
):
    Order.objects.update(currency=currency)
    order.lines.update(unit_amount=unit_amount)

    assert answer(storefront.payment_intent(order)) == (422, "amount_not_representable")
    assert stripe.requests == []
    assert not OrderPayment.objects.exists()


@pytest.mark.parametrize(
    ("unit_amount", "code"), [(1, "amount_too_small"), (99_999_999, "amount_too_large")]
)
def test_an_amount_that_stripe_does_not_charge_is_refused(
    storefront, order, stripe, unit_amount, code
):
    order.lines.update(unit_amount=unit_amount)
    assert answer(storefront.payment_intent(order)) == (422, code)

    order.lines.update(unit_amount=5600)
    first = ask(storefront, order)
    order.lines.update(unit_amount=unit_amount)

    assert answer(storefront.payment_intent(order)) == (422, code)
    assert stripe.payment_intent(first[0])["status"] == "requires_payment_method"


def test_a_succeeded_intent_is_settled(storefront, order, stripe, paid_signals):
    """No webhook has come."""
    pay(stripe, ask(storefront, order)[0])

    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1


def test_a_processing_payment_that_fails_may_be_tried_again(storefront, order, stripe):
    intent_id, _amount = ask(storefront, order)
    stripe.advance(intent_id, "processing")
    assert answer(storefront.payment_intent(order)) == (409, "payment_processing")
    assert OrderPayment.objects.get().status == "pending"

    stripe.advance(intent_id, "requires_payment_method")

    assert ask(storefront, order)[0] == intent_id


def test_a_cancelled_intent_is_replaced(storefront, order, stripe):
    first, _amount = ask(storefront, order)
    call_stripe(stripe, "POST", f"payment_intents/{first}/cancel")

    second, _amount = ask(storefront, order)

    assert second != first
    assert PaymentIntent.objects.open().get().stripe_id == second


@pytest.mark.parametrize("changed", [False, True], ids=["same order", "changed order"])
def test_a_test_intent_that_stripe_no_longer_has_is_replaced(
    storefront, order, stripe, configure, changed
):
    """Test data was deleted in the dashboard, or the sandbox was restarted."""
    first, _amount = ask(storefront, order)
    if changed:
        order.lines.update(quantity=3)
    configure(STRIPE_TRANSPORT=Sandbox().handle)

    second, amount = ask(storefront, order)

    assert second != first
    assert amount == ("168.00" if changed else "112.00")
    assert PaymentIntent.objects.get(stripe_id=first).status == "missing"
    assert ask(storefront, order)[0] == second


# --- Stripe in trouble --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
def test_a_broken_connection_is_503_and_the_next_call_finishes_it(storefront, order, stripe, kind):
    stripe.inject(Fault(kind, method="POST"))

    response = storefront.payment_intent(order)

    assert answer(response) == (503, "gateway_unavailable")
    assert int(response["Retry-After"]) > 0
    assert storefront.payment_intent(order).status_code == 200
    assert len(all_at_stripe(stripe)) == 1
    assert StripeAttempt.objects.get().outcome == "succeeded"


def test_a_lost_creation_is_finished_with_its_saved_parameters(storefront, order, stripe):
    """The order has changed since: the saved request is sent first, then the change."""
    stripe.inject(Fault("drop_after", method="POST"))
    storefront.payment_intent(order)
    order.lines.update(quantity=3)

    assert ask(storefront, order)[1] == "168.00"

    assert len(all_at_stripe(stripe)) == 1
    operations = StripeAttempt.objects.order_by("created_at").values_list("operation", flat=True)
    assert list(operations) == ["create_intent", "update_intent"]


def test_a_lost_update_is_finished(storefront, order, stripe):
    ask(storefront, order)
    order.lines.update(quantity=3)
    stripe.inject(Fault("drop_after", method="POST"))

    assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")
    order.lines.update(quantity=4)
    assert ask(storefront, order)[1] == "224.00"
    assert not StripeAttempt.objects.pending().exists()


@pytest.mark.parametrize("status", [409, 429, 503])
def test_a_busy_stripe_is_503(storefront, order, stripe, status):
    stripe.inject(Fault("error", method="POST", status=status))

    response = storefront.payment_intent(order)

    assert answer(response) == (503, "gateway_unavailable")
    assert "Retry-After" in response
    assert storefront.payment_intent(order).status_code == 200


def test_a_saved_500_does_not_block_the_order(storefront, order, stripe):
    """Stripe repeats a 500 under the same key for 24 hours."""
    stripe.inject(Fault("error", method="POST", status=500))
    assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")
    assert storefront.payment_intent(order).status_code == 200

    order.lines.update(quantity=3)
    stripe.inject(Fault("error", method="POST", status=500))
    assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")
    assert ask(storefront, order)[1] == "168.00"

    outcomes = StripeAttempt.objects.order_by("created_at").values_list("outcome", flat=True)
    assert list(outcomes) == ["abandoned", "succeeded"] * 2


def test_a_key_that_stripe_refuses_is_502(storefront, order, configure):
    configure(STRIPE_TRANSPORT=Sandbox(secret_keys=["sk_test_other"]).handle)

    response = storefront.payment_intent(order)

    assert answer(response) == (502, "gateway_error")
    assert response.json()["data"]["stripe_request_id"].startswith("req_")


def test_without_a_key_nothing_is_written(storefront, order, configure):
    configure(STRIPE_SECRET_KEY="")

    assert answer(storefront.payment_intent(order)) == (503, "not_configured")
    assert not OrderPayment.objects.exists()


# --- answers that Stripe should not give --------------------------------------------------------

Change = Callable[[Any], Any]


def with_(**changes: Any) -> Change:
    return lambda values: {**values, **changes}


MALFORMED: dict[str, Change] = {
    "a list": lambda values: [],
    "nothing": lambda values: {},
    "no mode": lambda values: {key: values[key] for key in values if key != "livemode"},
    "another object": with_(object="list"),
    "a currency of four letters": with_(currency="usdc"),
    "an amount beyond all columns": with_(amount=10**20),
    "a time beyond all calendars": with_(created=10**12),
    "a long id": with_(id="pi_" + "x" * 300),
    "NUL in the id": with_(id="pi_\x00"),
    "a lone surrogate in the secret": with_(client_secret="pi_secret_\ud800"),
}


def changing(stripe: Sandbox, change: Change, **response: Any) -> Callable[..., SandboxResponse]:
    """Change what Stripe answers."""

    def handle(*request: Any) -> SandboxResponse:
        answer = stripe.handle(*request)
        changed = json.dumps(change(json.loads(answer.body)))
        return replace(answer, body=changed.encode(), **response)

    return handle


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_answer_is_503_and_the_intent_is_found_later(
    storefront, order, stripe, configure, change
):
    configure(STRIPE_TRANSPORT=changing(stripe, change))
    assert answer(storefront.payment_intent(order)) == (503, "gateway_unavailable")
    assert not PaymentIntent.objects.exists()

    configure(STRIPE_TRANSPORT=stripe.handle)
    (created,) = all_at_stripe(stripe)
    assert ask(storefront, order)[0] == created["id"]


def test_a_status_longer_than_its_column_is_cut(storefront, order, stripe, configure):
    configure(STRIPE_TRANSPORT=changing(stripe, with_(status="x" * 100)))

    for _call in range(2):
        assert storefront.payment_intent(order).status_code == 200
    assert PaymentIntent.objects.get().status == "x" * 64


def test_a_refusal_that_no_database_stores(storefront, order, stripe, configure):
    error = {"type": "invalid_request_error", "message": "bad\x00 \ud800", "code": "bad\x00 \ud800"}
    configure(STRIPE_TRANSPORT=changing(stripe, lambda _values: {"error": error}, status=400))

    assert answer(storefront.payment_intent(order)) == (502, "gateway_error")


# --- deposits -----------------------------------------------------------------------------------


@pytest.fixture
def use(configure) -> Callable[[str], None]:
    """Run the shop with another of the adapters of the tests."""
    return lambda name: configure(ORDER_ADAPTER=f"tests.api.adapters.{name}")


def test_a_deposit_and_then_the_rest(
    storefront, payment_system, order, stripe, webhooks, use, paid_signals
):
    use("Deposit")
    first = ask(storefront, order)
    assert first[1] == "90.00"
    assert ask(storefront, order) == first
    pay(stripe, first[0])
    webhooks()
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_outstanding, paid_signals) == (
        "partially_paid",
        2200,
        [],
    )

    second = ask(storefront, order)
    assert second[1] == "22.00"
    pay(stripe, second[0])
    webhooks()

    assert OrderPayment.objects.get().status == "paid"
    assert len(paid_signals) == 1
    assert payment_system.payment(order).json()["data"]["id"] == second[0]


def test_an_open_intent_is_updated_to_the_deposit(storefront, order, stripe, use):
    """The shop has begun to ask for deposits while an intent for all of it was open."""
    first, whole = ask(storefront, order)
    use("Deposit")

    data = storefront.payment_intent(order).json()["data"]

    assert (whole, data["amount"], data["id"]) == ("112.00", "90.00", first)
    assert data["line_items"][0]["quantity"] == 2, "those of the whole order"


@pytest.mark.parametrize(
    "adapter", ["AsksForMore", "AsksForLessThanNothing", "LeavesTooLittle", "RaisesForNumber"]
)
@pytest.mark.parametrize("begun", [False, True], ids=["at first", "after a deposit"])
def test_nothing_is_sent_while_the_adapter_is_at_fault(
    storefront, order, stripe, webhooks, use, adapter, begun
):
    if begun:
        use("Deposit")
        pay(stripe, ask(storefront, order)[0])
        webhooks()
    Order.objects.update(number="BROKEN-1")
    use(adapter)
    sent, attempts = len(stripe.requests), StripeAttempt.objects.count()

    response = storefront.payment_intent(order)

    assert response.json() == {
        "message": "The order could not be read. Try again in a moment.",
        "code": "order_unreadable",
    }
    assert response.status_code == 503
    assert int(response["Retry-After"]) > 0
    assert (len(stripe.requests), StripeAttempt.objects.count()) == (sent, attempts)
    assert storefront.get(f"orders/{order.pk}").json()["data"]["payable"] is False
    use("Deposit")
    assert ask(storefront, order)[1] == ("22.00" if begun else "90.00")


def test_a_deposit_leaves_no_rest_that_stripe_does_not_charge(storefront, order, stripe, use):
    use("Deposit")
    order.lines.update(unit_amount=4525)  # a rest of 0.50 USD, Stripe's minimum
    assert ask(storefront, order)[1] == "90.00"
    order.lines.update(unit_amount=4520)

    assert answer(storefront.payment_intent(order)) == (503, "order_unreadable")


def test_a_rest_that_stripe_does_not_charge_is_offered_to_staff(
    storefront, order, stripe, webhooks
):
    pay(stripe, ask(storefront, order)[0])
    webhooks()
    order.lines.update(unit_amount=5610)  # 0.20 more in all

    assert answer(storefront.payment_intent(order)) == (422, "amount_too_small")
    item = ReviewItem.objects.open().get()
    assert item.reason == "rest_too_small"
    assert "waive" in item.suggested_action.lower()
    assert storefront.get(f"orders/{order.pk}").json()["data"]["payable"] is False


def test_an_order_without_lines_and_with_a_total_can_be_paid(
    storefront, payment_system, order, stripe, use
):
    use("WithoutLines")

    pay(stripe, ask(storefront, order)[0])

    settled = payment_system.payment(order)
    assert (settled.status_code, settled.json()["data"]["line_items"]) == (200, [])


# --- an intent follows the settings -------------------------------------------------------------


class ReservesLargeOrders(BundledOrderAdapter):
    """Money for orders of 150.00 and more is only reserved."""

    def capture_method(self, order: Order) -> str:
        return "manual" if order.amount >= 15000 else "automatic"


def refuse_update(stripe, param: str | None = None) -> None:
    path = "/v1/payment_intents/pi_" + 24 * "[!/]"
    stripe.inject(Fault("refused", method="POST", path=path, param=param))


@pytest.mark.parametrize(("before", "after"), [(5600, 9000), (9000, 5600)])
def test_the_capture_method_follows_the_order(configure, storefront, order, stripe, before, after):
    configure(ORDER_ADAPTER=f"{__name__}.ReservesLargeOrders")
    order.lines.update(unit_amount=before)
    first, _amount = ask(storefront, order)

    order.lines.update(unit_amount=after)
    assert ask(storefront, order)[0] == first

    wanted = "manual" if after == 9000 else "automatic_async"
    assert stripe.payment_intent(first)["capture_method"] == wanted


def test_the_capture_method_is_updated_where_nothing_else_has_changed(
    configure, storefront, order, stripe
):
    order.lines.update(unit_amount=9000)
    first, _amount = ask(storefront, order)

    configure(ORDER_ADAPTER=f"{__name__}.ReservesLargeOrders")
    before = len(stripe.requests)
    assert ask(storefront, order)[0] == first

    assert [each.method for each in stripe.requests[before:]] == ["POST"], "without a look before"
    assert stripe.payment_intent(first)["capture_method"] == "manual"


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        (
            {"ORDER_ADAPTER": f"{__name__}.ReservesLargeOrders"},
            *("capture_method", "manual"),
        ),
        (
            {"ALLOWED_PAYMENT_METHOD_TYPES": ["card", "us_bank_account"]},
            *("payment_method_types", ["card", "us_bank_account"]),
        ),
    ],
    ids=["capture method", "payment method types"],
)
def test_an_intent_is_updated_where_only_the_settings_have_changed(
    configure, storefront, order, stripe, changes, field, value
):
    order.lines.update(unit_amount=9000)
    first, _amount = ask(storefront, order)

    configure(**changes)
    assert ask(storefront, order)[0] == first

    assert stripe.payment_intent(first)[field] == value
    assert len(writes(stripe)) == 2


@pytest.mark.parametrize("automatic_first", [True, False])
def test_automatic_payment_methods_cannot_be_updated_so_the_intent_is_replaced(
    configure, storefront, order, stripe, automatic_first
):
    configure(AUTOMATIC_PAYMENT_METHODS=automatic_first)
    first, _amount = ask(storefront, order)

    configure(AUTOMATIC_PAYMENT_METHODS=not automatic_first)
    second, _amount = ask(storefront, order)

    assert second != first
    assert stripe.payment_intent(first)["status"] == "canceled"
    assert PaymentIntent.objects.open().get().stripe_id == second
    assert ask(storefront, order)[0] == second


@pytest.mark.parametrize("param", ["capture_method", "currency", "metadata", None])
def test_an_update_that_stripe_refuses_replaces_the_intent(storefront, order, stripe, param):
    first, _amount = ask(storefront, order)
    refuse_update(stripe, param)

    order.lines.update(unit_amount=9000)
    second, amount = ask(storefront, order)

    assert (second != first, amount) == (True, "180.00")
    assert stripe.payment_intent(first)["status"] == "canceled"
    assert PaymentIntent.objects.open().get().stripe_id == second
    assert ask(storefront, order)[0] == second


@pytest.mark.parametrize(
    ("capture", "status", "code"),
    [
        ("automatic", "succeeded", "order_already_paid"),
        ("manual", "requires_capture", "payment_authorized"),
    ],
)
def test_an_update_that_is_refused_after_the_customer_has_paid_cancels_nothing(
    configure, storefront, order, stripe, capture, status, code
):
    configure(CAPTURE_METHOD=capture)
    first, _amount = ask(storefront, order)
    pay(stripe, first)
    refuse_update(stripe)
    order.lines.update(unit_amount=5000)

    assert answer(storefront.payment_intent(order)) == (409, code)
    assert stripe.payment_intent(first)["status"] == status


def test_an_intent_that_is_paid_while_it_is_replaced_pays_the_order(
    configure, storefront, order, stripe
):
    def line(method: str, url: str, *rest: Any) -> Any:
        if url.endswith("/cancel"):
            pay(stripe, first)
        return stripe.handle(method, url, *rest)

    first, _amount = ask(storefront, order)
    configure(STRIPE_TRANSPORT=line)
    refuse_update(stripe)
    order.lines.update(unit_amount=5000)

    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
    assert stripe.payment_intent(first)["status"] == "succeeded"


def test_an_intent_that_can_be_neither_updated_nor_cancelled_is_an_error(storefront, order, stripe):
    ask(storefront, order)
    refuse_update(stripe)
    stripe.inject(Fault("refused", method="POST", path="/v1/payment_intents/*/cancel"))
    order.lines.update(unit_amount=5000)

    assert answer(storefront.payment_intent(order)) == (502, "gateway_error")
    assert len(writes(stripe)) == 3


# --- while Stripe's answer is on its way --------------------------------------------------------


@pytest.fixture
def meanwhile(stripe, settings) -> Callable[[Callable[[], Any]], None]:
    """Do something once, when Stripe has acted on a write and its answer is still on its way."""

    def arrange(happen: Callable[[], Any]) -> None:
        waiting = [happen]

        def line(method: str, url: str, *rest: Any) -> Any:
            response = stripe.handle(method, url, *rest)
            if waiting and method.upper() == "POST" and "/v1/payment_intents" in url:
                waiting.pop()()
            return response

        settings.SHOP_PAYMENTS = {**django_settings.SHOP_PAYMENTS, "STRIPE_TRANSPORT": line}

    return arrange


def payable_at_stripe(stripe) -> list[int]:
    """The amounts of all intents that a customer could still pay."""
    return [
        each["amount"]
        for each in all_at_stripe(stripe)
        if each["status"] == "requires_payment_method"
    ]


def test_the_customer_pays_by_a_slow_method(storefront, order, stripe, meanwhile):
    intent_id, _amount = ask(storefront, order)
    order.lines.update(quantity=3)
    meanwhile(lambda: send_event(stripe.advance(intent_id, "processing")))

    assert answer(storefront.payment_intent(order)) == (409, "payment_processing")
    assert OrderPayment.objects.get().status == "pending"


@pytest.mark.parametrize("begun", [False, True], ids=["created", "updated"])
def test_the_shop_lowers_the_order(storefront, order, stripe, meanwhile, begun):
    if begun:
        ask(storefront, order)
        order.lines.update(quantity=3)

    def lower() -> None:
        order.lines.update(unit_amount=2500)
        services.reevaluate_order(order.pk)

    meanwhile(lower)

    lowered = (7500, "75.00") if begun else (5000, "50.00")
    assert ask(storefront, order)[1] == lowered[1]
    assert payable_at_stripe(stripe) == [lowered[0]]


def test_an_earlier_intent_turns_out_to_be_paid(storefront, order, stripe, meanwhile):
    """It was missing for a moment: the key was another account's."""
    first, _amount = ask(storefront, order)
    PaymentIntent.objects.update(status="missing")
    pay(stripe, first)
    meanwhile(lambda: send_event(at_stripe(stripe, first)))

    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
    assert payable_at_stripe(stripe) == []


def test_staff_waive_the_rest(storefront, order, stripe, webhooks, use, meanwhile):
    use("Deposit")
    pay(stripe, ask(storefront, order)[0])
    webhooks()
    everything = EntryRequest(reason="agreed")
    meanwhile(lambda: waive_amount(order_id=order.pk, request=everything, origin=BY_STAFF))

    assert answer(storefront.payment_intent(order)) == (409, "order_already_paid")
    assert payable_at_stripe(stripe) == []


def test_a_payment_that_is_not_known_here_is_reported(storefront, order, stripe, meanwhile):
    lost = make_elsewhere(stripe, order, paid=True)
    meanwhile(lambda: send_event(at_stripe(stripe, lost)))

    assert answer(storefront.payment_intent(order)) == (409, "payment_in_review")
    assert payable_at_stripe(stripe) == []


def test_the_shop_cancels_the_payment(storefront, order, stripe, meanwhile):
    """The request does not withdraw a cancellation that is younger than itself."""
    meanwhile(lambda: cancel_payment_on_commit(order_id=order.pk, origin=BY_STAFF))

    storefront.payment_intent(order)
    reconcile(since=timezone.now() - timedelta(days=1))

    assert OrderPayment.objects.get().cancel_requested_at is None
    assert payable_at_stripe(stripe) == []


# --- hosts without time zones -------------------------------------------------------------------


@pytest.fixture
def no_time_zones(settings) -> None:
    settings.TIME_ZONE = "Europe/Berlin"
    settings.USE_TZ = False


def test_an_order_is_paid_without_time_zones(
    no_time_zones, storefront, payment_system, order, stripe
):
    intent = pay(stripe, ask(storefront, order)[0])

    assert send_event(intent).status_code == 200
    assert payment_system.payment(order).status_code == 200
    assert OrderPayment.objects.get().status == "paid"
    created_at = PaymentIntent.objects.get().stripe_created_at
    assert created_at == datetime.fromtimestamp(intent["created"])  # noqa: DTZ006
    assert draw_order_number().startswith(f"ORD-{timezone.now():%Y%m%d}-")


@pytest.mark.parametrize(
    "moment",
    [
        "2026-10-25T01:30+00:00",  # half past two, for the second time
        "2026-03-29T01:05+00:00",  # five past three; ten minutes ago it was five to two
    ],
)
def test_a_lost_intent_is_found_without_time_zones(
    no_time_zones, storefront, order, stripe, configure, moment
):
    configure(STRIPE_TRANSPORT=DyingLine(stripe, after_the_effect=True))
    # A number: a datetime would set its own time zone.
    with time_machine.travel(datetime.fromisoformat(moment).timestamp(), tick=False) as clock:
        die(storefront, order)
        clock.shift(timedelta(hours=30))
        found, _amount = ask(storefront, order)

    (intent,) = all_at_stripe(stripe)
    assert found == intent["id"]
