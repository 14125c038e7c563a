"""Staff actions on a review item, apart from closing it: accept, approve, skip."""

from __future__ import annotations

from typing import Any, ClassVar
from urllib.parse import quote

from django import forms
from django.contrib import messages
from django.contrib.admin import AdminSite
from django.db.models import Model
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.actions import ActionLink, origin_of
from shop_payments.admin.base import (
    NOTHING,
    admin_url,
    dashboard_link,
    describe_balance,
    in_words,
    mode_text,
    moment_text,
)
from shop_payments.admin.forms import AcceptForm, ApproveForm, SkipForm
from shop_payments.admin.tasks import Outcome, explain
from shop_payments.exceptions import OrderUnreadable, ReviewClosed, ShopPaymentsError
from shop_payments.ledger.notifications import skip_notification
from shop_payments.models import PaymentHistory, ReviewItem
from shop_payments.services.approve_review import approve_review
from shop_payments.services.unknown_intents import accept_unknown_intent, can_be_accepted

Facts = list[tuple[Any, str]]


def already_closed() -> Outcome:
    """Return the message for an item that needs nothing more."""
    text = gettext("This item was already closed. Nothing was changed.")
    return Outcome(text, messages.WARNING)


class ItemAction:
    """An action on the review items of one reason. Staff need the permission to change payments."""

    name: ClassVar[str]
    reason: ClassVar[str]
    title: ClassVar[Any]
    """The title of the page and the label of its buttons."""

    form_class: ClassVar[type[forms.Form]]
    effect: ClassVar[Any]
    """What the action does, shown before staff confirm it."""

    def has_subject(self, item: ReviewItem) -> bool:
        """Return whether the action is about ``item``, closed or not."""
        return item.reason == self.reason

    def why_not(self, item: ReviewItem) -> Outcome | None:
        """Return the message if the action is not possible any more, or None."""
        return None if item.closed_at is None else already_closed()

    def facts(self, item: ReviewItem) -> Facts:
        """Return the facts that staff need before they act, as labels and values."""
        raise NotImplementedError

    def carry_out(
        self, request: HttpRequest, item: ReviewItem, values: dict[str, Any]
    ) -> tuple[Outcome, Model]:
        """Carry out the action; return the message, and the row whose page shows it.

        Raises:
            ShopPaymentsError: shown above the form, which staff can send again.
        """
        raise NotImplementedError

    def link(self, site: AdminSite, item: ReviewItem, *, is_suggested: bool = True) -> ActionLink:
        """Return the button that leads to the action's page."""
        url = admin_url(site, f"shop_payments_reviewitem_{self.name}", item.pk)
        return ActionLink(url=url, label=str(self.title), is_suggested=is_suggested)


class AcceptAction(ItemAction):
    """Accept a payment intent that has no row here as one of the order's."""

    name = "accept"
    reason = ReviewItem.Reason.UNKNOWN_INTENT
    title = _("Accept this payment")
    form_class = AcceptForm
    effect = _(
        "The payment will belong to this order. Its money counts: it may cover the order, or be "
        "excess. No money moves at Stripe."
    )

    def why_not(self, item: ReviewItem) -> Outcome | None:
        # A payment that was dismissed by mistake can still be accepted.
        return None if can_be_accepted(item) else already_closed()

    def facts(self, item: ReviewItem) -> Facts:
        livemode = bool(item.data.get("livemode"))
        return [
            (_("Detail"), item.detail),
            (_("Stripe id"), item.subject),
            (_("Mode"), mode_text(livemode)),
            (_("At Stripe"), dashboard_link(f"payments/{quote(item.subject)}", livemode=livemode)),
            (_("Suggested action"), item.suggested_action),
        ]

    def carry_out(
        self, request: HttpRequest, item: ReviewItem, values: dict[str, Any]
    ) -> tuple[Outcome, Model]:
        try:
            intent = accept_unknown_intent(
                item_pk=item.pk, user=request.user, origin=origin_of(request)
            )
        except OrderUnreadable as error:
            # The intent is stored already. Only the evaluation after that has failed.
            text = gettext(
                "The payment is accepted, but the order could not be read, so its amounts are "
                "not up to date. The order is evaluated again automatically. If this fails, ask "
                "the shop's developers. %(why)s"
            ) % {"why": in_words(error)}
            return Outcome(text, messages.WARNING), item.order_payment
        except ShopPaymentsError as error:
            item.refresh_from_db()
            if item.closed_automatically:  # Stripe says that the item has no cause any more
                return Outcome(explain(error), messages.ERROR), item
            raise
        if intent is None:
            return already_closed(), item
        text = gettext("The payment now belongs to this order. %(balance)s") % {
            "balance": describe_balance(intent.order_payment)
        }
        return Outcome(text), item.order_payment


