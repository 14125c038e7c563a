"""A shop, its customer, its staff and Stripe: one order, and everything that can happen to it.

Amounts are whole units of the order's currency: 112 is 112.00.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from shop_payments import services
from shop_payments.models import (
    APIKeyScope,
    Order,
    OrderPayment,
    PaymentIntent,
    Refund,
    ReviewItem,
    StaffEntry,
)
from shop_payments.money import Money
from shop_payments.orders import BundledOrderAdapter
from shop_payments.services.record_staff_entry import (
    EntryRequest,
    revoke_staff_entry,
    settle_outside_stripe,
    waive_amount,
)
from shop_payments.testing import StripeSandbox
from tests.books import STAFF, AccountingOffice
from tests.factories import OrderFactory, TokenFactory
from tests.support import Caller, answer, call_stripe, debit, issue_key

Review = set[tuple[str, int | None, str]]
"""Open review items: reason, amount and payment intent."""


class DepositAdapter(BundledOrderAdapter):
    """Asks for a part of an order first, where the test says so."""

    now: ClassVar[int | None] = None  # minor units

    def amount_to_pay_now(self, order: Order, outstanding: Money) -> Money:
        if self.now is None or self.now > outstanding.amount:
            return outstanding
        return Money(self.now, outstanding.currency)


class Shop:
    """One order, driven through HTTP, signed webhooks and the sandbox."""

    def __init__(self, stripe: StripeSandbox, *, total: int, currency: str = "usd") -> None:
        self.stripe = stripe
        self.order: Order = OrderFactory.create(currency=currency, lines=[])
        self.order.lines.create(name="Goods", unit_amount=total * 100, quantity=1)
        token = TokenFactory.create(user=self.order.customer)
        self.customer = Caller(token=token.key, key=issue_key(APIKeyScope.STOREFRONT))
        self.payment_system = Caller(key=issue_key(APIKeyScope.PAYMENTS))
        self.office = AccountingOffice(key=issue_key(APIKeyScope.REFUNDS))

    # --- the customer ---

    def ask(self) -> Any:
        return self.customer.payment_intent(self.order)

    def begin(self, amount: int) -> str:
        """Ask for a payment intent, which asks for ``amount``; the customer has it open."""
        response = self.ask()
        assert response.status_code == 200, response.json()
        data = response.json()["data"]
        assert data["amount"] == f"{amount}.00"
        intent_id: str = data["id"]
        return intent_id

    def finish(self, intent_id: str, method: str = "pm_card_visa") -> str:
        """Pay an intent that is open in the customer's browser."""
        self.stripe.pay(intent_id, method)
        return intent_id

    def pay(self, amount: int, method: str = "pm_card_visa") -> str:
        """Ask for a payment intent and pay it."""
        return self.finish(self.begin(amount), method)

    def deposit(self, amount: int, method: str = "pm_card_visa") -> str:
        """Pay a part, for which the shop asks first."""
        DepositAdapter.now = amount * 100
        intent_id = self.pay(amount, method)
        DepositAdapter.now = None
        return intent_id

    def pay_late(self, method: str = "pm_card_visa") -> str:
        """Pay an intent that is open when the shop cancels the order, which nobody has heard of."""
        intent_id = self.begin(self.order.amount // 100)
        Order.objects.filter(pk=self.order.pk).update(status=Order.Status.CANCELLED)
        return self.finish(intent_id, method)

    def pay_again(self, amount: int) -> str:
        """Pay with a second intent, which was open while the order cost more for a moment."""
        total = self.order.amount
        self._write_total(total + amount * 100)
        self._forget()
        second = self.begin(amount)
        self._write_total(total)
        return self.finish(second)

    def debit(self, amount: int) -> str:
        """Pay by bank debit, which is on its way for days."""
        intent_id = self.begin(amount)
        assert debit(self.stripe, intent_id, "pm_usBankAccount_success")["status"] == "processing"
        self.stripe.deliver_webhooks()
        return intent_id

    # --- the shop ---

    def costs(self, total: int) -> None:
        """Change the order, and say so."""
        self._write_total(total * 100)
        self.evaluate()

    def wants(self, is_wanted: bool) -> None:
        """Cancel the order or open it again, and say so."""
        status = Order.Status.OPEN if is_wanted else Order.Status.CANCELLED
        Order.objects.filter(pk=self.order.pk).update(status=status)
        self.evaluate()

    def evaluate(self) -> None:
        """Tell the app that the order has changed."""
        self._forget()
        services.reevaluate_order(self.order.pk)
        self.stripe.deliver_webhooks()

    def _write_total(self, minor_units: int) -> None:
        self.order.lines.update(unit_amount=minor_units)
        self._forget()

    def _forget(self) -> None:
        self.order = Order.objects.with_lines().get(pk=self.order.pk)

    # --- staff ---

    def refund(self, amount: int, **body: str) -> Any:
        """Give money back through the API: as many payments as it takes."""
        response = self.office.refund(self.order, {"amount": f"{amount}.00", **body})
        self.stripe.deliver_webhooks()
        return response

    def refund_in_dashboard(self, intent_id: str, amount: int) -> dict[str, Any]:
        """Give money back of one payment, in Stripe's dashboard."""
        return self.stripe.refund(intent_id, amount * 100)

    def waive(self, amount: int) -> StaffEntry:
        """Waive a part of what is owed."""
        request = EntryRequest(amount_decimal=Decimal(amount), reason="agreed by telephone")
        return waive_amount(order_id=self.order.pk, request=request, origin=STAFF)

    def settle(self, intent_id: str, amount: int | None = None) -> StaffEntry:
        """Record that money of a payment went back in another way."""
        asked = None if amount is None else Decimal(amount)
        request = EntryRequest(amount_decimal=asked, reason="paid back in cash")
        return settle_outside_stripe(
            order_id=self.order.pk, intent_id=intent_id, request=request, origin=STAFF
        )

    def revoke(self, entry: StaffEntry) -> None:
        revoke_staff_entry(entry_pk=entry.pk, reason="a mistake", user=None, origin=STAFF)

    # --- what comes of it ---

    @property
    def payment(self) -> OrderPayment:
        return OrderPayment.objects.get(order=self.order)

    @property
    def in_review(self) -> Review:
        return {
            (
                item.reason,
                item.data["amount"] // 100 if "amount" in item.data else None,
                item.payment_intent.stripe_id if item.payment_intent else item.subject,
            )
            for item in ReviewItem.objects.open().select_related("payment_intent")
        }

    def assert_is(
        self,
        status: str,
        *,
        outstanding: int,
        owed: int | None = None,
        review: Review | None = None,
        asks: int | tuple[str, str | None] | None = None,
    ) -> None:
        """Check everything that can be seen of the order, and that the rows say the same.

        ``asks`` is what call 1 does: the amount it asks for, or the code and reason of its refusal.
        """
        seen = self.customer.get(f"orders/{self.order.pk}").json()["data"]
        payment = self.payment
        assert (seen["payment_status"], seen["outstanding"]) == (status, f"{outstanding}.00")
        assert (payment.status, payment.amount_outstanding) == (status, outstanding * 100)
        assert payment.amount_owed == (outstanding if owed is None else owed) * 100
        assert self.in_review == (review or set())
        if isinstance(asks, tuple):
            response = self.ask()
            reason = response.json().get("data", {}).get("reason")
            assert (*answer(response), reason) == (409, *asks)
        elif asks is not None:
            self.begin(asks)
        if asks is not None:
            assert seen["payable"] is isinstance(asks, int)

    def asked_at_stripe(self, intent_id: str) -> tuple[str, int]:
        """The intent's status and amount at Stripe."""
        intent = self.at_stripe(intent_id)
        return intent["status"], intent["amount"] // 100

    def refunds(self) -> list[tuple[str, int]]:
        """What went back: the payment intent and the amount, oldest first."""
        rows = Refund.objects.select_related("payment_intent").order_by("created_at")
        return [(row.payment_intent.stripe_id, row.amount // 100) for row in rows]

    def at_stripe(self, intent_id: str) -> dict[str, Any]:
        return call_stripe(self.stripe, "GET", f"payment_intents/{intent_id}")

    def intent(self, intent_id: str) -> PaymentIntent:
        return PaymentIntent.objects.get(stripe_id=intent_id)
