"""The pay page, the result page, and the state of the payment for their scripts.

Opening a page creates nothing. The pay page's script asks for the payment intent with a POST. The
result page asks Stripe itself, because the webhook may be late or lost, and uses no parameter of
its URL except the signed token.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_protect

from shop_payments.checkout.links import RETURN_EXPIRY, TOKEN, Link, page_url, read_link, sign
from shop_payments.checkout.pages import ASKING, Page, build_page, pay_data, result_data
from shop_payments.checkout.states import SETTLED, State, has_failed, state_of, words_for
from shop_payments.exceptions import (
    OrderNotFound,
    OrderUnreadable,
    PaymentError,
    PaymentIntentInProgress,
    ShopPaymentsError,
    UnsettledPayment,
)
from shop_payments.lifecycle import IntentStatus
from shop_payments.orders import find_visible_order, parse_order_id, read_continue_url
from shop_payments.services import (
    OrderView,
    Origin,
    Source,
    create_payment_intent,
    get_order,
    settle_payment,
)
from shop_payments.users import key_of_user

logger = logging.getLogger("shop_payments")

RETRY_SECONDS = 5

_PROBLEMS = frozenset({"not_loaded", "not_set_up"})
"""What the pay page's script may report for the log."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}


@dataclass(frozen=True, kw_only=True)
class Visit:
    """An order that the visitor may pay, by a signed link or as its customer."""

    order: Any
    user: Any
    link: Link | None
    is_customer: bool

    @property
    def token(self) -> str:
        """The token for further links; empty if the visitor needs none."""
        return "" if self.link is None or self.is_customer else self.link.token

    @property
    def has_expired(self) -> bool:
        """Whether the link may not be used to pay any more."""
        return not self.is_customer and self.link is not None and self.link.has_expired

    @property
    def origin(self) -> Origin:
        """The visitor, for the payment's history."""
        actor = f"user {key_of_user(self.user)}" if self.is_customer else "payment link"
        return Origin(source=Source.SHOP, actor=f"checkout, {actor}")

    def read(self) -> OrderView:
        """Read the order and its payment."""
        return get_order(order_id=self.order.pk, user=None, any_order=True)


def open_visit(request: HttpRequest, order_id: str) -> Visit:
    """Return the order, if the visitor may pay it.

    Raises:
        OrderNotFound: there is no such order, or the visitor may not pay it.
        OrderUnreadable: the adapter raised.
    """
    pk = parse_order_id(order_id)
    user = getattr(request, "user", None)
    link = read_link(request.GET.get(TOKEN, ""), order_id)
    try:
        order = find_visible_order(pk, user=user)
    except OrderNotFound:
        if link is None:
            raise
        order = find_visible_order(pk, any_order=True)
        return Visit(order=order, user=user, link=link, is_customer=False)
    return Visit(order=order, user=user, link=link, is_customer=True)


class CheckoutView(View):
    """The base of all views: no transaction, no caching, and the same 404 for all strangers."""

    visit: Visit

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        # With ATOMIC_REQUESTS of any database, a transaction would be open while Stripe is called.
        view = super().as_view(**initkwargs)
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        # With LoginRequiredMiddleware, guests with a link would have to sign in.
        return login_not_required(view)

    @method_decorator(csrf_protect)
    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        request.encoding = "utf-8"  # whatever charset the body's content type names
        try:
            response = self.respond(request, kwargs["order_id"])
        except OrderNotFound:
            response = render(request, "shop_payments/checkout/not_found.html", status=404)
        except ShopPaymentsError as error:
            response = self.explain(error)
        for name, value in _HEADERS.items():
            response[name] = value
        # Older releases of Django's cache middleware ignore "no-store".
        request._cache_update_cache = False  # type: ignore[attr-defined]
        return response

    def respond(self, request: HttpRequest, order_id: str) -> HttpResponseBase:
        """Answer the request."""
        self.visit = open_visit(request, order_id)
        if self.visit.has_expired and not self.shows_expired:
            return self.show_state(State.EXPIRED, status=410)
        return super().dispatch(request)

    shows_expired = False
    """Whether the view may be used with an expired link."""

    def explain(self, error: ShopPaymentsError) -> HttpResponse:
        """Log what went wrong, and say that the payment is not available."""
        log_failure(error, self.visit.order.pk if hasattr(self, "visit") else "unknown")
        response = self.show_state(State.UNAVAILABLE, status=503)
        response["Retry-After"] = str(RETRY_SECONDS)
        return response

    def show_state(self, state: State, *, status: int = 200) -> HttpResponse:
        """Show a state without the order."""
        if self.request.method == "POST" or isinstance(self, StatusView):
            return JsonResponse({"state": state}, status=status)
        page = Page(state=state, words=words_for(state, None), is_test_mode=False)
        return self.render("result", page, status=status)

    def render(self, name: str, page: Page, *, status: int = 200) -> HttpResponse:
        """Render a page."""
        template = f"shop_payments/checkout/{name}.html"
        return render(self.request, template, {"checkout": page}, status=status)


def log_failure(error: ShopPaymentsError, order_id: object) -> None:
    """Log an error for the operator. The customer only sees that the payment is not available."""
    detail = getattr(error, "in_full", str(error))
    name = type(error).__name__
    logger.warning("checkout unavailable: order=%s error=%s %s", order_id, name, detail)


