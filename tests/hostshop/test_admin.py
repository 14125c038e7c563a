"""The payment on the pages of the host's order: its own admin, with one line more."""

from __future__ import annotations

from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest
from django.contrib import admin
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext
from django.urls import include, path

from shop_payments.admin import OrderPaymentPanel, register
from shop_payments.models import OrderPayment, PaymentHistory, ReviewItem
from tests.admin.support import change, messages_of
from tests.admin.test_order_panel import badges_of, facts_of, panel_of
from tests.hostshop.adapter import HostOrderAdapter
from tests.hostshop.factories import HostOrderFactory
from tests.hostshop.models import Customer, Order, OrderItem
from tests.support import pay

pytestmark = pytest.mark.django_db


@pytest.fixture
def paid(storefront, order, stripe, webhooks) -> OrderPayment:
    """The payment of an order of 112.00 USD that has been paid."""
    pay(stripe, storefront.payment_intent(order).json()["data"]["id"])
    webhooks()
    return OrderPayment.objects.get()


def site_with(order_admin: Any, settings: Any, register: Any = register) -> None:
    """Serve the order's admin at ``/ops/``, beside ``/admin/``, with pages of the payments."""
    ops = admin.AdminSite(name="ops")
    ops.register(Order, order_admin)
    register(ops)
    urls: Any = ModuleType("urls_of_ops")
    urls.urlpatterns = [path("", include("config.urls")), path("ops/", ops.urls)]
    settings.ROOT_URLCONF = urls


def at_ops(url: str) -> str:
    return url.replace("/admin/", "/ops/", 1)


def test_the_hosts_order_shows_its_payment(paid, order, staff, stripe):
    calls = len(stripe.requests)

    page = staff.read(order)

    assert badges_of(page) == ["paid"]
    facts = facts_of(page)
    assert (facts["Order total"], facts["Received"]) == ("112.00 USD", "112.00 USD")
    assert f'href="{change(paid)}">Open the payment</a>' in page
    assert staff.buttons(order) == ["Refund", "Settle outside Stripe"]
    assert staff.get(staff.target(order, "Refund")).status_code == 200
    assert 'name="_save"' in page
    assert 'href="/static/shop_payments/admin.css"' in page
    assert len(stripe.requests) == calls


def test_an_order_without_payment_says_so_and_has_a_payment_link(order, staff):
    """Without the fixture `stripe`, a test that reaches Stripe fails."""
    expected = "Payment The customer has not begun to pay. Copy payment link"
    assert panel_of(staff.read(order)) == expected
    assert f"/checkout/{order.pk}/?token=" in staff.read(order)
    assert panel_of(staff.get("/admin/hostshop/order/add/").text) == ""


def test_staff_who_may_not_view_payments_see_the_order_alone(paid, order, staff_with):
    clerk = staff_with("view_order", "change_order")
    assert 'name="_save"' in clerk.read(order)
    assert panel_of(clerk.read(order)) == ""
    assert '<td class="field-payment_status">–</td>' in clerk.read(Order)
    viewer = staff_with("view_order", "view_orderpayment")
    assert badges_of(viewer.read(order)) == badges_of(viewer.read(Order)) == ["paid"]
    assert viewer.buttons(order) == []


def test_the_list_needs_the_same_queries_for_any_number_of_orders(
    order, staff, django_assert_num_queries
):
    OrderPayment.objects.create(order_id=order.pk)
    staff.read(Order)
    with CaptureQueriesContext(connection) as found:
        staff.read(Order)
    for number in range(19):
        other = HostOrderFactory.create(customer=order.customer)
        if number:
            OrderPayment.objects.create(order_id=other.pk)
    with django_assert_num_queries(len(found)):
        page = staff.read(Order)
    assert badges_of(page) == ["unpaid"] * 20


# --- saving -------------------------------------------------------------------------------------


def test_a_changed_total_is_evaluated(paid, order, staff, superuser):
    staff.save(order, total="120.000")
    payment = OrderPayment.objects.get()
    assert (payment.status, payment.amount_outstanding) == ("partially_paid", 800)
    response = staff.get(change(order))
    assert "8.00 USD is outstanding." in messages_of(response)
    assert facts_of(response.text)["Outstanding"] == "8.00 USD"

    staff.save(order, total="102.000")
    item = ReviewItem.objects.get()
    assert f'href="{change(item)}"' in staff.read(order)
    fact = PaymentHistory.objects.get(kind="review_needed")
    assert (fact.source, fact.actor) == ("admin", f"staff {superuser.pk}")

    assert badges_of(staff.save(order, total="").text) == ["paid", "needs review"], "with errors"
    staff.save(order, reference="2025/999")
    assert len(messages_of(staff.get(change(order)))) == 1, "Django's own"


class BrokenAdapter(HostOrderAdapter):
    def total(self, order: Order) -> Any:
        raise KeyError("amount")


class HidingAdapter(HostOrderAdapter):
    def get_queryset(self) -> Any:
        return super().get_queryset().none()


