"""What an authenticated caller may do."""

from __future__ import annotations

from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView

from shop_payments.models import APIKey


class IsProgramOrStaff(BasePermission):
    """A program with an API key, or staff in their session (see ``authentication``)."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        return isinstance(request.auth, APIKey) or request.user.is_authenticated
