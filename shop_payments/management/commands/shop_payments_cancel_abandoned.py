"""``manage.py shop_payments_cancel_abandoned``: cancel abandoned payment intents."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from shop_payments.conf import LONGEST_DAYS, get_config
from shop_payments.exceptions import ShopPaymentsError
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.authorizations import flag_expiring_authorizations
from shop_payments.maintenance.cancellations import (
    cancel_abandoned_intents,
    requested_cancellations,
)
from shop_payments.management.arguments import whole_number
from shop_payments.management.base import PaymentsCommand
from shop_payments.management.words import counted, sentence
from shop_payments.models import Source
from shop_payments.services.cancel_payment import finish_cancellation

_ORIGIN = Origin(source=Source.COMMAND, actor="shop_payments_cancel_abandoned")


class Command(PaymentsCommand):
    help = (
        "Cancel payment intents that are unpaid and without activity for ABANDONED_AFTER_DAYS, "
        "finish requested cancellations, and ask staff about authorizations that expire within 24 "
        "hours. Safe to run at any time, also repeatedly."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            type=whole_number(1, LONGEST_DAYS),
            metavar="DAYS",
            help="days without activity (default: ABANDONED_AFTER_DAYS)",
        )

    def handle(self, *args: Any, older_than: int | None = None, **options: Any) -> None:
        try:
            days = get_config().ABANDONED_AFTER_DAYS if older_than is None else older_than
            expiring = flag_expiring_authorizations(origin=_ORIGIN)
            unfinished = [
                pk
                for pk in requested_cancellations()
                if not finish_cancellation(pk, origin=_ORIGIN)
            ]
            closed = cancel_abandoned_intents(
                older_than=timezone.now() - timedelta(days=days), origin=_ORIGIN
            )
        except ShopPaymentsError as error:
            raise CommandError(
                f"{sentence(error)} Intents closed before stay closed. Run the command again."
            ) from None
        intents = counted(closed, "payment intent")
        self.stdout.write(f"Closed {intents} abandoned for {counted(days, 'day')}.")
        if expiring:
            soon = counted(
                expiring, "authorization that expires soon", "authorizations that expire soon"
            )
            self.stdout.write(f"Put {soon} into review.")
        if unfinished:
            raise CommandError(
                f"Not finished: {counted(len(unfinished), 'cancellation')}. The log says why. "
                "Run the command again."
            )
