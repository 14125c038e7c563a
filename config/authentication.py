"""Customers' tokens under the keyword that docs/api.md uses."""

from rest_framework.authentication import TokenAuthentication


class BearerTokenAuthentication(TokenAuthentication):
    """REST framework's tokens as ``Authorization: Bearer …``."""

    keyword = "Bearer"
