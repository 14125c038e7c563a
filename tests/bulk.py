"""Many rows, written with bulk SQL on PostgreSQL, for the benchmarks and the query plans.

They have the shape of an ordinary shop: nine orders in ten are paid, one in fifty is refunded in
part, one in a thousand is disputed, one in a hundred has an open intent, some of them with reserved
money. Most are paid with a card of one of two brands, one in twenty in another currency.
"""

from __future__ import annotations

import psycopg
from django.contrib.auth.models import User
from django.db import connection, models
from rest_framework.authtoken.models import Token

from shop_payments import models as app

_PAID = "n % 10 <> 3"
_OPEN = "n % 100 = 3"
_RESERVED = "n % 1000 = 503"
_REFUNDED = "n % 50 = 1"
_DISPUTED = "n % 1000 = 2"
_DEBIT = "n % 40 = 7"
_AMEX = "n % 40 = 9"
_TOTAL = f"(11200 + CASE WHEN {_PAID} THEN n % 90 * 100 ELSE 0 END)"


def family_of(user: int) -> str:
    """Return the last name of a user."""
    return f"Family{user}"


def brand_of(order: int) -> str:
    """Return the usual brand of the card that paid an order; some have another method."""
    return "visa" if order % 3 else "mastercard"


def last4_of(order: int) -> str:
    """Return the last four digits of the card that paid an order."""
    return f"{order * 7919 % 10000:04}"