class ApproveAction(ItemAction):
    """Approve a payment that Stripe Radar has put up for review."""

    name = "approve"
    reason = ReviewItem.Reason.RADAR_REVIEW
    title = _("Approve this payment")
    form_class = ApproveForm
    effect = _(
        "Stripe closes its review of this payment as approved, and this item is closed. No money"
        " moves."
    )

    def facts(self, item: ReviewItem) -> Facts:
        return [
            (_("Detail"), item.detail),
            (_("Payment"), item.payment_intent.title if item.payment_intent else NOTHING),
            (_("Suggested action"), item.suggested_action),
        ]

    def carry_out(
        self, request: HttpRequest, item: ReviewItem, values: dict[str, Any]
    ) -> tuple[Outcome, Model]:
        try:
            approve_review(review_id=item.subject, origin=origin_of(request))
        except ReviewClosed as error:
            # Somebody closed it in Stripe's dashboard meanwhile, which closes the item as well.
            return Outcome(explain(error), messages.WARNING), item
        text = gettext("The payment is approved at Stripe, and this item is closed.")
        return Outcome(text), item


class SkipAction(ItemAction):
    """Give up a notification that the shop's code does not accept."""

    name = "skip"
    reason = ReviewItem.Reason.NOTIFICATION_FAILED
    title = _("Skip this notification")
    form_class = SkipForm
    effect = _(
        "The shop's code will never receive this notification. The later notifications of this "
        "payment are sent now. No money moves."
    )

    def has_subject(self, item: ReviewItem) -> bool:
        return super().has_subject(item) and _failing_fact(item) is not None

    def why_not(self, item: ReviewItem) -> Outcome | None:
        fact = _failing_fact(item)
        is_waiting = fact is not None and not fact.skipped_at and not fact.dispatched_at
        return None if is_waiting and item.closed_at is None else _no_longer_waiting()

    def facts(self, item: ReviewItem) -> Facts:
        fact = _failing_fact(item)
        assert fact is not None
        return [
            (_("Notification"), fact.sentence),
            (_("Happened"), moment_text(fact.created_at)),
            (_("Failed tries"), str(fact.dispatch_failures)),
            (_("Suggested action"), item.suggested_action),
        ]

    def carry_out(
        self, request: HttpRequest, item: ReviewItem, values: dict[str, Any]
    ) -> tuple[Outcome, Model]:
        fact = _failing_fact(item)
        assert fact is not None
        was_waiting = skip_notification(
            fact_id=fact.fact_id, reason=values["reason"], origin=origin_of(request)
        )
        if not was_waiting:
            return _no_longer_waiting(), item
        text = gettext(
            "The notification “%(fact)s” is skipped, with your name and your reason. Later"
            " notifications of this payment are sent now."
        ) % {"fact": fact}
        return Outcome(text), item


def _no_longer_waiting() -> Outcome:
    text = gettext("This notification is no longer waiting. Nothing was changed.")
    return Outcome(text, messages.WARNING)


def _failing_fact(item: ReviewItem) -> PaymentHistory | None:
    facts = PaymentHistory.objects.select_related("payment_intent")
    return facts.filter(order_payment=item.order_payment_id, fact_id=item.subject).first()


ACCEPT = AcceptAction()
ITEM_ACTIONS: list[ItemAction] = [ACCEPT, ApproveAction(), SkipAction()]
