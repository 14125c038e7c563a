"""A shop on a morning: sixty orders in every state, made through the front door in three weeks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import time_machine
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.authtoken.models import Token

from shop_payments import services
from shop_payments.ledger.facts import Origin
from shop_payments.maintenance.reconcile import reconcile
from shop_payments.models import APIKeyScope, Order, OrderPayment, Source, StripeAttempt
from shop_payments.money import Money
from shop_payments.orders import BundledOrderAdapter
from shop_payments.sandbox import Fault
from shop_payments.services.record_staff_entry import EntryRequest, waive_amount
from shop_payments.sync.balance_transactions import fetch_fees
from shop_payments.testing import StripeSandbox
from tests.books import AccountingOffice
from tests.factories import OrderFactory
from tests.services.restore import make_elsewhere
from tests.support import Caller, call_stripe, issue_key, send_event

SCRIPT, FORMULA = "<script>document.title = 'taken over'</script>", "=cmd|'/c calc'!A1"
"""Names that customers give, which are text."""


class MorningAdapter(BundledOrderAdapter):
    """Sells on deposit and on hold, and cannot read an order with an unfinished line."""

    def total(self, order: Order) -> Money:
        if any(line.name == "?" for line in order.all_lines):
            raise KeyError("price")
        return super().total(order)

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        is_first = order.number.startswith("DEPOSIT") and outstanding == self.total(order)
        return Money(18000, outstanding.currency) if is_first else outstanding

    def capture_method(self, order: Order) -> str:
        return "manual" if order.number.startswith("HOLD") else "automatic"


def refuse_gifts(*, order_payment: OrderPayment, **_data: Any) -> None:
    """Be a receiver of a signal that fails for some orders."""
    if order_payment.order.number.startswith("GIFT"):
        raise ConnectionError("the warehouse does not answer")


class Morning:
    """The shop's orders by number, and everything that has happened to them."""

    def __init__(self, stripe: StripeSandbox, configure: Callable[..., None]) -> None:
        self.stripe = stripe
        self._configure = configure
        self.orders: dict[str, Order] = {}
        self._key = issue_key(APIKeyScope.STOREFRONT)
        self._office = AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))

    # --- what people do ---

    def order(self, number: str, total: int, currency: str = "usd", who: str = "") -> Order:
        """Place an order. The total is in minor units."""
        first, _space, last = (who or f"Customer No. {len(self.orders) + 1}").partition(" ")
        mail = f"{first}.{last}".lower() if who and who.replace(" ", "").isalpha() else number
        customer = User.objects.create(
            username=number, first_name=first, last_name=last, email=f"{mail}@example.com"
        )
        order: Order = OrderFactory.create(
            number=number, customer=customer, currency=currency, lines=[{"name": "Goods"}]
        )
        order.lines.update(unit_amount=total, quantity=1)
        self.orders[number] = order
        return order

    def change(self, number: str, **values: Any) -> None:
        """Change an order as the shop's own code does, and report it."""
        lines = {name: values.pop(name) for name in ("unit_amount", "name") if name in values}
        self.orders[number].lines.update(**lines)
        Order.objects.filter(number=number).update(**values, updated_at=timezone.now())

    def evaluate(self, number: str) -> None:
        """Report a change of an order."""
        services.reevaluate_order(self.orders[number].pk)

    def ask(self, number: str) -> Any:
        order = self.orders[number]
        token, _new = Token.objects.get_or_create(user=order.customer)
        return Caller(token=token.key, key=self._key).payment_intent(order)

    def begin(self, number: str, total: int = 0, currency: str = "usd", who: str = "") -> str:
        """Ask for a payment intent, for a new order if a total is given."""
        if total:
            self.order(number, total, currency, who)
        response = self.ask(number)
        assert response.status_code == 200, response.json()
        intent_id: str = response.json()["data"]["id"]
        return intent_id

    def finish(self, intent_id: str, method: str = "pm_card_visa") -> str:
        """Pay an intent with a card, or with a bank account, as the customer's browser does."""
        if method.startswith("pm_card"):
            self.stripe.pay(intent_id, method, deliver=False)
            self.stripe.deliver_due()
            return intent_id
        accepted = "mandate_data[customer_acceptance]"
        mandate = {f"{accepted}[type]": "online", f"{accepted}[online][user_agent]": "a browser"}
        mandate[f"{accepted}[online][ip_address]"] = "203.0.113.7"
        mandate |= {"payment_method": method, "return_url": "https://testserver/"}
        path = f"payment_intents/{intent_id}/confirm"
        intent = call_stripe(self.stripe, "POST", path, **mandate)
        assert intent.get("status") == "processing", intent
        self.stripe.deliver_due()
        return intent_id

    def pay(
        self,
        number: str,
        total: int = 0,
        currency: str = "usd",
        who: str = "",
        method: str = "pm_card_visa",
    ) -> str:
        """Ask for a payment intent and pay it."""
        return self.finish(self.begin(number, total, currency, who), method)

    def refund(self, number: str, amount: str, status: int = 200) -> None:
        """Give money back through the API, as the shop's warehouse does."""
        response = self._office.refund(self.orders[number], {"amount": amount})
        assert response.status_code == status, response.json()
        self.stripe.deliver_due()

    def charge(self, intent_id: str) -> str:
        charge: str = call_stripe(self.stripe, "GET", f"payment_intents/{intent_id}")[
            "latest_charge"
        ]
        return charge

    def accept(self, *types: str) -> None:
        """Accept these types of payment methods from now on."""
        adapter = f"{MorningAdapter.__module__}.{MorningAdapter.__name__}"
        values = {"ORDER_ADAPTER": adapter, "ALLOWED_PAYMENT_METHOD_TYPES": types}
        self._configure(**{**self.stripe.shop_payments(), **values})

    # --- three weeks ---

    def play(self) -> None:
        """Let everything happen, until a moment ago."""
        self.accept("card")
        for days, happen in (
            (20, self._first_week),
            (10, self._second_week),
            (6.1, self._third_week),
            (1, self._yesterday),
        ):
            with time_machine.travel(timezone.now() - timedelta(days=days)):
                self.stripe.deliver_due()  # what has become due since
                happen()
        with time_machine.travel(timezone.now() - timedelta(minutes=20)):
            for _time in range(2):
                reconcile(since=timezone.now() - timedelta(days=30))
            self._this_morning()
        fetch_fees(since=timezone.now() - timedelta(days=30))
        StripeAttempt.objects.update(acquired_at=None)

    def _first_week(self) -> None:
        prices = {"usd": 11200, "eur": 8900, "jpy": 5000, "isk": 50000, "kwd": 5120, "gbp": 2500}
        brands = ("visa", "mastercard", "amex")
        for at, currency in enumerate([*prices] * 3):
            method = f"pm_card_{brands[at % len(brands)]}"
            self.pay(f"PAID-{currency.upper()}-{at}", prices[currency], currency, method=method)
        for currency, part in (("usd", "12.00"), ("jpy", "500"), ("isk", "100"), ("kwd", "1.500")):
            self.pay(f"RETURNED-{currency.upper()}", prices[currency] * 2, currency)
            self.refund(f"RETURNED-{currency.upper()}", part)
            lost = self.pay(f"LOST-{currency.upper()}", prices[currency], currency)
            self.stripe.dispute(lost)
            self.stripe.decide_dispute(lost, won=False)
        self.pay("RETURNED-ALL", 4200, who="Bob Jones")
        self.refund("RETURNED-ALL", "42.00")
        won = self.pay("WON", 7700)
        self.stripe.dispute(won)
        self.stripe.decide_dispute(won, won=True)
        self.accept("card", "sepa_debit")
        self.pay("SEPA-1", 15000, "eur", method="pm_sepaDebit_success_de")
        self.pay("SEPA-2", 9900, "eur", method="pm_sepaDebit_success_de")
        self.accept("card")

    def _second_week(self) -> None:
        self.stripe.dispute(self.pay("INQUIRY", 3300), inquiry=True)
        self.pay("REFUND-FAILED", 6600, who="Carla Bruni", method="pm_card_refundFail")
        self.refund("REFUND-FAILED", "66.00")
        self.pay("ANNA-1", 11200, who="Anna Schmidt")
        self.order("UNPAID-1", 5000)
        self.order("UNPAID-2", 5000, "kwd")
        for number, name in (("TEXT-1", f"{SCRIPT} Smith"), ("TEXT-2", FORMULA)):
            self.pay(number, 1500, who=name)

    def _third_week(self) -> None:
        self.pay("HOLD-1", 24000)

    def _yesterday(self) -> None:
        self.begin("BEGUN-1", 4500)
        self.begin("BEGUN-2", 4500, "jpy")
        self.pay("DECLINED-1", 5600, who="Dora Meyer", method="pm_card_chargeDeclined")
        declined = "pm_card_chargeDeclinedInsufficientFunds"
        self.pay("DECLINED-2", 5600, method=declined)
        self.pay("SECURE", 5600, method="pm_card_authenticationRequired")
        self.accept("card", "us_bank_account")
        self.pay("DEBIT", 8800, method="pm_usBankAccount_processing")
        self.accept("card")
        self.pay("HOLD-2", 12000)
        self.refund("SEPA-1", "50.00")
        self.stripe.dispute(self.pay("DISPUTED", 9900, who="Emil Nolde"))
        self.pay("WARNED", 4400, method="pm_card_createIssuerFraudRecord")
        self.stripe.open_review(self.pay("RADAR", 4400))
        self._excess()
        self._rests()
        gift, unread = self.begin("GIFT-1", 3000), self.begin("UNREAD-1", 7000)
        self.change("UNREAD-1", name="?")
        self.stripe.pay(gift)
        self.stripe.pay(unread, deliver=False)
        self.stripe.deliver_due()  # the second one is not accepted

    def _excess(self) -> None:
        """Money that nothing is owed for, or that does not count."""
        self.pay("LOWERED", 11200)
        self.change("LOWERED", unit_amount=10200)
        self.evaluate("LOWERED")
        self.pay("TWICE", 11200, who="Frida Kahlo")
        self.change("TWICE", unit_amount=22400)
        second = self.begin("TWICE")
        self.change("TWICE", unit_amount=11200)
        self.finish(second)
        late = self.begin("CANCELLED", 11200)
        self.change("CANCELLED", status="cancelled")
        self.finish(late)
        other = self.begin("CURRENCY", 12000)
        self.change("CURRENCY", currency="eur")
        self.finish(other)

    def _rests(self) -> None:
        """Orders that are paid in part."""
        self.pay("DEPOSIT-1", 23000, who="Greta Garbo")
        self.pay("DEPOSIT-2", 23000)
        self.change("DEPOSIT-2", status="cancelled")
        self.evaluate("DEPOSIT-2")
        self.pay("DEPOSIT-3", 23000)
        self.change("DEPOSIT-3", unit_amount=18020)
        self.evaluate("DEPOSIT-3")
        self.pay("DEPOSIT-4", 23000)
        rest = self.begin("DEPOSIT-4")
        self.stripe.pay(rest, deliver=False)
        waive_amount(
            order_id=self.orders["DEPOSIT-4"].pk,
            request=EntryRequest(amount_decimal=Decimal(50), reason="by telephone"),
            origin=Origin(source=Source.ADMIN, actor="staff 1"),
        )
        make_elsewhere(self.stripe, self.order("ELSEWHERE", 11200), paid=True)

    def _this_morning(self) -> None:
        self.pay("UNRESOLVED", 11200)
        self.stripe.inject(Fault("error", method="POST", path="/v1/refunds", status=500))
        self.refund("UNRESOLVED", "40.00", status=503)
        # A message without the id of its payment is set aside.
        response = send_event({"object": "payment_intent", "status": "succeeded"})
        assert response.status_code == 200, response.content
