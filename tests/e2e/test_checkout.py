"""The checkout pages, as customers meet them: no webhook ever reaches the shop.

The content security policy of every page is strict, and nothing may violate it.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Error, expect
from pytest_django.live_server_helper import LiveServer

from shop_payments.models import Order, OrderPayment
from shop_payments.sandbox import Sandbox, SandboxServer
from tests.e2e.checkout import DECLINED, THREE_D_SECURE, Customer

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

TYPES = ["card", "amazon_pay", "us_bank_account"]
SAYS_PREPARED = "Nothing was charged. Please enter your payment details again."
NOT_COMPLETED = "The payment was not completed. Please try again"


@pytest.fixture
def sandbox(configure):
    with SandboxServer(Sandbox()) as server:
        configure(
            STRIPE_API_BASE=server.url, STRIPE_TRANSPORT=None, ALLOWED_PAYMENT_METHOD_TYPES=TYPES
        )
        yield server


@pytest.fixture
def shop(page, settings):
    """A server for one test: `live_server` would have the middleware of an earlier one."""
    locale = "django.middleware.locale.LocaleMiddleware"
    settings.MIDDLEWARE = ["tests.e2e.checkout.StrictPolicy", *settings.MIDDLEWARE, locale]
    server = LiveServer("localhost")
    yield server
    server.stop()


@pytest.fixture
def customer(page, shop, sandbox, order):
    customer = Customer(page, shop.url, sandbox, order)
    yield customer
    assert customer.violations == []


# --- cards --------------------------------------------------------------------------------------


def test_a_good_card_pays_once_although_pay_is_pressed_twice(customer, paid_signals):
    customer.open()
    expect(customer.pay_button).to_have_accessible_name("Pay 112.00\N{NO-BREAK SPACE}USD")
    customer.enter_card()
    began = time.monotonic()
    customer.pay_button.dblclick()

    customer.sees("paid")

    assert time.monotonic() - began < 10
    assert customer.charged() == [11200]
    assert len(paid_signals) == 1
    assert "secret" not in customer.page.url


def test_a_declined_card_and_then_a_good_one(customer):
    customer.open()
    customer.pay(DECLINED)
    expect(customer.message).to_have_text("Your card was declined.")
    expect(customer.message).to_be_focused()
    expect(customer.pay_button).to_be_enabled()

    customer.pay()

    customer.sees("paid")
    assert customer.charged() == [11200]


def test_3d_secure_fails_and_another_card_pays(customer):
    customer.open()
    customer.pay(THREE_D_SECURE)
    customer.challenge().get_by_role("button", name="Fail authentication").click()
    expect(customer.message).to_contain_text(NOT_COMPLETED)
    expect(customer.message).to_be_focused()

    customer.pay()

    customer.sees("paid")
    assert customer.charged() == [11200]


def test_two_tabs_make_one_charge_and_both_end_on_paid(customer):
    page, other = customer.page, customer.new_page()
    for tab in (page, other):
        customer.open(tab)
        customer.enter_card(THREE_D_SECURE, tab)
    for tab in (page, other):
        customer.pay_button_of(tab).click()
        customer.challenge(tab).get_by_role("button", name="Complete").wait_for()

    # The second attempt has replaced the first one at Stripe.
    customer.challenge(other).get_by_role("button", name="Complete").click()

    customer.sees("paid", other)
    customer.sees("paid")
    assert customer.charged() == [11200]


def test_a_second_tab_finds_out_that_the_order_is_paid(customer):
    other = customer.new_page()
    customer.open(other).enter_card(page=other)
    customer.open().pay()
    customer.sees("paid")

    customer.pay_button_of(other).click()

    customer.sees("paid", other)
    assert customer.charged() == [11200]


def test_the_tab_is_closed_before_the_shop_knows(customer):
    page = customer.page
    customer.open().enter_card()
    page.route("**/result/**", lambda route: route.abort())
    customer.pay_button.click()
    page.wait_for_event("requestfailed")
    assert customer.charged() == [11200]
    again = customer.new_page()
    page.close()
    again.goto(customer.link)

    customer.sees("paid", again)
    assert customer.charged() == [11200]


# --- redirects ----------------------------------------------------------------------------------


def choose_amazon_pay(customer):
    customer.open()
    customer.form().get_by_label("Amazon Pay").check()
    customer.pay_button.click()
    customer.page.wait_for_url("http://127.0.0.1:*/**")


def test_a_customer_returns_from_another_site(customer):
    page = customer.page
    choose_amazon_pay(customer)
    page.get_by_role("button", name="Authorize").click()

    customer.sees("paid")

    assert page.url.startswith(customer.shop)
    assert "payment_intent" not in page.url
    assert "secret" not in page.url
    page.reload()
    customer.sees("paid")
    token = customer.link.partition("token=")[2]
    for request in customer.requests:
        if not request.url.startswith(customer.shop):
            referer = request.headers.get("referer", "")
            assert token not in referer
            assert "_secret_" not in referer


def test_a_customer_returns_without_paying(customer):
    choose_amazon_pay(customer)
    customer.page.get_by_role("button", name="Fail").click()
    customer.sees("failed")

    customer.page.get_by_role("link", name="Try again").click()
    expect(customer.pay_button).to_be_enabled()
    customer.pay()

    customer.sees("paid")


@pytest.mark.parametrize("cookies", ["strict", "lost"])
def test_a_signed_in_customer_returns_without_cookies(customer, client, settings, cookies):
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    client.force_login(customer.order.customer)
    session = {
        "name": "sessionid",
        "value": client.cookies["sessionid"].value,
        "url": customer.shop,
        "sameSite": "Strict",
        "httpOnly": True,
    }
    customer.page.context.add_cookies([session])
    customer.link = customer.link.partition("?")[0]
    choose_amazon_pay(customer)
    if cookies == "lost":
        customer.page.context.clear_cookies()

    customer.page.get_by_role("button", name="Authorize").click()

    customer.sees("paid")
    shown = customer.page.content()
    assert customer.order.customer.username not in shown
    assert customer.order.email not in shown


def test_a_url_that_says_succeeded_proves_nothing(customer):
    customer.open()
    result = customer.link.replace("/?", "/result/?")
    customer.page.goto(f"{result}&redirect_status=succeeded&payment_intent=pi_1")
    customer.sees("unpaid")
    assert "redirect_status" not in customer.page.url
    assert OrderPayment.objects.get().status == "unpaid"


# --- delayed payments ---------------------------------------------------------------------------


FAST = """
if (location.pathname.endsWith("/result/")) {
    const later = setTimeout;
    window.waits = [];
    window.setTimeout = (task, milliseconds) => {
        waits.push(milliseconds / 1000);
        return later(task, milliseconds / 200);
    };
}
"""
"""Lets the result page's time pass 200 times as fast, and keeps the seconds that it waits."""