class PayView(CheckoutView):
    """The pay page, and the payment intent for its script."""

    def get(self, request: HttpRequest) -> HttpResponse:
        """Show what is to be paid, or lead to the result page. Stripe is not asked."""
        view = self.visit.read()
        page = build_pay_page(view, self.visit.token)
        if not page.can_pay:
            return HttpResponseRedirect(page.result_url)
        return self.render("pay", page)

    def post(self, request: HttpRequest) -> HttpResponse:
        """Return the open payment intent, created or updated if needed."""
        visit = self.visit
        try:
            intent = create_payment_intent(
                order_id=visit.order.pk,
                user=visit.user,
                any_order=not visit.is_customer,
                origin=visit.origin,
            ).intent
        except (OrderNotFound, OrderUnreadable, PaymentIntentInProgress):
            raise
        except PaymentError:  # paid, cancelled or in review meanwhile: the result page says so
            return self.tell_state()
        view = visit.read()
        page = build_pay_page(view, visit.token)
        if not page.can_pay:
            return self.tell_state()
        token = visit.token or sign(visit.order.pk, RETURN_EXPIRY)
        return JsonResponse(
            {
                "state": page.state,
                "intent": intent.id,
                "amount": page.amount,
                "asked": page.asked,
                "summary": render_to_string(
                    "shop_payments/checkout/summary.html", {"checkout": page}, request
                ),
                "return_url": request.build_absolute_uri(page_url("result", visit.order.pk, token)),
                "client_secret": intent.client_secret.reveal(),
            }
        )

    def tell_state(self) -> HttpResponse:
        """Return the state in which nothing is to be paid."""
        state = state_of(self.visit.read())
        return JsonResponse({"state": State.UNAVAILABLE if state in ASKING else state})


def build_pay_page(view: OrderView, token: str) -> Page:
    """Build the pay page, with the data for its script."""
    page = build_page(view, state_of(view), token=token)
    return replace(page, data=pay_data(page, view, token=token))


class ResultView(CheckoutView):
    """The result page. Stripe returns the customer to it."""

    shows_expired = True  # a customer who paid late still learns whether it worked

    def get(self, request: HttpRequest) -> HttpResponse:
        """Show what became of the payment."""
        if self.visit.has_expired and not self.has_payment:
            return self.show_state(State.EXPIRED, status=410)
        # Stripe adds the client secret. It must not stay in the address bar.
        token = request.GET.get(TOKEN, "")
        if set(request.GET) - {TOKEN}:
            return HttpResponseRedirect(page_url("result", self.visit.order.pk, token))
        view, state = ask_stripe(self.visit)
        is_changing = may_change(view, state)
        page = build_page(
            view,
            state,
            token=self.visit.token,
            continue_url=read_continue_url(self.visit.order),
        )
        if self.visit.has_expired:
            page = replace(page, amount="")
        data = result_data(state, view, token=self.visit.token, is_changing=is_changing)
        return self.render("result", replace(page, data=data))

    @cached_property
    def has_payment(self) -> bool:
        """Whether a payment was begun."""
        return self.visit.read().payment_intent is not None


class StatusView(CheckoutView):
    """The state of the payment, for the script of the result page."""

    shows_expired = True

    def get(self, request: HttpRequest) -> HttpResponse:
        """Return the state, after Stripe was asked."""
        _view, state = ask_stripe(self.visit)
        if state == State.UNAVAILABLE:
            headers = {"Retry-After": str(RETRY_SECONDS)}
            return JsonResponse({"state": state}, status=503, headers=headers)
        return JsonResponse({"state": state})

    def post(self, request: HttpRequest) -> HttpResponse:
        """Log a problem that the pay page's script has met, then return the state."""
        problem = request.POST.get("problem", "")
        if problem in _PROBLEMS:
            logger.warning("checkout problem: order=%s problem=%s", self.visit.order.pk, problem)
        return self.get(request)


def ask_stripe(visit: Visit) -> tuple[OrderView, State]:
    """Let Stripe prove the payment, unless it is known; return the order and its state.

    The outcome is in the rows, so a payment that is not completed is no error here.
    """
    view = visit.read()
    row = view.payment_intent
    if row is None or not row.is_open or state_of(view) in SETTLED:
        return view, shown_state(view)
    failure: ShopPaymentsError | None = None
    try:
        settle_payment(order_id=visit.order.pk, origin=visit.origin)
    except UnsettledPayment:
        pass
    except PaymentIntentInProgress:
        pass  # another request is asking; the script asks again
    except ShopPaymentsError as error:
        failure = error
    view = visit.read()
    state = shown_state(view)
    if failure is None:
        return view, state
    log_failure(failure, visit.order.pk)
    return view, State.UNAVAILABLE if state in _MAY_BE_PAID else state


_MAY_BE_PAID = ASKING | {State.CANCELLED}
"""States that say that nothing was paid, which is not known while Stripe does not answer."""


def shown_state(view: OrderView) -> State:
    """Return the state for the result page, where a failed attempt is shown as such."""
    state = state_of(view)
    return State.FAILED if state in ASKING and has_failed(view) else state


def may_change(view: OrderView, state: State) -> bool:
    """Return whether the script should ask again."""
    if state in {State.PENDING, State.UNAVAILABLE}:
        return True
    row = view.payment_intent
    # Some payment methods return the customer before Stripe has their bank's answer.
    return state in ASKING and row is not None and row.status == IntentStatus.REQUIRES_ACTION
