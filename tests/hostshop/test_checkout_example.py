import pytest
from django.contrib.auth.models import User

from shop_payments.models import OrderPayment
from shop_payments.testing import build_event, sign_event
from tests.hostshop.models import Customer, Order


@pytest.fixture
def order(db):
    ada = User.objects.create_user("ada", email="ada@example.com")
    customer = Customer.objects.create(user=ada, email=ada.email)
    order = Order.objects.create(reference="2025/1", customer=customer, total="112.00")
    order.items.create(title="Main product 2", unit_price="56.00", quantity=2)
    return order


def test_a_paid_order_is_shipped(client, order, stripe_sandbox):
    stripe_sandbox.pay(order)

    assert order.shipments.count() == 1
    assert "Thank you!" in client.get(f"/orders/{order.pk}").content.decode()


def test_a_declined_card_shows_a_message(client, order, stripe_sandbox):
    stripe_sandbox.pay(order, "pm_card_chargeDeclinedInsufficientFunds")

    assert "insufficient funds" in client.get(f"/orders/{order.pk}").content.decode()
    assert order.shipments.count() == 0


def test_a_second_card_pays(order, stripe_sandbox):
    stripe_sandbox.decline(order)
    stripe_sandbox.pay(order)

    assert order.shipments.count() == 1


def test_3d_secure_comes_before_the_goods(order, stripe_sandbox):
    stripe_sandbox.pay(order, "pm_card_authenticationRequired")
    assert order.shipments.count() == 0

    stripe_sandbox.authenticate(order)
    assert order.shipments.count() == 1


def test_an_event_that_comes_twice_ships_once(order, stripe_sandbox):
    intent = stripe_sandbox.pay(order)

    signed = sign_event(build_event("payment_intent.succeeded", intent))
    response = signed.post()

    assert response.status_code == 200
    assert order.shipments.count() == 1


def test_a_full_refund_calls_the_shipment_off(order, stripe_sandbox):
    stripe_sandbox.pay(order)

    stripe_sandbox.refund(order, 1250)
    assert order.shipments.count() == 1

    stripe_sandbox.refund(order)
    assert order.shipments.count() == 0


def test_staff_hear_of_a_dispute(order, stripe_sandbox):
    stripe_sandbox.pay(order)
    stripe_sandbox.dispute(order)

    payment = OrderPayment.objects.get()
    assert (payment.dispute_state, payment.needs_review) == ("open", True)

    stripe_sandbox.decide_dispute(order, won=True)
    payment.refresh_from_db()
    assert (payment.dispute_state, payment.needs_review) == ("won", False)
