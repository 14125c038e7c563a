"""An hour of a bookkeeper's morning: sixty orders in every state, a browser and the desk.

The questions that staff ask are in ``QUESTIONS``, each with the clicks that answer it.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.urls import reverse
from django.utils import timezone

from shop_payments import signals
from shop_payments.admin.actions import ACTIONS
from shop_payments.admin.item_actions import ITEM_ACTIONS
from shop_payments.admin.tasks import PaymentState
from shop_payments.models import Dispute, OrderPayment, Refund, ReviewItem, StaffNote
from shop_payments.money import from_minor_units
from shop_payments.sync.balance_transactions import fetch_fees
from tests.admin.support import Staff, links_of
from tests.books import refunds_at_stripe
from tests.e2e.desk import Desk, balance_of, staff_user
from tests.e2e.morning import FORMULA, SCRIPT, Morning, refuse_gifts
from tests.support import call_stripe

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

AXE = os.environ.get("AXE_CORE", "")


@pytest.fixture
def morning(stripe, webhooks, configure) -> Iterator[Morning]:
    """The shop as staff find it."""
    signals.order_paid.connect(refuse_gifts)
    shop = Morning(stripe, configure)
    shop.play()
    yield shop
    signals.order_paid.disconnect(refuse_gifts)


@pytest.fixture
def desk(morning, page, live_server) -> Iterator[Desk]:
    """The browser of a superuser."""
    desk = Desk(page, live_server.url, morning.stripe)
    desk.sit_down(staff_user("root"))
    yield desk
    assert desk.problems == []


# --- the queue ----------------------------------------------------------------------------------


def test_they_work_the_queue_to_empty(morning, desk, stripe):
    assert len(morning.orders) == 60
    # With a test key, an intent that is missing at Stripe is replaced without asking staff.
    missing = {*ReviewItem.Reason} - {*ReviewItem.objects.values_list("reason", flat=True)}
    assert missing == {ReviewItem.Reason.INTENT_MISSING}
    desk.page.context.clear_cookies()
    desk.log_in("root")
    for words in (
        "2: the customer's bank disputes the payment (1 past due, next deadline ",
        "1: the authorization expires soon (until ",
        "2: more was received than the order costs",
        "1: a message from Stripe cannot be processed and was set aside",
    ):
        assert words in desk.shown

    left = ReviewItem.objects.open().count()
    desk.go("reviewitem/")
    while desk.rows.count():
        resolve_first(desk)
        stripe.deliver_due()
        desk.go("reviewitem/")
        assert desk.rows.count() < left
        left = desk.rows.count()
    assert not ReviewItem.objects.open().exists()
    twice = OrderPayment.objects.get(order__number="TWICE")
    assert (twice.status, twice.amount_excess) == ("paid", 0)
    assert [each.amount for each in twice.refunds.all()] == [11200]

    stripe.advance_clock(24 * 60 * 60)  # Stripe has sent again what could not be processed
    stripe.deliver_due()
    desk.go("reviewitem/")
    assert "will be tried again" not in desk.shown
    desk.click("1: a message from Stripe cannot be processed and was set aside")
    desk.run("Process the selected events again")
    desk.fill_in()
    assert "set aside for staff" in desk.page.locator(".messagelist").inner_text()
    desk.run("Skip the selected events")
    desk.fill_in()
    desk.go()
    desk.click("1: it is not known whether Stripe has carried out a request")
    desk.follow(desk.rows.locator("th a"))
    desk.click("UNRESOLVED")
    desk.click("Give up the refund of 40.00 USD")
    desk.fill_in()
    desk.go()
    assert "Payments to review" not in desk.shown
    assert "To review (0)" in desk.shown
    desk.go("reviewitem/?state=closed")
    assert "staff" not in desk.rows.filter(has_text="REFUND-FAILED").inner_text()
    closed = desk.rows.filter(has_text="REFUND-FAILED").inner_text()
    assert " – root, " in closed
    assert "UTC: Agreed by telephone." in closed


def resolve_first(desk: Desk) -> None:
    """Work on the first item with the button that it suggests, or close it with a reason."""
    page, row = desk.page, desk.rows.first
    button = row.locator("a.shop-payments-button")
    if button.inner_text() == "Correct the order":
        desk.follow(button)
        page.locator("input[name=lines-0-name]").fill("Goods")
        with page.expect_navigation():
            page.get_by_role("button", name="Save", exact=True).click()
        return
    if button.get_attribute("target") or button.inner_text() == "Open":
        desk.follow(row.locator("a").first)
        button = page.locator(".shop-payments-actions a.shop-payments-suggested:not([target])")
        if button.count() == 0:
            button = page.locator(".shop-payments-actions a").filter(has_text="Close")
    desk.follow(button)
    desk.fill_in()


# --- finding, refunding -------------------------------------------------------------------------


def test_they_find_a_payment_refund_it_once_and_add_up_the_month(morning, desk, stripe):
    desk.go("orderpayment/")
    for words in ("Anna Schmidt", "schmidt", "ANNA.SCH"):
        (row,) = desk.search(words)
        assert "ANNA-1" in row
    assert any("ANNA-1" in row for row in desk.search("visa 4242"))
    assert all("4444" in row for row in desk.search("mastercard 4444"))
    before = len(refunds_at_stripe(stripe))

    desk.search("anna")
    desk.click("ANNA-1 Anna Schmidt")
    desk.click("Refund")
    desk.page.get_by_label("Amount").fill("40.00")
    desk.fill_in(double=True)
    desk.page.get_by_text("40.00 USD is refunded to the customer.").first.wait_for()
    for _step in range(2):
        desk.page.go_back()
        desk.page.get_by_text("40.00 USD is refunded to the customer.").first.wait_for()
        assert desk.page.locator("input[name=amount]").count() == 0

    assert [each["amount"] for each in refunds_at_stripe(stripe)[before:]] == [4000]
    figures = desk.fields()
    assert figures["Refunded"] == "40.00 USD"
    assert figures["Received, less refunded and lost"] == "72.00 USD"

    check_figures(desk)
    check_balance(desk, stripe)


def check_figures(desk: Desk) -> None:
    """Received, less refunded and lost: the same in list, page, file and overview."""
    desk.go("orderpayment/")
    payments = {row["Order"]: row for row in desk.download()}
    kept: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in payments.values():
        kept[row["Currency"]] += Decimal(row["Received, less refunded and lost"] or 0)

    desk.go("orderpayment/overview/?days=30")
    for section in desk.page.locator("section").all():
        currency = section.locator("h2").inner_text().partition(",")[0]
        shown = section.locator("tr").filter(has_text="Received, less refunded and lost").first
        (amount, of) = shown.locator("td").first.inner_text().split()
        assert (of, Decimal(amount)) == (currency, kept.pop(currency))
    assert set(kept.values()) <= {0}

    for currency, left in (("USD", "212.00"), ("JPY", "9500"), ("ISK", "900"), ("KWD", "8.740")):
        for number, money in ((f"RETURNED-{currency}", left), (f"LOST-{currency}", "")):
            figure = payments[number]["Received, less refunded and lost"]
            money = money or f"{from_minor_units(0, currency):f}"
            desk.go(f"orderpayment/?q={number}")
            assert f"{money} {currency} of it kept" in desk.rows.inner_text()
            desk.go_to_payment(number)
            assert desk.fields()["Received, less refunded and lost"] == f"{figure} {currency}"
            assert figure == money


def check_balance(desk: Desk, stripe: Any) -> None:
    """The files of two months, which have everything, add up to the balance at Stripe."""
    # A payment that is not known here is not in our books.
    desk.go(f"reviewitem/{ReviewItem.objects.get(reason='unknown_intent').pk}/accept/")
    desk.fill_in()
    fetch_fees(since=timezone.now() - timedelta(days=30))
    net: defaultdict[str, Decimal] = defaultdict(Decimal)
    for month in ("this month", "last month"):
        desk.go()
        desk.click("Records")
        desk.click("Balance transactions")
        desk.follow(desk.page.locator("#changelist-filter").get_by_role("link", name=month))
        for row in desk.download():
            assert row["Mode"] == "test"
            net[row["Currency"]] += Decimal(row["Net"])
    there = balance_of(call_stripe(stripe, "GET", "balance"))
    assert net == {each.upper(): from_minor_units(there[each], each) for each in there}


# --- questions ----------------------------------------------------------------------------------

QUESTIONS: list[tuple[str, list[str], str]] = [
    ("Did Anna pay?", ["Payments", "? anna"], "112.00 USD received"),
    ("With which card?", ["Payments", "? anna"], "Visa •4242"),
    ("Why was this declined?", ["Payments", "? DECLINED-2"], "declined: insufficient funds"),
    ("What is due before Friday?", ["To review (16)"], "99.00 USD\nuntil "),
    ("What is still owed on DEPOSIT-1?", ["Payments", "? DEPOSIT-1"], "50.00 USD outstanding"),
    ("Did Bob get his money back?", ["Payments", "? bob jones"], "0.00 USD of it kept"),
    ("Why did Carla's refund fail?", ["To review (16)"], "expired or canceled card"),
    ("What must we capture?", ["Payments", "to capture"], "240.00 USD reserved"),
    ("What came in this week?", ["Overview", "7 days"], "Received\t1435.00 USD"),
    ("Is the bank debit through?", ["Payments", "? DEBIT"], "pending"),
    (
        "Which messages were lost?",
        ["1: a message from Stripe cannot be processed and was set aside"],
        "set aside for staff",
    ),
]
"""What staff ask, what they click from the first page on (``?`` is a search), and the answer."""


def test_ten_questions_are_answered_in_two_clicks(morning, desk):
    for question, clicks, answer in QUESTIONS:
        desk.go()
        for click in clicks:
            if click.startswith("? "):
                desk.search(click.removeprefix("? "))
            else:
                desk.click(click)
        assert answer in desk.shown, question
        assert len(clicks) <= 2


# --- permissions --------------------------------------------------------------------------------

VIEW = ("view_orderpayment", "view_reviewitem", "view_order", "view_refund", "view_dispute")


def test_they_see_exactly_their_buttons_and_nothing_else_is_allowed(morning, stripe):
    before = len(stripe.requests)
    viewer, refunder = staff_with(*VIEW), staff_with(*VIEW, "add_refund")
    # These lead elsewhere, and the last one is for the customer.
    free = {"Answer in the Stripe dashboard", "Correct the order", "Copy payment link"}
    assert buttons_of(viewer) == free
    refunds = buttons_of(refunder) - free
    assert {"Refund", "Refund 10.00 USD", "Give up the refund of 40.00 USD"} < refunds
    assert all(each.startswith(("Refund", "Give up the refund")) for each in refunds)

    for name, urls in urls_of_actions().items():
        assert urls, name
        may = {"refund", "give_up"} & {name}
        for url in urls[:5]:
            for staff in (viewer,) if may else (viewer, refunder):
                answers = staff.get(url).status_code, staff.post(url).status_code
                assert answers == (403, 403), url
            assert not may or refunder.get(url).status_code in (200, 302)
    assert len(stripe.requests) == before


def staff_with(*codenames: str) -> Staff:
    staff = Staff()
    staff.force_login(staff_user(f"clerk with {len(codenames)}", *codenames))
    return staff


def buttons_of(staff: Staff) -> set[str]:
    """The labels of the buttons on all pages of payments, items and refunds."""
    rows = [*OrderPayment.objects.all(), *ReviewItem.objects.open(), *Refund.objects.all()]
    return {label for row in rows for label in links_of(staff, row)}


def urls_of_actions() -> dict[str, list[str]]:
    """The pages of each action, whether it is offered or not."""
    found: dict[str, list[str]] = {name: [] for name in ACTIONS}
    for payment in OrderPayment.objects.all():
        state = PaymentState.read(payment)
        for name, action in ACTIONS.items():
            for target in action.targets(state):
                args = [payment.pk, *([target.pk] if action.has_row else [])]
                url = reverse(f"admin:shop_payments_orderpayment_{name}", args=args)
                found[name].append(url)
    for name in ("close", *(action.name for action in ITEM_ACTIONS)):
        page = f"admin:shop_payments_reviewitem_{name}"
        found[name] = [reverse(page, args=[item.pk]) for item in ReviewItem.objects.all()]
    return found


# --- every page ---------------------------------------------------------------------------------


def pages() -> list[str]:
    """A page of each kind."""
    payments = {each.order.number: each for each in OrderPayment.objects.select_related("order")}
    twice, hold = payments["TWICE"], payments["HOLD-1"]
    disputed = ReviewItem.objects.get(order_payment=payments["DISPUTED"])
    names = ("TWICE", "RETURNED-USD", "DISPUTED", "TEXT-1", "UNREAD-1")
    return [
        *("reviewitem/", "orderpayment/", "order/", "refund/", "dispute/", "apikey/"),
        "apikey/add/",
        *("orderpayment/overview/", "orderpayment/records/", "balancetransaction/"),
        *("webhookevent/", "stripeattempt/", "paymenthistory/", "paymentintent/", "staffentry/"),
        *(f"orderpayment/{payments[name].pk}/change/" for name in names),
        f"orderpayment/{twice.pk}/refund/{twice.payment_intents.latest('pk').pk}/",
        f"orderpayment/{twice.pk}/settle/{twice.payment_intents.latest('pk').pk}/",
        f"orderpayment/{hold.pk}/capture/{hold.payment_intents.get().pk}/",
        f"orderpayment/{hold.pk}/cancel/{hold.payment_intents.get().pk}/",
        f"orderpayment/{payments['DEPOSIT-1'].pk}/waive/",
        f"orderpayment/{twice.pk}/note/",
        f"reviewitem/{disputed.pk}/change/",
        f"reviewitem/{disputed.pk}/close/",
        f"reviewitem/{ReviewItem.objects.get(reason='unknown_intent').pk}/accept/",
        f"order/{payments['TEXT-2'].order_id}/change/",
        f"refund/{Refund.objects.latest('created_at').pk}/change/",
        f"dispute/{Dispute.objects.latest('pk').pk}/change/",
        f"paymentintent/{twice.payment_intents.latest('pk').pk}/change/",
    ]


OUTSIDE = """() => [...document.querySelectorAll(
    "h1, h2, .button, .object-tools a, .shop-payments-badge, .readonly, .submit-row *"
    + ", .messagelist li, .aligned textarea, .shop-payments-timeline li, .shop-payments-rows td"
)].filter((each) => {
    const box = each.getBoundingClientRect();
    return box.width && (box.left < 0 || box.right > window.innerWidth);
}).map((each) => each.outerHTML.slice(0, 200))"""


def test_every_page_fits_a_telephone_and_asks_nothing_of_stripe(morning, desk):
    desk.page.set_viewport_size({"width": 390, "height": 844})
    for path in ["", *pages()]:
        desk.go(path)
        assert desk.page.evaluate("document.documentElement.scrollWidth") <= 390, path
        assert desk.page.evaluate(OUTSIDE) == [], path
        assert "taken over" not in desk.page.title()
    for model in ("reviewitem", "orderpayment", "order", "refund", "dispute"):
        desk.go(f"{model}/")
        inside = "element => element.scrollWidth <= element.clientWidth"
        assert desk.page.locator(".results").evaluate(inside), model
    for model in ("reviewitem", "orderpayment", "refund", "dispute", "stripeattempt"):
        desk.page.set_viewport_size({"width": 1280, "height": 900})
        desk.go(f"{model}/")
        assert desk.page.locator(".results").evaluate(inside), model


@pytest.mark.skipif(not AXE, reason="needs axe-core: AXE_CORE is the path of axe.min.js")
def test_axe_finds_nothing_serious(morning, desk):
    script = Path(AXE).read_text(encoding="utf-8")
    serious = []
    for path in ["", *pages()]:
        desk.go(path)
        desk.page.add_style_tag(content="* { transition: none !important }")  # colours fade
        desk.page.evaluate(script)
        for scheme, only in (("light", "undefined"), ("dark", "['color-contrast']")):
            desk.page.emulate_media(color_scheme=scheme)
            options = f"{{resultTypes: ['violations'], runOnly: {only}}}"
            for each in desk.page.evaluate(f"axe.run({options})")["violations"]:
                if each["impact"] in ("serious", "critical"):
                    nodes = [node["html"] for node in each["nodes"]]
                    serious.append((path, scheme, each["id"], nodes))
    assert serious == [], json.dumps(serious, indent=1)


# --- text ---------------------------------------------------------------------------------------


def test_a_note_survives_an_expired_session_and_is_text_everywhere(morning, desk):
    text = f"{SCRIPT}\n{FORMULA}"
    desk.go_to_payment("TEXT-1")
    assert f"{SCRIPT} Smith" in desk.shown
    desk.click("Add a note")
    desk.page.locator("textarea").fill(text)
    Session.objects.all().delete()
    desk.page.get_by_role("button", name="Add the note").click()
    desk.log_in("root")
    desk.page.wait_for_url("**/note/**")
    assert desk.page.locator("textarea").input_value() == text
    assert not StaffNote.objects.exists()

    desk.fill_in(text=text)

    assert StaffNote.objects.get().text.splitlines() == text.splitlines()
    assert f"Note: {SCRIPT}" in desk.shown
    assert FORMULA in desk.shown
    assert "by root" in desk.shown
    desk.go("orderpayment/?q=TEXT-2")
    assert FORMULA in desk.rows.inner_text()
    (row,) = desk.download()
    assert row["Customer"] == f"'{FORMULA}"
    assert "taken over" not in desk.page.title()
