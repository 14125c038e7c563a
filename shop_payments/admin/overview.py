"""The overview: the money of the last days, for each currency and mode."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import date_format
from django.utils.translation import gettext

from shop_payments.admin.base import ModelAdmin, amount_text, mode_text
from shop_payments.days import today
from shop_payments.models.words import humanize
from shop_payments.services.report import MoneyReport, report_money

PERIODS = (7, 30, 90)
"""The numbers of days to choose from."""

_BAR = 10
"""The width of a day in the chart's own units; the page scales the chart."""

_HEIGHT = 100


def overview_page(admin: ModelAdmin, request: HttpRequest) -> HttpResponse:
    """Show sums, a chart and a table for each currency and mode."""
    user: Any = request.user
    if not user.has_perm("shop_payments.view_orderpayment"):
        raise PermissionDenied
    asked = request.GET.get("days", "")
    days = int(asked) if asked in map(str, PERIODS) else 30
    last = today()
    first = last - timedelta(days=days - 1)
    request.current_app = admin.admin_site.name
    context = {
        **admin.admin_site.each_context(request),
        "title": gettext("Overview"),
        "opts": admin.opts,
        "media": admin.media,
        "periods": PERIODS,
        "days": days,
        "first": first,
        "last": last,
        "reports": [
            _section(report, first, days) for report in report_money(first=first, last=last)
        ],
    }
    return TemplateResponse(request, "admin/shop_payments/overview.html", context)


def _section(report: MoneyReport, first: date, days: int) -> dict[str, Any]:
    total = report.total

    def money(amount: int) -> str:
        return amount_text(amount, report.currency)

    return {
        "title": f"{report.currency.upper()}, {mode_text(report.livemode)}",
        "sums": [
            (gettext("Received"), money(total.received), total.payments),
            (gettext("Refunded"), money(total.refunded), total.refunds),
            (gettext("Lost in disputes"), money(total.lost), None),
            (gettext("Received, less refunded and lost"), money(total.left), None),
            (gettext("Disputes opened"), "", total.disputes),
        ],
        "tried": report.tried,
        "succeeded": report.succeeded,
        "share": round(100 * report.succeeded / report.tried) if report.tried else None,
        "declines": [(humanize(code), number) for code, number in report.declines],
        "width": days * _BAR,
        "bars": _bars(report, first, days),
        "rows": [
            (on, money(each.received), money(each.refunded), money(each.lost), money(each.left))
            for on, each in sorted(report.days.items(), reverse=True)
        ],
    }


def _bars(report: MoneyReport, first: date, days: int) -> list[dict[str, Any]]:
    """Return the bars of the chart: what was received on each day."""
    highest = max((each.received for each in report.days.values()), default=0) or 1
    bars = []
    for at in range(days):
        on = first + timedelta(days=at)
        if on in report.days:
            received = report.days[on].received
            height = round(_HEIGHT * received / highest)
            title = f"{date_format(on)}: {amount_text(received, report.currency)}"
            bars.append(
                {"x": at * _BAR + 1, "y": _HEIGHT - height, "height": height, "title": title}
            )
    return bars
