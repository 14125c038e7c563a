"""A shop's page with a strict content security policy, for the stand-in of Stripe.js.

The shop is on `localhost` and the sandbox on `127.0.0.1`, so the browser treats them as two sites.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import FrameLocator, Page

from shop_payments.sandbox import SandboxServer
from tests.sandbox.support import KEY, PUBLISHABLE_KEY

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Checkout</title>
<script src="/shop.js"></script>
<script src="{script}"></script>
</head>
<body>
<main>
<h1>Pay your order</h1>
<form id="form">
<div id="payment-element"></div>
<button>Pay 112.00 USD</button>
<p id="message" role="status"></p>
</form>
</main>
</body>
</html>
"""

SCRIPT = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
    violations.push(`${event.effectiveDirective} ${event.blockedURI}`);
});

window.events = [];
window.open_element = (key, group, options) => {
    window.stripe = Stripe(key, {locale: "en"});
    window.elements = stripe.elements(group);
    window.element = elements.create("payment", options);
    for (const name of ["ready", "change", "loaderror"]) {
        element.on(name, (payload) => events.push({name, payload}));
    }
    element.mount("#payment-element");
};

// Returns what confirmPayment returns, or what it throws.
window.pay = async (options = {}) => {
    try {
        const usual = {elements, redirect: "if_required"};
        window.outcome = await stripe.confirmPayment({...usual, ...options});
    } catch (error) {
        window.outcome = {thrown: `${error.name}: ${error.message}`};
    }
    const {paymentIntent, error} = window.outcome;
    const shown = document.getElementById("message");
    shown.textContent = paymentIntent ? paymentIntent.status : error?.message;
    return window.outcome;
};

addEventListener("DOMContentLoaded", () => {
    document.getElementById("form").addEventListener("submit", (event) => {
        event.preventDefault();
        pay();
    });
});
"""


class Shop:
    """The shop: its pages, and its calls to the sandbox with the secret key."""

    def __init__(self, sandbox: SandboxServer, script: str = "/v3/") -> None:
        self.sandbox = sandbox.sandbox
        origin = sandbox.url
        policy = (
            f"default-src 'none'; script-src 'self' {origin}; connect-src 'self' {origin};"
            f" frame-src {origin}"
        )
        page = PAGE.format(script=f"{origin}/js.stripe.com{script}")

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_script = self.path == "/shop.js"
                content_type = "text/javascript" if is_script else "text/html"
                self.send_response(200)
                self.send_header("Content-Type", f"{content_type}; charset=utf-8")
                self.send_header("Content-Security-Policy", policy)
                self.end_headers()
                self.wfile.write((SCRIPT if is_script else page).encode())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://localhost:{self._server.server_port}"

    def __enter__(self) -> Shop:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def call(self, method: str, path: str, **params: Any) -> dict[str, Any]:
        """Call the sandbox with the secret key."""
        headers = {"Authorization": f"Bearer {KEY}"}
        answer = self.sandbox.handle(method, f"/v1/{path}", headers, urlencode(params))
        found: dict[str, Any] = json.loads(answer.body)
        return found

    def create_intent(self, *types: str, **params: Any) -> dict[str, Any]:
        """Create an intent for 112.00 that takes payment methods of these types."""
        allowed = {f"allowed_payment_method_types[{i}]": name for i, name in enumerate(types)}
        order = {"amount": 11200, "currency": "usd", **allowed}
        return self.call("POST", "payment_intents", **{**order, **params})

    def status_of(self, intent: dict[str, Any]) -> str:
        """Return the status of the intent now."""
        return str(self.call("GET", f"payment_intents/{intent['id']}")["status"])


def enter_card(form: FrameLocator, number: str = "4242424242424242") -> None:
    """Fill in the form for a card of the United States."""
    form.get_by_label("Card number").fill(number)
    form.get_by_label("Expiration date").fill("12 / 34")
    form.get_by_label("Security code").fill("123")
    form.get_by_label("Postal code").fill("94107")


class Checkout:
    """What a customer sees and does on the page."""

    def __init__(self, page: Page, shop: Shop) -> None:
        self.page = page
        self.shop = shop
        self.refusals: list[str] = []
        page.on("console", self._note)

    def _note(self, message: Any) -> None:
        if "Content Security Policy" in message.text:
            self.refusals.append(message.text)

    def open(
        self,
        intent: dict[str, Any] | None = None,
        *,
        key: str = PUBLISHABLE_KEY,
        wait_for: str | None = "ready",
        group: dict[str, Any] | None = None,
        **options: Any,
    ) -> Checkout:
        """Open the page with a payment element for the intent."""
        secret = {"clientSecret": intent["client_secret"]} if intent else {}
        self.page.goto(self.shop.url)
        self.page.evaluate(
            "([key, group, options]) => open_element(key, group, options)",
            [key, {**secret, **(group or {})}, options],
        )
        if wait_for:
            self.wait_for(wait_for)
        return self

    def wait_for(self, event: str) -> dict[str, Any]:
        """Wait for an event of the element, and return the last one."""
        self.page.wait_for_function("name => events.some((each) => each.name === name)", arg=event)
        found: dict[str, Any] = self.page.evaluate(
            "name => events.filter((each) => each.name === name).pop().payload", event
        )
        return found

    @property
    def form(self) -> FrameLocator:
        """The frame with the form."""
        return self.page.frame_locator("iframe[title='Secure payment input frame']")

    @property
    def challenge(self) -> FrameLocator:
        """The frame with the 3D Secure challenge."""
        return self.page.frame_locator("iframe[title='3D Secure authentication']")

    def enter_card(self, number: str = "4242424242424242") -> None:
        enter_card(self.form, number)

    def pay(self, **options: Any) -> dict[str, Any]:
        """Confirm, and return the result."""
        found: dict[str, Any] = self.page.evaluate("options => pay(options)", options)
        return found

    def start_paying(self, **options: Any) -> None:
        """Confirm without waiting for the result."""
        self.page.evaluate("options => { pay(options) }", options)

    def result(self) -> dict[str, Any]:
        """Wait for the result, and return it."""
        self.page.wait_for_function("() => window.outcome !== undefined")
        found: dict[str, Any] = self.page.evaluate("window.outcome")
        return found

    def assert_no_violations(self) -> None:
        """Check that the policy refused nothing on this page or any page before."""
        assert self.page.evaluate("violations") == []
        assert self.refusals == []
