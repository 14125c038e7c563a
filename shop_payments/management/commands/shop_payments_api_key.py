"""``manage.py shop_payments_api_key``: create, list and revoke API keys."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from shop_payments.management.arguments import whole_number
from shop_payments.management.base import PaymentsCommand
from shop_payments.management.words import aligned
from shop_payments.models import APIKey, APIKeyScope

_LONGEST_DAYS = 3650


class Command(PaymentsCommand):
    help = "Create, list and revoke API keys. A new key's secret is printed once, alone on stdout."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        create = actions.add_parser("create", help="create a key and print its secret")
        create.add_argument("--label", required=True, help="the client that gets the key")
        create.add_argument(
            "--scope",
            action="append",
            required=True,
            choices=APIKeyScope.values,
            help="a scope of the key; repeat the option for several scopes",
        )
        create.add_argument(
            "--expires-in-days",
            type=whole_number(1, _LONGEST_DAYS),
            metavar="N",
            help="default: the key never expires",
        )
        actions.add_parser("list", help="show all keys, without their secrets")
        revoke = actions.add_parser("revoke", help="revoke a key")
        revoke.add_argument("prefix", metavar="PREFIX", help="the prefix, as shown by `list`")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        if action == "create":
            self._create(options["label"], options["scope"], options["expires_in_days"])
        elif action == "list":
            self._list()
        else:
            self._revoke(options["prefix"])

    def _create(self, label: str, scopes: list[str], expires_in_days: int | None) -> None:
        expires_at = timezone.now() + timedelta(days=expires_in_days) if expires_in_days else None
        try:
            key, secret = APIKey.objects.issue(
                label=label,
                scopes=list(dict.fromkeys(scopes)),  # without repetitions
                expires_at=expires_at,
            )
        except ValidationError as error:
            raise CommandError(_validation_message(error)) from error
        # As in `KEY=$(manage.py shop_payments_api_key create …)`, where nothing follows on screen.
        where = (
            "Store the secret; it is not shown again:"
            if self.stdout.isatty()
            else "Its secret went to standard output; it is not shown again."
        )
        self.inform(
            f"Key {key.prefix} for {key.label} ({', '.join(key.scopes)}), "
            f"expires: {_day(key.expires_at)}. {where}"
        )
        self.stdout.write(secret.reveal())

    def _list(self) -> None:
        keys = list(APIKey.objects.all())
        if not keys:
            self.inform("There are no API keys.")
            return
        head = ("PREFIX", "CLIENT", "SCOPES", "STATE", "CREATED", "EXPIRES", "LAST USED")
        for line in aligned([head, *map(_row, keys)]):
            self.stdout.write(line)

    def _revoke(self, prefix: str) -> None:
        key = APIKey.objects.filter(prefix=prefix).first()
        if key is None:
            # Not quoted, because it may be a whole secret, pasted by mistake.
            raise CommandError(
                "No key has this prefix. `shop_payments_api_key list` shows all keys."
            )
        if key.is_revoked:
            self.inform(f"Key {key} was already revoked: {_day(key.revoked_at)}.")
            return
        key.revoke()
        self.inform(f"Key {key} is revoked.")


def _validation_message(error: ValidationError) -> str:
    fields = error.message_dict.items()
    return "; ".join(f"{field}: {' '.join(messages)}" for field, messages in fields)


def _row(key: APIKey) -> tuple[str, ...]:
    state = "revoked" if key.is_revoked else "expired" if key.is_expired else "live"
    times = (key.created_at, key.expires_at, key.last_used_at)
    return (key.prefix, key.label, ",".join(key.scopes), state, *map(_day, times))


def _day(moment: datetime | None) -> str:
    if moment is None:
        return "never"
    aware = timezone.is_aware(moment)  # False if the host has USE_TZ = False
    return f"{timezone.localtime(moment) if aware else moment:%Y-%m-%d}"