@pytest.fixture
def pending(customer):
    """A customer with a bank account, on the pay page."""
    customer.page.add_init_script(FAST)
    customer.open()
    form = customer.form()
    form.get_by_label("US bank account").check()
    form.get_by_label("Full name").fill("Jenny Rosen")
    form.get_by_label("Email").fill("jenny@example.com")
    return customer


def test_a_pending_payment_is_asked_for_at_growing_gaps_up_to_a_limit(pending):
    page = pending.page
    pending.pay_button.click()
    pending.sees("pending")
    expect(page.get_by_role("button")).to_have_count(0)
    assert "several business days" in page.inner_text("main")

    expect(page.get_by_role("status")).to_contain_text("You can close this page", timeout=60_000)

    waits = page.evaluate("waits")
    assert waits == sorted(waits)
    assert (len(waits), waits[0], waits[-1]) == (14, 2, 120)
    assert len(pending.asked("status")) == 14


def test_retry_after_is_obeyed(pending):
    busy = {"status": 503, "headers": {"Retry-After": "300"}, "body": "{}"}
    pending.page.route("**/status/**", lambda route: route.fulfill(**busy), times=1)

    pending.pay_button.click()

    pending.page.wait_for_function("() => window.waits?.length >= 3")
    assert pending.page.evaluate("waits.slice(0, 3)") == [2, 300, 5]


def test_the_page_shows_when_the_bank_has_answered(pending):
    pending.pay_button.click()
    pending.sees("pending")
    pending.sandbox.sandbox.advance_clock(600)
    pending.sees("paid")


# --- what changes meanwhile ---------------------------------------------------------------------


def test_the_total_changes_after_the_page_was_loaded(customer):
    customer.open().enter_card()
    customer.order.lines.update(unit_amount=6000)

    customer.pay_button.click()

    expect(customer.message).to_contain_text("The amount has changed to 120.00")
    expect(customer.message).to_be_focused()
    expect(customer.pay_button).to_have_accessible_name("Pay 120.00\N{NO-BREAK SPACE}USD")
    assert "2 × 60.00" in customer.page.inner_text("main")
    assert customer.charged() == []
    customer.pay_button.click()
    customer.sees("paid")
    assert customer.charged() == [12000]


