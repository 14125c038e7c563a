"""Customers' tokens under the keyword that payment-api.txt uses."""

from rest_framework.authentication import TokenAuthentication


class BearerTokenAuthentication(TokenAuthentication):
    """REST framework's tokens as ``Authorization: Bearer …``."""

    keyword = "Bearer"
