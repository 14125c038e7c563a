"""What is done at Stripe after an evaluation: an open payment is lowered with its order."""

from __future__ import annotations

import pytest
from django.db import connection, transaction

from shop_payments import services
from shop_payments.models import Order, PaymentHistory, StripeAttempt
from shop_payments.sandbox import Fault
from tests.books import sweep
from tests.shop import DepositAdapter, Shop
from tests.support import writes

pytestmark = pytest.mark.django_db

OPEN = "requires_payment_method"
UPDATES = "/v1/payment_intents/*"


def costs(shop: Shop, total: int) -> None:
    """Change the order and say so; no webhook comes that would do the same."""
    shop.order.lines.update(unit_amount=total * 100)
    services.reevaluate_order(shop.order.pk)


def test_an_open_payment_is_lowered_with_its_order(open_shop):
    """With everything that call 1 sends, so that call 1 has nothing left to update."""
    shop = open_shop(112)
    intent_id = shop.begin(112)
    Order.objects.update(email="new@example.com")
    sent = len(writes(shop.stripe))

    shop.costs(102)

    assert shop.asked_at_stripe(intent_id) == (OPEN, 102)
    intent = shop.at_stripe(intent_id)
    assert intent["receipt_email"] == "new@example.com"
    assert '"amount":10200' in intent["metadata"]["line_items"]
    assert shop.intent(intent_id).amount == 10200
    fact = PaymentHistory.objects.get(kind="intent_updated")
    assert (fact.source, fact.detail) == ("shop", "102.00 USD")
    assert shop.begin(102) == intent_id
    shop.costs(120)
    assert shop.asked_at_stripe(intent_id) == (OPEN, 102), "less than is owed is left alone"
    assert len(writes(shop.stripe)) == sent + 1


def test_an_order_lowered_under_the_threshold_is_captured_at_once(open_shop, monkeypatch):
    """Found: only the amount was lowered, and money was reserved that nobody would capture."""

    def capture_method(adapter: DepositAdapter, order: Order) -> str:
        return "manual" if order.amount > 200_00 else "automatic"

    monkeypatch.setattr(DepositAdapter, "capture_method", capture_method)
    shop = open_shop(300)
    intent_id = shop.begin(300)
    assert shop.at_stripe(intent_id)["capture_method"] == "manual"

    costs(shop, 112)

    assert shop.asked_at_stripe(intent_id) == (OPEN, 112)
    assert shop.at_stripe(intent_id)["capture_method"] == "automatic_async"


def test_an_address_that_stripe_refuses_does_not_keep_an_intent_from_being_lowered(
    open_shop, monkeypatch, caplog
):
    shop = open_shop(112)
    intent_id = shop.begin(112)
    monkeypatch.setattr(DepositAdapter, "receipt_email", lambda *args: "nobody@@nowhere")

    shop.costs(50)

    assert shop.asked_at_stripe(intent_id) == (OPEN, 50)
    assert "nobody@" not in caplog.text


@pytest.mark.parametrize("can_show", [True, False])
def test_an_open_payment_that_cannot_be_updated_is_cancelled(
    open_shop, configure, monkeypatch, can_show
):
    shop = open_shop(112)
    intent_id = shop.begin(112)
    if can_show:  # Stripe does not let an update change this
        configure(AUTOMATIC_PAYMENT_METHODS=True)
    else:  # the order can be evaluated, and not shown to Stripe
        monkeypatch.setattr(DepositAdapter, "line_items", lambda *args: None)

    shop.costs(102)

    assert shop.at_stripe(intent_id)["status"] == "canceled"


def test_an_open_payment_of_which_nothing_is_owed_is_cancelled(open_shop):
    for change in (lambda shop: shop.costs(0), lambda shop: shop.wants(False)):
        shop = open_shop(112)
        intent_id = shop.begin(112)

        change(shop)

        assert shop.at_stripe(intent_id)["status"] == "canceled"
        assert shop.at_stripe(intent_id)["cancellation_reason"] == "duplicate"
        assert shop.intent(intent_id).status == "canceled"


def test_an_open_payment_is_cancelled_where_the_rest_is_below_stripes_minimum(open_shop):
    """It cannot be lowered so far, and must not be paid as it is."""
    shop = open_shop(112)
    shop.pay(112)
    shop.order.lines.update(unit_amount=200_00)
    rest = shop.begin(88)
    shop.order.lines.update(unit_amount=112_30)

    services.reevaluate_order(shop.order.pk)

    assert shop.at_stripe(rest)["status"] == "canceled"
    assert shop.payment.amount_outstanding == 30


def test_money_that_is_reserved_or_on_its_way_is_left_to_staff(open_shop):
    shop = open_shop(112, CAPTURE_METHOD="manual")
    reserved = shop.pay(112)
    shop.costs(102)
    assert shop.asked_at_stripe(reserved) == ("requires_capture", 112)

    types = ["card", "us_bank_account"]
    shop = open_shop(112, CAPTURE_METHOD="automatic", ALLOWED_PAYMENT_METHOD_TYPES=types)
    debited = shop.debit(112)
    shop.costs(102)
    assert shop.asked_at_stripe(debited) == ("processing", 112)

    assert not StripeAttempt.objects.pending().exists()


@pytest.mark.django_db(transaction=True)
def test_stripe_is_called_after_the_commit_of_the_shop(open_shop):
    shop = open_shop(112)
    intent_id = shop.begin(112)

    with transaction.atomic():
        costs(shop, 92)
        transaction.set_rollback(True)
    assert (shop.asked_at_stripe(intent_id), shop.payment.total) == ((OPEN, 112), 11200)

    with transaction.atomic():
        costs(shop, 102)
        assert shop.asked_at_stripe(intent_id) == (OPEN, 112)
    assert shop.asked_at_stripe(intent_id) == (OPEN, 102)


@pytest.mark.django_db(transaction=True)
def test_the_sweep_lowers_what_a_dead_process_has_left(open_shop):
    shop = open_shop(112)
    intent_id = shop.begin(112)
    with transaction.atomic():
        costs(shop, 102)
        connection.run_on_commit.clear()  # it dies right after the commit
    assert shop.asked_at_stripe(intent_id) == (OPEN, 112)

    assert sweep().problems == []

    assert shop.asked_at_stripe(intent_id) == (OPEN, 102)


@pytest.mark.parametrize(
    ("fault", "total", "path", "at_stripe"),
    [
        ("drop_before", 102, UPDATES, (OPEN, 102)),
        ("drop_after", 0, f"{UPDATES}/cancel", ("canceled", 112)),
    ],
)
def test_where_stripe_was_away_the_sweep_does_it(open_shop, fault, total, path, at_stripe, caplog):
    """Found: while Stripe was away, each try was followed by another one."""
    shop = open_shop(112, AUTO_REFUND_EXCESS=True)
    intent_id = shop.begin(112)
    shop.stripe.inject(Fault(fault, method="POST", path=path, times=None))
    sent = len(writes(shop.stripe))

    costs(shop, total)
    assert "the sweep tries it again" in caplog.text
    assert len(writes(shop.stripe)) == sent + 1, "it is asked once"

    shop.stripe.clear_faults()
    assert sweep().problems == []
    assert shop.asked_at_stripe(intent_id) == at_stripe
    assert not StripeAttempt.objects.pending().exists()
    sent = len(writes(shop.stripe))
    sweep()
    assert len(writes(shop.stripe)) == sent
