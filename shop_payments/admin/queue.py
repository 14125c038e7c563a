"""The queue of review items: the most urgent first, each with the button that resolves it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from django.contrib.admin import AdminSite
from django.db.models import Case, Count, F, IntegerField, Min, Q, QuerySet, Value, When
from django.db.models.fields.json import KT
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.actions import ACTIONS, ActionLink
from shop_payments.admin.base import (
    NOTHING,
    admin_url,
    amount_text,
    dashboard_url,
    moment_text,
    page_url,
)
from shop_payments.admin.intent_actions import is_of_this_mode
from shop_payments.admin.item_actions import ITEM_ACTIONS
from shop_payments.conf import get_config
from shop_payments.lifecycle import DisputeState
from shop_payments.models import OrderPayment, ReviewItem, StripeAttempt, WebhookEvent
from shop_payments.models.words import stored_moment
from shop_payments.services.unfinished import unresolved_attempts

_Reason = ReviewItem.Reason

_REASONS = (
    _Reason.DISPUTED,
    _Reason.AUTHORIZATION_EXPIRES,
    _Reason.EXCESS,
    _Reason.UNCOUNTED,
    _Reason.REFUND_FAILED,
    _Reason.FRAUD_WARNING,
    _Reason.RADAR_REVIEW,
    _Reason.ORDER_UNREADABLE,
    _Reason.REST_OWED,
    _Reason.REST_TOO_SMALL,
    _Reason.UNKNOWN_INTENT,
    _Reason.INTENT_MISSING,
    _Reason.NOTIFICATION_FAILED,
    _Reason.WAIVED_RECEIVED,
)

SUGGESTED: dict[str, str] = {
    _Reason.EXCESS: "refund",
    _Reason.UNCOUNTED: "refund",
    _Reason.FRAUD_WARNING: "refund",
    _Reason.REST_OWED: "waive",
    _Reason.REST_TOO_SMALL: "waive",
    _Reason.WAIVED_RECEIVED: "revoke",
    _Reason.AUTHORIZATION_EXPIRES: "capture",
    _Reason.ORDER_UNREADABLE: "evaluate",
    _Reason.INTENT_MISSING: "refresh",
}
"""The action on the payment that an item suggests, by the reason of the item."""

WITH_AMOUNT = {_Reason.EXCESS, _Reason.UNCOUNTED, _Reason.REST_OWED, _Reason.REST_TOO_SMALL}
"""The reasons whose data contains the exact amount of the suggestion."""


_DUE = Coalesce(KT("data__evidence_due_at"), KT("data__capture_before"))
"""The deadline of an item. Both are stored as ISO 8601: their texts have the order of the times."""


def ranked(items: QuerySet[ReviewItem]) -> QuerySet[ReviewItem]:
    """Add to items what ``WORST_FIRST`` sorts by."""
    ranks = [When(reason=reason, then=Value(at)) for at, reason in enumerate(_REASONS)]
    rank = Case(*ranks, default=Value(len(ranks)), output_field=IntegerField())
    return items.alias(rank=rank, due=_DUE)


WORST_FIRST = ("rank", F("due").asc(nulls_last=True), "pk")
"""The order of items by their kind, and of those of one kind by their deadline."""


def deadline_of(item: ReviewItem) -> datetime | None:
    """Return until when staff can act on an item; None if there is no such time."""
    stored = item.data.get("evidence_due_at") or item.data.get("capture_before")
    return parse_datetime(stored) if stored else None


def deadline_text(item: ReviewItem) -> str:
    """Format the deadline of an open item, also one that is over; empty if it has none."""
    deadline = deadline_of(item)
    if deadline is None or item.closed_at is not None:
        return ""
    words = {"when": moment_text(deadline)}
    is_over = deadline <= datetime.now(UTC)
    return (gettext("past due (%(when)s)") if is_over else gettext("until %(when)s")) % words


def money_text(item: ReviewItem) -> str:
    """Format the amount that an item is about, or else that of its payment."""
    amount = item.data.get("amount", item.data.get("amount_asked"))
    if isinstance(amount, int):
        return amount_text(amount, item.data.get("currency") or item.order_payment.currency)
    intent = item.payment_intent
    if intent is None:
        return NOTHING
    return amount_text(intent.amount_received or intent.amount, intent.currency)


def direct_link(site: AdminSite, user: Any, item: ReviewItem) -> ActionLink | None:
    """Return the button for a suggestion that is not an action on the payment, if it is one."""
    if item.reason == _Reason.DISPUTED and item.payment_intent is not None:
        if get_config().uses_sandbox:
            return None
        return ActionLink(
            url=dashboard_url(
                f"disputes/{quote(item.subject)}", livemode=item.payment_intent.livemode
            ),
            label=gettext("Answer in the Stripe dashboard"),
            is_suggested=True,
            is_external=True,
        )
    if item.reason == _Reason.ORDER_UNREADABLE:
        # The host's own order may have no page on this site.
        url = page_url(item.order_payment.order, site=site)
        label = gettext("Correct the order")
        return ActionLink(url=url, label=label, is_suggested=True) if url else None
    for action in ITEM_ACTIONS:
        if item.reason == action.reason and may_change_payments(user):
            return action.link(site, item)
    return None


def may_change_payments(user: Any) -> bool:
    """Return whether this member of staff may accept, approve, capture and skip."""
    return bool(user.has_perm("shop_payments.change_orderpayment"))


def first_button(site: AdminSite, user: Any, item: ReviewItem) -> ActionLink:
    """Return the button of an item in the list: what it suggests, or else its page.

    Nothing else is read, because a list has many items. If the payment does not allow the action
    any more, the page of the action says why.
    """
    page = ActionLink(url=page_url(item, site=site), label=gettext("Open"))
    if item.closed_at is not None:
        return page
    if item.reason == _Reason.REFUND_FAILED and user.has_perm("shop_payments.change_reviewitem"):
        return close_link(site, item, is_suggested=True)
    return direct_link(site, user, item) or _payment_link(site, user, item) or page


def close_link(site: AdminSite, item: ReviewItem, *, is_suggested: bool = False) -> ActionLink:
    """Return the button that leads to the page on which staff close an item."""
    url = admin_url(site, "shop_payments_reviewitem_close", item.pk)
    # To close the item of an unknown payment means not to accept it.
    is_unknown = item.reason == _Reason.UNKNOWN_INTENT
    label = gettext("Dismiss") if is_unknown else gettext("Close")
    return ActionLink(url=url, label=label, is_suggested=is_suggested)


def _payment_link(site: AdminSite, user: Any, item: ReviewItem) -> ActionLink | None:
    """Return the button of the suggested action on the payment, if staff may carry it out."""
    name = SUGGESTED.get(item.reason, "")
    intent = item.payment_intent
    if name == "refund" and (intent is None or not _may_be_refunded(item)):
        name = "settle"
    action = ACTIONS.get(name)
    # Which entry is revoked is not known without reading more.
    if action is None or name == "revoke" or (action.has_row and intent is None):
        return None
    may = user.has_perm(action.needs) and user.has_perm("shop_payments.view_orderpayment")
    if not may or not site.is_registered(OrderPayment):
        return None
    args = [item.order_payment_id, *([item.payment_intent_id] if action.has_row else [])]
    url = admin_url(site, f"shop_payments_orderpayment_{name}", *args)
    label = str(action.title)
    if item.reason in WITH_AMOUNT:
        label = action.exact_label(money_text(item))
        url = f"{url}?amount={item.data['amount']}"
    return ActionLink(url=url, label=label, is_suggested=True)


def _may_be_refunded(item: ReviewItem) -> bool:
    """Return whether Stripe can refund it: not in the other mode, nor after a lost dispute."""
    is_lost = item.data.get("dispute_state") == DisputeState.LOST
    return item.payment_intent is not None and is_of_this_mode(item.payment_intent) and not is_lost


def button_html(link: ActionLink) -> SafeString:
    """Return a button for a row of a list."""
    kind = " shop-payments-suggested" if link.is_suggested else ""
    button = '<a class="button shop-payments-button{}" href="{}"{}>{}</a>'
    target = mark_safe(_NEW_TAB) if link.is_external else ""  # noqa: S308 - a constant
    return format_html(button, kind, link.url, target, link.label)


_NEW_TAB = ' target="_blank" rel="noopener noreferrer"'


_MANY = 999


def number_text(rows: QuerySet[Any]) -> str:
    """Count rows, but not more of them than staff can imagine."""
    count = rows[: _MANY + 1].count()
    return f"{_MANY}+" if count > _MANY else str(count)


def count_other_work(site: AdminSite, user: Any) -> list[dict[str, Any]]:
    """Count what waits for staff and is no review item, with links to the lists that show it."""
    failed, aside = WebhookEvent.FAILURES
    kinds: list[tuple[Any, str, str, Any]] = [
        (
            WebhookEvent.objects.filter(status=aside),
            "status__exact",
            aside,
            _("a message from Stripe cannot be processed and was set aside"),
        ),
        (
            WebhookEvent.objects.filter(status=failed),
            "status__exact",
            failed,
            _("a message from Stripe could not be processed and will be tried again"),
        ),
        (
            unresolved_attempts(),
            "outcome__exact",
            StripeAttempt.Outcome.PENDING,
            _("it is not known whether Stripe has carried out a request"),
        ),
    ]
    work = []
    for rows, parameter, value, label in kinds:
        name = rows.model._meta.model_name
        may_look = user.has_perm(f"shop_payments.view_{name}") and site.is_registered(rows.model)
        if may_look and (number := number_text(rows)) != "0":
            url = admin_url(site, f"shop_payments_{name}_changelist")
            text = gettext("%(count)s: %(reason)s") % {"count": number, "reason": label}
            query = urlencode({parameter: value})
            work.append({"text": text, "url": f"{url}?{query}", "key": value, "model": rows.model})
    return work


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The open items of one reason."""

    reason: str
    label: str
    number: int
    overdue: int
    """The number of items whose deadline is over."""

    deadline: datetime | None
    """The next deadline that is not over."""

    def __str__(self) -> str:
        words = {
            "count": self.number,
            "reason": self.label,
            "overdue": self.overdue,
            "when": moment_text(self.deadline),
        }
        if self.overdue and self.deadline:
            text = gettext("%(count)s: %(reason)s (%(overdue)d past due, next deadline %(when)s)")
        elif self.overdue:
            text = gettext("%(count)s: %(reason)s (%(overdue)d past due)")
        elif self.deadline:
            text = gettext("%(count)s: %(reason)s (until %(when)s)")
        else:
            text = gettext("%(count)s: %(reason)s")
        return text % words


def count_by_reason() -> list[Kind]:
    """Count the open items of each reason.

    What is past due comes first, then the nearest deadline; the others are sorted as in the list.
    """
    now = stored_moment(timezone.now())
    counted = (
        ReviewItem.objects.open()
        .alias(due=_DUE)
        .order_by()
        .values_list("reason")
        .annotate(
            number=Count("pk"),
            overdue=Count("pk", filter=Q(due__lte=now)),
            nearest=Min("due", filter=Q(due__gt=now)),
        )
    )
    rank = {reason: at for at, reason in enumerate(_REASONS)}
    found = sorted(
        counted,
        key=lambda row: (not row[2], row[3] or "9", rank.get(_Reason(row[0]), len(rank))),
    )
    return [
        Kind(
            reason=reason,
            label=str(_Reason(reason).label),
            number=number,
            overdue=overdue,
            deadline=parse_datetime(nearest) if nearest else None,
        )
        for reason, number, overdue, nearest in found
    ]