def test_an_amount_in_another_language_is_no_change(customer):
    customer.page.set_extra_http_headers({"Accept-Language": "de"})
    customer.open().enter_card()
    customer.page.set_extra_http_headers({"Accept-Language": "en"})

    customer.pay_button.click()

    customer.sees("paid")


def test_the_page_is_loaded_again_when_the_link_expires_also_with_a_fragment(customer):
    page = customer.page
    customer.link += "#pay"
    customer.open().enter_card()
    expired = {"status": 410, "json": {"state": "expired"}}
    page.route("**/checkout/**", lambda route: route.fulfill(**expired), times=1)

    with page.expect_event("load"):
        customer.pay_button.click()


def test_the_order_is_cancelled_after_the_page_was_loaded(customer):
    customer.open().enter_card()
    customer.cancel_order()

    customer.pay_button.click()

    customer.sees("cancelled")
    assert customer.charged() == []


def test_the_order_is_cancelled_while_money_is_on_its_way(customer):
    customer.open()
    customer.pay(THREE_D_SECURE)
    complete = customer.challenge().get_by_role("button", name="Complete")
    complete.wait_for()
    customer.cancel_order()
    complete.click()

    customer.sees("in_review")

    shown = customer.page.inner_text("main")
    assert "was received. The shop will contact you" in shown
    assert "Thank" not in shown


@pytest.mark.parametrize("what", ["canceled", "succeeded", "unknown"])
def test_confirming_an_intent_that_is_over(customer, what):
    """The shop's last answer is old: the intent changes between it and the confirmation."""
    page = customer.page
    customer.open().enter_card()
    (intent,) = customer.at_stripe()
    path = f"payment_intents/{intent['id']}"
    answers: list[Any] = []

    def change(route):
        if answers or route.request.method != "POST":
            route.continue_()
            return
        answers.append(route.fetch())
        if what == "canceled":
            customer.call("POST", f"{path}/cancel")
        elif what == "succeeded":
            customer.call("POST", f"{path}/confirm", payment_method="pm_card_visa")
        route.fulfill(response=answers[0])

    if what == "unknown":
        page.route("**/confirm", lambda route: route.fulfill(status=404, json=UNKNOWN), times=1)
    page.route("**/checkout/**", change)
    customer.pay_button.click()

    if what == "succeeded":
        customer.sees("paid")
        assert customer.charged() == [11200]
        return
    expected = SAYS_PREPARED if what == "canceled" else NOT_COMPLETED
    expect(customer.message).to_contain_text(expected)
    assert "payment_intent" not in customer.message.inner_text()
    expect(customer.pay_button).to_be_enabled()
    customer.form().get_by_label("Card number").click()  # by then, a new form has sent its change
    expect(customer.message).to_contain_text(expected)
    customer.pay()
    customer.sees("paid")
    assert customer.charged() == [11200]


def test_an_unknown_outcome_is_not_called_nothing_charged(customer, configure):
    """Stripe charges, but its answer is lost, and then the shop cannot ask Stripe either."""
    page = customer.page
    customer.open().enter_card()

    def lose_the_answer(route):
        route.fetch()
        configure(STRIPE_API_BASE="http://127.0.0.1:9")
        route.abort()

    page.route("**/confirm", lose_the_answer)
    customer.pay_button.click()

    customer.sees("unavailable")
    shown = page.inner_text("main")
    assert "Nothing was charged" not in shown
    assert "do not pay again" in shown
    configure(STRIPE_API_BASE=customer.sandbox.url)
    customer.sees("paid")
    assert customer.charged() == [11200]


UNKNOWN = {
    "error": {
        "type": "invalid_request_error",
        "code": "resource_missing",
        "message": "No such payment_intent: 'pi_1'",
    }
}


def test_going_back_after_the_payment_shows_no_form(customer):
    customer.open().pay()
    customer.sees("paid")

    customer.page.go_back()

    customer.sees("paid")
    expect(customer.page.get_by_role("button")).to_have_count(0)


def test_a_page_from_the_browsers_memory_is_loaded_again(customer):
    customer.open()
    Order.objects.update(status=Order.Status.CANCELLED)
    customer.page.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    customer.sees("cancelled")


# --- what does not work -------------------------------------------------------------------------


def assert_gives_up(customer, words):
    expect(customer.message).to_contain_text(words, timeout=10_000)
    expect(customer.message).to_be_focused()
    expect(customer.pay_button).to_be_disabled()
    expect(customer.page.get_by_role("button", name="Try again")).to_be_visible()
    assert f"contact the shop and mention the order {customer.order.number}" in (
        customer.page.inner_text("main")
    )


