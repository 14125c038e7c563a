"""Money given back: by the API, in Stripe's dashboard, and never twice."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone

from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import OrderPayment, PaymentHistory, Refund, ReviewItem, StripeAttempt
from shop_payments.sandbox import Fault, SandboxResponse
from tests.after_paid.support import assert_books_agree, refund_in_dashboard, refunds_at_stripe
from tests.balance.shop import DepositAdapter, Shop
from tests.factories import OrderFactory
from tests.support import answer, call_stripe, post_webhook, sign, writes
from tests.threads import at_once

pytestmark = pytest.mark.django_db(transaction=True)


# --- the call -----------------------------------------------------------------------------------


def test_a_part_is_given_back(office, order, paid, stripe, told):
    response = office.refund(order, {"amount": "12.50", "reason": "requested_by_customer"})

    (made,) = refunds_at_stripe(stripe)
    row = Refund.objects.get()
    assert response.status_code == 200
    assert response.json() == {
        "message": "Refund created successfully",
        "data": {
            "id": str(row.pk),
            "stripe_id": made["id"],
            "payment_intent": made["payment_intent"],
            "amount": "12.50",
            "currency": "usd",
            "status": "succeeded",
            "reason": "requested_by_customer",
            "failure_reason": None,
            "created_at": row.created_at.isoformat().replace("+00:00", "Z"),
        },
    }
    assert (made["amount"], made["reason"]) == (1250, "requested_by_customer")
    digest = hashlib.sha256(f"{order.pk}:{row.request_key}".encode()).hexdigest()
    assert made["metadata"] == {
        "order_id": str(order.pk),
        "attempt_id": str(row.pk),
        "request": digest,
    }
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_refunded) == ("partially_refunded", 1250)
    assert [(name, data["amount"]) for name, data in told] == [("order_refunded", 1250)]
    assert_books_agree(stripe)


def test_all_that_is_left_is_given_back(office, order, paid, stripe):
    office.refund(order, {"amount": "100.00"})

    response = office.refund(order)

    assert response.json()["data"]["amount"] == "12.00"
    assert OrderPayment.objects.get().status == "refunded"
    assert answer(office.refund(order)) == (409, "refund_exceeds_balance")
    assert_books_agree(stripe)


def test_a_refund_is_one_call_to_stripe(office, order, paid, stripe):
    before = len(stripe.requests)

    office.refund(order, {"amount": "1.00"})

    assert [request.path for request in stripe.requests[before:]] == ["/v1/refunds"]


def test_the_customer_sees_it(office, storefront, order, paid):
    office.refund(order, {"amount": "12.50"})

    data = storefront.get(f"orders/{order.pk}").json()["data"]

    assert (data["payment_status"], data["amount_refunded"]) == ("partially_refunded", "12.50")
    assert data["payable"] is False


def test_a_refunded_order_is_not_payable_again(office, storefront, order, paid):
    office.refund(order)

    assert answer(storefront.payment_intent(order)) == (409, "order_not_payable")


def test_the_refunds_are_listed(office, order, paid):
    office.refund(order, {"amount": "1.00"})
    office.refund(order, {"amount": "2.00"})

    assert [each["amount"] for each in office.refunds(order)] == ["1.00", "2.00"]


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("0", (400, "invalid_request")),
        ("0.00", (400, "invalid_request")),
        ("-1", (400, "invalid_request")),
        ("", (400, "invalid_request")),
        ("1,00", (400, "invalid_request")),
        ("1e2", (400, "invalid_request")),
        ("\u0661", (400, "invalid_request")),
        (12.5, (400, "invalid_request")),
        (12, (400, "invalid_request")),
        (None, (400, "invalid_request")),
        (["1.00"], (400, "invalid_request")),
        (" 1", (400, "invalid_request")),
        ("1 ", (400, "invalid_request")),
        ("1\n", (400, "invalid_request")),
        ("+1", (400, "invalid_request")),
        ("1_0", (400, "invalid_request")),
        ("1.", (400, "invalid_request")),
        (".5", (400, "invalid_request")),
        ("1.250", (422, "amount_not_representable")),
        ("1.000", (422, "amount_not_representable")),
        ("12.505", (422, "amount_not_representable")),
        ("0.001", (422, "amount_not_representable")),
        ("112.01", (409, "refund_exceeds_balance")),
        ("999999999999999", (409, "refund_exceeds_balance")),
    ],
)
def test_an_amount_that_cannot_be_is_refused_and_nothing_is_sent(
    office, order, paid, stripe, amount, expected
):
    before = len(stripe.requests)

    assert answer(office.refund(order, {"amount": amount})) == expected

    assert len(stripe.requests) == before
    assert not Refund.objects.exists()


@pytest.mark.parametrize(
    ("currency", "unit_amount", "amount", "expected"),
    [
        ("jpy", 5600, "100", (200, None)),
        ("usd", 5600, "10", (200, None)),
        ("usd", 5600, "10.5", (200, None)),
        ("usd", 5600, "10.50", (200, None)),
        ("jpy", 5600, "100.00", (422, "amount_not_representable")),
        ("jpy", 5600, "100.5", (422, "amount_not_representable")),
        ("kwd", 5600, "1.230", (200, None)),
        ("kwd", 5600, "1.23", (200, None)),
        ("kwd", 5600, "1.234", (422, "amount_not_representable")),
        ("isk", 560000, "100", (200, None)),
        ("isk", 560000, "100.50", (422, "amount_not_representable")),
    ],
)
def test_an_amount_has_its_currencys_digits(
    office, order, pay_order, stripe, currency, unit_amount, amount, expected
):
    order.currency = currency
    order.save()
    order.lines.update(unit_amount=unit_amount)
    pay_order()
    before = len(writes(stripe))

    assert answer(office.refund(order, {"amount": amount})) == expected

    assert len(writes(stripe)) - before == (1 if expected[0] == 200 else 0)
    assert_books_agree(stripe)


@pytest.mark.parametrize(
    "body", [[], "all", {"sum": "1.00"}, {"amount": "1.00", "currency": "usd"}, {"reason": "x"}]
)
def test_a_body_that_is_not_as_documented_is_refused(office, order, paid, stripe, body):
    assert answer(office.post(f"orders/{order.pk}/refunds", body)) == (400, "invalid_request")
    assert not refunds_at_stripe(stripe)


def test_the_answer_says_what_is_left(office, order, paid):
    office.refund(order, {"amount": "100.00"})

    response = office.refund(order, {"amount": "12.01"})

    assert response.json()["data"] == {"refundable": "12.00", "currency": "usd"}


@pytest.mark.parametrize("order_id", ["0", "999999", "x", "\x00"])
def test_an_order_that_is_not_there(office, stripe, order_id):
    assert answer(office.refund(order_id)) == (404, "order_not_found")


def test_an_order_that_nobody_tried_to_pay(office, order, stripe):
    assert answer(office.refund(order)) == (409, "order_not_refundable")


def test_an_order_that_is_not_paid(office, storefront, order, stripe):
    storefront.payment_intent(order)

    assert answer(office.refund(order)) == (409, "order_not_refundable")


# --- idempotency --------------------------------------------------------------------------------


def test_a_repetition_answers_the_same_and_gives_nothing_more(office, order, paid, stripe):
    first = office.refund(order, {"amount": "12.50"}, key="a")
    again = office.refund(order, {"amount": "12.50"}, key="a")

    assert first.json() == again.json()
    assert again["Idempotency-Key"] == "a"
    assert len(refunds_at_stripe(stripe)) == 1


def test_two_keys_are_two_refunds(office, order, paid, stripe):
    office.refund(order, {"amount": "12.50"}, key="a")
    office.refund(order, {"amount": "12.50"}, key="b")

    assert len(refunds_at_stripe(stripe)) == 2
    assert OrderPayment.objects.get().amount_refunded == 2500


def test_without_a_key_one_is_made_and_returned(office, order, paid, stripe):
    first = office.refund(order, {"amount": "12.50"})
    again = office.refund(order, {"amount": "12.50"}, key=first["Idempotency-Key"])

    assert first.json() == again.json()
    assert len(refunds_at_stripe(stripe)) == 1


ALL_THAT_IS_LEFT: dict[str, str] = {}


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ({"amount": "12.50"}, {"amount": "12.51"}),
        ({"amount": "12.50"}, {"amount": "12.50", "reason": "duplicate"}),
        ({"amount": "12.50", "reason": "duplicate"}, {"amount": "12.50"}),
        ({"amount": "12.50"}, ALL_THAT_IS_LEFT),
        ({"amount": "112.00"}, ALL_THAT_IS_LEFT),
        (ALL_THAT_IS_LEFT, {"amount": "112.00"}),
        (ALL_THAT_IS_LEFT, {"reason": "duplicate"}),
    ],
)
def test_a_key_is_for_one_request(office, order, paid, stripe, first, other):
    made = office.refund(order, first, key="a")

    assert answer(office.refund(order, other, key="a")) == (409, "idempotency_key_reused")
    assert office.refund(order, first, key="a").json() == made.json()
    assert len(refunds_at_stripe(stripe)) == 1


def test_a_repetition_of_all_that_was_left_answers_the_same(office, order, paid, stripe):
    first = office.refund(order, key="a")

    assert office.refund(order, key="a").json() == first.json()
    assert len(refunds_at_stripe(stripe)) == 1


def test_one_key_may_serve_two_orders(office, order, paid, storefront, stripe, webhooks):
    other = OrderFactory.create(customer=order.customer)
    intent = storefront.payment_intent(other).json()["data"]
    stripe.pay(intent["id"], deliver=False)
    webhooks()

    office.refund(order, {"amount": "1.00"}, key="a")
    office.refund(other, {"amount": "2.00"}, key="a")

    assert [each["amount"] for each in refunds_at_stripe(stripe)] == [100, 200]


@pytest.mark.parametrize("key", ["x" * 256, "two words", "ü"])
def test_a_key_that_no_header_should_hold_is_refused(office, order, paid, stripe, key):
    assert answer(office.refund(order, key=key)) == (400, "invalid_request")
    assert not refunds_at_stripe(stripe)


# --- trouble at Stripe --------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_a_lost_answer_is_finished_by_the_next_call(office, order, paid, stripe, fault):
    stripe.inject(Fault(fault, path="/v1/refunds"))

    lost = office.refund(order, {"amount": "12.50"}, key="a")
    requested = Refund.objects.get().status
    again = office.refund(order, {"amount": "12.50"}, key="a")

    assert answer(lost) == (503, "gateway_unavailable")
    assert lost["Retry-After"]
    assert requested == "requested"
    assert again.json()["data"]["status"] == "succeeded"
    assert len(refunds_at_stripe(stripe)) == 1
    assert_books_agree(stripe)


def test_a_lost_answer_reserves_its_amount(office, order, paid, stripe):
    stripe.inject(Fault("drop_after", path="/v1/refunds"))
    office.refund(order, {"amount": "100.00"}, key="a")

    assert answer(office.refund(order, {"amount": "12.01"})) == (409, "refund_exceeds_balance")
    assert office.refund(order, {"amount": "12.00"}).status_code == 200


def test_a_lost_answer_is_found_by_the_webhook(office, order, paid, stripe, webhooks, told):
    stripe.inject(Fault("drop_after", path="/v1/refunds"))
    office.refund(order, {"amount": "12.50"}, key="a")

    webhooks()

    refund = Refund.objects.get()
    assert (refund.status, refund.stripe_id) == ("succeeded", refunds_at_stripe(stripe)[0]["id"])
    assert StripeAttempt.objects.get(pk=refund.pk).outcome == "succeeded"
    assert [name for name, _data in told] == ["order_refunded"]
    assert office.refund(order, {"amount": "12.50"}, key="a").status_code == 200
    assert len(refunds_at_stripe(stripe)) == 1


def test_a_saved_500_is_looked_up(office, order, paid, stripe):
    stripe.inject(Fault("error", path="/v1/refunds", status=500))
    assert answer(office.refund(order, {"amount": "1.00"}, key="a")) == (503, "gateway_unavailable")

    again = office.refund(order, {"amount": "1.00"}, key="a")

    assert answer(again) == (409, "refund_in_progress")
    assert again.headers["Retry-After"]
    assert not refunds_at_stripe(stripe)
    assert office.refund(order, key="b").json()["data"]["amount"] == "111.00"


def test_a_refund_under_a_saved_500_is_found(office, order, paid, stripe):
    """Stripe fails when the money is on its way already."""
    stripe.inject(Fault("error_after", path="/v1/refunds"))
    assert answer(office.refund(order, {"amount": "1.00"}, key="a")) == (503, "gateway_unavailable")

    again = office.refund(order, {"amount": "1.00"}, key="a")

    assert (again.status_code, again.json()["data"]["status"]) == (200, "succeeded")
    assert len(refunds_at_stripe(stripe)) == 1


def test_a_refusal_of_somebody_else_does_not_refuse_the_refund(
    office, order, paid, stripe, configure, nobody_waits
):
    """The money is on its way; then a proxy refuses in words of its own. It was given up."""
    stripe.inject(Fault("drop_after", path="/v1/refunds"))
    assert answer(office.refund(order, {"amount": "1.00"}, key="a")) == (503, "gateway_unavailable")

    blocked = b'{"error": {"code": 400, "message": "The form looks dangerous"}}'
    configure(STRIPE_TRANSPORT=lambda *request: SandboxResponse(400, {}, blocked))
    assert answer(office.refund(order, {"amount": "1.00"}, key="a")) == (503, "gateway_unavailable")

    configure(STRIPE_TRANSPORT=stripe.handle)
    assert office.refund(order, {"amount": "1.00"}, key="a").json()["data"]["status"] == "succeeded"
    assert len(refunds_at_stripe(stripe)) == 1


def test_a_look_up_that_is_lost_leaves_the_refund_to_the_next_caller(
    office, order, paid, stripe, nobody_waits
):
    """The answer to the key is a 500 for ever, and the list that would tell more does not come."""
    stripe.inject(Fault("error", status=500, method="POST", path="/v1/refunds"))
    stripe.inject(Fault("drop_before", method="GET", path="/v1/refunds"))
    tries = [office.refund(order, {"amount": "1.00"}, key="a") for _try in range(2)]
    assert [answer(each) for each in tries] == 2 * [(503, "gateway_unavailable")]

    last = office.refund(order, {"amount": "1.00"}, key="a")
    assert answer(last) == (409, "refund_in_progress")


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_an_old_key_is_not_sent_again(office, order, paid, stripe, fault):
    stripe.inject(Fault(fault, path="/v1/refunds"))
    office.refund(order, {"amount": "12.50"}, key="a")
    sent = len(writes(stripe))

    for hours in (24, 26):
        with time_machine.travel(timezone.now() + timedelta(hours=hours)):
            again = office.refund(order, {"amount": "12.50"}, key="a")

    expected = "succeeded" if fault == "drop_after" else "refused"
    assert again.json()["data"]["status"] == expected
    assert len(writes(stripe)) == sent
    assert_books_agree(stripe)


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
def test_what_others_gave_back_is_not_taken_for_the_lost_refund(office, order, paid, stripe, fault):
    stripe.inject(Fault(fault, path="/v1/refunds"))
    office.refund(order, {"amount": "12.50"}, key="a")
    others = refund_in_dashboard(stripe, amount="1000")["id"]

    for hours in (24, 26):
        with time_machine.travel(timezone.now() + timedelta(hours=hours)):
            again = office.refund(order, {"amount": "12.50"}, key="a")

    expected = "succeeded" if fault == "drop_after" else "refused"
    assert again.json()["data"]["status"] == expected
    assert Refund.objects.get(request_key="a").stripe_id != others


def test_a_refused_refund_reserves_nothing(office, order, paid, stripe):
    stripe.inject(Fault("error", path="/v1/refunds", status=429))
    assert answer(office.refund(order, key="a"))[0] == 503
    refund_in_dashboard(stripe, amount="1000")

    response = office.refund(order, key="a")

    assert answer(response) == (409, "refund_exceeds_balance")
    assert response.json()["data"]["refundable"] == "102.00"
    assert {row.status for row in Refund.objects.all()} == {"refused", "succeeded"}
    assert_books_agree(stripe)


# --- made elsewhere -----------------------------------------------------------------------------


def test_a_refund_in_the_dashboard_appears(office, order, paid, stripe, webhooks, told):
    refund_in_dashboard(stripe, amount="1250")
    refund_in_dashboard(stripe, amount="250")

    webhooks()

    assert OrderPayment.objects.get().amount_refunded == 1500
    assert [data["amount"] for _name, data in told] == [1250, 250]
    assert [each["amount"] for each in office.refunds(order)] == ["12.50", "2.50"]
    assert_books_agree(stripe)


def test_more_than_the_dashboard_has_left_is_refused(office, order, paid, stripe):
    """It has not told us yet; Stripe refuses, and the reason is found."""
    refund_in_dashboard(stripe, amount="11200")

    response = office.refund(order, {"amount": "1.00"})

    assert answer(response) == (409, "refund_exceeds_balance")
    assert OrderPayment.objects.get().status == "refunded"
    assert_books_agree(stripe)


# --- what becomes of a refund -------------------------------------------------------------------


def test_a_pending_refund_reserves_and_then_succeeds(office, order, pay_order, stripe, webhooks):
    pay_order("pm_card_pendingRefund")
    office.refund(order, {"amount": "100.00"})
    pending = OrderPayment.objects.get()

    stripe.advance_clock(24 * 60 * 60)
    webhooks()

    assert (pending.status, pending.amount_refunded) == ("paid", 0)
    assert OrderPayment.objects.get().status == "partially_refunded"
    assert_books_agree(stripe)


def test_a_failed_refund_reopens_the_balance_and_asks_a_person(
    office, order, pay_order, stripe, webhooks, told
):
    pay_order("pm_card_refundFail")
    office.refund(order)
    refunded = OrderPayment.objects.get().status

    stripe.advance_clock(24 * 60 * 60)
    webhooks()

    payment, item = OrderPayment.objects.get(), ReviewItem.objects.get()
    assert refunded == "refunded"
    assert (payment.status, payment.needs_review) == ("paid", True)
    assert (item.reason, item.subject) == ("refund_failed", refunds_at_stripe(stripe)[0]["id"])
    assert [name for name, _data in told] == ["order_refunded", "refund_failed", "review_needed"]
    assert PaymentHistory.objects.get(kind="refund_failed").sentence == (
        f"refund failed: 112.00 USD could not be refunded with {item.subject}: "
        "expired or canceled card, via webhook"
    )
    assert office.refund(order, key="again").json()["data"]["amount"] == "112.00"


def test_events_that_come_twice_and_in_any_order_change_nothing(
    office, order, paid, stripe, webhooks
):
    office.refund(order, {"amount": "12.50"})
    webhooks()
    facts = PaymentHistory.objects.count()

    for event in reversed(stripe.events):
        body = json.dumps(event).encode()
        assert post_webhook(body, sign(body)).status_code == 200

    assert PaymentHistory.objects.count() == facts
    assert_books_agree(stripe)


# --- over several payments: the rest is in tests/api/test_refunds.py ----------------------------


@pytest.fixture
def two_payments(open_shop) -> tuple[Shop, str, str]:
    """90 and then 22 of an order of 112."""
    shop = open_shop(112)
    DepositAdapter.now = 90_00
    first = shop.pay(90)
    DepositAdapter.now = None
    return shop, first, shop.pay(22)


def skip_to(stripe, part: int, fault: Fault) -> None:
    """Have the fault meet this part: before it come as many that are only slow."""
    for _ in range(part):
        stripe.inject(Fault("latency", seconds=0.001, method="POST", path="/v1/refunds"))
    stripe.inject(fault)


def test_a_part_that_is_refused_is_not_sent_again_with_one_that_is_unknown(two_payments):
    """The first payment has been refunded in the dashboard, and the second one's answer is lost."""
    shop, first, second = two_payments
    shop.stripe.disconnect_webhooks()
    call_stripe(shop.stripe, "POST", "refunds", payment_intent=first, amount="5000")
    skip_to(shop.stripe, 0, Fault("drop_before", method="POST", path="/v1/refunds"))

    unknown = shop.office.refund(shop.order, key="a")
    assert answer(unknown) == (503, "gateway_unavailable")
    assert unknown["Retry-After"]
    sent = len(writes(shop.stripe))

    refused = shop.office.refund(shop.order, key="a")
    assert answer(refused) == (409, "refund_refused")
    assert len(writes(shop.stripe)) == sent + 1, "only the part whose outcome was unknown"
    assert [
        (part["payment_intent"], part["status"]) for part in refused.json()["data"]["parts"]
    ] == [
        (second, "succeeded"),
        (first, "refused"),
    ]
    assert answer(shop.office.refund(shop.order, key="a")) == (409, "refund_refused")
    assert len(writes(shop.stripe)) == sent + 1


