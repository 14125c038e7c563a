"""Fill in how recent payments were paid: the type of payment method, card, digits and wallet.

A payment's events name its charge only by its id. A payment that somebody has looked at since, such
as a customer on the result page, has the data already. For the others, a hundred are listed with
each call. The daily comparison of the lists does the same for all payments that it lists.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from django.utils import timezone

from shop_payments.conf import get_config
from shop_payments.gateway import get_gateway
from shop_payments.maintenance.reconcile.pages import older_pages
from shop_payments.maintenance.reconcile.sweep import Sweep
from shop_payments.models import PaymentIntent
from shop_payments.sync.payment_intents import apply_fetched

_RECENT = timedelta(hours=24)
"""A payment whose charge has no such data is listed again by each sweep, but only for so long."""


def complete_methods(sweep: Sweep) -> None:
    """Fill in the methods of recent payments with a charge.

    Raises:
        GatewayError: a request to Stripe failed.
    """
    if sweep.compares_lists:
        return
    ours = PaymentIntent.objects.filter(livemode=get_config().livemode)
    recent = ours.filter(stripe_created_at__gte=timezone.now() - _RECENT)
    lacking = recent.filter(method_type="").exclude(latest_charge="")
    ask = get_gateway().page_of_payment_intents
    for seen in older_pages(sweep, ask, rows=ours, wanted=lacking):
        rows = {row.stripe_id: row for row in seen.before if not row.method_type}
        for intent in seen.found:
            if intent.id not in rows or intent.method is None:
                continue
            if not sweep.dry_run:
                write = partial(apply_fetched, rows[intent.id], intent, origin=sweep.origin)
                sweep.try_to(intent.id, write)
            sweep.report.methods += 1
