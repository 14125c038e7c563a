"""``manage.py shop_payments_events``: list, show and replay Stripe's events."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet

from shop_payments.exceptions import ShopPaymentsError
from shop_payments.management.arguments import moment, whole_number
from shop_payments.management.base import PaymentsCommand
from shop_payments.management.words import at_second, counted
from shop_payments.models import OrderPayment, WebhookEvent
from shop_payments.orders import read_number
from shop_payments.services.receive_event import replay_event

_Status = WebhookEvent.Status

_LONGEST_LIST = 1_000_000


class Command(PaymentsCommand):
    help = (
        "List Stripe's events with their outcomes, show an event with its payload, or process "
        "events again, for example after the cause of their failure was removed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True)
        listing = actions.add_parser("list", help="the newest events first")
        listing.add_argument("--status", choices=_Status.values)
        listing.add_argument("--type", metavar="TYPE", help="for example payment_intent.succeeded")
        listing.add_argument("--since", type=moment, metavar="YYYY-MM-DD|HOURS")
        listing.add_argument(
            "--limit",
            type=whole_number(1, _LONGEST_LIST),
            default=50,
            metavar="N",
            help="default: 50",
        )
        show = actions.add_parser("show", help="one event and its payment")
        show.add_argument("event", metavar="EVENT", help="evt_…")
        replay = actions.add_parser("replay", help="process events again, whatever their outcome")
        replay.add_argument("events", nargs="*", metavar="EVENT", help="evt_…")
        replay.add_argument("--set-aside", action="store_true", help="all that were set aside")
        replay.add_argument("--failed", action="store_true", help="all that failed")

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        {"list": self._list, "show": self._show, "replay": self._replay}[action](options)

    def _list(self, options: dict[str, Any]) -> None:
        wanted = {
            "status": options["status"],
            "type": options["type"],
            "received_at__gte": options["since"],
        }
        found = WebhookEvent.objects.filter(
            **{name: value for name, value in wanted.items() if value is not None}
        )
        limit: int = options["limit"]
        shown = list(found.defer("payload")[: limit + 1])  # one more, to know if others follow
        for event in shown[:limit]:
            self.stdout.write(_line(event))
        if len(shown) > limit:
            self.inform("There are more events. Use --limit to show them.")
        elif not shown:
            self.inform("There are no such events.")

    def _show(self, options: dict[str, Any]) -> None:
        event = WebhookEvent.objects.filter(event_id=options["event"]).first()
        if event is None:
            raise CommandError(f"There is no event {options['event']}.")
        self.stdout.write(_line(event))
        self.stdout.write(
            f"Tried {counted(event.attempts, 'time')}, last at {at_second(event.processed_at)}."
        )
        self.stdout.write(_payment_of(event))
        if event.purged_at is not None:
            self.stdout.write(f"The payload was purged at {at_second(event.purged_at)}.")
        else:
            self.stdout.write(json.dumps(event.payload, indent=2, ensure_ascii=False))

    def _replay(self, options: dict[str, Any]) -> None:
        wanted = _wanted(options)
        failed = 0
        events = list(wanted.defer("payload").order_by("pk"))
        if not events:
            self.inform("There are no such events.")
        for event in events:
            try:
                replayed = replay_event(event)
            except ShopPaymentsError as error:
                failed += 1
                self.stderr.write(f"{event}: {error}")
                continue
            failed += replayed.status not in WebhookEvent.SUCCESSES
            self.stdout.write(_line(replayed))
        if failed:
            raise CommandError(f"Not processed: {counted(failed, 'event')}. `show` says why.")


def _wanted(options: dict[str, Any]) -> QuerySet[WebhookEvent]:
    """Return the events to replay.

    Raises:
        CommandError: no event is named, or one does not exist.
    """
    statuses = [
        status
        for option, status in {"set_aside": _Status.SET_ASIDE, "failed": _Status.FAILED}.items()
        if options[option]
    ]
    names = set(options["events"])
    if bool(names) == bool(statuses):
        raise CommandError("Name events, or use --set-aside or --failed.")
    if statuses:
        return WebhookEvent.objects.filter(status__in=statuses)
    found = WebhookEvent.objects.filter(event_id__in=names)
    missing = names - set(found.values_list("event_id", flat=True))
    if missing:
        raise CommandError(f"There is no event {', '.join(sorted(missing))}.")
    return found


def _line(event: WebhookEvent) -> str:
    received = at_second(event.received_at)
    words = [received, event.event_id, event.type, event.status, event.outcome, event.error_text]
    return "  ".join(word for word in words if word)


def _payment_of(event: WebhookEvent) -> str:
    payments = OrderPayment.objects.select_related("order")
    payment = payments.filter(payment_intents__stripe_id=event.intent_id or "-").first()
    if payment is None:
        return "It does not belong to a payment of this shop."
    number = read_number(payment.order)
    return f"It belongs to {event.intent_id} of order {number}, which is {payment.status}."
