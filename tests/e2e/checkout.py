"""The checkout pages in a browser: the shop on `localhost`, Stripe on `127.0.0.1`.

The browser treats them as two sites, so a customer who returns from Stripe makes a cross-site
request.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from playwright.sync_api import FrameLocator, Locator, Page, expect

from shop_payments.checkout.csp import add_stripe_sources
from shop_payments.checkout.links import checkout_url
from shop_payments.models import Order
from shop_payments.sandbox import SandboxServer
from tests.support import call_stripe

GOOD = "4242424242424242"
DECLINED = "4000000000000002"
THREE_D_SECURE = "4000000000003220"


class StrictPolicy:
    """A middleware of the shop: a content security policy without inline code."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        from django.conf import settings

        policy = add_stripe_sources(
            {"default-src": ["'none'"], "img-src": ["'self'"]}, settings.SHOP_PAYMENTS
        )
        response = self.get_response(request)
        response["Content-Security-Policy"] = "; ".join(
            " ".join([directive, *sources]) for directive, sources in policy.items()
        )
        return response


class Customer:
    """What a customer sees and does on the checkout pages."""

    def __init__(self, page: Page, shop: str, sandbox: SandboxServer, order: Order) -> None:
        self.page, self.shop, self.sandbox, self.order = page, shop, sandbox, order
        self.link = f"{shop}{checkout_url(order)}"
        self.violations: list[str] = []
        self.requests: list[Any] = []
        # Without scrolling: right after it, Chromium may send a click to the frame of another site
        # that was there before.
        page.set_viewport_size({"width": 1280, "height": 1400})
        page.set_default_timeout(8000)
        page.on("console", self._note)
        page.on("request", self._remember)

    def _note(self, message: Any) -> None:
        if "Content Security Policy" in message.text:
            self.violations.append(message.text)

    def new_page(self) -> Page:
        """Open another tab."""
        page = self.page.context.new_page()
        page.set_viewport_size({"width": 1280, "height": 1400})
        return page

    def _remember(self, request: Any) -> None:
        self.requests.append(request)

    def open(self, page: Page | None = None) -> Customer:
        """Open the payment link, and wait until Pay can be pressed."""
        (page or self.page).goto(self.link)
        expect(self.pay_button_of(page or self.page)).to_be_enabled(timeout=15_000)
        return self

    def pay_button_of(self, page: Page) -> Locator:
        return page.get_by_role("button", name=re.compile("^(Pay|Bezahlen:) "))

    @property
    def pay_button(self) -> Locator:
        return self.pay_button_of(self.page)

    def form(self, page: Page | None = None) -> FrameLocator:
        """The frame with the card form."""
        frame = "iframe[title='Secure payment input frame']"
        return (page or self.page).frame_locator(frame)

    def challenge(self, page: Page | None = None) -> FrameLocator:
        return (page or self.page).frame_locator("iframe[title='3D Secure authentication']")

    def enter_card(self, number: str = GOOD, page: Page | None = None) -> None:
        form = self.form(page)
        form.get_by_label("Card number").fill(number)
        form.get_by_label("Expiration date").fill("12 / 34")
        form.get_by_label("Security code").fill("123")
        if form.get_by_label("Postal code").is_visible():
            form.get_by_label("Postal code").fill("94107")

    def pay(self, number: str = GOOD) -> None:
        self.enter_card(number)
        self.pay_button.click()

    def sees(self, state: str, page: Page | None = None) -> None:
        """Wait until the page's main element has this state."""
        main = (page or self.page).locator("main")
        expect(main).to_have_attribute("data-payment-state", state, timeout=15_000)

    @property
    def message(self) -> Locator:
        return self.page.get_by_role("alert")

    def at_stripe(self) -> list[dict[str, Any]]:
        """The order's intents at Stripe."""
        found: list[dict[str, Any]] = call_stripe(self.sandbox.sandbox, "GET", "payment_intents")[
            "data"
        ]
        return found

    def charged(self) -> list[int]:
        """The amounts that were received."""
        return [each["amount_received"] for each in self.at_stripe() if each["amount_received"]]

    def cancel_order(self) -> None:
        Order.objects.update(status=Order.Status.CANCELLED)

    def call(self, method: str, path: str, **params: str) -> dict[str, Any]:
        """Do something at Stripe with the secret key; no webhook comes of it."""
        return call_stripe(self.sandbox.sandbox, method, path, **params)

    def asked(self, name: str) -> list[Any]:
        """The script's requests to a page of the shop, by the end of its path."""
        return [each for each in self.requests if urlsplit(each.url).path.endswith(f"/{name}/")]