@pytest.mark.parametrize("how", ["blocked", "silent", "silent frame"])
def test_stripe_js_does_not_load(customer, how, caplog):
    page = customer.page
    pattern = "**/payment_element.html" if how == "silent frame" else "**/stripe.js"
    page.route(pattern, lambda route: route.abort() if how == "blocked" else None)
    page.goto(customer.link, wait_until="domcontentloaded")

    assert_gives_up(customer, "The payment form could not be loaded.")

    if how == "blocked":
        page.unroute(pattern)
        page.get_by_role("button", name="Try again").click()
        expect(customer.pay_button).to_be_enabled()
    assert f"checkout problem: order={customer.order.pk} problem=not_loaded" in caplog.text


def test_a_publishable_key_that_stripe_does_not_know(customer, configure, caplog):
    configure(STRIPE_PUBLISHABLE_KEY="pk_test_")
    customer.page.goto(customer.link)
    assert_gives_up(customer, "The shop's connection to the payment provider does not work.")
    assert f"checkout problem: order={customer.order.pk} problem=not_set_up" in caplog.text


def test_a_publishable_key_of_another_account(customer, configure, sandbox, caplog):
    with SandboxServer(Sandbox()) as other:
        configure(STRIPE_JS_URL=f"{other.url}/v3/")
        customer.page.goto(customer.link)
        assert_gives_up(customer, "The shop's connection to the payment provider does not work.")
    assert "problem=not_set_up" in caplog.text


def test_the_shop_cannot_reach_stripe(customer, configure):
    configure(STRIPE_API_BASE="http://127.0.0.1:9", STRIPE_JS_URL=f"{customer.sandbox.url}/v3/")
    customer.page.goto(customer.link)
    assert_gives_up(customer, "The payment is not available at the moment.")


def test_cookies_are_blocked(customer, settings):
    settings.CSRF_COOKIE_DOMAIN = "another.example"
    customer.page.goto(customer.link)
    assert_gives_up(customer, "Please allow cookies")


def test_without_javascript(customer):
    context = customer.page.context.browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(customer.link)
    assert "This page needs JavaScript" in page.locator("noscript").inner_text()
    expect(customer.pay_button_of(page)).to_be_disabled()
    assert customer.at_stripe() == []
    context.close()


# --- for everybody ------------------------------------------------------------------------------


def test_the_form_is_in_the_language_of_the_page(customer):
    customer.page.set_extra_http_headers({"Accept-Language": "de"})
    customer.open()
    expect(customer.pay_button).to_have_accessible_name("Bezahlen: 112,00\N{NO-BREAK SPACE}USD")
    countries = customer.form().get_by_label("Country").inner_text()
    assert "Vereinigte Staaten" in countries


def test_the_policy_is_in_force(customer):
    response = customer.page.goto(customer.link)
    policy = response.headers["content-security-policy"]
    assert f"script-src 'self' {customer.sandbox.url};" in policy
    assert "unsafe" not in policy
    with pytest.raises(Error, match="Content Security Policy"):
        customer.page.add_script_tag(content="1")
    assert len(customer.violations) == 1
    customer.violations.clear()


def test_nothing_but_stripe_js_is_loaded_from_outside(customer):
    customer.open().pay()
    customer.sees("paid")
    outside = {request.url for request in customer.requests}
    outside = {url for url in outside if not url.startswith(customer.shop)}
    assert {url.startswith(customer.sandbox.url) for url in outside} == {True}
    loaded = [each for each in customer.requests if each.frame == customer.page.main_frame]
    scripts = [each.url for each in loaded if each.resource_type == "script"]
    assert {url for url in scripts if not url.startswith(customer.shop)} == {
        f"{customer.sandbox.url}/js.stripe.com/endive/stripe.js"
    }


AXE = os.environ.get("AXE_CORE", "")


@pytest.mark.skipif(not AXE, reason="needs axe-core: AXE_CORE is the path of axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(customer, scheme):
    page = customer.page
    page.emulate_media(color_scheme=scheme)

    def check() -> None:
        found = page.evaluate(f"{Path(AXE).read_text()}; axe.run()")["violations"]
        serious = [each for each in found if each["impact"] in ("serious", "critical")]
        assert serious == [], json.dumps(serious, indent=1)

    customer.open()
    check()
    customer.pay(DECLINED)
    expect(customer.message).not_to_be_empty()
    check()
    customer.pay()
    customer.sees("paid")
    check()
