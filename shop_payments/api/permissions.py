"""What an authenticated caller may do."""

from __future__ import annotations

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from shop_payments.api.authentication import acts_as_staff
from shop_payments.models import APIKey
from shop_payments.users import is_known_user


class IsKnownUser(BasePermission):
    """A customer, or staff in their session: somebody whom an order can belong to."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return is_known_user(request.user)


class IsProgramOrStaff(BasePermission):
    """A program with an API key, or staff in their session (see ``authentication``)."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, APIKey) or acts_as_staff(request)
