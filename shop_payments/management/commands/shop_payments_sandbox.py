"""``manage.py shop_payments_sandbox``: run a local Stripe until Ctrl-C."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from shop_payments.management.arguments import whole_number
from shop_payments.sandbox import DEFAULT_VERSION, Sandbox, SandboxServer, fault_from_words

DEFAULT_PORT = 12111

BANNER = """\
Sandbox at {url} (in memory, test keys only). To use it in the shop:

    export STRIPE_API_BASE={url}
    export STRIPE_SECRET_KEY=sk_test_sandbox

Try it:

    curl {url}/v1/payment_intents -u sk_test_sandbox: \\
        -d amount=1000 -d currency=usd -d "allowed_payment_method_types[]=card"

{webhooks}{faults}
Stop with Ctrl-C."""

FAULT_HELP = """\
inject a fault, e.g. "drop_after path=/v1/payment_intents/*/confirm rate=0.1",
"error status=429 times=2" or "webhook_lost type=payment_intent.succeeded"; repeat the
option for several faults; docs/sandbox.md lists the kinds"""


class Command(BaseCommand):
    help = "Run a local Stripe for development: no account, no network."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--port",
            type=whole_number(0, 99_999),  # the server refuses ports above 65535 and names them
            default=DEFAULT_PORT,
            help=f"port on this machine, 0 for any free one (default: {DEFAULT_PORT})",
        )
        parser.add_argument(
            "--webhook-url",
            action="append",
            default=[],
            metavar="URL",
            help="deliver events to this URL (this machine only); needs --webhook-secret",
        )
        parser.add_argument(
            "--webhook-secret",
            action="append",
            default=[],
            metavar="WHSEC",
            help="sign the events of the --webhook-url at the same position",
        )
        parser.add_argument(
            "--fault", action="append", default=[], metavar="FAULT", help=FAULT_HELP
        )
        parser.add_argument(
            "--seed",
            type=whole_number(0, 999_999_999),
            metavar="NUMBER",
            help="make ids, and the effects of faults with a rate, the same in each run",
        )

        parser.add_argument(
            "--api-version",
            default=DEFAULT_VERSION,
            metavar="VERSION",
            help="the account's API version, for requests that name none and for events "
            f"(default: {DEFAULT_VERSION})",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            sandbox = Sandbox(seed=options["seed"], api_version=options["api_version"])
        except ValueError as error:
            raise CommandError(str(error)) from None
        _inject(sandbox, options["fault"])
        _add_webhooks(sandbox, options["webhook_url"], options["webhook_secret"])
        _print_failed_deliveries()
        server = SandboxServer(sandbox, port=options["port"])
        stopped = threading.Event()
        _start(server, options["port"])
        for stop_signal in (signal.SIGINT, signal.SIGTERM):
            signal.signal(stop_signal, lambda *_: stopped.set())
        try:
            self.stdout.write(_banner(server.url, options["webhook_url"], options["fault"]))
            self.stdout.flush()
            stopped.wait()
        finally:
            server.stop()


def _add_webhooks(sandbox: Sandbox, urls: list[str], secrets: list[str]) -> None:
    if len(urls) != len(secrets):
        raise CommandError(
            "--webhook-url and --webhook-secret go together, one secret for each URL"
            f" (got {len(urls)} and {len(secrets)})."
        )
    for url, secret in zip(urls, secrets, strict=True):
        try:
            sandbox.add_webhook(url, secret)
        except ValueError as error:
            raise CommandError(f"--webhook-url, --webhook-secret: {error}") from error


def _print_failed_deliveries() -> None:
    """Print the sandbox's log, whatever the project's `LOGGING` does with it."""
    log = logging.getLogger("shop_payments.sandbox")
    log.setLevel(logging.INFO)
    log.addHandler(logging.StreamHandler(sys.stdout))
    log.propagate = False


def _inject(sandbox: Sandbox, faults: list[str]) -> None:
    for words in faults:
        try:
            sandbox.inject(fault_from_words(words))
        except ValueError as error:
            raise CommandError(f"--fault: {error}") from error


def _start(server: SandboxServer, port: int) -> None:
    try:
        server.start()
    except (OSError, OverflowError) as error:
        reason = str(error).rstrip(".")
        raise CommandError(
            f"Cannot listen on port {port}: {reason}. Choose another one with --port."
        ) from error


def _banner(url: str, webhook_urls: list[str], faults: list[str]) -> str:
    webhooks = [f"Events go to {webhook_url}\n" for webhook_url in webhook_urls]
    return BANNER.format(
        url=url,
        webhooks="".join(webhooks) or "No webhooks; see --webhook-url and --webhook-secret.\n",
        faults="".join(f"Fault: {words}\n" for words in faults),
    )
