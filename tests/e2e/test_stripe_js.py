"""The sandbox's stand-in for Stripe.js, on a page with a strict content security policy."""

from __future__ import annotations

import time
from urllib.parse import parse_qs, urlsplit

import pytest

from shop_payments.sandbox import Fault, Sandbox, SandboxServer
from tests.e2e.shop_page import Checkout, Shop

pytestmark = pytest.mark.browser

DECLINED = "4000000000000002"
THREE_D_SECURE = "4000000000003220"


@pytest.fixture
def page(shared_browser):
    """A page of a browser without any past."""
    context = shared_browser.new_context()
    yield context.new_page()
    context.close()


@pytest.fixture
def script():
    """The address of the script, on Stripe's host."""
    return "/v3/"


@pytest.fixture
def shop(script):
    with SandboxServer(Sandbox()) as server, Shop(server, script) as shop:
        yield shop


@pytest.fixture
def checkout(page, shop):
    checkout = Checkout(page, shop)
    yield checkout
    checkout.assert_no_violations()


def came_back_with(page, intent):
    """Wait for the redirect to the shop, and return the redirect status."""
    page.wait_for_url("**/done?*")
    query = parse_qs(urlsplit(page.url).query)
    assert query["order"] == ["9"]
    assert query["payment_intent"] == [intent["id"]]
    assert query["payment_intent_client_secret"] == [intent["client_secret"]]
    return query["redirect_status"][0]


def back(shop):
    return {"confirmParams": {"return_url": f"{shop.url}/done?order=9"}}


# Cards


def test_a_card_pays(checkout, shop):
    intent = shop.create_intent("card")
    checkout.open(intent)
    assert not checkout.form.get_by_label("Amazon Pay").is_visible()
    assert "Sandbox: no real payment" in checkout.form.locator("body").inner_text()

    checkout.enter_card()
    change = checkout.wait_for("change")
    result = checkout.pay()

    assert change == {
        "elementType": "payment",
        "collapsed": False,
        "complete": True,
        "empty": False,
        "value": {"type": "card"},
    }
    assert result["paymentIntent"]["status"] == "succeeded"
    assert "latest_charge" not in result["paymentIntent"]
    assert shop.status_of(intent) == "succeeded"


def test_a_declined_card_and_then_a_good_one(checkout, shop):
    intent = shop.create_intent("card")
    checkout.open(intent).enter_card(DECLINED)

    error = checkout.pay(**back(shop), redirect="always")["error"]
    checkout.enter_card()
    paid = checkout.pay()

    assert (error["type"], error["code"]) == ("card_error", "card_declined")
    assert (error["decline_code"], error["message"]) == (
        "generic_decline",
        "Your card was declined.",
    )
    assert error["payment_intent"]["status"] == "requires_payment_method"
    assert error["payment_method"]["card"]["last4"] == "0002"
    assert paid["paymentIntent"]["status"] == "succeeded"


def test_leaving_a_field_is_no_change(checkout, shop):
    """Otherwise a click on Pay would undo `elements.submit()`."""
    group = {"mode": "payment", "amount": 11200, "currency": "usd"}
    checkout.open(group=group).enter_card("378282246310005")
    form, page = checkout.form, checkout.page
    form.get_by_label("Security code").fill("1234")
    assert form.get_by_label("Card number").input_value() == "3782 822463 10005"
    number = page.evaluate("events.length")

    page.evaluate("elements.submit()")
    form.get_by_label("Postal code").focus()
    form.get_by_label("Card number").focus()
    secret = shop.create_intent("card")["client_secret"]

    assert checkout.pay(clientSecret=secret)["paymentIntent"]["status"] == "succeeded"
    assert page.evaluate("events.length") == number


def test_what_is_entered_is_checked_first(checkout, shop):
    checkout.open(shop.create_intent("card"))

    empty = checkout.pay()["error"]
    checkout.enter_card("4242424242424241")
    wrong = checkout.page.evaluate("elements.submit()")["error"]
    checkout.form.get_by_label("Card number").fill("4242424242424242")
    checkout.form.get_by_label("Expiration date").fill("12/20")
    past = checkout.page.evaluate("elements.submit()")["error"]
    checkout.form.get_by_label("Expiration date").fill("1299")
    checkout.form.get_by_label("Security code").fill("12")
    short = checkout.page.evaluate("elements.submit()")["error"]
    checkout.form.get_by_label("Security code").fill("123")

    assert empty == {
        "type": "validation_error",
        "code": "incomplete_number",
        "message": "Your card number is incomplete.",
    }
    assert wrong["code"] == "invalid_number"
    assert past["code"] == "invalid_expiry_year_past"
    assert short["code"] == "incomplete_cvc"
    assert checkout.page.evaluate("elements.submit()") == {"selectedPaymentMethod": "card"}
    numbers = [each for each in shop.sandbox.requests if each.path.endswith("/confirm")]
    assert numbers == []


