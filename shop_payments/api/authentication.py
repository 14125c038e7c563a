"""Authentication: customers by the host's own classes, programs by API key, staff by session.

Note [401 whatever the host does]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~
REST framework answers 401 only if the first authentication class of a view returns a challenge.
Without a challenge it answers 403 instead. The host's first class may be SessionAuthentication,
which returns none. So the first class of our views is always one of the classes below. The host's
classes follow it.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AnonymousUser
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from shop_payments.models import APIKey, APIKeyScope
from shop_payments.order_tokens import OrderToken, Purpose, read_order_token
from shop_payments.orders import parse_order_id, storable_text
from shop_payments.secrecy import Secret
from shop_payments.users import is_known_user, key_of_user

API_KEY_HEADER = "X-API-Key"
ORDER_TOKEN_HEADER = "X-Order-Token"  # noqa: S105 - a name
VIEW_PERMISSION = "shop_payments.view_orderpayment"
PAY_PERMISSION = "shop_payments.change_orderpayment"
REFUND_PERMISSION = "shop_payments.add_refund"


class APIKeyMissing(exceptions.NotAuthenticated):
    """The request has no ``X-API-Key`` header."""

    default_detail = f"The {API_KEY_HEADER} header is missing. Send an API key."
    default_code = "api_key_missing"


class APIKeyInvalid(exceptions.AuthenticationFailed):
    """The API key does not exist, has expired or was revoked."""

    default_detail = "The API key is not valid."
    default_code = "api_key_invalid"


class InsufficientScope(exceptions.PermissionDenied):
    """The API key is live, but does not have the scope that the route requires."""

    default_code = "insufficient_scope"


class OrderTokenInvalid(exceptions.AuthenticationFailed):
    """The order token is wrong or has expired, or cannot be used here."""

    default_detail = "The order token is not valid."
    default_code = "order_token_invalid"


class StaffSession:
    """The ``request.auth`` of staff who use the API with their admin session."""


def acts_as_staff(request: Request) -> bool:
    """Return whether the caller is staff in their admin session. They may access every order."""
    return isinstance(request.auth, StaffSession)


def opens_order(request: Request, order_id: str) -> bool:
    """Return whether the caller has a token for this order."""
    token = request.auth
    if not isinstance(token, OrderToken):
        return False
    pk = parse_order_id(order_id)
    return pk is not None and token.order_id == str(pk)


def live_key_of(request: Request) -> APIKey | None:
    """Return the live API key of the request."""
    key = getattr(request, "api_key", None)
    # A middleware of the host may set an attribute of the same name.
    return key if isinstance(key, APIKey) else None


def actor_of(request: Request) -> str:
    """Return the caller's key and user, as text for the payment history."""
    key = live_key_of(request)
    who = [f"key {key.prefix}"] if key is not None else []
    user = key_of_user(request.user)
    if user is not None:
        who.append(f"{'staff' if acts_as_staff(request) else 'user'} {user}")
    if isinstance(request.auth, OrderToken):
        who.append("order token")
    return storable_text(", ".join(who))


def authenticate_guest(request: Request) -> tuple[AnonymousUser, OrderToken] | None:
    """Return the auth of a guest with an order token; None without one.

    A token of another order is accepted here. The order of the route is then not found.

    Raises:
        OrderTokenInvalid: the token is wrong or has expired, there is another token beside it, or
            the route is not about one order.
    """
    if "HTTP_X_ORDER_TOKEN" not in request.META:
        return None
    if "order_id" not in request.parser_context["kwargs"]:
        raise OrderTokenInvalid("An order token is not valid for this route.")
    if "HTTP_AUTHORIZATION" in request.META:
        raise OrderTokenInvalid(f"Send either Authorization or {ORDER_TOKEN_HEADER}, not both.")
    token = read_order_token(Secret(request.META["HTTP_X_ORDER_TOKEN"]), purpose=Purpose.API)
    if token is None:
        raise OrderTokenInvalid
    if token.has_expired:
        raise OrderTokenInvalid("The order token has expired. The shop can create another one.")
    return AnonymousUser(), token


_CLIENT_CREDENTIALS = ("HTTP_AUTHORIZATION", "HTTP_X_API_KEY", "HTTP_X_ORDER_TOKEN")