@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
@pytest.mark.parametrize("part", [0, 1])
def test_the_sweep_sends_a_part_that_was_not_answered(two_payments, fault, part):
    shop, _first, _second = two_payments
    skip_to(shop.stripe, part, Fault(fault, method="POST", path="/v1/refunds"))
    assert answer(shop.office.refund(shop.order, key="a"))[0] == 503

    with time_machine.travel(timezone.now() + timedelta(minutes=2)):
        reconcile(since=timezone.now() - timedelta(hours=1))

    assert sorted(each["amount"] for each in refunds_at_stripe(shop.stripe)) == [2200, 9000]
    assert shop.office.refund(shop.order, key="a").status_code == 200
    assert shop.payment.status == "refunded"


def test_the_same_refund_asked_for_twice_at_once_sends_each_part_once(two_payments):
    shop, first, second = two_payments

    results = at_once(*[lambda: shop.office.refund(shop.order, {"amount": "100"}, key="a")] * 3)

    assert {each.status_code for each in results} <= {200, 409}
    assert 200 in {each.status_code for each in results}
    assert sorted(
        (each["payment_intent"], each["amount"]) for each in refunds_at_stripe(shop.stripe)
    ) == (sorted([(second, 2200), (first, 7800)]))


def test_two_refunds_at_once_never_take_more_than_came(two_payments):
    shop, _first, _second = two_payments

    results = at_once(
        *(
            lambda key=key: shop.office.refund(shop.order, {"amount": "100"}, key=key).status_code
            for key in "ab"
        )
    )

    assert sorted(results) == [200, 409]
    assert sum(each["amount"] for each in refunds_at_stripe(shop.stripe)) == 10000


def test_a_payment_gives_no_more_than_is_left_of_it(two_payments):
    shop, first, second = two_payments
    shop.refund_in_dashboard(second, 12)

    data = shop.refund(50).json()["data"]

    assert [(part["payment_intent"], part["amount"]) for part in data["parts"]] == [
        (second, "10.00"),
        (first, "40.00"),
    ]


def test_a_key_is_for_one_kind(two_payments):
    shop, _first, _second = two_payments
    assert (
        shop.office.refund(shop.order, {"amount": "50", "kind": "goods"}, key="a").status_code
        == 200
    )

    for body in ({"amount": "50"}, {"amount": "50", "kind": "correction"}, {"amount": "22"}):
        assert answer(shop.office.refund(shop.order, body, key="a")) == (
            409,
            "idempotency_key_reused",
        )
