"""The desk of a member of staff: a browser in the admin, in which nothing may go wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Permission, User
from django.test import Client
from playwright.sync_api import ConsoleMessage, Locator, Page, Request

from shop_payments.models import OrderPayment
from shop_payments.testing import StripeSandbox

PASSWORD = "a long password"


def staff_user(name: str, *codenames: str) -> User:
    """A member of staff with these permissions, or with all if none is named."""
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    user.is_superuser = not codenames
    user.save()
    return user


class Desk:
    """A page of the admin, and every problem that the browser has had with it."""

    def __init__(self, page: Page, url: str, stripe: StripeSandbox) -> None:
        self.page, self.url, self.stripe = page, url, stripe
        self.problems: list[str] = []
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", self._see)
        page.route("**/favicon.ico", lambda route: route.fulfill(status=204))

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(message.text)

    def _see(self, request: Request) -> None:
        if not request.url.startswith((f"{self.url}/", "data:")):
            self.problems.append(f"left the machine: {request.url}")

    def log_in(self, name: str) -> None:
        """Fill in the login form, which is on the page already after a session has expired."""
        if "/login/" not in self.page.url:
            self.page.goto(f"{self.url}/admin/")
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()

    def sit_down(self, user: User) -> None:
        """Be logged in."""
        client = Client()
        client.force_login(user)
        cookie = client.cookies["sessionid"].value
        self.page.context.add_cookies([{"name": "sessionid", "value": cookie, "url": self.url}])

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Nothing is asked of Stripe within this block."""
        before = len(self.stripe.requests)
        yield
        asked = [f"{each.method} {each.path}" for each in self.stripe.requests[before:]]
        assert asked == []

    # --- pages ---

    def go(self, path: str = "") -> None:
        """Open a page by its path below the app's, or the admin's first page."""
        path = f"/admin/shop_payments/{path}" if path else "/admin/"
        with self.quietly():
            self.page.goto(self.url + path)

    def go_to_payment(self, number: str) -> None:
        payment = OrderPayment.objects.get(order__number=number)
        self.go(f"orderpayment/{payment.pk}/change/")

    def click(self, name: str) -> None:
        """Click a link that is visible, by its text."""
        self.follow(self.page.locator("#content").get_by_role("link", name=name, exact=True).first)

    def follow(self, link: Locator) -> None:
        """Click a link, and wait for its page."""
        with self.quietly(), self.page.expect_navigation():
            link.click()

    def search(self, text: str) -> list[str]:
        """Search a list; return the texts of its rows."""
        with self.quietly():
            self.page.locator("#searchbar").fill(text)
            self.page.locator("#searchbar").press("Enter")
            self.page.wait_for_url("**q=**")
        return self.rows.all_inner_texts()

    @property
    def rows(self) -> Locator:
        return self.page.locator("#result_list tbody tr")

    @property
    def shown(self) -> str:
        return self.page.locator("#content").inner_text()

    def fields(self) -> dict[str, str]:
        """The figures on the page of a payment, by label."""
        labels = self.page.locator("fieldset .form-row").filter(visible=True)
        lines = [text.partition(":") for text in labels.all_inner_texts()]
        return {label.strip(): value.strip() for label, _colon, value in lines}

    def fill_in(self, *, double: bool = False, text: str = "Agreed by telephone.") -> None:
        """Fill in the form of an action, send it, and confirm the effect that its page shows."""
        for _step in range(2):
            for field in self.page.locator("#content-main textarea").all():
                field.fill(text)
            ticks = self.page.locator("#content-main input[name=sure]").all()
            for tick in ticks:
                tick.check()
            send = self.page.locator("#content-main .submit-row input[type=submit]")
            if double and ticks:
                send.dblclick()  # which of the two navigations ends is left to the browser
                return
            with self.page.expect_navigation():
                send.click()
            if ticks or self.page.locator("input[name=sure]").count() == 0:
                return

    def download(self) -> list[dict[str, str]]:
        """Download the rows of a list."""
        with self.quietly(), self.page.expect_download() as waiting:
            self.page.get_by_role("link", name="Download as CSV").click()
        text = Path(waiting.value.path()).read_text(encoding="utf-8-sig")
        return list(csv.DictReader(io.StringIO(text)))

    def run(self, action: str) -> None:
        """Run an action of a list on all rows of the page."""
        self.page.locator("#action-toggle").check()
        self.page.locator("select[name=action]").select_option(label=action)
        with self.page.expect_navigation():
            self.page.get_by_role("button", name="Go").click()


def balance_of(stripe: Any) -> dict[str, int]:
    """The balance at Stripe by currency, in minor units."""
    found: dict[str, int] = {}
    for each in [*stripe["available"], *stripe["pending"]]:
        found[each["currency"]] = found.get(each["currency"], 0) + each["amount"]
    return found