def test_only_the_keyboard_is_needed(checkout, shop):
    """The form is labelled, errors get the focus, and Enter submits the form around the element."""
    checkout.open(shop.create_intent("card", "amazon_pay"))
    page, form = checkout.page, checkout.form
    form.get_by_role("radio", name="Card").focus()
    for text in ("4242424242424242", "1234", "12"):
        page.keyboard.press("Tab")
        page.keyboard.type(text)
    assert form.get_by_label("Card number").input_value() == "4242 4242 4242 4242"
    assert form.get_by_label("Expiration date").input_value() == "12 / 34"

    page.keyboard.press("Enter")
    page.get_by_text("Your card's security code is incomplete.").wait_for()
    cvc = form.get_by_role("textbox", name="Security code")
    assert cvc.evaluate("element => element === document.activeElement")
    assert cvc.get_attribute("aria-invalid") == "true"
    assert form.get_by_text("Your card's security code is incomplete.").is_visible()
    page.keyboard.press("End")
    page.keyboard.type("3")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("94107")
    page.keyboard.press("Enter")

    page.get_by_text("succeeded").wait_for()


# 3D Secure


def test_3d_secure_is_completed(page, checkout, shop):
    intent = shop.create_intent("card")
    checkout.open(intent).enter_card(THREE_D_SECURE)

    checkout.start_paying(**back(shop), redirect="always")
    checkout.challenge.get_by_role("button", name="Complete authentication").click()

    assert came_back_with(page, intent) == "succeeded"
    assert shop.status_of(intent) == "succeeded"


def test_3d_secure_fails_and_then_another_card_pays(page, checkout, shop):
    intent = shop.create_intent("card")
    checkout.open(intent).enter_card(THREE_D_SECURE)

    checkout.start_paying(**back(shop), redirect="always")
    checkout.challenge.get_by_role("button", name="Fail authentication").click()
    error = checkout.result()["error"]
    page.get_by_role("dialog").wait_for(state="detached")
    checkout.enter_card()
    paid = checkout.pay()

    assert error["code"] == "payment_intent_authentication_failure"
    assert error["payment_intent"]["status"] == "requires_payment_method"
    assert paid["paymentIntent"]["status"] == "succeeded"


def test_the_server_confirms_and_the_page_handles_the_next_action(checkout, shop):
    intent = shop.create_intent("card")
    checkout.open(intent)
    handle = "(secret) => { stripe.handleNextAction(secret).then((each) => { outcome = each }) }"
    secret = {"clientSecret": intent["client_secret"]}

    too_early = checkout.page.evaluate("(secret) => stripe.handleNextAction(secret)", secret)
    shop.call(
        "POST",
        f"payment_intents/{intent['id']}/confirm",
        payment_method="pm_card_authenticationRequired",
        use_stripe_sdk="true",
    )
    checkout.page.evaluate(handle, secret)
    checkout.challenge.get_by_role("button", name="Complete authentication").click()

    assert too_early["error"]["code"] == "payment_intent_unexpected_state"
    assert checkout.result()["paymentIntent"]["status"] == "succeeded"


# Other payment methods


def test_a_sepa_debit_is_processing(checkout, shop):
    intent = shop.create_intent("sepa_debit", currency="eur")
    checkout.open(intent)
    checkout.form.get_by_label("Full name").fill("Jenny Rosen")
    checkout.form.get_by_label("Email").fill("jenny")
    assert checkout.pay()["error"]["code"] == "invalid_email"
    checkout.form.get_by_label("Email").fill("jenny@example.com")
    assert checkout.pay()["error"]["code"] == "incomplete_iban"
    checkout.form.get_by_label("IBAN").fill("DE62 3704 0044 0532 0130 01")

    assert checkout.pay()["paymentIntent"]["status"] == "processing"
    shop.sandbox.advance_clock(300)
    assert shop.status_of(intent) == "requires_payment_method"


# Elements


def session_amounts(shop: Shop) -> list[str]:
    sessions = [each for each in shop.sandbox.requests if each.path == "/v1/elements/sessions"]
    return [each.params["deferred_intent"]["amount"] for each in sessions]


