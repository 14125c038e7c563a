"""The payment on the pages of a shop's order: a panel, a column, and an evaluation after a change.

Note [Where the panel is]
~~~~~~~~~~~~~~~~~~~~~~~~~
The page may have any template: Django's, one in the host's folder of templates, or that of another
package. So no template is set. The panel's template extends whichever template the page already
has, and adds to a block of Django's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import AdminSite
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.template.backends.django import Template
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from shop_payments.admin.actions import ActionLink, Offer, offers_of, origin_of
from shop_payments.admin.base import (
    NOTHING,
    ModelAdmin,
    amount_text,
    describe_balance,
    in_words,
    mode_text,
    moment_text,
    page_url,
    total_text,
)
from shop_payments.admin.payment_links import payment_links
from shop_payments.admin.queue import WORST_FIRST, button_html, first_button, ranked
from shop_payments.admin.tasks import PaymentState
from shop_payments.conf import order_model_label
from shop_payments.exceptions import ConfigurationError, OrderNotFound, OrderUnreadable
from shop_payments.ledger.payments import leading_intent
from shop_payments.models import OrderPayment, ReviewItem
from shop_payments.models.words import choice_label
from shop_payments.services.reevaluate_order import reevaluate_order

_PAGE = "admin/shop_payments/order_panel_page.html"

_CACHE = "_shop_payments_payment"
"""The attribute of an order with its payment. The order may be a model of the host, which must not
use the same name."""


# --- the payment of an order --------------------------------------------------------------------


def payment_of(order: Any) -> OrderPayment | None:
    """Return the order's payment, if there is one."""
    # Cached on the order object, which serves one request and is asked for it many times.
    if not hasattr(order, _CACHE):
        setattr(order, _CACHE, OrderPayment.objects.of_order(order.pk).first())
    payment: OrderPayment | None = getattr(order, _CACHE)
    return payment


def _read_payments(orders: Iterable[Any]) -> None:
    """Read the payments of these orders with one query."""
    payments = OrderPayment.objects.filter(order__in=[order.pk for order in orders])
    by_order = {payment.order_id: payment for payment in payments}
    for order in orders:
        setattr(order, _CACHE, by_order.get(order.pk))


def _may_view_payments(request: HttpRequest) -> bool:
    user: Any = request.user
    return bool(user.has_perm("shop_payments.view_orderpayment"))


def status_badges(payment: OrderPayment) -> SafeString:
    """Return the status of a payment as a badge, and a second badge if it needs review."""
    status = choice_label(payment, "status")
    if payment.dispute_state:
        words = {"status": status, "state": choice_label(payment, "dispute_state")}
        status = gettext("%(status)s, dispute %(state)s") % words
    badges = [("disputed" if payment.dispute_state else payment.status, status)]
    if payment.needs_review:
        badges.append(("disputed", gettext("needs review")))
    badge = '<span class="shop-payments-badge shop-payments-{}">{}</span>'
    return format_html_join(" ", badge, badges)


# --- the panel ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PaymentPanel:
    """The payment of an order, as a member of staff may see it."""

    badges: SafeString | str = ""
    """Empty if the customer has not begun to pay."""

    url: str = ""
    """The payment's page, if it has one on this site."""

    note: str = ""
    facts: tuple[tuple[Any, str], ...] = ()
    """Labels and values: the money first, without amounts that are zero."""

    items: tuple[tuple[str, ReviewItem, str], ...] = ()
    """The open review items: URL, item, and the button that it suggests, if there is one."""

    links: tuple[ActionLink, ...] = ()


def read_panel(site: AdminSite, request: HttpRequest, order: Any) -> PaymentPanel | None:
    """Return the panel of an order; None if this member of staff may not view payments."""
    if not _may_view_payments(request):
        return None
    payment = payment_of(order)
    links = payment_links(request, order)
    if payment is None:
        return PaymentPanel(links=tuple(links))
    offers, actions = _offers(site, request, payment)
    # The offers have read the rows already.
    state = offers[0].target.state if offers else PaymentState.read(payment)
    items = tuple(_items(site, request, payment))
    return PaymentPanel(
        badges=status_badges(payment),
        url=page_url(payment, site=site),
        note="" if items else _note(payment),
        facts=(*_money(state), *_details(state)),
        items=items,
        links=(*actions, *links),
    )


def _offers(
    site: AdminSite, request: HttpRequest, payment: OrderPayment
) -> tuple[list[Offer], list[ActionLink]]:
    offers = offers_of(site, request, payment)
    try:
        # The others are on the payment's page.
        return offers, [offer.link() for offer in offers if not offer.action.is_upkeep]
    except NoReverseMatch:  # the host has replaced the payment's pages, and left out the actions
        return offers, []


def _note(payment: OrderPayment) -> str:
    # Otherwise the amounts say enough.
    is_unclear = payment.failed_reads or (payment.amount_owed and not payment.amount_outstanding)
    return describe_balance(payment) if is_unclear else ""


def _money(state: PaymentState) -> Iterator[tuple[Any, str]]:
    payment = state.payment
    yield _("order total"), described_total(payment)
    counted = [options.money for options in state.intents if options.counts]
    amounts = (
        (_("received"), payment.amount_received),
        (_("refunded"), payment.amount_refunded),
        (_("lost in disputes"), payment.amount_lost),
        (_("on its way back to the customer"), sum(money.refund_pending for money in counted)),
        (_("held by the customer's bank"), sum(money.disputed for money in counted)),
        (_("settled outside Stripe"), sum(money.settled for money in counted)),
        (_("waived"), payment.amount_waived),
        (_("outstanding"), payment.amount_outstanding),
        (_("excess"), payment.amount_excess),
    )
    for label, amount in amounts:
        if amount:
            yield label, amount_text(amount, payment.currency)
    # It may be in other currencies than the order.
    uncounted = [
        amount_text(each.money.refundable, each.intent.currency)
        for each in state.intents
        if each.intent.holds_money and not each.counts and each.money.refundable
    ]
    if uncounted:
        yield _("received, but does not count"), ", ".join(uncounted)


