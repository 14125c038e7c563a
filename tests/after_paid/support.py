"""A caller that gives money back, and what Stripe's and our books say."""

from __future__ import annotations

from typing import Any

from shop_payments.models import OrderPayment, PaymentIntent
from shop_payments.testing import StripeSandbox
from tests.support import Caller, call_stripe


class AccountingOffice(Caller):
    """Calls the refunds route."""

    def refund(self, order: Any, body: Any = None, *, key: str = "") -> Any:
        headers = {"Idempotency-Key": key} if key else {}
        return self.post(f"orders/{getattr(order, 'pk', order)}/refunds", body or {}, **headers)

    def refunds(self, order: Any) -> list[dict[str, Any]]:
        answer = self.get(f"orders/{getattr(order, 'pk', order)}/refunds").json()
        results: list[dict[str, Any]] = answer["data"]["results"]
        return results


def refunds_at_stripe(stripe: StripeSandbox) -> list[dict[str, Any]]:
    """All refunds at Stripe, oldest first."""
    listed: list[dict[str, Any]] = call_stripe(stripe, "GET", "refunds", limit="100")["data"]
    return listed[::-1]


def refund_in_dashboard(stripe: StripeSandbox, **params: str) -> dict[str, Any]:
    """Give money back as staff do in Stripe's dashboard: we hear of it by webhook alone."""
    intent = PaymentIntent.objects.get()
    return call_stripe(stripe, "POST", "refunds", payment_intent=intent.stripe_id, **params)


def assert_state_follows_from_rows() -> None:
    """Every payment's stored state is what its mirrored rows amount to."""
    for payment in OrderPayment.objects.all():
        changed = payment.refresh_state(
            list(payment.payment_intents.all()),
            list(payment.refunds.all()),
            list(payment.disputes.all()),
        )
        assert not changed, payment


def assert_books_agree(stripe: StripeSandbox) -> None:
    """What Stripe has given back is what our rows say, refund by refund."""
    ours = {
        (row.stripe_id, row.amount, row.currency, row.status)
        for payment in OrderPayment.objects.all()
        for row in payment.refunds.exclude(stripe_id="")
    }
    theirs = {
        (row["id"], row["amount"], row["currency"], row["status"])
        for row in refunds_at_stripe(stripe)
    }
    assert ours == theirs
    assert_state_follows_from_rows()


def dispute_at_stripe(stripe: StripeSandbox) -> dict[str, Any]:
    """The newest dispute at Stripe."""
    found: dict[str, Any] = call_stripe(stripe, "GET", "disputes")["data"][0]
    return found


def answer_dispute(stripe: StripeSandbox, evidence: str) -> None:
    """Submit evidence, as staff do in Stripe's dashboard."""
    path = f"disputes/{dispute_at_stripe(stripe)['id']}"
    call_stripe(
        stripe, "POST", path, **{"evidence[uncategorized_text]": evidence, "submit": "true"}
    )
