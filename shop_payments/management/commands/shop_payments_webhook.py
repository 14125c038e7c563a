"""``manage.py shop_payments_webhook``: register this shop's webhook endpoint at Stripe."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from django.core.management.base import CommandError, CommandParser

from shop_payments.exceptions import (
    ConfigurationError,
    GatewayAuthenticationError,
    GatewayError,
    GatewayUnavailable,
)
from shop_payments.gateway import STRIPE_API_VERSION, Gateway, get_gateway
from shop_payments.management.base import PaymentsCommand
from shop_payments.management.webhooks import (
    endpoints_of_this_shop,
    leads_to_webhook_path,
    webhook_path,
)
from shop_payments.management.words import aligned, counted, sentence
from shop_payments.sync.registry import LISTED_EVENTS


class Command(PaymentsCommand):
    help = (
        "Create this shop's webhook endpoint at Stripe, with the API version of the app and "
        "exactly the events that it handles, or list the account's endpoints. The signing secret "
        "of a new endpoint is printed once, alone on stdout."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        create = actions.add_parser("create", help="create an endpoint and print its secret")
        create.add_argument(
            "--url",
            required=True,
            metavar="URL",
            help="the public address of the route webhooks/stripe of this shop",
        )
        actions.add_parser("list", help="show the endpoints, without their secrets")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        try:
            gateway = get_gateway()
            if action == "create":
                self._create(gateway, options["url"])
            else:
                self._list(gateway)
        except ConfigurationError as error:
            raise CommandError(sentence(error)) from error
        except GatewayError as error:
            raise CommandError(_explained(error, action)) from error

    def _create(self, gateway: Gateway, url: str) -> None:
        _check_url(url, livemode=gateway.livemode)
        existing = [each for each in gateway.list_webhook_endpoints() if each.url == url]
        if existing:
            raise CommandError(
                f"The endpoint {existing[0].id} has this URL already. Its secret is in Stripe's "
                "dashboard. To create it again, delete it there first."
            )
        params = {
            "url": url,
            "api_version": STRIPE_API_VERSION,
            "enabled_events": [*LISTED_EVENTS],
            "description": "shop_payments",
        }
        try:
            endpoint = gateway.create_webhook_endpoint(params, idempotency_key=str(uuid4()))
        except GatewayUnavailable as error:
            raise CommandError(
                f"{sentence(error)} The endpoint may exist nevertheless. Look with "
                "`shop_payments_webhook list`. If it exists, delete it in the dashboard, because "
                "only the lost answer contained its secret."
            ) from error
        self.inform(
            f"Endpoint {endpoint.id} sends {counted(len(LISTED_EVENTS), 'type')} of events in the "
            f"version {STRIPE_API_VERSION} to {url}. Add the secret to "
            "SHOP_PAYMENTS['STRIPE_WEBHOOK_SECRETS']; it is not shown again:"
        )
        self.stdout.write(endpoint.secret.reveal())

    def _list(self, gateway: Gateway) -> None:
        endpoints = gateway.list_webhook_endpoints()
        if not endpoints:
            mode = "live" if gateway.livemode else "test"
            self.inform(f"The account has no webhook endpoints in {mode} mode.")
            return
        ours = endpoints_of_this_shop(endpoints)
        rows = [
            (
                each.id,
                "enabled" if each.is_enabled else "disabled",
                each.api_version or "account's",
                "all" if "*" in each.enabled_events else str(len(each.enabled_events)),
                "yes" if each in ours else "no",
                each.url,
            )
            for each in endpoints
        ]
        for line in aligned([("ID", "STATUS", "VERSION", "EVENTS", "THIS SHOP", "URL"), *rows]):
            self.stdout.write(line)


def _check_url(url: str, *, livemode: bool) -> None:
    """Raise CommandError if Stripe cannot deliver there, or it is not the webhook route."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https"):
        raise CommandError("--url must be a complete URL, such as https://shop.example/….")
    if livemode and parts.scheme != "https":
        raise CommandError("--url must begin with https://: Stripe refuses others in live mode.")
    if not leads_to_webhook_path(url):
        path = webhook_path()
        raise CommandError(f"This shop's route is {path}, so --url must be https://{host}{path}.")


def _explained(error: GatewayError, action: str) -> str:
    if isinstance(error, GatewayAuthenticationError) and error.http_status == HTTPStatus.FORBIDDEN:
        verb = "write" if action == "create" else "read"
        return (
            f"{sentence(error)} Allow the key to {verb} webhook endpoints, or use Stripe's "
            "dashboard."
        )
    return f"{sentence(error)} Run `manage.py shop_payments_doctor`."
