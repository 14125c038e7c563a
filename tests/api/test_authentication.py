"""Who may call what, and what everybody else is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from shop_payments.models import APIKey, APIKeyScope, OrderPayment
from tests.conftest import issue_key
from tests.factories import OrderFactory, TokenFactory, UserFactory
from tests.support import BASE, Caller, answer

pytestmark = pytest.mark.django_db


def as_staff(*codenames, csrf=False):
    """A browser in which a member of staff is logged in to the admin."""
    user = UserFactory.create(is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    client = Client(enforce_csrf_checks=csrf)
    client.force_login(user)
    return Caller(client=client)


class TestPaymentIntentRoute:
    def test_no_token_is_401(self, order):
        response = Caller(key=issue_key(APIKeyScope.STOREFRONT)).payment_intent(order)

        assert answer(response) == (401, "not_authenticated")
        assert response["WWW-Authenticate"].startswith("Bearer")

    def test_a_wrong_token_is_401(self, order):
        caller = Caller(token="wrong", key=issue_key(APIKeyScope.STOREFRONT))

        assert answer(caller.payment_intent(order)) == (401, "invalid_token")

    def test_no_key_is_401(self, storefront, order):
        del storefront.headers["X-API-Key"]

        response = storefront.payment_intent(order)

        assert answer(response) == (401, "api_key_missing")
        assert "X-API-Key" in response["WWW-Authenticate"]

    @pytest.mark.parametrize("secret", ["123456789", "spk_", "spk_00000000_x", "ключ"])
    def test_a_wrong_key_is_401(self, storefront, order, secret):
        storefront.headers["X-API-Key"] = secret

        assert answer(storefront.payment_intent(order)) == (401, "api_key_invalid")

    def test_an_expired_key_is_401(self, storefront, order):
        APIKey.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

        assert answer(storefront.payment_intent(order)) == (401, "api_key_invalid")

    def test_a_revoked_key_is_401(self, storefront, order):
        APIKey.objects.get().revoke()

        assert answer(storefront.payment_intent(order)) == (401, "api_key_invalid")

    def test_a_key_without_the_scope_is_403(self, storefront, order):
        storefront.headers["X-API-Key"] = issue_key(APIKeyScope.PAYMENTS)

        assert answer(storefront.payment_intent(order)) == (403, "insufficient_scope")

    def test_another_users_order_and_a_missing_one_answer_the_same(self, storefront):
        foreign = storefront.payment_intent(OrderFactory.create())
        missing = storefront.payment_intent(987654)

        assert answer(foreign) == (404, "order_not_found")
        assert foreign.content == missing.content
        assert not OrderPayment.objects.exists()

    @pytest.mark.parametrize(
        "order_id",
        ["0", "-1", "abc", "1e3", "9" * 40, "%00", "\u0661", "1.0", "😀", "+1", "01", "1%20"],
    )
    def test_what_is_no_id_is_not_found(self, storefront, order_id):
        assert answer(storefront.payment_intent(order_id)) == (404, "order_not_found")

    def test_a_key_may_be_rotated(self, storefront, order, stripe):
        first = storefront.payment_intent(order).json()
        storefront.headers["X-API-Key"] = issue_key(APIKeyScope.STOREFRONT)

        assert storefront.payment_intent(order).json() == first


class TestPaymentRoute:
    def test_no_key_is_401_even_with_a_token(self, storefront, order):
        del storefront.headers["X-API-Key"]

        response = storefront.payment(order)

        assert answer(response) == (401, "api_key_missing")
        assert response["WWW-Authenticate"] == 'ApiKey header="X-API-Key"'

    def test_a_wrong_key_is_401(self, order):
        assert answer(Caller(key="wrong").payment(order)) == (401, "api_key_invalid")

    def test_the_storefronts_key_is_403(self, storefront, order):
        assert answer(storefront.payment(order)) == (403, "insufficient_scope")

    def test_a_missing_order_is_404(self, payment_system):
        assert answer(payment_system.payment(987654)) == (404, "order_not_found")


class TestOrderRoutes:
    def test_no_token_is_401(self, order):
        assert answer(Caller().get("orders")) == (401, "not_authenticated")
        assert answer(Caller().get(f"orders/{order.pk}")) == (401, "not_authenticated")

    def test_a_wrong_token_is_401(self):
        assert answer(Caller(token="wrong").get("orders")) == (401, "invalid_token")

    def test_another_users_order_and_a_missing_one_answer_the_same(self, storefront):
        foreign = storefront.get(f"orders/{OrderFactory.create().pk}")
        missing = storefront.get("orders/987654")

        assert answer(foreign) == (404, "order_not_found")
        assert foreign.content == missing.content

    def test_a_key_alone_opens_nothing(self, payment_system):
        assert answer(payment_system.get("orders")) == (401, "not_authenticated")


class TestStaffSession:
    def test_staff_with_the_permission_create_an_intent_without_a_key(self, order, stripe):
        staff = as_staff("change_orderpayment")

        assert staff.payment_intent(order).status_code == 200

    def test_staff_with_the_permission_settle_without_a_key(self, order, stripe):
        staff = as_staff("change_orderpayment")
        staff.payment_intent(order)

        assert answer(staff.payment(order)) == (409, "payment_not_completed")

    def test_staff_without_the_permission_need_a_key(self, order):
        staff = as_staff("view_orderpayment")

        assert answer(staff.payment_intent(order)) == (401, "api_key_missing")
        assert answer(staff.payment(order)) == (401, "api_key_missing")

    def test_csrf_is_enforced(self, order):
        staff = as_staff("change_orderpayment", csrf=True)

        assert answer(staff.payment_intent(order)) == (403, "permission_denied")

    def test_a_csrf_token_lets_staff_in(self, order, stripe):
        staff = as_staff("change_orderpayment", "view_orderpayment", csrf=True)
        page = staff.client.get(
            f"{BASE}/orders/{order.pk}/payment-intent", headers={"Accept": "text/html"}
        )
        token = page.cookies["csrftoken"].value

        response = staff.post(f"orders/{order.pk}/payment-intent", **{"X-CSRFToken": token})

        assert response.status_code == 200

    def test_staff_see_every_order(self, order):
        OrderFactory.create()

        results = as_staff("view_orderpayment").get("orders").json()["data"]["results"]

        assert len(results) == 2

    def test_a_customer_who_is_logged_in_is_not_staff(self, order):
        client = Client()
        client.force_login(order.customer)

        assert answer(Caller(client=client).payment_intent(order)) == (401, "api_key_missing")

    def test_staff_with_a_token_are_customers(self, order):
        """A session in the same browser must not widen what a token may see."""
        token = TokenFactory.create(user__is_staff=True, user__is_superuser=True)

        response = Caller(token=token.key).get("orders")

        assert response.json()["data"]["results"] == []