@pytest.mark.by_hand
def test_an_order_that_cannot_be_read_opens_and_is_saved(paid, order, staff, configure, stripe):
    configure(**{**stripe.shop_payments(), "ORDER_ADAPTER": f"{__name__}.BrokenAdapter"})
    assert facts_of(staff.read(order))["Order total"].startswith("cannot be read: ")

    staff.save(order, total="120.000")

    response = staff.get(change(order))
    text = "The order was saved, but its payment could not be evaluated. "
    assert any(words.startswith(text) for words in messages_of(response))
    assert "so the amounts may be out of date." in panel_of(response.text)
    assert Order.objects.get().total == Decimal("120.000")


def test_an_order_that_the_adapter_hides_is_saved(order, staff, configure):
    configure(ORDER_ADAPTER=f"{__name__}.HidingAdapter")
    staff.save(order, reference="2025/999")
    expected = "Payment The customer has not begun to pay."
    assert panel_of(staff.read(order)) == expected
    assert Order.objects.get().reference == "2025/999"


# --- sites and admins of the host ---------------------------------------------------------------


def test_it_stays_on_its_site(paid, order, staff, settings):
    site_with(OrderPaymentPanel, settings)
    page = staff.get(at_ops(change(order))).text
    assert f'href="{at_ops(change(paid))}"' in page
    assert 'href="/ops/shop_payments/orderpayment/' in page
    assert "/admin/" not in panel_of(page)
    assert 'href="/admin/' not in page


@pytest.mark.by_hand
def test_a_site_without_the_pages_of_payments_has_no_links_to_them(paid, order, staff, settings):
    site_with(OrderPaymentPanel, settings, lambda site: None)
    OrderPayment.objects.update(needs_review=True)
    page = staff.get(at_ops(change(order))).text
    assert badges_of(page) == ["paid", "needs review"]
    assert facts_of(page)["Received"] == "112.00 USD"
    assert "shop_payments/orderpayment" not in page
    assert "Open the payment" not in page


def test_a_site_with_other_pages_of_payments_has_no_buttons(paid, order, staff, settings):
    staff.save(order, total="102.000")
    site_with(OrderPaymentPanel, settings, lambda ops: ops.register([OrderPayment, ReviewItem]))
    page = staff.get(at_ops(change(order))).text
    assert f'href="{at_ops(change(paid))}">Open the payment</a>' in page
    assert f'href="{at_ops(change(ReviewItem.objects.get()))}"' in page
    assert "Refund" not in panel_of(page)


class ItemInline(admin.TabularInline):  # type: ignore[type-arg]
    model = OrderItem


class OwnAdmin(OrderPaymentPanel, admin.ModelAdmin):  # type: ignore[type-arg]
    """An admin that overrides what the panel needs, as a host's may."""

    change_form_template = "hostshop/order.html"
    readonly_fields = ["reference"]
    inlines = [ItemInline]

    class Media:
        css = {"all": ["hostshop/own.css"]}

    def get_urls(self) -> Any:
        own = path("own/", self.admin_site.admin_view(lambda request: HttpResponse("own page")))
        return [own, *super().get_urls()]

    def get_readonly_fields(self, request: Any, obj: Any = None) -> Any:
        return ["placed_at", *self.readonly_fields]

    def render_change_form(self, request: Any, context: Any, *args: Any, **kwargs: Any) -> Any:
        context["greeting"] = "Good morning"
        return super().render_change_form(request, context, *args, **kwargs)


class InItsPlace(OwnAdmin):
    payment_panel_on_top = False


@pytest.fixture
def own_template(settings, tmp_path):
    """Write the host's own template of the page."""

    def write(text: str) -> None:
        (tmp_path / "hostshop").mkdir()
        (tmp_path / "hostshop" / "order.html").write_text(text)
        settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]

    return write


def test_a_page_with_its_own_template_shows_it(paid, order, staff, settings, own_template):
    own_template(
        '{% extends "admin/change_form.html" %}'
        "{% block form_top %}<p>{{ greeting }}</p>{% endblock %}"
    )
    site_with(OwnAdmin, settings)
    page = staff.get(at_ops(change(order))).text
    assert badges_of(page) == ["paid"]
    assert page.index("Open the payment") < page.index("<p>Good morning</p>")
    for stylesheet in ("hostshop/own.css", "shop_payments/admin.css"):
        assert stylesheet in page
    assert staff.get("/ops/hostshop/order/own/").text == "own page"


def test_a_template_may_choose_the_place(paid, order, staff, settings, own_template):
    own_template(
        '{% extends "admin/change_form.html" %}{% block after_field_sets %}<hr>'
        '{% include "admin/shop_payments/order_panel.html" %}{% endblock %}'
    )
    site_with(InItsPlace, settings)
    page = staff.get(at_ops(change(order))).text
    assert page.count("Open the payment") == 1
    assert page.index("<hr>") < page.index("Open the payment")


def test_it_is_for_the_model_of_the_settings_only():
    with pytest.raises(ImproperlyConfigured, match=r"payments of hostshop\.Order"):
        admin.AdminSite().register(Customer, OrderPaymentPanel)