def fill(orders: int) -> None:
    """Write so many orders with their payments, intents, attempts, events and facts."""
    insert(
        User,
        orders // 10 + 1,
        id="n",
        username="'u' || n",
        password="'!'",
        email="'customer' || n || '@example.com'",
        first_name="(ARRAY['Anna', 'Bea', 'Carl', 'Dora', 'Emil'])[1 + n % 5]",
        last_name="'Family' || n",
        is_active="true",
        date_joined="now()",
    )
    insert(Token, orders // 10 + 1, key="lpad(n::text, 40, '0')", user_id="n", created="now()")

    def moment_of(order: str) -> str:
        return f"now() - ({orders} - {order}) * interval '{90 * 86400 / orders} seconds'"

    moment = moment_of("n")
    common = {
        **{"order_id": "n", "order_payment_id": "n", "payment_intent_id": "n"},
        **{"currency": "CASE WHEN n % 20 = 14 THEN 'eur' ELSE 'usd' END", "livemode": "false"},
        **dict.fromkeys(("created_at", "updated_at", "stripe_created_at"), moment),
    }

    def add(model: type[models.Model], *, count: int = orders, **columns: str) -> None:
        insert(model, count, **{**common, **columns})

    add(
        app.Order,
        id="n",
        number="'ORD-20261129-' || n",
        customer_id=f"1 + n % {orders // 10 + 1}",
        email=f"'customer' || (1 + n % {orders // 10 + 1}) || '@example.com'",
    )
    add(app.OrderLine, name="'Main product'", unit_amount=f"{_TOTAL} / 2", quantity="2")
    add(
        app.OrderPayment,
        id="n",
        status=f"CASE WHEN {_RESERVED} THEN 'authorized' WHEN NOT ({_PAID}) THEN 'unpaid' "
        f"WHEN {_REFUNDED} THEN 'partially_refunded' ELSE 'paid' END",
        dispute_state=f"CASE WHEN {_DISPUTED} THEN 'open' ELSE '' END",
        needs_review=_DISPUTED,
        total=_TOTAL,
        is_payable="true",
        amount_received=f"CASE WHEN {_PAID} THEN {_TOTAL} ELSE 0 END",
        amount_refunded=f"CASE WHEN {_REFUNDED} THEN 1200 ELSE 0 END",
        has_refunds_or_disputes=f"({_REFUNDED}) OR ({_DISPUTED})",
        paid_recorded=_PAID,
        paid_at=f"CASE WHEN {_PAID} THEN {moment} END",
    )
    attempt_id = "lpad(to_hex(n), 32, '0')::uuid"
    add(
        app.StripeAttempt,
        id=attempt_id,
        operation="'create_intent'",
        params=f"jsonb_build_object('amount', {_TOTAL}, 'currency', {common['currency']})",
        outcome="'succeeded'",
        stripe_object_id="'pi_' || n",
        finished_at=moment,
        last_sent_at=moment,
    )
    add(
        app.PaymentIntent,
        id="n",
        stripe_id="'pi_' || n",
        attempt_id=attempt_id,
        status=f"CASE WHEN {_PAID} THEN 'succeeded' WHEN {_RESERVED} THEN 'requires_capture' "
        f"WHEN {_OPEN} THEN 'requires_payment_method' ELSE 'canceled' END",
        wanted=_PAID,
        total_seen=f"CASE WHEN {_PAID} THEN {_TOTAL} END",
        received_recorded=_PAID,
        amount=_TOTAL,
        amount_capturable=f"CASE WHEN {_RESERVED} THEN {_TOTAL} ELSE 0 END",
        amount_received=f"CASE WHEN {_PAID} THEN {_TOTAL} ELSE 0 END",
        payment_method="'pm_' || n",
        latest_charge=f"CASE WHEN {_PAID} THEN 'ch_' || n ELSE '' END",
        method_type=f"CASE WHEN NOT ({_PAID}) THEN '' "
        f"WHEN {_DEBIT} THEN 'sepa_debit' ELSE 'card' END",
        card_brand=f"CASE WHEN NOT ({_PAID}) OR {_DEBIT} THEN '' WHEN {_AMEX} THEN 'amex' "
        "WHEN n % 3 = 0 THEN 'mastercard' ELSE 'visa' END",
        last4=f"CASE WHEN {_PAID} THEN lpad((n::bigint * 7919 % 10000)::text, 4, '0') ELSE '' END",
        charged_at=f"CASE WHEN {_PAID} THEN {moment} END",
        asked_at=moment,
    )
    add(
        app.Refund,
        where=_REFUNDED,
        id="gen_random_uuid()",
        stripe_id="'re_' || n",
        status="'succeeded'",
        amount="1200",
        total_seen=_TOTAL,
    )
    add(
        app.Dispute,
        where=_DISPUTED,
        stripe_id="'dp_' || n",
        status="'needs_response'",
        amount=_TOTAL,
        total_seen=_TOTAL,
    )
    add(
        app.ReviewItem,
        where=_DISPUTED,
        reason="'disputed'",
        subject="'dp_' || n",
        data=f"jsonb_build_object('amount', {_TOTAL}, 'currency', 'usd', 'dispute_state', 'open')",
        opened_at=moment,
    )
    add(
        app.BalanceTransaction,
        where=_PAID,
        stripe_id="'txn_' || n",
        source=f"CASE WHEN {_REFUNDED} THEN 're_' ELSE 'ch_' END || n",
        reporting_category=f"CASE WHEN {_REFUNDED} THEN 'refund' ELSE 'charge' END",
        amount=_TOTAL,
        fee="355",
        net=f"{_TOTAL} - 355",
    )
    add(
        app.WebhookEvent,
        count=3 * orders,
        event_id="'evt_' || n",
        type="(ARRAY['payment_intent.created', 'payment_intent.succeeded', 'charge.updated'])"
        "[1 + n % 3]",
        object_id="'pi_' || (1 + n / 3)",
        intent_id="'pi_' || (1 + n / 3)",
        payload='\'{"id": "evt"}\'',
        status="'processed'",
        received_at=moment_of("n / 3"),
        processed_at=moment_of("n / 3"),
    )
    add(
        app.PaymentHistory,
        count=3 * orders,
        fact_id="gen_random_uuid()",
        order_payment_id="1 + (n - 1) / 3",
        payment_intent_id="1 + (n - 1) / 3",
        created_at=moment_of("n / 3"),
        kind="CASE WHEN (n - 1) / 3 % 10 = 2 THEN 'status_changed' ELSE "
        "(ARRAY['payment_received', 'order_paid', 'intent_created'])[1 + n % 3] END",
        source="CASE WHEN n % 500 = 3 THEN 'admin' WHEN n % 3 = 2 THEN 'api' ELSE 'webhook' END",
        actor="CASE WHEN n % 500 = 3 THEN 'staff 1' ELSE 'evt_' || n END",
        data="'{}'",
        needs_dispatch="n % 3 = 1",
        dispatched_at="now()",
    )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


def insert(model: type[models.Model], count: int, *, where: str = "true", **columns: str) -> None:
    """Insert ``count`` rows, or those of them that match; ``columns`` are SQL over ``n``.

    Columns that the model does not have are left out; those that are not given get its defaults.
    """
    given: dict[str, str] = {}
    with connection.cursor() as cursor:
        # Django's cursor cannot write a value as text if it binds values on the server.
        as_text = psycopg.ClientCursor(cursor.connection).mogrify
        for field in model._meta.concrete_fields:
            if field.attname in columns:
                given[str(field.column)] = columns[field.attname]
            elif not isinstance(field, models.AutoField):
                default = field.get_db_prep_save(field.get_default(), connection)
                if default is None and not field.null:
                    default = ""
                given[str(field.column)] = as_text("%s", [default])
        names, values = ", ".join(f'"{each}"' for each in given), ", ".join(given.values())
        cursor.execute(
            f'INSERT INTO "{model._meta.db_table}" ({names}) SELECT {values} '
            f"FROM generate_series(1, {count}) n WHERE {where}".replace("%", "%%"),
            [],
        )
        if "id" in columns and isinstance(model._meta.pk, models.AutoField):
            cursor.execute(
                f"SELECT setval(pg_get_serial_sequence('{model._meta.db_table}', 'id'), {count})"
            )
