"""Permissions of authenticated callers. Access to a single order is checked by the services."""

from __future__ import annotations

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from shop_payments.api.authentication import acts_as_staff
from shop_payments.models import APIKey
from shop_payments.order_tokens import OrderToken
from shop_payments.users import is_known_user


class IsCustomerOrStaff(BasePermission):
    """Allows customers, staff, and guests with an order token. Users without a key are refused.

    Orders of guests have no customer. A user without a key must not match them.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        return is_known_user(request.user) or isinstance(request.auth, OrderToken)


class IsProgramOrStaff(BasePermission):
    """Allows programs with an API key, and staff in their session."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        # The user is anonymous for a program, so request.auth decides.
        return isinstance(request.auth, APIKey) or acts_as_staff(request)
