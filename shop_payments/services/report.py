"""The money of a period, by day: what was received, refunded and lost, for each currency and mode.

Amounts of different currencies are never added, and test payments are apart. Only money that counts
for its order is included, so the sums are those of the payments' own amounts.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Case, Count, F, Q, QuerySet, Sum, When
from django.db.models.functions import TruncDate
from django.utils import timezone

from shop_payments.days import midnight
from shop_payments.lifecycle import CAPTURABLE_STATUSES, DisputeStatus, IntentStatus, RefundStatus
from shop_payments.models import Dispute, PaymentIntent, Refund

_MOST_DECLINES = 5

_SUCCESSES = (IntentStatus.SUCCEEDED, *CAPTURABLE_STATUSES)


@dataclass(kw_only=True)
class DayOfMoney:
    """The sums of a day, in minor units, and how many payments, refunds and disputes they are."""

    received: int = 0
    refunded: int = 0
    lost: int = 0
    payments: int = 0
    refunds: int = 0
    disputes: int = 0

    @property
    def left(self) -> int:
        """What the shop keeps, before Stripe's fees."""
        return self.received - self.refunded - self.lost


@dataclass(kw_only=True)
class MoneyReport:
    """The payments of one currency and mode in a period."""

    currency: str
    livemode: bool
    days: dict[date, DayOfMoney] = field(default_factory=lambda: defaultdict(DayOfMoney))
    """By day in the current time zone. Days without money are left out."""

    tried: int = 0
    """Payment intents created in the period with which a customer has tried to pay, apart from
    those that the customer's bank has not answered yet."""

    succeeded: int = 0
    """Those of them whose money was received, or is reserved until the shop captures it."""

    declines: list[tuple[str, int]] = field(default_factory=list)
    """The most frequent codes of the last declines of intents that have not succeeded."""

    @property
    def total(self) -> DayOfMoney:
        """The sums of all days."""
        names = DayOfMoney.__dataclass_fields__
        return DayOfMoney(
            **{name: sum(getattr(each, name) for each in self.days.values()) for name in names}
        )


def report_money(*, first: date, last: date) -> list[MoneyReport]:
    """Return the reports of the days from ``first`` to ``last`` in the current time zone.

    There is one for each currency and mode with which something happened, live mode first.
    """
    begin, end = midnight(first), midnight(last + timedelta(days=1))
    found: dict[tuple[bool, str], MoneyReport] = {}

    def report(row: dict[str, Any]) -> MoneyReport:
        key = (row["livemode"], row["of_currency"])
        if key not in found:
            found[key] = MoneyReport(livemode=key[0], currency=key[1])
        return found[key]

    for row in _by_day(_received(begin, end), "charged_at", Sum("amount_received")):
        day = report(row).days[row["day"]]
        day.received, day.payments = row["amount_of_day"], row["number"]
    for row in _by_day(_refunded(begin, end), "stripe_created_at", Sum("amount")):
        day = report(row).days[row["day"]]
        day.refunded, day.refunds = row["amount_of_day"], row["number"]
    for row in _by_day(_disputed(begin, end), "stripe_created_at", Sum("of_amount")):
        day = report(row).days[row["day"]]
        day.lost, day.disputes = row["amount_of_day"] or 0, row["number"]
    for row in _tried(begin, end):
        report(row).tried, report(row).succeeded = row["number"], row["good"]
    for row in _declined(begin, end):
        declines = report(row).declines
        if len(declines) < _MOST_DECLINES:
            declines.append((row["code"], row["number"]))
    return [found[key] for key in sorted(found, key=lambda key: (not key[0], key[1]))]


def _by_day(rows: QuerySet[Any, Any], at: str, amount: Sum) -> Any:
    zone = timezone.get_current_timezone() if settings.USE_TZ else None
    return (
        rows.annotate(day=TruncDate(at, tzinfo=zone))
        .order_by()
        .values("livemode", "of_currency", "day")
        .annotate(amount_of_day=amount, number=Count("pk"))
    )


def _received(begin: datetime, end: datetime) -> Any:
    return PaymentIntent.objects.filter(
        wanted=True,
        status=IntentStatus.SUCCEEDED,
        currency=F("order_payment__currency"),
        # An intent may be paid long after it was created.
        charged_at__gte=begin,
        charged_at__lt=end,
    ).annotate(of_currency=F("currency"))


def _of_counted(rows: QuerySet[Any, Any], begin: datetime, end: datetime) -> Any:
    """Keep the refunds or disputes of counted money that were made in the period."""
    return rows.filter(
        payment_intent__wanted=True,
        payment_intent__currency=F("order_payment__currency"),
        stripe_created_at__gte=begin,
        stripe_created_at__lt=end,
    ).annotate(of_currency=F("payment_intent__currency"))


def _refunded(begin: datetime, end: datetime) -> Any:
    return _of_counted(Refund.objects.filter(status=RefundStatus.SUCCEEDED), begin, end)


def _disputed(begin: datetime, end: datetime) -> Any:
    # A bank may dispute in another currency: see ``Dispute.amount_of``.
    amount = Case(
        When(currency=F("payment_intent__currency"), then="amount"),
        default="payment_intent__amount_received",
    )
    lost = Case(When(status=DisputeStatus.LOST, then=amount), default=0)
    return _of_counted(Dispute.objects.all(), begin, end).annotate(of_amount=lost)


def _attempted(begin: datetime, end: datetime) -> Any:
    """Keep the intents of the period with which a customer has tried to pay."""
    tried = Q(status__in=_SUCCESSES) | ~Q(latest_charge="") | ~Q(last_error_code="")
    rows = PaymentIntent.objects.filter(stripe_created_at__gte=begin, stripe_created_at__lt=end)
    decided = rows.filter(tried).exclude(status=IntentStatus.PROCESSING)
    return decided.annotate(of_currency=F("currency")).order_by()


def _tried(begin: datetime, end: datetime) -> Any:
    good = Count("pk", filter=Q(status__in=_SUCCESSES))
    rows = _attempted(begin, end).values("livemode", "of_currency")
    return rows.annotate(number=Count("pk"), good=good)


def _declined(begin: datetime, end: datetime) -> Any:
    rows = _attempted(begin, end).exclude(status__in=_SUCCESSES)
    code = Case(When(last_decline_code="", then="last_error_code"), default="last_decline_code")
    return (
        rows.exclude(last_error_code="")
        .annotate(code=code)
        .values("livemode", "of_currency", "code")
        .annotate(number=Count("pk"))
        .order_by("-number", "code")
    )
