"""``manage.py shop_payments_fees``: fetch Stripe's fees, and add them up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError, CommandParser

from shop_payments.days import midnight, today
from shop_payments.exceptions import ShopPaymentsError
from shop_payments.management.arguments import day
from shop_payments.management.base import PaymentsCommand
from shop_payments.management.words import counted, sentence
from shop_payments.models import BalanceTransaction
from shop_payments.money import format_amount
from shop_payments.sync.balance_transactions import fetch_fees


class Command(PaymentsCommand):
    help = (
        "Fetch Stripe's fees for payments, refunds and disputes, a hundred movements with each "
        "call, and print their sums by currency. Safe to run repeatedly."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since",
            type=day,
            metavar="YYYY-MM-DD",
            help="first day, in the project's time zone (default: 30 days ago)",
        )
        parser.add_argument(
            "--until",
            type=day,
            metavar="YYYY-MM-DD",
            help="last day (default: today)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        first = options["since"] or today() - timedelta(days=30)
        last = options["until"] or today()
        if first > last:
            raise CommandError(f"--since {first} comes after --until {last}.")
        since, until = midnight(first), midnight(last + timedelta(days=1))
        try:
            added = fetch_fees(since=since, until=until)
        except ShopPaymentsError as error:
            raise CommandError(
                f"{sentence(error)} The pages fetched before are stored. Run the command again."
            ) from None
        movements = counted(added, "new movement")
        self.stdout.write(f"Fetched {movements} from {first} to {last}.")
        rows = BalanceTransaction.objects.filter(
            stripe_created_at__gte=since, stripe_created_at__lt=until
        )
        for currency, totals in rows.totals().items():
            figures = ", ".join(
                f"{name} {format_amount(amount, currency)}"  # type: ignore[arg-type]
                for name, amount in totals.items()
            )
            self.stdout.write(f"{currency.upper()}: {figures}")