def described_total(payment: OrderPayment) -> str:
    """Return the current total, and that of the last evaluation if it was different."""
    now = total_text(payment)
    seen = now if payment.total is None else amount_text(payment.total, payment.currency)
    if now == seen:
        return now
    words = {"now": now, "seen": seen}
    return gettext("%(now)s (%(seen)s when the payment was last evaluated)") % words


def _details(state: PaymentState) -> Iterator[tuple[Any, str]]:
    intents = [options.intent for options in reversed(state.intents)]
    leading = leading_intent(intents)
    shown = [each for each in intents if each.holds_money or each is leading]
    # Two payments with one card are described once.
    methods = dict.fromkeys(each.method_display for each in shown if each.method_display)
    if methods:
        yield _("method"), "; ".join(methods)
    if state.payment.paid_at:
        yield _("paid at"), moment_text(state.payment.paid_at)
    if leading is not None:
        yield _("mode"), mode_text(leading.livemode)


def _items(
    site: AdminSite, request: HttpRequest, payment: OrderPayment
) -> Iterator[tuple[str, ReviewItem, str]]:
    user: Any = request.user
    may_look = user.has_perm("shop_payments.view_reviewitem") and site.is_registered(ReviewItem)
    if not payment.needs_review or not may_look:
        return
    items = ranked(payment.review_items.open()).select_related("payment_intent")
    for item in items.order_by(*WORST_FIRST):
        try:
            button = first_button(site, user, item)
        except NoReverseMatch:  # as for the actions
            button = ActionLink(url="", label="")
        # One that leads to this page says nothing new.
        is_useful = button.is_suggested and button.url != request.path
        yield page_url(item, site=site), item, button_html(button) if is_useful else ""


# --- the mixin ----------------------------------------------------------------------------------


class OrderPaymentPanel(ModelAdmin):
    """Shows the payment on the pages of the shop's order, and evaluates it after a change.

    ::

        @admin.register(Order)
        class OrderAdmin(OrderPaymentPanel): ...

    Put it before other base classes. ``payment_status`` is a column for ``list_display``. Only
    staff with the permission to view payments see any of it.

    See Note [Where the panel is] for the page.
    """

    payment_panel_on_top: ClassVar[bool] = True
    """Whether the panel is above the form. Set it to False if your own template includes
    ``admin/shop_payments/order_panel.html`` in another place."""

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["shop_payments/admin.css"]}

    def __init__(self, model: type[Any], admin_site: AdminSite) -> None:
        super().__init__(model, admin_site)
        meta = model._meta
        models = (model, meta.concrete_model or model, *meta.get_parent_list())
        # The key of another model's row may be that of an order, too.
        if order_model_label().lower() not in {each._meta.label_lower for each in models}:
            raise ImproperlyConfigured(
                f"{type(self).__name__} shows payments of {order_model_label()}"
                f" (SHOP_PAYMENTS_ORDER_MODEL), so it cannot be the admin of {meta.label}."
            )

    # --- the list ---

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        page = super().get_changelist_instance(request)
        if _may_view_payments(request):
            _read_payments(page.result_list)
        else:
            for order in page.result_list:
                order._shop_payments_hidden = True
        return page

    @admin.display(description=_("payment"))
    def payment_status(self, order: Any) -> str:
        """The status of the order's payment, for ``list_display``."""
        if getattr(order, "_shop_payments_hidden", False):
            return NOTHING
        # Without a payment, an unsaved one: the customer has not begun to pay.
        return status_badges(payment_of(order) or OrderPayment())

    # --- the page ---

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        order = context["original"]
        if order is None:
            return super().render_change_form(request, context, *args, **kwargs)
        context["payment_panel"] = read_panel(self.admin_site, request, order)
        response = super().render_change_form(request, context, *args, **kwargs)
        return _with_panel(response) if self.payment_panel_on_top else response

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save the lines, and evaluate the payment in the same transaction.

        The host is notified and Stripe is called after the commit.
        """
        super().save_related(request, form, formsets, change)
        if change:
            self._evaluate_payment(request, form.instance)

    def _evaluate_payment(self, request: HttpRequest, order: Any) -> None:
        before = payment_of(order)
        try:
            payment = reevaluate_order(order.pk, origin=origin_of(request))
        except OrderNotFound:
            return  # the adapter hides the order, and it has no payment
        except (ConfigurationError, OrderUnreadable) as error:
            # A fault in the host's adapter must not keep staff from correcting the order.
            text = gettext("The order was saved, but its payment could not be evaluated. %(why)s")
            self.message_user(request, text % {"why": in_words(error)}, messages.WARNING)
            return
        # Before money was received, nothing follows from a change that staff must know.
        if payment is None or not payment.amount_received:
            return
        words = describe_balance(payment)
        if before is None or words != describe_balance(before):
            self.message_user(request, words, messages.INFO)


def _with_panel(response: Any) -> Any:
    """Let the page show the panel, whichever template it has."""
    if not isinstance(response, TemplateResponse) or response.context_data is None:
        return response  # a page that is made in another way
    template = response.resolve_template(response.template_name)
    if isinstance(template, Template):  # not one of Jinja
        response.context_data["payment_panel_extends"] = template
        response.template_name = _PAGE
    return response
