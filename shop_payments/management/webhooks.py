"""This shop's webhook endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from django.conf import settings
from django.http.request import validate_host
from django.urls import NoReverseMatch, reverse

from shop_payments.exceptions import ConfigurationError
from shop_payments.gateway import WebhookEndpointResult


def webhook_path() -> str:
    """Return the path of the route that takes Stripe's events.

    Raises:
        ConfigurationError: the routes are not in the project's URLs.
    """
    try:
        return reverse("shop_payments:stripe-webhook")
    except NoReverseMatch:
        raise ConfigurationError(
            'The routes are not in ROOT_URLCONF. Add to its urlpatterns: path("api/v1/shop/", '
            'include("shop_payments.api.urls"))'
        ) from None


def leads_to_webhook_path(url: str) -> bool:
    """Return whether an address ends with the path of the route.

    A server may mount the project under a prefix, which is not known here.

    Raises:
        ConfigurationError: the routes are not in the project's URLs.
    """
    return urlsplit(url).path.endswith(webhook_path())


def has_allowed_host(url: str) -> bool:
    """Return whether Django accepts requests for the host of an address."""
    allowed = settings.ALLOWED_HOSTS or ["*"]  # Django allows local hosts if DEBUG is on
    return validate_host(urlsplit(url).hostname or "", allowed)


def endpoints_of_this_shop(
    endpoints: Sequence[WebhookEndpointResult],
) -> list[WebhookEndpointResult]:
    """Return the endpoints that lead to this shop.

    Other deployments of the project, such as one for tests, may use the same account and have the
    same path. If no host is allowed, all that have the path are returned.

    Raises:
        ConfigurationError: the routes are not in the project's URLs.
    """
    found = [each for each in endpoints if leads_to_webhook_path(each.url)]
    return [each for each in found if has_allowed_host(each.url)] or found
