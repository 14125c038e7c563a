"""The pages of payments, payment intents and attempts."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import time_machine
from django.utils import timezone
from django.utils.html import strip_tags

from shop_payments.models import OrderPayment
from tests.admin.support import change, money_of
from tests.services.test_refund_excess import paid_twice

pytestmark = pytest.mark.django_db


def test_a_payment_shows_all_that_belongs_to_it(in_review, staff):
    text = staff.read(in_review)
    history = list(in_review.history.all())
    rows = [in_review.order, in_review.payment_intents.get(), in_review.attempts.get(), *history]
    for row in [*rows, in_review.review_items.get()]:
        assert f'href="{change(row)}"' in text
    places = [text.index(fact.sentence) for fact in history]
    assert places == sorted(places), "the newest is shown first"


RECEIVED, UNCOUNTED = "112.00 USD received", "Received, but does not count"
BALANCE = [
    *("Last evaluation", "Order total", "Received", "Waived", "Outstanding", "Owed", "Excess"),
    *(UNCOUNTED, "Payment"),
]


def balance_of(client, payment) -> list[str]:
    """The values of the section on the balance, each after its label."""
    shown = money_of(client, payment)
    return [f"{label}: {shown[label]}" for label in BALANCE if label in shown]


@pytest.mark.parametrize(
    ("state", "shown"),
    [
        ("authorized", ["Outstanding: 112.00 USD", "Payment: 112.00 USD reserved"]),
        ("partly_paid", ["Outstanding: 8.00 USD", f"Payment: {RECEIVED}, 8.00 USD outstanding"]),
        ("waived", ["Waived: 8.00 USD", f"Payment: {RECEIVED}"]),
        ("in_review", ["Excess: 10.00 USD", f"Payment: {RECEIVED}"]),
        ("late", [f"{UNCOUNTED}: 112.00 USD", f"Payment: {RECEIVED}, which does not count"]),
    ],
)
def test_a_payment_shows_its_balance_and_how_far_it_is(state, shown, request, staff):
    assert balance_of(staff, request.getfixturevalue(state))[-2:] == shown


def test_a_payment_goes_by_the_number_of_its_order(paid, staff):
    """Found: the breadcrumb was "Order payments", then "payment of order 4: paid"."""
    crumbs = staff.read(paid).partition('<div class="breadcrumbs">')[2].partition("</div>")[0]
    texts = [text.strip() for text in strip_tags(crumbs).split("&rsaquo;")]
    assert texts == ["Home", "Shop payments", "Payments", paid.order.number]
    assert "1 payment\n" in staff.read(OrderPayment)


def test_what_the_messages_do_not_contain_is_not_known_yet(paid, staff):
    (method,) = re.findall(r'<td class="field-method"[^>]*>(.*?)</td>', staff.read(paid), re.S)
    assert strip_tags(method).strip() == "not known yet"
    assert "shop_payments_fees" in money_of(staff, paid)["Stripe's fees"]


def test_nothing_links_from_the_sandbox_to_stripes_dashboard(disputed, staff, configure):
    rows = [disputed, disputed.payment_intents.get(), disputed.review_items.get()]
    for row in rows:
        assert "dashboard.stripe.com" in staff.read(row)
    configure(STRIPE_API_BASE="http://127.0.0.1:1")
    for row in rows:
        assert "dashboard.stripe.com" not in staff.read(row)
    assert "At Stripe" not in money_of(staff, disputed)


def test_reserved_money_shows_for_how_long(authorized, staff):
    for days, words in ((0, "in 6 days, 23 hours"), (8, "expired ")):
        with time_machine.travel(timezone.now() + timedelta(days=days), tick=False):
            shown = money_of(staff, authorized)["Authorization expires"]
        assert shown.replace("\xa0", " ").startswith(words)


def test_staff_who_may_only_look_see_a_payment_and_no_buttons(disputed, staff_with):
    models = ("orderpayment", "reviewitem", "paymentintent", "staffentry", "order")
    clerk = staff_with(*(f"view_{model}" for model in models))
    waiver = {"kind": "waiver", "amount": 1, "currency": "usd", "reason": "No.", "request_key": "k"}
    entry = disputed.staff_entries.create(**waiver, revoked_at=timezone.now())
    for row in (disputed, disputed.order, disputed.payment_intents.get(), entry):
        assert clerk.read(row)
        assert clerk.buttons(row) == []
    assert clerk.buttons(disputed.review_items.get()) == ["Answer in the Stripe dashboard"]


def test_the_money_of_several_payments_adds_up(open_shop, staff):
    """Found: with two payments, nobody saw which one was in excess."""
    shop = open_shop(100)
    paid_twice(shop)
    shop.stripe.deliver_due()
    shop.office.refund(shop.order, {"amount": "30.00", "kind": "goods"}, key="a")
    payment = shop.payment

    money = money_of(staff, payment)

    assert money["Received"] == "200.00 USD"
    assert money["Refunded"] == "30.00 USD"
    assert money["Received, less refunded and lost"] == "170.00 USD"
    assert money["Excess"] == "100.00 USD"
    assert money["Customer"] == shop.order.email
    text = staff.read(payment)
    assert sum("in excess" in label for label in staff.buttons(payment)) >= 2
    # The goods were refunded from the newer payment, of which 70.00 is left.
    for words in ("70.00 USD in excess", "30.00 USD in excess"):
        assert text.count(words) == 1
    for intent in payment.payment_intents.all():
        assert f"dashboard.stripe.com/test/payments/{intent.stripe_id}" in text


def test_money_that_a_bank_holds_is_shown(disputed, staff):
    assert money_of(staff, disputed)["Held by the customer's bank"] == "112.00 USD"


def test_money_on_its_way_back_is_shown(unresolved, staff):
    assert money_of(staff, unresolved)["On its way back to the customer"] == "40.00 USD"


def test_a_payment_without_reviews_shows_no_empty_section(paid, staff):
    text = staff.read(paid)
    assert "Review items" not in text
    assert '<details class="shop-payments-raw">' in text
    assert text.index("Timeline") < text.index("Requests to Stripe")
