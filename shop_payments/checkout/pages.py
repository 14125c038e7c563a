"""The data of a page, formatted for the customer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from shop_payments.checkout.links import page_url
from shop_payments.checkout.states import State, Words, words_for
from shop_payments.conf import get_config
from shop_payments.money import from_minor_units
from shop_payments.services import OrderView

STRIPE_LOCALES = frozenset(
    """
    ar bg cs da de el en en-GB es es-419 et fi fil fr fr-CA he hr hu id it ja ko lt lv ms mt nb nl
    pl pt pt-BR ro ru sk sl sv th tr vi zh zh-HK zh-TW
    """.split()
)
"""The languages of Stripe's payment element.

See: https://docs.stripe.com/js/appendix/supported_locales (2026-11)
"""

_OTHER_NAMES = {"zh-hans": "zh", "zh-hant": "zh-TW", "no": "nb", "nn": "nb"}

PAY_TEXTS = {
    "changed": _(
        "The amount has changed to %(amount)s. Nothing was charged. Please check it, and press the "
        "button again."
    ),
    "prepared": _("Nothing was charged. Please enter your payment details again."),
    "not_completed": _(
        "The payment was not completed. Please try again, or choose another payment method."
    ),
    "not_loaded": _(
        "The payment form could not be loaded. Your network or a browser extension may be "
        "blocking Stripe, the payment provider."
    ),
    "not_set_up": _(
        "The shop's connection to the payment provider does not work. Nothing was charged."
    ),
    "unavailable": _(
        "The payment is not available at the moment. Please try again in a few minutes. If you"
        " have just paid, do not pay again."
    ),
    "refused": _(
        "The shop could not verify this page. Please allow cookies for it, and load it again."
    ),
    "unreachable": _("The shop could not be reached. Please check your connection, and try again."),
    "loading": _("Loading the payment form…"),
    "working": _("Your payment is being sent. Please do not close this page."),
}
"""Sentences of the script on the pay page."""

RESULT_TEXTS = {
    "later": _(
        "The bank has not answered yet. You can close this page. The shop is notified as soon as "
        "the bank answers, and you can open this page again at any time."
    ),
}
"""Sentences of the script on the result page."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the order, as shown."""

    name: str
    description: str
    quantity: str
    unit_price: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """What the templates get as ``checkout``. Texts are formatted in the active language."""

    state: State
    words: Words
    is_test_mode: bool
    number: str = ""
    lines: tuple[Line, ...] = ()
    total: str = ""
    outstanding: str = ""
    """Empty if it is the total."""

    amount: str = ""
    """What the Pay button asks for; empty if the customer is not asked."""

    asked: str = ""
    """The same in no language. The script compares it, and its answers may be in another one."""

    is_part: bool = False
    """Whether ``amount`` is a part of what is outstanding, such as a deposit."""

    pay_url: str = ""
    result_url: str = ""
    continue_url: str = ""
    data: Mapping[str, Any] | None = None
    """For the script."""

    @property
    def can_pay(self) -> bool:
        """Whether the customer is asked for money now."""
        return self.amount != ""


def build_page(view: OrderView, state: State, *, token: str = "", continue_url: str = "") -> Page:
    """Build the page of an order."""
    can_pay = view.asked_decimal is not None and state in ASKING
    return Page(
        state=state,
        words=words_for(state, view),
        is_test_mode=not get_config().livemode,
        number=view.number,
        lines=tuple(
            Line(
                name=line.name,
                description=line.description,
                quantity=number_format(line.quantity),
                unit_price=show(from_minor_units(line.amount, line.currency), line.currency),
            )
            for line in view.line_items
        ),
        total=_shown(view.total_decimal, view.currency),
        outstanding=(
            _shown(view.outstanding_decimal, view.currency)
            if view.outstanding_decimal != view.total_decimal
            else ""
        ),
        amount=_shown(view.asked_decimal, view.currency) if can_pay else "",
        asked=f"{view.asked_decimal} {view.currency}" if can_pay else "",
        is_part=can_pay and view.asked_decimal != view.outstanding_decimal,
        pay_url=page_url("pay", view.id, token),
        result_url=page_url("result", view.id, token),
        continue_url=continue_url,
    )


ASKING = frozenset({State.UNPAID, State.PARTIALLY_PAID, State.FAILED})
"""States in which the customer may be asked for money."""


def pay_data(page: Page, view: OrderView, *, token: str) -> dict[str, Any]:
    """Return what the script on the pay page needs to know. It is not secret."""
    config = get_config()
    return {
        "page": "pay",
        "asked": page.asked,
        "key": config.STRIPE_PUBLISHABLE_KEY,
        "stripeJs": config.STRIPE_JS_URL,
        "locale": stripe_locale(get_language()),
        "payUrl": page.pay_url,
        "resultUrl": page.result_url,
        "statusUrl": page_url("status", view.id, token),
        "texts": {name: str(text) for name, text in PAY_TEXTS.items()},
    }


def result_data(state: State, view: OrderView, *, token: str, is_changing: bool) -> dict[str, Any]:
    """Return what the script on the result page needs to know."""
    return {
        "page": "result",
        "state": str(state),
        "isChanging": is_changing,
        "statusUrl": page_url("status", view.id, token),
        "texts": {name: str(text) for name, text in RESULT_TEXTS.items()},
    }


def show(amount_decimal: Decimal, currency: str) -> str:
    """Return an amount in the active language, with its currency.

    The number of decimals is the order's own; nothing is rounded.
    """
    number = number_format(amount_decimal, use_l10n=True, force_grouping=True)
    return f"{number}\N{NO-BREAK SPACE}{currency.upper()}"


def _shown(amount_decimal: str | None, currency: str | None) -> str:
    return "" if amount_decimal is None else show(Decimal(amount_decimal), currency or "")


def stripe_locale(language: str | None) -> str:
    """Return Stripe's name of a language; ``auto`` (the browser's) if Stripe does not have it."""
    code = (language or "").lower()
    by_lower = {locale.lower(): locale for locale in STRIPE_LOCALES}
    for name in (code, code.partition("-")[0]):
        if found := _OTHER_NAMES.get(name) or by_lower.get(name):
            return found
    return "auto"