def test_the_intent_is_created_after_the_form(checkout, shop):
    group = {"mode": "payment", "amount": 11200, "currency": "usd"}
    checkout.open(group=group).enter_card()
    page = checkout.page

    early = checkout.pay(clientSecret="pi_1_secret_2")
    submitted = page.evaluate("elements.submit()")
    page.evaluate("elements.update({amount: 5000})")
    intent = shop.create_intent("card", amount=5000)
    secret = intent["client_secret"]
    stale = checkout.pay(clientSecret=secret)
    page.evaluate("elements.submit()")
    paid = checkout.pay(clientSecret=secret)

    message = "elements.submit() must be called before stripe.confirmPayment()."
    assert early == stale == {"thrown": f"IntegrationError: {message}"}
    assert submitted == {"selectedPaymentMethod": "card"}
    assert (paid["paymentIntent"]["amount"], paid["paymentIntent"]["status"]) == (5000, "succeeded")
    # The update asks for a session, and nothing waits for the answer.
    deadline = time.monotonic() + 10
    while (amounts := session_amounts(shop)) != ["11200", "5000"]:
        assert time.monotonic() < deadline, amounts
        page.wait_for_timeout(50)


def test_an_update_can_be_awaited_and_has_an_event(checkout):
    group = {"mode": "payment", "amount": 11200, "currency": "usd"}
    checkout.open(group=group)
    page, form = checkout.page, checkout.form
    page.evaluate("elements.on('update-end', () => events.push({name: 'update-end'}))")

    page.evaluate("elements.update({allowedPaymentMethodTypes: ['us_bank_account']})")

    assert form.get_by_label("Test account").is_visible()
    assert not form.get_by_label("Card number").is_visible()
    assert page.evaluate("events.pop()") == {"name": "update-end"}
    assert page.evaluate("element.update({readOnly: true}) === element")


PAYMENT_METHOD_TYPES = """() => {
    const group = {mode: "payment", amount: 11200, currency: "usd"};
    const types = {paymentMethodTypes: ["card"]};
    const elements = Stripe("pk_test_x").elements(group);
    const create = () => Stripe("pk_test_x").elements({...group, ...types});
    return [create, () => elements.update(types)].map((call) => {
        try { call(); return "accepted"; } catch (error) { return error.message; }
    });
}"""


@pytest.mark.parametrize(
    ("script", "version", "outcome"),
    [
        ("/v3/", 3, "accepted"),
        ("/dahlia/stripe.js", "dahlia", "accepted"),
        ("/endive/stripe.js", "endive", "Invalid elements() parameter: paymentMethodTypes"),
    ],
)
def test_the_script_has_the_rules_of_its_release(checkout, shop, version, outcome):
    checkout.open(shop.create_intent("card"))

    assert checkout.page.evaluate("Stripe.version") == version
    outcomes = checkout.page.evaluate(PAYMENT_METHOD_TYPES)
    assert all(each.startswith(outcome) for each in outcomes), outcomes


def test_updates_of_the_intent_are_fetched(checkout, shop):
    intent = shop.create_intent("card")
    checkout.open(intent)
    debits = {"allowed_payment_method_types[]": "us_bank_account"}
    shop.call("POST", f"payment_intents/{intent['id']}", **debits)

    assert checkout.page.evaluate("elements.fetchUpdates()") == {}

    assert checkout.form.get_by_label("Test account").is_visible()
    assert not checkout.form.get_by_label("Card number").is_visible()


