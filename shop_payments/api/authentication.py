"""Who calls: a customer by the host's own authentication, a program by its API key, or staff.

Note [401 whatever the host does]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
REST framework answers 401 only if the first authentication class of a view names a challenge;
otherwise it turns the same failure into a 403. The host's first class may be SessionAuthentication,
which names none. So the first class of our views is always one of the classes below, and the
host's own follow.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from shop_payments.models import APIKey, APIKeyScope
from shop_payments.orders import storable_text
from shop_payments.secrecy import Secret
from shop_payments.users import is_known_user, key_of_user

API_KEY_HEADER = "X-API-Key"
VIEW_PERMISSION = "shop_payments.view_orderpayment"
PAY_PERMISSION = "shop_payments.change_orderpayment"
REFUND_PERMISSION = "shop_payments.add_refund"


class APIKeyMissing(exceptions.NotAuthenticated):
    """No ``X-API-Key`` header."""

    default_detail = f"The {API_KEY_HEADER} header is missing."
    default_code = "api_key_missing"


class APIKeyInvalid(exceptions.AuthenticationFailed):
    """A key that does not exist, has expired or was revoked."""

    default_detail = "The API key is not valid."
    default_code = "api_key_invalid"


class InsufficientScope(exceptions.PermissionDenied):
    """A live key that may not do this."""

    default_code = "insufficient_scope"


class StaffSession:
    """``request.auth`` of staff who act in their admin session."""


def acts_as_staff(request: Request) -> bool:
    """Tell whether the caller is staff in their admin session, who may reach every order."""
    return isinstance(request.auth, StaffSession)


def live_key_of(request: Request) -> APIKey | None:
    """Return the live API key that the caller has shown."""
    key = getattr(request, "api_key", None)
    return key if isinstance(key, APIKey) else None  # a host may have an attribute of that name


def actor_of(request: Request) -> str:
    """Name the caller for the history."""
    key = live_key_of(request)
    who = [f"key {key.prefix}"] if key is not None else []
    user = key_of_user(request.user)
    if user is not None:
        who.append(f"{'staff' if acts_as_staff(request) else 'user'} {user}")
    return storable_text(", ".join(who))


class StaffSessionAuthentication(BaseAuthentication):
    """Staff with the model permission, in their admin session, CSRF enforced."""

    permission = VIEW_PERMISSION
    challenge = "Bearer"

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        if "HTTP_AUTHORIZATION" in request.META or "HTTP_X_API_KEY" in request.META:
            return None
        user: Any = getattr(request._request, "user", None)
        # The host's user model may be without any staff; its middleware may set a token user.
        is_staff = getattr(user, "is_active", False) and getattr(user, "is_staff", False)
        if not (is_staff and is_known_user(user) and hasattr(user, "has_perm")):
            return None
        if not self.is_permitted(user):
            return None
        # Of Django's own request: REST framework's would refuse an empty form.
        SessionAuthentication().enforce_csrf(request._request)  # type: ignore[arg-type]
        return user, StaffSession()

    def is_permitted(self, user: Any) -> bool:
        """Whether a member of staff may do what the route does."""
        return bool(user.has_perm(self.permission))

    def authenticate_header(self, request: Request) -> str:
        return self.challenge


class APIKeyAuthentication(StaffSessionAuthentication):
    """A program with a key of ``scope``; or staff, who need none.

    Raises:
        APIKeyMissing, APIKeyInvalid: 401.
        InsufficientScope: 403.
    """

    permission = PAY_PERMISSION
    scope: APIKeyScope

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        if staff := super().authenticate(request):
            return staff
        request.api_key = self._live_key(request)  # type: ignore[attr-defined]
        return self.authenticate_client(request)

    def authenticate_client(self, request: Request) -> tuple[Any, Any] | None:
        """Say who the holder of the key is; None leaves that to the classes that follow."""
        raise NotImplementedError

    def _live_key(self, request: Request) -> APIKey:
        secret = Secret(request.META.get("HTTP_X_API_KEY", ""))
        if not secret:
            raise APIKeyMissing
        key = APIKey.objects.find_by_secret(secret)
        if key is None:
            raise APIKeyInvalid
        if key.is_revoked:
            raise APIKeyInvalid("The API key has been revoked.")
        if key.is_expired:
            raise APIKeyInvalid("The API key has expired.")
        if not key.allows(self.scope):
            raise InsufficientScope(f"The API key lacks the scope {self.scope.value!r}.")
        key.touch()
        return key


class StorefrontAuthentication(APIKeyAuthentication):
    """The storefront's key; whose order it is, the host's authentication says."""

    scope = APIKeyScope.STOREFRONT
    challenge = f'Bearer, ApiKey header="{API_KEY_HEADER}"'

    def authenticate_client(self, request: Request) -> None:
        return None


class ProgramAuthentication(APIKeyAuthentication):
    """A key of a program that acts for the shop; there is no user."""

    challenge = f'ApiKey header="{API_KEY_HEADER}"'

    def authenticate_client(self, request: Request) -> tuple[Any, Any]:
        return AnonymousUser(), request.api_key  # type: ignore[attr-defined]


class PaymentSystemAuthentication(ProgramAuthentication):
    """The payment system's key."""

    scope = APIKeyScope.PAYMENTS


class RefundAuthentication(ProgramAuthentication):
    """The key of a program that may give money back."""

    scope = APIKeyScope.REFUNDS
    permission = REFUND_PERMISSION

    def is_permitted(self, user: Any) -> bool:
        # As in the admin: nobody refunds what they may not see, and who may change may see.
        may_see = user.has_perm(VIEW_PERMISSION) or user.has_perm(PAY_PERMISSION)
        return may_see and super().is_permitted(user)
