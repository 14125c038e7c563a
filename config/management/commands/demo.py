"""``manage.py demo``: from nothing to a paid order, and then a shop to look around in."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from argparse import ArgumentParser
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command
from django.urls import reverse

from config.demo.data import CUSTOMER, STAFF, make_demo_data
from config.demo.servers import serve_sandbox, serve_shop, use_sandbox
from config.demo.story import Stage, create_payment_intent_call, read_order_call, tell
from shop_payments.conf import get_config

OPENING = """\
The shop is at {shop}, on the database {database}.
The sandbox, a Stripe on this machine, is at {sandbox}: no account, no network, no money.

Order {order.pk} is {order.number}, 2 × "Main product 2" at 56.00 usd, of {customer}."""

CHECKED = "Every answer above was checked against the contract."

INVITATION = """\
{headline}
Shop:           {shop}{home}
                buy something, and pay with the card 4242 4242 4242 4242
Admin:          {shop}{admin}
                user {staff}, password {password}
                order {paid.pk} is paid: refund a part of it on its page
Browsable API:  {shop}{api}
                sign in at the admin first
{docs}
Order {order.pk}, {order.number}, is still to be paid. Create its intent:

{create}

Then pay it, from here, in a second terminal (pm_card_chargeDeclined is declined):

{manage} shop_payments_pay {order.pk} --payment-method pm_card_visa --confirm

And see that it is paid:

{read}

Serving until Ctrl-C."""


class Command(BaseCommand):
    help = "Show a payment from beginning to end against the sandbox, then serve the shop."
    # Asked for once the settings are the demo's.
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="of the shop (8000)")
        parser.add_argument(
            "--sandbox-port", type=int, default=12111, help="of the sandbox (12111)"
        )
        parser.add_argument("--exit", action="store_true", help="stop after the last call")

    def handle(self, *args: Any, **options: Any) -> None:
        _refuse_other_stages()
        for stop_signal in (signal.SIGINT, signal.SIGTERM):
            signal.signal(stop_signal, signal.default_int_handler)
        try:
            self._run(**options)
        except KeyboardInterrupt:
            raise CommandError("Stopped before the end.", returncode=130) from None

    def _run(self, *, port: int, sandbox_port: int, exit: bool, **options: Any) -> None:
        with ExitStack() as stack:
            sandbox = stack.enter_context(serve_sandbox(sandbox_port))
            use_sandbox(sandbox.url)
            shop = stack.enter_context(serve_shop(port))
            self.check()
            call_command("migrate", interactive=False, verbosity=0)
            webhook_url = shop + reverse("shop_payments:stripe-webhook")
            sandbox.sandbox.add_webhook(
                webhook_url, get_config().STRIPE_WEBHOOK_SECRETS[0].reveal()
            )
            stage = self._set_stage(shop, sandbox.url)
            self._say(_opening(stage))
            tell(stage)
            self._say(f"{self.style.SUCCESS('The order is paid.')} {CHECKED}")
            if not exit:
                with suppress(KeyboardInterrupt):
                    self._say(_invitation(stage))
                    threading.Event().wait()

    def _set_stage(self, shop: str, sandbox: str) -> Stage:
        return Stage(
            shop=shop,
            sandbox=sandbox,
            data=make_demo_data(),
            stripe_key=get_config().STRIPE_SECRET_KEY.reveal(),
            say=self._say,
            headline=self.style.MIGRATE_HEADING,
        )

    def _say(self, text: str) -> None:
        self.stdout.write(f"{text}\n\n")
        self.stdout.flush()


def _opening(stage: Stage) -> str:
    return OPENING.format(
        shop=stage.shop,
        sandbox=stage.sandbox,
        database=settings.DATABASES["default"]["NAME"],
        order=stage.data.order,
        customer=CUSTOMER,
    )


def _invitation(stage: Stage) -> str:
    order = stage.data.second_order
    return INVITATION.format(
        headline=stage.headline("Look around"),
        shop=stage.shop,
        home=reverse("demo-shop"),
        admin=reverse("admin:index"),
        staff=STAFF,
        password=stage.data.staff_password,
        api=reverse("shop_payments:root"),
        docs=_docs_line(stage.shop),
        order=order,
        paid=stage.data.order,
        create=create_payment_intent_call(stage, order),
        read=read_order_call(stage, order),
        manage=_manage_line(stage.sandbox),
    )


def _docs_line(shop: str) -> str:
    """Where the OpenAPI pages are, if they are installed."""
    if not apps.is_installed("drf_spectacular"):
        return ""
    return f"OpenAPI:        {shop}{reverse('docs')}\n"


def _manage_line(sandbox: str) -> str:
    """How to run a command of this project against this sandbox, from this directory."""
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return f"STRIPE_API_BASE={sandbox} {shlex.join([str(python), sys.argv[0]])}"


def _refuse_other_stages() -> None:
    """The demo shows secrets and needs a Stripe that it may fill: neither is for real use.

    Raises:
        CommandError: naming the environment variable.
    """
    if not settings.DEBUG:
        raise CommandError("The demo prints passwords and keys; it runs with DJANGO_DEBUG=1 only.")
    if os.environ.get("STRIPE_SECRET_KEY"):
        raise CommandError(
            "STRIPE_SECRET_KEY is set, but the demo only ever uses the sandbox, never Stripe. "
            "Unset it for the demo; or use your key with `manage.py runserver` (see README.md)."
        )