class StaffSessionAuthentication(BaseAuthentication):
    """Authenticates staff with the permission by their admin session, with a CSRF check."""

    permission = VIEW_PERMISSION
    challenge = "Bearer"

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        # A caller that sends a token or a key does not act as staff, whatever the session says.
        if any(name in request.META for name in _CLIENT_CREDENTIALS):
            return None
        user: Any = getattr(request._request, "user", None)
        # The host's user model may lack these fields, or its middleware may set a token user.
        is_staff = getattr(user, "is_active", False) and getattr(user, "is_staff", False)
        if not (is_staff and is_known_user(user) and hasattr(user, "has_perm")):
            return None
        if not self.is_permitted(user):
            return None
        # Check Django's own request: on REST framework's, the check would reject an empty form.
        SessionAuthentication().enforce_csrf(request._request)  # type: ignore[arg-type]
        return user, StaffSession()

    def is_permitted(self, user: Any) -> bool:
        """Return whether a staff user may use the route."""
        return bool(user.has_perm(self.permission))

    def authenticate_header(self, request: Request) -> str:
        return self.challenge


class CustomerAuthentication(StaffSessionAuthentication):
    """Authenticates guests by their order token, and staff. The host's classes follow."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        return super().authenticate(request) or authenticate_guest(request)


class APIKeyAuthentication(StaffSessionAuthentication):
    """Authenticates programs by an API key with ``scope``, and staff without a key.

    Raises:
        APIKeyMissing: the request has no API key (401).
        APIKeyInvalid: the API key is not live (401).
        InsufficientScope: the API key does not have ``scope`` (403).
    """

    permission = PAY_PERMISSION
    scope: APIKeyScope

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        if staff := super().authenticate(request):
            return staff
        request.api_key = self._live_key(request)  # type: ignore[attr-defined]
        return self.authenticate_client(request)

    def authenticate_client(self, request: Request) -> tuple[Any, Any] | None:
        """Return the user and the auth of the key's holder, or None to ask the next classes."""
        raise NotImplementedError

    def _live_key(self, request: Request) -> APIKey:
        secret = Secret(request.META.get("HTTP_X_API_KEY", ""))
        if not secret:
            raise APIKeyMissing
        key = APIKey.objects.find_by_secret(secret)
        if key is None:
            raise APIKeyInvalid
        if key.is_revoked:
            raise APIKeyInvalid("The API key has been revoked. Use another API key.")
        if key.is_expired:
            raise APIKeyInvalid("The API key has expired. Use another API key.")
        if not key.allows(self.scope):
            raise InsufficientScope(
                f"The API key does not have the scope {self.scope.value!r}. Use another API key."
            )
        key.touch()
        return key


class StorefrontAuthentication(APIKeyAuthentication):
    """Checks the storefront's key. An order token or the host's classes identify the customer."""

    scope = APIKeyScope.STOREFRONT
    challenge = f'Bearer, ApiKey header="{API_KEY_HEADER}"'

    def authenticate_client(self, request: Request) -> tuple[Any, Any] | None:
        return authenticate_guest(request)


class ProgramAuthentication(APIKeyAuthentication):
    """Checks the key of a program that acts for the shop, without a user."""

    challenge = f'ApiKey header="{API_KEY_HEADER}"'

    def authenticate_client(self, request: Request) -> tuple[Any, Any]:
        if "HTTP_X_ORDER_TOKEN" in request.META:
            raise OrderTokenInvalid("An order token is not valid for this route.")
        return AnonymousUser(), request.api_key  # type: ignore[attr-defined]


class PaymentSystemAuthentication(ProgramAuthentication):
    """Checks the payment system's key."""

    scope = APIKeyScope.PAYMENTS


class RefundAuthentication(ProgramAuthentication):
    """Checks the key of a program that may refund payments."""

    scope = APIKeyScope.REFUNDS
    permission = REFUND_PERMISSION

    def is_permitted(self, user: Any) -> bool:
        # As in the admin: a refund also needs the permission to view the payment. The permission to
        # change it includes viewing it.
        may_see = user.has_perm(VIEW_PERMISSION) or user.has_perm(PAY_PERMISSION)
        return may_see and super().is_permitted(user)