def test_hidden_billing_details_have_to_be_passed(checkout, shop):
    intent = shop.create_intent("card")
    checkout.open(intent, fields={"billingDetails": "never"})
    form = checkout.form
    form.get_by_label("Card number").fill("4242424242424242")
    form.get_by_label("Expiration date").fill("12 / 34")
    form.get_by_label("Security code").fill("123")
    assert not form.get_by_label("Country").is_visible()
    assert not form.get_by_label("Postal code").is_visible()

    missing = checkout.pay()
    known = {"country": "DE", "postal_code": "10115", "line1": "x", "city": "Berlin"}
    address = {**known, **dict.fromkeys(("line2", "state"))}
    billing = {"name": "Jenny", "email": "jo@example.com", "phone": None, "address": address}
    passed = {"payment_method_data": {"billing_details": billing}}
    paid = checkout.pay(confirmParams=passed)["paymentIntent"]

    assert missing["thrown"].startswith(
        'IntegrationError: You specified "never" for fields.billing_details.name when creating the'
        " payment Element, but did not pass confirmParams.payment_method_data.billing_details.name"
    )
    kept = shop.call("GET", f"payment_methods/{paid['payment_method']}")["billing_details"]
    assert (kept["name"], kept["phone"]) == ("Jenny", None)
    assert (kept["address"]["postal_code"], kept["address"]["line2"]) == ("10115", None)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ("succeeded", "This PaymentIntent is in a terminal state"),
        ("canceled", "This PaymentIntent is in a terminal state"),
        (None, "Invalid API Key provided"),
    ],
)
def test_what_does_not_load_is_reported(checkout, shop, status, message):
    intent = shop.create_intent("card")
    key = "pk_test_ok" if status else "pk_live_wrong"
    if status:
        shop.sandbox.advance(intent["id"], status)
    checkout.open(intent, key=key, wait_for="loaderror")

    error = checkout.wait_for("loaderror")["error"]
    thrown = checkout.pay()["thrown"]
    # At once: the element fails again as soon as it has loaded.
    at_once = "() => { element.mount('#payment-element'); return elements.submit() }"
    early = checkout.page.evaluate(at_once)["error"]

    assert error["message"].startswith(message)
    assert early["message"] == error["message"]
    assert error["type"] == "invalid_request_error"
    assert "elements should have a mounted Payment Element" in thrown


def test_errors_of_the_api_and_of_the_network_are_returned(checkout, shop):
    intent = shop.create_intent("card")
    checkout.open(intent).enter_card()
    retrieve = "(secret) => stripe.retrievePaymentIntent(secret)"

    # Each time: a browser tries again by itself if a kept connection is dropped.
    shop.sandbox.inject(Fault("drop_before", path="/v1/payment_intents/*/confirm", times=None))
    lost = checkout.pay()["error"]
    shop.sandbox.clear_faults()
    shop.call("POST", f"payment_intents/{intent['id']}/cancel")
    late = checkout.pay()["error"]
    unknown = checkout.page.evaluate(retrieve, "pi_x_secret_y")["error"]
    found = checkout.page.evaluate(retrieve, intent["client_secret"])["paymentIntent"]

    assert lost["type"] == "api_connection_error"
    assert (late["type"], late["code"]) == (
        "invalid_request_error",
        "payment_intent_unexpected_state",
    )
    assert late["payment_intent"]["status"] == "canceled"
    assert (unknown["code"], unknown["param"]) == ("resource_missing", "intent")
    assert found["status"] == "canceled"


def test_the_element_is_unmounted_and_mounted_again(checkout, shop):
    checkout.open(shop.create_intent("card"))
    page = checkout.page

    same = page.evaluate("elements.getElement('payment') === element")
    page.evaluate("element.unmount()")
    gone = page.locator("iframe").count()
    page.evaluate("events.length = 0; element.mount('#payment-element')")
    checkout.wait_for("ready")
    page.evaluate("document.querySelector('main').append(document.querySelector('iframe'))")
    checkout.wait_for("ready")
    checkout.form.get_by_text("Test cards").click()
    checkout.form.get_by_role("button", name="4242").click()
    paid = checkout.pay()
    page.evaluate("element.destroy()")

    assert (same, gone) == (True, 0)
    assert paid["paymentIntent"]["status"] == "succeeded"
    assert page.evaluate("elements.getElement('payment')") is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("Stripe('')", "Please call Stripe() with your publishable key."),
        ("Stripe('sk_test_x')", "You should not use your secret key with Stripe.js."),
        ("Stripe('pk_test_x').elements({clientSecret: 'x'})", "Invalid value for elements()"),
        ("Stripe('pk_test_x').createToken()", "The sandbox does not cover stripe.createToken."),
        ("Stripe('pk_test_x').confirmP24Payment()", "does not cover stripe.confirmP24Payment."),
        ("Stripe('pk_test_x').elements({onBehalfOf: 'x'})", "does not cover the option onBehalfOf"),
        ("elements.create('payment')", "Can only create one Element of type payment"),
        ("element.mount('#nowhere')", "The selector you specified (#nowhere) applies to no DOM"),
    ],
)
def test_mistakes_of_the_shop_are_thrown(checkout, shop, call, message):
    checkout.open(shop.create_intent("card"))

    thrown = checkout.page.evaluate(
        "(call) => { try { eval(call) } catch (error) { return `${error}` } }", call
    )

    assert thrown.startswith("IntegrationError: ")
    assert message in thrown
