from django.contrib.auth.models import User
from django.test import TestCase

from shop_payments.testing import StripeSandboxMixin
from tests.hostshop.models import Customer, Order


class CheckoutTests(StripeSandboxMixin, TestCase):
    def setUp(self):
        super().setUp()
        ada = User.objects.create_user("ada", email="ada@example.com")
        customer = Customer.objects.create(user=ada, email=ada.email)
        self.order = Order.objects.create(reference="2025/1", customer=customer, total="112.00")
        self.order.items.create(title="Main product 2", unit_price="56.00", quantity=2)

    def test_a_paid_order_is_shipped(self):
        self.stripe_sandbox.pay(self.order)

        assert self.order.shipments.count() == 1
        self.assertContains(self.client.get(f"/orders/{self.order.pk}"), "Thank you!")

    def test_a_declined_card_shows_a_message(self):
        self.stripe_sandbox.decline(self.order)

        self.assertContains(self.client.get(f"/orders/{self.order.pk}"), "was declined")
        assert self.order.shipments.count() == 0
