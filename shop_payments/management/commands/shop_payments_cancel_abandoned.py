"""``manage.py shop_payments_cancel_abandoned``: close what nobody is going to pay."""

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
        "Cancel at Stripe the payment intents that are unpaid and untouched for "
        "ABANDONED_AFTER_DAYS, finish cancellations that Stripe did not answer, and put "
        "authorizations that lapse within 24 hours into review. "
        "Safe to run at any time, and twice."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--older-than",
            type=whole_number(1, LONGEST_DAYS),
            metavar="DAYS",
            help="instead of ABANDONED_AFTER_DAYS",
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
                f"{sentence(error)} What was closed before stays closed; run it again."
            ) from None
        intents = counted(closed, "payment intent")
        self.stdout.write(f"Closed {intents} abandoned for {counted(days, 'day')}.")
        if expiring:
            lapsing = counted(
                expiring, "authorization that lapses soon", "authorizations that lapse soon"
            )
            self.stdout.write(f"Put {lapsing} into review.")
        if unfinished:
            raise CommandError(
                f"Not done yet: {counted(len(unfinished), 'cancellation')}; the log says why. "
                "Run it again."
            )
